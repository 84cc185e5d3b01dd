// Atomics: each operation against its formula, and against other cores that run at the same time.
#include <functional>
#include <thread>

#include "unit/shader_rig.hpp"

namespace belfry::gpu::shader {
namespace {

template <typename T>
struct Operation {
    std::string name;
    std::function<T(T, T)> apply;
};

template <typename T>
std::vector<Operation<T>> operations() {
    using Signed = std::make_signed_t<T>;
    const auto is_signed = [](T value) { return static_cast<Signed>(value); };
    return {{"aadd", [](T a, T b) { return a + b; }},
            {"aand", [](T a, T b) { return a & b; }},
            {"aor", [](T a, T b) { return a | b; }},
            {"axor", [](T a, T b) { return a ^ b; }},
            {"axchg", [](T, T b) { return b; }},
            {"aumin", [](T a, T b) { return a < b ? a : b; }},
            {"aumax", [](T a, T b) { return a > b ? a : b; }},
            {"asmin", [=](T a, T b) { return is_signed(a) < is_signed(b) ? a : b; }},
            {"asmax", [=](T a, T b) { return is_signed(a) > is_signed(b) ? a : b; }}};
}

/// Operands of the threads: signs of both kinds, in no order.
std::uint32_t operand(std::uint32_t thread) { return (thread + 1) * 0x9e37'79b9U; }

TEST(ShaderAtomic, EachOperationOf32BitsIsThatOfItsName) {
    // All threads change one word; then each one word of its own.
    for (const auto& operation : operations<std::uint32_t>()) {
        ShaderRig rig(R"(
            IADD_IMM.i32 r6, r60, #0x1
            IMUL.i32 r6, r6, u4
            SHADDX.u64 r0, u0, r60.w0, shift:2
            ATOM_RETURN.i32.slot0.)" +
                      operation.name + R"(.wait0 @r8, @r6, u0, offset:0x80
            STORE.i32.slot0.wait0 @r8, r0, offset:0
            ATOM.i32.slot0.)" +
                      operation.name + R"(.wait0 @r6, r0, offset:0xC0
            NOP.end
        )");
        rig.uniform(4, 0x9e37'79b9U);
        constexpr std::uint32_t kBefore = 0x7123'4567;
        for (std::uint32_t i = 0; i < 64; ++i) rig.set_out(i, kBefore);
        ASSERT_EQ(rig.run(), Outcome::finished);
        std::uint32_t word = kBefore;
        for (std::uint32_t thread = 0; thread < kLanes; ++thread) {
            EXPECT_EQ(rig.out(thread), word) << operation.name << thread;
            word = operation.apply(word, operand(thread));
            EXPECT_EQ(rig.out(48 + thread), operation.apply(kBefore, operand(thread)));
        }
        EXPECT_EQ(rig.out(32), word) << operation.name;
    }
}

TEST(ShaderAtomic, EachOperationOf64BitsIsThatOfItsName) {
    for (const auto& operation : operations<std::uint64_t>()) {
        ShaderRig rig(R"(
            IADD_IMM.i32 r6, r60, #0x1
            IMUL.i32 r7, r6, u4
            SHADDX.u64 r0, u0, r60.w0, shift:3
            ATOM_RETURN.i64.slot0.)" +
                      operation.name + R"(.wait0 @r8:r9, @r6:r7, u0, offset:0xC0
            STORE.i64.slot0.wait0 @r8:r9, r0, offset:0
            NOP.end
        )");
        rig.uniform(4, 0x9e37'79b9U);
        constexpr std::uint64_t kBefore = 0x7123'4567'89ab'cdef;
        rig.memory.put(kOut + 0xc0, kBefore);
        ASSERT_EQ(rig.run(), Outcome::finished);
        std::uint64_t word = kBefore;
        for (std::uint32_t thread = 0; thread < kLanes; ++thread) {
            EXPECT_EQ(rig.memory.get<std::uint64_t>(kOut + 8 * thread), word) << operation.name << thread;
            word = operation.apply(word, (thread + 1) | std::uint64_t{operand(thread)} << 32);
        }
        EXPECT_EQ(rig.memory.get<std::uint64_t>(kOut + 0xc0), word) << operation.name;
    }
}

TEST(ShaderAtomic, CompareExchangeReplacesWhatItExpects) {
    // Thread i expects i and leaves i + 1: all succeed, one after the other. Then all expect 3.
    ShaderRig rig(R"(
        IADD_IMM.i32 r4, r60, #0x1
        MOV.i32 r5, r60
        SHADDX.u64 r0, u0, r60.w0, shift:2
        ATOM_RETURN.i32.slot0.compare.axchg.wait0 @r8, @r4:r5, u0, offset:0x80
        STORE.i32.slot0.wait0 @r8, r0, offset:0
        IADD_IMM.i32 r5, 0x0, #0x3
        ATOM_RETURN.i32.slot0.compare.axchg.wait0 @r8, @r4:r5, u0, offset:0x84
        STORE.i32.slot0.wait0 @r8, r0, offset:64
        NOP.end
    )");
    rig.set_out(33, 3);
    ASSERT_EQ(rig.run(), Outcome::finished);
    for (std::uint32_t thread = 0; thread < kLanes; ++thread) {
        EXPECT_EQ(rig.out(thread), thread);
        EXPECT_EQ(rig.out(16 + thread), thread == 0 ? 3U : 1U);
    }
    EXPECT_EQ(rig.out(32), 16U);
    EXPECT_EQ(rig.out(33), 1U);
}

TEST(ShaderAtomic, CompareExchangeOf64BitsComparesBothWords) {
    ShaderRig rig(R"(
        MOV.i32 r4, r60
        IADD_IMM.i32 r5, 0x0, #0xAA
        IADD_IMM.i32 r6, 0x0, #0x7
        MOV.i32 r7, r60
        SHADDX.u64 r0, u0, r60.w0, shift:3
        ATOM_RETURN.i64.slot0.compare.axchg.wait0 @r8:r9, @r4:r5:r6:r7, u0, offset:0xC0
        STORE.i64.slot0.wait0 @r8:r9, r0, offset:0
        NOP.end
    )");
    rig.memory.put(kOut + 0xc0, std::uint64_t{0x5'0000'0007});
    ASSERT_EQ(rig.run(), Outcome::finished);
    EXPECT_EQ(rig.memory.get<std::uint64_t>(kOut + 0xc0), 0xaa'0000'0005U);
    EXPECT_EQ(rig.memory.get<std::uint64_t>(kOut + 8 * 5), 0x5'0000'0007U);
    EXPECT_EQ(rig.memory.get<std::uint64_t>(kOut + 8 * 6), 0xaa'0000'0005U);
}

TEST(ShaderAtomic, OneIsImplied) {
    constexpr struct {
        const char* name;
        std::uint32_t before, after;
    } kCases[] = {{"ainc", 5, 21},  {"adec", 5, 0xffff'fff5}, {"aumax1", 0, 1}, {"asmax1", 0xffff'ffff, 1},
                  {"aumax1", 9, 9}, {"aor1", 0x10, 0x11}};
    for (const auto& one : kCases) {
        ShaderRig rig(std::string(R"(
            IADD_IMM.i32 r8, 0x0, #0x33
            ATOM1_RETURN.i32.slot0.)") +
                      one.name + R"(.wait0 @r8, u0, offset:0x80
            ATOM1_RETURN.i32.slot0.)" +
                      one.name + R"(.wait0 @, u0, offset:0x84
            SHADDX.u64 r0, u0, r60.w0, shift:2
            STORE.i32.slot0.wait0 @r8, r0, offset:0
            NOP.end
        )");
        rig.set_out(32, one.before);
        rig.set_out(33, one.before);
        ASSERT_EQ(rig.run(), Outcome::finished);
        EXPECT_EQ(rig.out(0), one.before) << one.name;
        EXPECT_EQ(rig.out(32), one.after) << one.name;
        EXPECT_EQ(rig.out(33), one.after) << one.name;
    }
}

TEST(ShaderAtomic, CoresOnTwoThreadsLoseNoUpdate) {
    ShaderRig rig(R"(
        IADD_IMM.i32 r20, 0x0, #100
        IADD_IMM.i32 r4, 0x0, #0x1
    loop:
        ATOM.i32.slot0.aadd.wait0 @r4, u0, offset:0x0
        ATOM1_RETURN.i32.slot0.ainc.wait0 @r5, u0, offset:0x4
        ATOM.i32.slot0.aumax.wait0 @r5, u0, offset:0x8
        IADD_IMM.i32 r20, r20, #0xFFFFFFFF
        BRANCHZ.reconverge r20, offset:loop
        NOP.end
    )");
    rig.grid = {16, 1, 1};
    ASSERT_TRUE(rig.start(8));
    std::array<std::thread, 2> threads;
    for (std::size_t i = 0; i < threads.size(); ++i)
        threads[i] = std::thread([&rig, i] {
            while (rig.cores[i]->run(rig.tasks[i].task, rig.memory, rig.generation, 500, rig.leave) ==
                   Outcome::paused) {
            }
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(rig.out(0), 16U * 16 * 100);
    EXPECT_EQ(rig.out(1), 16U * 16 * 100);
    EXPECT_EQ(rig.out(2), 16U * 16 * 100 - 1);
}

}  // namespace
}  // namespace belfry::gpu::shader
