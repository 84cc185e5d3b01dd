// Core: a shader core. Runs tasks for whoever has time.
//
// Owns   decoded programs, a TLB, the shared operand bank: all of it a cache, so that which core runs a task
// is
//        seen by nobody.
// Runs   on whatever thread calls run(), one at a time.
// Called by gpu/shader_cores.hpp; by tests.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "gpu/shader/task.hpp"
#include "gpu/shader/translation.hpp"

namespace belfry::gpu::shader {

enum class Outcome : std::uint8_t {
    finished,  ///< all workgroups of the task have ended
    paused,    ///< the steps are used up, or `leave` was set: the task can go on, on any core
    faulted,   ///< fault() says why; the task is over
};

class Core {
  public:
    Core();
    ~Core();
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;

    /// Runs `task` for about `steps` at most: a step is what an arithmetic instruction costs a warp, some
    /// nanoseconds; longer ones count as several. Leaves earlier, at the next backward branch, barrier or
    /// message instruction, once `leave` is set. `generation` is another for each address space, and changes
    /// whenever what `translation` says of a page may have.
    Outcome run(Task& task, const Translation& translation, std::uint64_t generation, std::uint32_t steps,
                const std::atomic<bool>& leave);
    [[nodiscard]] const Fault& fault() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace belfry::gpu::shader
