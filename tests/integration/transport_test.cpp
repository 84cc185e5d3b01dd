// The whole pipe: SocketTransport clients, a real socket, and the server's Listener on a thread of its own.
// Only the driver behind it is a fake: it echoes, keeps calls until it is told otherwise, and says what
// happened to it.
//
// This binary is also the daemon that connect_or_start() starts here: see main().
#include "client/transport.hpp"

#include <algorithm>
#include <array>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/ioctl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include "base/memory.hpp"
#include "belfry/uapi/drm.h"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/sync_file.h"
#include "client/channels.hpp"
#include "client/daemon.hpp"
#include "server/listener.hpp"

namespace belfry {
namespace {

using namespace uapi;  // NOLINT: the structs and request numbers
using base::Errno;
using base::Fd;
using client::SocketTransport;

template <typename T>
std::uint64_t address(T* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
}

/// What the driver saw, told to other threads: a list of words that one can wait for.
class Journal {
  public:
    void note(std::string what) {
        const std::scoped_lock lock(mutex_);
        entries_.push_back(std::move(what));
        changed_.notify_all();
    }
    /// Blocks until it was noted `times` times. ctest's time limit ends a wait for what never happens.
    void await(std::string_view what, std::ptrdiff_t times = 1) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return std::ranges::count(entries_, what) >= times; });
    }
    std::vector<std::string> entries() {
        const std::scoped_lock lock(mutex_);
        return entries_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> entries_;
};

/// A driver with a few ways to behave, by request.
class FakeFile final : public drm::File {
  public:
    explicit FakeFile(Journal& journal)
        : journal_(journal),
          memory_(base::make_shared_memory("fake", 3 * 4096, base::Sharing::writable).value()) {
        auto read_only = base::make_shared_memory("fake-output", 4096, base::Sharing::read_only);
        output_ = std::move(*read_only);
        output_.mapping.data()[0] = std::byte{0x0f};
    }
    ~FakeFile() override { journal_.note("file closed"); }

    void ioctl(const std::shared_ptr<drm::Call>& call) override {
        const auto is = [&](std::uint64_t request) { return call->request() == request; };
        if (is(DRM_IOCTL_GET_CAP)) {
            auto& args = call->args<drm_get_cap>();
            args.value = args.capability + 1;
        } else if (is(DRM_IOCTL_PANTHOR_GROUP_SUBMIT)) {
            if (!check_submits(call->args<drm_panthor_group_submit>()))
                return call->complete(std::unexpected(Errno::io));
        } else if (is(DRM_IOCTL_PANTHOR_GROUP_CREATE)) {
            create_group(*call);
        } else if (is(DRM_IOCTL_SYNCOBJ_QUERY)) {
            auto& args = call->args<drm_syncobj_timeline_array>();
            for (std::uint32_t i = 0; i < args.count_handles; ++i)
                reinterpret_cast<std::uint64_t*>(args.points)[i] =
                    reinterpret_cast<std::uint32_t*>(args.handles)[i] * 3ULL;
        } else if (is(DRM_IOCTL_SYNCOBJ_WAIT)) {
            kept_.push_back(call);
            call->when_cancelled([this, weak = std::weak_ptr(call)] {
                journal_.note("cancelled");
                std::erase(kept_, weak.lock());
            });
            journal_.note("waiting");
            return;
        } else if (is(DRM_IOCTL_PRIME_HANDLE_TO_FD)) {
            // The write end of a pipe whose read end tells of the program's last copy of it.
            auto& args = call->args<drm_prime_handle>();
            std::array<int, 2> pipe{};
            EXPECT_EQ(::pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK), 0);
            read_end_ = Fd(pipe[0]);
            args.fd = call->give_fd(Fd(pipe[1]));
            if (args.handle == 0) return call->complete(std::unexpected(Errno::no_entry));
        } else if (is(DRM_IOCTL_PRIME_FD_TO_HANDLE)) {
            // Says what came, in a number.
            auto& args = call->args<drm_prime_handle>();
            const Fd fd = call->take_fd(args.fd);
            args.handle = fd ? 1000U : static_cast<std::uint32_t>(-args.fd);
        } else if (is(SYNC_IOC_MERGE)) {
            auto& args = call->args<sync_merge_data>();
            base::ring_eventfd(call->target().get());
            args.fence = call->give_fd(call->take_fd(args.fd2));
        } else if (is(DRM_IOCTL_PANTHOR_BO_SET_LABEL)) {
            const auto& args = call->args<drm_panthor_bo_set_label>();
            const auto* const label = reinterpret_cast<const char*>(args.label);
            journal_.note(label == nullptr ? "no label" : "label '" + std::string(label) + "'");
        } else if (is(DRM_IOCTL_DROP_MASTER) || _IOC_NR(call->request()) == 0xa0) {
            return call->complete(std::unexpected(Errno::access));
        } else if (is(DRM_IOCTL_SYNCOBJ_SIGNAL)) {
            for (const auto& kept : std::exchange(kept_, {})) kept->complete({});
        } else {
            return call->complete(std::unexpected(Errno::invalid));
        }
        call->complete({});
    }

    void mmap(const drm::MapRequest& request, drm::MapReply reply) override {
        if (request.offset != 0x10000 || request.bytes != 12288)
            return reply(std::unexpected(Errno::invalid));
        reply(std::vector<drm::MapSegment>{
            {.fd = memory_.fd.get(), .fd_offset = 8192, .bytes = 4096, .access = base::Access::read_write},
            {.fd = output_.fd.get(), .fd_offset = 0, .bytes = 4096, .access = base::Access::read},
            {.fd = memory_.fd.get(), .fd_offset = 0, .bytes = 4096, .access = base::Access::read_write},
        });
    }

  private:
    // What the test sends: job i has i sync ops whose values are i * 10 + n.
    static bool check_submits(const drm_panthor_group_submit& args) {
        const auto* const jobs = reinterpret_cast<const drm_panthor_queue_submit*>(args.queue_submits.array);
        bool right = args.queue_submits.count == 4;
        for (std::uint32_t i = 0; right && i < args.queue_submits.count; ++i) {
            const auto* const syncs = reinterpret_cast<const drm_panthor_sync_op*>(jobs[i].syncs.array);
            right = jobs[i].queue_index == i && jobs[i].syncs.count == i && (i != 0 || syncs == nullptr);
            for (std::uint32_t n = 0; right && n < i; ++n) right = syncs[n].timeline_value == i * 10 + n;
        }
        return right;
    }

    static void create_group(drm::Call& call) {
        auto& args = call.args<drm_panthor_group_create>();
        args.group_handle = 9;
        for (std::uint32_t i = 0; i < args.queues.count; ++i) {
            auto& queue = reinterpret_cast<drm_panthor_queue_create*>(args.queues.array)[i];
            queue.ringbuf_offset = queue.ringbuf_size * 2ULL;
        }
        if (args.eventfd_group_state >= 0) base::ring_eventfd(call.take_fd(args.eventfd_group_state).get());
    }

    Journal& journal_;
    base::SharedMemory memory_;
    base::SharedMemory output_;
    std::vector<std::shared_ptr<drm::Call>> kept_;
    Fd read_end_;
};

