#include "sim/schedule.hpp"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "unit/panthor_rig.hpp"

namespace belfry::panthor::sim {
namespace {

constexpr unsigned kStepsMax = 160;
constexpr unsigned kJobsMax = 12;  // of a group in a schedule
constexpr unsigned kGroupsOfProgram = 3;
constexpr std::uint64_t kStreamBytes = 256;  // of a kernel-mode job
constexpr Reg kCountRegister = r(20);

/// In a program's page: a sync object for each group and one for its CPU, then a result for each job.
constexpr std::uint64_t sync_offset(unsigned group) { return group * sizeof(belfry_sync_object64); }
constexpr unsigned kCpuSync = kGroupsOfProgram;
constexpr std::uint64_t result_offset(unsigned group, unsigned job) {
    return 256 + (group * kJobsMax + job % kJobsMax) * sizeof(std::uint32_t);
}

enum class Kind { sound, endless, faulty };
/// What a program does next to tell of a user-mode job.
enum class Telling { nothing, publish, look, ring, kick };

struct SimGroup {
    unsigned index = 0;
    Kind kind = Kind::sound;
    UserGroup* user = nullptr;
    KernelGroup* kernel = nullptr;
    Memory streams;  // kernel mode
    unsigned jobs = 0;
    unsigned first = 0;  // of this schedule
    Telling telling = Telling::nothing;
    bool waits_for_cpu = false;
    std::vector<std::uint32_t> fences;  // a syncobj for each kernel-mode job
};

struct Program {
    Client* client = nullptr;
    Memory page;
    std::deque<SimGroup> groups;
    std::uint64_t cpu_value = 0;  // of its CPU's sync object
    std::uint64_t cpu_wanted = 0;
};

class Schedule {
  public:
    Schedule(std::uint64_t seed, bool trace)
        : random_(seed),
          trace_(trace),
          rig_({.group_slots = 1 + pick(2), .streams_per_group = 1, .slice_instructions = 8U << pick(8)}) {
        const unsigned programs = 1 + pick(2);
        for (unsigned i = 0; i < programs; ++i) open();
    }

    void run() {
        for (unsigned leg = 0; leg < kSchedulesOfSeed; ++leg) {
            for (auto& program : programs_)
                for (SimGroup& group : program->groups) group.first = group.jobs;
            for (unsigned i = 20 + pick(kStepsMax - 20); i > 0 && !programs_.empty(); --i) step();
            settle();
            verify();
        }
        while (!programs_.empty()) close(programs_.front());
        rig_.host.on_interrupt = nullptr;
        rig_.wires.on_write = nullptr;
        rig_.run_until_idle();
        const auto left = rig_.info();
        EXPECT_EQ(
            left.files + left.groups + left.groups_on_slot + left.groups_waiting + left.buffers + left.vms,
            0U);
        EXPECT_FALSE(rig_.device().next_deadline());
    }

  private:
    unsigned pick(std::size_t below) { return static_cast<unsigned>(random_() % below); }
    void say(const char* what, unsigned who = 0, std::uint64_t value = 0) {
        if (trace_) std::printf("%s %u %llu\n", what, who, static_cast<unsigned long long>(value));
    }

    void open() {
        Program& program = *programs_.emplace_back(std::make_unique<Program>());
        program.client = &rig_.open({.may_nice = true});
        program.page = program.client->memory();
        const unsigned groups = 1 + pick(kGroupsOfProgram);
        for (unsigned i = 0; i < groups; ++i) {
            SimGroup& group = program.groups.emplace_back();
            group.index = i;
            const unsigned kind = pick(10);
            group.kind = kind == 0 ? Kind::endless : kind == 1 ? Kind::faulty : Kind::sound;
            const GroupSetup setup{.priority = static_cast<std::uint8_t>(pick(4))};
            if (pick(2) == 0) {
                group.user = &program.client->user_group(setup);
            } else {
                group.kernel = &program.client->kernel_group(setup);
                group.streams = program.client->memory();
            }
            say(group.user != nullptr ? "user group, kind" : "kernel group, kind", i, kind);
        }
    }

