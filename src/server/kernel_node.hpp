// KernelNode: a DRM node of the kernel, whose driver calls come to us through /dev/belfry (belfry.ko).
//
// Owns    the control file, the io_uring through which calls are fetched and answered, and the drm::File of
// each
//         file that programs have opened.
// Runs    in the driver actor, on the thread of its io_context. No locks.
// Called  by Server, which makes it last; calls drm::File. The other transport is Listener with its Sessions.
//
// The kernel carries bytes (uapi/node.h). What they mean is known here, by the same table as a socket's: a
// call is marshalled from the caller's memory, handed to the driver, and its reply unmarshalled into it. That
// memory is read piece by piece: what is missing is asked for, and the call comes once more, with it. So a
// struct without arrays takes no extra round, and we never touch the memory ourselves, where a program could
// make us wait.
//
// The programs' syncobjs are the kernel's: points are found, prepared and signalled by requests that never
// wait (drm::ForeignSyncobjs), and what a job waits for is a fence of ours that the kernel has us signal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <liburing.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <boost/intrusive/list.hpp>

#include "base/fd.hpp"
#include "belfry/uapi/node.h"
#include "drm/fence.hpp"
#include "drm/node.hpp"

namespace belfry::server {

class KernelNode {
  public:
    struct Hooks {
        std::function<void()> before_each;  ///< before each event is handled: tell the driver the time
        std::function<void()> after_each;   ///< after each event that was handled
        std::function<void()> on_lost;      ///< the node is gone for good; may not destroy the KernelNode
    };

    /// Opening the control file makes the node: programs find it from here on. The error is a sentence.
    static std::expected<std::unique_ptr<KernelNode>, std::string> open(asio::io_context& io,
                                                                        const std::string& path,
                                                                        drm::Node& node,
                                                                        drm::FenceContexts& contexts,
                                                                        Hooks hooks);
    KernelNode(const KernelNode&) = delete;
    KernelNode& operator=(const KernelNode&) = delete;
    /// The node goes away; files die, their calls are cancelled.
    ~KernelNode();

    /// Tells the kernel which of our fences have signalled. At the end of each turn of the loop: an interrupt
    /// may end many jobs, and their program is woken once.
    void send_signals();

  private:
    class Call;
    class Point;
    class Syncobjs;
    class Reading;
    struct Slot;
    struct Completion {
        Slot* slot;
        bool answered;  ///< else fetched
        int result;
        std::uint64_t call;
    };
    struct Client;
    struct Owed;

    KernelNode(asio::io_context& io, base::Fd control, drm::Node& node, drm::FenceContexts& contexts,
               Hooks hooks);

    void await_completions();
    void drain();
    void completed(const Completion& completion);
    void fetch_more();
    void prepare(unsigned operation, Slot& slot);
    void submit();

    void serve(Slot& slot);
    void ioctl(Slot& slot, Client& client);
    void mmap(Slot& slot, Client& client);
    /// Gives the answer that the slot holds.
    void answer(Slot& slot);
    void answer(Slot& slot, base::Result<void> result);
    void end_client(std::uint64_t serial);
    base::Result<Client*> client_of(const Slot& slot);
    void submit_entry(const Slot& slot);
    void fence_signalled(std::uint64_t id, std::int32_t error);
    void owe(Owed& point);
    void say_alive();
    base::Result<void> sync(unsigned long request, uapi::belfry_node_sync& args);

    base::Fd control_;
    drm::Node& node_;
    drm::FenceContexts& contexts_;
    Hooks hooks_;
    io_uring ring_{};
    asio::posix::stream_descriptor completions_;  // borrows the ring's descriptor
    std::unordered_map<Slot*, std::shared_ptr<Slot>> slots_;
    std::unordered_map<std::uint64_t, std::unique_ptr<Client>> clients_;
    /// What of the kernel's fences our jobs wait for, by the kernel's ids. One that has signalled was told of
    /// before the entry that waits for it.
    std::unordered_map<std::uint64_t, drm::FencePtr> watched_;
    /// Published and not signalled: what our jobs owe the kernel's syncobjs.
    struct Owed
        : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
        virtual ~Owed() = default;
    };
    boost::intrusive::list<Owed, boost::intrusive::constant_time_size<false>> owed_;
    std::vector<uapi::belfry_node_signal> signals_;  // not told yet
    asio::steady_timer alive_;
    bool says_alive_ = false;
    unsigned fetching_ = 0;
    bool draining_ = false;
    bool lost_ = false;
};

}  // namespace belfry::server
