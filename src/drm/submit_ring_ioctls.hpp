// SubmitRings: a file's submit rings, the requests that make and end them, and whose turn it is.
//
// Owns    the rings. A member of a driver's file, which outlives it.
// Runs    in the driver actor.
// Called  by a driver's dispatch: each handler is one row of its table; by its file's mmap; and by two Works
//         of its file, with the SubmitDriver that knows the driver's opcodes: advance() by the one that is
//         woken in Device::work, poll() by the one that is woken in Device::polled.
// Why so  a ring that is awake is looked at without anybody saying that there is something: a round of
//         Device::polled gives one ring of one file a turn of a bounded number of entries, so that no ring
//         keeps others, requests or interrupts waiting. One in which nothing is found for a while rests.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <boost/intrusive/list.hpp>

#include "drm/call.hpp"
#include "drm/core_ioctls.hpp"
#include "drm/handles.hpp"
#include "drm/node.hpp"
#include "drm/submit_ring.hpp"

namespace belfry::drm {

class SubmitRings {
  public:
    static constexpr std::uint32_t kRingsMax = 16;
    /// Entries that a ring's turn takes.
    static constexpr std::uint32_t kTurnEntries = 128;
    /// How long a ring is polled in vain: longer than a program's way from completions to its next entries.
    static constexpr std::uint64_t kAwakeNs = 50'000;

    /// All outlive the rings.
    struct Parts {
        Device& device;
        SyncobjTable& syncobjs;
        Work& advance;
        Work& poll;
    };
    explicit SubmitRings(const Parts& parts) : parts_(parts) {}

    /// Gives a turn to rings of which something has completed.
    void advance(SubmitDriver& driver);
    /// Gives a turn to the ring that has waited longest among those that are awake.
    void poll(SubmitDriver& driver);

    /// Whether an offset for mmap is of a submit ring. (BO offsets are below, drivers' own above.)
    [[nodiscard]] static bool is_offset(std::uint64_t offset) {
        return offset >= kMmapOffset && offset < 2 * kMmapOffset;
    }
    /// EINVAL.
    [[nodiscard]] Result<std::vector<MapSegment>> map(const MapRequest& request) const;

    /// The file goes.
    void clear() { rings_.clear(); }
    void check_invariants() const;

  private:
    friend Result<void> submit_ring_create(SubmitRings& rings, Call& call);
    friend Result<void> submit_ring_destroy(SubmitRings& rings, Call& call);
    friend Result<void> submit_ring_enter(SubmitRings& rings, Call& call);

    static constexpr std::uint64_t kMmapOffset = std::uint64_t{1} << 41;
    [[nodiscard]] static constexpr std::uint64_t mmap_offset(std::uint32_t handle) {
        return kMmapOffset + (std::uint64_t{handle} << 32);
    }
    void wake(SubmitRing& ring);

    Parts parts_;
    HandleTable<std::unique_ptr<SubmitRing>> rings_{
        {.first = 1, .last = kRingsMax, .when_full = Errno::busy}};
    boost::intrusive::list<SubmitRing, boost::intrusive::constant_time_size<false>> awake_;
};

Result<void> submit_ring_create(SubmitRings& rings, Call& call);
Result<void> submit_ring_destroy(SubmitRings& rings, Call& call);
Result<void> submit_ring_enter(SubmitRings& rings, Call& call);

}  // namespace belfry::drm
