// From user-mode work to a DRM fence: an XGS queue waits for a value that a command stream counts up, and
// signals a syncobj, which anybody who knows fences can wait for.

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <belfry/belfry.hpp>

namespace {

using namespace belfry;

Result<void> run() {
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
    auto xgs = vm->create_xgs_queue({});
    if (!xgs) return std::unexpected(xgs.error());
    const auto fence = device->create_syncobj();
    if (!fence) return std::unexpected(fence.error());

    // Above 0, and an error of the stream that counted becomes the fence's.
    XgsOps ops;
    ops.wait_gt(*va, 0, {.inherit_error = true});
    const std::array syncs{SyncOp{.syncobj = *fence, .signal = true, .point = 1}};
    if (const auto queued = xgs->submit(ops, syncs); !queued) return std::unexpected(queued.error());

    auto commands = group->queue().begin(8);
    if (!commands) return std::unexpected(commands.error());
    commands->move48(d(0), *va).move48(d(2), 1).sync_add64(d(0), d(2));
    if (const auto rung = group->queue().submit(*commands); !rung) return std::unexpected(rung.error());
    return fence->wait_for_submit(1);  // the point comes when the value has
}

}  // namespace

int main() {
    const auto result = run();
    if (!result) {
        std::fprintf(stderr, "%s\n", result.error().message.c_str());
        return EXIT_FAILURE;
    }
    std::printf("the fence has signalled\n");
    return EXIT_SUCCESS;
}
