// Servers of a node that lie: what they answer is refused, and their callers get an error. In the guest of
// ./dev vm test.

#include <array>
#include <cstring>
#include <thread>

#include <liburing.h>
#include <sys/mman.h>

#include "base/memory.hpp"
#include "belfry/uapi/node.h"
#include "kernel/command_ring.hpp"
#include "kernel/node_rig.hpp"

namespace belfry::kernel_tests {
namespace {

constexpr std::uint64_t kOffset = 0x10000;

/// A server by hand. One slot; its caller is a thread that makes one call.
class LyingServer {
  public:
    LyingServer() : control(::open("/dev/belfry", O_RDWR | O_CLOEXEC)) {
        if (!control || io_uring_queue_init(8, &ring_, 0) != 0) throw std::runtime_error("no /dev/belfry");
        for (int minor = 128; minor < 192 && !node; ++minor) {
            const std::string path = "/dev/dri/renderD" + std::to_string(minor);
            base::Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
            // Not asked for its version, which this server would have to answer: the newest is ours.
            std::string name = "/sys/class/drm/renderD" + std::to_string(minor) + "/device";
            if (fd && std::filesystem::read_symlink(name).filename().string().starts_with("belfry"))
                node = std::move(fd);
        }
        if (!node) throw std::runtime_error("no node");
    }
    ~LyingServer() {
        control = base::Fd();
        io_uring_queue_exit(&ring_);
        if (caller_.joinable()) caller_.join();
    }

    void call_ioctl(unsigned long request, void* args) {
        caller_ = std::jthread([=, this] { result_ = ::ioctl(node.get(), request, args) == 0 ? 0 : -errno; });
    }
    void call_mmap() {
        caller_ = std::jthread([this] {
            mapped_ = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, node.get(), kOffset);
            result_ = mapped_ == MAP_FAILED ? -errno : 0;
        });
    }
    /// What the caller got.
    int result() {
        caller_.join();
        return result_;
    }
    /// Enters one command; the result of its completion.
    int command(unsigned operation, std::uint64_t address) { return command(operation, address, ring_); }
    int command(unsigned operation, std::uint64_t address, io_uring& ring) const {
        io_uring_sqe* const sqe = io_uring_get_sqe(&ring);
        std::memset(sqe, 0, sizeof *sqe);
        sqe->opcode = IORING_OP_URING_CMD;
        sqe->fd = control.get();
        sqe->cmd_op = operation;
        const belfry_node_command payload{.slot = address, .pad = 0};
        std::memcpy(sqe->cmd, &payload, sizeof payload);
        io_uring_submit(&ring);
        io_uring_cqe* cqe = nullptr;
        while (io_uring_wait_cqe(&ring, &cqe) != 0) {
        }
        const int result = cqe->res;
        io_uring_cqe_seen(&ring, cqe);
        return result;
    }
    int fetch() { return command(BELFRY_NODE_FETCH, reinterpret_cast<std::uint64_t>(&slot)); }
    int answer(const belfry_node_answer& answer) {
        slot.answer = answer;
        slot.answer.id = slot.call.id;
        return command(BELFRY_NODE_ANSWER, reinterpret_cast<std::uint64_t>(&slot));
    }
    int answer_mmap(const belfry_node_segment& segment) {
        return answer({.what = BELFRY_NODE_DONE,
                       .segments = reinterpret_cast<std::uint64_t>(&segment),
                       .segment_count = 1});
    }
    [[nodiscard]] int fd() const { return node.get(); }
    int sync(unsigned long request, belfry_node_sync& args) {
        return ::ioctl(control.get(), request, &args) == 0 ? 0 : -errno;
    }
    int signal(const std::vector<belfry_node_signal>& signals) {
        const belfry_node_signals list{.signals = reinterpret_cast<std::uint64_t>(signals.data()),
                                       .count = static_cast<std::uint32_t>(signals.size())};
        return ::ioctl(control.get(), BELFRY_NODE_SYNC_SIGNAL, &list) == 0 ? 0 : -errno;
    }

    base::Fd control;
    base::Fd node;
    belfry_node_slot slot{};

