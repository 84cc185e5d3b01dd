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
inline constexpr OperandIndex kLiterals = kProgramCounter + 2;  // constants that modifiers were applied to
inline constexpr unsigned kLiteralCount = 256;
inline constexpr unsigned kSharedBankLanes = kLiterals + kLiteralCount - kSharedBank;

/// The registers of a warp and where its lanes stand. Trivially copyable: SUSPEND saves it as it is.
struct Warp {
    std::array<Lanes, kWarpBankLanes> bank;
    /// Each lane's next instruction; what a dead lane has there says nothing.
    std::array<std::uint64_t, kLanes> pc;
    LaneMask live;        // lanes that have not ended
    LaneMask at_barrier;  // lanes that wait for the rest of the workgroup
    LaneMask running;     // lanes that were left in the middle: they go on first. None: those of the least pc
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
struct Execution;

/// What runs an ALU instruction for the lanes of `active`: reads all operands before it writes, and leaves
/// the registers of other lanes as they are. Cannot fail.
using AluHandler = void (*)(const Op& op, const Operands& operands, LaneMask active);
/// What runs a message instruction (execution.hpp). False: it raised a fault.
using MessageHandler = bool (*)(Execution& execution, const Op& op);

/// A decoded instruction. All that could be wrong with it was judged when it was decoded: a handler may use
/// its indices as they are, and two operands from a 64-bit one on.
struct Op {
    union {
        AluHandler alu;          // kinds alu ...
        MessageHandler message;  // kinds message ...
    };
    std::array<OperandIndex, 4> source;
    std::uint64_t word;        // modifiers that no specialised handler was chosen for
    std::uint16_t name;        // valhall::Op
    std::uint8_t destination;  // register, or first staging register
    std::uint8_t write_mask;   // bit 0: low half, bit 1: high half
    union {
        std::uint8_t float_mode;  // of kinds alu ...: FloatMode::bits()
        std::uint8_t result;      // of messages that read staging registers and write others: first of these
    };
    std::uint8_t kind;  // program.hpp
    std::uint8_t flow;  // valhall::Flow
    std::uint8_t cost;  // of messages: steps
};
static_assert(sizeof(Op) == 32);

}  // namespace belfry::gpu::shader
