// sw_sync: timelines that programs move by hand, for tests of what waits for fences.
//
// Owns    a SwSyncFile is one timeline: its value. Its fences belong to whoever waits for them; the timeline
//         knows those that are pending, and signals them in order, or with ENOENT when it is closed.
// Runs    in the driver actor.
// Called  by a transport, as any node and file; each open() is a timeline (facts/uapi.md 7.3).
// Why so  these are the only fences whose signal depends on a client, for ever if it likes. As in the kernel
//         they are for tests: who waits for one has asked for it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <boost/intrusive/set.hpp>

#include "drm/exports.hpp"
#include "drm/fence.hpp"
#include "drm/node.hpp"
#include "drm/timers.hpp"

namespace belfry::drm {

/// Signals when its timeline has reached `seqno`.
class SwSyncFence final
    : public Fence,
      public boost::intrusive::set_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    SwSyncFence(std::uint64_t context, std::uint64_t seqno) : Fence(context, seqno) {}

    [[nodiscard]] FenceNames names() const override { return {.driver = "sw_sync", .timeline = "timeline"}; }
    void set_deadline(std::uint64_t deadline_ns) override;
    /// The earliest that was set.
    [[nodiscard]] std::optional<std::uint64_t> deadline() const { return deadline_ns_; }

  private:
    std::optional<std::uint64_t> deadline_ns_;
};

class SwSyncNode final : public Node {
  public:
    /// `after_each` is called after each request and each close, when callbacks of fences have run: to do
    /// what others have become ready for. All outlive the node, and that its files.
    SwSyncNode(Exports& exports, FenceContexts& contexts, Timers& timers, std::function<void()> after_each)
        : exports_(exports), contexts_(contexts), timers_(timers), after_each_(std::move(after_each)) {}

    Result<std::unique_ptr<File>> open(const Opener& opener) override;

  private:
    friend class SwSyncFile;

    Exports& exports_;
    FenceContexts& contexts_;
    Timers& timers_;
    std::function<void()> after_each_;
};

class SwSyncFile final : public File {
  public:
    explicit SwSyncFile(SwSyncNode& node) : node_(node), context_(node.contexts_.allocate()) {}
    SwSyncFile(const SwSyncFile&) = delete;
    SwSyncFile& operator=(const SwSyncFile&) = delete;
    ~SwSyncFile() override;

    /// ENOTTY for what is none of sw_sync's.
    void ioctl(const std::shared_ptr<Call>& call) override;
    /// ENODEV.
    void mmap(const MapRequest& request, MapReply reply) override;

    void check_invariants() const;

  private:
    [[nodiscard]] Result<void> create_fence(Call& call);
    [[nodiscard]] Result<void> inc(Call& call);
    [[nodiscard]] Result<void> get_deadline(Call& call);
    [[nodiscard]] FencePtr fence_at(std::uint32_t value);
    /// Signals pending fences in their order, for as long as `due` says so of the first.
    template <typename Due>
    void signal_first(Due due, std::optional<Errno> error);

    struct SeqnoOf {
        using type = std::uint64_t;
        type operator()(const SwSyncFence& fence) const { return fence.seqno(); }
    };

    SwSyncNode& node_;
    std::uint64_t context_;
    std::uint64_t value_ = 0;  // the kernel's 32 bits are its low half: so the order survives their wrap
    boost::intrusive::set<SwSyncFence, boost::intrusive::key_of_value<SeqnoOf>,
                          boost::intrusive::constant_time_size<false>>
        pending_;  // borrowed: a fence that nobody holds is gone
};

}  // namespace belfry::drm