    void close(std::unique_ptr<Program>& program) {
        say("close");
        rig_.close(*program->client);
        std::erase(programs_, program);
    }

    /// The words of one more job of the group.
    panthor::Program job_of(Program& program, SimGroup& group) {
        const unsigned job = group.jobs++;
        const std::uint64_t page = program.page.va;
        std::vector<std::pair<std::uint64_t, std::uint64_t>> waits;  // address, value
        if (group.kind == Kind::sound && pick(2) == 0) {
            const SimGroup& other = program.groups[pick(program.groups.size())];
            if (&other != &group && other.kind == Kind::sound && other.jobs != 0)
                waits.emplace_back(page + sync_offset(other.index), 1 + pick(other.jobs));
        }
        if (group.kind == Kind::sound && group.user != nullptr && pick(8) == 0) {
            waits.emplace_back(page + sync_offset(kCpuSync), ++program.cpu_wanted);
            group.waits_for_cpu = true;
        }
        const bool last = group.kind != Kind::sound && pick(3) == 0;
        say("job", group.index, job);
        return [=, kind = group.kind, index = group.index](W& w) {
            for (const auto& [va, value] : waits) wait_for(w, va, value);
            w.add_immediate32(kCountRegister, kCountRegister, 1);
            w.move48(d(60), page + result_offset(index, job))
                .store_multiple(kCountRegister, 1, d(60))
                .wait(kAllSlots);
            if (last && kind == Kind::endless) loop_for_ever(w);
            if (last && kind == Kind::faulty) w.word(kBadWord);
            add_one(w, page + sync_offset(index));
        };
    }

    void submit(Program& program, SimGroup& group) {
        if (group.jobs - group.first == kJobsMax) return;
        if (group.user != nullptr) {
            group.user->queue(0).write(job_of(program, group));
            group.telling = Telling::publish;
            return;
        }
        const std::uint64_t offset = group.jobs % kJobsMax * kStreamBytes;
        W writer(std::span(&group.streams.u64(offset), kStreamBytes / sizeof(std::uint64_t)));
        job_of(program, group)(writer);
        JobSpec job{.stream = Stream{.va = group.streams.va + offset,
                                     .bytes = static_cast<std::uint32_t>(writer.size_bytes())}};
        // It waits for a fence that is older than it.
        if (const SimGroup& other = program.groups[pick(program.groups.size())];
            !other.fences.empty() && other.kind == Kind::sound && pick(2) == 0)
            job.syncs.push_back(wait_op(other.fences[pick(other.fences.size())]));
        const std::uint32_t fence = program.client->syncobj();
        job.syncs.push_back(signal_op(fence));
        const int submitted = group.kernel->submit({job});
        if (submitted == 0)
            group.fences.push_back(fence);
        else
            EXPECT_NE(group.kind, Kind::sound);
    }

    /// The next small step of telling of what was written; true if there is a further one.
    bool tell(SimGroup& group) {
        if (group.user == nullptr) return false;
        UserQueue& queue = group.user->queue(0);
        say("tell", group.index, static_cast<std::uint64_t>(group.telling));
        switch (group.telling) {
            case Telling::nothing: return false;
            case Telling::publish:
                queue.publish();
                group.telling = Telling::look;
                return true;
            case Telling::look:
                base::full_fence();
                group.telling = queue.output().active != 0 ? Telling::ring : Telling::kick;
                return true;
            case Telling::ring: queue.ring(); break;
            case Telling::kick: EXPECT_EQ(queue.kick(), 0); break;
        }
        group.telling = Telling::nothing;
        return false;
    }

    /// The CPU's part: a value, then a kick of whoever may wait for it.
    void update_by_cpu(Program& program) {
        if (program.cpu_value == program.cpu_wanted) return;
        say("cpu");
        base::store(program.page.sync(sync_offset(kCpuSync)).value, ++program.cpu_value, base::kSeqCst);
        for (SimGroup& group : program.groups)
            if (group.waits_for_cpu) {
                EXPECT_EQ(group.user->kick(), 0);
            }
    }

