#include "belfry/buffer.hpp"

#include <utility>

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

std::span<std::byte> Buffer::bytes() const { return impl_->memory.bytes(); }
std::span<std::uint64_t> Buffer::words() const {
    return {reinterpret_cast<std::uint64_t*>(impl_->memory.data()),
            impl_->memory.size() / sizeof(std::uint64_t)};
}
std::uint32_t Buffer::handle() const { return impl_->handle; }

}  // namespace belfry
