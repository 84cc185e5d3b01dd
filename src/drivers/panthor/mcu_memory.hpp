// McuMemory: memory in the firmware's own address space (AS 0), for queue pages and suspend buffers.
//
// Owns   the tables of AS 0. Runs in the driver actor. Called by Group.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "drivers/panthor/mmu.hpp"
#include "drivers/panthor/page_table.hpp"

namespace belfry::panthor {

class McuMemory {
  public:
    explicit McuMemory(Mmu& mmu) : mmu_(mmu) {}

    void enable() { mmu_.enable_firmware(tables_.root()); }

    /// Whole pages; returns their MCU address. The addresses are never used again: 48 bits last. ENOMEM.
    base::Result<std::uint64_t> map(std::byte* host, std::uint64_t bytes) {
        auto reserve = PageTable::reserve(next_, bytes);
        if (!reserve) return std::unexpected(reserve.error());
        tables_.map(next_, host, bytes, {.no_exec = true}, *reserve);
        return std::exchange(next_, next_ + bytes);
    }
    void unmap(std::uint64_t address, std::uint64_t bytes) { tables_.unmap(address, bytes); }
    /// Calls `done` when the GPU can no longer touch what was unmapped before.
    void flush(std::function<void()> done) {
        ++flushes_;
        mmu_.flush(0, Mmu::when_done([this, done = std::move(done)] {
                       // Tables that a later unmap retired wait for a flush of their own: only the last one
                       // frees.
                       if (--flushes_ == 0) tables_.release_retired();
                       done();
                   }));
    }

  private:
    static constexpr std::uint64_t kFirst = 0x1000'0000;  // beyond the shared section

    Mmu& mmu_;
    PageTable tables_;
    std::uint64_t next_ = kFirst;
    unsigned flushes_ = 0;
};

}  // namespace belfry::panthor
