// The render node of belfry.ko, with the belfryd that serves it. Run in the guest of ./dev vm test.

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>

#include "belfry/uapi/sync_file.h"
#include "kernel/command_ring.hpp"
#include "kernel/node_rig.hpp"

namespace belfry::kernel_tests {
namespace {

using uapi::drm_panthor_dev_query;
using uapi::drm_panthor_vm_create;

/// 0, or a negative errno.
int request(const base::Fd& file, unsigned long number, void* args) {
    return ::ioctl(file.get(), number, args) == 0 ? 0 : -errno;
}

/// The primary node of the device that has this render node.
std::string primary_of(const std::string& render_node) {
    const std::string name = std::filesystem::path(render_node).filename().string();
    for (const auto& entry : std::filesystem::directory_iterator("/sys/class/drm/" + name + "/device/drm"))
        if (entry.path().filename().string().starts_with("card"))
            return "/dev/dri/" + entry.path().filename().string();
    return {};
}

std::uint32_t files(const Device& device) { return must(device.load()).files; }

/// A user-mode job on a device: what the GPU stored.
std::uint32_t run_user_job(const Device& device) {
    Vm vm = must(device.create_vm());
    Buffer buffer = must(device.create_buffer(4096));
    const std::uint64_t va = must(vm.map(buffer));
    Group group = must(vm.create_group({}));
    const SyncObject done = must(SyncObject::at(buffer, 0, va));
    CommandWriter commands = must(group.queue().begin(8));
    commands.move48(d(0), va)
        .move32(r(2), 42)
        .store_multiple(r(2), 0b1, d(0), 64)
        .move48(d(4), 1)
        .wait(slots(0))
        .sync_add64(d(0), d(4));
    must(group.queue().submit(commands));
    must(group.wait(done, 1));
    return reinterpret_cast<const std::uint32_t*>(buffer.bytes().data())[16];
}

TEST(KernelNode, IsFoundByItsDriversNameAndAnswersQueries) {
    const Server server;
    const DeviceInfo info = must(server.device().info());
    EXPECT_EQ(info.driver, "panthor");
    EXPECT_EQ(info.group_slots, 8U);
    EXPECT_GT(info.registers, 0U);
}

TEST(KernelNode, OneDeviceIsSeenThroughNodeAndSocket) {
    const Server server;
    const Device by_node = server.device();
    const Device by_socket = must(Device::open({.socket_path = "/tmp/node_tests/belfry.sock"}));
    const Vm vm = must(by_node.create_vm());
    EXPECT_EQ(must(by_socket.load()).vms, 1U);
    EXPECT_EQ(files(by_socket), 2U);
}

TEST(KernelNode, AUserModeJobRuns) {
    const Server server;
    EXPECT_EQ(run_user_job(server.device()), 42U);
}

// A group asks for the caller's eventfds, so descriptors find their way too.
TEST(KernelNode, AnEventfdOfTheProgramIsRung) {
    const Server server;
    const Device device = server.device();
    const base::Fd state = *base::make_eventfd();
    Vm vm = must(device.create_vm());
    Group group = must(vm.create_group({.group_state_eventfd = state.get()}));
    CommandWriter commands = must(group.queue().begin(2));
    commands.move48(d(0), 0xdead000).store_multiple(r(2), 0b1, d(0), 0);  // faults, which ends the group
    must(group.queue().submit(commands));
    EXPECT_TRUE(becomes([&] {
        std::uint64_t count = 0;
        return ::read(state.get(), &count, sizeof count) == sizeof count;
    }));
}

TEST(KernelNode, AClosedEventfdIsRefused) {
    const Server server;
    const Device device = server.device();
    Vm vm = must(device.create_vm());
    const auto group = vm.create_group({.group_state_eventfd = 999});
    ASSERT_FALSE(group);
    EXPECT_EQ(group.error().code, EBADF);
}

TEST(KernelNode, ABuffersMappingIsAsGoodAsAnyMemory) {
    const Server server;
    Buffer buffer = must(server.device().create_buffer(8192));
    buffer.words()[0] = 1;
    iovec whole{buffer.bytes().data(), buffer.bytes().size()};
    io_uring ring{};
    ASSERT_EQ(io_uring_queue_init(2, &ring, 0), 0);
    EXPECT_EQ(io_uring_register_buffers(&ring, &whole, 1), 0);
    io_uring_queue_exit(&ring);
}

TEST(KernelNode, AReadOnlyPageStaysSo) {
    const Server server;
    const base::Fd file = server.open();
    EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(),
                     static_cast<off_t>(DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET)),
              MAP_FAILED);
    void* const page = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file.get(),
                              static_cast<off_t>(DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET));
    ASSERT_NE(page, MAP_FAILED);
    EXPECT_EQ(::mprotect(page, 4096, PROT_READ | PROT_WRITE), -1);
    EXPECT_EQ(errno, EACCES);
    ::munmap(page, 4096);
}