class FakeNode final : public drm::Node {
  public:
    explicit FakeNode(Journal& journal) : journal_(journal) {}
    base::Result<std::unique_ptr<drm::File>> open(const drm::Opener&) override {
        return std::make_unique<FakeFile>(journal_);
    }

  private:
    Journal& journal_;
};

class Directory {
  public:
    Directory() { EXPECT_NE(::mkdtemp(path_.data()), nullptr); }
    ~Directory() { ::rmdir(path_.c_str()); }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

  private:
    std::string path_ = "/tmp/belfry-test-XXXXXX";
};

class Server {
  public:
    explicit Server(const std::string& path, server::Listener::Limits limits = {})
        : listener_(io_, server::ListeningSocket::bind(path).value(), node_,
                    {.after_each = [this] { journal.note("event"); },
                     .on_last_closed = [this] { journal.note("last closed"); }},
                    limits),
          path_(path),
          thread_([this] {
              listener_.start();
              io_.run();
          }) {}
    ~Server() { stop(); }

    void stop() {
        if (!thread_.joinable()) return;
        asio::post(io_, [this] { listener_.close_all(); });
        thread_.join();
    }
    std::unique_ptr<SocketTransport> connect() { return SocketTransport::connect(path_).value(); }
    /// Something computed on the driver's thread.
    template <typename F>
    auto ask(F question) {
        std::promise<decltype(question(std::declval<server::Listener&>()))> answer;
        asio::post(io_, [&] { answer.set_value(question(listener_)); });
        return answer.get_future().get();
    }

    Journal journal;

  private:
    asio::io_context io_{1};
    FakeNode node_{journal};
    server::Listener listener_;
    std::string path_;
    std::thread thread_;
};

struct TransportTest : testing::Test {
    Directory directory;
    Server server{directory / "socket"};
};

constexpr auto kGetCap = static_cast<std::uint32_t>(DRM_IOCTL_GET_CAP);
constexpr auto kWait = static_cast<std::uint32_t>(DRM_IOCTL_SYNCOBJ_WAIT);
constexpr auto kSignal = static_cast<std::uint32_t>(DRM_IOCTL_SYNCOBJ_SIGNAL);

bool echoes(client::Transport& transport, std::uint64_t value) {
    drm_get_cap cap{.capability = value, .value = 0};
    return transport.ioctl(kGetCap, &cap).has_value() && cap.value == value + 1;
}

base::Result<void> wait(client::Transport& transport, std::uint32_t handles = 1) {
    std::vector<std::uint32_t> all(handles, 1);
    drm_syncobj_wait args{};
    args.handles = address(all.data());
    args.count_handles = handles;
    return transport.ioctl(kWait, &args);
}

void signal(client::Transport& transport) {
    std::uint32_t handle = 1;
    drm_syncobj_array args{.handles = address(&handle), .count_handles = 1, .pad = 0};
    EXPECT_TRUE(transport.ioctl(kSignal, &args));
}

// ---- Requests

TEST_F(TransportTest, ArraysOfArraysReachTheDriver) {
    const auto client = server.connect();
    std::array<std::array<drm_panthor_sync_op, 4>, 4> syncs{};
    std::array<drm_panthor_queue_submit, 4> jobs{};
    for (std::uint32_t i = 0; i < 4; ++i) {
        for (std::uint32_t n = 0; n < i; ++n) syncs[i][n].timeline_value = i * 10 + n;
        jobs[i].queue_index = i;
        jobs[i].syncs = {
            .stride = sizeof(drm_panthor_sync_op), .count = i, .array = address(syncs[i].data())};
    }
    drm_panthor_group_submit submit{};
    submit.queue_submits = {.stride = sizeof jobs[0], .count = 4, .array = address(jobs.data())};
    EXPECT_TRUE(client->ioctl(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, &submit));
    syncs[3][2].timeline_value = 0;
    EXPECT_EQ(client->ioctl(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, &submit).error(), Errno::io);
}

