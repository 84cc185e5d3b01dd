// McuMemory: memory in the firmware's own address space (AS 0), for queue pages and suspend buffers.
//
// Owns   the tables of AS 0. Runs in the driver actor. Called by Group.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "drivers/panthor/mmu.hpp"
#include "drivers/panthor/page_table.hpp"

namespace belfry::panthor {

class McuMemory {
  public:
    explicit McuMemory(Mmu& mmu) : mmu_(mmu) {}

    void enable() { mmu_.enable_firmware(tables_.root()); }

    /// Whole pages; returns their MCU address. The addresses are never used again: 48 bits last.
    std::uint64_t map(std::byte* host, std::uint64_t bytes) {
        const std::uint64_t address = next_;
        next_ += bytes;
        tables_.map(address, host, bytes, {.no_exec = true});
        return address;
    }
    void unmap(std::uint64_t address, std::uint64_t bytes) { tables_.unmap(address, bytes); }
    /// Calls `done` when the GPU can no longer touch what was unmapped before.
    void flush(Mmu::Done done) {
        ++flushes_;
        mmu_.flush(0, [this, done = std::move(done)] {
            // Tables that a later unmap retired wait for a flush of their own: only the last one frees.
            if (--flushes_ == 0) tables_.release_retired();
            done();
        });
    }

  private:
    static constexpr std::uint64_t kFirst = 0x1000'0000;  // beyond the shared section

    Mmu& mmu_;
    PageTable tables_;
    std::uint64_t next_ = kFirst;
    unsigned flushes_ = 0;
};

}  // namespace belfry::panthor
