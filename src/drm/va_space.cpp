#include "drm/va_space.hpp"

#include <algorithm>
#include <iterator>
#include <memory>
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

/// The next piece of a reserve, as `mapping`.
std::unique_ptr<VaPiece> piece_from(VaSpace::Reserve& reserve, VaMapping mapping) {
    BELFRY_CHECK(!reserve.empty());
    auto piece = reserve.pop_front();
    static_cast<VaMapping&>(*piece) = std::move(mapping);
    return piece;
}

}  // namespace

VaSpace::VaSpace(VaRange space) : space_(space) { BELFRY_CHECK(space.bytes > 0 && space.bytes <= ~space.va); }

VaSpace::~VaSpace() { mappings_.clear_and_dispose(std::default_delete<VaPiece>()); }

Result<VaSpace::Reserve> VaSpace::reserve(VaStep::Kind kind) {
    // Only the first and the last of the overlapped mappings can lose a part and keep another, which makes
    // two pieces of one; a single one that keeps both ends becomes three.
    Reserve reserve;
    for (int pieces = kind == VaStep::Kind::map ? 3 : 2; pieces > 0; --pieces) {
        std::unique_ptr<VaPiece> piece(new (std::nothrow) VaPiece);
        if (piece == nullptr) return std::unexpected(Errno::no_memory);
        reserve.push_back(std::move(piece));
    }
    return reserve;
}

bool VaSpace::contains(VaRange range) const {
    // Written so that no sum overflows: `end()` of a client's range is used only once it is known to be
    // inside.
    return range.bytes != 0 && range.bytes <= space_.bytes && range.va >= space_.va &&
           range.va - space_.va <= space_.bytes - range.bytes;
}

Result<void> VaSpace::map(VaMapping mapping, Reserve& reserve, const Apply& apply, Removed& removed) {
    if (!contains(mapping.range)) return std::unexpected(Errno::invalid);
    carve(mapping.range, reserve, apply, removed);
    VaPiece& piece = *piece_from(reserve, std::move(mapping)).release();
    const bool inserted = mappings_.insert(piece).second;
    BELFRY_CHECK(inserted);
    apply({.kind = VaStep::Kind::map, .mapping = piece});
    return {};
}

Result<void> VaSpace::unmap(VaRange range, Reserve& reserve, const Apply& apply, Removed& removed) {
    if (!contains(range)) return std::unexpected(Errno::invalid);
    carve(range, reserve, apply, removed);
    return {};
}

const VaMapping* VaSpace::find(std::uint64_t va) const {
    const auto above = mappings_.upper_bound(va);
    if (above == mappings_.begin()) return nullptr;
    const VaMapping& mapping = *std::prev(above);
    return va - mapping.range.va < mapping.range.bytes ? &mapping : nullptr;
}

VaSpace::Mappings::iterator VaSpace::first_ending_after(std::uint64_t va) {
    const auto above = mappings_.upper_bound(va);
    if (above == mappings_.begin()) return above;
    const auto below = std::prev(above);
    return below->range.end() > va ? below : above;
}

void VaSpace::carve(VaRange range, Reserve& reserve, const Apply& apply, Removed& removed) {
    auto at = first_ending_after(range.va);
    while (at != mappings_.end() && at->range.va < range.end()) {
        const auto next = std::next(at);
        VaPiece& mapping = *at;
        const VaRange whole = mapping.range;
        const bool keeps_head = whole.va < range.va;
        const bool keeps_tail = whole.end() > range.end();
        std::unique_ptr<VaPiece> gone;
        if (keeps_head || keeps_tail) {
            gone = piece_from(
                reserve, piece_of(mapping, std::max(whole.va, range.va), std::min(whole.end(), range.end())));
        } else {
            mappings_.erase(at);
            gone.reset(&mapping);
        }
        if (keeps_head && keeps_tail)
            mappings_.insert_before(
                next, *piece_from(reserve, piece_of(mapping, range.end(), whole.end())).release());
        // Both leave it where it is in the order.
        if (keeps_head)
            mapping.range.bytes = range.va - whole.va;
        else if (keeps_tail)
            static_cast<VaMapping&>(mapping) = piece_of(mapping, range.end(), whole.end());
        const VaPiece& unmapped = *gone;
        removed.push_back(std::move(gone));
        apply({.kind = VaStep::Kind::unmap, .mapping = unmapped});
        at = next;
    }
}

void VaSpace::check_invariants() const {
    std::uint64_t end = space_.va;
    for (const VaMapping& mapping : mappings_) {
        BELFRY_CHECK(mapping.range.bytes > 0);
        BELFRY_CHECK(mapping.range.va >= end);
        end = mapping.range.end();
        BELFRY_CHECK(end > mapping.range.va);
    }
    BELFRY_CHECK(end <= space_.end());
}

}  // namespace belfry::drm
