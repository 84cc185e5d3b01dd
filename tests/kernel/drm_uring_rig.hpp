// The doors to drm_uring: an open file of the fake GPU, an io_uring for commands, and the commands.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/ioctl.h>

#include "base/fd.hpp"
#include "kernel/test/fake_gpu.h"

namespace belfry::kernel_tests {

using namespace belfry::uapi;

constexpr auto kSubmit =
    BELFRY_DRM_IOW(BELFRY_DRM_COMMAND_BASE + FAKE_GPU_IOCTL_SUBMIT, belfry_uring_command);
constexpr auto kCounts =
    _IOR(BELFRY_DRM_IOCTL_BASE, BELFRY_DRM_COMMAND_BASE + FAKE_GPU_IOCTL_COUNTS, fake_gpu_counts);

constexpr auto kSignal = static_cast<std::uint32_t>(BELFRY_SUBMIT_SYNC_SIGNAL);

/// An open file of the fake GPU.
class Node {
  public:
    Node() {
        for (int minor = 128; minor < 192 && !fd_; ++minor) {
            base::Fd fd(::open(("/dev/dri/renderD" + std::to_string(minor)).c_str(), O_RDWR | O_CLOEXEC));
            std::string name(16, '\0');
            drm_version version{};
            version.name_len = name.size();
            version.name = reinterpret_cast<std::uintptr_t>(name.data());
            if (fd && ::ioctl(fd.get(), DRM_IOCTL_VERSION, &version) == 0 &&
                name.c_str() == std::string(FAKE_GPU_NAME))
                fd_ = std::move(fd);
        }
        if (!fd_) throw std::runtime_error("no fake_gpu: this runs in the guest of ./dev vm test");
    }

    [[nodiscard]] int fd() const { return fd_.get(); }
    void close() { fd_ = base::Fd(); }

    int ioctl(unsigned long request, void* args) const {
        return ::ioctl(fd(), request, args) == 0 ? 0 : -errno;
    }

    [[nodiscard]] std::uint32_t syncobj() const {
        drm_syncobj_create args{};
        EXPECT_EQ(ioctl(DRM_IOCTL_SYNCOBJ_CREATE, &args), 0);
        return args.handle;
    }
    void signal(std::uint32_t handle, std::uint64_t point = 0) const {
        drm_syncobj_timeline_array args{};
        args.handles = reinterpret_cast<std::uintptr_t>(&handle);
        args.points = reinterpret_cast<std::uintptr_t>(&point);
        args.count_handles = 1;
        EXPECT_EQ(ioctl(DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, &args), 0);
    }
    /// 0, or -ETIME if it is not signalled; -EINVAL if nobody has submitted it. Does not wait.
    [[nodiscard]] int state(std::uint32_t handle, std::uint64_t point = 0, std::int64_t until_ns = 0) const {
        drm_syncobj_timeline_wait args{};
        args.handles = reinterpret_cast<std::uintptr_t>(&handle);
        args.points = reinterpret_cast<std::uintptr_t>(&point);
        args.timeout_nsec = until_ns;
        args.count_handles = 1;
        return ioctl(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &args);
    }
    void await(std::uint32_t handle, std::uint64_t point = 0) const {
        EXPECT_EQ(state(handle, point, INT64_MAX), 0);
    }
    [[nodiscard]] fake_gpu_counts counts() const {
        fake_gpu_counts counts{};
        EXPECT_EQ(ioctl(kCounts, &counts), 0);
        return counts;
    }

  private:
    base::Fd fd_;
};

/// A ring for commands: what a test writes down is what the kernel gets.
class Ring {
  public:
    explicit Ring(unsigned entries = 256, unsigned flags = IORING_SETUP_SQE128) {
        io_uring_params params{};
        params.flags = flags;
        const int error = io_uring_queue_init_params(entries, &ring_, &params);
        if (error != 0) throw std::system_error(-error, std::system_category(), "io_uring_setup");
    }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() { io_uring_queue_exit(&ring_); }

    /// Not yet submitted. The SQE's user_data is the entry's.
    io_uring_sqe* prepare(const Node& node, const belfry_uring_command& command) {
        io_uring_sqe* const sqe = prepare_plain();
        sqe->opcode = IORING_OP_URING_CMD;
        sqe->fd = node.fd();
        sqe->cmd_op = BELFRY_URING_CMD_SUBMIT;
        sqe->user_data = command.entry.user_data;
        std::memcpy(sqe->cmd, &command, sizeof command);
        return sqe;
    }
    io_uring_sqe* prepare_plain() {
        io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
        if (sqe == nullptr) throw std::length_error("the submission queue is full");
        std::memset(sqe, 0, 2 * sizeof *sqe);
        return sqe;
    }
    void enter() { EXPECT_GE(io_uring_submit(&ring_), 0); }

    struct Completion {
        std::uint64_t user_data;
        int result;
        bool operator==(const Completion&) const = default;
    };
    /// Sleeps until there is one.
    Completion next() {
        io_uring_cqe* cqe = nullptr;
        int error = 0;
        do error = io_uring_wait_cqe(&ring_, &cqe);
        while (error == -EINTR);
        EXPECT_EQ(error, 0);
        const Completion completion{cqe->user_data, cqe->res};
        io_uring_cqe_seen(&ring_, cqe);
        return completion;
    }
    [[nodiscard]] bool nothing_completed() {
        io_uring_get_events(&ring_);  // task work that is due runs
        return io_uring_cq_ready(&ring_) == 0;
    }
    int run(const Node& node, const belfry_uring_command& command) {
        prepare(node, command);
        enter();
        return next().result;
    }
    io_uring& raw() { return ring_; }

  private:
    io_uring ring_{};
};

inline belfry_uring_command nop(std::uint64_t user_data = 0) {
    belfry_uring_command command{};
    command.entry.opcode = BELFRY_SUBMIT_NOP;
    command.entry.user_data = user_data;
    return command;
}
inline belfry_uring_command job(const fake_gpu_job& job, std::uint64_t user_data = 0) {
    belfry_uring_command command = nop(user_data);
    command.entry.opcode = FAKE_GPU_JOB;
    std::memcpy(command.entry.payload, &job, sizeof job);
    return command;
}
inline belfry_uring_command cancel(std::uint64_t whom, std::uint64_t user_data) {
    belfry_uring_command command = nop(user_data);
    command.entry.opcode = BELFRY_SUBMIT_CANCEL;
    command.entry.payload[0] = whom;
    return command;
}
inline belfry_uring_command with_wait(belfry_uring_command command, std::uint32_t handle,
                                      std::uint64_t point = 0) {
    command.entry.wait_handle = handle;
    command.entry.wait_point = point;
    return command;
}
inline belfry_uring_command with_signal(belfry_uring_command command, std::uint32_t handle,
                                        std::uint64_t point = 0) {
    command.entry.signal_handle = handle;
    command.entry.signal_point = point;
    return command;
}
inline belfry_uring_command with_more(belfry_uring_command command,
                                      const std::vector<belfry_submit_sync>& syncs) {
    command.entry.more_syncs = static_cast<std::uint16_t>(syncs.size());
    command.arena = reinterpret_cast<std::uintptr_t>(syncs.data());
    command.arena_bytes = static_cast<std::uint32_t>(syncs.size() * sizeof syncs[0]);
    return command;
}

constexpr fake_gpu_job kAtOnce{.flags = FAKE_GPU_AT_ONCE};
constexpr fake_gpu_job kShort{};
constexpr fake_gpu_job kEndless{.delay_ms = 1'000'000};  // ended by its deadline

}  // namespace belfry::kernel_tests
