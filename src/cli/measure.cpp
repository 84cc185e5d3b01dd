#include "cli/measure.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <string>

#include "base/check.hpp"

namespace belfry::cli {
namespace {

/// The value below which `share` of the samples lie, by nearest rank.
double percentile(std::vector<double>& samples, double share) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(samples.size())));
    const auto nth = samples.begin() + static_cast<std::ptrdiff_t>(std::max<std::size_t>(rank, 1) - 1);
    std::nth_element(samples.begin(), nth, samples.end());
    return *nth;
}

double measure_clock_cost() {
    constexpr std::size_t kReads = 10'000;
    Samples apart;
    apart.reserve(kReads);
    for (std::size_t i = 0; i < kReads; ++i) {
        const auto first = base::monotonic_ns();
        apart.add(static_cast<double>(base::monotonic_ns() - first));
    }
    return apart.figure().median_ns;
}

std::vector<int> usable_cpus() {
    std::vector<int> cpus;
    cpu_set_t allowed{};
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return {0};
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &allowed)) cpus.push_back(static_cast<int>(cpu));
    return cpus;
}

/// One number of a CPU's topology, or -1 where the system does not tell.
int topology(int cpu, const char* name) {
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/" + name);
    int value = -1;
    if (!(file >> value)) return -1;
    return value;
}

}  // namespace

Figure Samples::figure() const {
    BELFRY_CHECK(!samples_ns_.empty());
    auto samples = samples_ns_;
    const double median = percentile(samples, 0.5);
    return {.median_ns = median, .p99_ns = percentile(samples, 0.99)};
}

double clock_cost_ns() {
    static const double cost = measure_clock_cost();
    return cost;
}

bool pin_to_cpu(int cpu) {
    if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
    cpu_set_t only{};
    CPU_SET(static_cast<std::size_t>(cpu), &only);
    return ::sched_setaffinity(0, sizeof only, &only) == 0;
}

KeepAffinity::KeepAffinity() : known_(::sched_getaffinity(0, sizeof before_, &before_) == 0) {}

KeepAffinity::~KeepAffinity() {
    if (known_) ::sched_setaffinity(0, sizeof before_, &before_);
}

CpuPair cpu_pair() {
    const auto cpus = usable_cpus();
    const int first = cpus.front();
    // Best first: another core of the same socket, then any other core, then any other CPU.
    std::array<int, 3> best{first, first, first};
    for (const int cpu : cpus) {
        if (cpu == first) continue;
        const bool same_socket =
            topology(cpu, "physical_package_id") == topology(first, "physical_package_id");
        const bool same_core = same_socket && topology(cpu, "core_id") == topology(first, "core_id");
        const std::size_t rank = same_core ? 2 : same_socket ? 0 : 1;
        if (best.at(rank) == first) best.at(rank) = cpu;
    }
    for (const int cpu : best)
        if (cpu != first) return {.first = first, .second = cpu};
    return {.first = first, .second = first};
}

}  // namespace belfry::cli
