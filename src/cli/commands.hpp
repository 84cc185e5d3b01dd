// The commands of `belfry`. Each prints its result and returns the exit code; what fails is said on standard
// error.
#pragma once

#include <string>
#include <vector>

namespace belfry::cli {

struct CommonOptions {
    std::string socket_path;  ///< empty: found, or a private belfryd is started
    bool json = false;
};

struct DemoOptions {
    std::string file;    ///< empty: a library of some MB that this program has loaded
    std::string output;  ///< where the copy is written; empty: nowhere
    unsigned processes = 4;
};

struct DisasmOptions {
    std::string file;        ///< "-" is standard input
    bool is_shader = false;  ///< else a command stream
};

int run_info(const CommonOptions& common);
int run_demo(const CommonOptions& common, const DemoOptions& options);
/// `name` is one of benchmark_names(), of which the first is "all".
int run_bench(const CommonOptions& common, const std::string& name);
std::vector<std::string> benchmark_names();
int run_disasm(const DisasmOptions& options);

}  // namespace belfry::cli
