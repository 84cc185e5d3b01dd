#include "server/kernel_node.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.hpp"
#include "base/clock.hpp"
#include "base/memory.hpp"
#include "drm/foreign_syncobjs.hpp"
#include "uapi/wire.hpp"

namespace belfry::server {

using base::Errno;
using base::Result;

namespace {

/// Calls that the kernel can tell us of at once. More wait in the kernel until some of these are answered or
/// put off.
constexpr unsigned kFetches = 32;

/// What a completion is of: the lowest bit of its user_data, which is a slot's address.
constexpr std::uint64_t kAnswered = 1;

std::unexpected<std::string> because(const std::string& what, int error) {
    return std::unexpected(what + ": " + std::strerror(error));
}

}  // namespace

// ---- Reading: what is known so far of the memory and the descriptors of a call's process

class KernelNode::Reading {
  public:
    explicit Reading(std::int32_t pid) : pid_(pid) {}

    void add(std::uint64_t address, std::vector<std::byte> bytes) {
        pieces_.push_back({address, std::move(bytes)});
    }
    /// The kernel has filled in what was missing, or could not.
    void came(bool readable) {
        if (!readable) faulted_ = true;
        missing_ = {};
        process_is_callers_ = static_cast<bool>(process_);
    }
    /// Something was wanted that is not here: the call has to come once more.
    [[nodiscard]] bool lacks() const { return lacks_process_ || missing_.bytes != 0; }
    /// What to copy for it; nothing if it is enough that the call comes again.
    [[nodiscard]] std::vector<uapi::belfry_node_copy> ask() {
        lacks_process_ = false;
        if (missing_.bytes == 0) return {};
        Piece& piece = pieces_.emplace_back(Piece{missing_.address, std::vector<std::byte>(missing_.bytes)});
        return {{.caller = piece.address,
                 .server = reinterpret_cast<std::uint64_t>(piece.bytes.data()),
                 .bytes = missing_.bytes}};
    }
    [[nodiscard]] std::vector<base::Fd> take_fds() { return std::move(fds_); }

    /// UserMemory knows no object: this is the one that it speaks for.
    static Reading* current;
    static const uapi::UserMemory kMemory;

    /// What is to be written, in the end.
    struct Piece {
        std::uint64_t address;
        std::vector<std::byte> bytes;
    };
    std::vector<Piece> writes;

  private:
    bool read(void* to, std::uint64_t address, std::size_t bytes) {
        for (const Piece& piece : pieces_) {
            if (address < piece.address || address - piece.address > piece.bytes.size() ||
                piece.bytes.size() - (address - piece.address) < bytes)
                continue;
            std::memcpy(to, piece.bytes.data() + (address - piece.address), bytes);
            // What could not be read is there too, as zeros; a fault is one for all.
            return !faulted_;
        }
        if (faulted_) return false;
        // Texts are read by the character: the rest of the page comes along, which is as readable.
        constexpr std::size_t kFew = 64;
        const std::size_t to_page_end = base::kPageBytes - address % base::kPageBytes;
        missing_ = {address, bytes < kFew ? std::max(bytes, to_page_end) : bytes};
        return false;
    }

    /// A process is found by its number, which may be another's once ours was killed. So that process is
    /// taken first; that the call comes again proves that its caller still lived then.
    int descriptor(int number) {
        if (!process_) {
            process_ = base::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
            lacks_process_ = true;
            return -1;
        }
        if (!process_is_callers_) return -1;
        base::Fd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, process_.get(), number, 0)));
        if (!fd) return -1;
        fds_.push_back(std::move(fd));
        return fds_.back().get();
    }

    std::int32_t pid_;
    std::vector<Piece> pieces_;
    struct {
        std::uint64_t address = 0;
        std::size_t bytes = 0;
    } missing_;
    bool faulted_ = false;
    base::Fd process_;
    bool process_is_callers_ = false;
    bool lacks_process_ = false;
    std::vector<base::Fd> fds_;
};