// A mapping of several pieces: user I/O is a page to write, then one to read.
TEST(KernelNode, APageThatIsOnlyToBeReadIsSoWithinAWritableMapping) {
    const Server server;
    const pid_t child = ::fork();
    if (child == 0) {
        const Device device = server.device();
        Vm vm = must(device.create_vm());
        const Group group = must(vm.create_group({}));
        std::ifstream maps("/proc/self/maps");
        for (std::string line; std::getline(maps, line);) {
            std::uint64_t from = 0;
            std::uint64_t to = 0;
            if (line.find(server.node()) == std::string::npos ||
                std::sscanf(line.c_str(), "%lx-%lx rw-s", &from, &to) != 2 || to - from != 8192)
                continue;
            auto* const words = reinterpret_cast<volatile std::uint64_t*>(from);
            static_cast<void>(words[512]);
            words[0] = words[0];  // a page to write
            words[512] = 1;       // and one that ends the program
        }
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

TEST(KernelNode, WithoutADaemonAtItsSocketTheNodeIsTheDevice) {
    const Server server;
    EXPECT_EQ(must(Device::open()).socket_path(), server.node());
}

// The DRM core makes a primary node beside every render node.
TEST(KernelNode, ThePrimaryNodeIsServedAsTheRenderNode) {
    const Server server;
    const base::Fd file(::open(primary_of(server.node()).c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(file);
    uapi::belfry_device_info info{};
    EXPECT_EQ(request(file, DRM_IOCTL_BELFRY_DEVICE_INFO, &info), 0);
    EXPECT_EQ(info.files, 1U);
    uapi::drm_syncobj_create syncobj{};
    EXPECT_EQ(request(file, DRM_IOCTL_SYNCOBJ_CREATE, &syncobj), 0);
    uapi::drm_auth magic{};
    EXPECT_EQ(request(file, DRM_IOCTL_GET_MAGIC, &magic), -EACCES);
    EXPECT_EQ(request(file, DRM_IOCTL_SET_MASTER, nullptr), -EACCES);
    uapi::drm_gem_flink flink{};
    EXPECT_EQ(request(file, DRM_IOCTL_GEM_FLINK, &flink), -EACCES);
}

TEST(KernelNode, PrivateMappingsAndUnknownOffsetsAreRefused) {
    const Server server;
    const base::Fd file = server.open();
    EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file.get(),
                     static_cast<off_t>(DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET)),
              MAP_FAILED);
    EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file.get(), 0x10000), MAP_FAILED);
    EXPECT_EQ(errno, EINVAL);
}

TEST(KernelNode, BadPointersAreFaultsAndUnknownRequestsAreErrors) {
    const Server server;
    const base::Fd file = server.open();
    EXPECT_EQ(request(file, DRM_IOCTL_PANTHOR_VM_CREATE, nullptr), -EFAULT);
    uapi::drm_panthor_gpu_info info{};
    drm_panthor_dev_query query{
        .type = uapi::DRM_PANTHOR_DEV_QUERY_GPU_INFO, .size = sizeof info, .pointer = 1};
    EXPECT_EQ(request(file, DRM_IOCTL_PANTHOR_DEV_QUERY, &query), -EFAULT);  // out
    drm_panthor_vm_create vm{};
    ASSERT_EQ(request(file, DRM_IOCTL_PANTHOR_VM_CREATE, &vm), 0);
    uapi::drm_panthor_vm_bind bind{
        .vm_id = vm.id, .ops = {.stride = sizeof(uapi::drm_panthor_vm_bind_op), .count = 1, .array = 1}};
    EXPECT_EQ(request(file, DRM_IOCTL_PANTHOR_VM_BIND, &bind), -EFAULT);  // in
    EXPECT_EQ(request(file, _IO('d', 0xfe), nullptr), -EINVAL);
    EXPECT_EQ(request(file, _IO('x', 1), nullptr), -ENOTTY);
    EXPECT_EQ(request(file, DRM_IOCTL_VERSION, nullptr), -EFAULT);
}

