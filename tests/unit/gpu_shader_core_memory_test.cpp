// LOAD and STORE of all sizes, wherever they lie, and what local memory threads have.
#include <array>
#include <set>

#include "unit/shader_rig.hpp"

namespace belfry::gpu::shader {
namespace {

/// Memory under test: patterned, away from out().
constexpr std::uint64_t kField = 0x40'0000'0000;
constexpr std::size_t kFieldBytes = 3 * kPageBytes;

std::uint8_t pattern(std::uint64_t offset) {
    return static_cast<std::uint8_t>(offset * 37 + offset / 256 + 11);
}
std::uint32_t pattern(std::uint64_t offset, unsigned bytes) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < bytes; ++i) value |= std::uint32_t{pattern(offset + i)} << (8 * i);
    return value;
}

class ShaderMemory : public testing::Test {
  protected:
    ShaderMemory() {
        rig.memory.map(kField, kFieldBytes);
        for (std::uint64_t i = 0; i < kFieldBytes; ++i) rig.memory.put(kField + i, pattern(i));
    }
    /// Runs `body` with the address of the field + first + stride * thread in r2 r3.
    Outcome run(std::uint64_t first, std::uint32_t stride, std::string_view body) {
        const std::uint64_t address = kField + first;
        rig.uniform(2, static_cast<std::uint32_t>(address));
        rig.uniform(3, static_cast<std::uint32_t>(address >> 32));
        rig.uniform(4, stride);
        rig.program("IMUL.i32 r4, r60, u4\nSHADDX.u64 r2, u2, r4.w0, shift:0\n" + std::string(body));
        return rig.run();
    }

    ShaderRig rig;
};

struct Size {
    std::string name;
    unsigned bytes;
    std::string registers;
};
const Size kSizes[] = {
    {"i8", 1, "@r8"},     {"i16", 2, "@r8"},    {"i24", 3, "@r8"},         {"i32", 4, "@r8"},
    {"i48", 6, "@r8:r9"}, {"i64", 8, "@r8:r9"}, {"i96", 12, "@r8:r9:r10"}, {"i128", 16, "@r8:r9:r10:r11"}};

/// Consecutive, all the same, scattered, misaligned, over several pages.
std::array<std::uint32_t, 5> strides(unsigned bytes) { return {bytes, 0, 40, 7, 500}; }
/// In the middle of a page, at its end, across it in the middle of a value.
constexpr std::uint64_t kFirsts[] = {64, kPageBytes - 64, kPageBytes - 33};

TEST_F(ShaderMemory, LoadsOfEachSizeGiveTheBytesThatLieThere) {
    for (const Size& size : kSizes) {
        for (const std::uint32_t stride : strides(size.bytes)) {
            for (const std::uint64_t first : kFirsts) {
                ASSERT_EQ(
                    run(first - 48, stride,
                        "LOAD." + size.name + ".unsigned.slot0.wait0 " + size.registers + R"(, r2, offset:48
                    SHADDX.u64 r0, u0, r60.w0, shift:4
                    STORE.i128.slot0 @r8:r9:r10:r11, r0, offset:0
                    NOP.end
                )"),
                    Outcome::finished);
                for (std::uint32_t thread = 0; thread < kLanes; ++thread)
                    for (unsigned i = 0; i < (size.bytes + 3) / 4; ++i)
                        ASSERT_EQ(rig.out(4 * thread + i),
                                  pattern(first + stride * thread + 4 * i, std::min(4U, size.bytes - 4 * i)))
                            << size.name << " first " << first << " stride " << stride << " thread "
                            << thread;
            }
        }
    }
}

TEST_F(ShaderMemory, StoresOfEachSizeChangeTheirBytesAlone) {
    for (const Size& size : kSizes) {
        for (const std::uint32_t stride : strides(size.bytes)) {
            for (const std::uint64_t first : kFirsts) {
                std::vector<std::uint8_t> expected(kFieldBytes);
                for (std::uint64_t i = 0; i < kFieldBytes; ++i) expected[i] = pattern(i);
                rig.memory.write(kField, std::as_bytes(std::span(expected)));
                ASSERT_EQ(run(first + 16, stride,
                              R"(
                    IADD_IMM.i32 r8, r60, #0x04030200
                    IADD_IMM.i32 r9, r60, #0x08070600
                    IADD_IMM.i32 r10, r60, #0x0c0b0a00
                    IADD_IMM.i32 r11, r60, #0x100f0e00
                )" + ("STORE." + size.name) +
                                  ".slot0 " + size.registers + ", r2, offset:-16\nNOP.end\n"),
                          Outcome::finished);
                // One thread after the other: the last one wins.
                for (std::uint32_t thread = 0; thread < kLanes; ++thread)
                    for (unsigned i = 0; i < size.bytes; ++i)
                        expected[first + stride * thread + i] =
                            static_cast<std::uint8_t>(i % 4 == 0 ? thread : i + 1);
                ASSERT_EQ(rig.memory.bytes(kField, kFieldBytes), expected)
                    << size.name << " first " << first << " stride " << stride;
            }
        }
    }
}

