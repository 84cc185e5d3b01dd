// ShaderCores: the jobs that command streams have issued, and who runs which task of them when.
//
// Owns   the jobs in flight of each group slot, their tasks, and the cores' caches (shader::Core).
// Runs   run() on any thread, one per runner at a time; everything else in the GPU actor. One mutex, which is
//        never held while a shader runs.
// Called by GroupSlot (submit, hold, save, abandon), by Gpu (news, address spaces), and by whoever has time:
//        the server's pool of threads, or Gpu::step() where there is none.
//
// A group has as many places as there are cores: a place is a core id with its share of thread-local and
// workgroup memory, and holds at most one task in flight, which runs, or is paused until its next turn.
// Groups take turns, then a group's places, a slice each. A free place takes the next task of the stream
// whose turn it is. Whoever must know that no core touches a group, or an old translation, any more never
// waits: it is told (news).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "gpu/address_space.hpp"
#include "gpu/compute_job.hpp"
#include "gpu/shader/core.hpp"

namespace belfry::gpu {

/// About 1 ms of work: how long a core can keep a suspension, an unmap or another group waiting. Slow f16
/// instructions count as one step as well, so that it can be some ms.
inline constexpr std::uint32_t kTaskSteps = 60'000;
/// Jobs in flight of one stream; a RUN_COMPUTE beyond waits.
inline constexpr unsigned kJobsPerStream = 4;

class ShaderCores {
  public:
    /// The GPU, as cores need it. Told, on the thread of whoever runs a core, that take_news() would find
    /// something.
    class Listener {
      public:
        virtual ~Listener() = default;
        virtual void shader_news() = 0;
        /// What shaders see as clocks. On any core's thread.
        virtual std::uint64_t timestamp() = 0;
    };

    /// `cores`: as many as threads could see by their ids. One runner more than that may call run(): the GPU
    /// actor itself.
    ShaderCores(unsigned cores, unsigned group_slots, unsigned streams_per_group, Listener& listener);

    [[nodiscard]] unsigned cores() const { return cores_; }

    // --- any thread ---
    /// Takes a task, runs it for a slice of `steps`, gives it back or finishes it. False: there was none.
    /// `runner`: 0 ... cores().
    bool run(unsigned runner, std::uint32_t steps);
    /// How many more runners would find a task now. A hint.
    [[nodiscard]] unsigned ready() const { return ready_.load(std::memory_order_relaxed); }

    // --- GPU actor ---
    enum class Issue : std::uint8_t { started, done, full, faulted };
    /// Starts a job: reads its descriptors now. `done`: there was nothing to do. `full`: try again after a
    /// result. `faulted`: `fault` says why.
    Issue submit(unsigned slot, unsigned stream, const AddressSpace& space, unsigned space_number,
                 const ComputeJob& job, shader::Fault& fault);
    /// Whether there is work that no runner was told of since the last call.
    bool take_fresh() { return std::exchange(fresh_, false); }
    /// Whether what take_results(), busy() or flushed() say may have changed since the last call.
    bool take_news() { return news_.exchange(false, std::memory_order_acq_rel); }
    [[nodiscard]] bool has_news() const { return news_.load(std::memory_order_relaxed); }
    /// Takes the results of a slot's jobs, oldest first.
    std::vector<ComputeResult> take_results(unsigned slot);

    /// Starts no slice of the slot's tasks any more, and has those that run leave soon.
    void hold(unsigned slot);
    /// Whether a core is still in one of them.
    [[nodiscard]] bool busy(unsigned slot) const;
    [[nodiscard]] bool busy(unsigned slot, unsigned stream) const;
    /// Forgets all jobs of a slot, or of one of its streams. Those that a core is still in end with its
    /// slice.
    void abandon(unsigned slot);
    void abandon(unsigned slot, unsigned stream);
    /// The slot is free: no core is in it, no job is left.
    void release(unsigned slot);

