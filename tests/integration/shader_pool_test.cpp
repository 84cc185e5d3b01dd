// The server's shader pool under a GPU: threads that sleep are woken for whatever there is, and groups come
// and go under them. The thread sanitizer runs it, too.
#include "server/shader_pool.hpp"

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <string_view>

#include "base/atomic.hpp"
#include "unit/gpu_compute_rig.hpp"

namespace belfry::server {
namespace {

using namespace belfry::gpu;

constexpr std::string_view kNoInstruction = ".word 0x8000000000000000\n";

constexpr unsigned kSteps = 200'000'000;  // the threads are waited for as long as a test may run

/// A GPU whose cores are a pool's.
struct PooledRig {
    explicit PooledRig(unsigned cores)
        : rig({.group_slots = 4, .streams_per_group = 2, .shader_cores = cores, .core_threads = true}) {
        rig.host.on_shader_work = [this](unsigned tasks) { pool->wake(tasks); };
        pool = std::make_unique<ShaderPool>(rig.gpu, cores);
    }
    template <typename Done>
    void step_until(Done done) {
        rig.step_until(done, kSteps);
    }
    void ask(gpu::Group& group, GroupRequest request) {
        group.ask(request);
        step_until([&] { return group.acknowledged(); });
    }
    void leave(gpu::Group& group, GroupRequest request) {
        ask(group, request);
        group.unbind();
        rig.step();
    }

