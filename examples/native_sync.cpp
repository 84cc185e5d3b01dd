// Synchronisation without the driver: the CPU lets one group go, that lets another go, and the CPU is woken.
// Three sync objects in shared memory; no request is made once both groups have their slots.

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <belfry/belfry.hpp>

namespace {

using namespace belfry;

/// Waits until the object at `wait` is above 0, then adds 1 to the one at `signal`.
Result<void> relay(Queue& queue, std::uint64_t wait, std::uint64_t signal) {
    auto commands = queue.begin(8);
    if (!commands) return std::unexpected(commands.error());
    commands->move48(d(0), wait)
        .move48(d(2), 0)
        .sync_wait64(d(0), csf::Condition::gt, d(2))
        .move48(d(4), signal)
        .move48(d(6), 1)
        .sync_add64(d(4), d(6));
    return queue.submit(*commands);
}

Result<std::uint64_t> run() {
    auto device = Device::open();
    if (!device) return std::unexpected(device.error());
    auto vm = device->create_vm();
    if (!vm) return std::unexpected(vm.error());
    auto buffer = device->create_buffer(4096);
    if (!buffer) return std::unexpected(buffer.error());
    const auto va = vm->map(*buffer);
    if (!va) return std::unexpected(va.error());
    auto go = SyncObject::at(*buffer, 0, *va);
    const auto handover = SyncObject::at(*buffer, 64, *va + 64);
    const auto done = SyncObject::at(*buffer, 128, *va + 128);
    if (!go || !handover || !done) return std::unexpected(go.error());
    auto first = vm->create_group({});
    if (!first) return std::unexpected(first.error());
    auto second = vm->create_group({});
    if (!second) return std::unexpected(second.error());

    if (const auto sent = relay(second->queue(), handover->address(), done->address()); !sent)
        return std::unexpected(sent.error());
    if (const auto sent = relay(first->queue(), go->address(), handover->address()); !sent)
        return std::unexpected(sent.error());

    go->set(1);  // CPU to GPU: the value, then the doorbell of the group that waits for it
    if (const auto rung = first->queue().ring(); !rung) return std::unexpected(rung.error());
    return second->wait(*done, 1);  // GPU to CPU: sleeps on a futex, and ends also if the group does
}

}  // namespace

int main() {
    const auto result = run();
    if (!result) {
        std::fprintf(stderr, "%s\n", result.error().message.c_str());
        return EXIT_FAILURE;
    }
    std::printf("done is %llu\n", static_cast<unsigned long long>(*result));
    return EXIT_SUCCESS;
}
