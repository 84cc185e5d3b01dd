// RUN_COMPUTE through the door of the GPU: scoreboards, suspension, faults, and that nobody waits for a
// shader.
#include <thread>

#include "base/atomic.hpp"
#include "uapi/shader_assembler.hpp"
#include "unit/gpu_compute_rig.hpp"

namespace belfry::gpu {
namespace {

/// Stores its global id x + 1 at 4 * x: the address is in u0, u1.
constexpr std::string_view kStoreIds = R"(
    IADD_IMM.i32 r0, r60, #0x1
    SHADDX.u64 r2, u0, r60.w0, shift:0x2
    STORE.i32.slot0.end @r0, ^r2, offset:0
)";
/// Draws a ticket at u0, u1 and stores it at u2, u3.
constexpr std::string_view kTicket = R"(
    IADD.u32 r2, u0, 0x0
    IADD.u32 r3, u1, 0x0
    IADD_IMM.i32 r4, 0x0, #0x1
    ATOM_RETURN.i32.slot0.aadd.wait0 @r6, @r4, r2, offset:0x0
    IADD.u32 r2, u2, 0x0
    IADD.u32 r3, u3, 0x0
    STORE.i32.slot0.end @r6, r2, offset:0
)";
constexpr std::uint64_t kNop = 0;

TEST(RunCompute, RunsEachThreadOnce) {
    Rig rig;
    const Memory out = rig.memory(4);
    const Shader shader(rig, kStoreIds, {low(out.va), high(out.va)});
    rig.group().queue(0).run([&](W& w) { shader.run(w, 256); });
    for (unsigned i = 0; i < 4096; ++i) ASSERT_EQ(out.u32(i * 4), i + 1);
}

