// Schedules: runs of programs, driver and GPU in one thread, in an order drawn from a seed.
//
// Who    draws a small machine (slots, slices), which kinds of things happen at all (Features), and then one
//        small step after another: a program does one (SimProgram::act: a user-mode job is words, INSERT, a
//        look at ACTIVE, a doorbell or kick, each by itself); the GPU does a piece of work; the driver hears
//        of it late, or in the middle of the GPU's work, or looks at a submit ring; the GPU works in the
//        middle of the driver's; the backing store finishes a copy; time passes; the firmware hears nothing;
//        a program dies.
// What   jobs of user mode, kernel mode and XGS queues wait for jobs, fences (also of another program), binds
//        and CPUs that come before them, count in a register that has to survive each suspension, store the
//        count, and add to a sync object. Under a memory budget they count in memory that is evicted while
//        they are off the hardware, too. So the results show order, completeness and state. Submit rings:
//        SimRing.
// Holds  after every step: the driver's invariants (Rig::check); values rise, a fence that has signalled is
//        of a job whose results are there, fences signal in order, who is woken is due, and no error comes
//        without a cause (SimProgram::watch). At the end of a schedule nothing goes wrong any more: then
//        whatever needs nobody's timeout is done within 3 s, and all fences have signalled within 40 s for
//        each group that may need a timeout. Nothing is left when all files are closed.
//
// Nothing but the seed decides: a seed gives the same run each time.
#pragma once

#include <cstdint>

namespace belfry::panthor::sim {

/// A machine and its programs go through so many schedules one after the other: making them costs more than
/// running one.
inline constexpr unsigned kSchedulesOfSeed = 12;

/// Runs those of a seed. A broken rule is a gtest failure, or an abort by BELFRY_CHECK. `trace`: prints the
/// steps.
void run_schedules(std::uint64_t seed, bool trace);

}  // namespace belfry::panthor::sim
