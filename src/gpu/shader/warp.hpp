// Warp: 16 lanes that run one program, and how an instruction finds its operands in them.
//
// Owns   nothing; a Workgroup (workgroup.hpp) owns its warps.
// Runs   on whatever thread runs a Core.
//
// Every operand is a whole register of 16 lanes, wherever it comes from, so that no instruction asks what its
// operand is. An operand's index has its bank in the top bit: the warp's own registers, or what all warps of
// a core share while a task runs (uniforms, constants, pointers), spread over 16 lanes once a job.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace belfry::gpu::shader {

inline constexpr unsigned kLanes = 16;
inline constexpr unsigned kRegisters = 64;
/// One bit a lane.
using LaneMask = std::uint32_t;
inline constexpr LaneMask kAllLanes = (1U << kLanes) - 1;

/// One 32-bit register of a warp. The alignment is that of the widest vectors.
struct alignas(64) Lanes {
    std::array<std::uint32_t, kLanes> word;

    std::uint32_t& operator[](std::size_t lane) { return word[lane]; }
    const std::uint32_t& operator[](std::size_t lane) const { return word[lane]; }
};
static_assert(sizeof(Lanes) == 64);

/// Where an operand lies. 64-bit operands are an operand and the one after it.
using OperandIndex = std::uint16_t;
inline constexpr OperandIndex kSharedBank = 0x8000;

// The warp's bank: r0 ... r63, then the special values that differ between warps.
inline constexpr OperandIndex kThreadLocalPointer = kRegisters;  // low, high
inline constexpr OperandIndex kWarpId = kRegisters + 2;          // w0, w1
inline constexpr unsigned kWarpBankLanes = kRegisters + 4;

// The shared bank.
inline constexpr OperandIndex kUniforms = kSharedBank;                   // 256 words: 4 pages of 64
inline constexpr OperandIndex kConstants = kUniforms + 256;              // 32: each followed by a zero ...
inline constexpr OperandIndex kWorkgroupLocalPointer = kConstants + 64;  // ... for 64-bit reads; low, high
inline constexpr OperandIndex kResourceTablePointer = kWorkgroupLocalPointer + 2;
inline constexpr OperandIndex kLaneId = kResourceTablePointer + 2;
inline constexpr OperandIndex kCoreId = kLaneId + 2;
inline constexpr OperandIndex kZero = kCoreId + 2;          // specials that are not defined here read 0
inline constexpr OperandIndex kProgramCounter = kZero + 2;  // written before each instruction that reads it
inline constexpr unsigned kSharedBankLanes = (kProgramCounter + 2) & ~kSharedBank;

/// The registers of a warp and where its lanes stand. Trivially copyable: SUSPEND saves it as it is.
struct Warp {
    std::array<Lanes, kWarpBankLanes> bank;
    /// Each lane's next instruction; what a dead lane has there says nothing.
    std::array<std::uint64_t, kLanes> pc;
    LaneMask live;        // lanes that have not ended
    LaneMask at_barrier;  // lanes that wait for the rest of the workgroup
};

/// The two banks of the warp that runs.
struct Operands {
    std::array<Lanes*, 2> bank;

    [[nodiscard]] const Lanes& operator()(OperandIndex index) const {
        return bank[index >> 15][index & 0x7fffU];
    }
    /// A destination is always a register.
    [[nodiscard]] Lanes& reg(unsigned index) const { return bank[0][index]; }
};

struct Op;
class Core;

/// What runs an ALU instruction for the lanes of `active`: reads all operands before it writes, and leaves
/// the registers of other lanes as they are. Cannot fail.
using AluHandler = void (*)(const Op& op, const Operands& operands, LaneMask active);

/// A decoded instruction. All that could be wrong with it was judged by valhall::decode(): a handler may use
/// its indices as they are.
struct Op {
    union {
        AluHandler alu;                     // kind alu
        void (*message)(Core&, const Op&);  // kind message: see core.hpp
    };
    std::array<OperandIndex, 4> source;
    std::uint8_t destination;  // register, or first staging register
    std::uint8_t write_mask;   // bit 0: low half, bit 1: high half
    std::uint8_t kind;         // core.hpp
    std::uint8_t flow;         // valhall::Flow
    std::uint16_t name;        // valhall::Op
    std::uint16_t staging;     // core.hpp: counts of registers read and written
    std::uint64_t word;        // modifiers that no specialised handler was chosen for, and for fault messages
};

}  // namespace belfry::gpu::shader
