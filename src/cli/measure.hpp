// What every measurement of `belfry bench` shares: one clock, one way to sum up, CPUs to stand still on.
//
// The clock is CLOCK_MONOTONIC. Reading it costs some tens of nanoseconds, as much as the shortest things
// that are measured, so its own cost is measured once and a Stopwatch subtracts it from each sample.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <sched.h>

#include "base/clock.hpp"

namespace belfry::cli {

/// What is told of one measurement. Both are of single samples: no mean hides a slow round.
struct Figure {
    double median_ns;
    double p99_ns;
};

/// The samples of one measurement. Adding to reserved room allocates nothing.
class Samples {
  public:
    void reserve(std::size_t samples) { samples_ns_.reserve(samples); }
    void add(double sample_ns) { samples_ns_.push_back(sample_ns); }
    [[nodiscard]] std::size_t size() const { return samples_ns_.size(); }

    /// Median and 99th percentile (nearest rank). Needs at least one sample.
    [[nodiscard]] Figure figure() const;

  private:
    std::vector<double> samples_ns_;
};

/// What two reads of the clock that measure nothing are apart: the median of many. Measured at the first
/// call.
double clock_cost_ns();

/// Measures from its construction on.
class Stopwatch {
  public:
    Stopwatch() : cost_ns_(clock_cost_ns()), started_ns_(base::monotonic_ns()) {}

    /// The time since construction or restart(), less the clock's own cost; never below zero.
    [[nodiscard]] double elapsed_ns() const {
        const double elapsed = static_cast<double>(base::monotonic_ns() - started_ns_) - cost_ns_;
        return elapsed > 0 ? elapsed : 0;
    }
    void restart() { started_ns_ = base::monotonic_ns(); }

  private:
    double cost_ns_;
    std::uint64_t started_ns_;
};

/// Binds the calling thread to one CPU. False if the system refuses.
bool pin_to_cpu(int cpu);

/// Gives the calling thread its CPUs back at the end of the scope: what is started later must not inherit a
/// pin.
class KeepAffinity {
  public:
    KeepAffinity();
    ~KeepAffinity();
    KeepAffinity(const KeepAffinity&) = delete;
    KeepAffinity& operator=(const KeepAffinity&) = delete;

  private:
    cpu_set_t before_{};
    bool known_ = false;
};

/// Where the two sides of a ping-pong stand.
struct CpuPair {
    int first;
    int second;

    /// False on a machine that lets us use only one CPU: both sides take turns on it, and figures say so.
    [[nodiscard]] bool distinct() const { return first != second; }
};

/// Two CPUs that we may use: of one socket, and not two threads of one core, where there are such.
CpuPair cpu_pair();

}  // namespace belfry::cli
