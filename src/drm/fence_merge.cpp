#include "drm/fence_merge.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/check.hpp"
#include "drm/syncobj.hpp"

namespace belfry::drm {

namespace {

class MergedFence final : public Fence {
  public:
    /// `members` are plain fences.
    MergedFence(std::uint64_t context, std::vector<FencePtr> members)
        : Fence(context, 1), members_(std::move(members)), callback_([this] { advance(); }) {
        for (const FencePtr& member : members_)
            BELFRY_CHECK(member->chain_node() == nullptr && member->members().empty());
    }

    [[nodiscard]] std::span<const FencePtr> members() const override { return members_; }
    [[nodiscard]] FenceNames names() const override { return {.driver = "belfry", .timeline = "merged"}; }
    void set_deadline(std::uint64_t deadline_ns) override {
        for (const FencePtr& member : members_) member->set_deadline(deadline_ns);
    }

  private:
    // Looking at a member may signal it, and its callbacks look at us, or drop us: so what has been seen is
    // counted apart, and kept at the end.
    void poll() override {
        const FencePtr self(this);
        std::size_t at = next_;
        while (at < members_.size() && members_[at]->is_signalled()) ++at;
        next_ = std::max(next_, at);
        finish();
    }
    void enable_signalling() override { advance(); }

    /// Waits for the first member that is not signalled; signals if there is none.
    void advance() {
        const FencePtr self(this);
        for (std::size_t at = next_; at < members_.size(); ++at) {
            next_ = std::max(next_, at);
            if (members_[at]->add_callback(callback_)) return;
        }
        next_ = members_.size();
        finish();
    }

    void finish() {
        if (next_ < members_.size() || known_signalled()) return;
        std::uint64_t latest_ns = 0;
        const Fence* failed = nullptr;
        for (const FencePtr& member : members_) {
            latest_ns = std::max(latest_ns, member->timestamp_ns());
            if (member->error() && (failed == nullptr || member->timestamp_ns() < failed->timestamp_ns()))
                failed = member.get();
        }
        signal(latest_ns, failed != nullptr ? failed->error() : std::nullopt);
    }

    std::vector<FencePtr> members_;
    std::size_t next_ = 0;  // all before it are signalled
    FenceCallback callback_;
};

}  // namespace

std::vector<FencePtr> unwrap_fence(const FencePtr& fence) {
    std::vector<FencePtr> parts;
    for (FencePtr at = fence; at; at = ChainNode::walk(at)) {
        const FencePtr own = ChainNode::contained(at);
        const auto members = own->members();
        if (members.empty())
            parts.push_back(own);
        else
            parts.insert(parts.end(), members.begin(), members.end());
    }
    return parts;
}

FencePtr merge_fences(FenceContexts& contexts, std::span<const FencePtr> fences) {
    std::vector<FencePtr> pending;
    for (const FencePtr& fence : fences)
        for (FencePtr& part : unwrap_fence(fence))
            if (!part->is_signalled()) pending.push_back(std::move(part));

    if (pending.empty()) {
        std::uint64_t latest_ns = 0;
        for (const FencePtr& fence : fences)
            if (fence->is_signalled()) latest_ns = std::max(latest_ns, fence->timestamp_ns());
        return signalled_stub(latest_ns);
    }
    // By context, and in each the latest first.
    std::ranges::sort(pending, [](const FencePtr& a, const FencePtr& b) {
        return a->context() != b->context() ? a->context() < b->context() : a->seqno() > b->seqno();
    });
    const auto [rest, end] = std::ranges::unique(pending, {}, &Fence::context);
    pending.erase(rest, end);
    if (pending.size() == 1) return pending.front();
    return {new MergedFence(contexts.allocate(), std::move(pending))};
}

}  // namespace belfry::drm
