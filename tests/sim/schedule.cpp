#include "sim/schedule.hpp"

#include <algorithm>
#include <list>

#include "sim/program.hpp"

namespace belfry::panthor::sim {
namespace {

constexpr unsigned kStepsMax = 160;
constexpr unsigned kProgramsMax = 2;
/// What all programs map themselves, and one VM's hoard: not all of those there are.
constexpr std::uint64_t kBudget = 148 * kPage;
constexpr std::uint64_t kBudgetOfCompute = 4 * kPage;

class Run {
  public:
    Run(std::uint64_t seed, bool trace)
        : draw_(seed, trace),
          features_(draw_),
          rig_({.group_slots = 1 + draw_.below(2),
                .streams_per_group = 2,
                .slice_instructions = 8U << draw_.below(5),
                .shader_cores = 1 + draw_.below(3),
                .task_steps = 16U << draw_.below(5)},
               !features_.memory   ? 0
               : features_.compute ? kBudget + kBudgetOfCompute
                                   : kBudget),
          world_{.rig = rig_, .draw = draw_, .features = features_} {
        rig_.host.on_wake = [this](const std::uint32_t& word, std::uint32_t bits) {
            for (SimProgram& program : programs_) program.woken(word, bits);
        };
    }

    void run() {
        for (unsigned leg = 0; leg < kSchedulesOfSeed && !testing::Test::HasFailure(); ++leg) {
            draw_.say("schedule", leg);
            begin();
            for (unsigned i = 20 + draw_.below(kStepsMax - 20); i > 0; --i) step();
            settle();
        }
        while (!programs_.empty()) close(programs_.begin());
        for (SharedTimeline& timeline : world_.timelines) timeline.close(rig_);
        stop_interleaving();
        rig_.run_until_idle();
        const auto left = rig_.info();
        EXPECT_EQ(
            left.files + left.groups + left.groups_on_slot + left.groups_waiting + left.buffers + left.vms,
            0U);
        EXPECT_FALSE(rig_.device().next_deadline());
        EXPECT_EQ(rig_.store.pending() + rig_.store.kept(), 0U);
    }

  private:
    using Programs = std::list<SimProgram>;

    void begin() {
        for (SimProgram& program : programs_) program.begin();
        world_.silenced = false;
        silent_before_ = false;
        for (SharedTimeline& timeline : world_.timelines) timeline.points.clear(), timeline.slow = false;
        const unsigned seldom = features_.shared ? 1 : 6;
        while (programs_.empty() || (programs_.size() < kProgramsMax && draw_.one_in(seldom)))
            programs_.emplace_back(world_);
    }
    void close(Programs::iterator program) {
        draw_.say("close");
        program->close();
        programs_.erase(program);
    }
    [[nodiscard]] Programs::iterator any() {
        return std::next(programs_.begin(), draw_.below(programs_.size()));
    }

