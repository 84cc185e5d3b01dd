#include "base/fd.hpp"

#include <array>
#include <cstdio>
#include <string_view>

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

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

void ring_foreign_eventfd(int fd) {
    // Its owner may fill the counter between any look of ours and a write, which then waits for that owner to
    // read. So the kernel rings: to end an asynchronous request with an eventfd never waits. The request is
    // to read nothing, and has ended when io_submit returns.
    static const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    static const aio_context_t context = [] {
        aio_context_t made = 0;
        ::syscall(SYS_io_setup, 1, &made);
        return made;
    }();
    char byte = 0;
    iocb request{};
    request.aio_lio_opcode = IOCB_CMD_PREAD;
    request.aio_fildes = static_cast<std::uint32_t>(nothing);
    request.aio_buf = reinterpret_cast<std::uint64_t>(&byte);
    request.aio_nbytes = sizeof byte;
    request.aio_flags = IOCB_FLAG_RESFD;
    request.aio_resfd = static_cast<std::uint32_t>(fd);
    iocb* requests = &request;
    if (::syscall(SYS_io_submit, context, 1L, &requests) == 1) {
        io_event event{};
        ::syscall(SYS_io_getevents, context, 1L, 1L, &event, nullptr);
        return;
    }
    // Where there is no such thing (a sandbox): as well as it goes.
    pollfd room{.fd = fd, .events = POLLOUT, .revents = 0};
    if (::poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) != 0) ring_eventfd(fd);
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
