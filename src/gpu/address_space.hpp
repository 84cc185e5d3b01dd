// AddressSpace: translation of GPU addresses by one set of tables, with a TLB.
//
// Owns   the TLB. The tables are the driver's (layout: registers.hpp); this only reads them.
// Runs   in the GPU actor, except where a test calls it by itself; walk_tables() on any core's thread.
// Called by Stream for each access, by Gpu for commands of the driver, by ShaderCores for its root.
//
// A table entry that becomes invalid or changes is honoured after the next flush(): the driver asks for one
// and waits for its completion before it gives the memory away. The cores have TLBs of their own, for a
// slice: a flush is complete when all slices that began before it are over (ShaderCores::change_space).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "belfry/uapi/csf_exceptions.hpp"
#include "gpu/registers.hpp"

namespace belfry::gpu {

/// As in AS_FAULTSTATUS 9:8.
enum class Access : std::uint32_t { atomic = 0, execute = 1, read = 2, write = 3 };

struct MmuFault {
    csf::Exception type;
    Access access;
    std::uint64_t address;
};

/// What the tables say of one page.
struct Walk {
    std::byte* page = nullptr;  ///< host address of the 4 KiB; null: not mapped
    std::uint32_t allowed = 0;  ///< bit n: Access n
    csf::Exception refusal{};   ///< what an access that is not allowed raises

    [[nodiscard]] bool allows(Access access) const {
        return (allowed >> static_cast<unsigned>(access) & 1U) != 0;
    }
};

/// Looks `address` up in the tables below the level-0 table at host address `root` (0: everything faults).
Walk walk_tables(std::uint64_t root, std::uint64_t address);

class AddressSpace {
  public:
    /// Starts to translate with the level-0 table at host address `root`.
    void enable(std::uint64_t root);
    /// Every access faults from now on.
    void disable();
    void flush();

    [[nodiscard]] bool enabled() const { return root_ != 0; }
    [[nodiscard]] std::uint64_t root() const { return root_; }
    /// Changes whenever a translation may have changed: what caches a host pointer compares it.
    [[nodiscard]] std::uint64_t generation() const { return generation_; }

    /// The host address of the byte at `address`; the rest of its 4 KiB page follows. Null: see fault().
    std::byte* translate(std::uint64_t address, Access access) {
        const std::uint64_t page = address >> kPageShift;
        const Entry& entry = tlb_[page % kTlbEntries];
        // Flags of an access that the entry lacks make the tag differ: one comparison judges both.
        if ((entry.page == page) && ((entry.allowed >> static_cast<unsigned>(access)) & 1U) != 0) [[likely]]
            return entry.host + (address & kPageOffsetMask);
        return walk(address, access);
    }
    [[nodiscard]] const MmuFault& fault() const { return fault_; }

  private:
    static constexpr std::size_t kTlbEntries = 1024;
    static constexpr std::uint64_t kPageOffsetMask = (1U << kPageShift) - 1;
    struct Entry {
        std::uint64_t page = ~0ULL;  // no 48-bit address has it
        std::byte* host = nullptr;
        std::uint32_t allowed = 0;  // bit n: Access n
    };

    std::byte* walk(std::uint64_t address, Access access);

    std::uint64_t root_ = 0;
    std::uint64_t generation_ = 0;
    MmuFault fault_{};
    std::array<Entry, kTlbEntries> tlb_{};
};

}  // namespace belfry::gpu