TEST(RunCompute, CountsOnTheEndpointEntryUntilItIsDone) {
    Rig rig;
    const Memory out = rig.memory();
    const Shader shader(rig, kCount, {low(out.va), high(out.va), 100'000, 0});
    Queue& queue = rig.group().queue(0);
    queue.submit([&](W& w) {
        w.set_sb_entry(3, 0);
        shader.run(w, 1, 1);
        w.wait(slots(3)).move32(r(90), 7);
    });
    queue.ring();
    rig.step_until([&] { return queue.blocked_by() == BlockedReason::scoreboard; });
    EXPECT_EQ(queue.stream().busy_scoreboards(), 1U << 3);
    EXPECT_EQ(queue.reg(90), 0u);
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(90), 7u);
    EXPECT_EQ(out.u32(), 100'000u);
}

TEST(RunCompute, IsWaitedForByWhatIsDeferredEvenIfTheStreamHasNothingMoreToDo) {
    Rig rig;
    const Memory out = rig.memory();
    const Shader shader(rig, kCount, {low(out.va), high(out.va), 50'000, 0});
    Group& group = rig.group();
    Queue& queue = group.queue(0);
    group.acknowledge(kGroupIdle);  // of its start
    queue.submit([&](W& w) {
        w.set_sb_entry(3, 0);
        shader.run(w, 1, 1);
        w.move48(d(40), out.va + 64).move48(d(42), 5);
        w.word(csf::encode<csf::Op::sync_add64>(
            csf::Operand<csf::Arg::address>{40}, csf::Operand<csf::Arg::data>{42},
            csf::Operand<csf::Arg::wait>{1U << 3}, csf::Operand<csf::Arg::signal>{1}));
    });
    queue.ring();
    rig.step_until([&] { return queue.drained(); });
    EXPECT_EQ(out.sync64(64).value, 0u);
    EXPECT_FALSE(group.event(kGroupIdle));
    rig.run_until_idle();
    EXPECT_EQ(out.u32(), 50'000u);
    EXPECT_EQ(out.sync64(64).value, 5u);
    EXPECT_TRUE(group.event(kGroupIdle));
}

TEST(RunCompute, OfNoWorkgroupsIsDoneAtOnce) {
    Rig rig;
    const Shader shader(rig, kForEver);
    Queue& queue = rig.group().queue(0);
    queue.run([&](W& w) {
        shader.run(w, 0);
        w.wait(slots(0, 1, 2, 3, 4, 5, 6, 7)).move32(r(90), 7);
    });
    EXPECT_EQ(queue.reg(90), 7u);
}

TEST(RunCompute, BumpsTheProgressCounterWhenItIsDone) {
    Rig rig;
    const Memory out = rig.memory();
    const Shader shader(rig, kStoreIds, {low(out.va), high(out.va)});
    Queue& queue = rig.group().queue(0);
    queue.run([&](W& w) {
        shader.run(w, 4);
        w.words().back() |= std::uint64_t{1} << 32;
    });
    EXPECT_EQ(queue.stream().progress(), 1u);
}

TEST(RunCompute, JobsBeyondWhatAStreamMayHaveInFlightWait) {
    Rig rig;
    const Memory out = rig.memory();
    const Shader shader(rig, kCount, {low(out.va), high(out.va), 1'000, 0});
    Queue& queue = rig.group().queue(0);
    queue.run([&](W& w) {
        for (unsigned i = 0; i < 3 * kJobsPerStream; ++i) shader.run(w, 2, 1);
        w.wait(slots(0)).move32(r(90), 7);
    });
    EXPECT_EQ(queue.reg(90), 7u);
    EXPECT_EQ(out.u32(), 3 * kJobsPerStream * 2'000);
}

TEST(RunCompute, SeesWhatTheProgramBecameBetweenJobs) {
    Rig rig;
    const Memory out = rig.memory();
    const Shader shader(rig, kStoreIds, {low(out.va), high(out.va)});
    Queue& queue = rig.group().queue(0);
    queue.run([&](W& w) { shader.run(w, 1); });
    EXPECT_EQ(out.u32(), 1u);
    shader.load(valhall::assemble("IADD_IMM.i32 r0, r60, #0x5\nSHADDX.u64 r2, u0, r60.w0, shift:0x2\n"
                                  "STORE.i32.slot0.end @r0, ^r2, offset:0\n")
                    .value());
    queue.run([&](W& w) { shader.run(w, 1); });
    EXPECT_EQ(out.u32(), 5u);
}

TEST(RunCompute, OfMoreWorkgroupsThanAnybodyCanRunIsBegun) {
    Rig rig;
    const Memory out = rig.memory();
    const Shader shader(rig, kCount, {low(out.va), high(out.va), 1, 0});
    Queue& queue = rig.group().queue(0);
    queue.submit([&](W& w) {
        shader.run(w, ~0U, 1);
        w.words().back() = kNop;  // instead: tasks of so many that sums of them exceed 64 bits
        w.move32(r(38), ~0U);
        w.word(csf::encode<csf::Op::run_compute>(
            csf::Operand<csf::Arg::task_increment>{1},
            csf::Operand<csf::Arg::task_axis>{static_cast<std::uint64_t>(csf::TaskAxis::z)}));
    });
    queue.ring();
    rig.step_until([&] { return out.u32() >= 100; });
}

TEST(RunCompute, ReadsTheClockOfTheGpu) {
    Rig rig;
    const Memory out = rig.memory();
    rig.host.now = 0x1234'5678'9abc;
    const Shader shader(
        rig,
        "LD_GCLK.u64.slot0.system_timestamp.wait0 @r0:r1\nIADD.u32 r2, u0, 0x0\nIADD.u32 r3, u1, 0x0\n"
        "STORE.i64.slot0.end @r0:r1, r2, offset:0\n",
        {low(out.va), high(out.va)});
    rig.group().queue(0).run([&](W& w) { shader.run(w, 1, 1); });
    EXPECT_EQ(out.u64(), 0x1234'5678'9abcU);
}

TEST(RunCompute, UsesWhatIsMappedAnewWhileItRunsAfterTheFlush) {
    Rig rig;
    const Memory out = rig.memory();
    const Memory other = rig.memory();
    const Shader shader(rig, kCount, {low(out.va), high(out.va), 50'000, 0});
    Queue& queue = rig.group().queue(0);
    queue.submit([&](W& w) { shader.run(w, 1, 1); });
    queue.ring();
    rig.step_until([&] { return out.u32() != 0; });
    rig.vm.map(out.va, other.host, 1);
    rig.flush(rig.vm);
    const std::uint32_t then = out.u32();
    rig.run_until_idle();
    EXPECT_EQ(out.u32(), then);
    EXPECT_EQ(other.u32(), 50'000u - then);
}

TEST(RunComputeForEver, HoldsUpNeitherItsStreamNorItsGroupNorOthers) {
    Rig rig;
    const Memory out = rig.memory(4);
    const Shader endless(rig, kForEver);
    const Shader shader(rig, kStoreIds, {low(out.va), high(out.va)});
    Group& bad = rig.group({.queues = 2});
    Group& good = rig.group();
    bad.queue(0).submit([&](W& w) {
        endless.run(w, 1'000);
        w.move32(r(90), 1);
    });
    bad.queue(0).ring();
    bad.queue(1).submit([&](W& w) { w.move32(r(90), 2); });
    bad.queue(1).ring();
    good.queue(0).submit([&](W& w) {
        shader.run(w, 64);
        w.wait(slots(0)).move32(r(90), 3);
    });
    good.queue(0).ring();
    rig.step_until([&] { return good.queue(0).stream().state().registers[90] == 3; }, 200);
    EXPECT_EQ(bad.queue(0).reg(90), 1u);
    EXPECT_EQ(bad.queue(1).reg(90), 2u);
    EXPECT_EQ(out.u32(64 * 16 * 4 - 4), 64 * 16u);
}

TEST(RunComputeForEver, IsLeftByTerminateAndBySuspend) {
    Rig rig;
    const Shader endless(rig, kForEver);
    for (const bool suspend : {false, true}) {
        Group& group = rig.group({.start = false});
        group.start_on(0);
        group.queue(0).submit([&](W& w) { endless.run(w, 1'000); });
        group.queue(0).ring();
        for (unsigned i = 0; i < 20; ++i) rig.step();
        if (suspend)
            group.suspend();
        else
            group.terminate();
        rig.run_until_idle();  // nothing is left of it
    }
}

TEST(SuspendedCompute, GoesOnWhereItWasOnAnotherSlot) {
    Rig rig{{.group_slots = 3, .streams_per_group = 2, .shader_cores = 2}};
    const Memory out = rig.memory();
    const Shader shader(rig, kCount, {low(out.va), high(out.va), 30'000, 0});
    Group& group = rig.group({.start = false});
    Queue& queue = group.queue(0);
    group.start_on(0);
    queue.submit([&](W& w) {
        shader.run(w, 3, 1);
        shader.run(w, 2, 1);
        w.wait(slots(0)).move32(r(90), 7);
    });
    queue.ring();
    unsigned suspended = 0;
    while (suspended < 50 && !(queue.drained() && queue.stream().busy_scoreboards() == 0)) {
        for (unsigned i = 0; i < 3; ++i) rig.step();
        group.suspend();
        EXPECT_FALSE(rig.step()) << "it is off the cores";
        group.resume_on(++suspended % 3);
    }
    rig.run_until_idle();
    EXPECT_GT(suspended, 3u);
    EXPECT_EQ(out.u32(), 5 * 30'000u);
    EXPECT_EQ(queue.reg(90), 7u);
}

TEST(SuspendedCompute, StartsItsJobsInTheOldOrder) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1, .shader_cores = 1}};
    const Memory out = rig.memory();
    const Shader slow(rig, kCount, {low(out.va + 64), high(out.va + 64), 30'000, 0});
    std::deque<Shader> tickets;
    for (std::uint32_t i = 0; i < 3; ++i)
        tickets.emplace_back(rig, kTicket,
                             std::initializer_list<std::uint32_t>{low(out.va), high(out.va),
                                                                  low(out.va + 4 + 4 * i), high(out.va)});
    Group& group = rig.group({.start = false});
    Queue& queue = group.queue(0);
    group.start_on(0);
    queue.submit([&](W& w) {
        // The place that the first one leaves is taken by the last.
        slow.run(w, 1, 1);
        slow.run(w, 1, 1);
        for (const Shader& shader : tickets) shader.run(w, 1, 1);
    });
    queue.ring();
    rig.step_until([&] { return out.u32(64) >= 30'000 && queue.drained(); });
    group.suspend();
    group.resume_on(0);
    rig.run_until_idle();
    for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(out.u32(4 + 4 * i), i);
}

TEST(SuspendedCompute, EndsWithAStreamThatDoesNotComeBack) {
    Rig rig;
    const Shader endless(rig, kForEver);
    Group& group = rig.group({.start = false});
    Queue& queue = group.queue(0);
    group.start_on(0);
    queue.submit([&](W& w) { endless.run(w, 1); });
    queue.ring();
    rig.step_until([&] { return queue.drained(); });
    group.suspend();
    queue.input().insert += 4;  // no instruction ends there
    group.resume_on(0);
    EXPECT_EQ(queue.fatal().type, Exception::cs_config_fault);
    rig.run_until_idle();
}

TEST(SuspendedCompute, IsLostWithItsSuspendBuffer) {
    Rig rig;
    const Shader endless(rig, kForEver);
    Group& group = rig.group({.queues = 2, .start = false});
    group.start_on(0);
    group.queue(0).submit([&](W& w) { endless.run(w, 1); });
    group.queue(0).ring();
    rig.step_until([&] { return group.queue(0).drained(); });
    group.suspend();
    // Its streams are there, its jobs are not.
    for (std::uint64_t at = kPage; at < group.suspend_buffer.bytes; at += kPage)
        if (at > 4 * sizeof(StreamState)) rig.mcu_vm.unmap(group.suspend_buffer.va + at);
    rig.flush(rig.mcu_vm);
    group.resume_on(0);
    EXPECT_EQ(group.queue(0).fatal().type, Exception::cs_config_fault);
    EXPECT_EQ(group.queue(1).fatal().type, Exception::ok);
    rig.run_until_idle();
}

TEST(ShaderFault, OfAnUnmappedAddressIsThatOfTheAddressSpace) {
    Rig rig;
    const Shader shader(rig, kStoreIds, {0x0666'0000, 0});
    Group& group = rig.group();
    Queue& queue = group.queue(0);
    queue.submit([&](W& w) { shader.run(w, 1); });
    queue.ring();
    rig.step_until([&] { return queue.status() == StreamStatus::faulted; });
    EXPECT_NE(rig.take_mmu_interrupts() & mmu_int_fault(group.vm().number()), 0u);
    rig.disable(group.vm());
    EXPECT_EQ(queue.fatal().type, Exception::cs_bus_fault);
    EXPECT_EQ(queue.fatal().info, 0x0666'0000u);
    EXPECT_EQ(queue.out().shader_pc, shader.code.va + 16);
    EXPECT_EQ(queue.out().shader_instruction, shader.code.u64(16));
    EXPECT_EQ(queue.out().shader_lane, 0u);
}

TEST(ShaderFault, OfAnInstructionThatIsNoneEndsTheStreamAndNamesTheThread) {
    Rig rig;
    const Memory out = rig.memory(4);
    const Shader shader(rig, ".word 0x8000000000000000\n");
    const Shader sound(rig, kStoreIds, {low(out.va), high(out.va)});
    Group& group = rig.group({.queues = 2});
    group.queue(0).run([&](W& w) { shader.run(w, 64); });
    EXPECT_EQ(group.queue(0).fatal().type, Exception::instr_invalid_enc);
    EXPECT_EQ(group.queue(0).out().shader_pc, shader.code.va);
    EXPECT_EQ(group.queue(0).out().shader_instruction, 0x8000000000000000u);
    group.queue(1).run([&](W& w) { sound.run(w, 4); });
    EXPECT_EQ(out.u32(), 1u);
}

TEST(ShaderFault, OfAProgramThatIsNotThereEndsTheStream) {
    Rig rig;
    const Shader shader(rig, kForEver);
    shader.data.u64(8) = 0x0777'0000;
    Queue& queue = rig.group().queue(0);
    queue.run([&](W& w) { shader.run(w, 1); });
    EXPECT_EQ(queue.fatal().type, Exception::instr_invalid_pc);
}

/// With the cores' threads: whoever must not wait for a shader is told when no core is in it any more.
TEST(ShaderThreads, LeaveBeforeAFlushIsDoneAndAGroupHasLeft) {
    Rig rig{{.group_slots = 2, .streams_per_group = 2, .shader_cores = 2, .core_threads = true}};
    const Memory out = rig.memory();
    const Shader shader(rig, kCount, {low(out.va), high(out.va), ~0U, 0});
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 2; ++i)
        threads.emplace_back([&rig, &stop, i] {
            while (!stop.load()) rig.gpu.run_shader_task(i);
        });
    Group& group = rig.group({.start = false});
    group.start_on(0);
    group.queue(0).submit([&](W& w) { shader.run(w, 1'000, 1); });
    group.queue(0).ring();
    auto& counter = out.u32();
    const auto counted = [&] {
        const std::uint32_t before = base::load(counter, base::kRelaxed);
        rig.step_until([&] { return base::load(counter, base::kRelaxed) != before; }, 100'000'000);
    };
    const auto until_acknowledged = [&](GroupRequest request) {
        group.ask(request);
        rig.step_until([&] { return group.acknowledged(); }, 100'000'000);
    };
    counted();
    for (unsigned i = 0; i < 20; ++i) {
        rig.vm.unmap(out.va);
        rig.gpu.write(as_reg(rig.vm.number(), AsReg::command), kAsCommandFlushMem);
        rig.vm.map(out.va, out.host, 1);
        rig.step_until([&] { return rig.gpu.read(as_reg(rig.vm.number(), AsReg::status)) == 0; },
                       100'000'000);
        rig.gpu.write(gpu::Reg::mmu_int_clear, mmu_int_command_done(rig.vm.number()));
        if (group.queue(0).status() == StreamStatus::faulted) break;
        counted();
        until_acknowledged(GroupRequest::suspend);
        group.unbind();
        const std::uint32_t left = base::load(counter, base::kRelaxed);
        for (unsigned k = 0; k < 100; ++k) rig.step();
        EXPECT_EQ(base::load(counter, base::kRelaxed), left) << "a core is still in it";
        group.program(i % 2);
        until_acknowledged(GroupRequest::resume);
        counted();
    }
    until_acknowledged(GroupRequest::terminate);
    stop.store(true);
    for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace belfry::gpu