    /// Bytes that save() may need.
    [[nodiscard]] static std::size_t save_bytes(unsigned cores, unsigned streams_per_group);
    /// Hands what a held slot that is not busy has in flight to `write(offset, bytes)`. False: it said so.
    template <typename Write>
    bool save(unsigned slot, Write write) const;
    /// Takes it back, into a free slot, by `read(offset, bytes)`, and holds it until go_on(). False: that
    /// said so, and the slot is free.
    template <typename Read>
    bool restore(unsigned slot, const AddressSpace& space, unsigned space_number, Read read);
    void go_on(unsigned slot);

    /// Runs `change`, which changes the tables or TLB of address space `number`, with no slice beginning
    /// meanwhile; true if all slices that had begun before are over. Else flushed() says when.
    template <typename Change>
    bool change_space(unsigned number, Change change);
    [[nodiscard]] bool flushed(unsigned number) const;

  private:
    struct Job {
        enum class State : std::uint8_t { none, running, faulted, abandoned };
        State state = State::none;
        std::uint8_t entry = 0;
        std::uint8_t progress = 0;
        std::uint32_t in_flight = 0;  // places that have a task of it
        std::uint64_t next = 0;       // workgroup that the next task begins with
        std::uint64_t end = 0;
        std::uint64_t per_task = 0;
        std::uint64_t serial = 0;
        Place place{};
        shader::Fault fault{};
        shader::Job job{};
    };
    struct PlaceState {
        enum class State : std::uint8_t { free, paused, running };
        State state = State::free;
        std::uint32_t job = 0;  // index in Group::jobs
        std::uint32_t runner = 0;
        shader::Task task{};
        std::unique_ptr<shader::Workgroup> workgroup;  // made when first needed, kept
    };
    struct Group {
        const AddressSpace* space = nullptr;
        unsigned space_number = 0;
        bool held = false;
        unsigned running = 0;  // places that run
        unsigned turn = 0;     // place that had a slice last
        unsigned stream_turn = 0;
        std::vector<Job> jobs;  // kJobsPerStream of each stream
        std::vector<PlaceState> places;
        std::vector<ComputeResult> results;
    };
    struct Runner {
        std::unique_ptr<shader::Core> core = std::make_unique<shader::Core>();
        std::atomic<bool> leave{false};
    };
    struct SavedHeader {
        std::uint32_t jobs;
        std::uint32_t places;
    };
    struct SavedPlace {
        std::uint32_t index;
        std::uint32_t job;
        std::uint64_t next;
        std::uint64_t end;
        std::uint32_t warps;
        std::uint32_t pad;
    };
    static_assert(std::is_trivially_copyable_v<Job> && std::is_trivially_copyable_v<shader::Workgroup>);

    Job* job_to_start(Group& group);
    PlaceState* choose(Group*& group);
    bool give_task(Group& group, PlaceState& place);
    void left(Group& group, PlaceState& place, shader::Outcome outcome, const shader::Fault& fault);
    void finish_if_over(Group& group, std::uint32_t index);
    void drop(Group& group, std::uint32_t index);
    template <typename Read>
    static bool read_back(Group& group, Read read);
    void renumber(Group& group);
    void count_ready();
    void tell();