    Rig rig;
    std::unique_ptr<ShaderPool> pool;
};

TEST(ShaderPool, SleepsOverNoWork) {
    PooledRig p(3);
    const gpu::Memory out = p.rig.memory();
    // Longer than what the GPU's thread runs itself, so that each needs a thread that sleeps by then, or not
    // yet.
    const Shader job(p.rig, kCount, {low(out.va), high(out.va), 200, 0});
    gpu::Group& group = p.rig.group({.queues = 2});
    std::minstd_rand0 random(1);
    std::uint32_t expected = 0;
    for (unsigned round = 0; round < 300; ++round) {
        const unsigned groups = 1 + static_cast<unsigned>(random() % 5);
        for (unsigned i = 0; i < 1 + round % 2; ++i, expected += 200 * groups) {
            group.queue(i).submit([&](W& w) { job.run(w, groups, 1); });
            group.queue(i).ring();
        }
        for (unsigned i = static_cast<unsigned>(random() % 2000); i != 0; --i) p.rig.step();
        p.step_until([&] { return base::load(out.u32(), base::kRelaxed) == expected; });
        p.step_until([&] { return group.queue(0).stream().busy_scoreboards() == 0; });
        p.step_until([&] { return group.queue(1).stream().busy_scoreboards() == 0; });
    }
}

TEST(ShaderPool, LetsGroupsComeAndGo) {
    PooledRig p(2);
    const gpu::Memory out = p.rig.memory();
    const Shader count(p.rig, kCount, {low(out.va), high(out.va), 500, 0});
    const Shader endless(p.rig, kForEver);
    const Shader faulty(p.rig, kNoInstruction);
    gpu::Group& good = p.rig.group({.start = false});
    std::deque<gpu::Group*> bad;
    for (unsigned i = 0; i < 2; ++i) bad.push_back(&p.rig.group({.vm = &p.rig.new_vm(), .start = false}));
    // What the bad ones run lies in their spaces, too.
    for (gpu::Group* const group : bad)
        for (const Shader* const job : {&endless, &faulty}) {
            group->vm().map(job->code.va, job->code.host, 1);
            group->vm().map(job->data.va, job->data.host, 1);
        }
    const auto start = [&](gpu::Group& group, unsigned slot) {
        group.queue(0).written = group.queue(0).input().insert = group.queue(0).input().extract_init = 0;
        group.program(slot);
        p.ask(group, GroupRequest::start);
    };
    start(good, 0);
    std::minstd_rand0 random(2);
    std::uint32_t expected = 0;
    for (unsigned round = 0; round < 60; ++round) {
        for (unsigned i = 0; i < bad.size(); ++i) {
            start(*bad[i], i + 1);
            bad[i]->queue(0).submit([&](W& w) {
                endless.run(w, 4);
                if (random() % 2 == 0) faulty.run(w, 4);
            });
            bad[i]->queue(0).ring();
        }
        good.queue(0).submit([&](W& w) { count.run(w, 4, 1); });
        good.queue(0).ring();
        expected += 4 * 500;
        for (unsigned i = static_cast<unsigned>(random() % 3000); i != 0; --i) p.rig.step();
        if (round % 2 == 0) {
            p.leave(good, GroupRequest::suspend);
            const std::uint32_t then = base::load(out.u32(), base::kRelaxed);
            for (unsigned i = 0; i < 200; ++i) p.rig.step();
            EXPECT_EQ(base::load(out.u32(), base::kRelaxed), then) << "a core is still in it";
            good.program(3 * (round / 2 % 2));
            p.ask(good, GroupRequest::resume);
        }
        for (gpu::Group* const group : bad) {
            if (random() % 2 == 0) {  // what its cores use is flushed under them
                p.rig.gpu.write(as_reg(group->vm().number(), AsReg::command), kAsCommandFlushMem);
                p.step_until(
                    [&] { return p.rig.gpu.read(as_reg(group->vm().number(), AsReg::status)) == 0; });
                p.rig.gpu.write(gpu::Reg::mmu_int_clear, mmu_int_command_done(group->vm().number()));
            }
            p.leave(*group, random() % 2 == 0 ? GroupRequest::suspend : GroupRequest::terminate);
        }
        p.step_until([&] { return good.queue(0).stream().busy_scoreboards() == 0; });
        p.step_until([&] { return good.queue(0).drained(); });
        EXPECT_EQ(base::load(out.u32(), base::kRelaxed), expected);
    }
}

/// The driver stops a stream, or all of the firmware, that cores are in, and wants it again at once.
TEST(ShaderPool, IsLeftBeforeWhatStoppedStartsAgain) {
    PooledRig p(2);
    const Shader endless(p.rig, kForEver);
    gpu::Group& group = p.rig.group();
    for (unsigned round = 0; round < 20; ++round) {
        gpu::Queue& queue = group.queue(0);
        queue.submit([&](W& w) { endless.run(w, 4); });
        queue.driver_ring();
        p.step_until([&] { return queue.drained(); });
        const auto want = [&](std::uint32_t state) {
            queue.in().req = (queue.in().req & ~kStreamStateMask) | state;
            queue.driver_ring();
        };
        want(kStreamStop);
        p.rig.step();
        queue.written = queue.input().insert = queue.input().extract_init = 0;
        want(kStreamStart);
        p.step_until([&] {
            return queue.stream().started() && p.rig.gpu.firmware().stream(0, 0).busy_scoreboards() == 0;
        });
        for (unsigned i = 0; i < 1000; ++i) p.rig.step();
        EXPECT_EQ(queue.out().ack & kStreamStateMask, kStreamStart);
    }
    group.queue(0).submit([&](W& w) { endless.run(w, 4); });
    group.queue(0).driver_ring();
    p.step_until([&] { return group.queue(0).drained(); });
    p.rig.gpu.write(gpu::Reg::mcu_control, kMcuControlDisable);
    p.rig.step();
    p.rig.gpu.write(gpu::Reg::mcu_control, kMcuControlAuto);
    p.step_until([&] {
        return p.rig.gpu.read(gpu::Reg::mcu_status) == kMcuStatusEnabled && p.rig.shared32(0x8) != 0;
    });
    for (unsigned i = 0; i < 1000; ++i) p.rig.step();
    EXPECT_EQ(p.rig.gpu.read(gpu::Reg::mcu_status), kMcuStatusEnabled);
}

}  // namespace
}  // namespace belfry::server
