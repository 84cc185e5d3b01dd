// `belfry bench`: which benchmarks there are, and how their reports are printed.

#include "cli/bench.hpp"

#include <cstdlib>

#include <fmt/format.h>

#include "cli/commands.hpp"

namespace belfry::cli {
namespace {

struct Benchmark {
    const char* name;
    BenchReport (*measure)(const std::string& socket, const BenchStep& step);
};
constexpr Benchmark kBenchmarks[] = {
    {.name = "latency", .measure = bench_latency}, {.name = "memory", .measure = bench_memory},
    {.name = "shaders", .measure = bench_shaders}, {.name = "submit", .measure = bench_submit},
    {.name = "waits", .measure = bench_waits},
};

}  // namespace

std::vector<std::string> benchmark_names() {
    std::vector<std::string> names{"all"};
    for (const Benchmark& benchmark : kBenchmarks) names.emplace_back(benchmark.name);
    return names;
}

nlohmann::ordered_json json_of(const Figure& figure) {
    return {{"median", figure.median_ns}, {"p99", figure.p99_ns}};
}

int run_bench(const CommonOptions& common, const std::string& name) {
    const auto step = [&common](const char* what) {
        if (!common.json) fmt::print(stderr, "measuring {} ...\n", what);
    };
    nlohmann::ordered_json json;
    for (const Benchmark& benchmark : kBenchmarks) {
        if (name != "all" && name != benchmark.name) continue;
        const BenchReport report = benchmark.measure(common.socket_path, step);
        json.update(report.json);
        if (!common.json) fmt::print("{}", report.table);
    }
    if (common.json) fmt::print("{}\n", json.dump(2));
    return EXIT_SUCCESS;
}

}  // namespace belfry::cli
