// sim: runs seeded schedules until told to stop, or until one breaks a rule; says which.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <gtest/gtest.h>
#include <signal.h>

#include <CLI/CLI.hpp>

#include "sim/schedule.hpp"

namespace {

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
        app.add_option("--seed", seed, "Run the four schedules of this seed alone, and print their steps");
    app.add_option("--first", first, "The first seed")->capture_default_str();
    app.add_option("--schedules", schedules, "How many; four a seed")->capture_default_str();
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
    const auto start = std::chrono::steady_clock::now();
    const auto elapsed = [&start] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    std::uint64_t count = 0;
    using belfry::panthor::sim::kSchedulesOfSeed;
    for (; seconds != 0 ? elapsed() < seconds : count < schedules; count += kSchedulesOfSeed) {
        current_seed = first + count / kSchedulesOfSeed;
        belfry::panthor::sim::run_schedules(current_seed, false);
        if (failed()) {
            tell_seed();
            return EXIT_FAILURE;
        }
    }
    std::printf("%llu schedules in %.1f s, none broke a rule\n", static_cast<unsigned long long>(count),
                elapsed());
    return EXIT_SUCCESS;
}
