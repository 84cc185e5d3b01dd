// A memory and the descriptors in it, as a driver would write them, for tests of textures.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "gpu/texture/descriptor.hpp"
#include "gpu/texture/memory.hpp"
#include "gpu/texture/numbers.hpp"

namespace belfry::gpu::texture {

using Random = std::independent_bits_engine<std::mt19937, 32, std::uint32_t>;

/// One range of addresses that can be read, page by page; everything else is not mapped.
class TestMemory final : public Memory {
  public:
    static constexpr std::uint64_t kBase = 0x6e'0000'0000;

    explicit TestMemory(std::size_t bytes) : bytes_(bytes) {}

    const std::byte* read(std::uint64_t address, std::size_t bytes, std::byte* scratch) override {
        ++reads;
        if (address < kBase || address + bytes > kBase + bytes_.size() || bytes > kReadBytesMax)
            return nullptr;
        const std::size_t offset = address - kBase;
        if (offset / kPageBytes == (offset + bytes - 1) / kPageBytes) return &bytes_[offset];
        std::memcpy(scratch, &bytes_[offset], bytes);
        return scratch;
    }

    [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }
    template <typename Value>
    void write(std::uint64_t address, const Value& value) {
        std::memcpy(&bytes_.at(address - kBase), &value, sizeof value);
    }

    unsigned reads = 0;

  private:
    std::vector<std::byte> bytes_;
};

using DescriptorWords = std::array<std::uint32_t, 8>;

inline DescriptorBytes bytes_of(const DescriptorWords& words) {
    return std::as_bytes(std::span(words)).first<kDescriptorBytes>();
}

/// What a driver knows of an image.
struct ImageLayout {
    Dimension dimension = Dimension::d2;
    std::uint32_t format = 187U << 12;
    std::uint32_t clump = 2;
    unsigned element_bytes = 4;
    unsigned edge = 1;
    Ordering ordering = Ordering::linear;
    unsigned width = 1, height = 1, depth = 1, levels = 1, layers = 1, samples_log2 = 0;
    std::uint32_t swizzle = 0 | 1 << 3 | 2 << 6 | 3 << 9;
};

/// An image in a memory of its own, its planes before its texels.
class TestImage {
  public:
    explicit TestImage(const ImageLayout& image) : image_(image), memory_(measure(image)) {
        std::uint64_t next = texels_start();
        for (unsigned layer = 0; layer < faces(); ++layer)
            for (unsigned level = 0; level < image.levels; ++level) {
                write_plane(layer, level, next);
                next += level_bytes(image, level);
            }
    }

    [[nodiscard]] TestMemory& memory() { return memory_; }
    [[nodiscard]] unsigned faces() const { return faces_of(image_); }
    [[nodiscard]] DescriptorWords descriptor() const {
        return {2U | static_cast<unsigned>(image_.dimension) << 4 | image_.format << 10,
                (image_.width - 1) | (image_.height - 1) << 16,
                image_.swizzle | (image_.levels - 1) << 16,
                (image_.levels - 1) << 24 | image_.samples_log2 << 13,
                static_cast<std::uint32_t>(TestMemory::kBase),
                static_cast<std::uint32_t>(TestMemory::kBase >> 32),
                image_.layers - 1,
                image_.depth - 1};
    }
    [[nodiscard]] Texture texture() const {
        const DescriptorWords words = descriptor();
        return parse_texture(bytes_of(words)).value();
    }
    /// Where the element at (x, y) lies, by a bit by bit reading of the rule.
    [[nodiscard]] std::uint64_t element(unsigned layer, unsigned level, unsigned x, unsigned y,
                                        unsigned slice) const {
        std::uint64_t address = texels_start();
        for (unsigned l = 0; l < layer; ++l)
            for (unsigned i = 0; i < image_.levels; ++i) address += level_bytes(image_, i);
        for (unsigned i = 0; i < level; ++i) address += level_bytes(image_, i);
        address += std::uint64_t{surface_stride(image_, level)} * slice;
        const unsigned row = row_stride(image_, level);
        if (image_.ordering == Ordering::linear) return address + y * row + x * image_.element_bytes;
        const unsigned edge = image_.edge == 4 ? 4 : 16;
        unsigned index = 0;
        for (unsigned bit = 0; (1U << bit) < edge; ++bit) {
            const unsigned x_bit = x >> bit & 1;
            const unsigned y_bit = y >> bit & 1;
            index |= (x_bit ^ y_bit) << (2 * bit) | y_bit << (2 * bit + 1);
        }
        return address + y / edge * row + (x / edge * edge * edge + index) * image_.element_bytes;
    }
    template <typename Value>
    void put(const Value& value, unsigned x, unsigned y, unsigned slice = 0, unsigned level = 0,
             unsigned layer = 0) {
        memory_.write(element(layer, level, x, y, slice), value);
    }