TEST_F(TransportTest, WhatTheDriverWritesIntoAnArrayAndDescriptorsThatItGetsAreTheProgramsOwn) {
    const auto client = server.connect();
    const Fd eventfd = base::make_eventfd().value();
    std::array<drm_panthor_queue_create, 2> queues{};
    queues[0].ringbuf_size = 4096;
    queues[1].ringbuf_size = 8192;
    drm_panthor_group_create create{};
    create.queues = {.stride = sizeof queues[0], .count = 2, .array = address(queues.data())};
    create.flags = DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT;
    create.eventfd_sync_update = -1;
    create.eventfd_group_state = eventfd.get();
    ASSERT_TRUE(client->ioctl(DRM_IOCTL_PANTHOR_GROUP_CREATE, &create));
    EXPECT_EQ(create.group_handle, 9U);
    EXPECT_EQ(queues[0].ringbuf_offset, 8192U);
    EXPECT_EQ(queues[1].ringbuf_offset, 16384U);
    EXPECT_EQ(create.queues.array, address(queues.data()));
    std::uint64_t count = 0;
    EXPECT_EQ(::read(eventfd.get(), &count, sizeof count), 8);
}

TEST_F(TransportTest, ADescriptorThatTheDriverGivesIsTheProgramsOwn) {
    const auto client = server.connect();
    for (const std::uint32_t flags : {0U, DRM_CLOEXEC}) {
        drm_prime_handle prime{.handle = 1, .flags = flags, .fd = -1};
        ASSERT_TRUE(client->ioctl(DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
        const Fd fd(prime.fd);
        EXPECT_EQ(::fcntl(prime.fd, F_GETFD), flags != 0 ? FD_CLOEXEC : 0);
        EXPECT_EQ(::write(prime.fd, "x", 1), 1);
    }
}

/// How many descriptors this process has; those of the server's threads are among them.
std::size_t open_descriptors() {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

TEST_F(TransportTest, ADescriptorOfARequestThatFailedOrWhoseStructCannotBeWrittenIsLeftNowhere) {
    constexpr UserMemory kReadOnly{
        .read = [](void* to, const void* user,
                   std::size_t bytes) { return std::memcpy(to, user, bytes) == to; },
        .write = [](void*, const void*, std::size_t) { return false; }};
    const auto client = SocketTransport::connect(directory / "socket", kReadOnly).value();
    drm_prime_handle prime{.handle = 1, .flags = DRM_CLOEXEC, .fd = 77};
    // The first makes the channel and the fake's pipe; from then on the number stays the same.
    EXPECT_EQ(client->ioctl(DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime).error(), Errno::fault);
    const auto settled = [&] { return server.ask([](server::Listener&) { return open_descriptors(); }); };
    const std::size_t before = settled();
    EXPECT_EQ(client->ioctl(DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime).error(), Errno::fault);
    EXPECT_EQ(settled(), before);
    prime.handle = 0;
    EXPECT_FALSE(client->ioctl(DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
    EXPECT_EQ(settled(), before);
    EXPECT_EQ(prime.fd, 77);
}

TEST_F(TransportTest, ADescriptorThatIsNotOpenReachesTheDriverAsSuch) {
    const auto client = server.connect();
    const Fd eventfd = base::make_eventfd().value();
    const auto seen = [&](int fd) {
        drm_prime_handle prime{.handle = 0, .flags = 0, .fd = fd};
        EXPECT_TRUE(client->ioctl(DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime));
        EXPECT_EQ(prime.fd, fd);
        return prime.handle;
    };
    EXPECT_EQ(seen(eventfd.get()), 1000U);
    EXPECT_EQ(seen(-1), 1U);
    EXPECT_EQ(seen(-1000), 1U);
    EXPECT_EQ(seen(1'000'000), 2U);
}

TEST_F(TransportTest, ARequestToASyncFileReachesItsTarget) {
    const auto client = server.connect();
    client::Channels channels;
    const Fd target = base::make_eventfd().value();
    const Fd other = base::make_eventfd().value();
    sync_merge_data merge{};
    merge.fd2 = other.get();
    ASSERT_TRUE(channels.ioctl(client->fd(), SYNC_IOC_MERGE, &merge, target.get()));
    const Fd merged(merge.fence);
    EXPECT_EQ(merge.fd2, other.get());
    EXPECT_NE(merge.fence, other.get());
    EXPECT_EQ(::fcntl(merge.fence, F_GETFD), FD_CLOEXEC);
    std::uint64_t count = 0;
    EXPECT_EQ(::read(target.get(), &count, sizeof count), 8);
    EXPECT_EQ(channels.ioctl(client->fd(), SYNC_IOC_MERGE, &merge, 1'000'000).error(), Errno::bad_fd);
    EXPECT_EQ(client->ioctl(SYNC_IOC_MERGE, &merge).error(), Errno::bad_fd);
}

TEST_F(TransportTest, StringsAndRequestsWithoutAStructReachTheDriver) {
    const auto client = server.connect();
    drm_panthor_bo_set_label label{.handle = 1, .pad = 0, .label = address("vertices")};
    ASSERT_TRUE(client->ioctl(DRM_IOCTL_PANTHOR_BO_SET_LABEL, &label));
    server.journal.await("label 'vertices'");
    label.label = address("");
    ASSERT_TRUE(client->ioctl(DRM_IOCTL_PANTHOR_BO_SET_LABEL, &label));
    server.journal.await("label ''");
    label.label = 0;
    ASSERT_TRUE(client->ioctl(DRM_IOCTL_PANTHOR_BO_SET_LABEL, &label));
    server.journal.await("no label");

    EXPECT_EQ(client->ioctl(DRM_IOCTL_DROP_MASTER, nullptr).error(), Errno::access);
    std::array<std::uint64_t, 8> resources{1, 2, 3};
    EXPECT_EQ(client->ioctl(0xc04064a0, resources.data()).error(), Errno::access);
    EXPECT_EQ(resources[2], 3U);
}

// ---- Channels of a program that knows nothing of them

TEST_F(TransportTest, ChannelsLeaveTheLowNumbersToTheProgram) {
    const auto client = server.connect();
    const auto descriptors = [](int first, int last) {
        const auto links = std::filesystem::directory_iterator("/proc/self/fd");
        return std::ranges::count_if(begin(links), end(links), [&](const auto& entry) {
            const int number = std::stoi(entry.path().filename());
            return number >= first && number <= last;
        });
    };
    ASSERT_TRUE(echoes(*client, 1)) << "so the server has its end of the file by now";
    // On the driver's thread, so that it is not about to open or close something itself.
    const auto low = server.ask([&](server::Listener&) { return descriptors(0, 999); });
    const auto high = server.ask([&](server::Listener&) { return descriptors(1000, INT_MAX); });
    client::Channels channels;
    drm_get_cap cap{};
    ASSERT_TRUE(channels.ioctl(client->fd(), kGetCap, &cap));
    // The server's end of the channel is the only new one down there: it is of the same process in this test.
    EXPECT_EQ(server.ask([&](server::Listener&) { return descriptors(0, 999); }), low + 1);
    EXPECT_EQ(server.ask([&](server::Listener&) { return descriptors(1000, INT_MAX); }), high + 1);
}

TEST_F(TransportTest, AChannelThatTheProgramClosedIsForgottenAndWhatTookItsNumberIsLeftAlone) {
    const auto client = server.connect();
    client::Channels channels;
    drm_get_cap cap{};
    ASSERT_TRUE(channels.ioctl(client->fd(), kGetCap, &cap));
    // As closefrom() would, and then the program opens files of its own.
    const Fd own = base::make_eventfd().value();
    for (int fd = 1000; fd < 1024; ++fd)
        if (::fcntl(fd, F_GETFD) >= 0) {
            ASSERT_EQ(::dup3(own.get(), fd, O_CLOEXEC), fd);
        }
    cap.capability = 5;
    ASSERT_TRUE(channels.ioctl(client->fd(), kGetCap, &cap));
    EXPECT_EQ(cap.value, 6U);
    channels.drop_idle();
    for (int fd = 1000; fd < 1024; ++fd) {
        if (::fcntl(fd, F_GETFD) < 0) continue;
        EXPECT_EQ(::eventfd_write(fd, 1), 0) << "still the program's eventfd";
        ::close(fd);
    }
    std::uint64_t count = 0;
    EXPECT_EQ(::read(own.get(), &count, sizeof count), 8);
    EXPECT_GE(count, 1U);
}

TEST_F(TransportTest, ChannelsKeepNoFileOpen) {
    auto client = server.connect();
    client::Channels channels;
    drm_get_cap cap{};
    ASSERT_TRUE(channels.ioctl(client->fd(), kGetCap, &cap));
    client.reset();
    server.journal.await("file closed");
}

TEST_F(TransportTest, LongArraysTravelBothWays) {
    const auto client = server.connect();
    std::vector<std::uint32_t> handles(100'000);
    std::iota(handles.begin(), handles.end(), 1U);
    std::vector<std::uint64_t> points(handles.size());
    drm_syncobj_timeline_array query{.handles = address(handles.data()),
                                     .points = address(points.data()),
                                     .count_handles = static_cast<std::uint32_t>(handles.size()),
                                     .flags = 0};
    ASSERT_TRUE(client->ioctl(DRM_IOCTL_SYNCOBJ_QUERY, &query));
    EXPECT_EQ(points.front(), 3U);
    EXPECT_EQ(points.back(), 300'000U);
    EXPECT_TRUE(echoes(*client, 1)) << "the channel is as good as before";
}

TEST_F(TransportTest, TooLongAnArrayIsNoMemory) {
    const auto client = server.connect();
    EXPECT_EQ(wait(*client, (16U << 20) / 4).error(), Errno::no_memory);
    EXPECT_TRUE(echoes(*client, 1));
}

TEST_F(TransportTest, WhatNoRowOfTheTableDescribesIsRefused) {
    const auto client = server.connect();
    std::uint64_t nothing = 0;
    EXPECT_EQ(client->ioctl(0x5401, &nothing).error(), Errno::not_a_tty);
    EXPECT_EQ(client->ioctl(static_cast<std::uint32_t>(_IO('d', 0x5f)), &nothing).error(), Errno::invalid);
    drm_gem_close unknown_to_the_fake{};
    EXPECT_EQ(client->ioctl(DRM_IOCTL_GEM_CLOSE, &unknown_to_the_fake).error(), Errno::invalid);
}

TEST_F(TransportTest, ABlockedCallBlocksNoOtherThread) {
    const auto client = server.connect();
    auto blocked = std::async(std::launch::async, [&] { return wait(*client); });
    server.journal.await("waiting");
    EXPECT_TRUE(echoes(*client, 5));
    signal(*client);
    EXPECT_TRUE(blocked.get());
}

TEST_F(TransportTest, ManyThreadsGetTheirOwnReplies) {
    const auto client = server.connect();
    std::vector<std::future<bool>> threads;
    for (std::uint64_t t = 0; t < 40; ++t) {  // more than there are slots for idle channels
        threads.push_back(std::async(std::launch::async, [&client, t] {
            bool right = true;
            for (std::uint64_t i = 0; i < 50; ++i) right &= echoes(*client, t << 32 | i);
            return right;
        }));
    }
    for (auto& thread : threads) EXPECT_TRUE(thread.get());
    EXPECT_EQ(client->requests(), 2000U);
    EXPECT_EQ(server.ask([](auto& listener) { return listener.requests(); }), 2000U);
}

TEST_F(TransportTest, ASignalDuringTheWaitForAReplyIsNotSeen) {
    struct sigaction action{};
    action.sa_handler = [](int) {};  // without SA_RESTART
    ASSERT_EQ(::sigaction(SIGUSR1, &action, nullptr), 0);
    const auto client = server.connect();
    std::promise<pthread_t> who;
    auto blocked = std::async(std::launch::async, [&] {
        who.set_value(::pthread_self());
        return wait(*client);
    });
    const pthread_t waiter = who.get_future().get();
    server.journal.await("waiting");
    ASSERT_EQ(::pthread_kill(waiter, SIGUSR1), 0);
    signal(*client);
    EXPECT_TRUE(blocked.get());
}

// ---- The life of a file

TEST_F(TransportTest, TheFileLivesAsLongAsAnyCopyOfItsDescriptor) {
    auto client = server.connect();
    ASSERT_TRUE(echoes(*client, 1));
    auto second = SocketTransport::adopt(Fd(::dup(client->fd())));
    client.reset();
    EXPECT_TRUE(echoes(*second, 2));
    EXPECT_EQ(server.ask([](auto& listener) { return listener.sessions(); }), 1U);
    second.reset();
    server.journal.await("file closed");
    server.journal.await("last closed");
    EXPECT_EQ(server.ask([](auto& listener) { return listener.sessions(); }), 0U);
}

TEST_F(TransportTest, AClientThatIsKilledWithinACallHasItCancelledBeforeItsFileCloses) {
    const pid_t child = ::fork();
    if (child == 0) {
        const auto client = SocketTransport::connect(directory / "socket");
        if (client) static_cast<void>(wait(**client));
        ::_exit(0);
    }
    server.journal.await("waiting");
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    server.journal.await("last closed");
    auto entries = server.journal.entries();
    std::erase(entries, "event");
    EXPECT_EQ(entries, (std::vector<std::string>{"waiting", "cancelled", "file closed", "last closed"}));
}

TEST_F(TransportTest, AServerThatEndsIsNoDevice) {
    const auto client = server.connect();
    auto blocked = std::async(std::launch::async, [&] { return wait(*client); });
    server.journal.await("waiting");
    server.stop();
    EXPECT_EQ(blocked.get().error(), Errno::no_device);
    drm_get_cap cap{};
    EXPECT_EQ(client->ioctl(kGetCap, &cap).error(), Errno::no_device);
    EXPECT_EQ(client->mmap(0x10000, 12288, PROT_READ).error(), Errno::no_device);
    EXPECT_NE(::access((directory / "socket").c_str(), F_OK), 0);
}

TEST_F(TransportTest, AForkedChildUsesChannelsOfItsOwn) {
    const auto client = server.connect();
    ASSERT_TRUE(echoes(*client, 1));  // leaves an idle channel behind, of which the child has a copy
    const pid_t child = ::fork();
    if (child == 0) {
        bool right = true;
        for (std::uint64_t i = 0; i < 200; ++i) right &= echoes(*client, 1000 + i);
        ::_exit(right ? 0 : 1);
    }
    bool right = true;
    for (std::uint64_t i = 0; i < 200; ++i) right &= echoes(*client, 5000 + i);
    EXPECT_TRUE(right);
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(echoes(*client, 2));
    EXPECT_EQ(server.ask([](auto& listener) { return listener.accepted(); }), 1U) << "one file for both";
}

// ---- Limits

TEST(TransportLimits, ChannelsBeyondTheLimitAreRefusedAndTheRestWorksOn) {
    const Directory directory;
    Server server(directory / "socket", {.sessions_max = 8, .session = {.channels_max = 1}});
    const auto client = server.connect();
    auto blocked = std::async(std::launch::async, [&] { return wait(*client); });
    server.journal.await("waiting");
    drm_get_cap cap{};
    EXPECT_EQ(client->ioctl(kGetCap, &cap).error(), Errno::too_many_files);
    server.stop();
    EXPECT_EQ(blocked.get().error(), Errno::no_device);
}

TEST(TransportLimits, OutstandingArgumentsBeyondTheLimitAreNoMemory) {
    const Directory directory;
    Server server(directory / "socket", {.sessions_max = 8, .session = {.argument_bytes_max = 10'000}});
    const auto client = server.connect();
    auto blocked = std::async(std::launch::async, [&] { return wait(*client, 2000); });
    server.journal.await("waiting");
    EXPECT_EQ(wait(*client, 2000).error(), Errno::no_memory);
    signal(*client);
    EXPECT_TRUE(blocked.get());
    auto again = std::async(std::launch::async, [&] { return wait(*client, 2000); });
    server.journal.await("waiting", 2);
    signal(*client);
    EXPECT_TRUE(again.get()) << "an answered call counts no more";
}

TEST(TransportLimits, ASessionBeyondTheLimitIsHungUp) {
    const Directory directory;
    Server server(directory / "socket", {.sessions_max = 1, .session = {}});
    const auto first = server.connect();
    ASSERT_TRUE(echoes(*first, 1));
    const auto second = server.connect();
    drm_get_cap cap{};
    EXPECT_EQ(second->ioctl(kGetCap, &cap).error(), Errno::no_device);
    EXPECT_TRUE(echoes(*first, 2));
}

TEST(TransportLimits, AServerWithoutDescriptorsPausesAndTakesTheClientLater) {
    const Directory directory;
    Server server(directory / "socket");
    const auto other = server.connect();
    ASSERT_TRUE(echoes(*other, 1));  // has a channel from now on, so that it needs no descriptor
    const Fd primary(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::strcpy(name.sun_path, (directory / "socket").c_str());
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const int next = ::dup(primary.get());  // the lowest number that is free
    ::close(next);
    const rlimit none{.rlim_cur = static_cast<rlim_t>(next), .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    EXPECT_EQ(::connect(primary.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
    constexpr std::uint64_t kRounds = 200;
    bool right = true;
    for (std::uint64_t i = 0; i < kRounds; ++i) right &= echoes(*other, i);
    EXPECT_TRUE(right) << "those who are connected are served";
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    const auto client = SocketTransport::adopt(Fd(::dup(primary.get())));
    EXPECT_TRUE(echoes(*client, 1));
    // A server that spins looks at the listening socket in each turn of its loop.
    EXPECT_LT(server.journal.entries().size(), kRounds + 50) << "it must not spin while it cannot accept";
}

// ---- Hostile clients

struct HostileClientTest : TransportTest {
    HostileClientTest() {
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        std::strcpy(name.sun_path, (directory / "socket").c_str());
        primary = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        EXPECT_EQ(::connect(primary.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
        channel = new_channel();
    }
    Fd new_channel() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
        const Fd theirs(ends[1]);
        EXPECT_TRUE(send_channel(primary.get(), theirs.get()));
        return Fd(ends[0]);
    }
    void send_wait() {
        std::uint32_t handle = 1;
        drm_syncobj_wait args{};
        args.handles = address(&handle);
        args.count_handles = 1;
        Outgoing out;
        ASSERT_TRUE(marshal(kWait, &args, out));
        MessageHeader header;
        header.request = kWait;
        ASSERT_TRUE(send_message(channel.get(), header, out.payload, {}, 0));
    }
    Errno reply() {
        const auto received = receive_message(channel.get(), buffer, 0);
        return received && *received ? static_cast<Errno>(buffer.header.result) : Errno::connection_reset;
    }
    bool hung_up() {
        const auto received = receive_message(channel.get(), buffer, 0);
        return !received || !*received;
    }
    void expect_others_are_served() {
        const auto other = server.connect();
        EXPECT_TRUE(echoes(*other, 1));
    }

    Fd primary;
    Fd channel;
    MessageBuffer buffer;
};

TEST_F(HostileClientTest, AChannelThatHangsUpHasItsCallCancelledAndNoOther) {
    send_wait();
    server.journal.await("waiting");
    const Fd first = std::exchange(channel, new_channel());
    send_wait();
    server.journal.await("waiting", 2);
    channel = Fd();
    server.journal.await("cancelled");
    channel = Fd(::dup(first.get()));
    const auto friendly = SocketTransport::adopt(Fd(::dup(primary.get())));
    signal(*friendly);
    EXPECT_EQ(reply(), Errno{});
    EXPECT_EQ(std::ranges::count(server.journal.entries(), "cancelled"), 1);
}

TEST_F(HostileClientTest, ASecondRequestBeforeTheReplyClosesTheChannel) {
    send_wait();
    server.journal.await("waiting");
    send_wait();
    EXPECT_TRUE(hung_up());
    server.journal.await("cancelled");
    expect_others_are_served();
}

TEST_F(HostileClientTest, WhoSpeaksAnotherProtocolIsToldSoAndHungUpOn) {
    MessageHeader header;
    header.version = 99;
    ASSERT_EQ(::send(channel.get(), &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
    EXPECT_EQ(reply(), Errno::protocol);
    EXPECT_TRUE(hung_up());
    expect_others_are_served();
}

TEST_F(HostileClientTest, AnUnknownKindOfMessageIsAProtocolError) {
    MessageHeader header;
    header.kind = static_cast<MessageKind>(77);
    ASSERT_TRUE(send_message(channel.get(), header, {}, {}, 0));
    EXPECT_EQ(reply(), Errno::protocol);
    EXPECT_TRUE(hung_up());
}

TEST_F(HostileClientTest, APayloadThatEndsTooSoonIsAProtocolError) {
    MessageHeader header;
    header.request = kGetCap;
    const std::array<std::byte, 15> payload{};
    ASSERT_TRUE(send_message(channel.get(), header, payload, {}, 0));
    EXPECT_EQ(reply(), Errno::protocol);
    EXPECT_TRUE(hung_up());
}

TEST_F(HostileClientTest, APayloadBeyondTheLimitIsNoMemoryAndTheChannelStays) {
    MessageHeader header;
    header.flags = MessageHeader::kPayloadInMemfd;
    header.payload_bytes = kPayloadBytesMax + 1;
    std::byte nothing{};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
    iovec part{&header, sizeof header};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = channel.get();
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    ASSERT_GT(::sendmsg(channel.get(), &message, 0), 0);
    EXPECT_EQ(reply(), Errno::no_memory);
    ASSERT_TRUE(send_message(channel.get(), {}, std::span(&nothing, 0), {}, 0));
    EXPECT_EQ(reply(), Errno::not_a_tty);  // request 0
}

TEST_F(HostileClientTest, AnythingButAChannelOverThePrimaryIsIgnored) {
    ASSERT_EQ(::send(primary.get(), "hello", 5, 0), 5);
    const Fd eventfd = base::make_eventfd().value();
    ASSERT_TRUE(send_channel(primary.get(), eventfd.get()));
    const auto friendly = SocketTransport::adopt(Fd(::dup(primary.get())));
    EXPECT_TRUE(echoes(*friendly, 1));
}

TEST_F(HostileClientTest, AClientThatLeavesItsReplyNoRoomLosesItsChannelOnly) {
    // The client keeps a copy of the server's end, and has both ends full before it asks.
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    const Fd theirs(ends[1]);
    channel = Fd(ends[0]);
    const std::array<std::byte, 4096> filler{};
    while (::send(theirs.get(), filler.data(), filler.size(), MSG_DONTWAIT) > 0) {
    }
    ASSERT_TRUE(send_channel(primary.get(), theirs.get()));
    MessageHeader header;
    header.request = kGetCap;
    const std::array<std::byte, 16> payload{};
    ASSERT_TRUE(send_message(channel.get(), header, payload, {}, 0));
    const auto friendly = SocketTransport::adopt(Fd(::dup(primary.get())));
    EXPECT_TRUE(echoes(*friendly, 1));
    expect_others_are_served();
}

// ---- mmap

TEST_F(TransportTest, AMappingOfSeveralPiecesIsOneRangeWhoseReadOnlyPieceStaysSo) {
    const auto client = server.connect();
    const auto mapping = client->mmap(0x10000, 12288, PROT_READ | PROT_WRITE);
    ASSERT_TRUE(mapping);
    ASSERT_EQ(mapping->size(), 12288U);
    mapping->data()[0] = std::byte{0xaa};
    mapping->data()[8192] = std::byte{0xbb};
    EXPECT_EQ(mapping->data()[4096], std::byte{0x0f});
    // The kernel writes where the program may, and says EFAULT where not.
    const Fd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(::read(zero.get(), mapping->data() + 1, 1), 1);
    EXPECT_EQ(::read(zero.get(), mapping->data() + 4096, 1), -1);
    EXPECT_EQ(errno, EFAULT);

    const auto again = client->mmap(0x10000, 12288, PROT_READ);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->data()[0], std::byte{0xaa}) << "shared, and at the offset of its file";
    EXPECT_EQ(again->data()[8192], std::byte{0xbb});
}

TEST_F(TransportTest, MmapErrorsAreTheDriversAndLengthsAreChecked) {
    const auto client = server.connect();
    EXPECT_EQ(client->mmap(0x20000, 12288, PROT_READ).error(), Errno::invalid);
    EXPECT_EQ(client->mmap(0x10000, 0, PROT_READ).error(), Errno::invalid);
    EXPECT_EQ(client->mmap(0x10001, 12288, PROT_READ).error(), Errno::invalid);
    EXPECT_TRUE(echoes(*client, 1));
}

// ---- The listening socket

TEST(ListeningSocket, IsItsOwnersOnlyAndItsDirectoryIsMade) {
    const Directory directory;
    {
        const auto socket = server::ListeningSocket::bind(directory / "new/socket");
        ASSERT_TRUE(socket);
        struct stat status{};
        ASSERT_EQ(::stat((directory / "new").c_str(), &status), 0);
        EXPECT_EQ(status.st_mode & 0777, 0700U);
        ASSERT_EQ(::stat((directory / "new/socket").c_str(), &status), 0);
        EXPECT_EQ(status.st_mode & 0777, 0600U);
    }
    EXPECT_EQ(::rmdir((directory / "new").c_str()), 0) << "the socket removed itself";
}

TEST(ListeningSocket, ReplacesAStaleOneAndRefusesALiveOneOrAnotherFile) {
    const Directory directory;
    const std::string path = directory / "socket";
    const auto live = server::ListeningSocket::bind(path);
    ASSERT_TRUE(live);
    const auto refused = server::ListeningSocket::bind(path);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().find("already answers at '" + path), std::string::npos) << refused.error();

    // Stale: the name stays, the socket behind it is closed.
    ASSERT_EQ(::rename(path.c_str(), (directory / "old").c_str()), 0);
    ASSERT_EQ(::symlink("/nowhere", path.c_str()), 0);
    EXPECT_FALSE(server::ListeningSocket::bind(path));
    ::unlink(path.c_str());
    {
        const Fd stale(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        std::strcpy(name.sun_path, path.c_str());
        ASSERT_EQ(::bind(stale.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
    }
    EXPECT_TRUE(server::ListeningSocket::bind(path));
    ::unlink((directory / "old").c_str());
}

TEST(ListeningSocket, LeavesANameAloneThatIsNotItsOwnAnyMore) {
    const Directory directory;
    const std::string path = directory / "socket";
    {
        const auto socket = server::ListeningSocket::bind(path);
        ASSERT_TRUE(socket);
        ASSERT_EQ(::unlink(path.c_str()), 0);
        std::ofstream(path) << "somebody else's";
    }
    EXPECT_EQ(::unlink(path.c_str()), 0) << "still there";
}

TEST(ListeningSocket, IsRefusedWhenWhatWasInheritedDoesNotListen) {
    EXPECT_FALSE(
        server::ListeningSocket::adopt(base::make_eventfd().value(), server::ListeningSocket::Name::keep));
    EXPECT_FALSE(server::ListeningSocket::adopt(Fd(::socket(AF_UNIX, SOCK_SEQPACKET, 0)),
                                                server::ListeningSocket::Name::keep));
}

// ---- Finding or starting a daemon

struct DaemonTest : testing::Test {
    DaemonTest() {
        ::setenv("XDG_RUNTIME_DIR", directory.path().c_str(), 1);
        ::unsetenv("BELFRY_SOCKET");
        std::array<char, 4096> self{};
        EXPECT_GT(::readlink("/proc/self/exe", self.data(), self.size() - 1), 0);
        ::setenv("BELFRYD", self.data(), 1);
    }
    ~DaemonTest() override {
        for (const char* name : {"XDG_RUNTIME_DIR", "BELFRY_SOCKET", "BELFRYD"}) ::unsetenv(name);
    }
    Directory directory;
};

TEST_F(DaemonTest, ADaemonAtTheUsualPathIsUsed) {
    Server server(directory / "belfry.sock");
    auto connection = client::connect_or_start();
    ASSERT_TRUE(connection) << connection.error().message;
    EXPECT_FALSE(connection->started);
    EXPECT_EQ(connection->path, directory / "belfry.sock");
    EXPECT_TRUE(echoes(*SocketTransport::adopt(std::move(connection->primary)), 1));
}

TEST_F(DaemonTest, APathThatWasGivenAndDoesNotAnswerIsAnErrorThatNamesIt) {
    ::setenv("BELFRY_SOCKET", (directory / "nobody").c_str(), 1);
    const auto by_environment = client::connect_or_start();
    ASSERT_FALSE(by_environment);
    EXPECT_EQ(by_environment.error().error, ENOENT);
    EXPECT_NE(by_environment.error().message.find(directory / "nobody"), std::string::npos);
    const auto by_option = client::connect_or_start({.socket_path = directory / "else"});
    ASSERT_FALSE(by_option);
    EXPECT_NE(by_option.error().message.find(directory / "else"), std::string::npos);
}

TEST_F(DaemonTest, WithoutADaemonAPrivateOneIsStartedAndEndsWithItsLastClientLeavingNothing) {
    auto connection = client::connect_or_start();
    ASSERT_TRUE(connection) << connection.error().message;
    EXPECT_TRUE(connection->started);
    auto first = SocketTransport::adopt(std::move(connection->primary));
    EXPECT_TRUE(echoes(*first, 1));
    auto second = SocketTransport::connect(connection->path);
    ASSERT_TRUE(second) << "a child of the program would come like this";
    EXPECT_TRUE(echoes(**second, 2));

    // The daemon holds its end of this FIFO open for as long as it lives: see main().
    const Fd alive(::open((directory / "alive").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(alive);
    ::unlink((directory / "alive").c_str());
    first.reset();
    second->reset();
    char byte = 0;
    EXPECT_EQ(::read(alive.get(), &byte, 1), 0);
    EXPECT_EQ(::rmdir(directory.path().c_str()), 0) << "the daemon's socket and directory are gone";
    ::mkdir(directory.path().c_str(), 0700);
}

TEST_F(DaemonTest, ADaemonThatCannotBeStartedIsAnErrorThatNamesItAndLeavesNothing) {
    ::setenv("BELFRYD", "/nowhere/belfryd", 1);
    const auto connection = client::connect_or_start();
    ASSERT_FALSE(connection);
    EXPECT_EQ(connection.error().error, ENOENT);
    EXPECT_NE(connection.error().message.find("/nowhere/belfryd"), std::string::npos);
    EXPECT_FALSE(client::connect_or_start({.may_start = false}));
    EXPECT_EQ(::rmdir(directory.path().c_str()), 0);
    ::mkdir(directory.path().c_str(), 0700);
}

/// What belfryd does with --listen-fd N --private, with the fake driver.
int private_daemon(int listen_fd) {
    const std::string alive = std::string(::getenv("XDG_RUNTIME_DIR")) + "/alive";
    ::mkfifo(alive.c_str(), 0600);
    [[maybe_unused]] const int held = ::open(alive.c_str(), O_RDWR | O_CLOEXEC);
    // Nothing else may have been passed on: 0, 1, 2, the socket, and the FIFO just opened.
    if (held != listen_fd + 1) return 1;
    Journal journal;
    asio::io_context io{1};
    FakeNode node(journal);
    auto socket =
        server::ListeningSocket::adopt(Fd(listen_fd), server::ListeningSocket::Name::remove_with_directory);
    if (!socket) return 1;
    server::Listener listener(io, std::move(*socket), node,
                              {.after_each = [] {}, .on_last_closed = [&] { io.stop(); }});
    listener.start();
    io.run();
    return 0;
}

}  // namespace
}  // namespace belfry

int main(int argc, char** argv) {
    if (argc == 4 && std::string_view(argv[1]) == "--listen-fd" && std::string_view(argv[3]) == "--private")
        return belfry::private_daemon(std::atoi(argv[2]));
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
