// Errors as values: an errno of Linux, or the result.
#pragma once

#include <cerrno>
#include <expected>

namespace belfry::base {

/// The errno values that the driver answers with, so that a plain int is never taken for one.
enum class Errno : int {
    permission = EPERM,
    no_entry = ENOENT,
    interrupted = EINTR,
    io = EIO,
    too_big = E2BIG,
    bad_fd = EBADF,
    again = EAGAIN,
    no_memory = ENOMEM,
    access = EACCES,
    fault = EFAULT,
    busy = EBUSY,
    no_device = ENODEV,
    invalid = EINVAL,
    too_many_files = EMFILE,
    not_a_tty = ENOTTY,
    no_space = ENOSPC,
    no_system_call = ENOSYS,
    range = ERANGE,
    protocol = EPROTO,
    not_supported = EOPNOTSUPP,
    timed_out = ETIMEDOUT,
    timer_expired = ETIME,
    cancelled = ECANCELED,
    already = EALREADY,
    connection_reset = ECONNRESET,
};

template <typename T>
using Result = std::expected<T, Errno>;

/// The errno that the last failed libc call left, for use right after it.
inline std::unexpected<Errno> last_error() { return std::unexpected(static_cast<Errno>(errno)); }

}  // namespace belfry::base
