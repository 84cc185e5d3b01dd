#include "shim/trace.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.hpp"
#include "shim/next.hpp"

namespace belfry::shim {

namespace {

constexpr std::string_view kStandardError = "stderr";

/// Empty: nowhere. Read once, by the constructor below or by who is faster.
std::array<char, PATH_MAX> destination{};

__attribute__((constructor)) void remember_destination() {
    const char* const named = ::secure_getenv("BELFRY_TRACE");
    if (named != nullptr) std::strncpy(destination.data(), named, destination.size() - 1);
}

std::string hex(std::uint64_t value) {
    std::array<char, 16> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
    return "0x" + std::string(digits.data(), end);
}

std::string text_of(base::Errno error) {
    const char* const name = ::strerrorname_np(static_cast<int>(error));
    return "-1 " + (name != nullptr ? std::string(name) : std::to_string(static_cast<int>(error)));
}

struct Flag {
    int value;
    const char* name;
};

std::string flags_of(int value, std::span<const Flag> known) {
    std::string text;
    const auto add = [&text](const std::string& name) { text += (text.empty() ? "" : "|") + name; };
    for (const Flag& flag : known) {
        if ((value & flag.value) != flag.value || flag.value == 0) continue;
        add(flag.name);
        value &= ~flag.value;
    }
    if (value != 0 || text.empty()) add(value == 0 ? "0" : hex(static_cast<unsigned>(value)));
    return text;
}

}  // namespace

Trace::Trace(std::string_view where) {
    if (destination[0] == '\0') return;
    where_ = where;
    started_ns_ = base::monotonic_ns();
}

void Trace::request(const uapi::RequestText& words, base::Result<void> result) const {
    line(words.finish(result.has_value()), result ? "0" : text_of(result.error()));
}

void Trace::map(std::size_t bytes, int protection, int flags, off_t offset,
                base::Result<void*> result) const {
    if (!wanted()) return;
    constexpr std::array kProtection = {Flag{PROT_READ, "PROT_READ"}, Flag{PROT_WRITE, "PROT_WRITE"},
                                        Flag{PROT_EXEC, "PROT_EXEC"}};
    constexpr std::array kFlags = {Flag{MAP_SHARED_VALIDATE, "MAP_SHARED_VALIDATE"},
                                   Flag{MAP_SHARED, "MAP_SHARED"}, Flag{MAP_PRIVATE, "MAP_PRIVATE"},
                                   Flag{MAP_FIXED, "MAP_FIXED"},
                                   Flag{MAP_FIXED_NOREPLACE, "MAP_FIXED_NOREPLACE"}};
    line("mmap {bytes=" + std::to_string(bytes) + ", prot=" + flags_of(protection, kProtection) + ", flags=" +
             flags_of(flags, kFlags) + ", offset=" + hex(static_cast<std::uint64_t>(offset)) + "}",
         result ? hex(reinterpret_cast<std::uintptr_t>(*result)) : text_of(result.error()));
}

void Trace::open(int flags, int fd) const {
    if (!wanted()) return;
    const auto failed = static_cast<base::Errno>(errno);
    constexpr std::array kAccess = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
    constexpr std::array kFlags = {Flag{O_CLOEXEC, "O_CLOEXEC"}, Flag{O_NONBLOCK, "O_NONBLOCK"},
                                   Flag{O_EXCL, "O_EXCL"}};
    const int others = flags & ~O_ACCMODE;
    std::string text = kAccess[static_cast<unsigned>(flags) & O_ACCMODE];  // NOLINT: it has four values
    if (others != 0) text += "|" + flags_of(others, kFlags);
    line("open " + text, fd >= 0 ? std::to_string(fd) : text_of(failed));
}

void Trace::line(const std::string& what, const std::string& result) const {
    const int before = errno;
    const std::uint64_t taken_us = (base::monotonic_ns() - started_ns_) / 1000;
    std::string text = std::to_string(::getpid());
    if (::gettid() != ::getpid()) text += "/" + std::to_string(::gettid());
    text.append(" ").append(where_).append(" ").append(what).append(" = ").append(result);
    text.append(" <").append(std::to_string(taken_us)).append(" us>\n");
    const bool to_stderr = destination.data() == kStandardError;
    // Opened for each line: a descriptor that is kept would have to be told from the program's own.
    const int fd = to_stderr ? STDERR_FILENO
                             : next::openat(AT_FDCWD, destination.data(),
                                            O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0) {
        [[maybe_unused]] const auto written = ::write(fd, text.data(), text.size());
        if (!to_stderr) next::close(fd);
    }
    errno = before;
}

}  // namespace belfry::shim
