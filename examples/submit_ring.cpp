// A batch of kernel-mode jobs through a submit ring: no request for a job, one completion for each, and a
// fence for the last.

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

#include <belfry/belfry.hpp>

namespace {

using namespace belfry;

constexpr std::uint64_t kJobs = 64;

Result<std::uint64_t> run() {
    auto device = Device::open();
    if (!device) return std::unexpected(device.error());
    auto vm = device->create_vm();
    if (!vm) return std::unexpected(vm.error());
    auto buffer = device->create_buffer(8192);  // the counter, and the commands behind it
    if (!buffer) return std::unexpected(buffer.error());
    const auto va = vm->map(*buffer);
    if (!va) return std::unexpected(va.error());
    auto group = vm->create_group({.user_submit = false});
    if (!group) return std::unexpected(group.error());
    const auto all_done = device->create_syncobj();
    if (!all_done) return std::unexpected(all_done.error());
    auto ring = device->create_submit_ring({.entries = kJobs});
    if (!ring) return std::unexpected(ring.error());

    auto* const words = reinterpret_cast<std::uint64_t*>(buffer->bytes().data() + 4096);
    CommandWriter commands(std::span(words, 512));
    commands.move48(d(0), *va).move48(d(2), 1).sync_add64(d(0), d(2));
    const auto bytes = static_cast<std::uint32_t>(commands.size_bytes());

    for (std::uint64_t i = 0; i < kJobs; ++i) {
        auto job = SubmitEntry::job(i, *group, 0, *va + 4096, bytes);
        if (i + 1 == kJobs) job.signal(*all_done);
        if (!ring->push(job)) return std::unexpected(Error{.code = EAGAIN, .message = "the ring is full"});
    }
    if (const auto told = ring->submit(); !told) return std::unexpected(told.error());

    std::array<Completion, kJobs> completions;
    if (const auto came = ring->wait(kJobs); !came) return std::unexpected(came.error());
    for (const Completion& job : std::span(completions).first(ring->reap(completions)))
        if (job.error != 0) return std::unexpected(Error{.code = job.error, .message = "a job has failed"});
    if (const auto signalled = all_done->wait(); !signalled) return std::unexpected(signalled.error());
    return *reinterpret_cast<const std::uint64_t*>(buffer->bytes().data());
}

}  // namespace

int main() {
    const auto count = run();
    if (!count) {
        std::fprintf(stderr, "%s\n", count.error().message.c_str());
        return EXIT_FAILURE;
    }
    std::printf("%llu jobs are done\n", static_cast<unsigned long long>(*count));
    return *count == kJobs ? EXIT_SUCCESS : EXIT_FAILURE;
}
