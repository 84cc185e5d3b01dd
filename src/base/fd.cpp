#include "base/fd.hpp"

#include <array>
#include <cstdio>
#include <string_view>

#include <fcntl.h>
#include <sys/eventfd.h>

namespace belfry::base {

Result<Fd> Fd::duplicate() const {
    const int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return last_error();
    return Fd(copy);
}

Result<Fd> make_eventfd() {
    const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return last_error();
    return Fd(fd);
}

void ring_eventfd(int fd) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);
}

void drain_eventfd(int fd) {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(fd, &count, sizeof count);
}

Result<void> check_eventfd(int fd) {
    std::array<char, 64> link{};
    std::array<char, 64> target{};
    std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", fd);
    const auto length = ::readlink(link.data(), target.data(), target.size());
    if (length < 0) return std::unexpected(Errno::bad_fd);
    if (std::string_view(target.data(), static_cast<std::size_t>(length)) != "anon_inode:[eventfd]")
        return std::unexpected(Errno::invalid);
    return {};
}

}  // namespace belfry::base
