// The machine's limits: what no submission path can beat here, measured with nothing of Belfry in the way.
//
// Each runs for about a second at most and leaves nothing behind (no process, no pin). `belfry bench` puts
// them beside Belfry's own figures, so that these read as multiples of what the machine allows. If the system
// refuses a process or memory they throw std::system_error.
#pragma once

#include <expected>
#include <string>

#include "cli/measure.hpp"

namespace belfry::cli {

/// Round trip of a value between two processes on two CPUs that spin on one cache line each: the least that a
/// doorbell and its answer can cost. With one usable CPU (see cpu_pair()) it is two context switches instead.
Figure spin_ping_pong();

/// Round trip between two processes that sleep in a futex each round: two wakes, two sleeps. The least that a
/// blocking wait for another process can cost.
Figure futex_ping_pong();

/// A message sent over a socket pair and received again, in one thread: the least that two system calls for a
/// message can cost.
Figure message();

/// One io_uring no-op out of a batch that is submitted and reaped by one system call: the least that a
/// submission through io_uring can cost. Says why not where io_uring is forbidden.
std::expected<Figure, std::string> uring_nop(unsigned batch = 32);

}  // namespace belfry::cli
