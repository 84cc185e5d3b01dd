#include "base/file.hpp"

#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <unistd.h>

namespace belfry::base {

std::string large_file_directory() {
    const char* const chosen = std::getenv("TMPDIR");
    // Not /tmp, which may be memory itself.
    return chosen != nullptr && chosen[0] != '\0' ? chosen : "/var/tmp";
}

Fd make_unnamed_file(const std::string& directory) {
    Fd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (file || errno != EOPNOTSUPP) return file;
    std::string path = directory + "/belfryd-XXXXXX";
    file = Fd(::mkostemp(path.data(), O_CLOEXEC));
    if (file) ::unlink(path.c_str());
    return file;
}

Result<void> write_all(int file, const std::byte* data, std::uint64_t bytes, std::uint64_t at) {
    while (bytes != 0) {
        const auto written = ::pwrite(file, data, bytes, static_cast<off_t>(at));
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return last_error();
        data += written;
        at += static_cast<std::uint64_t>(written);
        bytes -= static_cast<std::uint64_t>(written);
    }
    return {};
}

Result<void> read_all(int file, std::byte* data, std::uint64_t bytes, std::uint64_t at) {
    while (bytes != 0) {
        const auto got = ::pread(file, data, bytes, static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return last_error();
        if (got == 0) return std::unexpected(Errno::io);
        data += got;
        at += static_cast<std::uint64_t>(got);
        bytes -= static_cast<std::uint64_t>(got);
    }
    return {};
}

}  // namespace belfry::base
