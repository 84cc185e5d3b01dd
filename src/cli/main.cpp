// belfry: shows, tries and measures.

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/commands.hpp"
#include "cli/failure.hpp"
#include "cli/run.hpp"
#include "cli/shader_worker.hpp"

namespace {

/// CLI11 would take words of the program apart, such as "[a,b]"; so it never sees them.
struct RunUsage : CLI::Formatter {
    std::string make_usage(const CLI::App* /*app*/, std::string name) const override {
        return "Usage: " + name + " [OPTIONS] -- PROGRAM [ARGS...]\n";
    }
};

/// Cuts what follows "--" off the command line of `belfry run`.
std::vector<std::string> take_program(int& argc, char** argv) {
    if (argc < 2 || std::strcmp(argv[1], "run") != 0) return {};
    char** const end = argv + argc;
    char** const mark =
        std::find_if(argv, end, [](const char* word) { return std::strcmp(word, "--") == 0; });
    if (mark == end) return {};
    argc = static_cast<int>(mark - argv);
    return {mark + 1, end};
}

}  // namespace

int main(int argc, char** argv) {
    using namespace belfry::cli;

    CLI::App app{"belfry: user-mode GPU submission, in user space"};
    app.require_subcommand(1);
    app.set_version_flag("--version", BELFRY_VERSION);
    CommonOptions common;
    const auto add_common = [&common](CLI::App* command) {
        command->add_option(
            "--socket", common.socket_path,
            "Socket of a running belfryd (default: $BELFRY_SOCKET, the usual place, or a private one)");
        command->add_flag("--json", common.json, "Print JSON");
    };

    CLI::App* const info = app.add_subcommand("info", "Print the device, its limits, versions and load");
    add_common(info);

    DemoOptions demo_options;
    CLI::App* const demo = app.add_subcommand(
        "demo",
        "Copy a file through GPU buffers, in several processes with both ways of submission, and verify it");
    add_common(demo);
    demo->add_option("FILE", demo_options.file, "File to copy (default: a library of some MB)")
        ->check(CLI::ExistingFile);
    demo->add_option("--output", demo_options.output, "Write the copy to this file");
    demo->add_option("--processes", demo_options.processes,
                     "Processes; every second one submits in user mode")
        ->check(CLI::Range(1, 64))
        ->capture_default_str();

    CLI::App* const bench = app.add_subcommand(
        "bench",
        "Measure the machine's limits and Belfry in one run, some minutes; latency alone takes 30 seconds");
    add_common(bench);
    std::string benchmark = "all";
    bench->add_option("NAME", benchmark, "What to measure")
        ->check(CLI::IsMember(benchmark_names()))
        ->capture_default_str();
    std::string worker_device;  // what `bench shaders` starts itself with
    bench->add_option("--worker", worker_device)->check(CLI::IsMember({"gpu", "cpu"}))->group("");

    RunOptions run_options;
    run_options.command = take_program(argc, argv);
    CLI::App* const run = app.add_subcommand(
        "run", "Run a program that finds the GPU in /dev/dri; starts a private belfryd if none runs");
    run->formatter(std::make_shared<RunUsage>());
    run->add_option(
        "--socket", run_options.socket_path,
        "Socket of a running belfryd (default: $BELFRY_SOCKET, the usual place, or a private one)");
    run->add_flag("--trace", run_options.trace, "Print every DRM call on standard error");
    run->add_option("--trace-file", run_options.trace_file, "Print them into this file instead");

    DisasmOptions disasm_options;
    CLI::App* const disasm =
        app.add_subcommand("disasm", "Print a command stream or a shader, one instruction a line");
    disasm->add_option("FILE", disasm_options.file, "Little-endian 64-bit words; - is standard input")
        ->required();
    disasm->add_flag("--shader", disasm_options.is_shader, "The words are a Valhall shader program");

    CLI11_PARSE(app, argc, argv);
    const auto run_command = [&] {
        if (info->parsed()) return run_info(common);
        if (demo->parsed()) return run_demo(common, demo_options);
        if (!worker_device.empty()) return work_on_shaders(worker_device == "cpu");
        if (bench->parsed()) return run_bench(common, benchmark);
        if (run->parsed()) {
            if (run_options.command.empty())
                throw Failure{"nothing to run; say it as: belfry run [OPTIONS] -- PROGRAM [ARGS...]"};
            return run_program(run_options);
        }
        return run_disasm(disasm_options);
    };
    try {
        const int code = run_command();
        // What is buffered still is written here, where it can be said that it was not.
        if (std::fflush(stdout) != 0)
            throw Failure{fmt::format("cannot write the output: {}", std::strerror(errno))};
        return code;
    } catch (const Failure& failure) {
        fmt::print(stderr, "belfry: {}\n", failure.message);
    } catch (const std::exception& error) {
        fmt::print(stderr, "belfry: {}\n", error.what());
    }
    return EXIT_FAILURE;
}