// The server's time is what is bounded, not that of a program's own memory.
TEST(KernelNode, AProgramWhoseMemoryIsSlowWaitsForItselfAlone) {
    const Server server;
    const base::Fd file = server.open();
    drm_panthor_vm_create vm{};
    ASSERT_EQ(request(file, DRM_IOCTL_PANTHOR_VM_CREATE, &vm), 0);
    const SlowPage page;
    int result = 0;
    std::jthread caller([&] {
        uapi::drm_panthor_vm_bind bind{
            .vm_id = vm.id,
            .ops = {.stride = sizeof(uapi::drm_panthor_vm_bind_op), .count = 1, .array = page.address()}};
        result = request(file, DRM_IOCTL_PANTHOR_VM_BIND, &bind);
    });
    page.await_touch();
    std::this_thread::sleep_for(11s);  // a program's way to take its time
    const uapi::drm_panthor_vm_bind_op nonsense{.flags = ~0U, .size = 4096};
    page.put(&nonsense, sizeof nonsense);
    caller.join();
    EXPECT_EQ(result, -EINVAL);
    EXPECT_EQ(run_user_job(server.device()), 42U);
}

// A text without a length is read by the character, up to its NUL and no further than its page.
TEST(KernelNode, ATextAtTheEndOfMemoryIsRead) {
    const Server server;
    const base::Fd file = server.open();
    uapi::drm_panthor_bo_create create{.size = 4096};
    ASSERT_EQ(request(file, DRM_IOCTL_PANTHOR_BO_CREATE, &create), 0);
    void* const pages = ::mmap(nullptr, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_EQ(::mprotect(pages, 4096, PROT_READ | PROT_WRITE), 0);
    char* const text = static_cast<char*>(pages) + 4096 - 6;
    std::memcpy(text, "label", 6);
    uapi::drm_panthor_bo_set_label label{.handle = create.handle,
                                         .label = reinterpret_cast<std::uintptr_t>(text)};
    EXPECT_EQ(request(file, DRM_IOCTL_PANTHOR_BO_SET_LABEL, &label), 0);
    text[5] = '!';  // now it does not end there
    EXPECT_EQ(request(file, DRM_IOCTL_PANTHOR_BO_SET_LABEL, &label), -EFAULT);
    ::munmap(pages, 8192);
}

TEST(KernelNode, SyncobjsAreTheKernels) {
    const Server server;
    const Device device = server.device();
    const Syncobj syncobj = must(device.create_syncobj(true));
    EXPECT_TRUE(syncobj.wait(0).has_value());
    server.signal(SIGSTOP);
    EXPECT_TRUE(must(device.create_syncobj(true)).wait(0).has_value());  // nobody is asked
    server.signal(SIGCONT);
}

TEST(KernelNode, ManyThreadsCallAtOnce) {
    const Server server;
    const base::Fd file = server.open();
    std::vector<std::jthread> threads;
    std::atomic<int> done = 0;
    for (int i = 0; i < 100; ++i)
        threads.emplace_back([&] {
            for (int round = 0; round < 10; ++round) {
                uapi::belfry_device_info info{};
                if (request(file, DRM_IOCTL_BELFRY_DEVICE_INFO, &info) == 0) ++done;
            }
        });
    threads.clear();
    EXPECT_EQ(done, 1000);
}

// ---- Fences

/// A syncobj's fence as a sync file; without one, errno says why.
base::Fd export_fence(const Device& device, const Syncobj& syncobj) {
    uapi::drm_syncobj_handle handle{
        .handle = syncobj.handle(), .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, .fd = -1};
    return base::Fd(::ioctl(device.fd(), DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &handle) == 0 ? handle.fd : -1);
}

/// The status of a fence: 0 pending, 1 signalled, a negative errno if it failed.
int fence_status(const base::Fd& sync_file) {
    uapi::sync_file_info info{};
    return ::ioctl(sync_file.get(), SYNC_IOC_FILE_INFO, &info) == 0 ? info.status : -errno;
}

int fence_status(const Device& device, const Syncobj& syncobj) {
    const base::Fd fence = export_fence(device, syncobj);
    return fence ? fence_status(fence) : -errno;
}

/// True if it has signalled in time, whatever its status.
bool signals(const base::Fd& sync_file, std::chrono::milliseconds time) {
    pollfd readable{.fd = sync_file.get(), .events = POLLIN, .revents = 0};
    return ::poll(&readable, 1, static_cast<int>(time.count())) == 1;
}

TEST_F(KernelNodeJobs, AJobsFenceIsTheKernels) {
    const Syncobj done = must(device.create_syncobj());
    must(rig.submit(std::array{SyncOp{.syncobj = done, .signal = true}}));
    must(done.wait(0));
    EXPECT_EQ(rig.result(), 42U);
    EXPECT_EQ(fence_status(device, done), 1);
}

TEST_F(KernelNodeJobs, JobsOfTwoGroupsFollowEachOtherOnATimeline) {
    JobRig second(device);
    const Syncobj timeline = must(device.create_syncobj());
    for (std::uint64_t point = 1; point <= 100; ++point) {
        std::vector<SyncOp> syncs{{.syncobj = timeline, .signal = true, .point = point}};
        if (point > 1) syncs.push_back({.syncobj = timeline, .point = point - 1});
        must((point % 2 == 0 ? rig : second).submit(syncs));
    }
    must(timeline.wait(100));
    EXPECT_EQ(rig.result(), 42U);
    EXPECT_EQ(second.result(), 42U);
}

TEST_F(KernelNodeJobs, AJobWaitsForAFenceOfAnotherProgram) {
    const Device other = server.device();
    JobRig slow(other);
    const Syncobj first = must(other.create_syncobj());
    must(slow.submit_endless(std::array{SyncOp{.syncobj = first, .signal = true}}));
    uapi::drm_syncobj_handle handle{.handle = first.handle(), .fd = -1};
    ASSERT_EQ(::ioctl(other.fd(), DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &handle), 0);
    ASSERT_EQ(::ioctl(device.fd(), DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &handle), 0);
    ::close(handle.fd);
    uapi::drm_panthor_sync_op wait{.handle = handle.handle};
    uapi::drm_panthor_queue_submit nothing{
        .syncs = {.stride = sizeof wait, .count = 1, .array = reinterpret_cast<std::uintptr_t>(&wait)}};
    uapi::drm_panthor_group_submit submit{
        .group_handle = rig.group.handle(),
        .queue_submits = {
            .stride = sizeof nothing, .count = 1, .array = reinterpret_cast<std::uintptr_t>(&nothing)}};
    ASSERT_EQ(::ioctl(device.fd(), DRM_IOCTL_PANTHOR_GROUP_SUBMIT, &submit), 0);
    const Syncobj done = must(device.create_syncobj());
    must(rig.submit(std::array{SyncOp{.syncobj = done, .signal = true}}));
    EXPECT_EQ(fence_status(device, done), 0);
    EXPECT_EQ(rig.result(), 0U);
    must(done.wait(0));  // the job that never ends is ended by the driver
    EXPECT_EQ(rig.result(), 42U);
    EXPECT_LT(fence_status(other, first), 0);
}

TEST_F(KernelNodeJobs, NothingIsDoneIfASyncobjIsNotThere) {
    const Syncobj empty = must(device.create_syncobj());
    const Syncobj done = must(device.create_syncobj());
    const std::array syncs{SyncOp{.syncobj = done, .signal = true}, SyncOp{.syncobj = empty}};
    const auto refused = rig.submit(syncs);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EINVAL);
    EXPECT_EQ(fence_status(device, done), -EINVAL);  // no fence was published
}

