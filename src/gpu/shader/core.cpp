#include "gpu/shader/core.hpp"

#include <algorithm>
#include <utility>

#include "belfry/uapi/valhall.hpp"
#include "gpu/shader/execution.hpp"
#include "gpu/shader/program.hpp"
#include "gpu/shader/vectors.hpp"
#include "gpu/shader/workgroup.hpp"

namespace belfry::gpu::shader {
namespace {

using valhall::Mod;
using Name = valhall::Op;

/// What a warp may do before the next one of its workgroup has its turn: warps may wait for each other.
constexpr std::int64_t kTurn = 4096;
constexpr std::int64_t kStartCost = 16;  // of a warp
constexpr std::int64_t kEnterCost = 2;   // of a page of code

/// More than any address of an instruction: no lane waits.
constexpr std::uint64_t kNobody = ~0ULL;

enum class WarpStop : std::uint8_t {
    left,     ///< the steps are used up, or `leave` was set
    waiting,  ///< all lanes that have not ended are at a barrier
    ended,
    faulted,
};

enum class WorkgroupStop : std::uint8_t { left, ended, faulted };

/// Two operands that are read as one of 64 bits.
void fill_pair(Lanes* pair, std::uint64_t value) {
    fill(pair[0], static_cast<std::uint32_t>(value));
    fill(pair[1], static_cast<std::uint32_t>(value >> 32));
}

}  // namespace

struct Core::State {
    Execution execution{};
    std::array<Lanes, kSharedBankLanes> shared{};
    Programs programs{std::span(shared).last(kLiteralCount)};
    LocalIds local_ids{};
    std::uint32_t uniforms_spread = 0;
    std::uint64_t serial = 0;
    std::uint64_t generation = 0;

    State();
    Lanes& bank(OperandIndex index) { return shared[index & ~kSharedBank]; }
    void begin(const Task& task, const Translation& translation, std::uint64_t generation_now);
    void spread(const Job& job);

