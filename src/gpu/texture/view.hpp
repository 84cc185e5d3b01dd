// View: one texture as one instruction looks at it.
//
// Owns   what it has read of memory: planes, and where the last pages lie. Kept no longer than an
// instruction,
//        so that no texel comes from a page that was taken away.
// Called by sample.cpp, by message instructions of shader cores.
//
// Every index is judged here; what is not there reads as zero.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "gpu/texture/descriptor.hpp"
#include "gpu/texture/layout.hpp"
#include "gpu/texture/memory.hpp"

namespace belfry::gpu::texture {

class View {
  public:
    View(const Texture& texture, Memory& memory) : texture_(texture), memory_(memory) {
        plane_index_.fill(kNoPlane);
    }

    [[nodiscard]] const Texture& texture() const { return texture_; }
    /// Whether a read was refused. Memory knows which.
    [[nodiscard]] bool faulted() const { return faulted_; }

    /// The plane of a level of a layer; null if there is none that suits the texture.
    const Plane* plane(unsigned level, unsigned layer) {
        if (level >= texture_.levels || layer >= texture_.layers) return nullptr;
        const std::uint32_t index = (layer * texture_.levels) + level;
        const std::size_t slot = index % kPlanes;
        if (plane_index_[slot] != index) read_plane(index);
        return plane_[slot] ? &*plane_[slot] : nullptr;
    }

    /// A plane has a size of its own, which is the image's: that of a view that sees blocks as texels is
    /// smaller.
    [[nodiscard]] unsigned width(unsigned level) const { return std::max(texture_.width >> level, 1U); }
    [[nodiscard]] unsigned height(unsigned level) const { return std::max(texture_.height >> level, 1U); }
    /// Depth of a level of three dimensions, number of samples otherwise.
    [[nodiscard]] unsigned slices(unsigned level) const {
        if (texture_.dimension != Dimension::d3) return texture_.samples;
        return std::max(texture_.depth >> level, 1U);
    }

    /// A texel that lies within its level, before the swizzle.
    Texel texel(const Plane& plane, unsigned x, unsigned y, unsigned slice) {
        Room room;
        const std::byte* const from = find(plane, x, y, slice, room);
        return from == nullptr ? Texel{} : texture_.format.decode(from);
    }
    /// The channels of a format that is_plain_bytes(), the first in the lowest byte.
    std::uint32_t texel_bytes(const Plane& plane, unsigned x, unsigned y, unsigned slice) {
        Room room;
        const std::byte* const from = find(plane, x, y, slice, room);
        std::uint32_t bytes = 0;
        if (from == nullptr) return bytes;
        switch (texture_.format.bytes()) {
            case 1:  std::memcpy(&bytes, from, 1); break;
            case 2:  std::memcpy(&bytes, from, 2); break;
            case 3:  std::memcpy(&bytes, from, 3); break;
            default: std::memcpy(&bytes, from, 4); break;
        }
        return bytes;
    }

    /// The four bytes at an address; 0 if they can't be read.
    std::uint32_t word(std::uint64_t address) {
        std::array<std::byte, 4> scratch;
        const std::byte* const from = read(address, sizeof(std::uint32_t), scratch.data());
        std::uint32_t word = 0;
        if (from != nullptr) [[likely]]
            std::memcpy(&word, from, sizeof word);
        return word;
    }

    /// Any texel: nothing if it lies outside.
    std::optional<Texel> fetch(unsigned level, unsigned layer, unsigned x, unsigned y, unsigned slice) {
        const Plane* const found = plane(level, layer);
        if (found == nullptr || x >= width(level) || y >= height(level) || slice >= slices(level))
            return std::nullopt;
        return texel(*found, x, y, slice);
    }

    /// Where a texel of level 0 lies, of planes that hold texels as the format has them.
    std::optional<std::uint64_t> address(unsigned layer, unsigned x, unsigned y, unsigned slice) {
        const Plane* const found = plane(0, layer);
        if (found == nullptr || x >= width(0) || y >= height(0) || slice >= slices(0) ||
            found->clump.expand != nullptr)
            return std::nullopt;
        return element_address(*found, x, y, slice) + found->clump.offset;
    }

    [[nodiscard]] Texel swizzled(const Texel& texel) const {
        return texture_.swizzles ? reordered(texel) : texel;
    }

  private:
    [[nodiscard]] Texel reordered(const Texel& texel) const;

    static constexpr std::size_t kPlanes = 8;
    static constexpr std::size_t kWindows = 4;
    static constexpr std::uint32_t kNoPlane = ~0U;

    struct Room {
        std::array<std::byte, kReadBytesMax> element;
        std::array<std::byte, PixelFormat::kBytesMax> texel;
    };
    /// A texel as the pixel format has it, in memory or in `room`; null if it can't be read.
    const std::byte* find(const Plane& plane, unsigned x, unsigned y, unsigned slice, Room& room) {
        const Clump& clump = plane.clump;
        const std::byte* const element =
            read(element_address(plane, x, y, slice), clump.bytes, room.element.data());
        if (element == nullptr) return nullptr;
        if (clump.expand == nullptr) [[likely]]
            return element + clump.offset;
        clump.expand(element, x % 4, y % 4, room.texel.data());
        return room.texel.data();
    }

    /// As Memory::read, without asking again for pages that were just read.
    const std::byte* read(std::uint64_t address, std::size_t bytes, std::byte* scratch) {
        const std::size_t offset = address % kPageBytes;
        const Window& window = window_[address / kPageBytes % kWindows];
        if (window.page == address - offset && offset + bytes <= kPageBytes) [[likely]]
            return window.host + offset;
        return read_anew(address, bytes, scratch);
    }
    const std::byte* read_anew(std::uint64_t address, std::size_t bytes, std::byte* scratch);
    void read_plane(std::uint32_t index);

    struct Window {
        std::uint64_t page = ~0ULL;  // no page starts there
        const std::byte* host = nullptr;
    };

    Texture texture_;
    Memory& memory_;
    bool faulted_ = false;
    std::array<Window, kWindows> window_{};
    std::array<std::uint32_t, kPlanes> plane_index_{};
    std::array<std::optional<Plane>, kPlanes> plane_{};
};

}  // namespace belfry::gpu::texture