TEST(KernelNode, BindsInTheBackgroundSignalPoints) {
    const Server server;
    const Device device = server.device();
    const base::Fd file(::dup(device.fd()));
    const Syncobj done = must(device.create_syncobj());
    Buffer buffer = must(device.create_buffer(4096));
    drm_panthor_vm_create vm{};
    ASSERT_EQ(request(file, DRM_IOCTL_PANTHOR_VM_CREATE, &vm), 0);
    uapi::drm_panthor_sync_op signal{.flags = static_cast<std::uint32_t>(uapi::DRM_PANTHOR_SYNC_OP_SIGNAL) |
                                              uapi::DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_TIMELINE_SYNCOBJ,
                                     .handle = done.handle(),
                                     .timeline_value = 7};
    uapi::drm_panthor_vm_bind_op op{
        .bo_handle = buffer.handle(),
        .va = 0x100000,
        .size = 4096,
        .syncs = {.stride = sizeof signal, .count = 1, .array = reinterpret_cast<std::uintptr_t>(&signal)}};
    uapi::drm_panthor_vm_bind bind{
        .vm_id = vm.id,
        .flags = uapi::DRM_PANTHOR_VM_BIND_ASYNC,
        .ops = {.stride = sizeof op, .count = 1, .array = reinterpret_cast<std::uintptr_t>(&op)}};
    ASSERT_EQ(request(file, DRM_IOCTL_PANTHOR_VM_BIND, &bind), 0);
    must(done.wait(7));
}