    WorkgroupStop run_workgroup(Workgroup& workgroup, std::int64_t& steps, const std::atomic<bool>& leave);
    WarpStop run_warp(Warp& warp, const std::atomic<bool>& leave);
    WarpStop fault_at(std::uint64_t pc, std::uint64_t word);
    [[nodiscard]] LaneMask taken(const Op& op) const;
};

Core::State::State() {
    for (unsigned i = 0; i < valhall::kConstantTable.size(); ++i)
        fill(bank(static_cast<OperandIndex>(kConstants + 2 * i)), valhall::kConstantTable[i]);
    for (unsigned lane = 0; lane < kLanes; ++lane) bank(kLaneId)[lane] = lane;
}

/// What all warps of a job share, as operands. Of the uniforms, those that the last job left are cleared.
void Core::State::spread(const Job& job) {
    const std::uint32_t stale = std::exchange(uniforms_spread, job.uniform_count);
    for (std::uint32_t i = 0; i < std::max(stale, job.uniform_count); ++i)
        fill(bank(static_cast<OperandIndex>(kUniforms + i)), i < job.uniform_count ? job.uniforms[i] : 0);
    fill_pair(&bank(kResourceTablePointer), job.resource_table);
    local_ids = LocalIds(job);
}

void Core::State::begin(const Task& task, const Translation& translation, std::uint64_t generation_now) {
    Execution& x = execution;
    const bool same_job = task.serial == serial;
    const bool same_core = same_job && x.core == task.core;
    const bool same_memory = same_job && generation_now == generation;
    x.job = task.job;
    x.core = task.core;
    x.workgroup = task.workgroup;
    x.translation = &translation;
    x.memory.use(translation);
    programs.use(translation);
    if (!same_job) spread(*task.job);
    if (!same_core) {
        fill_pair(&bank(kWorkgroupLocalPointer), workgroup_local_pointer(*task.job, task.core));
        fill(bank(kCoreId), task.core);
    }
    serial = task.serial;
    generation = generation_now;
    if (same_memory) return;
    x.memory.forget();
    x.descriptors.begin(*task.job);
    programs.begin(task.job->program_word);
}

WarpStop Core::State::fault_at(std::uint64_t pc, std::uint64_t word) {
    execution.fault.pc = pc;
    execution.fault.instruction = word;
    return WarpStop::faulted;
}

/// Active lanes whose branch is taken.
LaneMask Core::State::taken(const Op& op) const {
    constexpr std::array<std::uint32_t, 4> kTested = {0, 0xffff, 0xffff'0000, 0xffff'ffff};
    static_assert(valhall::row(Name::branchz).find(Mod::eq)->bits() ==
                  valhall::row(Name::branchzi).find(Mod::eq)->bits());
    const LaneMask set = lanes_with(execution.operands(op.source[0]), kTested[op.write_mask & 3]);
    return (valhall::get<Name::branchz, Mod::eq>(op.word) != 0 ? ~set : set) & execution.active;
}

WarpStop Core::State::run_warp(Warp& warp, const std::atomic<bool>& leave) {
    Execution& x = execution;
    x.operands.bank = {warp.bank.data(), shared.data()};

    // The lanes that run are those of the least pc; it is theirs alone until they pass the least of the
    // others.
    std::uint64_t pc = 0;
    std::uint64_t others = kNobody;
    const auto choose = [&]() -> bool {
        const LaneMask ready = warp.live & ~warp.at_barrier;
        if (ready == 0) return false;
        x.active = warp.running & ready;
        if (x.active == 0) {
            pc = kNobody;
            for (LaneMask rest = ready; rest != 0; rest &= rest - 1)
                pc = std::min(pc, warp.pc[first_of(rest)]);
            for (LaneMask rest = ready; rest != 0; rest &= rest - 1)
                if (warp.pc[first_of(rest)] == pc) x.active |= 1U << first_of(rest);
        }
        pc = warp.pc[first_of(x.active)];
        others = kNobody;
        for (LaneMask rest = ready & ~x.active; rest != 0; rest &= rest - 1)
            others = std::min(others, warp.pc[first_of(rest)]);
        warp.running = 0;
        return true;
    };
    const auto send = [&](LaneMask lanes, std::uint64_t to) {
        for (; lanes != 0; lanes &= lanes - 1) warp.pc[first_of(lanes)] = to;
    };
    const auto nobody_ready = [&] { return warp.live == 0 ? WarpStop::ended : WarpStop::waiting; };
    const auto is_over = [&] { return x.steps <= 0 || leave.load(std::memory_order_relaxed); };
    const auto leave_at = [&](std::uint64_t where) {
        send(x.active, where);
        warp.running = x.active;
        return WarpStop::left;
    };

    if (!choose()) return nobody_ready();
    for (;;) {
        CodePage* const page = pc % kInstructionBytes == 0 ? programs.find(pc >> kPageShift) : nullptr;
        if (page == nullptr) {
            x.raise(csf::Exception::instr_invalid_pc, first_of(x.active));
            return fault_at(pc, 0);
        }
        x.steps -= kEnterCost;
        const std::uint64_t base = pc & ~kPageOffsetMask;
        const auto address_of = [&](const Op* op) {
            return base + static_cast<std::uint64_t>(op - page->ops.data()) * kInstructionBytes;
        };
        const auto word_at = [&](const Op* op) {
            return page->words[static_cast<std::size_t>(op - page->ops.data())];
        };

        const auto go_to = [&](std::uint64_t to) {
            return &page->ops[(to & kPageOffsetMask) / kInstructionBytes];
        };
        Op* op = go_to(pc);
        Op* from = op;  // of what runs in one go
        auto kind = static_cast<OpKind>(op->kind);
        for (bool in_page = true; in_page;) {
            // What the lanes that run do next: at the end of this block, all of them go on at `next`, or, if
            // it is kNobody, warp.pc says where each goes on.
            std::uint64_t next = kNobody;
            switch (kind) {
                case OpKind::undecoded:
                    programs.decode(*page, static_cast<std::size_t>(op - page->ops.data()));
                    kind = static_cast<OpKind>(op->kind);
                    continue;
                case OpKind::reads_pc:
                    fill_pair(&bank(kProgramCounter), address_of(op + 1));
                    kind = Programs::kind_without_pc(*op);
                    continue;
                case OpKind::alu:
                    do {
                        op->alu(*op, x.operands, x.active);
                        ++op;
                        kind = static_cast<OpKind>(op->kind);
                    } while (kind == OpKind::alu);
                    continue;
                case OpKind::nop:
                    ++op;
                    kind = static_cast<OpKind>(op->kind);
                    continue;
                case OpKind::message:
                    if (!op->message(x, *op)) return fault_at(address_of(op), word_at(op));
                    x.steps -= op->cost;
                    ++op;
                    kind = static_cast<OpKind>(op->kind);
                    if (is_over()) [[unlikely]]
                        return leave_at(address_of(op));
                    continue;
                case OpKind::alu_then_flow:
                    op->alu(*op, x.operands, x.active);
                    next = address_of(op + 1);
                    break;
                case OpKind::message_then_flow:
                    if (!op->message(x, *op)) return fault_at(address_of(op), word_at(op));
                    x.steps -= op->cost;
                    next = address_of(op + 1);
                    break;
                case OpKind::nop_then_flow: next = address_of(op + 1); break;
                case OpKind::branch:        {
                    next = address_of(op + 1);
                    const std::uint64_t target =
                        next + valhall::get<Name::branchz, Mod::offset>(op->word) * kInstructionBytes;
                    const LaneMask jump = taken(*op);
                    if (jump == x.active) {
                        next = target;
                    } else if (jump != 0) {
                        send(x.active & ~jump, next);
                        send(jump, target);
                        next = kNobody;
                    }
                    break;
                }
                case OpKind::branch_indirect: {
                    const std::uint64_t high = address_of(op) & 0xffff'ffff'0000'0000;
                    const LaneMask jump = taken(*op);
                    send(x.active & ~jump, address_of(op + 1));
                    for (LaneMask rest = jump; rest != 0; rest &= rest - 1)
                        warp.pc[first_of(rest)] = high | x.operands(op->source[1])[first_of(rest)];
                    break;
                }
                case OpKind::barrier:
                    send(x.active, address_of(op + 1));
                    warp.at_barrier |= x.active;
                    break;
                case OpKind::page_end:
                    next = address_of(op);
                    x.steps -= op - from;
                    if (is_over()) return leave_at(next);
                    pc = next;
                    in_page = false;
                    continue;
                case OpKind::invalid:
                    x.raise(csf::Exception::instr_invalid_enc, first_of(x.active));
                    return fault_at(address_of(op), word_at(op));
            }

            x.steps -= op - from + 1;
            if (op->flow == static_cast<std::uint8_t>(valhall::Flow::end)) {
                warp.live &= ~x.active;
                warp.at_barrier &= ~x.active;
                next = kNobody;
            }
            if (next < others) [[likely]] {
                pc = next;
                if (is_over()) [[unlikely]]
                    return leave_at(pc);
            } else {
                if (next != kNobody) send(x.active, next);
                if (!choose()) return nobody_ready();
                if (is_over()) {
                    warp.running = x.active;
                    return WarpStop::left;
                }
            }
            in_page = (pc & ~kPageOffsetMask) == base && pc % kInstructionBytes == 0;
            if (!in_page) continue;
            op = from = go_to(pc);
            kind = static_cast<OpKind>(op->kind);
        }
    }
}

WorkgroupStop Core::State::run_workgroup(Workgroup& workgroup, std::int64_t& steps,
                                         const std::atomic<bool>& leave) {
    for (;;) {
        bool ran = false;
        bool lives = false;
        // Once around; from where the last call left off.
        for (std::uint32_t i = 0; i < workgroup.warp_count; ++i) {
            const std::uint32_t index = workgroup.turn;
            workgroup.turn = index + 1 == workgroup.warp_count ? 0 : index + 1;
            Warp& warp = workgroup.warps[index];
            if (warp.live == 0) continue;
            lives = true;
            if ((warp.live & ~warp.at_barrier) == 0) continue;
            ran = true;
            const std::int64_t turn = std::min(steps, kTurn);
            execution.steps = turn;
            execution.first_lane = index * kLanes;
            if (run_warp(warp, leave) == WarpStop::faulted) return WorkgroupStop::faulted;
            steps -= turn - execution.steps;
            if (steps <= 0 || leave.load(std::memory_order_relaxed)) return WorkgroupStop::left;
        }
        if (ran) continue;
        if (!lives) return WorkgroupStop::ended;
        // All that live have arrived.
        for (std::uint32_t i = 0; i < workgroup.warp_count; ++i) workgroup.warps[i].at_barrier = 0;
    }
}

Core::Core() : state_(std::make_unique<State>()) {}
Core::~Core() = default;

const Fault& Core::fault() const { return state_->execution.fault; }

Outcome Core::run(Task& task, const Translation& translation, std::uint64_t generation, std::uint32_t steps,
                  const std::atomic<bool>& leave) {
    state_->begin(task, translation, generation);
    Workgroup& workgroup = *task.workgroup;
    std::int64_t left = std::max(steps, 1U);
    for (;;) {
        if (workgroup.warp_count == 0) {
            if (task.next == task.end) return Outcome::finished;
            if (left <= 0 || leave.load(std::memory_order_relaxed)) return Outcome::paused;
            start_workgroup(task, state_->local_ids);
            left -= kStartCost * workgroup.warp_count;
        }
        const WorkgroupStop stop = state_->run_workgroup(workgroup, left, leave);
        workgroup.written |= state_->programs.written();
        if (stop == WorkgroupStop::left) return Outcome::paused;
        if (stop == WorkgroupStop::faulted) return Outcome::faulted;
        workgroup.warp_count = 0;
        ++task.next;
    }
}

}  // namespace belfry::gpu::shader