    void act(std::unique_ptr<Program>& program) {
        SimGroup& group = program->groups[pick(program->groups.size())];
        if (group.telling != Telling::nothing) {
            tell(group);
            return;
        }
        switch (pick(8)) {
            case 0: update_by_cpu(*program); break;
            case 1:
                if (group.user != nullptr) {
                    EXPECT_EQ(group.user->kick(pick(4)), 0);
                }
                break;
            case 2:
                if (pick(20) == 0) close(program);
                break;
            default: submit(*program, group); break;
        }
    }

    void step() {
        switch (pick(12)) {
            case 0:
            case 1:
            case 2:
                say("gpu");
                rig_.step_gpu(1 + pick(3));
                break;
            case 3:
            case 4:
                say("interrupt");
                rig_.deliver_interrupt();
                break;
            case 5:
                // The driver runs in the middle of the GPU's work for a while, or the GPU in the driver's.
                say("interleave");
                rig_.host.on_interrupt =
                    pick(2) == 0 ? std::function<void()>([this] { rig_.deliver_interrupt(); }) : nullptr;
                rig_.wires.on_write = nullptr;
                if (rig_.host.on_interrupt == nullptr && pick(2) == 0)
                    rig_.wires.on_write = [this](gpu::Reg, std::uint32_t) { rig_.step_gpu(); };
                break;
            case 6:
                say("time");
                rig_.advance(std::chrono::microseconds(pick(12'000)));
                break;
            default: act(programs_[pick(programs_.size())]); break;
        }
    }

    [[nodiscard]] static bool done(const Program& program, const SimGroup& group) {
        if (group.kind != Kind::sound) return true;
        const auto& sync = program.page.sync(sync_offset(group.index));
        return base::load(sync.value, base::kAcquire) == group.jobs &&
               std::ranges::all_of(group.fences, [&](std::uint32_t fence) {
                   return program.client->fence_status(fence) != 0;
               });
    }

    /// All that was begun is told, and then time and machine go on until all sound jobs are done. Their
    /// bound: a job timeout for each endless kernel-mode neighbour, some slices, rescues.
    void settle() {
        rig_.host.on_interrupt = nullptr;
        rig_.wires.on_write = nullptr;
        for (const auto& program : programs_) {
            for (SimGroup& group : program->groups)
                while (tell(group)) {
                }
            while (program->cpu_value != program->cpu_wanted) update_by_cpu(*program);
        }
        for (unsigned round = 0; round < 3'000; ++round) {
            rig_.run(round < 100 ? 20 : 60);
            bool all = true;
            for (const auto& program : programs_)
                for (const SimGroup& group : program->groups) all &= done(*program, group);
            if (all) break;
            rig_.advance(std::chrono::milliseconds(round < 100 ? 1 : 11));
        }
    }

    void verify() {
        for (const auto& program : programs_)
            for (const SimGroup& group : program->groups) {
                if (group.kind != Kind::sound) continue;
                EXPECT_EQ(program->page.sync(sync_offset(group.index)).value, group.jobs)
                    << "group " << group.index;
                for (unsigned job = group.first; job < group.jobs; ++job)
                    EXPECT_EQ(program->page.as<std::uint32_t>(result_offset(group.index, job)), job + 1)
                        << "group " << group.index;
                for (const std::uint32_t fence : group.fences)
                    EXPECT_EQ(program->client->fence_status(fence), 1);
                EXPECT_EQ(group.user != nullptr ? group.user->state().state : group.kernel->state().state,
                          0U);
            }
    }

    std::mt19937_64 random_;
    bool trace_;
    Rig rig_;
    std::vector<std::unique_ptr<Program>> programs_;
};

}  // namespace

void run_schedules(std::uint64_t seed, bool trace) { Schedule(seed, trace).run(); }

}  // namespace belfry::panthor::sim