TEST_F(KernelNodeJobs, JobsComeInBatchesThroughIoUring) {
    Ring ring;
    constexpr unsigned kJobs = 128;
    for (unsigned i = 0; i < kJobs; ++i) ring.prepare(device, rig.command(i));
    ring.enter();
    for (const auto& [job, result] : ring.results(kJobs)) EXPECT_EQ(result, 0) << job;
    EXPECT_EQ(rig.result(), 42U);
}

TEST_F(KernelNodeJobs, EntriesWaitForAndSignalPoints) {
    JobRig second(device);
    const Syncobj timeline = must(device.create_syncobj());
    Ring ring;
    constexpr unsigned kJobs = 100;
    for (unsigned i = 0; i < kJobs; ++i) {
        const auto job = with_signal((i % 2 == 0 ? rig : second).command(i), timeline.handle(), i + 1);
        ring.prepare(device, i == 0 ? job : with_wait(job, timeline.handle(), i));
    }
    ring.enter();
    for (const auto& [job, result] : ring.results(kJobs)) EXPECT_EQ(result, 0) << job;
    must(timeline.wait(kJobs));
    EXPECT_EQ(rig.result() + second.result(), 84U);
}

TEST_F(KernelNodeJobs, AnEntryIsNotDoneBeforeWhatItWaitsFor) {
    JobRig slow(device);
    const Syncobj first = must(device.create_syncobj());
    must(slow.submit_endless(std::array{SyncOp{.syncobj = first, .signal = true}}));
    Ring ring;
    // That the other failed is not its error.
    EXPECT_EQ(ring.run(device, with_wait(rig.command(), first.handle())), 0);
    EXPECT_LT(fence_status(device, first), 0);
    EXPECT_EQ(rig.result(), 42U);
}

TEST_F(KernelNodeJobs, WhatTheDriverRefusesCompletesWithItsError) {
    Ring ring;
    auto no_group = rig.command();
    const belfry_panthor_submit_job nothing{.group_handle = 99};
    std::memcpy(no_group.entry.payload, &nothing, sizeof nothing);
    EXPECT_EQ(ring.run(device, no_group), -EINVAL);
    auto unbounded = rig.command();
    unbounded.entry.opcode = BELFRY_PANTHOR_SUBMIT_XGS;
    EXPECT_EQ(ring.run(device, unbounded), -EOPNOTSUPP);
}

