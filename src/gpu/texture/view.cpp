#include "gpu/texture/view.hpp"

#include "gpu/texture/numbers.hpp"

namespace belfry::gpu::texture {

const std::byte* View::read_anew(std::uint64_t address, std::size_t bytes, std::byte* scratch) {
    const std::byte* const found = memory_.read(address, bytes, scratch);
    if (found == nullptr) {
        faulted_ = true;
    } else if (found != scratch) {
        const std::size_t offset = address % kPageBytes;
        window_[address / kPageBytes % kWindows] = {.page = address - offset, .host = found - offset};
    }
    return found;
}

void View::read_plane(std::uint32_t index) {
    const std::size_t slot = index % kPlanes;
    plane_index_[slot] = index;
    plane_[slot] = std::nullopt;
    std::array<std::byte, kDescriptorBytes> scratch{};
    const std::uint64_t address = texture_.planes + (std::uint64_t{index} * kDescriptorBytes);
    const std::byte* const from = memory_.read(address, kDescriptorBytes, scratch.data());
    if (from == nullptr) {
        faulted_ = true;
        return;
    }
    std::array<std::byte, kDescriptorBytes> bytes{};
    std::copy_n(from, bytes.size(), bytes.data());
    const auto plane = parse_plane(bytes);
    if (plane && plane->clump.suits(texture_.format)) plane_[slot] = plane;
}

Texel View::reordered(const Texel& texel) const {
    const std::uint32_t one = texture_.format.kind() == Kind::floating ? as_bits(1.0F) : 1;
    Texel result{};
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned source = texture_.swizzle[i];
        if (source < 4)
            result[i] = texel[source];
        else if (source == 5)
            result[i] = one;
    }
    return result;
}

}  // namespace belfry::gpu::texture
