// Schedules: runs of programs, driver and GPU in one thread, in an order drawn from a seed.
//
// Who   draws a small machine (slots, programs, groups of both modes, priorities) and then one small step
// after
//       another: a program writes words, publishes INSERT, reads ACTIVE, rings or kicks, each by itself; the
//       GPU does a piece of work; the driver hears of it late, or in the middle of the GPU's work; the GPU
//       works in the middle of the driver's; time passes; a program dies.
// What  each job may wait for jobs that were made before it, counts in a register that has to survive each
// suspension,
//       stores the count, and adds to its group's sync object. So the results show order, completeness and
//       state.
// Holds after every step: the driver's invariants (Rig::check). At the end: all jobs of all programs that are
// alive have
//       been done, in time, with the right results, whatever endless or faulty neighbours did; nothing is
//       left when all files are closed.
//
// Nothing but the seed decides: a seed gives the same run each time.
#pragma once

#include <cstdint>

namespace belfry::panthor::sim {

/// A machine and its programs go through so many schedules one after the other: making them costs more than
/// running one.
inline constexpr unsigned kSchedulesOfSeed = 4;

/// Runs those of a seed. A broken rule is a gtest failure, or an abort by BELFRY_CHECK. `trace`: prints the
/// steps.
void run_schedules(std::uint64_t seed, bool trace);

}  // namespace belfry::panthor::sim
