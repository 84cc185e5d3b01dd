#include "cli/run.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.hpp"
#include "belfry/device.hpp"
#include "cli/end_watch.hpp"
#include "cli/failure.hpp"

namespace belfry::cli {

namespace {

/// Beside this program: in the build tree, and where both are installed.
std::string preload_library() {
    std::error_code failed;
    const auto program = std::filesystem::read_symlink("/proc/self/exe", failed);
    for (const char* const directory : {"../lib", "../" BELFRY_LIBDIR}) {
        auto library =
            std::filesystem::canonical(program.parent_path() / directory / "libbelfry-drm.so", failed);
        if (failed) continue;
        if (library.native().find_first_of(" :") != std::string::npos)
            throw Failure{
                fmt::format("'{}' cannot be preloaded: its path has a space or a colon", library.native())};
        return library;
    }
    throw Failure{fmt::format("libbelfry-drm.so was not found beside '{}'", program.native())};
}

void set_variable(const char* name, const std::string& value) {
    if (::setenv(name, value.c_str(), 1) != 0)
        throw Failure{fmt::format("cannot set ${}: {}", name, std::strerror(errno))};
}

/// Makes the file empty and returns how it is found from any directory.
std::string new_trace_file(const std::string& path) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg)
    const base::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!file) throw Failure{fmt::format("cannot write '{}': {}", path, std::strerror(errno))};
    return std::filesystem::absolute(path);
}

/// We write to standard error whatever happens to be open under its number. If it was closed, that must not
/// be what we open next; the program finds it closed.
void keep_standard_error() {
    if (::fcntl(STDERR_FILENO, F_GETFD) >= 0) return;  // NOLINT(cppcoreguidelines-pro-type-vararg)
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg)
    const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null == STDERR_FILENO) return;
    ::dup3(null, STDERR_FILENO, O_CLOEXEC);
    ::close(null);
}

/// In the child: what the shell would answer if there is no such program.
[[noreturn]] void execute(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    const int error = errno;
    fmt::print(stderr, "belfry: cannot run '{}': {}\n", command[0], std::strerror(error));
    ::_exit(error == ENOENT ? 127 : 126);
}

/// What others send to end or to steer a program. Not those that a fault of our own raises.
sigset_t passed_on() {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH, SIGCONT})
        ::sigaddset(&signals, signal);
    return signals;
}

int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

int run_program(const RunOptions& options) {
    keep_standard_error();
    const std::string library = preload_library();
    // Kept until the program ends: a private belfryd must not leave while it has no file open.
    const Device device = must(Device::open({.socket_path = options.socket_path}));
    // Answered only by a belfryd that is up, so that the program finds all of it there.
    [[maybe_unused]] const DeviceInfo info = must(device.info());
    // Found from wherever the program goes.
    set_variable("BELFRY_SOCKET", std::filesystem::absolute(device.socket_path()));
    const char* const others = std::getenv("LD_PRELOAD");
    set_variable("LD_PRELOAD",
                 others != nullptr && others[0] != '\0' ? fmt::format("{}:{}", library, others) : library);
    if (!options.trace_file.empty()) {
        set_variable("BELFRY_TRACE", new_trace_file(options.trace_file));
    } else if (options.trace) {
        set_variable("BELFRY_TRACE", "stderr");
    }

    EndWatch watch(device.socket_path());

    // Blocked before there is a child, so that none is lost; the child gets back what we were started with.
    sigset_t awaited = passed_on();
    ::sigaddset(&awaited, SIGCHLD);
    sigset_t before;
    ::sigprocmask(SIG_BLOCK, &awaited, &before);
    const base::Fd signals(::signalfd(-1, &awaited, SFD_CLOEXEC));
    if (!signals) throw Failure{fmt::format("cannot wait for signals: {}", std::strerror(errno))};
    // Whoever started us may have ignored it; then no end of a child would be told.
    struct sigaction by_default{};
    by_default.sa_handler = SIG_DFL;
    struct sigaction child_before{};
    ::sigaction(SIGCHLD, &by_default, &child_before);
    const pid_t child = ::fork();
    if (child < 0) throw Failure{fmt::format("cannot start a process: {}", std::strerror(errno))};
    if (child == 0) {
        ::sigaction(SIGCHLD, &child_before, nullptr);
        ::sigprocmask(SIG_SETMASK, &before, nullptr);
        execute(options.command);
    }
    ::signal(SIGPIPE, SIG_IGN);  // nobody may read what is said of groups
    for (;;) {
        std::array<pollfd, 2> news = {pollfd{.fd = signals.get(), .events = POLLIN, .revents = 0},
                                      pollfd{.fd = watch.fd(), .events = POLLIN, .revents = 0}};
        if (::poll(news.data(), news.size(), -1) < 0) continue;  // stopped and continued
        if (news[1].revents != 0) watch.say_what_came();
        signalfd_siginfo signal{};
        if (news[0].revents == 0 || ::read(signals.get(), &signal, sizeof signal) != sizeof signal) continue;
        const int number = static_cast<int>(signal.ssi_signo);
        int status = 0;
        if (number == SIGCHLD && ::waitpid(child, &status, WNOHANG) == child) {
            watch.finish();
            return exit_code(status);
        }
        // What the terminal sends, it sends to the program as well.
        if (number != SIGCHLD && signal.ssi_code <= 0) ::kill(child, number);
    }
}

}  // namespace belfry::cli
