#include "drivers/panthor/page_table.hpp"

#include <algorithm>
#include <new>

#include "base/atomic.hpp"
#include "base/check.hpp"

namespace belfry::panthor {
namespace {

using gpu::kEntries;
using gpu::kLastLevel;
using gpu::kPteAddressMask;
using gpu::kPteTableOrPage;
using gpu::kPteValid;
using gpu::level_shift;

constexpr std::uint64_t kPage = 1U << gpu::kPageShift;

/// The end of the entry of `level` that `va` lies in, or `end` if that comes first.
std::uint64_t entry_end(unsigned level, std::uint64_t va, std::uint64_t end) {
    const std::uint64_t size = 1ULL << level_shift(level);
    return std::min(end, (va | (size - 1)) + 1);
}

std::size_t entry_index(unsigned level, std::uint64_t va) { return (va >> level_shift(level)) % kEntries; }

}  // namespace

// ---- Tables

// The link is the first entry: an address of a table has no bit where kPteValid is, so for the GPU, which may
// still be in a retired table, there is nothing.
static_assert(kPage > kPteValid);

void PageTable::Tables::push(std::unique_ptr<Table> table) {
    base::store(table->entries[0], reinterpret_cast<std::uint64_t>(first_), base::kRelaxed);
    first_ = table.release();
}

std::unique_ptr<PageTable::Table> PageTable::Tables::pop() {
    BELFRY_CHECK(first_ != nullptr);
    std::unique_ptr<Table> table(first_);
    first_ = reinterpret_cast<Table*>(std::exchange(table->entries[0], 0));
    return table;
}

void PageTable::Tables::clear() {
    while (first_ != nullptr) static_cast<void>(pop());
}

// ---- PageTable

base::Result<PageTable::Tables> PageTable::reserve(std::uint64_t va, std::uint64_t bytes) {
    std::uint64_t count = 0;
    for (unsigned level = 0; level < kLastLevel; ++level)
        count += ((va + bytes - 1) >> level_shift(level)) - (va >> level_shift(level)) + 1;
    Tables tables;
    for (; count > 0; --count) {
        std::unique_ptr<Table> table(new (std::nothrow) Table);
        if (table == nullptr) return std::unexpected(base::Errno::no_memory);
        tables.push(std::move(table));
    }
    return tables;
}

PageTable::PageTable() : root_(std::make_unique<Table>()) {}

PageTable::~PageTable() { destroy_below(*root_, 0); }

void PageTable::map(std::uint64_t va, const std::byte* host, std::uint64_t bytes, PageFlags flags,
                    Tables& reserve) {
    const auto output = reinterpret_cast<std::uint64_t>(host);
    BELFRY_CHECK((va | output | bytes) % kPage == 0 && (output & ~kPteAddressMask) == 0);
    std::uint64_t pte = output | kPteValid | kPteTableOrPage;
    if (flags.read_only) pte |= gpu::kPteReadOnly;
    if (flags.no_exec) pte |= gpu::kPteNoExec;
    map_in(*root_, 0, va, va + bytes, pte, reserve);
}

void PageTable::map_in(Table& table, unsigned level, std::uint64_t va, std::uint64_t end, std::uint64_t pte,
                       Tables& reserve) {
    while (va < end) {
        std::uint64_t& entry = table.entries[entry_index(level, va)];
        const std::uint64_t next = entry_end(level, va, end);
        if (level == kLastLevel) {
            base::store(entry, pte, base::kRelease);
        } else {
            if ((entry & kPteValid) == 0) {
                auto* const fresh = reserve.pop().release();
                ++tables_;
                // Release: pairs with the walker's acquire, so that it sees the new table zeroed.
                base::store(entry, reinterpret_cast<std::uint64_t>(fresh) | kPteValid | kPteTableOrPage,
                            base::kRelease);
            }
            map_in(*reinterpret_cast<Table*>(entry & kPteAddressMask), level + 1, va, next, pte, reserve);
        }
        pte += next - va;
        va = next;
    }
}

void PageTable::unmap(std::uint64_t va, std::uint64_t bytes) { unmap_in(*root_, 0, va, va + bytes); }

/// True if the table is empty afterwards.
bool PageTable::unmap_in(Table& table, unsigned level, std::uint64_t va, std::uint64_t end) {
    while (va < end) {
        std::uint64_t& entry = table.entries[entry_index(level, va)];
        const std::uint64_t next = entry_end(level, va, end);
        if (level == kLastLevel) {
            base::store(entry, 0, base::kRelease);
        } else if ((entry & kPteValid) != 0) {
            auto* const child = reinterpret_cast<Table*>(entry & kPteAddressMask);
            if (unmap_in(*child, level + 1, va, next)) {
                base::store(entry, 0, base::kRelease);
                retired_.push(std::unique_ptr<Table>(child));
                --tables_;
            }
        }
        va = next;
    }
    return std::ranges::all_of(table.entries, [](std::uint64_t entry) { return entry == 0; });
}

void PageTable::destroy_below(Table& table, unsigned level) {
    if (level == kLastLevel) return;
    for (const std::uint64_t entry : table.entries) {
        if ((entry & kPteValid) == 0) continue;
        const std::unique_ptr<Table> child(reinterpret_cast<Table*>(entry & kPteAddressMask));
        destroy_below(*child, level + 1);
    }
}

}  // namespace belfry::panthor