    void step() {
        switch (draw_.below(24)) {
            case 0:
            case 1:
            case 2:
            case 3:
            case 4:
            case 5:
                draw_.say("gpu");
                rig_.step_gpu(1 + draw_.below(3));
                break;
            case 6:
            case 7:
            case 8:
            case 9:
                draw_.say("interrupt");
                rig_.deliver_interrupt();
                break;
            case 10:
            case 11: interleave(); break;
            case 12:
            case 13:
                draw_.say("time");
                rig_.advance(std::chrono::microseconds(draw_.below(12'000)));
                break;
            case 14:
                if (world_.features.silence) silence();
                break;
            case 15:
                if (world_.features.deaths && !programs_.empty() && draw_.one_in(features_.shared ? 4 : 12))
                    close(any());
                break;
            case 16:
                if (features_.memory) step_store();
                break;
            case 17:
                if (features_.rings) rig_.poll_rings(1);
                break;
            default:
                if (!programs_.empty()) any()->act();
        }
        for (SimProgram& program : programs_) program.watch();
    }

    /// The store finishes a copy, or cannot: what must go stays, and what must come ends its VM's groups.
    void step_store() {
        if (features_.bad_store && draw_.one_in(2)) {
            draw_.say("the store changes");
            const auto sometimes = [this](base::Errno error) {
                return draw_.one_in(3) ? std::optional(error) : std::nullopt;
            };
            rig_.store.evicting_fails = sometimes(base::Errno::no_space);
            rig_.store.restoring_fails = sometimes(base::Errno::io);
        }
        if (!rig_.step_store()) return;
        draw_.say("store");
        if (const drm::Buffer* const lost = std::exchange(rig_.store.lost, nullptr))
            for (SimProgram& program : programs_) program.lose(*lost);
    }

    /// The driver runs in the middle of the GPU's work for a while, or the GPU in the driver's.
    void interleave() {
        draw_.say("interleave");
        stop_interleaving();
        if (draw_.one_in(2))
            rig_.host.on_interrupt = [this] { rig_.deliver_interrupt(); };
        else if (draw_.one_in(2))
            rig_.wires.on_write = [this](gpu::Reg, std::uint32_t) { rig_.step_gpu(); };
    }
    void stop_interleaving() {
        rig_.host.on_interrupt = nullptr;
        rig_.wires.on_write = nullptr;
    }

    /// The firmware does not hear the driver, or the GPU's thread does not run; once a schedule for long.
    void silence() {
        if (rig_.wires.firmware_deaf) return end_silence();
        draw_.say("silence");
        rig_.wires.firmware_deaf = draw_.one_in(2);
        if (!draw_.one_in(3) || std::exchange(silent_before_, true)) return;
        const unsigned seconds = 1 + draw_.below(6);
        draw_.say("... for seconds", seconds);
        // Short of the firmware's bound by so much that jobs that wait for it keep theirs, or beyond it.
        world_.silenced = seconds > 3;
        rig_.advance(std::chrono::seconds(world_.silenced ? 6 : seconds));
    }
    void end_silence() {
        draw_.say("end of silence");
        rig_.wires.firmware_deaf = false;
        rig_.gpu.write(gpu::doorbell_reg(0), 1);
    }

    /// Lets GPU and driver work until both have nothing left, or have done so much.
    void work(unsigned rounds) {
        bool more = true;
        for (unsigned i = 0; i < rounds && more; ++i) {
            more = rig_.gpu.step();
            more |= rig_.deliver_interrupt();
            more |= rig_.step_store();
            if (!features_.rings) continue;
            for (SimProgram& program : programs_) program.keep_up();
            more |= rig_.device().poll();
        }
        for (SimProgram& program : programs_) program.watch();
    }
    /// Time goes on in steps until all is as `wanted`, or `most` has passed. False: that was not enough.
    bool pass(std::chrono::milliseconds step, std::chrono::milliseconds most,
              bool (SimProgram::*wanted)() const) {
        for (auto passed = 0ms; passed < most; passed += step) {
            work(40);
            for (SimProgram& program : programs_) program.notice_deaths();
            if (std::ranges::all_of(programs_, wanted)) return true;
            rig_.advance(step);
        }
        return false;
    }

    /// Nothing goes wrong any more, and what was promised must come.
    void settle() {
        draw_.say("settle");
        stop_interleaving();
        if (rig_.wires.firmware_deaf) end_silence();
        rig_.store.evicting_fails = rig_.store.restoring_fails = std::nullopt;
        for (SimProgram& program : programs_) program.finish_telling();
        // Without anybody's timeout: some slices and rescues.
        if (!pass(1ms, 50ms, &SimProgram::done) && !pass(5ms, 3s, &SimProgram::done))
            fail("sound jobs are not done");
        // Timeouts, one after the other, each of which counts time on the GPU alone.
        unsigned timeouts = 1;
        for (const SimProgram& program : programs_) timeouts += program.timeouts();
        // In steps that are much longer than the GPU's work in them a group may lose each of its turns.
        if (!pass(5ms, 500ms, &SimProgram::settled) &&
            !pass(100ms, timeouts * kTimeoutBound, &SimProgram::settled) &&
            !pass(5ms, 3s, &SimProgram::settled))
            fail("fences are pending");
        for (SimProgram& program : programs_) {
            program.watch();
            program.verify();
        }
    }

    void fail(const char* what) {
        ADD_FAILURE() << what;
        for (const SimProgram& program : programs_) program.complain();
    }

    /// What one timeout may take while all groups that there can be take turns.
    static constexpr std::chrono::milliseconds kTimeoutBound = 5s * kProgramsMax * 4;

    Draw draw_;
    Features features_;
    Rig rig_;
    World world_;
    Programs programs_;
    bool silent_before_ = false;
};

}  // namespace

void run_schedules(std::uint64_t seed, bool trace) { Run(seed, trace).run(); }

}  // namespace belfry::panthor::sim
