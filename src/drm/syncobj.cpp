#include "drm/syncobj.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"

namespace belfry::drm {

// --- ChainNode

ChainNode::~ChainNode() {
    // A chain is as long as its client likes: taken apart node by node, never by recursion.
    FencePtr older = std::move(prev_);
    while (older && older->use_count() == 1) {
        ChainNode* const node = older->chain_node();
        if (node == nullptr) break;
        older = std::exchange(node->prev_, nullptr);
    }
}

FencePtr ChainNode::contained(const FencePtr& at) {
    const ChainNode* const node = at->chain_node();
    return node == nullptr ? at : node->fence_;
}

FencePtr ChainNode::walk(const FencePtr& at) {
    ChainNode* const node = at->chain_node();
    if (node == nullptr) return nullptr;
    while (const FencePtr older = node->prev_) {
        const FencePtr own = contained(older);
        if (!own->is_signalled()) return older;
        // Looking may have called callbacks, and those may have walked here before us.
        if (node->prev_ != older) continue;
        node->latest_ns_ = std::max(node->latest_ns_, own->timestamp_ns());
        const ChainNode* const older_node = older->chain_node();
        if (older_node != nullptr) node->latest_ns_ = std::max(node->latest_ns_, older_node->latest_ns_);
        node->prev_ = older_node == nullptr ? nullptr : older_node->prev_;
    }
    return nullptr;
}

FencePtr ChainNode::first_unsignalled() {
    for (FencePtr at(this); at; at = walk(at)) {
        FencePtr own = contained(at);
        if (!own->is_signalled()) return own;
        latest_ns_ = std::max(latest_ns_, own->timestamp_ns());
    }
    return nullptr;
}

void ChainNode::poll() {
    const FencePtr self(this);
    // Looking at the parts may already have signalled the whole, through callback_.
    if (!first_unsignalled() && !known_signalled()) signal(latest_ns_);
}

void ChainNode::advance() {
    const FencePtr self(this);  // looking at a fence may signal it, and its callbacks drop us
    while (const FencePtr fence = first_unsignalled())
        if (fence->add_callback(callback_)) return;
    // As deep as it gets: the fences in a chain are no nodes, and neither are the members of a merged fence,
    // so a node is never signalled by another's signal.
    if (!known_signalled()) signal(latest_ns_);
}

void ChainNode::set_deadline(std::uint64_t deadline_ns) {
    for (FencePtr at(this); at; at = walk(at)) contained(at)->set_deadline(deadline_ns);
}

// --- SyncobjWaiter

void SyncobjWaiter::cancel() {
    unlink();
    fence_.reset();
    syncobj_.reset();
}

// --- Syncobj

Syncobj::~Syncobj() {
    while (!waiters_.empty()) {  // observers: a waiter would have kept us
        SyncobjWaiter& waiter = *waiters_.begin();
        const auto found = waiter.found_;  // the callback may destroy the waiter
        waiter.cancel();
        found(nullptr);
    }
}

Result<FencePtr> Syncobj::find_in(FencePtr head, std::uint64_t point) {
    if (!head) return std::unexpected(Errno::invalid);
    if (point == 0) return head;
    if (head->chain_node() == nullptr || head->seqno() < point) return std::unexpected(Errno::invalid);
    FencePtr at = head;
    while (at) {
        const ChainNode* const node = at->chain_node();
        if (node == nullptr || node->context() != head->context() || node->prev_seqno() < point) return at;
        at = ChainNode::walk(at);
    }
    return signalled_stub(head->chain_node()->latest_ns_);  // off the end: signalled and unlinked
}

void Syncobj::replace(FencePtr fence) {
    const SyncobjPtr self(this);
    const FencePtr old = std::exchange(fence_, std::move(fence));
    points_since_walk_ = 0;
    nodes_at_walk_ = 0;
    if (fence_ != old) satisfy_waiters();
}

void Syncobj::add_point(ChainNodePtr node, FencePtr fence, std::uint64_t point) {
    BELFRY_CHECK(node->fence_ == nullptr);         // blank
    BELFRY_CHECK(fence->chain_node() == nullptr);  // else signals would nest as deep as a client likes
    const SyncobjPtr self(this);
    const ChainNode* const last = fence_ ? fence_->chain_node() : nullptr;
    if (last != nullptr && point > last->seqno()) {
        node->set_number(last->context(), point);
        node->prev_seqno_ = last->seqno();
    } else {
        node->set_number(contexts_.allocate(), last == nullptr ? point : std::max(point, last->seqno()));
    }
    node->fence_ = std::move(fence);
    node->prev_ = std::exchange(fence_, node);
    satisfy_waiters();

    // `node` may be gone from here by now; its chain is what is to be cleaned. A walk for each point would
    // make a client's n pending points cost n * n steps, none would keep n dead nodes: a walk after as many
    // points as there were nodes costs O(1) a point and keeps at most twice what is pending.
    if (++points_since_walk_ <= nodes_at_walk_) return;
    points_since_walk_ = 0;
    nodes_at_walk_ = 0;
    for (FencePtr at = std::move(node); at; at = ChainNode::walk(at)) ++nodes_at_walk_;
}

std::uint64_t Syncobj::query() {
    const FencePtr head = fence_;
    if (!head || head->chain_node() == nullptr) return 0;
    FencePtr oldest = head;
    for (FencePtr at = head; at && at->context() == head->context() && at->chain_node() != nullptr;
         at = ChainNode::walk(at))
        oldest = at;
    return oldest->is_signalled() ? oldest->seqno() : oldest->chain_node()->prev_seqno();
}

std::uint64_t Syncobj::query_last_submitted() const {
    return fence_ && fence_->chain_node() != nullptr ? fence_->seqno() : 0;
}

void Syncobj::add_waiter(SyncobjWaiter& waiter) {
    add_observer(waiter);
    waiter.syncobj_ = this;
}

void Syncobj::add_observer(SyncobjWaiter& waiter) {
    BELFRY_CHECK(!waiter.pending());
    BELFRY_CHECK(!fence_ || waiter.point_ > query_last_submitted());
    waiters_.insert(waiter);
}

void Syncobj::satisfy_waiters() {
    const FencePtr head = fence_;
    if (!head) return;
    const std::uint64_t reached = query_last_submitted();  // point 0 needs a fence only, the others a number
    // First all fences are picked, then the waiters are called: one of them may replace the fence again, and
    // the others have still seen this one.
    Waiters satisfied;
    while (!waiters_.empty() && waiters_.begin()->point_ <= reached) {
        const std::uint64_t point = waiters_.begin()->point_;
        FencePtr fence = *find_in(head, point);
        // Looking at fences may have signalled one, and its callbacks may have taken waiters away.
        if (waiters_.empty() || waiters_.begin()->point_ != point) continue;
        SyncobjWaiter& waiter = *waiters_.begin();
        waiter.unlink();
        waiter.fence_ = std::move(fence);
        satisfied.insert(satisfied.end(), waiter);
    }
    while (!satisfied.empty()) {
        SyncobjWaiter& waiter = *satisfied.begin();
        const auto found = waiter.found_;  // the callback may destroy the waiter
        FencePtr fence = std::move(waiter.fence_);
        waiter.cancel();
        found(std::move(fence));
    }
}

void Syncobj::check_invariants() const {
    const std::uint64_t reached = query_last_submitted();
    for (const SyncobjWaiter& waiter : waiters_) {
        BELFRY_CHECK(waiter.syncobj_ == nullptr || waiter.syncobj_ == this);
        BELFRY_CHECK(waiter.fence_ == nullptr);
        BELFRY_CHECK(!fence_ || waiter.point_ > reached);
    }
    if (!fence_ || fence_->chain_node() == nullptr) return;
    std::uint64_t context = fence_->context();
    std::uint64_t above = fence_->seqno();
    for (const ChainNode* node = fence_->chain_node(); node != nullptr;
         node = node->prev_ ? node->prev_->chain_node() : nullptr) {
        BELFRY_CHECK(node->fence_ != nullptr && node->fence_->chain_node() == nullptr);
        BELFRY_CHECK(node->seqno() <= above);
        BELFRY_CHECK(node->prev_seqno_ == 0 || node->prev_seqno_ < node->seqno());
        if (node != fence_.get() && node->context() == context) BELFRY_CHECK(node->seqno() < above);
        context = node->context();
        above = node->seqno();
    }
}

}  // namespace belfry::drm
