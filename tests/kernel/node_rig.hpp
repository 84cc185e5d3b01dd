// A belfryd that serves a node of the kernel, as a process that a test can kill or stop; and the node itself.
#pragma once

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.hpp"
#include "belfry/belfry.hpp"
#include "belfry/uapi/drm.h"
#include "belfry/uapi/panthor_drm.h"

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

}  // namespace belfry::kernel_tests
