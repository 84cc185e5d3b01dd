// The smallest user-mode job: the GPU stores 42, adds one to a sync object, and the program is woken.

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <belfry/belfry.hpp>

namespace {

using namespace belfry;

Result<std::uint32_t> answer() {
    auto device = Device::open();  // starts a private belfryd if none runs
    if (!device) return std::unexpected(device.error());
    auto vm = device->create_vm();
    if (!vm) return std::unexpected(vm.error());
    auto buffer = device->create_buffer(4096);
    if (!buffer) return std::unexpected(buffer.error());
    const auto va = vm->map(*buffer);
    if (!va) return std::unexpected(va.error());
    auto group = vm->create_group({});
    if (!group) return std::unexpected(group.error());
    const auto done = SyncObject::at(*buffer, 0, *va);
    if (!done) return std::unexpected(done.error());

    auto commands = group->queue().begin(8);  // instructions, written where the GPU reads them
    if (!commands) return std::unexpected(commands.error());
    commands->move48(d(0), *va)
        .move32(r(2), 42)
        .store_multiple(r(2), 0b1, d(0), 64)
        .move48(d(4), 1)
        .wait(slots(0))  // the store, before anybody is told
        .sync_add64(d(0), d(4));
    if (const auto rung = group->queue().submit(*commands); !rung) return std::unexpected(rung.error());
    if (const auto value = group->wait(*done, 1); !value) return std::unexpected(value.error());
    return reinterpret_cast<const std::uint32_t*>(buffer->bytes().data())[16];
}

}  // namespace

int main() {
    const auto result = answer();
    if (!result) {
        std::fprintf(stderr, "%s\n", result.error().message.c_str());
        return EXIT_FAILURE;
    }
    std::printf("the GPU answered %u\n", *result);
    return EXIT_SUCCESS;
}
