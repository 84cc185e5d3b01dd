#include "drm/va_space.hpp"

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

#include "base/check.hpp"

namespace belfry::drm {

using base::Errno;
using base::Result;

namespace {

/// What of `mapping` lies in [from, to).
VaMapping piece_of(const VaMapping& mapping, std::uint64_t from, std::uint64_t to) {
    return {.range = {.va = from, .bytes = to - from},
            .buffer = mapping.buffer,
            .buffer_offset = mapping.buffer_offset + (from - mapping.range.va),
            .flags = mapping.flags};
}

}  // namespace

VaSpace::VaSpace(VaRange space) : space_(space) { BELFRY_CHECK(space.bytes > 0 && space.bytes <= ~space.va); }

Result<VaSpace::Reserve> VaSpace::reserve(VaRange range, Removed& removed) {
    // Written so that no sum overflows: `end()` of a client's range is used only once it is known to be
    // inside.
    if (range.bytes == 0 || range.bytes > space_.bytes || range.va < space_.va ||
        range.va - space_.va > space_.bytes - range.bytes)
        return std::unexpected(Errno::invalid);
    try {
        Mappings spare(CountingLess{&comparisons_});
        spare.try_emplace(0);
        spare.try_emplace(1);
        std::size_t touched = 0;
        for (auto at = first_ending_after(range.va);
             at != mappings_.end() && at->second.range.va < range.end(); ++at)
            ++touched;
        if (removed.capacity() - removed.size() < touched)
            removed.reserve(std::max(removed.size() + touched, removed.capacity() * 2));
        return Reserve{.mapping = spare.extract(std::uint64_t{0}), .tail = spare.extract(std::uint64_t{1})};
    } catch (const std::bad_alloc&) {
        return std::unexpected(Errno::no_memory);
    }
}

Result<void> VaSpace::map(VaMapping mapping, const Apply& apply, Removed& removed) {
    auto reserved = reserve(mapping.range, removed);
    if (!reserved) return std::unexpected(reserved.error());
    carve(mapping.range, std::move(reserved->tail), apply, removed);
    reserved->mapping.key() = mapping.range.va;
    reserved->mapping.mapped() = std::move(mapping);
    const auto inserted = mappings_.insert(std::move(reserved->mapping));
    BELFRY_CHECK(inserted.inserted);
    apply({.kind = VaStep::Kind::map, .mapping = inserted.position->second});
    return {};
}

Result<void> VaSpace::unmap(VaRange range, const Apply& apply, Removed& removed) {
    auto reserved = reserve(range, removed);
    if (!reserved) return std::unexpected(reserved.error());
    carve(range, std::move(reserved->tail), apply, removed);
    return {};
}

const VaMapping* VaSpace::find(std::uint64_t va) const {
    auto above = mappings_.upper_bound(va);
    if (above == mappings_.begin()) return nullptr;
    const VaMapping& mapping = std::prev(above)->second;
    return va - mapping.range.va < mapping.range.bytes ? &mapping : nullptr;
}

VaSpace::Mappings::iterator VaSpace::first_ending_after(std::uint64_t va) {
    const auto above = mappings_.upper_bound(va);
    if (above == mappings_.begin()) return above;
    const auto below = std::prev(above);
    return below->second.range.end() > va ? below : above;
}

void VaSpace::carve(VaRange range, Mappings::node_type tail, const Apply& apply, Removed& removed) {
    auto at = first_ending_after(range.va);
    while (at != mappings_.end() && at->second.range.va < range.end()) {
        const auto next = std::next(at);
        VaMapping& mapping = at->second;
        const VaRange whole = mapping.range;
        const VaMapping gone =
            piece_of(mapping, std::max(whole.va, range.va), std::min(whole.end(), range.end()));
        const bool keeps_head = whole.va < range.va;
        if (whole.end() > range.end()) {
            VaMapping behind = piece_of(mapping, range.end(), whole.end());
            if (!keeps_head) tail = mappings_.extract(at);
            // NOLINTNEXTLINE(bugprone-use-after-move): only the last mapping ends behind the range
            tail.key() = range.end();
            tail.mapped() = std::move(behind);
            mappings_.insert(next, std::move(tail));
        } else if (!keeps_head) {
            mappings_.erase(at);
        }
        if (keeps_head) mapping.range.bytes = range.va - whole.va;
        removed.push_back({.buffer = gone.buffer, .bytes = gone.range.bytes});
        apply({.kind = VaStep::Kind::unmap, .mapping = gone});
        at = next;
    }
}

void VaSpace::check_invariants() const {
    std::uint64_t end = space_.va;
    for (const auto& [va, mapping] : mappings_) {
        BELFRY_CHECK(va == mapping.range.va);
        BELFRY_CHECK(mapping.range.bytes > 0);
        BELFRY_CHECK(va >= end);
        end = mapping.range.end();
        BELFRY_CHECK(end > va);
    }
    BELFRY_CHECK(end <= space_.end());
}

}  // namespace belfry::drm
