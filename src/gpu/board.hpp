// Board: all of the GPU that a driver can touch, and all that the GPU does to the world around it.
//
// The driver is given a Board: registers, the memory shared with the firmware, and the lines by which clients
// wake a sleeping GPU. The GPU is given a Host by whoever runs it (the server's GPU thread, or a rig that
// steps it). Neither side knows another object of the other's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "gpu/registers.hpp"

namespace belfry::gpu {

/// The register file. Called in the driver actor; the GPU answers in its own.
class Mmio {
  public:
    virtual ~Mmio() = default;
    virtual std::uint32_t read(Reg reg) = 0;
    virtual void write(Reg reg, std::uint32_t value) = 0;

    std::uint64_t read64(Reg lo) { return read(lo) | std::uint64_t{read(lo + 4)} << 32; }
    void write64(Reg lo, std::uint64_t value) {
        write(lo, static_cast<std::uint32_t>(value));
        write(lo + 4, static_cast<std::uint32_t>(value >> 32));
    }
};

/// Eventfds of clients. A ring of one wakes a GPU that sleeps; it says nothing about what there is to do.
class WakeLines {
  public:
    virtual ~WakeLines() = default;
    /// `eventfd` stays the caller's and must stay open until removed.
    virtual void add(int eventfd) = 0;
    virtual void remove(int eventfd) = 0;
};

struct Board {
    Mmio& mmio;
    std::span<std::byte> shared;  ///< MCU addresses kSharedBase ... kSharedBase + size
    WakeLines& wake_lines;
    int flush_id_fd;  ///< the page of LATEST_FLUSH_ID, its first word: nobody but the GPU can write it
};

/// What the GPU does outside of its own memory.
class Host {
  public:
    virtual ~Host() = default;
    /// An unmasked interrupt bit rose: GPU actor; or one that stood was unmasked: driver actor. Must not call
    /// back.
    virtual void interrupt() = 0;
    /// A register write wants the GPU to look, should it sleep: driver actor; or a shader core does: its
    /// thread.
    virtual void attention() = 0;
    /// Wakes the CPU waiters of a sync object or ring: the futex at `word`, shared, with this bitset. GPU
    /// actor.
    virtual void futex_wake(std::uint32_t& word, std::uint32_t bitset) = 0;
    /// There are tasks for up to `tasks` more threads that run shader cores. GPU actor; only if there are
    /// such threads.
    virtual void shader_work(unsigned /*tasks*/) {}
    /// The timestamp counter, nanoseconds. Any actor.
    virtual std::uint64_t timestamp() = 0;
};

}  // namespace belfry::gpu
