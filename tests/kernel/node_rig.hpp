// A belfryd that serves a node of the kernel, as a process that a test can kill or stop; the node itself, and
// a program with jobs on it.
#pragma once

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.hpp"
#include "belfry/belfry.hpp"
#include "belfry/uapi/drm.h"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/uring_cmd.h"

namespace belfry::kernel_tests {

using namespace std::chrono_literals;

template <typename T, typename Error>
T must(std::expected<T, Error> result) {
    if (!result) throw std::runtime_error(result.error().message);
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// The path of the render node whose driver is panthor. Empty if there is none.
inline std::string find_node() {
    for (int minor = 128; minor < 192; ++minor) {
        std::string path = "/dev/dri/renderD" + std::to_string(minor);
        const base::Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        std::string name(16, '\0');
        uapi::drm_version version{.name_len = name.size(),
                                  .name = reinterpret_cast<std::uintptr_t>(name.data())};
        if (fd && ::ioctl(fd.get(), DRM_IOCTL_VERSION, &version) == 0 &&
            name.c_str() == std::string("panthor"))
            return path;
    }
    return {};
}

/// Waits for what other processes do; false if it has not come true in good time.
template <typename Condition>
bool becomes(Condition condition) {
    const auto until = std::chrono::steady_clock::now() + 60s;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::sleep_for(5ms);
    }
    return true;
}

/// A page of memory that is not there until somebody puts it there: who touches it sleeps meanwhile.
class SlowPage {
  public:
    SlowPage() : faults_(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC))) {
        uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
        page_ = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        uffdio_register where{.range = range(), .mode = UFFDIO_REGISTER_MODE_MISSING, .ioctls = 0};
        if (::ioctl(faults_.get(), UFFDIO_API, &api) != 0 || page_ == MAP_FAILED ||
            ::ioctl(faults_.get(), UFFDIO_REGISTER, &where) != 0)
            throw std::runtime_error("no userfaultfd");
    }
    SlowPage(const SlowPage&) = delete;
    SlowPage& operator=(const SlowPage&) = delete;
    ~SlowPage() { ::munmap(page_, kBytes); }

    [[nodiscard]] std::uint64_t address() const { return reinterpret_cast<std::uintptr_t>(page_); }
    /// Sleeps until somebody has touched it.
    void await_touch() const {
        uffd_msg message{};
        EXPECT_EQ(::read(faults_.get(), &message, sizeof message), static_cast<ssize_t>(sizeof message));
    }
    void put(const void* bytes, std::size_t count) const {
        std::vector<std::byte> page(kBytes);
        std::memcpy(page.data(), bytes, count);
        uffdio_copy copy{.dst = address(),
                         .src = reinterpret_cast<std::uintptr_t>(page.data()),
                         .len = kBytes,
                         .mode = 0,
                         .copy = 0};
        EXPECT_EQ(::ioctl(faults_.get(), UFFDIO_COPY, &copy), 0);
    }

  private:
    static constexpr std::size_t kBytes = 4096;
    [[nodiscard]] uffdio_range range() const { return {.start = address(), .len = kBytes}; }
    base::Fd faults_;
    void* page_;
};

class Server {
  public:
    Server() {
        std::string program = "belfryd";
        std::string option = "--node";
        std::string path = "/dev/belfry";
        std::string socket_option = "--socket";
        std::string socket = "/tmp/node_tests/belfry.sock";
        char* const arguments[] = {program.data(),       option.data(), path.data(),
                                   socket_option.data(), socket.data(), nullptr};
        if (::posix_spawnp(&pid_, "belfryd", nullptr, nullptr, arguments, ::environ) != 0)
            throw std::runtime_error("no belfryd: this runs in the guest of ./dev vm test");
        if (!becomes([this] { return !(node_ = find_node()).empty(); }))
            throw std::runtime_error("belfryd made no node");
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server() {
        if (pid_ != 0) end(SIGTERM);
    }

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] const std::string& node() const { return node_; }
    [[nodiscard]] Device device() const { return must(Device::open({.socket_path = node_})); }
    [[nodiscard]] base::Fd open() const { return base::Fd(::open(node_.c_str(), O_RDWR | O_CLOEXEC)); }
    void signal(int number) const { ::kill(pid_, number); }
    /// Sends it a signal, and waits for its end.
    void end(int number) {
        signal(number);
        wait();
    }
    void wait() {
        int status = 0;
        ::waitpid(std::exchange(pid_, 0), &status, 0);
    }

  private:
    pid_t pid_ = 0;
    std::string node_;
};

/// A kernel-mode group whose jobs store a number.
class JobRig {
  public:
    explicit JobRig(const Device& device)
        : vm(must(device.create_vm())),
          buffer(must(device.create_buffer(4096))),
          va(must(vm.map(buffer))),
          group(must(vm.create_group({.user_submit = false}))) {
        CommandWriter commands(buffer.words().first(64));
        write_job(commands);
        bytes_ = static_cast<std::uint32_t>(commands.size_bytes());
        CommandWriter endless(buffer.words().subspan(64, 64));
        endless.move32(r(2), 1).branch(csf::Condition::always, r(2), -1);
        endless_bytes_ = static_cast<std::uint32_t>(endless.size_bytes());
    }
    /// What a job does.
    void write_job(CommandWriter& commands) const {
        commands.move48(d(0), va + 1024).move32(r(2), 42).store_multiple(r(2), 0b1, d(0));
    }
    [[nodiscard]] belfry::Result<void> submit(std::span<const SyncOp> syncs = {}) {
        return group.submit(0, va, bytes_, syncs);
    }
    [[nodiscard]] uapi::belfry_uring_command command(std::uint64_t user_data = 0) const {
        return {.entry = job(user_data).raw};
    }
    [[nodiscard]] SubmitEntry job(std::uint64_t user_data) const {
        return SubmitEntry::job(user_data, group, 0, va, bytes_);
    }
    [[nodiscard]] belfry::Result<void> submit_endless(std::span<const SyncOp> syncs = {}) {
        return group.submit(0, va + 512, endless_bytes_, syncs);
    }
    [[nodiscard]] std::uint32_t result() const {
        return reinterpret_cast<const volatile std::uint32_t*>(buffer.bytes().data())[256];
    }

    Vm vm;
    Buffer buffer;
    std::uint64_t va;
    Group group;

  private:
    std::uint32_t bytes_;
    std::uint32_t endless_bytes_;
};

/// A program on the node, and a group of its whose jobs the test submits.
class KernelNodeJobs : public testing::Test {
  protected:
    Server server;
    Device device = server.device();
    JobRig rig{device};
};

}  // namespace belfry::kernel_tests