KernelNode::Reading* KernelNode::Reading::current = nullptr;
const uapi::UserMemory KernelNode::Reading::kMemory{
    .read = [](void* to, const void* user,
               std::size_t bytes) { return current->read(to, reinterpret_cast<std::uint64_t>(user), bytes); },
    .write =
        [](void* user, const void* from, std::size_t bytes) {
            const auto* const data = static_cast<const std::byte*>(from);
            current->writes.push_back(
                {reinterpret_cast<std::uint64_t>(user), std::vector<std::byte>(data, data + bytes)});
            return true;
        },
    .descriptor = [](int number) { return current->descriptor(number); },
};

// ---- Slots, calls, clients

/// Room for one call. The kernel's until its completion, then the call's until the answer.
struct KernelNode::Slot {
    uapi::belfry_node_slot wire{};
    std::unique_ptr<Reading> reading;
    uapi::Outgoing outgoing;  // as the program passed it: says where the reply goes
    std::vector<uapi::belfry_node_copy> copies;
    std::vector<uapi::belfry_node_segment> segments;
    std::shared_ptr<Call> call;  // what the driver has not answered yet
};

/// A point of a syncobj of the kernel. Once published, it is its own owner until the fence has signalled.
class KernelNode::Point final : public drm::ForeignPoint, public Owed {
  public:
    Point(KernelNode& owner, std::uint64_t id) : node_(owner), id_(id), signalled_([this] { delete this; }) {}
    ~Point() override {
        const auto error = fence_ != nullptr ? fence_->error() : error_;
        node_.signals_.push_back(
            {.id = id_, .error = error ? -static_cast<std::int32_t>(*error) : 0, .pad = 0});
    }

    /// Of one that is published already, and gets no fence.
    void fail(Errno error) { error_ = error; }

    void publish(drm::FencePtr fence) override {
        uapi::belfry_node_sync publish{.id = id_};
        static_cast<void>(node_.sync(BELFRY_NODE_SYNC_PUBLISH, publish));
        follow(std::move(fence));
    }
    /// The same for one that is published already.
    void follow(drm::FencePtr fence) {
        fence_ = std::move(fence);
        node_.owe(*this);
        if (!fence_->add_callback(signalled_)) delete this;
    }

  private:
    KernelNode& node_;
    std::uint64_t id_;
    drm::FencePtr fence_;  // null: not published
    std::optional<Errno> error_;
    drm::FenceCallback signalled_;
};

/// The syncobjs of one open file.
class KernelNode::Syncobjs final : public drm::ForeignSyncobjs {
  public:
    Syncobjs(KernelNode& node, std::uint64_t file) : node_(node), file_(file) {}

    Result<drm::FencePtr> find_point(std::uint32_t handle, std::uint64_t point) override {
        uapi::belfry_node_sync sync{.file = file_, .point = point, .handle = handle};
        if (const auto found = node_.sync(BELFRY_NODE_SYNC_FIND, sync); !found)
            return std::unexpected(found.error());
        if (sync.id == 0) return drm::signalled_stub(base::monotonic_ns());
        // Each a context of its own: nothing is known of their order.
        return node_.watched_[sync.id] = drm::Fence::make(node_.contexts_.allocate(), 1);
    }
    Result<std::unique_ptr<drm::ForeignPoint>> prepare(std::uint32_t handle, std::uint64_t point) override {
        uapi::belfry_node_sync sync{.file = file_, .point = point, .handle = handle};
        if (const auto prepared = node_.sync(BELFRY_NODE_SYNC_PREPARE, sync); !prepared)
            return std::unexpected(prepared.error());
        return std::make_unique<Point>(node_, sync.id);
    }

  private:
    KernelNode& node_;
    std::uint64_t file_;
};

