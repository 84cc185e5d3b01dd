// What went wrong on the GPU: exception codes, with the driver's names for them (facts/csf-isa.md 6.1).
//
// They stand in bits 7:0 of CS_FAULT, CS_FATAL, AS_FAULTSTATUS and GPU_FAULTSTATUS. "fault": the stream goes
// on in error state. "fatal": it has stopped for good.
#pragma once

#include <cstdint>
#include <string_view>

namespace belfry::csf {

enum class Exception : std::uint8_t {
    ok = 0x00,
    terminated = 0x04,
    kaboom = 0x05,  // fault: a shader asked for it
    eureka = 0x06,
    active = 0x08,
    cs_res_term = 0x0f,             // fault: killed from outside
    cs_config_fault = 0x40,         // fatal: ring or interface pages
    cs_unrecoverable = 0x41,        // fatal: the driver resets the whole GPU
    cs_endpoint_fault = 0x44,       // fatal
    cs_bus_fault = 0x48,            // fault or fatal: memory access of the stream
    cs_instr_invalid = 0x49,        // fatal: opcode or encoding
    cs_call_stack_overflow = 0x4a,  // fatal: CALL too deep
    cs_inherit_fault = 0x4b,        // fault: SYNC_WAIT met an error word
    instr_invalid_pc = 0x50,        // faults of a shader or its descriptors, up to 0x5b
    instr_invalid_enc = 0x51,
    instr_barrier_fault = 0x55,
    data_invalid_fault = 0x58,
    tile_range_fault = 0x59,
    addr_range_fault = 0x5a,
    imprecise_fault = 0x5b,
    oom = 0x60,                       // the driver's own
    csf_fw_internal_error = 0x68,     // fatal
    csf_res_eviction_timeout = 0x69,  // fault
    gpu_bus_fault = 0x80,             // GPU fault register, up to 0x8a
    gpu_shareability_fault = 0x88,
    sys_shareability_fault = 0x89,
    gpu_cacheability_fault = 0x8a,
    translation_fault_0 = 0xc0,  // MMU, up to 0xeb; the last digit is the level of the page table
    translation_fault_1 = 0xc1,
    translation_fault_2 = 0xc2,
    translation_fault_3 = 0xc3,
    translation_fault_4 = 0xc4,
    perm_fault_0 = 0xc8,
    perm_fault_1 = 0xc9,
    perm_fault_2 = 0xca,
    perm_fault_3 = 0xcb,
    access_flag_1 = 0xd9,
    access_flag_2 = 0xda,
    access_flag_3 = 0xdb,
    addr_size_fault_in = 0xe0,
    addr_size_fault_out0 = 0xe4,
    addr_size_fault_out1 = 0xe5,
    addr_size_fault_out2 = 0xe6,
    addr_size_fault_out3 = 0xe7,
    mem_attr_fault_0 = 0xe8,
    mem_attr_fault_1 = 0xe9,
    mem_attr_fault_2 = 0xea,
    mem_attr_fault_3 = 0xeb,
};

/// Those of the MMU, which come with an address and an access.
constexpr bool is_mmu_fault(Exception exception) { return exception >= Exception::translation_fault_0; }

/// The name without its DRM_PANTHOR_EXCEPTION_; "UNKNOWN" for a code that has none.
constexpr std::string_view name(Exception exception) {
    switch (exception) {
        using enum Exception;
        case ok:                       return "OK";
        case terminated:               return "TERMINATED";
        case kaboom:                   return "KABOOM";
        case eureka:                   return "EUREKA";
        case active:                   return "ACTIVE";
        case cs_res_term:              return "CS_RES_TERM";
        case cs_config_fault:          return "CS_CONFIG_FAULT";
        case cs_unrecoverable:         return "CS_UNRECOVERABLE";
        case cs_endpoint_fault:        return "CS_ENDPOINT_FAULT";
        case cs_bus_fault:             return "CS_BUS_FAULT";
        case cs_instr_invalid:         return "CS_INSTR_INVALID";
        case cs_call_stack_overflow:   return "CS_CALL_STACK_OVERFLOW";
        case cs_inherit_fault:         return "CS_INHERIT_FAULT";
        case instr_invalid_pc:         return "INSTR_INVALID_PC";
        case instr_invalid_enc:        return "INSTR_INVALID_ENC";
        case instr_barrier_fault:      return "INSTR_BARRIER_FAULT";
        case data_invalid_fault:       return "DATA_INVALID_FAULT";
        case tile_range_fault:         return "TILE_RANGE_FAULT";
        case addr_range_fault:         return "ADDR_RANGE_FAULT";
        case imprecise_fault:          return "IMPRECISE_FAULT";
        case oom:                      return "OOM";
        case csf_fw_internal_error:    return "CSF_FW_INTERNAL_ERROR";
        case csf_res_eviction_timeout: return "CSF_RES_EVICTION_TIMEOUT";
        case gpu_bus_fault:            return "GPU_BUS_FAULT";
        case gpu_shareability_fault:   return "GPU_SHAREABILITY_FAULT";
        case sys_shareability_fault:   return "SYS_SHAREABILITY_FAULT";
        case gpu_cacheability_fault:   return "GPU_CACHEABILITY_FAULT";
        case translation_fault_0:      return "TRANSLATION_FAULT_0";
        case translation_fault_1:      return "TRANSLATION_FAULT_1";
        case translation_fault_2:      return "TRANSLATION_FAULT_2";
        case translation_fault_3:      return "TRANSLATION_FAULT_3";
        case translation_fault_4:      return "TRANSLATION_FAULT_4";
        case perm_fault_0:             return "PERM_FAULT_0";
        case perm_fault_1:             return "PERM_FAULT_1";
        case perm_fault_2:             return "PERM_FAULT_2";
        case perm_fault_3:             return "PERM_FAULT_3";
        case access_flag_1:            return "ACCESS_FLAG_1";
        case access_flag_2:            return "ACCESS_FLAG_2";
        case access_flag_3:            return "ACCESS_FLAG_3";
        case addr_size_fault_in:       return "ADDR_SIZE_FAULT_IN";
        case addr_size_fault_out0:     return "ADDR_SIZE_FAULT_OUT0";
        case addr_size_fault_out1:     return "ADDR_SIZE_FAULT_OUT1";
        case addr_size_fault_out2:     return "ADDR_SIZE_FAULT_OUT2";
        case addr_size_fault_out3:     return "ADDR_SIZE_FAULT_OUT3";
        case mem_attr_fault_0:         return "MEM_ATTR_FAULT_0";
        case mem_attr_fault_1:         return "MEM_ATTR_FAULT_1";
        case mem_attr_fault_2:         return "MEM_ATTR_FAULT_2";
        case mem_attr_fault_3:         return "MEM_ATTR_FAULT_3";
    }
    return "UNKNOWN";
}

}  // namespace belfry::csf