TEST_F(ShaderMemory, LanesThatDoNotRunNeitherLoadNorStore) {
    // Odd threads would load from nowhere.
    ASSERT_EQ(run(0, 4, R"(
        IADD_IMM.i32 r5, 0x0, #0x1
        LSHIFT_AND.i32 r4, r60, 0x0.b00, r5
        IADD_IMM.i32 r8, 0x0, #0x77
        BRANCHZ.eq.reconverge r4, offset:even
        IADD_IMM.i32 r3, 0x0, #0xFFFF
        BRANCHZ.eq.reconverge 0x0, offset:join
    even:
        LOAD.i32.unsigned.slot0.wait0 @r8, r2, offset:0
        STORE.i32.slot0.wait0.reconverge @r5, r2, offset:0
    join:
        SHADDX.u64 r0, u0, r60.w0, shift:2
        STORE.i32.slot0 @r8, r0, offset:0
        NOP.end
    )"),
              Outcome::finished);
    for (std::uint32_t thread = 0; thread < kLanes; ++thread) {
        const bool even = thread % 2 == 0;
        EXPECT_EQ(rig.out(thread), even ? pattern(4 * thread, 4) : 0x77);
        EXPECT_EQ(rig.memory.get<std::uint32_t>(kField + 4 * thread), even ? 1 : pattern(4 * thread, 4));
    }
}

TEST_F(ShaderMemory, LoadsOfPartsGoWhereTheyAreTold) {
    struct Form {
        const char* load;
        unsigned bytes;
        unsigned bits, shift;
        bool sign;
    };
    constexpr Form kForms[] = {{"LOAD.i8.unsigned.slot0 @r8", 1, 8, 0, false},
                               {"LOAD.i8.b1.unsigned.slot0 @r8", 1, 8, 8, false},
                               {"LOAD.i8.b2.slot0 @r8", 1, 8, 16, true},
                               {"LOAD.i8.b3.unsigned.slot0 @r8", 1, 8, 24, false},
                               {"LOAD.i8.h0.slot0 @r8", 1, 16, 0, true},
                               {"LOAD.i8.h1.unsigned.slot0 @r8", 1, 16, 16, false},
                               {"LOAD.i8.h1.slot0 @r8", 1, 16, 16, true},
                               {"LOAD.i8.w0.slot0 @r8", 1, 32, 0, true},
                               {"LOAD.i8.w0.unsigned.slot0 @r8", 1, 32, 0, false},
                               {"LOAD.i8.d0.slot0 @r8:r9", 1, 64, 0, true},
                               {"LOAD.i8.d0.unsigned.slot0 @r8:r9", 1, 64, 0, false},
                               {"LOAD.i16.unsigned.slot0 @r8", 2, 16, 0, false},
                               {"LOAD.i16.h1.slot0 @r8", 2, 16, 16, true},
                               {"LOAD.i16.w0.slot0 @r8", 2, 32, 0, true},
                               {"LOAD.i16.d0.slot0 @r8:r9", 2, 64, 0, true},
                               {"LOAD.i16.d0.unsigned.slot0 @r8:r9", 2, 64, 0, false},
                               {"LOAD.i32.slot0 @r8", 4, 32, 0, true},
                               {"LOAD.i32.d0.slot0 @r8:r9", 4, 64, 0, true},
                               {"LOAD.i32.d0.unsigned.slot0 @r8:r9", 4, 64, 0, false}};
    for (const Form& form : kForms) {
        for (const std::string_view what : {"LOAD", "LD_BUFFER"}) {
            constexpr std::uint64_t kBefore = 0xa5a5'a5a5'a5a5'a5a5;
            rig.buffer(5, kField, kFieldBytes);
            const std::string text = std::string(form.load);
            const std::string load =
                what == "LOAD" ? text + ", r2, offset:0" : "LD_BUFFER" + text.substr(4) + ", r4, r12";
            ASSERT_EQ(run(0, 41, R"(
                IADD_IMM.i32 r8, 0x0, #0xa5a5a5a5
                IADD_IMM.i32 r9, 0x0, #0xa5a5a5a5
                IADD_IMM.i32 r12, 0x0, #0x5
            )" + load + R"(
                SHADDX.u64 r0, u0, r60.w0, shift:3
                STORE.i64.slot0 @r8:r9, r0, offset:0
                NOP.end
            )"),
                      Outcome::finished);
            for (std::uint32_t thread = 0; thread < kLanes; ++thread) {
                std::uint64_t value = pattern(41 * thread, form.bytes);
                const unsigned unused = 64 - 8 * form.bytes;
                if (form.sign)
                    value = static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
                const std::uint64_t mask = (~0ULL >> (64 - form.bits)) << form.shift;
                const std::uint64_t expected = (kBefore & ~mask) | (value << form.shift & mask);
                EXPECT_EQ(rig.out(2 * thread) | std::uint64_t{rig.out(2 * thread + 1)} << 32, expected)
                    << load << " thread " << thread;
            }
        }
    }
}