  private:
    io_uring ring_{};
    std::jthread caller_;
    void* mapped_ = nullptr;
    int result_ = 0;
};

TEST(LyingServer, ACallIsToldAndAnsweredByHand) {
    LyingServer server;
    drm_panthor_vm_create vm{.flags = 0x11223344};
    server.call_ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, &vm);
    ASSERT_EQ(server.fetch(), 0);
    EXPECT_EQ(server.slot.call.kind, BELFRY_NODE_IOCTL);
    EXPECT_EQ(server.slot.call.command, DRM_IOCTL_PANTHOR_VM_CREATE);
    EXPECT_EQ(server.slot.call.caller_pid, ::getpid());
    EXPECT_EQ(std::memcmp(server.slot.call.arguments, &vm, sizeof vm), 0);
    EXPECT_EQ(server.answer({.what = BELFRY_NODE_DONE, .result = -EXDEV}), 0);
    EXPECT_EQ(server.result(), -EXDEV);
}

TEST(LyingServer, MustNotSlipInOtherFilesAsMemory) {
    LyingServer server;
    const base::Fd file(::open("/init", O_RDONLY));
    server.call_mmap();
    ASSERT_EQ(server.fetch(), 0);
    EXPECT_EQ(server.answer_mmap({.fd = file.get(), .writable = 0, .offset = 0, .bytes = 4096}), -EPERM);
    EXPECT_EQ(server.result(), -EIO);
}

TEST(LyingServer, MustNotGiveMemoryThatCanShrink) {
    LyingServer server;
    const base::Fd file(::memfd_create("shrinks", MFD_ALLOW_SEALING));
    ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
    server.call_mmap();
    ASSERT_EQ(server.fetch(), 0);
    EXPECT_EQ(server.answer_mmap({.fd = file.get(), .writable = 1, .offset = 0, .bytes = 4096}), -EPERM);
    EXPECT_EQ(server.result(), -EIO);
}

TEST(LyingServer, MustNotGiveMoreThanTheFileHasOrOtherThanWasAskedFor) {
    const auto memory = base::make_shared_memory("short", 4096, base::Sharing::writable);
    for (const belfry_node_segment& segment :
         {belfry_node_segment{.fd = memory->fd.get(), .writable = 1, .offset = 4096, .bytes = 4096},
          belfry_node_segment{.fd = memory->fd.get(), .writable = 1, .offset = 0, .bytes = 8192},
          belfry_node_segment{.fd = memory->fd.get(), .writable = 1, .offset = 1, .bytes = 4096},
          belfry_node_segment{.fd = memory->fd.get(), .writable = 1, .offset = ~0ULL << 12, .bytes = 8192}}) {
        LyingServer server;
        server.call_mmap();
        ASSERT_EQ(server.fetch(), 0);
        EXPECT_EQ(server.answer_mmap(segment), -EINVAL);
        EXPECT_EQ(server.result(), -EIO);
    }
    LyingServer server;
    server.call_mmap();
    ASSERT_EQ(server.fetch(), 0);
    EXPECT_EQ(server.answer({.what = BELFRY_NODE_DONE}), 0);  // no memory at all
    EXPECT_EQ(server.result(), -EIO);
}

TEST(LyingServer, GoodMemoryIsMapped) {
    const auto memory = base::make_shared_memory("good", 8192, base::Sharing::writable);
    LyingServer server;
    server.call_mmap();
    ASSERT_EQ(server.fetch(), 0);
    EXPECT_EQ(server.answer_mmap({.fd = memory->fd.get(), .writable = 1, .offset = 4096, .bytes = 4096}), 0);
    EXPECT_EQ(server.result(), 0);
}

TEST(LyingServer, BadAnswersAreErrorsOfTheCaller) {
    std::array<belfry_node_copy, 1> copies{{{.caller = 1, .server = 1, .bytes = 8}}};
    const auto list = reinterpret_cast<std::uint64_t>(copies.data());
    for (const auto& [answer, error] : std::initializer_list<std::pair<belfry_node_answer, int>>{
             {{.what = BELFRY_NODE_DONE, .copies = 1, .copy_count = 1}, -EFAULT},
             {{.what = BELFRY_NODE_DONE, .copies = list, .copy_count = 1}, -EFAULT},
             {{.what = BELFRY_NODE_DONE, .copies = list, .copy_count = UINT32_MAX}, -E2BIG}}) {
        LyingServer server;
        drm_panthor_vm_create vm{};
        server.call_ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, &vm);
        ASSERT_EQ(server.fetch(), 0);
        EXPECT_EQ(server.answer(answer), error);
        EXPECT_EQ(server.result(), -EIO);
    }
    copies[0].bytes = UINT64_MAX;
    LyingServer server;
    drm_panthor_vm_create vm{};
    server.call_ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, &vm);
    ASSERT_EQ(server.fetch(), 0);
    EXPECT_EQ(server.answer({.what = BELFRY_NODE_READ, .copies = list, .copy_count = 1}), -E2BIG);
    EXPECT_EQ(server.result(), -EIO);
}