/// One open file of the node.
struct KernelNode::Client {
    Client(KernelNode& node, std::uint64_t serial) : syncobjs(node, serial) {}
    Syncobjs syncobjs;
    std::unique_ptr<drm::File> file;
    std::unordered_map<std::uint64_t, std::unique_ptr<Reading>>
        readings;  // of calls that will come once more
    std::unordered_set<Slot*> serving;
};

/// A call that the driver answers, now or later.
class KernelNode::Call final : public drm::Call {
  public:
    Call(uapi::IncomingCall call, KernelNode& node, Slot& slot)
        // The span that goes to the base stays good when the call moves on: it points into the call's buffer.
        : drm::Call(call.ioctl().request, call.args(), call.take_fds()),
          call_(std::move(call)),
          node_(node),
          slot_(slot) {}

  private:
    // Whoever ends node or slot cancels the call first, so both are there.
    void deliver(Result<void> result) override {
        const auto self = shared_from_this();  // the slot's reference may be the last one
        slot_.call.reset();
        Reading::current = slot_.reading.get();
        const auto payload = call_.reply(result.has_value());
        const auto given = uapi::unmarshal_reply(
            slot_.outgoing, result ? 0 : static_cast<std::int32_t>(result.error()), payload, {},
            reinterpret_cast<void*>(slot_.wire.call.argument), Reading::kMemory);
        node_.answer(slot_, given);
    }

    uapi::IncomingCall call_;
    KernelNode& node_;
    Slot& slot_;
};

// ---- The ring

std::expected<std::unique_ptr<KernelNode>, std::string> KernelNode::open(asio::io_context& io,
                                                                         const std::string& path,
                                                                         drm::Node& node,
                                                                         drm::FenceContexts& contexts,
                                                                         Hooks hooks) {
    base::Fd control(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!control) return because("cannot open '" + path + "'", errno);
    std::unique_ptr<KernelNode> made(
        new KernelNode(io, std::move(control), node, contexts, std::move(hooks)));
    if (const int error = io_uring_queue_init(2 * kFetches, &made->ring_, 0); error != 0) {
        made->ring_.ring_fd = -1;
        return because("cannot make an io_uring", -error);
    }
    asio::error_code failed;
    made->completions_.assign(made->ring_.ring_fd, failed);
    if (failed) return std::unexpected("cannot wait for an io_uring: " + failed.message());
    made->fetch_more();
    made->submit();
    made->await_completions();
    return made;
}

KernelNode::KernelNode(asio::io_context& io, base::Fd control, drm::Node& node, drm::FenceContexts& contexts,
                       Hooks hooks)
    : control_(std::move(control)),
      node_(node),
      contexts_(contexts),
      hooks_(std::move(hooks)),
      completions_(io),
      alive_(io) {
    ring_.ring_fd = -1;
}

KernelNode::~KernelNode() {
    while (!clients_.empty()) end_client(clients_.begin()->first);
    owed_.clear_and_dispose([](Owed* point) { delete point; });
    send_signals();
    control_ = base::Fd();  // the kernel completes the fetches, so that the ring can end
    if (completions_.is_open()) completions_.release();
    if (ring_.ring_fd >= 0) io_uring_queue_exit(&ring_);
}

void KernelNode::await_completions() {
    completions_.async_wait(asio::posix::stream_descriptor::wait_read,
                            [this](const asio::error_code& failed) {
                                if (failed || lost_) return;
                                hooks_.before_each();
                                drain();
                                hooks_.after_each();
                                if (lost_) return hooks_.on_lost();
                                await_completions();
                            });
}

/// Serves all that has come, then enters the kernel once for all answers.
void KernelNode::drain() {
    draining_ = true;
    while (!lost_ && io_uring_cq_ready(&ring_) != 0) {
        std::vector<Completion> all;
        io_uring_cqe* cqe = nullptr;
        while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
            auto& slot = *reinterpret_cast<Slot*>(cqe->user_data & ~kAnswered);
            all.push_back({.slot = &slot,
                           .answered = (cqe->user_data & kAnswered) != 0,
                           .result = cqe->res,
                           .call = slot.wire.call.id});
            io_uring_cqe_seen(&ring_, cqe);
        }
        // Linux 6.1 posts what comes together in reverse. Entries must be told in their order: a queue runs
        // them so.
        std::ranges::sort(all, {}, &Completion::call);
        for (const Completion& completion : all) completed(completion);
    }
    fetch_more();
    draining_ = false;
    submit();
}

