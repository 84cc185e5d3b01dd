// Kernel-mode submission: the command stream lies in a buffer, the driver puts a call of it into the queue's
// ring, and a DRM syncobj tells when it is done.

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <belfry/belfry.hpp>

namespace {

using namespace belfry;

constexpr std::size_t kCommandWords = 64;  // the buffer's first half KiB; what they store to lies behind
constexpr std::uint64_t kResult = 1024;

Result<std::uint32_t> answer() {
    auto device = Device::open();
    if (!device) return std::unexpected(device.error());
    auto vm = device->create_vm();
    if (!vm) return std::unexpected(vm.error());
    auto buffer = device->create_buffer(4096);
    if (!buffer) return std::unexpected(buffer.error());
    const auto va = vm->map(*buffer);
    if (!va) return std::unexpected(va.error());
    auto group = vm->create_group({.user_submit = false});
    if (!group) return std::unexpected(group.error());
    const auto done = device->create_syncobj();
    if (!done) return std::unexpected(done.error());

    CommandWriter commands(buffer->words().first(kCommandWords));
    commands.move48(d(0), *va + kResult).move32(r(2), 42).store_multiple(r(2), 0b1, d(0));
    const std::array syncs{SyncOp{.syncobj = *done, .signal = true, .point = 1}};
    const auto bytes = static_cast<std::uint32_t>(commands.size_bytes());
    if (const auto queued = group->submit(0, *va, bytes, syncs); !queued)
        return std::unexpected(queued.error());
    if (const auto waited = done->wait(1); !waited) return std::unexpected(waited.error());
    return reinterpret_cast<const std::uint32_t*>(buffer->bytes().data())[kResult / 4];
}

}  // namespace

int main() {
    const auto result = answer();
    if (!result) {
        std::fprintf(stderr, "%s\n", result.error().message.c_str());
        return EXIT_FAILURE;
    }
    std::printf("the GPU answered %u\n", *result);
    return *result == 42 ? EXIT_SUCCESS : EXIT_FAILURE;
}