    const unsigned cores_;
    Listener& listener_;
    mutable std::mutex mutex_;  // guards all below but the atomics
    std::vector<Group> groups_;
    std::vector<Runner> runners_;
    std::array<std::uint32_t, 32> leaving_space_{};  // bit a runner: its slice began before the last change
    std::uint64_t serials_ = 0;
    unsigned turn_ = 0;   // slot that had a slice last
    bool fresh_ = false;  // the GPU actor's
    bool told_ = false;   // news came up while the mutex was held
    std::atomic<unsigned> ready_{0};
    std::atomic<bool> news_{false};
};

template <typename Write>
bool ShaderCores::save(unsigned slot, Write write) const {
    // Without the mutex, for copying takes long: of a group that is held and not busy runners change nothing.
    const Group& group = groups_[slot];
    std::uint64_t offset = 0;
    const auto put = [&](const void* from, std::size_t bytes) {
        const bool written = write(offset, std::span(static_cast<const std::byte*>(from), bytes));
        offset += bytes;
        return written;
    };
    SavedHeader header{};
    for (const Job& job : group.jobs) header.jobs += job.state != Job::State::none;
    for (const PlaceState& place : group.places) header.places += place.state != PlaceState::State::free;
    if (!put(&header, sizeof header)) return false;
    for (std::uint32_t i = 0; i < group.jobs.size(); ++i) {
        if (group.jobs[i].state == Job::State::none) continue;
        if (!put(&i, sizeof i) || !put(&group.jobs[i], sizeof(Job))) return false;
    }
    for (std::uint32_t i = 0; i < group.places.size(); ++i) {
        const PlaceState& place = group.places[i];
        if (place.state == PlaceState::State::free) continue;
        const SavedPlace saved{.index = i,
                               .job = place.job,
                               .next = place.task.next,
                               .end = place.task.end,
                               .warps = place.workgroup->warp_count,
                               .pad = 0};
        if (!put(&saved, sizeof saved) ||
            !put(place.workgroup.get(), shader::workgroup_bytes(place.workgroup->warp_count)))
            return false;
    }
    return true;
}

template <typename Read>
bool ShaderCores::restore(unsigned slot, const AddressSpace& space, unsigned space_number, Read read) {
    // Without the mutex: runners look no further into a group without an address space.
    Group& group = groups_[slot];
    if (!read_back(group, read)) {
        release(slot);
        return false;
    }
    const std::lock_guard lock(mutex_);
    renumber(group);
    group.held = true;
    group.space = &space;
    group.space_number = space_number;
    return true;
}

template <typename Read>
bool ShaderCores::read_back(Group& group, Read read) {
    std::uint64_t offset = 0;
    const auto get = [&](void* to, std::size_t bytes) {
        const bool done = read(offset, std::span(static_cast<std::byte*>(to), bytes));
        offset += bytes;
        return done;
    };
    SavedHeader header{};
    if (!get(&header, sizeof header)) return false;
    for (std::uint32_t n = 0; n < header.jobs; ++n) {
        std::uint32_t index = 0;
        if (!get(&index, sizeof index) || index >= group.jobs.size()) return false;
        if (!get(&group.jobs[index], sizeof(Job))) return false;
    }
    for (std::uint32_t n = 0; n < header.places; ++n) {
        SavedPlace saved{};
        if (!get(&saved, sizeof saved) || saved.index >= group.places.size() ||
            saved.job >= group.jobs.size() || saved.warps > shader::kWorkgroupWarpsMax)
            return false;
        PlaceState& place = group.places[saved.index];
        if (place.workgroup == nullptr) place.workgroup = std::make_unique<shader::Workgroup>();
        if (!get(place.workgroup.get(), shader::workgroup_bytes(saved.warps))) return false;
        place.state = PlaceState::State::paused;
        place.job = saved.job;
        place.task = {.job = &group.jobs[saved.job].job,
                      .serial = 0,
                      .next = saved.next,
                      .end = saved.end,
                      .core = saved.index,
                      .workgroup = place.workgroup.get()};
    }
    return true;
}

template <typename Change>
bool ShaderCores::change_space(unsigned number, Change change) {
    const std::lock_guard lock(mutex_);
    change();
    std::uint32_t& leaving = leaving_space_[number];
    leaving = 0;
    for (const Group& group : groups_) {
        if (group.running == 0 || group.space_number != number) continue;
        for (const PlaceState& place : group.places) {
            if (place.state != PlaceState::State::running) continue;
            leaving |= 1U << place.runner;
            runners_[place.runner].leave.store(true, std::memory_order_relaxed);
        }
    }
    return leaving == 0;
}

}  // namespace belfry::gpu
