// What clients hold by descriptor: tokens and dma-bufs, and how the server learns that nobody holds one any
// more.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio/io_context.hpp>

#include "belfry/uapi/drm.h"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/sw_sync.h"
#include "daemon_rig.hpp"
#include "server/export_host.hpp"

namespace belfry::server {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language
using base::Fd;

constexpr std::size_t kBytes = 8192;

std::size_t own_descriptors() {
    const std::filesystem::directory_iterator entries("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

int next_descriptor() { return must(base::make_eventfd()).get(); }

bool readable(const Fd& fd) {
    pollfd entry{.fd = fd.get(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) == 1 && entry.revents == POLLIN;
}

/// Another open file of the same inode.
Fd reopen(int fd, int flags) {
    return Fd(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags | O_CLOEXEC));
}

/// What uapi::send_channel() sent.
Fd receive(const Fd& socket) {
    char byte = 0;
    iovec part{&byte, sizeof byte};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.data(), .msg_controllen = control.size()};
    require(::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC) == 1, "no message");
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return Fd(fd);
}

void close_now(Fd& fd) { fd = Fd(); }

class Exported : public testing::Test {
  protected:
    Exported() {
        // As main does.
        ::signal(SIGPIPE, SIG_IGN);
        ::signal(SIGIO, SIG_IGN);
        host.on_last_closed([this](drm::Inode inode) {
            EXPECT_EQ(events_begun, events_ended + 1) << "told from outside an event";
            closed.push_back(inode);
        });
    }

    /// Handles what there is to handle.
    void turn() {
        io.restart();
        io.poll();
    }
    /// Whether it is told closed sooner or later, and once.
    bool is_told_closed(drm::Inode inode) {
        return eventually([&] {
            turn();
            return std::ranges::count(closed, inode) == 1;
        });
    }
    bool nothing_was_told() {
        turn();
        return closed.empty();
    }