TEST(LyingServer, NonsenseIsRefusedAndTheCallStays) {
    LyingServer server;
    drm_panthor_vm_create vm{};
    server.call_ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, &vm);
    EXPECT_EQ(server.command(77, 0), -EINVAL);
    ASSERT_EQ(server.fetch(), 0);
    EXPECT_EQ(server.answer({.what = 9}), -EINVAL);
    EXPECT_EQ(server.answer({.what = BELFRY_NODE_DONE, .result = 1}), -EINVAL);
    EXPECT_EQ(server.command(BELFRY_NODE_ANSWER, 1), -EFAULT);
    EXPECT_EQ(server.answer({.what = BELFRY_NODE_DONE}), 0);
    EXPECT_EQ(server.result(), 0);
    EXPECT_EQ(server.answer({.what = BELFRY_NODE_DONE}), 0);  // twice: nobody is there
}

TEST(LyingServer, ASlotThatCannotBeWrittenIsAnErrorOfTheCaller) {
    LyingServer server;
    drm_panthor_vm_create vm{};
    server.call_ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, &vm);
    EXPECT_EQ(server.command(BELFRY_NODE_FETCH, 8), -EFAULT);
    EXPECT_EQ(server.result(), -EIO);
}

// While a call is being told, its cargo is read; an answer would take that away.
TEST(LyingServer, CannotAnswerACallThatItHasNotBeenToldOf) {
    LyingServer server;
    const SlowPage page;
    drm_panthor_vm_create vm{};
    server.call_ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, &vm);
    ASSERT_EQ(server.fetch(), 0);
    belfry_node_copy copy{
        .caller = reinterpret_cast<std::uintptr_t>(&vm), .server = page.address(), .bytes = sizeof vm};
    ASSERT_EQ(
        server.answer(
            {.what = BELFRY_NODE_READ, .copies = reinterpret_cast<std::uintptr_t>(&copy), .copy_count = 1}),
        0);
    std::jthread fetcher([&] { EXPECT_EQ(server.fetch(), 0); });
    page.await_touch();
    {
        Ring ring(8, 0);
        belfry_node_slot slot{
            .answer = {.id = server.slot.call.id, .what = BELFRY_NODE_DONE, .result = -EXDEV}};
        EXPECT_EQ(server.command(BELFRY_NODE_ANSWER, reinterpret_cast<std::uintptr_t>(&slot), ring.raw()), 0);
    }
    page.put(&vm, sizeof vm);
    fetcher.join();
    EXPECT_EQ(server.answer({.what = BELFRY_NODE_DONE, .result = -EDOM}), 0);
    EXPECT_EQ(server.result(), -EDOM);
}

TEST(LyingServer, WhoReadsForEverLosesTheNode) {
    LyingServer server;
    drm_panthor_vm_create vm{};
    server.call_ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, &vm);
    while (server.fetch() == 0)
        if (server.answer({.what = BELFRY_NODE_READ}) != 0) break;
    EXPECT_EQ(server.result(), -ENODEV);
}

/// A syncobj of the server's node, and the file that has it, of which the server was told by a call.
belfry_node_sync syncobj_of(LyingServer& server) {
    drm_syncobj_create syncobj{};
    EXPECT_EQ(::ioctl(server.node.get(), DRM_IOCTL_SYNCOBJ_CREATE, &syncobj), 0);
    static drm_panthor_vm_create vm{};
    server.call_ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, &vm);
    EXPECT_EQ(server.fetch(), 0);
    return {.file = server.slot.call.file, .handle = syncobj.handle};
}

