// `belfry run`: a program that sees the GPU where Linux would show it.
#pragma once

#include <string>
#include <vector>

namespace belfry::cli {

struct RunOptions {
    std::string socket_path;           ///< empty: found, or a private belfryd is started
    bool trace = false;                ///< every DRM call, on standard error
    std::string trace_file;            ///< there instead; overwritten
    std::vector<std::string> command;  ///< the program and its arguments
};

/// Runs the program to its end and returns its exit code, or 128 and the signal that ended it; 127 or 126 if
/// it cannot be run. Signals that others send to us are passed on to it.
int run_program(const RunOptions& options);

}  // namespace belfry::cli