TEST_F(ShaderMemory, AnAddressThatHasBeenUnmappedIsNoLongerThere) {
    constexpr std::string_view kLoad = R"(
        LOAD.i32.unsigned.slot0.wait0 @r8, r2, offset:0
        SHADDX.u64 r0, u0, r60.w0, shift:2
        STORE.i32.slot0 @r8, r0, offset:0
        NOP.end
    )";
    ASSERT_EQ(run(0, 4, kLoad), Outcome::finished);
    rig.memory.unmap(kField);
    ++rig.generation;
    ASSERT_EQ(run(0, 4, kLoad), Outcome::faulted);
    EXPECT_EQ(rig.fault->address, kField);
    rig.memory.map(kField, kPageBytes);
    rig.memory.put(kField, 0x1234U);
    ++rig.generation;
    ASSERT_EQ(run(0, 4, kLoad), Outcome::finished);
    EXPECT_EQ(rig.out(0), 0x1234U);
}

TEST_F(ShaderMemory, MemoryThatChangesItsPlaceInTheMiddleOfATaskIsFound) {
    // Loads twice, with an endless loop in between that the test ends.
    rig.memory.put(kField, 1U);
    rig.memory.put(kField + 4, 1U);
    const std::uint64_t address = kField;
    rig.uniform(2, static_cast<std::uint32_t>(address));
    rig.uniform(3, static_cast<std::uint32_t>(address >> 32));
    rig.program(R"(
    loop:
        LOAD.i32.unsigned.slot0.wait0 @r8, u2, offset:0
        BRANCHZ.reconverge r8, offset:loop
        LOAD.i32.unsigned.slot0.wait0 @r8, u2, offset:4
        STORE.i32.slot0 @r8, u0, offset:0
        NOP.end
    )");
    ASSERT_TRUE(rig.start());
    ASSERT_EQ(rig.step(0, 0, 100), Outcome::paused);
    rig.memory.map(kField, kPageBytes);
    rig.memory.put(kField + 4, 2U);
    ++rig.generation;
    ASSERT_EQ(rig.step(0, 0, 100), Outcome::finished);
    EXPECT_EQ(rig.out(0), 2U);
}

TEST_F(ShaderMemory, EachThreadInFlightHasThreadLocalMemoryOfItsOwn) {
    rig.grid = {8, 1, 1};
    rig.threads = {128, 1, 1};
    rig.program(R"(
        MOV.i32 r8, thread_local_pointer.w0
        MOV.i32 r9, thread_local_pointer.w1
        SHADDX.u64 r0, u0, r60.w0, shift:3
        STORE.i64.slot0 @r8:r9, r0, offset:0
        NOP.end
    )");
    ASSERT_TRUE(rig.start(2));
    for (std::size_t task = 0; task < kCores; ++task)
        ASSERT_EQ(rig.step(task, 0, 1U << 20), Outcome::finished);
    // Tasks follow each other in one share; different shares never meet.
    std::set<std::uint64_t> slots;
    for (std::uint32_t thread = 0; thread < 1024; ++thread) {
        const std::uint64_t pointer = rig.out(2 * thread) | std::uint64_t{rig.out(2 * thread + 1)} << 32;
        const std::uint32_t core = thread / 256;
        EXPECT_EQ(pointer,
                  kThreadLocal + (core * kThreadsPerCore + thread % 128) * ShaderRig::kThreadLocalBytes);
        slots.insert(pointer);
    }
    EXPECT_EQ(slots.size(), 512U);
}

TEST_F(ShaderMemory, EachCoreHasWorkgroupMemoryOfItsOwn) {
    rig.grid = {kCores, 1, 1};
    rig.program(R"(
        MOV.i32 r8, workgroup_local_pointer.w0
        MOV.i32 r9, workgroup_local_pointer.w1
        SHADDX.u64 r0, u0, r60.w0, shift:3
        STORE.i64.slot0 @r8:r9, r0, offset:0
        NOP.end
    )");
    ASSERT_EQ(rig.run_in_pieces(1, 10), Outcome::finished);
    for (std::uint32_t thread = 0; thread < kCores * kLanes; ++thread)
        EXPECT_EQ(rig.out(2 * thread), kWorkgroupLocal + thread / kLanes * ShaderRig::kWorkgroupLocalBytes);
}

}  // namespace
}  // namespace belfry::gpu::shader
