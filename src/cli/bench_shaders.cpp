// `belfry bench shaders`: the same SPIR-V on Belfry, by Mesa's panvk, and on the CPU, by Mesa's lavapipe.
//
// Each device is a process of this same program, because the environment tells the Vulkan loader which driver
// to take, and Belfry's needs the preload library. Rounds alternate; each result is compared with the other
// device's before anything is measured.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/bench.hpp"
#include "cli/failure.hpp"
#include "cli/measure.hpp"
#include "cli/shader_worker.hpp"

namespace belfry::cli {
namespace {

constexpr unsigned kRounds = 9;
constexpr double kRoundNs = 100e6;  // at least; slow work is run once

/// Which loader takes which of the two names depends on its age.
std::vector<std::pair<std::string, std::string>> driver_variables(const std::string& manifest) {
    return {{"VK_DRIVER_FILES", manifest}, {"VK_ICD_FILENAMES", manifest}};
}

/// One device through one piece of work.
struct Measured {
    ShaderWorker& worker;
    unsigned runs = 1;  // in a round
    Samples run_ns{};

    void calibrate() {
        while (worker.run_ns(runs) < kRoundNs / 4) runs *= 2;
        runs = static_cast<unsigned>(std::ceil(kRoundNs * runs / worker.run_ns(runs)));
    }
    void round() { run_ns.add(worker.run_ns(runs) / runs); }
    [[nodiscard]] double rate(const ShaderWork& work) const {
        return work.units_per_run / (run_ns.figure().median_ns / 1e9);
    }
};

}  // namespace

BenchReport bench_shaders(const std::string& socket, const BenchStep& step) {
    BenchReport report;
    auto& json = report.json["shaders"] = nlohmann::ordered_json::object();
    const auto out = std::back_inserter(report.table);
    const char* const panvk = std::getenv("BELFRY_PANVK_ICD");
    if (panvk == nullptr || panvk[0] == '\0') {
        report.table =
            "shaders\n  none: no panvk; ./dev mesa builds it, and BELFRY_PANVK_ICD names its manifest\n";
        return report;
    }

    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    const std::vector<std::string> on_cpu{self, "bench", "shaders", "--worker", "cpu"};
    std::vector<std::string> on_belfry{self, "run"};
    if (!socket.empty()) on_belfry.insert(on_belfry.end(), {"--socket", socket});
    on_belfry.insert(on_belfry.end(), {"--", self, "bench", "shaders", "--worker", "gpu"});
    ShaderWorker belfry(on_belfry, driver_variables(panvk));
    ShaderWorker lavapipe(on_cpu, driver_variables(""));
    const std::string peer = lavapipe.device();
    json["device"] = belfry.device();
    json["peer"] = peer;

    fmt::format_to(out, "{:<46}{:>10}{:>12}{:>10}  ({})\n", "the same SPIR-V on two devices", "Belfry",
                   "lavapipe", "ratio", peer);
    for (const ShaderWork& work : shader_works()) {
        step(work.label);
        const auto result = belfry.prepare(work);
        if (const char* const wrong = difference(work, result, lavapipe.prepare(work)))
            throw Failure{fmt::format("{}: Belfry's result is not lavapipe's: {}", work.label, wrong)};
        std::array devices{Measured{belfry}, Measured{lavapipe}};
        for (Measured& device : devices) device.calibrate();
        for (unsigned round = 0; round < kRounds; ++round)
            for (Measured& device : devices) device.round();
        const double ours = devices[0].rate(work);
        const double theirs = devices[1].rate(work);
        json[work.name] = {
            {"unit", work.unit}, {"belfry", ours}, {"lavapipe", theirs}, {"ratio", ours / theirs}};
        fmt::format_to(out, "  {:<44}{:>10.4g}{:>12.4g}{:>10.2f}  {}\n", work.label, ours, theirs,
                       ours / theirs, work.unit);
    }
    return report;
}

}  // namespace belfry::cli
