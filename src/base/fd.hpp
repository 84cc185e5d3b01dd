// An owned file descriptor, and the kinds that Belfry makes.
#pragma once

#include <cstdint>
#include <utility>

#include <unistd.h>

#include "base/result.hpp"

namespace belfry::base {

/// Owns one file descriptor; closes it. Empty when moved from.
class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Fd() {
        if (fd_ >= 0) ::close(fd_);
    }

    [[nodiscard]] int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    [[nodiscard]] int release() { return std::exchange(fd_, -1); }

    /// A second descriptor of the same open file, close-on-exec.
    [[nodiscard]] Result<Fd> duplicate() const;

  private:
    int fd_ = -1;
};

/// A non-blocking, close-on-exec eventfd with counter 0.
Result<Fd> make_eventfd();
/// Adds one to an eventfd. A full counter is as good as a rung one, so that is no error.
void ring_eventfd(int fd);
/// The same for an eventfd of somebody else's: never blocks, even if the counter is full and the eventfd is
/// not non-blocking. From one thread only.
void ring_foreign_eventfd(int fd);
/// Takes the counter of a non-blocking eventfd down to 0.
void drain_eventfd(int fd);
/// Whether `fd` is an eventfd: EBADF if it is closed, EINVAL if it is something else.
Result<void> check_eventfd(int fd);

}  // namespace belfry::base
