#include "gpu/address_space.hpp"

#include "base/atomic.hpp"

namespace belfry::gpu {
namespace {

using csf::Exception;

/// TRANSLATION_FAULT_0 ... 4 and PERM_FAULT_0 ... 3 are consecutive (facts/csf-isa.md 6.1).
Exception at_level(Exception first, unsigned level) {
    return static_cast<Exception>(static_cast<unsigned>(first) + level);
}

}  // namespace

void AddressSpace::enable(std::uint64_t root) {
    root_ = root;
    flush();
}

void AddressSpace::disable() {
    root_ = 0;
    flush();
}

void AddressSpace::flush() {
    tlb_.fill({});
    ++generation_;
}

std::byte* AddressSpace::refuse(Exception type, std::uint64_t address, Access access) {
    fault_ = {.type = type, .access = access, .address = address};
    return nullptr;
}

std::byte* AddressSpace::walk(std::uint64_t address, Access access) {
    if (root_ == 0) return refuse(Exception::translation_fault_0, address, access);
    if (address >> 48 != 0) return refuse(Exception::addr_size_fault_in, address, access);

    std::uint64_t table = root_;
    for (unsigned level = 0;; ++level) {
        const auto* const entries = reinterpret_cast<const std::uint64_t*>(table);
        const unsigned shift = level_shift(level);
        // Acquire: pairs with the driver's release of the entry, so that the table behind it is seen filled.
        const std::uint64_t pte = base::load(entries[(address >> shift) % kEntries], base::kAcquire);
        if ((pte & kPteValid) == 0)
            return refuse(at_level(Exception::translation_fault_0, level), address, access);
        const std::uint64_t output = pte & kPteAddressMask;
        if (level < kLastLevel && (pte & kPteTableOrPage) != 0) {
            table = output;
            continue;
        }
        std::uint32_t allowed = 1U << static_cast<unsigned>(Access::read);
        if ((pte & kPteReadOnly) == 0)
            allowed |=
                1U << static_cast<unsigned>(Access::write) | 1U << static_cast<unsigned>(Access::atomic);
        if ((pte & kPteNoExec) == 0) allowed |= 1U << static_cast<unsigned>(Access::execute);
        if (((allowed >> static_cast<unsigned>(access)) & 1U) == 0)
            return refuse(at_level(Exception::perm_fault_0, level), address, access);

        const std::uint64_t block_mask = (1ULL << shift) - 1;
        const std::uint64_t page = address >> kPageShift;
        auto* const host = reinterpret_cast<std::byte*>((output + (address & block_mask)) & ~kPageOffsetMask);
        tlb_[page % kTlbEntries] = {.page = page, .host = host, .allowed = allowed};
        return host + (address & kPageOffsetMask);
    }
}

}  // namespace belfry::gpu
