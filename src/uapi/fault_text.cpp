#include "uapi/fault_text.hpp"

#include <array>
#include <charconv>
#include <string_view>

#include "belfry/disassembler.hpp"
#include "belfry/uapi/csf.hpp"
#include "belfry/uapi/csf_exceptions.hpp"

namespace belfry::uapi {
namespace {

using csf::Exception;

std::string hexadecimal(std::uint64_t value) {
    std::array<char, 16> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
    return "0x" + std::string(digits.data(), end);
}

/// Within a sentence, what a disassembler has to add to an instruction stands in brackets.
std::string instruction_text(std::string text) {
    constexpr std::string_view kRemark = "  ; ";
    const auto first = text.find(kRemark);
    if (first == std::string::npos) return text;
    text.replace(first, kRemark.size(), " (");
    for (auto more = text.find(kRemark); more != std::string::npos; more = text.find(kRemark))
        text.replace(more, kRemark.size(), "; ");
    return text + ")";
}

bool has(const belfry_group_get_fault& fault, std::uint32_t flag) { return (fault.flags & flag) != 0; }

/// Before its first instruction a job has only descriptors.
bool lies_in_descriptor(const belfry_group_get_fault& fault) {
    return has(fault, BELFRY_FAULT_SHADER) && fault.shader_instruction == 0 &&
           static_cast<Exception>(fault.exception) != Exception::instr_invalid_pc;
}

/// What the exception's data says (docs/architecture.md, "Faults").
std::string cause(const belfry_group_get_fault& fault) {
    static constexpr const char* kAccess[] = {"an atomic access to", "a fetch from", "a read of",
                                              "a write of"};
    if (has(fault, BELFRY_FAULT_MMU))
        return std::string(kAccess[fault.access & 3]) + " address " + hexadecimal(fault.address);
    switch (static_cast<Exception>(fault.exception)) {
        case Exception::cs_config_fault:
            return "INSERT " + hexadecimal(fault.info) +
                   ": it must be a multiple of 8, at or after EXTRACT, and no further from it than the ring "
                   "is long";
        case Exception::cs_endpoint_fault: return "this GPU has no tiler";
        case Exception::cs_bus_fault:
            return "address " + hexadecimal(fault.info) + " is not aligned as the access needs it";
        case Exception::cs_call_stack_overflow:
            return "calls go " + std::to_string(csf::kCallFrames) + " deep at most";
        case Exception::cs_instr_invalid: return "no such instruction, or operands that it cannot have";
        case Exception::cs_res_term:      return "evicted memory of its VM could not be brought back";
        case Exception::instr_invalid_pc: return "no code that shaders may execute";
        case Exception::instr_invalid_enc:
            return "no such instruction, or one that a compute shader cannot have:";
        case Exception::addr_range_fault:
            return "an atomic access to address " + hexadecimal(fault.info) + ", which is not aligned,";
        case Exception::data_invalid_fault: return "registers or descriptors that no job can have";
        default:                            return "data " + hexadecimal(fault.info);
    }
}

void append_shader_place(std::string& text, const belfry_group_get_fault& fault) {
    const std::string at = hexadecimal(fault.shader_pc);
    if (lies_in_descriptor(fault)) {
        if (has(fault, BELFRY_FAULT_MMU)) text += " before the first instruction";
        text += ", shader program descriptor at " + at;
        return;
    }
    if (fault.shader_instruction != 0) {
        if (static_cast<Exception>(fault.exception) != Exception::instr_invalid_enc) text += " by";
        text += " " + instruction_text(disassemble_shader(fault.shader_instruction));
    }
    text += " at shader address " + at + ", workgroup (" + std::to_string(fault.shader_workgroup_x) + ", " +
            std::to_string(fault.shader_workgroup_y) + ", " + std::to_string(fault.shader_workgroup_z) +
            "), thread " + std::to_string(fault.shader_thread);
}

}  // namespace

std::string fault_text(const belfry_group_get_fault& fault, std::uint32_t state) {
    if (!has(fault, BELFRY_FAULT_VALID)) {
        if ((state & DRM_PANTHOR_GROUP_STATE_TIMEDOUT) != 0)
            return "a job took longer than it may, or the GPU did not answer";
        return state != 0 ? "ended without a fault of its own" : "";
    }
    std::string text;
    if (has(fault, BELFRY_FAULT_QUEUE)) text += "queue " + std::to_string(fault.queue) + ": ";
    text.append(csf::name(static_cast<Exception>(fault.exception))).append(": ").append(cause(fault));
    if (has(fault, BELFRY_FAULT_SHADER)) append_shader_place(text, fault);
    if (has(fault, BELFRY_FAULT_QUEUE)) {
        if (has(fault, BELFRY_FAULT_SHADER)) text += ", run";
        if (fault.instruction != 0) text += " by " + instruction_text(disassemble(fault.instruction));
        text += " at " + hexadecimal(fault.cmd_ptr);
    }
    return text;
}

}  // namespace belfry::uapi