TEST_F(KernelNodeJobs, EntriesOfAKilledServerComplete) {
    Ring ring;
    server.signal(SIGSTOP);
    std::jthread killer([&] {
        std::this_thread::sleep_for(100ms);
        server.end(SIGKILL);
    });
    EXPECT_EQ(ring.run(device, rig.command()), -ENODEV);
}

TEST_F(KernelNodeJobs, FencesOfAKilledServerSignalWithAnError) {
    const Syncobj done = must(device.create_syncobj());
    const Syncobj next = must(device.create_syncobj());
    must(rig.submit_endless(std::array{SyncOp{.syncobj = done, .signal = true}}));
    const std::array syncs{SyncOp{.syncobj = done}, SyncOp{.syncobj = next, .signal = true}};
    must(rig.submit(syncs));
    const std::array fences{export_fence(device, done), export_fence(device, next)};
    server.end(SIGKILL);
    for (const base::Fd& fence : fences) {
        EXPECT_TRUE(signals(fence, 1s));
        EXPECT_EQ(fence_status(fence), -ENODEV);
    }
}

TEST_F(KernelNodeJobs, FencesOfAStoppedServerSignalWithAnError) {
    const Syncobj done = must(device.create_syncobj());
    must(rig.submit_endless(std::array{SyncOp{.syncobj = done, .signal = true}}));
    const base::Fd fence = export_fence(device, done);
    server.signal(SIGSTOP);
    EXPECT_TRUE(signals(fence, 30s));  // nobody calls the server meanwhile
    EXPECT_EQ(fence_status(fence), -ENODEV);
    server.signal(SIGCONT);
    server.wait();
}

// ---- Going away

TEST(KernelNode, FilesOfKilledProgramsEnd) {
    const Server server;
    const Device device = server.device();
    for (int round = 0; round < 20; ++round) {
        const pid_t child = ::fork();
        if (child == 0) {
            const base::Fd file = server.open();
            for (;;) {
                drm_panthor_vm_create vm{};
                request(file, DRM_IOCTL_PANTHOR_VM_CREATE, &vm);
            }
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(round * 3));
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
    }
    EXPECT_TRUE(becomes([&] { return files(device) == 1; }));
    EXPECT_EQ(must(device.load()).vms, 0U);
}

TEST(KernelNode, JobsOfKilledProgramsLeaveNothing) {
    const Server server;
    const Device device = server.device();
    for (int round = 0; round < 20; ++round) {
        const pid_t child = ::fork();
        if (child == 0) {
            const Device own = server.device();
            JobRig rig(own);
            const Syncobj timeline = must(own.create_syncobj());
            for (std::uint64_t point = 1;; ++point)
                static_cast<void>(
                    rig.submit(std::array{SyncOp{.syncobj = timeline, .signal = true, .point = point}}));
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(50 + round * 3));
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
    }
    EXPECT_TRUE(becomes([&] { return files(device) == 1; }));
    // A group outlives its file until the firmware has let go of it.
    EXPECT_TRUE(becomes([&] { return must(device.load()).groups == 0; }));
}

/// A program with commands in flight that nothing but its end will end, as drm_uring's tests have them.
[[noreturn]] void fly(const Server& server, unsigned round, int ready) {
    const Device device = server.device();
    JobRig rig(device);
    Ring ring(64);
    if (round % 2 == 1) ring.register_file(device);
    const auto prepare = [&](const belfry_uring_command& command) { ring.prepare(device, command); };
    // Before 6.7 nothing ends the commands of a file that its program has closed but their jobs' own end,
    // which for an endless one is its deadline, in its turn.
    const bool closed = round % 4 >= 2;
    const Syncobj endless = must(device.create_syncobj());
    const std::array signal{SyncOp{.syncobj = endless, .signal = true}};
    must(closed && round % 64 != 3 ? rig.submit(signal) : rig.submit_endless(signal));
    const bool before = round / 4 % 2 == 0;
    for (int n = 0; n < 4; ++n) prepare(rig.command());
    for (int n = 0; n < 4; ++n) prepare(with_wait(rig.command(), endless.handle()));
    for (int n = 0; n < 2; ++n) prepare(with_wait(nop(1), endless.handle()));
    prepare(with_wait(nop(), must(device.create_syncobj()).handle(), 1));
    prepare(cancel(1, 0));
    if (before) ::eventfd_write(ready, 1);
    ring.enter();
    if (closed) ::close(device.fd());
    if (!before) ::eventfd_write(ready, 1);
    for (;;) ::pause();
}

