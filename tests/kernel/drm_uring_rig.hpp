// An open file of the fake GPU, and its jobs as commands.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include "base/fd.hpp"
#include "kernel/command_ring.hpp"
#include "kernel/test/fake_gpu.h"

namespace belfry::kernel_tests {

constexpr auto kSubmit =
    BELFRY_DRM_IOW(BELFRY_DRM_COMMAND_BASE + FAKE_GPU_IOCTL_SUBMIT, belfry_uring_command);
constexpr auto kCounts =
    _IOR(BELFRY_DRM_IOCTL_BASE, BELFRY_DRM_COMMAND_BASE + FAKE_GPU_IOCTL_COUNTS, fake_gpu_counts);

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

inline belfry_uring_command job(const fake_gpu_job& job, std::uint64_t user_data = 0) {
    belfry_uring_command command = nop(user_data);
    command.entry.opcode = FAKE_GPU_JOB;
    std::memcpy(command.entry.payload, &job, sizeof job);
    return command;
}

constexpr fake_gpu_job kAtOnce{.flags = FAKE_GPU_AT_ONCE};
constexpr fake_gpu_job kShort{};
constexpr fake_gpu_job kEndless{.delay_ms = 1'000'000};  // ended by its deadline

}  // namespace belfry::kernel_tests
