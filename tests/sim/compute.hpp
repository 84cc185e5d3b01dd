// SimCompute: the shaders of a program, and what must be seen of its compute jobs.
//
// Owns    their memory: code and descriptors, uniforms of each job, and what they leave behind: of each lane
// the
//         greatest count that was seen, and of each thread the last job that it ran in.
// Called by SimProgram: run() writes the words of one more job of a lane, check() looks at what it has done.
//
// A job's threads count a word up, one by one, in turns; so a task that is run twice, or from the start, or
// not at all, or that comes back with other registers, shows.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/draw.hpp"
#include "unit/panthor_rig.hpp"

namespace belfry::panthor::sim {

class SimCompute {
  public:
    /// What becomes of a job.
    enum class End { sound, endless, fault, page_fault };

    SimCompute(Client& client, Draw& draw, unsigned lanes, unsigned jobs);

    [[nodiscard]] const Memory& memory() const { return memory_; }
    /// What job `job` of a lane does, a wait at its end not included. `counter`: where it counts; 0: in
    /// memory of its own.
    Program run(unsigned lane, unsigned job, std::uint64_t counter, End end);
    /// The job was refused.
    void take_back(unsigned lane, unsigned job);
    /// The lane has come to `value`, of `submitted` jobs.
    void check(unsigned lane, std::uint64_t value, unsigned submitted) const;

  private:
    static constexpr unsigned kThreadsMax = 12;
    struct Job {
        unsigned job;
        unsigned threads;
        std::uint32_t counted;  // by it and all before it
    };
    /// What a lane's jobs leave behind.
    struct Marks {
        std::uint32_t counter;
        std::uint32_t seen;
        std::array<std::uint32_t, kThreadsMax> last;
        std::array<std::uint32_t, 2> unused;
    };
    static_assert(sizeof(Marks) == 64);
    struct Uniforms {
        std::uint64_t counter;
        std::uint32_t turns;
        std::uint32_t mark;
        std::uint64_t seen;
        std::uint64_t last;
    };
    enum class Shader { count, endless, fault };

    [[nodiscard]] std::uint64_t uniforms_offset(unsigned lane, unsigned job) const;
    [[nodiscard]] std::uint64_t marks_offset(unsigned lane) const;

    Draw& draw_;
    unsigned lanes_;
    unsigned jobs_;
    Memory memory_;
    std::vector<std::vector<Job>> done_;  // of each lane: its compute jobs, all there ever were
};

}  // namespace belfry::panthor::sim
