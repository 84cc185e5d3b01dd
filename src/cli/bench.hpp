// The benchmarks behind `belfry bench [NAME]`: each measures for itself and reports; bench.cpp prints.
#pragma once

#include <functional>
#include <string>

#include <nlohmann/json.hpp>

#include "cli/measure.hpp"

namespace belfry::cli {

struct BenchReport {
    std::string table;            ///< whole lines
    nlohmann::ordered_json json;  ///< an object; its keys are no other benchmark's
};

/// As it stands in every report.
nlohmann::ordered_json json_of(const Figure& figure);

/// Called with what is about to be measured, for somebody who waits for it.
using BenchStep = std::function<void(const char* what)>;

/// `socket` as in CommonOptions; bench_memory() starts a belfryd of its own.
BenchReport bench_latency(const std::string& socket, const BenchStep& step);
BenchReport bench_memory(const std::string& socket, const BenchStep& step);
BenchReport bench_shaders(const std::string& socket, const BenchStep& step);
BenchReport bench_submit(const std::string& socket, const BenchStep& step);
BenchReport bench_waits(const std::string& socket, const BenchStep& step);

}  // namespace belfry::cli