void KernelNode::completed(const Completion& completion) {
    if (!completion.answered) --fetching_;
    if (!completion.answered && completion.result == 0) return serve(*completion.slot);
    if (completion.result == -ENODEV)
        lost_ = true;
    else if (completion.result != 0)
        spdlog::error("an answer was refused: {}", std::strerror(-completion.result));
    slots_.erase(completion.slot);
}

void KernelNode::fetch_more() {
    while (!lost_ && fetching_ < kFetches) {
        const auto slot = std::make_shared<Slot>();
        slots_.emplace(slot.get(), slot);
        prepare(BELFRY_NODE_FETCH, *slot);
    }
}

void KernelNode::prepare(unsigned operation, Slot& slot) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {
        submit();
        sqe = io_uring_get_sqe(&ring_);
    }
    BELFRY_CHECK(sqe != nullptr);  // the kernel takes all, or is out of memory for good
    std::memset(sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = control_.get();
    sqe->cmd_op = operation;
    sqe->user_data = reinterpret_cast<std::uint64_t>(&slot);
    if (operation == BELFRY_NODE_ANSWER)
        sqe->user_data |= kAnswered;
    else
        ++fetching_;
    const uapi::belfry_node_command command{.slot = reinterpret_cast<std::uint64_t>(&slot.wire), .pad = 0};
    std::memcpy(sqe->cmd, &command, sizeof command);
}

void KernelNode::submit() {
    if (const int error = io_uring_submit(&ring_); error < 0)
        spdlog::error("cannot enter an io_uring: {}", std::strerror(-error));
}

// ---- Calls

void KernelNode::serve(Slot& slot) {
    const uapi::belfry_node_call& call = slot.wire.call;
    slot.reading.reset();
    slot.segments.clear();
    if (call.kind == BELFRY_NODE_RELEASE) {
        end_client(call.file);
        return answer(slot, {});
    }
    if (call.kind == BELFRY_NODE_FENCE) {
        fence_signalled(call.id, call.result);
        return prepare(BELFRY_NODE_FETCH, slot);
    }
    if (call.kind == BELFRY_NODE_ENTRY) {
        submit_entry(slot);
        return prepare(BELFRY_NODE_FETCH, slot);
    }
    const auto client = client_of(slot);
    if (!client) return answer(slot, std::unexpected(client.error()));
    (*client)->serving.insert(&slot);
    if (call.kind == BELFRY_NODE_IOCTL) return ioctl(slot, **client);
    mmap(slot, **client);
}

/// A file is opened by its first call.
Result<KernelNode::Client*> KernelNode::client_of(const Slot& slot) {
    const uapi::belfry_node_call& call = slot.wire.call;
    if (const auto found = clients_.find(call.file); found != clients_.end()) return found->second.get();
    auto client = std::make_unique<Client>(*this, call.file);
    auto file = node_.open({.pid = call.opener_pid,
                            .uid = call.opener_uid,
                            .may_nice = (call.opener_flags & BELFRY_NODE_MAY_NICE) != 0,
                            .may_admin = (call.opener_flags & BELFRY_NODE_MAY_ADMIN) != 0,
                            .syncobjs = &client->syncobjs});
    if (!file) return std::unexpected(file.error());
    client->file = std::move(*file);
    return (clients_[call.file] = std::move(client)).get();
}

