// Syncobj: a handle's worth of fence that can be replaced (binary) or grown point by point (timeline).
//
// Owned   by every handle, descriptor, job and waiter that refers to it (SyncobjPtr).
// Runs    in the driver actor.
// Called  by the syncobj ioctls and by drivers that wait for or signal sync operations.
// Why so  it follows the kernel's drm_syncobj and dma_fence_chain in every observable detail, since programs
//         depend on them: what an out-of-order point does, what a query answers, what a wait picks up.
#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>

#include <boost/intrusive/set.hpp>

#include "drm/fence.hpp"

namespace belfry::drm {

class Syncobj;
using ChainNodePtr = boost::intrusive_ptr<ChainNode>;
using SyncobjPtr = boost::intrusive_ptr<Syncobj>;

/// One point of a timeline. Signalled when its own fence and every earlier one in the chain are; it has no
/// error of its own. Nodes of one context rise in number; a point that does not starts a new context.
class ChainNode final : public Fence {
  public:
    /// Blank. Made before the point of no return, so that Syncobj::add_point cannot fail.
    static ChainNodePtr make() { return {new ChainNode}; }
    ~ChainNode() override;

    /// The fence that was added at this point. Never a chain node itself.
    [[nodiscard]] const FencePtr& fence() const { return fence_; }
    /// The number of the node before it in its context, also when that is gone; 0 for the first of a context.
    [[nodiscard]] std::uint64_t prev_seqno() const { return prev_seqno_; }
    [[nodiscard]] ChainNode* chain_node() override { return this; }
    void set_deadline(std::uint64_t deadline_ns) override;

    /// What comes before `at` in its chain: the next older fence (a node, or what was there before the first)
    /// that is not signalled by itself, or null. Unlinks those between.
    [[nodiscard]] static FencePtr walk(const FencePtr& at);
    /// The fence in `at` if that is a node, else `at`.
    [[nodiscard]] static FencePtr contained(const FencePtr& at);

  private:
    friend class Syncobj;

    ChainNode() : Fence(0, 0), callback_([this] { advance(); }) {}

    void poll() override;
    void enable_signalling() override { advance(); }
    /// Waits for the newest fence of the chain that is not signalled; signals if there is none.
    void advance();
    [[nodiscard]] FencePtr first_unsignalled();

    FencePtr fence_;
    FencePtr prev_;
    std::uint64_t prev_seqno_ = 0;
    std::uint64_t latest_ns_ = 0;  // the latest signal among the fences that were found signalled
    FenceCallback callback_;
};

/// Waits for a syncobj to get a fence for a point: a member of the waiter, gone when it is destroyed. Keeps
/// the syncobj alive while it waits, if add_waiter() entered it; not if add_observer() did.
class SyncobjWaiter
    : public boost::intrusive::set_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    /// `found` is called once, with the fence for the point (as find_point() gives it), or with null if the
    /// syncobj ends before. It is a lambda of at most two words that needs no destructor, e.g. [this]; it may
    /// destroy this object and change the syncobj (which is there no more if the fence is null).
    template <typename F>
        requires(std::is_invocable_v<F&, FencePtr> && std::is_trivially_copyable_v<F> &&
                 sizeof(F) <= 2 * sizeof(void*))
    SyncobjWaiter(std::uint64_t point, F found) : point_(point), found_(found) {}
    SyncobjWaiter(const SyncobjWaiter&) = delete;
    SyncobjWaiter& operator=(const SyncobjWaiter&) = delete;
    ~SyncobjWaiter() { cancel(); }

    void cancel();
    [[nodiscard]] bool pending() const { return is_linked(); }
    [[nodiscard]] std::uint64_t point() const { return point_; }

  private:
    friend class Syncobj;

    std::uint64_t point_;
    std::function<void(FencePtr)> found_;
    SyncobjPtr syncobj_;
    FencePtr fence_;  // between being satisfied and being called
};

class Syncobj : public boost::intrusive_ref_counter<Syncobj, boost::thread_unsafe_counter> {
  public:
    /// Unsubmitted: without a fence.
    static SyncobjPtr make(FenceContexts& contexts) { return {new Syncobj(contexts)}; }
    Syncobj(const Syncobj&) = delete;
    Syncobj& operator=(const Syncobj&) = delete;
    ~Syncobj();

    /// The current fence; null if unsubmitted.
    [[nodiscard]] const FencePtr& fence() const { return fence_; }

    /// The fence to wait for if one wants `point`: for 0 the current fence (of a timeline: all of it), else
    /// the node that reaches the point, or a stub if that was signalled long ago. EINVAL: not submitted.
    [[nodiscard]] Result<FencePtr> find_point(std::uint64_t point) { return find_in(fence_, point); }

    /// Drops what was there. Null makes it unsubmitted.
    void replace(FencePtr fence);

    /// Adds `fence` (not a chain node) as `point`. A point that is not above the last one is accepted: it
    /// starts a new context with the last number, so that waiting for either waits for all.
    void add_point(ChainNodePtr node, FencePtr fence, std::uint64_t point);
    void add_point(FencePtr fence, std::uint64_t point) {
        add_point(ChainNode::make(), std::move(fence), point);
    }

    /// The highest point that is signalled with all before it; 0 for a binary or unsubmitted syncobj.
    [[nodiscard]] std::uint64_t query();
    /// The highest point that was added; 0 as above.
    [[nodiscard]] std::uint64_t query_last_submitted() const;

    /// Has `waiter` called with the first fence that satisfies its point. The point must not be there yet.
    void add_waiter(SyncobjWaiter& waiter);
    /// The same for one that does not keep the syncobj alive.
    void add_observer(SyncobjWaiter& waiter);

    void check_invariants() const;

  private:
    explicit Syncobj(FenceContexts& contexts) : contexts_(contexts) {}

    [[nodiscard]] static Result<FencePtr> find_in(FencePtr head, std::uint64_t point);
    /// Calls the waiters that the current fence satisfies: those up to its number, and no others are looked
    /// at.
    void satisfy_waiters();

    struct PointOf {
        using type = std::uint64_t;
        const type& operator()(const SyncobjWaiter& waiter) const { return waiter.point_; }
    };
    using Waiters = boost::intrusive::multiset<SyncobjWaiter, boost::intrusive::key_of_value<PointOf>,
                                               boost::intrusive::constant_time_size<false>>;

    FenceContexts& contexts_;
    FencePtr fence_;
    Waiters waiters_;
    // Unlinking signalled nodes takes a walk of the chain; one is made when as many points came as it last
    // had.
    std::uint64_t points_since_walk_ = 0;
    std::uint64_t nodes_at_walk_ = 0;
};

}  // namespace belfry::drm
