// Fence: a promise that signals once, within a bound, and never goes back.
//
// Owned   by everybody who holds a FencePtr; the signaller holds one until it has signalled.
// Runs    in the driver actor: the count is not atomic.
// Called  by whoever makes a promise (jobs, XGS, binds, syncobjs) and whoever waits for one.
// Why so  the contract is the kernel's dma_fence: error and time are set with the signal; a first waiter may
// start
//         what is needed to notice the signal (enable_signalling), so nobody is told what nobody waits for.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <boost/intrusive/list.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include "base/recycled.hpp"
#include "base/result.hpp"

namespace belfry::drm {

using base::Errno;
using base::Result;

class ChainNode;
class Fence;
using FencePtr = boost::intrusive_ptr<Fence>;

/// A waiter's entry in a fence: a member of the waiter, gone from the fence when it is destroyed. Keeps the
/// fence alive while it is entered. May be entered again (in any fence) once it was called or cancelled.
class FenceCallback
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    /// `signalled` is a lambda of at most two words that needs no destructor, e.g. [this]: it is copied
    /// before it runs, so that it may destroy this object, and a copy must not allocate on the signalling
    /// path.
    template <typename F>
        requires(std::is_invocable_v<F&> && std::is_trivially_copyable_v<F> && sizeof(F) <= 2 * sizeof(void*))
    explicit FenceCallback(F signalled) : signalled_(signalled) {}
    FenceCallback(const FenceCallback&) = delete;
    FenceCallback& operator=(const FenceCallback&) = delete;
    ~FenceCallback() { cancel(); }

    void cancel();
    [[nodiscard]] bool pending() const { return is_linked(); }

  private:
    friend class Fence;

    std::function<void()> signalled_;
    FencePtr fence_;
};

/// As FILE_INFO tells of a fence that is pending.
struct FenceNames {
    std::string_view driver;
    std::string_view timeline;
};

class Fence : public boost::intrusive_ref_counter<Fence, boost::thread_unsafe_counter>,
              public base::Recycled<Fence> {
  public:
    /// A pending fence: number `seqno` of `context` (FenceContexts::allocate()).
    static FencePtr make(std::uint64_t context, std::uint64_t seqno) { return {new Fence(context, seqno)}; }

    Fence(const Fence&) = delete;
    Fence& operator=(const Fence&) = delete;
    virtual ~Fence() = default;

    [[nodiscard]] std::uint64_t context() const { return context_; }
    [[nodiscard]] std::uint64_t seqno() const { return seqno_; }

    /// Looks; a fence that only now turns out to be signalled calls its callbacks here.
    [[nodiscard]] bool is_signalled();
    /// Why it failed; nothing while it is pending or if it did not fail.
    [[nodiscard]] std::optional<Errno> error() const { return error_; }
    /// As user space is told: 0 pending, 1 signalled, a negative errno if signalled with an error.
    [[nodiscard]] int status();
    /// When it was signalled; 0 while pending.
    [[nodiscard]] std::uint64_t timestamp_ns() const { return timestamp_ns_; }

    /// Keeps the promise; exactly once. Calls the callbacks in the order of their registration.
    void signal(std::uint64_t now_ns, std::optional<Errno> error = std::nullopt);

    /// Has `callback` called when this fence signals. False if it is signalled already: nothing is called
    /// then. Callbacks may cancel and destroy callbacks, themselves included. They must not signal further
    /// fences (a long line of dependent jobs would be as deep a stack): they mark their owner as ready and
    /// return.
    [[nodiscard]] bool add_callback(FenceCallback& callback);

    /// This fence as a timeline's node, or null. (The kernel's to_dma_fence_chain.)
    [[nodiscard]] virtual ChainNode* chain_node() { return nullptr; }
    /// The parts of a merged fence (fence_merge.hpp); none of any other. (The kernel's dma_fence_array.)
    [[nodiscard]] virtual std::span<const FencePtr> members() const { return {}; }

    [[nodiscard]] virtual FenceNames names() const { return {.driver = "belfry", .timeline = "timeline"}; }
    /// Somebody would like the signal by then: a hint, which nothing but sw_sync remembers.
    virtual void set_deadline(std::uint64_t) {}

  protected:
    Fence(std::uint64_t context, std::uint64_t seqno) : context_(context), seqno_(seqno) {}

    /// A fence whose signal is found by looking looks here, and calls signal() if so.
    virtual void poll() {}
    /// There is a first waiter: from now on the signal must be noticed without anybody looking. May signal at
    /// once.
    virtual void enable_signalling() {}

    [[nodiscard]] bool known_signalled() const { return signalled_; }
    void set_number(std::uint64_t context, std::uint64_t seqno);

  private:
    std::uint64_t context_;
    std::uint64_t seqno_;
    std::uint64_t timestamp_ns_ = 0;
    std::optional<Errno> error_;
    bool signalled_ = false;
    bool signalling_enabled_ = false;
    boost::intrusive::list<FenceCallback, boost::intrusive::constant_time_size<false>> callbacks_;
};

/// A fence that is signalled from the start: what "nothing left to wait for" looks like.
[[nodiscard]] FencePtr signalled_stub(std::uint64_t timestamp_ns);

/// Numbers of fence contexts, each given once. One for a device, which outlives all that number fences with
/// it.
class FenceContexts {
  public:
    /// Never 0: that is the context of stubs.
    [[nodiscard]] std::uint64_t allocate() { return next_++; }

  private:
    std::uint64_t next_ = 1;
};

}  // namespace belfry::drm
