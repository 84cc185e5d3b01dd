// Many small user-mode jobs: each stores a word and counts itself. Run it under `strace -c -f` with different
// numbers of jobs: the count of system calls stays what it is (docs/performance.md).
//
//   pipeline [JOBS]

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <belfry/belfry.hpp>

namespace {

using namespace belfry;

constexpr std::size_t kBatch = 128;   // jobs a doorbell
constexpr std::size_t kJobWords = 3;  // instructions a job

Result<std::uint64_t> run(std::uint64_t batches) {
    auto device = Device::open();
    if (!device) return std::unexpected(device.error());
    auto vm = device->create_vm();
    if (!vm) return std::unexpected(vm.error());
    auto buffer = device->create_buffer(4096);
    if (!buffer) return std::unexpected(buffer.error());
    const auto va = vm->map(*buffer);
    if (!va) return std::unexpected(va.error());
    auto group = vm->create_group({});
    if (!group) return std::unexpected(group.error());
    auto done = SyncObject::at(*buffer, 0, *va);
    if (!done) return std::unexpected(done.error());

    Queue& queue = group->queue();
    auto setup = queue.begin(8);
    if (!setup) return std::unexpected(setup.error());
    setup->move48(d(0), *va).move48(d(2), 1).move48(d(4), *va + 64).move32(r(6), 42);
    if (const auto rung = queue.submit(*setup); !rung) return std::unexpected(rung.error());

    for (std::uint64_t i = 1; i <= batches; ++i) {
        auto jobs = queue.begin(kBatch * kJobWords);
        if (!jobs) return std::unexpected(jobs.error());
        for (std::size_t job = 0; job < kBatch; ++job)
            jobs->store_multiple(r(6), 0b1, d(4)).wait(slots(0)).sync_add64(d(0), d(2));
        if (const auto rung = queue.submit(*jobs); !rung) return std::unexpected(rung.error());
        // The busy path: look until it is done. (Done waiting here, queue.begin() never has to sleep for
        // room.)
        while (done->value() < i * kBatch) {
        }
    }
    std::printf("%llu jobs, %llu requests to the driver in all, %llu wake-ups of the GPU\n",
                static_cast<unsigned long long>(done->value()),
                static_cast<unsigned long long>(device->requests()),
                static_cast<unsigned long long>(queue.gpu_wake_ups()));
    return done->value();
}

}  // namespace

int main(int argc, char** argv) {
    const std::uint64_t jobs = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
    const auto result = run((jobs + kBatch - 1) / kBatch);
    if (result) return EXIT_SUCCESS;
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    return EXIT_FAILURE;
}
