#include "sim/compute.hpp"

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "uapi/shader_assembler.hpp"

namespace belfry::panthor::sim {
namespace {

// u0 u1: the counter, u2: turns, u3: the job, u4 u5: the greatest count, u6 u7: the last job of each thread.
constexpr std::array<std::string_view, 3> kShaders{
    R"(
    IADD_IMM.i32 r0, 0x0, #0x0
    loop:
    IADD.u32 r2, u0, 0x0
    IADD.u32 r3, u1, 0x0
    IADD_IMM.i32 r4, 0x0, #0x1
    ATOM_RETURN.i32.slot0.aadd.wait0 @r6, @r4, r2, offset:0x0
    IADD_IMM.i32 r6, r6, #0x1
    IADD.u32 r2, u4, 0x0
    IADD.u32 r3, u5, 0x0
    ATOM.i32.slot0.aumax.wait0 @r6, r2, offset:0x0
    IADD_IMM.i32 r0, r0, #0x1
    ICMP_OR.u32.lt.m1 r1, r0, u2, 0x0
    BRANCHZ.reconverge r1, offset:loop
    IADD.u32 r4, u3, 0x0
    SHADDX.u64 r2, u6, r60.w0, shift:0x2
    ATOM.i32.slot0.aumax.wait0 @r4, ^r2, offset:0x0
    NOP.end
)",
    R"(
    loop:
    BRANCHZ.eq.reconverge 0x0, offset:loop
    NOP.end
)",
    ".word 0x8000000000000000\n"};

constexpr std::uint64_t kCodeBytes = 256;  // of a shader; descriptors follow
constexpr std::uint64_t kDescriptorsOffset = kShaders.size() * kCodeBytes;
constexpr std::uint64_t kDescriptorBytes = 64;
constexpr std::uint64_t kLocalStorageOffset = kDescriptorsOffset + kShaders.size() * kDescriptorBytes;
constexpr std::uint64_t kMarksOffset = kLocalStorageOffset + kDescriptorBytes;
constexpr std::uint64_t kUnmapped = 0x5000'0000;

}  // namespace

std::uint64_t SimCompute::marks_offset(unsigned lane) const { return kMarksOffset + lane * sizeof(Marks); }
std::uint64_t SimCompute::uniforms_offset(unsigned lane, unsigned job) const {
    return marks_offset(lanes_) + (lane * jobs_ + job % jobs_) * sizeof(Uniforms);
}

SimCompute::SimCompute(Client& client, Draw& draw, unsigned lanes, unsigned jobs)
    : draw_(draw),
      lanes_(lanes),
      jobs_(jobs),
      memory_(client.memory(0, (uniforms_offset(lanes, 0) + kPage - 1) / kPage * kPage)),
      done_(lanes) {
    static const auto kWords = [] {
        std::array<std::vector<std::uint64_t>, kShaders.size()> all;
        for (std::size_t i = 0; i < all.size(); ++i) {
            const auto words = valhall::assemble(kShaders[i]);
            if (!words) throw std::invalid_argument(words.error());
            all[i] = *words;
        }
        return all;
    }();
    for (std::size_t i = 0; i < kWords.size(); ++i) {
        std::ranges::copy(kWords[i], &memory_.u64(i * kCodeBytes));
        const std::uint64_t descriptor = kDescriptorsOffset + i * kDescriptorBytes;
        memory_.as<std::uint32_t>(descriptor) = 8 | 1U << 4;  // Shader Program descriptor: compute
        memory_.as<std::uint32_t>(descriptor + 4) = 0xffff;
        memory_.u64(descriptor + 8) = memory_.va + i * kCodeBytes;
    }
    memory_.as<std::uint32_t>(kLocalStorageOffset + 4) = 31;  // none
}

Program SimCompute::run(unsigned lane, unsigned job, std::uint64_t counter, End end) {
    const std::uint32_t groups = 1 + draw_.below(4);
    const std::uint32_t threads = 1 + draw_.below(kThreadsMax / 4);
    const std::uint32_t turns = 1 + draw_.below(3);
    draw_.say("... computes, end", lane, static_cast<unsigned>(end));
    const std::uint64_t marks = memory_.va + marks_offset(lane);
    if (counter == 0) counter = marks + offsetof(Marks, counter);
    const std::uint64_t at = uniforms_offset(lane, job);
    memory_.as<Uniforms>(at) = {.counter = end == End::page_fault ? kUnmapped : counter,
                                .turns = turns,
                                .mark = job + 1,
                                .seen = marks + offsetof(Marks, seen),
                                .last = marks + offsetof(Marks, last)};
    if (end == End::sound) {
        const std::uint32_t before = done_[lane].empty() ? 0 : done_[lane].back().counted;
        done_[lane].push_back(
            {.job = job, .threads = groups * threads, .counted = before + groups * threads * turns});
    }
    const Shader shader = end == End::endless ? Shader::endless
                          : end == End::fault ? Shader::fault
                                              : Shader::count;
    const std::uint64_t uniforms = (memory_.va + at) | std::uint64_t{sizeof(Uniforms) / 8} << 56;
    const std::uint64_t program =
        memory_.va + kDescriptorsOffset + static_cast<unsigned>(shader) * kDescriptorBytes;
    return [=, storage = memory_.va + kLocalStorageOffset](W& w) {
        w.move48(d(0), 0)
            .move32(r(8), static_cast<std::uint32_t>(uniforms))
            .move32(r(9), static_cast<std::uint32_t>(uniforms >> 32))
            .move48(d(16), program)
            .move48(d(24), storage)
            .move48(d(32), std::uint64_t{threads - 1} << 32)
            .move48(d(34), 0)
            .move48(d(36), std::uint64_t{groups} << 32)
            .move48(d(38), 1 | 1ULL << 32)
            .word(csf::encode<csf::Op::run_compute>(csf::Operand<csf::Arg::task_increment>{1}));
    };
}

void SimCompute::take_back(unsigned lane, unsigned job) {
    if (!done_[lane].empty() && done_[lane].back().job == job) done_[lane].pop_back();
}

void SimCompute::check(unsigned lane, std::uint64_t value, unsigned submitted) const {
    const Marks& marks = memory_.as<Marks>(marks_offset(lane));
    const auto& jobs = done_[lane];
    if (jobs.empty()) return;
    std::uint32_t counted = 0;
    std::array<std::uint32_t, kThreadsMax> last{};
    // What is older than the jobs of a schedule and a half is covered by what is younger.
    for (std::size_t i = jobs.size() - std::min<std::size_t>(jobs.size(), 2UL * jobs_); i < jobs.size();
         ++i) {
        if (jobs[i].job >= value) break;
        counted = jobs[i].counted;
        std::fill_n(last.begin(), jobs[i].threads, jobs[i].job + 1);
    }
    EXPECT_GE(marks.seen, counted) << "lane " << lane << " has not done what its value tells of: " << value;
    EXPECT_LE(marks.seen, jobs.back().counted) << "lane " << lane << " has done something twice";
    for (unsigned i = 0; i < kThreadsMax; ++i) {
        EXPECT_GE(marks.last[i], last[i]) << "lane " << lane << ", thread " << i;
        EXPECT_LE(marks.last[i], submitted) << "lane " << lane << ", thread " << i;
    }
}

}  // namespace belfry::panthor::sim
