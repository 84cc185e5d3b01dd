// belfryd: the driver process.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>

#include "server/server.hpp"
#include "uapi/wire.hpp"

namespace {

/// Every buffer and group is some descriptors; the soft limit of 1024 is for programs that use select().
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
    using namespace belfry;

    CLI::App app{"belfryd: a GPU with user-mode submission, in user space. Programs reach it by libbelfry."};
    std::string socket_path;
    int listen_fd = -1;
    bool is_private = false;
    bool verbose = false;
    server::ServerOptions options;
    app.add_option(
        "--socket", socket_path,
        "Path of the socket to listen on, made with mode 0600 (default: belfry.sock in "
        "$XDG_RUNTIME_DIR, in /run/user/UID, or in /tmp/belfry-UID); PATH.view beside it shows the "
        "device nodes and their sysfs to 'belfry run'");
    app.add_option("--group-slots", options.firmware.group_slots, "Group slots of the GPU")
        ->check(CLI::Range(1, 15))
        ->capture_default_str();
    app.add_option("--streams", options.firmware.streams_per_group, "Command streams of a group slot")
        ->check(CLI::Range(1, 32))
        ->capture_default_str();
    options.firmware.shader_cores = server::ShaderPool::default_cores();
    options.firmware.core_threads = true;
    app.add_option("--shader-cores", options.firmware.shader_cores,
                   "Shader cores of the GPU, each a thread (default: one for each CPU, 8 at most)")
        ->check(CLI::Range(1, 31));
    app.add_option(
           "--memory", options.memory_budget_bytes,
           "How much memory the buffers of all programs may take, such as 512M or 2G (default: no bound). "
           "What is beyond it, of groups that are suspended (for it, if need be), goes to a file in "
           "$TMPDIR, or in /var/tmp, and comes back before they resume")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::PositiveNumber);
    app.add_option("--node", options.kernel_node,
                   "Serve a DRM node of the kernel, too: its driver calls come through this device, which "
                   "the module belfry.ko makes (/dev/belfry)");
    app.add_option("--listen-fd", listen_fd,
                   "Serve a socket that listens already, inherited as this descriptor");
    app.add_flag("--private", is_private, "End with the last client");
    app.add_flag("-v,--verbose", verbose,
                 "Say on standard error what happens; without it, only what goes wrong");
    CLI11_PARSE(app, argc, argv);

    spdlog::set_default_logger(spdlog::stderr_color_mt("belfryd"));
    spdlog::set_pattern("belfryd: %v");
    spdlog::set_level(verbose ? spdlog::level::info : spdlog::level::warn);
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGIO, SIG_IGN);  // see ExportHost
    raise_descriptor_limit();

    if (socket_path.empty() && listen_fd < 0) {
        auto usual = uapi::default_socket_path();
        if (!usual) {
            spdlog::error("{}", usual.error());
            return EXIT_FAILURE;
        }
        socket_path = *usual;
    }
    // Clients see the names of the sockets that they are connected to, from other working directories too.
    if (!socket_path.empty()) socket_path = std::filesystem::absolute(socket_path);
    auto socket = listen_fd >= 0 ? server::ListeningSocket::adopt(
                                       base::Fd(listen_fd),
                                       is_private ? server::ListeningSocket::Name::remove_with_directory
                                                  : server::ListeningSocket::Name::keep)
                                 : server::ListeningSocket::bind(socket_path);
    if (!socket) {
        spdlog::error("{}", socket.error());
        return EXIT_FAILURE;
    }
    options.end_with_last_client = is_private;
    auto made = server::Server::make(options, std::move(*socket));
    if (!made) {
        spdlog::error("{}", made.error());
        return EXIT_FAILURE;
    }
    return (*made)->run() ? EXIT_SUCCESS : EXIT_FAILURE;
}
