#include "belfry/buffer.hpp"

#include <string>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>

#include "belfry/uapi/panthor_drm.h"
#include "client/impl.hpp"

namespace belfry {

Buffer::Impl::~Impl() {
    uapi::drm_gem_close close{.handle = handle};
    client::request_quietly(*connection, DRM_IOCTL_GEM_CLOSE, &close);
}

Buffer::Buffer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Buffer::Buffer(Buffer&&) noexcept = default;
Buffer& Buffer::operator=(Buffer&&) noexcept = default;
Buffer::~Buffer() = default;

Result<void> Buffer::map() {
    if (impl_->memory) return {};
    const std::string what = fmt::format("mapping a buffer of {} bytes", impl_->size);
    uapi::drm_panthor_bo_mmap_offset offset{.handle = impl_->handle};
    if (const auto done =
            client::request(*impl_->connection, DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET, &offset, what);
        !done)
        return std::unexpected(done.error());
    auto memory = impl_->connection->transport->mmap(offset.offset, impl_->size, PROT_READ | PROT_WRITE);
    if (!memory) return std::unexpected(client::error_of(memory.error(), what));
    impl_->memory = std::move(*memory);
    return {};
}
void Buffer::unmap() { impl_->memory = {}; }

std::uint64_t Buffer::size() const { return impl_->size; }
std::span<std::byte> Buffer::bytes() const { return impl_->memory.bytes(); }
std::span<std::uint64_t> Buffer::words() const {
    return {reinterpret_cast<std::uint64_t*>(impl_->memory.data()),
            impl_->memory.size() / sizeof(std::uint64_t)};
}
std::uint32_t Buffer::handle() const { return impl_->handle; }

}  // namespace belfry
