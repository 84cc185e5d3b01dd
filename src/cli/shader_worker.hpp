// One device of `belfry bench shaders`, in a process of its own: what a driver is loaded by is the
// environment.
//
// The parent writes lines, the worker answers each:
//   device          -> NAME
//   prepare WORK    -> BYTES, and so many bytes: the result of its first run
//   run COUNT       -> nanoseconds that so many runs of it took, each with a wait
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "cli/shader_work.hpp"

namespace belfry::cli {

/// The worker: `cpu` tells the device. Returns when nobody asks any more.
int work_on_shaders(bool cpu);

/// The parent's end of one.
class ShaderWorker {
  public:
    /// Starts `command`, which becomes a worker, with the variables in addition; an empty one is taken away.
    ShaderWorker(std::vector<std::string> command,
                 std::vector<std::pair<std::string, std::string>> variables);
    ShaderWorker(const ShaderWorker&) = delete;
    ShaderWorker& operator=(const ShaderWorker&) = delete;
    ~ShaderWorker();

    /// Its answers. A worker that has ended is a Failure; it has said why.
    std::string device();
    std::vector<std::byte> prepare(const ShaderWork& work);
    double run_ns(unsigned count);

  private:
    std::string ask(const std::string& line);
    void receive(std::span<std::byte> bytes);

    base::Fd socket_;
    int process_ = -1;
};

}  // namespace belfry::cli
