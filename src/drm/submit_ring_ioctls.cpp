#include "drm/submit_ring_ioctls.hpp"

#include <bit>
#include <utility>

#include <sys/mman.h>

#include "base/check.hpp"

namespace belfry::drm {
namespace {

using namespace belfry::uapi;

constexpr auto kInvalid = std::unexpected(Errno::invalid);

}  // namespace

Result<void> submit_ring_create(SubmitRings& rings, Call& call) {
    auto& args = call.args<belfry_submit_ring_create>();
    if (args.flags != 0 || args.handle != 0 || args.mmap_offset != 0 || args.mmap_bytes != 0 ||
        args.entries_offset != 0 || args.arena_offset != 0 || args.consumer_offset != 0 ||
        args.completions_offset != 0)
        return kInvalid;
    if (args.sq_entries == 0 || args.sq_entries > BELFRY_SUBMIT_SQ_ENTRIES_MAX) return kInvalid;
    if (args.cq_entries > BELFRY_SUBMIT_CQ_ENTRIES_MAX || args.arena_bytes > BELFRY_SUBMIT_ARENA_BYTES_MAX)
        return kInvalid;
    if (args.cq_entries != 0 && args.cq_entries < args.sq_entries) return kInvalid;
    const std::uint32_t sq_entries = std::bit_ceil(args.sq_entries);
    const SubmitRingOptions options{
        .sq_entries = sq_entries,
        .cq_entries = args.cq_entries == 0 ? 2 * sq_entries : std::bit_ceil(args.cq_entries),
        .arena_bytes = static_cast<std::uint32_t>(base::round_up_to_page(args.arena_bytes))};
    auto completions = call.take_eventfd(args.eventfd_completions);
    if (!completions) return std::unexpected(completions.error());
    auto made = SubmitRing::make({.syncobjs = rings.parts_.syncobjs,
                                  .timers = rings.parts_.device.timers,
                                  .work = rings.parts_.advance,
                                  .queue = rings.parts_.device.work},
                                 options, std::move(*completions));
    if (!made) return std::unexpected(made.error());
    const SubmitRing& ring = **made;
    args.sq_entries = options.sq_entries;
    args.cq_entries = options.cq_entries;
    args.arena_bytes = options.arena_bytes;
    args.mmap_bytes = ring.client_memory().mapping.size() + ring.consumer_memory().mapping.size();
    args.entries_offset = sizeof(belfry_submit_client);
    args.arena_offset = static_cast<std::uint32_t>(SubmitRing::arena_offset(options));
    args.consumer_offset = static_cast<std::uint32_t>(ring.client_memory().mapping.size());
    args.completions_offset = args.consumer_offset + std::uint32_t{sizeof(belfry_submit_consumer)};
    const auto handle = rings.rings_.insert(std::move(*made));
    if (!handle) return std::unexpected(handle.error());
    args.handle = *handle;
    args.mmap_offset = SubmitRings::mmap_offset(*handle);
    return {};
}

Result<void> submit_ring_destroy(SubmitRings& rings, Call& call) {
    const auto& args = call.args<belfry_submit_ring_destroy>();
    if (args.pad != 0 || !rings.rings_.remove(args.handle)) return kInvalid;
    return {};
}

Result<void> submit_ring_enter(SubmitRings& rings, Call& call) {
    const auto& args = call.args<belfry_submit_ring_enter>();
    const auto* const found = rings.rings_.find(args.handle);
    if (args.pad != 0 || found == nullptr || (*found)->error()) return kInvalid;
    rings.wake(**found);
    return {};
}

void SubmitRings::wake(SubmitRing& ring) {
    ring.last_found_ns = parts_.device.timers.now();
    if (ring.is_linked()) return;
    ring.wake();
    awake_.push_back(ring);
    parts_.device.polled.wake(parts_.poll);
}

void SubmitRings::advance(SubmitDriver& driver) {
    rings_.for_each([&](std::uint32_t, const std::unique_ptr<SubmitRing>& ring) {
        if (!ring->has_news()) return;
        parts_.device.submit_entries += ring->turn(driver, kTurnEntries);
        // It may have been full, or drained: what is more than a turn is for the next one.
        if (!ring->is_linked() && ring->may_take()) wake(*ring);
    });
}

void SubmitRings::poll(SubmitDriver& driver) {
    if (awake_.empty()) return;
    SubmitRing& ring = awake_.front();
    awake_.pop_front();
    const std::uint64_t now = parts_.device.timers.now();
    const std::uint32_t taken = ring.turn(driver, kTurnEntries);
    parts_.device.submit_entries += taken;
    if (taken != 0) ring.last_found_ns = now;
    if (now - ring.last_found_ns <= kAwakeNs || !ring.rest()) awake_.push_back(ring);
    if (!awake_.empty()) parts_.device.polled.wake(parts_.poll);
}

Result<std::vector<MapSegment>> SubmitRings::map(const MapRequest& request) const {
    const auto* const found = rings_.find(static_cast<std::uint32_t>((request.offset - kMmapOffset) >> 32));
    if (found == nullptr || request.offset % (std::uint64_t{1} << 32) != 0) return kInvalid;
    const base::SharedMemory& client = (*found)->client_memory();
    const base::SharedMemory& consumer = (*found)->consumer_memory();
    if ((request.protection & PROT_EXEC) != 0 ||
        request.bytes != client.mapping.size() + consumer.mapping.size())
        return kInvalid;
    return std::vector{MapSegment{.fd = client.fd.get(),
                                  .fd_offset = 0,
                                  .bytes = client.mapping.size(),
                                  .access = base::Access::read_write},
                       MapSegment{.fd = consumer.fd.get(),
                                  .fd_offset = 0,
                                  .bytes = consumer.mapping.size(),
                                  .access = base::Access::read}};
}

void SubmitRings::check_invariants() const {
    rings_.check_invariants();
    rings_.for_each([](std::uint32_t, const std::unique_ptr<SubmitRing>& ring) { ring->check_invariants(); });
}

}  // namespace belfry::drm