    static unsigned minified(unsigned size, unsigned level) { return std::max(size >> level, 1U); }

  private:
    static std::uint64_t aligned(std::uint64_t value, std::uint64_t to) { return (value + to - 1) / to * to; }
    static unsigned elements(const ImageLayout& image, unsigned size) {
        return (size + image.edge - 1) / image.edge;
    }
    static unsigned faces_of(const ImageLayout& image) {
        return image.layers * (image.dimension == Dimension::cube ? 6 : 1);
    }
    static unsigned row_stride(const ImageLayout& image, unsigned level) {
        const unsigned width = elements(image, minified(image.width, level));
        if (image.ordering == Ordering::linear)
            return static_cast<unsigned>(aligned(std::uint64_t{width} * image.element_bytes, 64));
        const unsigned edge = image.edge == 4 ? 4 : 16;
        return static_cast<unsigned>(aligned(width, edge)) * image.element_bytes * edge;
    }
    static unsigned surface_stride(const ImageLayout& image, unsigned level) {
        const unsigned height = elements(image, minified(image.height, level));
        const unsigned tile = image.ordering == Ordering::linear ? 1 : image.edge == 4 ? 4 : 16;
        return static_cast<unsigned>(
            aligned(std::uint64_t{(height + tile - 1) / tile} * row_stride(image, level), 64));
    }
    static std::uint64_t level_bytes(const ImageLayout& image, unsigned level) {
        const unsigned slices =
            image.dimension == Dimension::d3 ? minified(image.depth, level) : 1U << image.samples_log2;
        return std::uint64_t{surface_stride(image, level)} * slices;
    }
    static std::size_t measure(const ImageLayout& image) {
        std::uint64_t bytes = aligned(std::uint64_t{faces_of(image)} * image.levels * kDescriptorBytes, 64);
        for (unsigned level = 0; level < image.levels; ++level)
            bytes += faces_of(image) * level_bytes(image, level);
        return aligned(bytes, kPageBytes);
    }
    [[nodiscard]] std::uint64_t texels_start() const {
        return TestMemory::kBase + aligned(std::uint64_t{faces()} * image_.levels * kDescriptorBytes, 64);
    }
    void write_plane(unsigned layer, unsigned level, std::uint64_t address) {
        const DescriptorWords words{
            10U | 1U << 4 | static_cast<unsigned>(image_.ordering) << 8 | image_.clump << 24,
            static_cast<std::uint32_t>(level_bytes(image_, level)),
            static_cast<std::uint32_t>(address),
            static_cast<std::uint32_t>(address >> 32),
            row_stride(image_, level),
            0,
            surface_stride(image_, level),
            (minified(image_.width, level) - 1) | (minified(image_.height, level) - 1) << 16};
        memory_.write(TestMemory::kBase + (layer * image_.levels + level) * kDescriptorBytes, words);
    }

    ImageLayout image_;
    TestMemory memory_;
};

/// A sampler as a driver would pack it; nearest and clamped unless told otherwise.
struct SamplerWords {
    unsigned wrap_s = 9, wrap_t = 9, wrap_r = 9;
    bool minify_linear = false, magnify_linear = false;
    unsigned mip_mode = 0;
    unsigned compare = 0, reduction = 0;
    bool normalized = true, seamless = true;
    int lod_bias_256 = 0;
    unsigned lod_min_256 = 0, lod_max_256 = 0x1fff;
    unsigned anisotropy = 1;
    std::array<std::uint32_t, 4> border{};

    [[nodiscard]] DescriptorWords words() const {
        return {1U | reduction << 4 | wrap_r << 8 | wrap_t << 12 | wrap_s << 16 | unsigned{seamless} << 23 |
                    unsigned{normalized} << 25 | unsigned{!minify_linear} << 27 |
                    unsigned{!magnify_linear} << 28 | mip_mode << 30,
                lod_min_256 | compare << 13 | lod_max_256 << 16,
                (static_cast<unsigned>(lod_bias_256) & 0xffff) | (anisotropy - 1) << 16 |
                    (anisotropy > 1 ? 3U << 24 : 0),
                0,
                border[0],
                border[1],
                border[2],
                border[3]};
    }
    [[nodiscard]] Sampler sampler() const {
        const DescriptorWords packed = words();
        return parse_sampler(bytes_of(packed)).value();
    }
};

}  // namespace belfry::gpu::texture