void KernelNode::submit_entry(const Slot& slot) {
    const uapi::belfry_node_call& call = slot.wire.call;
    auto point = std::make_unique<Point>(*this, call.argument);
    uapi::belfry_submit_entry entry{};
    std::memcpy(&entry, call.arguments, sizeof entry);
    std::vector<drm::FencePtr> waits;
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(call.bytes, BELFRY_NODE_ENTRY_WAITS_MAX); ++i) {
        std::uint64_t id = 0;
        std::memcpy(&id, call.arguments + sizeof entry + i * sizeof id, sizeof id);
        const auto [found, unknown] = watched_.try_emplace(id);
        if (unknown) found->second = drm::Fence::make(contexts_.allocate(), 1);
        waits.push_back(found->second);
        if (found->second->is_signalled()) watched_.erase(found);
    }
    const auto client = client_of(slot);
    if (!client) return point->fail(client.error());
    auto fence = (*client)->file->submit_entry(entry, std::move(waits));
    if (!fence) return point->fail(fence.error());
    point.release()->follow(std::move(*fence));
}

void KernelNode::fence_signalled(std::uint64_t id, std::int32_t error) {
    drm::FencePtr fence = drm::Fence::make(contexts_.allocate(), 1);
    if (const auto [found, early] = watched_.try_emplace(id, fence); !early) {
        fence = std::move(found->second);
        watched_.erase(found);
    }
    fence->signal(base::monotonic_ns(),
                  error != 0 ? std::optional(static_cast<Errno>(-error)) : std::nullopt);
}

void KernelNode::owe(Owed& point) {
    owed_.push_back(point);
    if (!says_alive_) say_alive();
}

/// In a while, and again while we owe some. From the driver's thread: if that does not get on, nor do fences.
void KernelNode::say_alive() {
    says_alive_ = true;
    alive_.expires_after(std::chrono::seconds(BELFRY_NODE_ALIVE_SECONDS));
    alive_.async_wait([this](const asio::error_code& cancelled) {
        if (cancelled) return;
        says_alive_ = false;
        if (owed_.empty()) return;
        ::ioctl(control_.get(), BELFRY_NODE_ALIVE);  // ENODEV: a fetch says so too
        say_alive();
    });
}

Result<void> KernelNode::sync(unsigned long request, uapi::belfry_node_sync& args) {
    if (::ioctl(control_.get(), request, &args) != 0) return base::last_error();
    return {};
}

void KernelNode::send_signals() {
    std::span<const uapi::belfry_node_signal> rest(signals_);
    while (!rest.empty()) {
        const auto some = rest.first(std::min<std::size_t>(rest.size(), BELFRY_NODE_SIGNALS_MAX));
        const uapi::belfry_node_signals list{.signals = reinterpret_cast<std::uint64_t>(some.data()),
                                             .count = static_cast<std::uint32_t>(some.size()),
                                             .pad = 0};
        ::ioctl(control_.get(), BELFRY_NODE_SYNC_SIGNAL, &list);  // if the node is gone, so are the points
        rest = rest.subspan(some.size());
    }
    signals_.clear();
}

void KernelNode::end_client(std::uint64_t serial) {
    const auto found = clients_.find(serial);
    if (found == clients_.end()) return;
    // Cancelling calls the driver, which needs the File; so that dies last. Callers are dead already, or were
    // told by the kernel that the node is.
    for (Slot* const slot : found->second->serving) {
        if (const auto call = std::exchange(slot->call, nullptr)) call->cancel();
        slots_.erase(slot);
    }
    found->second->serving.clear();
    const std::unique_ptr<Client> client = std::move(found->second);
    clients_.erase(found);
}