TEST(KernelNode, CommandsOfKilledProgramsLeaveNothing) {
    const Server server;
    const Device device = server.device();
    for (unsigned round = 0; round < 1000; ++round)
        kill_when_ready([&](int ready) { fly(server, round, ready); });
    EXPECT_TRUE(becomes([&] { return files(device) == 1; }));
    EXPECT_TRUE(becomes([&] { return must(device.load()).groups == 0; }));
    EXPECT_EQ(must(device.load()).vms, 0U);
    EXPECT_EQ(run_user_job(device), 42U);
}

TEST(KernelNode, AKilledServerTakesItsNodeAlongAndANewOneGetsANewNode) {
    for (int round = 0; round < 5; ++round) {
        Server server;
        const base::Fd file = server.open();
        drm_panthor_vm_create vm{};
        ASSERT_EQ(request(file, DRM_IOCTL_PANTHOR_VM_CREATE, &vm), 0);
        const auto before = std::chrono::steady_clock::now();
        server.end(SIGKILL);
        EXPECT_EQ(request(file, DRM_IOCTL_PANTHOR_VM_CREATE, &vm), -ENODEV);
        EXPECT_TRUE(becomes([] { return find_node().empty(); }));
        EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);  // not by the call's deadline
    }
}

TEST(KernelNode, CallersOfAKilledServerReturn) {
    Server server;
    const base::Fd file = server.open();
    server.signal(SIGSTOP);
    int result = 0;
    std::jthread caller([&] {
        drm_panthor_vm_create vm{};
        result = request(file, DRM_IOCTL_PANTHOR_VM_CREATE, &vm);
    });
    std::this_thread::sleep_for(50ms);
    const auto before = std::chrono::steady_clock::now();
    server.end(SIGKILL);
    caller.join();
    EXPECT_EQ(result, -ENODEV);
    EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);  // not by the call's deadline
}

TEST(KernelNode, CallersOfAStoppedServerCanBeKilled) {
    Server server;
    const pid_t child = ::fork();
    if (child == 0) {
        const base::Fd file = server.open();
        server.signal(SIGSTOP);
        drm_panthor_vm_create vm{};
        request(file, DRM_IOCTL_PANTHOR_VM_CREATE, &vm);
        ::_exit(0);
    }
    std::this_thread::sleep_for(100ms);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    server.signal(SIGCONT);
    EXPECT_EQ(run_user_job(server.device()), 42U);
}

TEST(KernelNode, AServerThatDoesNotAnswerLosesItsNode) {
    Server server;
    const base::Fd file = server.open();
    server.signal(SIGSTOP);
    const auto before = std::chrono::steady_clock::now();
    drm_panthor_vm_create vm{};
    EXPECT_EQ(request(file, DRM_IOCTL_PANTHOR_VM_CREATE, &vm), -ENODEV);
    const auto took = std::chrono::steady_clock::now() - before;
    EXPECT_GT(took, 9s);
    EXPECT_LT(took, 12s);
    EXPECT_TRUE(becomes([] { return find_node().empty(); }));
    server.signal(SIGCONT);
    server.wait();  // it finds out, and ends
}

TEST(KernelNode, MemoryThatIsMappedOutlivesTheServer) {
    Server server;
    const Device device = server.device();
    Buffer buffer = must(device.create_buffer(4096));
    buffer.words()[0] = 7;
    Vm vm = must(device.create_vm());
    Group group = must(vm.create_group({}));
    server.end(SIGKILL);
    EXPECT_EQ(buffer.words()[0], 7U);
    CommandWriter commands = must(group.queue().begin(1));
    commands.move32(r(2), 1);
    static_cast<void>(group.queue().submit(commands));  // touches ring, user I/O and doorbell pages
}

}  // namespace
}  // namespace belfry::kernel_tests
