// sim: runs seeded schedules until told to stop, or until one breaks a rule; says which.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include <gtest/gtest.h>
#include <signal.h>

#include <CLI/CLI.hpp>

#include "sim/schedule.hpp"

namespace {

constexpr double kWordsEvery = 10;  // seconds
volatile std::uint64_t current_seed = 0;

void tell_seed() {
    std::fprintf(stderr, "sim: seed %llu; to see it: ./dev sim --seed %llu\n",
                 static_cast<unsigned long long>(current_seed),
                 static_cast<unsigned long long>(current_seed));
}
void on_abort(int) { tell_seed(); }  // the process is lost anyhow

}  // namespace

int main(int argc, char** argv) {
    testing::InitGoogleTest();
    std::uint64_t seed = 0;
    std::uint64_t first = 1;
    std::uint64_t schedules = 10'000;
    unsigned seconds = 0;
    CLI::App app(
        "Run programs, driver and GPU in one thread, in orders drawn from seeds, and check what must hold");
    const auto* const one =
        app.add_option("--seed", seed, "Run the schedules of this seed alone, and print their steps");
    app.add_option("--first", first, "The first seed")->capture_default_str();
    app.add_option("--schedules", schedules, "How many; twelve a seed")->capture_default_str();
    app.add_option("--seconds", seconds, "As many as fit into so many seconds, instead");
    CLI11_PARSE(app, argc, argv);

    ::signal(SIGABRT, on_abort);
    ::signal(SIGSEGV, [](int) {
        tell_seed();
        std::_Exit(EXIT_FAILURE);
    });
    const auto failed = [] { return testing::UnitTest::GetInstance()->ad_hoc_test_result().Failed(); };
    if (one->count() != 0) {
        current_seed = seed;
        belfry::panthor::sim::run_schedules(seed, true);
        return failed() ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    using belfry::panthor::sim::kSchedulesOfSeed;
    const auto start = std::chrono::steady_clock::now();
    const auto elapsed = [&start] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    std::uint64_t count = 0;
    const auto tell = [&](const char* what) {
        // CPU time: what it costs on a machine that does other things too.
        const double busy = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
        std::printf("%llu schedules to seed %llu in %.1f s (%.0f a second of CPU time)%s\n",
                    static_cast<unsigned long long>(count), static_cast<unsigned long long>(current_seed),
                    elapsed(), static_cast<double>(count) / std::max(busy, 1e-9), what);
        std::fflush(stdout);
    };
    for (double next_word = kWordsEvery; seconds != 0 ? elapsed() < seconds : count < schedules;) {
        current_seed = first + count / kSchedulesOfSeed;
        belfry::panthor::sim::run_schedules(current_seed, false);
        if (failed()) {
            tell_seed();
            return EXIT_FAILURE;
        }
        count += kSchedulesOfSeed;
        if (elapsed() < next_word) continue;
        next_word += kWordsEvery;
        tell(" ...");
    }
    tell(", none broke a rule");
    return EXIT_SUCCESS;
}
