#include "belfry/vm.hpp"

#include <utility>

#include <fmt/format.h>

#include "base/memory.hpp"
#include "belfry/buffer.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "client/vm_impl.hpp"

namespace belfry {

Vm::Impl::~Impl() {
    uapi::drm_panthor_vm_destroy destroy{.id = id};
    client::request_quietly(*connection, DRM_IOCTL_PANTHOR_VM_DESTROY, &destroy);
}

Result<std::uint64_t> Vm::Impl::choose_address(std::uint64_t bytes) {
    // A page between two mappings, so that running over the end of one faults.
    const std::scoped_lock lock(mutex);
    const std::uint64_t address = next;
    if (bytes > end - address || end - address - bytes < base::kPageBytes)
        return std::unexpected(Error{
            .code = ENOMEM, .message = fmt::format("no {} bytes are left of the VM's address space", bytes)});
    next = address + bytes + base::kPageBytes;
    return address;
}

Vm::Vm(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Vm::Vm(Vm&&) noexcept = default;
Vm& Vm::operator=(Vm&&) noexcept = default;
Vm::~Vm() = default;

namespace {

Result<void> bind(const client::Connection& connection, std::uint32_t vm, uapi::drm_panthor_vm_bind_op op,
                  std::string_view what) {
    uapi::drm_panthor_vm_bind args{
        .vm_id = vm, .ops = {.stride = sizeof op, .count = 1, .array = reinterpret_cast<std::uint64_t>(&op)}};
    return client::request(connection, DRM_IOCTL_PANTHOR_VM_BIND, &args, what);
}

}  // namespace

Result<std::uint64_t> Vm::map(const Buffer& buffer, const MapOptions& options) {
    const std::uint64_t rest = options.offset <= buffer.size() ? buffer.size() - options.offset : 0;
    const std::uint64_t bytes = options.bytes != 0 ? options.bytes : rest;
    const std::string what = fmt::format("mapping {} bytes from {:#x} of a buffer of {} bytes", bytes,
                                         options.offset, buffer.size());
    if (bytes == 0) return std::unexpected(client::error_of(base::Errno::invalid, what));
    std::uint64_t address = 0;
    if (options.address) {
        address = *options.address;
    } else {
        const auto chosen = impl_->choose_address(bytes);
        if (!chosen) return chosen;
        address = *chosen;
    }
    const auto flags =
        static_cast<std::uint32_t>(uapi::DRM_PANTHOR_VM_BIND_OP_TYPE_MAP |
                                   uapi::DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC) |
        (options.read_only ? static_cast<std::uint32_t>(uapi::DRM_PANTHOR_VM_BIND_OP_MAP_READONLY) : 0);
    const auto bound = bind(*impl_->connection, impl_->id,
                            {.flags = flags,
                             .bo_handle = buffer.handle(),
                             .bo_offset = options.offset,
                             .va = address,
                             .size = bytes},
                            fmt::format("{} at {:#x}", what, address));
    if (!bound) return std::unexpected(bound.error());
    return address;
}

Result<void> Vm::unmap(std::uint64_t address, std::uint64_t bytes) {
    return bind(*impl_->connection, impl_->id,
                {.flags = static_cast<std::uint32_t>(uapi::DRM_PANTHOR_VM_BIND_OP_TYPE_UNMAP),
                 .va = address,
                 .size = bytes},
                fmt::format("unmapping {} bytes at {:#x}", bytes, address));
}

}  // namespace belfry
