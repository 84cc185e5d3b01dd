#include <cstdlib>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "belfry/device.hpp"
#include "cli/commands.hpp"
#include "cli/failure.hpp"

namespace belfry::cli {

int run_info(const CommonOptions& common) {
    const Device device = must(Device::open({.socket_path = common.socket_path}));
    const DeviceInfo info = must(device.info());
    const DeviceLoad load = must(device.load());
    const nlohmann::ordered_json json = {
        {"socket", device.socket_path()},
        {"driver",
         {{"name", info.driver},
          {"version",
           fmt::format("{}.{}.{}", info.driver_major, info.driver_minor, info.driver_patchlevel)}}},
        {"gpu",
         {{"id", fmt::format("{:#x}", info.gpu_id)},
          {"group_slots", info.group_slots},
          {"streams_per_group", info.streams_per_group},
          {"registers", info.registers},
          {"unpreserved_registers", info.unpreserved_registers},
          {"scoreboard_slots", info.scoreboard_slots},
          {"va_bits", info.va_bits},
          {"shader_present", fmt::format("{:#x}", info.shader_present)},
          {"tiler_present", fmt::format("{:#x}", info.tiler_present)},
          {"timestamp_hz", info.timestamp_hz}}},
        {"load",
         {{"files", load.files},
          {"vms", load.vms},
          {"groups", load.groups},
          {"groups_on_slot", load.groups_on_slot},
          {"groups_waiting", load.groups_waiting},
          {"buffers", load.buffers},
          {"buffer_bytes", load.buffer_bytes},
          {"requests", load.requests},
          {"missed_reports", load.missed_reports}}},
        {"memory",
         {{"budget_bytes", load.memory_budget},
          {"resident_bytes", load.resident_bytes},
          {"evicted_bytes", load.evicted_bytes},
          {"evictions", load.evictions},
          {"restores", load.restores}}},
        {"belfry", BELFRY_VERSION},
    };
    if (common.json) {
        fmt::print("{}\n", json.dump(2));
        return EXIT_SUCCESS;
    }
    for (const auto& [section, values] : json.items()) {
        if (!values.is_object()) {
            fmt::print("{:<28}{}\n", section, values.get<std::string>());
            continue;
        }
        for (const auto& [name, value] : values.items())
            fmt::print("{:<28}{}\n", fmt::format("{}.{}", section, name),
                       value.is_string() ? value.get<std::string>() : value.dump());
    }
    return EXIT_SUCCESS;
}

}  // namespace belfry::cli
