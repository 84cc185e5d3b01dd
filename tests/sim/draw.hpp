// Draw: where all chance of a run comes from, and its trace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>

namespace belfry::panthor::sim {

class Draw {
  public:
    Draw(std::uint64_t seed, bool trace) : random_(seed), trace_(trace) {}

    [[nodiscard]] unsigned below(std::size_t count) { return static_cast<unsigned>(random_() % count); }
    [[nodiscard]] bool one_in(unsigned count) { return below(count) == 0; }
    template <typename Container>
    [[nodiscard]] auto& of(Container& container) {
        return container[below(container.size())];
    }

    void say(const char* what, std::uint64_t who = 0, std::uint64_t value = 0) const {
        if (!trace_) return;
        std::printf("%s %llu %llu\n", what, static_cast<unsigned long long>(who),
                    static_cast<unsigned long long>(value));
    }

  private:
    std::mt19937_64 random_;
    bool trace_;
};

/// What can happen in a run at all. Most runs are quiet in most ways, so that what is left shows.
struct Features {
    bool two_queues = false;    // a group has up to two
    bool two_vms = false;       // a program has two, with the same memory
    bool endless = false;       // some groups' streams never end
    bool faulty = false;        // some fault, and with a page fault take their VM's other groups along
    bool stuck = false;         // some wait for each other in a circle
    bool cpu = false;           // jobs wait for values that the program's CPU writes
    bool sleepers = false;      // threads sleep on values and on fences
    bool xgs = false;           // XGS queues, late and bounded
    bool binds = false;         // VM_BINDs in the background, and memory that is bound anew
    bool group_deaths = false;  // groups and XGS queues are destroyed in the middle
    bool deaths = false;        // programs die
    bool eventfds = false;      // groups have eventfds, some of which their program closes at once
    bool odd_kicks = false;     // of no queue, of too many, of groups that are gone
    bool memory = false;        // the device has a budget, and VMs have memory that goes and comes back
    bool bad_store = false;     // ... and sometimes they do not
    bool silence = false;       // the firmware hears nothing for a while, or answers late, or not in time
    bool rings = false;         // programs have submit rings
    bool hostile = false;       // ... with entries and counters that are out of all rules
    bool compute = false;       // jobs have work for shader cores
    bool shared = false;        // programs wait for each other's fences

    explicit Features(Draw& draw)
        : two_queues(draw.one_in(3)),
          two_vms(draw.one_in(4)),
          endless(draw.one_in(4)),
          faulty(draw.one_in(3)),
          stuck(draw.one_in(6)),
          cpu(draw.one_in(2)),
          sleepers(draw.one_in(3)),
          xgs(draw.one_in(3)),
          binds(draw.one_in(3)),
          group_deaths(draw.one_in(3)),
          deaths(draw.one_in(3)),
          eventfds(draw.one_in(4)),
          odd_kicks(draw.one_in(3)),
          memory(draw.one_in(8)),
          bad_store(draw.one_in(3)),
          silence(draw.one_in(6)),
          rings(draw.one_in(6)),
          hostile(draw.one_in(3)),
          compute(draw.one_in(4)),
          shared(draw.one_in(8)) {
        two_vms |= memory;
    }
};

}  // namespace belfry::panthor::sim
