#include "gpu/address_space.hpp"

#include "base/atomic.hpp"

namespace belfry::gpu {
namespace {

using csf::Exception;

/// TRANSLATION_FAULT_0 ... 4 and PERM_FAULT_0 ... 3 are consecutive (facts/csf-isa.md 6.1).
Exception at_level(Exception first, unsigned level) {
    return static_cast<Exception>(static_cast<unsigned>(first) + level);
}

constexpr std::uint32_t bit(Access access) { return 1U << static_cast<unsigned>(access); }

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

Walk walk_tables(std::uint64_t root, std::uint64_t address) {
    if (root == 0) return {.refusal = Exception::translation_fault_0};
    if (address >> 48 != 0) return {.refusal = Exception::addr_size_fault_in};

    std::uint64_t table = root;
    for (unsigned level = 0;; ++level) {
        const auto* const entries = reinterpret_cast<const std::uint64_t*>(table);
        const unsigned shift = level_shift(level);
        // Acquire: pairs with the driver's release of the entry, so that the table behind it is seen filled.
        const std::uint64_t pte = base::load(entries[(address >> shift) % kEntries], base::kAcquire);
        if ((pte & kPteValid) == 0) return {.refusal = at_level(Exception::translation_fault_0, level)};
        const std::uint64_t output = pte & kPteAddressMask;
        if (level < kLastLevel && (pte & kPteTableOrPage) != 0) {
            table = output;
            continue;
        }
        std::uint32_t allowed = bit(Access::read);
        if ((pte & kPteReadOnly) == 0) allowed |= bit(Access::write) | bit(Access::atomic);
        if ((pte & kPteNoExec) == 0) allowed |= bit(Access::execute);
        const std::uint64_t block_mask = (1ULL << shift) - 1;
        return {.page = reinterpret_cast<std::byte*>((output + (address & block_mask)) &
                                                     ~((1ULL << kPageShift) - 1)),
                .allowed = allowed,
                .refusal = at_level(Exception::perm_fault_0, level)};
    }
}

std::byte* AddressSpace::walk(std::uint64_t address, Access access) {
    const Walk found = walk_tables(root_, address);
    if (!found.allows(access)) {
        fault_ = {.type = found.refusal, .access = access, .address = address};
        return nullptr;
    }
    const std::uint64_t page = address >> kPageShift;
    tlb_[page % kTlbEntries] = {.page = page, .host = found.page, .allowed = found.allowed};
    return found.page + (address & kPageOffsetMask);
}

}  // namespace belfry::gpu
