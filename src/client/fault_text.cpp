#include "client/fault_text.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "belfry/disassembler.hpp"
#include "belfry/uapi/csf.hpp"
#include "belfry/uapi/csf_exceptions.hpp"

namespace belfry::client {
namespace {

using csf::Exception;

/// What the exception's data says (docs/architecture.md, "Faults").
std::string cause(const uapi::belfry_group_get_fault& fault) {
    static constexpr const char* kAccess[] = {"an atomic access to", "a fetch from", "a read of",
                                              "a write of"};
    const auto exception = static_cast<Exception>(fault.exception);
    if ((fault.flags & uapi::BELFRY_FAULT_MMU) != 0)
        return fmt::format("{} address {:#x}", kAccess[fault.access & 3], fault.address);
    switch (exception) {
        case Exception::cs_config_fault:
            return fmt::format(
                "INSERT {:#x}: it must be a multiple of 8, at or after EXTRACT, and no further from it "
                "than the ring is long",
                fault.info);
        case Exception::cs_endpoint_fault: return "this GPU has no tiler";
        case Exception::cs_bus_fault:
            return fmt::format("address {:#x} is not aligned as the access needs it", fault.info);
        case Exception::cs_call_stack_overflow:
            return fmt::format("calls go {} deep at most", csf::kCallFrames);
        case Exception::cs_instr_invalid: return "no such instruction, or operands that it cannot have";
        default:                          return fmt::format("data {:#x}", fault.info);
    }
}

}  // namespace

std::string fault_text(const uapi::belfry_group_get_fault& fault, std::uint32_t state) {
    if ((fault.flags & uapi::BELFRY_FAULT_VALID) == 0) {
        if ((state & uapi::DRM_PANTHOR_GROUP_STATE_TIMEDOUT) != 0)
            return "a job took longer than it may, or the GPU did not answer";
        return state != 0 ? "ended without a fault of its own" : "";
    }
    std::string text;
    const auto append = std::back_inserter(text);
    if ((fault.flags & uapi::BELFRY_FAULT_QUEUE) != 0) fmt::format_to(append, "queue {}: ", fault.queue);
    fmt::format_to(append, "{}: {}", csf::name(static_cast<Exception>(fault.exception)), cause(fault));
    if ((fault.flags & uapi::BELFRY_FAULT_QUEUE) != 0) {
        if (fault.instruction != 0) fmt::format_to(append, " by {}", disassemble(fault.instruction));
        fmt::format_to(append, " at {:#x}", fault.cmd_ptr);
    }
    return text;
}

}  // namespace belfry::client