    int events_begun = 0;
    int events_ended = 0;
    std::vector<drm::Inode> closed;
    asio::io_context io;
    ExportHost host{io,
                    {.before_each = [this] { ++events_begun; }, .after_each = [this] { ++events_ended; }}};
};

// ---- Tokens

using Token = Exported;

TEST_F(Token, IsReadableForGoodOnceSignalled) {
    const auto token = must(host.make_token());
    EXPECT_FALSE(readable(token.fd));
    host.signal_token(token.inode);
    EXPECT_TRUE(readable(token.fd));
    host.signal_token(token.inode);
    EXPECT_TRUE(readable(token.fd));
}

TEST_F(Token, IsKnownByTheInodeOfItsDescriptor) {
    const auto token = must(host.make_token());
    const auto other = must(host.make_token());
    EXPECT_EQ(must(drm::inode_of(token.fd.get())), token.inode);
    EXPECT_NE(token.inode, other.inode);
    EXPECT_NE(::fcntl(token.fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(Token, IsToldClosedWhenItsLastCopyIsClosed) {
    auto token = must(host.make_token());
    Fd copy = must(token.fd.duplicate());
    close_now(token.fd);
    EXPECT_TRUE(nothing_was_told());
    close_now(copy);
    EXPECT_TRUE(is_told_closed(token.inode));
    EXPECT_EQ(host.size(), 0U);
}

TEST_F(Token, IsHeldByAForkedChildAndTheProgramThatItExecutes) {
    auto token = must(host.make_token());
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    Fd input(ends[0]);
    Fd end_of_input(ends[1]);
    Process cat([&] {
        ::dup2(input.get(), STDIN_FILENO);
        ::fcntl(token.fd.get(), F_SETFD, 0);
        execute({"/bin/cat"});
    });
    close_now(token.fd);
    EXPECT_TRUE(nothing_was_told());
    host.signal_token(token.inode);
    close_now(end_of_input);
    EXPECT_EQ(cat.wait(), EXIT_SUCCESS);
    EXPECT_TRUE(is_told_closed(token.inode));
}

TEST_F(Token, IsHeldByASocketThatItTravelsThrough) {
    auto token = must(host.make_token());
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()), 0);
    const Fd from(pair[0]);
    Fd to(pair[1]);
    must(uapi::send_channel(from.get(), token.fd.get()));
    close_now(token.fd);
    EXPECT_TRUE(nothing_was_told());
    close_now(to);
    EXPECT_TRUE(is_told_closed(token.inode));
}

TEST_F(Token, MayBeSignalledWhileNobodyHoldsIt) {
    auto token = must(host.make_token());
    close_now(token.fd);
    host.signal_token(token.inode);
    EXPECT_TRUE(is_told_closed(token.inode));
    host.signal_token(token.inode);
}

TEST_F(Token, CannotBeFilledSoThatSignallingItBlocks) {
    const auto token = must(host.make_token());
    const Fd writing = reopen(token.fd.get(), O_WRONLY | O_NONBLOCK);
    ASSERT_TRUE(writing);
    const std::array<char, 4096> page{};
    while (::write(writing.get(), page.data(), page.size()) > 0) {
    }
    host.signal_token(token.inode);
    EXPECT_TRUE(readable(token.fd));
}

TEST_F(Token, CostsADescriptorForAsLongAsItIsHeldAndAPageOfPipe) {
    const std::size_t before = own_descriptors();
    constexpr std::size_t kTokens = 1000;
    for (std::size_t round = 0; round < 3; ++round) {
        std::vector<ExportHost::Token> tokens;
        for (std::size_t i = 0; i < kTokens; ++i) tokens.push_back(must(host.make_token()));
        EXPECT_EQ(::fcntl(tokens[0].fd.get(), F_GETPIPE_SZ), ::sysconf(_SC_PAGESIZE));
        EXPECT_EQ(own_descriptors(), before + 2 * kTokens);
        tokens.clear();
        EXPECT_TRUE(eventually([&] {
            turn();
            return host.size() == 0;
        }));
        EXPECT_EQ(own_descriptors(), before);
        EXPECT_EQ(closed.size(), (round + 1) * kTokens);
    }
}

TEST_F(Token, CannotBeMadeWithoutDescriptorsAndLeavesNone) {
    const std::size_t before = own_descriptors();
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    rlimit tight = limit;
    tight.rlim_cur = static_cast<rlim_t>(next_descriptor()) + 1;  // one is left
    ::setrlimit(RLIMIT_NOFILE, &tight);
    const auto token = host.make_token();
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ASSERT_FALSE(token);
    EXPECT_EQ(token.error(), base::Errno::too_many_files);
    EXPECT_EQ(own_descriptors(), before);
}

// ---- Memory

class Memory : public Exported {
  protected:
    Fd open() { return must(host.open_memory(memory.fd.get())); }

    base::SharedMemory memory = must(base::make_shared_memory("test", kBytes, base::Sharing::writable));
    const drm::Inode inode = must(drm::inode_of(memory.fd.get()));
};

TEST_F(Memory, IsAnotherOpenFileOfTheSameInodeAndBytes) {
    const Fd file = open();
    EXPECT_EQ(must(drm::inode_of(file.get())), inode);
    EXPECT_EQ(::lseek(file.get(), 0, SEEK_END), static_cast<off_t>(kBytes));
    EXPECT_EQ(::lseek(memory.fd.get(), 0, SEEK_CUR), 0) << "its position is its own";
    EXPECT_EQ(::fcntl(file.get(), F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
    EXPECT_NE(::fcntl(file.get(), F_GETFD) & FD_CLOEXEC, 0);
    const auto mapping = must(base::map_shared(file.get(), 0, kBytes, base::Access::read_write));
    mapping.data()[100] = std::byte{42};
    EXPECT_EQ(memory.mapping.data()[100], std::byte{42});
}

TEST_F(Memory, IsToldClosedWhenItsLastDescriptorAndItsLastMappingAreGone) {
    Fd file = open();
    Fd copy = must(file.duplicate());
    {
        const auto mapping = must(base::map_shared(file.get(), 0, kBytes, base::Access::read));
        close_now(file);
        EXPECT_TRUE(nothing_was_told());
        close_now(copy);
        EXPECT_TRUE(nothing_was_told()) << "it is mapped";
    }
    EXPECT_TRUE(is_told_closed(inode));
    EXPECT_EQ(host.size(), 0U);
}

TEST_F(Memory, IsHeldByEachOfItsFiles) {
    Fd first = open();
    Fd second = open();
    Fd third = reopen(second.get(), O_RDWR);
    EXPECT_EQ(host.size(), 1U);
    close_now(first);
    EXPECT_TRUE(nothing_was_told());
    close_now(second);
    EXPECT_TRUE(nothing_was_told());
    close_now(third);
    EXPECT_TRUE(is_told_closed(inode));
}

TEST_F(Memory, IsHeldByAnotherProcess) {
    Fd file = open();
    Counter end;
    Child holder([&] { end.await(1); });
    close_now(file);
    EXPECT_TRUE(nothing_was_told());
    end.add();
    holder.finish();
    EXPECT_TRUE(is_told_closed(inode));
}

TEST_F(Memory, IsNotHeldByTheMemfdThatClientsMap) {
    const Fd as_mmap_answers = must(memory.fd.duplicate());
    const auto mapping = must(base::map_shared(as_mmap_answers.get(), 0, kBytes, base::Access::read_write));
    Fd file = open();
    close_now(file);
    EXPECT_TRUE(is_told_closed(inode));
}

TEST_F(Memory, MayBeOpenedAgainAfterItsEnd) {
    for (int round = 0; round < 3; ++round) {
        Fd file = open();
        EXPECT_TRUE(nothing_was_told());
        close_now(file);
        EXPECT_TRUE(is_told_closed(inode));
        closed.clear();
    }
}

TEST_F(Memory, OpenedAgainBeforeItsEndWasSeenIsNotToldClosed) {
    Fd file = open();
    close_now(file);
    file = open();
    EXPECT_TRUE(nothing_was_told());
    close_now(file);
    EXPECT_TRUE(is_told_closed(inode));
}

TEST_F(Memory, IsToldClosedEvenIfTheEventWasLost) {
    const auto other = must(base::make_shared_memory("test", kBytes, base::Sharing::writable));
    Fd its = must(host.open_memory(other.fd.get()));
    Fd file = open();
    // More than the queue holds, by turns, so that they are not merged.
    const int lost = std::stoi(read_file("/proc/sys/fs/inotify/max_queued_events"));
    for (int i = 0; i <= lost / 2; ++i) {
        reopen(its.get(), O_RDWR);
        reopen(file.get(), O_RDWR);
    }
    close_now(file);
    EXPECT_TRUE(is_told_closed(inode));
    close_now(its);
    EXPECT_TRUE(is_told_closed(must(drm::inode_of(other.fd.get()))));
}

TEST_F(Memory, IsToldClosedThoughTheEventComesBeforeTheFileHasCeasedToCount) {
    // A lease that is being broken has the same effect as a close() that is not over; nothing tells of its
    // end.
    Fd file = open();
    Fd reading = reopen(file.get(), O_RDONLY);
    close_now(file);
    ASSERT_EQ(::fcntl(reading.get(), F_SETLEASE, F_WRLCK), 0);
    ASSERT_FALSE(reopen(reading.get(), O_RDWR | O_NONBLOCK));
    EXPECT_TRUE(nothing_was_told());
    close_now(reading);
    EXPECT_TRUE(is_told_closed(inode));
}

TEST_F(Memory, IsNotWaitedForWhileAClientKeepsALease) {
    Fd file = open();
    ASSERT_EQ(::fcntl(file.get(), F_SETLEASE, F_WRLCK), 0);
    const auto second = host.open_memory(memory.fd.get());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error(), base::Errno::again);
    EXPECT_TRUE(nothing_was_told());
    close_now(file);
    EXPECT_TRUE(is_told_closed(inode));
}

TEST_F(Memory, ThatCannotBeOpenedIsNotKept) {
    const Fd no_memory = must(base::make_eventfd());
    EXPECT_FALSE(host.open_memory(no_memory.get()));
    EXPECT_FALSE(host.open_memory(-1));
    EXPECT_EQ(host.size(), 0U);
}

// ---- In a belfryd: descriptors that outlive the files that gave them, and go between processes

/// One open file of the daemon's.
class File {
  public:
    explicit File(const std::string& path) : transport_(must(client::SocketTransport::connect(path))) {}

    template <typename T>
    T ioctl(std::uint32_t request, T args) {
        must(transport_->ioctl(request, &args));
        return args;
    }
    template <typename T>
    int error_of(std::uint32_t request, T args) {
        const auto done = transport_->ioctl(request, &args);
        return done ? 0 : static_cast<int>(done.error());
    }

    // ---- syncobjs
    std::uint32_t create_syncobj() {
        return ioctl(DRM_IOCTL_SYNCOBJ_CREATE, uapi::drm_syncobj_create{}).handle;
    }
    Fd export_syncobj(std::uint32_t handle, std::uint32_t flags = 0) {
        return Fd(ioctl(DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD,
                        uapi::drm_syncobj_handle{.handle = handle, .flags = flags, .fd = -1})
                      .fd);
    }
    std::uint32_t import_syncobj(const Fd& fd) {
        return ioctl(DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, uapi::drm_syncobj_handle{.fd = fd.get()}).handle;
    }
    void import_sync_file(std::uint32_t handle, const Fd& fd) {
        ioctl(
            DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE,
            uapi::drm_syncobj_handle{
                .handle = handle, .flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE, .fd = fd.get()});
    }
    void signal(std::uint32_t handle) {
        ioctl(
            DRM_IOCTL_SYNCOBJ_SIGNAL,
            uapi::drm_syncobj_array{.handles = reinterpret_cast<std::uint64_t>(&handle), .count_handles = 1});
    }
    /// 0 once it is signalled, ETIME or EINVAL (nothing submitted) before.
    int poll_syncobj(std::uint32_t handle) {
        return error_of(
            DRM_IOCTL_SYNCOBJ_WAIT,
            uapi::drm_syncobj_wait{.handles = reinterpret_cast<std::uint64_t>(&handle), .count_handles = 1});
    }

    // ---- buffers
    std::uint32_t create_buffer(std::uint64_t bytes) {
        return ioctl(DRM_IOCTL_PANTHOR_BO_CREATE, uapi::drm_panthor_bo_create{.size = bytes}).handle;
    }
    void close_buffer(std::uint32_t handle) {
        ioctl(DRM_IOCTL_GEM_CLOSE, uapi::drm_gem_close{.handle = handle});
    }
    Fd export_buffer(std::uint32_t handle) {
        return Fd(ioctl(DRM_IOCTL_PRIME_HANDLE_TO_FD,
                        uapi::drm_prime_handle{.handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR, .fd = -1})
                      .fd);
    }
    std::uint32_t import_buffer(const Fd& fd) {
        return ioctl(DRM_IOCTL_PRIME_FD_TO_HANDLE, uapi::drm_prime_handle{.fd = fd.get()}).handle;
    }
    base::Mapping map_buffer(std::uint32_t handle, std::size_t bytes) {
        const auto offset =
            ioctl(DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET, uapi::drm_panthor_bo_mmap_offset{.handle = handle})
                .offset;
        return must(transport_->mmap(offset, bytes, PROT_READ | PROT_WRITE));
    }

    // ---- a timeline
    Fd fence_at(std::uint32_t value) {
        return Fd(ioctl(SW_SYNC_IOC_CREATE_FENCE, uapi::sw_sync_create_fence_data{.value = value}).fence);
    }
    void inc() { ioctl(SW_SYNC_IOC_INC, uapi::sw_sync_inc{.value = 1}); }

  private:
    std::unique_ptr<client::SocketTransport> transport_;
};

class ExportedByADaemon : public DaemonTest {
  protected:
    [[nodiscard]] std::string at(const std::string& name) const { return daemon.socket() + ".view/" + name; }
    [[nodiscard]] File render_node() const { return File(at("dev/dri/renderD128")); }
    [[nodiscard]] File primary_node() const { return File(at("dev/dri/card0")); }
    [[nodiscard]] File timeline() const { return File(at("dev/sw_sync")); }

    Device observer = daemon.open();
};

/// Once it is readable.
bool await_readable(const Fd& fd) {
    pollfd entry{.fd = fd.get(), .events = POLLIN, .revents = 0};
    const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(kGenerous);
    return ::poll(&entry, 1, static_cast<int>(timeout.count())) == 1 && entry.revents == POLLIN;
}

TEST_F(ExportedByADaemon, ASyncobjOutlivesItsFileAndIsSharedWithAnotherProcess) {
    Fd syncobj;
    {
        File file = render_node();
        syncobj = file.export_syncobj(file.create_syncobj());
    }
    ASSERT_TRUE(eventually([&] { return must(observer.load()).files == 1; })) << "its file is closed";
    File file = primary_node();
    const std::uint32_t handle = file.import_syncobj(syncobj);
    EXPECT_EQ(file.poll_syncobj(handle), EINVAL) << "nothing has been submitted";
    Child other([&] {
        File its = render_node();
        its.signal(its.import_syncobj(syncobj));
    });
    other.finish();
    EXPECT_EQ(file.poll_syncobj(handle), 0);
}

TEST_F(ExportedByADaemon, ASyncFileIsReadableInEachProcessOnceSignalled) {
    File moved_by_hand = timeline();
    const Fd fence = moved_by_hand.fence_at(1);
    Counter waits;
    Child waiter([&] {
        require(!readable(fence), "it is signalled already");
        waits.add();
        require(await_readable(fence), "it is not signalled");
    });
    waits.await(1);
    moved_by_hand.inc();
    EXPECT_TRUE(await_readable(fence));
    waiter.finish();
    EXPECT_TRUE(readable(fence)) << "for good";
}

TEST_F(ExportedByADaemon, ASyncFileOutlivesTheFileThatGaveIt) {
    File moved_by_hand = timeline();
    Fd from_syncobj;
    {
        File file = render_node();
        const std::uint32_t handle = file.create_syncobj();
        file.import_sync_file(handle, moved_by_hand.fence_at(1));
        from_syncobj = file.export_syncobj(handle, DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE);
    }
    ASSERT_TRUE(eventually([&] { return must(observer.load()).files == 1; })) << "its file is closed";
    EXPECT_FALSE(readable(from_syncobj));
    moved_by_hand.inc();
    EXPECT_TRUE(await_readable(from_syncobj));
}

TEST_F(ExportedByADaemon, ASyncFileIsReadableWhenItsTimelineIsClosed) {
    Fd fence;
    fence = timeline().fence_at(1);
    EXPECT_TRUE(await_readable(fence));
}

TEST_F(ExportedByADaemon, ADmaBufOutlivesItsHandleAndItsFileUntilItsLastDescriptorAndMappingAreGone) {
    const DeviceLoad before = must(observer.load());
    Fd buffer;
    {
        File file = render_node();
        const std::uint32_t handle = file.create_buffer(kBytes);
        file.map_buffer(handle, kBytes).data()[10] = std::byte{42};
        buffer = file.export_buffer(handle);
        file.close_buffer(handle);
    }
    ASSERT_TRUE(eventually([&] { return must(observer.load()).files == before.files; }));
    {
        File file = primary_node();
        const std::uint32_t handle = file.import_buffer(buffer);
        const auto mapping = file.map_buffer(handle, kBytes);
        EXPECT_EQ(mapping.data()[10], std::byte{42});
        mapping.data()[11] = std::byte{43};
    }
    EXPECT_EQ(::lseek(buffer.get(), 0, SEEK_END), static_cast<off_t>(kBytes));
    {
        const auto mapping = must(base::map_shared(buffer.get(), 0, kBytes, base::Access::read));
        EXPECT_EQ(mapping.data()[11], std::byte{43});
        close_now(buffer);
        EXPECT_EQ(must(observer.load()).buffer_bytes, before.buffer_bytes + kBytes) << "it is mapped";
    }
    EXPECT_TRUE(eventually([&] {
        const DeviceLoad now = must(observer.load());
        return now.buffers == before.buffers && now.buffer_bytes == before.buffer_bytes;
    }));
}

TEST_F(ExportedByADaemon, ADmaBufGoesToAnotherProcessAndBack) {
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()), 0);
    const Fd here(pair[0]);
    Fd there(pair[1]);
    Child exporter([&] {
        File file = render_node();
        must(uapi::send_channel(there.get(), file.export_buffer(file.create_buffer(kBytes)).get()));
    });
    exporter.finish();
    const Fd buffer = receive(here);
    File file = render_node();
    const std::uint32_t handle = file.import_buffer(buffer);
    EXPECT_EQ(file.import_buffer(buffer), handle) << "one handle a file for one buffer";
    EXPECT_EQ(must(drm::inode_of(file.export_buffer(handle).get())), must(drm::inode_of(buffer.get())));
}

TEST_F(ExportedByADaemon, AThousandDescriptorsLeaveNothingInTheDaemon) {
    constexpr std::size_t kAtATime = 250;
    File moved_by_hand = timeline();
    File file = render_node();
    const std::uint32_t syncobj = file.create_syncobj();
    const std::uint32_t buffer = file.create_buffer(kBytes);
    static_cast<void>(moved_by_hand.fence_at(0));  // whatever is made once is made now
    static_cast<void>(file.export_buffer(buffer));
    ASSERT_TRUE(must(observer.load()).files > 0);
    std::size_t before = 0;
    ASSERT_TRUE(
        eventually([&] { return std::exchange(before, daemon.descriptors()) == daemon.descriptors(); }));
    for (int round = 0; round < 2; ++round) {
        std::vector<Fd> held;
        for (std::size_t i = 0; i < kAtATime; ++i) {
            held.push_back(moved_by_hand.fence_at(static_cast<std::uint32_t>(i % 2 * 1000)));
            held.push_back(file.export_syncobj(syncobj));
            held.push_back(file.export_buffer(buffer));
        }
        EXPECT_GE(daemon.descriptors(), before + 2 * kAtATime) << "one for each token";
        held.clear();
        EXPECT_TRUE(eventually([&] { return daemon.descriptors() <= before; }));
    }
}

TEST_F(ExportedByADaemon, WhatIsStillHeldAtItsEndHangsUp) {
    File moved_by_hand = timeline();
    const Fd fence = moved_by_hand.fence_at(1);
    File file = render_node();
    const Fd syncobj = file.export_syncobj(file.create_syncobj());
    const Fd buffer = file.export_buffer(file.create_buffer(kBytes));
    daemon.stop();
    pollfd entry{.fd = fence.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&entry, 1, 0), 1) << "nobody waits for ever";
}

}  // namespace
}  // namespace belfry::server