TEST(LyingServer, MayOweFencesForAsLongAsItSaysThatItLives) {
    LyingServer server;
    belfry_node_sync sync = syncobj_of(server);
    EXPECT_EQ(server.answer({.what = BELFRY_NODE_DONE}), 0);
    ASSERT_EQ(server.sync(BELFRY_NODE_SYNC_PREPARE, sync), 0);
    ASSERT_EQ(server.sync(BELFRY_NODE_SYNC_PUBLISH, sync), 0);
    drm_syncobj_wait wait{.handles = reinterpret_cast<std::uintptr_t>(&sync.handle), .count_handles = 1};
    const auto wait_until = [&](std::chrono::seconds until) {
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        wait.timeout_nsec = (now.tv_sec + until.count()) * 1'000'000'000;
        return ::ioctl(server.node.get(), DRM_IOCTL_SYNCOBJ_WAIT, &wait) == 0 ? 0 : -errno;
    };
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(wait_until(4s), -ETIME);
        EXPECT_EQ(::ioctl(server.control.get(), BELFRY_NODE_ALIVE), 0);
    }
    EXPECT_EQ(wait_until(30s), 0);  // it has lost its node, and its fences have signalled
    EXPECT_EQ(::ioctl(server.control.get(), BELFRY_NODE_ALIVE), -1);
    EXPECT_EQ(errno, ENODEV);
}

// Others' calls wait behind them.
TEST(LyingServer, IsOwedAnEndToTheEntriesThatItDoesNotFetch) {
    constexpr unsigned kMost = 8192;
    constexpr unsigned kBatch = 256;
    LyingServer server;
    Ring ring(kBatch);
    auto job = nop();
    job.entry.opcode = BELFRY_PANTHOR_SUBMIT_JOB;
    job.entry.flags = BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE;
    for (unsigned taken = 0; taken < kMost; taken += kBatch) {
        for (unsigned i = 0; i < kBatch; ++i) ring.prepare(server, job);
        ring.enter();
        for (unsigned i = 0; i < kBatch; ++i) ASSERT_EQ(ring.next().result, 0);
        ASSERT_EQ(::ioctl(server.control.get(), BELFRY_NODE_ALIVE), 0);  // with KASAN it takes a while
    }
    EXPECT_EQ(ring.run(server, job), -EBUSY);
    EXPECT_EQ(server.fetch(), 0);
    EXPECT_EQ(ring.run(server, job), 0);
    EXPECT_EQ(ring.run(server, job), -EBUSY);
}

TEST(LyingServer, PointsHaveOneLife) {
    LyingServer server;
    belfry_node_sync sync = syncobj_of(server);
    const std::uint32_t handle = sync.handle;
    EXPECT_EQ(server.sync(BELFRY_NODE_SYNC_FIND, sync), -EINVAL);  // nothing there
    ASSERT_EQ(server.sync(BELFRY_NODE_SYNC_PREPARE, sync), 0);
    EXPECT_EQ(server.sync(BELFRY_NODE_SYNC_FIND, sync), -EINVAL);  // still
    const std::uint64_t id = sync.id;
    ASSERT_EQ(server.sync(BELFRY_NODE_SYNC_PUBLISH, sync), 0);
    EXPECT_EQ(server.sync(BELFRY_NODE_SYNC_PUBLISH, sync), -EINVAL);
    ASSERT_EQ(server.sync(BELFRY_NODE_SYNC_FIND, sync), 0);
    EXPECT_NE(sync.id, 0U);                                                   // pending
    EXPECT_EQ(server.signal({{.id = id}, {.id = id, .error = 5}}), -EINVAL);  // none of them
    EXPECT_EQ(server.signal(std::vector<belfry_node_signal>(BELFRY_NODE_SIGNALS_MAX + 1)), -EINVAL);
    EXPECT_EQ(server.signal({{.id = 999}, {.id = id, .error = -EXDEV}}), -ENOENT);  // the first alone
    EXPECT_EQ(server.signal({{.id = id}}), -ENOENT);
    EXPECT_EQ(server.fetch(), 0);  // the news of the fence that FIND told of
    EXPECT_EQ(server.slot.call.kind, BELFRY_NODE_FENCE);
    EXPECT_EQ(server.slot.call.result, -EXDEV);
    sync = {.file = 12345, .handle = handle};
    EXPECT_EQ(server.sync(BELFRY_NODE_SYNC_FIND, sync), -ENOENT);
    sync = {.file = server.slot.call.file, .handle = 999};
    EXPECT_EQ(server.sync(BELFRY_NODE_SYNC_PREPARE, sync), -ENOENT);
}

TEST(LyingServer, AControlFileIsItsOpenersAlone) {
    const LyingServer server;
    const pid_t child = ::fork();
    if (child == 0) {
        belfry_node_sync sync{};
        const bool refused =
            ::ioctl(server.control.get(), BELFRY_NODE_SYNC_FIND, &sync) != 0 && errno == EPERM;
        ::_exit(refused ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace belfry::kernel_tests