void KernelNode::ioctl(Slot& slot, Client& client) {
    const uapi::belfry_node_call& call = slot.wire.call;
    if (call.reads == 0) {
        slot.reading = std::make_unique<Reading>(call.caller_pid);
        slot.reading->add(call.argument,
                          {reinterpret_cast<const std::byte*>(call.arguments),
                           reinterpret_cast<const std::byte*>(call.arguments) +
                               std::min<std::size_t>(call.argument_bytes, sizeof call.arguments)});
    } else {
        const auto found = client.readings.find(call.id);
        if (found == client.readings.end()) return answer(slot, std::unexpected(Errno::protocol));
        slot.reading = std::move(found->second);
        client.readings.erase(found);
        slot.reading->came(call.result == 0);
    }

    Reading::current = slot.reading.get();
    const auto flat = uapi::marshal(call.command, reinterpret_cast<const void*>(call.argument), slot.outgoing,
                                    Reading::kMemory);
    if (slot.reading->lacks()) {
        slot.copies = slot.reading->ask();
        client.readings[call.id] = std::move(slot.reading);
        slot.wire.answer = {.id = call.id,
                            .what = BELFRY_NODE_READ,
                            .copies = reinterpret_cast<std::uint64_t>(slot.copies.data()),
                            .copy_count = static_cast<std::uint32_t>(slot.copies.size())};
        return answer(slot);
    }
    if (!flat) return answer(slot, flat);
    // The kernel has no way yet to give a program a descriptor of ours.
    if (std::ranges::any_of(slot.outgoing.ioctl->descriptors, [](const uapi::DescriptorField& field) {
            return field.direction == uapi::Direction::out;
        }))
        return answer(slot, std::unexpected(Errno::not_supported));
    auto incoming = uapi::IncomingCall::parse(call.command, slot.outgoing.payload, slot.reading->take_fds());
    if (!incoming) return answer(slot, std::unexpected(incoming.error()));
    slot.call = std::make_shared<Call>(std::move(*incoming), *this, slot);
    // By value: an answer within the handler gives the slot's reference back.
    const std::shared_ptr<drm::Call> handed_out = slot.call;
    client.file->ioctl(handed_out);
}

void KernelNode::mmap(Slot& slot, Client& client) {
    const uapi::belfry_node_call& call = slot.wire.call;
    client.file->mmap(
        {.offset = call.argument, .bytes = call.bytes, .protection = static_cast<int>(call.protection)},
        [this, weak = std::weak_ptr(slots_.at(&slot))](const Result<std::vector<drm::MapSegment>>& segments) {
            const auto kept = weak.lock();
            if (kept == nullptr) return;
            if (!segments) return answer(*kept, std::unexpected(segments.error()));
            for (const drm::MapSegment& segment : *segments)
                kept->segments.push_back({.fd = segment.fd,
                                          .writable = segment.access == base::Access::read_write,
                                          .offset = segment.fd_offset,
                                          .bytes = segment.bytes});
            answer(*kept, {});
            submit();  // the descriptors are only lent
        });
}

void KernelNode::answer(Slot& slot, Result<void> result) {
    slot.copies.clear();
    if (slot.reading != nullptr)
        for (const Reading::Piece& write : slot.reading->writes)
            slot.copies.push_back({.caller = write.address,
                                   .server = reinterpret_cast<std::uint64_t>(write.bytes.data()),
                                   .bytes = write.bytes.size()});
    slot.wire.answer = {.id = slot.wire.call.id,
                        .what = BELFRY_NODE_DONE,
                        .result = result ? 0 : -static_cast<std::int32_t>(result.error()),
                        .copies = reinterpret_cast<std::uint64_t>(slot.copies.data()),
                        .segments = reinterpret_cast<std::uint64_t>(slot.segments.data()),
                        .copy_count = static_cast<std::uint32_t>(slot.copies.size()),
                        .segment_count = static_cast<std::uint32_t>(slot.segments.size())};
    answer(slot);
}

void KernelNode::answer(Slot& slot) {
    if (const auto client = clients_.find(slot.wire.call.file); client != clients_.end())
        client->second->serving.erase(&slot);
    // The slots of calls that were put off have been replaced.
    prepare(fetching_ < kFetches ? BELFRY_NODE_ANSWER_AND_FETCH : BELFRY_NODE_ANSWER, slot);
    if (!draining_) submit();
}

}  // namespace belfry::server
