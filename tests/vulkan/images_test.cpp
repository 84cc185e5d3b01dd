// Images and texel buffers without filters: every format that is offered, copies, layouts of every kind,
// atomics.

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "vulkan/rig.hpp"
#include "vulkan/texels.hpp"

namespace belfry::vulkan_test {
namespace {

VkBufferImageCopy whole_of(const VulkanImageOptions& options, std::uint32_t level = 0,
                           VkDeviceSize offset = 0) {
    return {.bufferOffset = offset,
            .imageSubresource = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT,
                                 .mipLevel = level,
                                 .baseArrayLayer = 0,
                                 .layerCount = options.layers},
            .imageExtent = {std::max(1U, options.extent.width >> level),
                            std::max(1U, options.extent.height >> level),
                            std::max(1U, options.extent.depth >> level)}};
}

std::uint32_t texels_of(const VkBufferImageCopy& region) {
    return region.imageExtent.width * region.imageExtent.height * region.imageExtent.depth *
           region.imageSubresource.layerCount;
}

bool has(VkFormatFeatureFlags features, VkFormatFeatureFlags wanted) { return (features & wanted) == wanted; }

TEST(Images, StorageImagesLoadAndStoreTheirFormats) {
    constexpr std::uint32_t kWidth = 37;
    constexpr std::uint32_t kHeight = 21;
    for (const TexelFormat& format : kTexelFormats) {
        if (format.storage == nullptr ||
            !has(device().format_features(format.format, VK_IMAGE_TILING_OPTIMAL),
                 VK_FORMAT_FEATURE_STORAGE_IMAGE_BIT))
            continue;
        SCOPED_TRACE(format.name);
        const auto bytes = format.random_texels(kWidth * kHeight);
        const VulkanBuffer in = buffer_of(bytes);
        const VulkanBuffer out = zeros<std::byte>(bytes.size());
        const VulkanBuffer loaded = zeros<Texel>(kWidth * kHeight);
        const VulkanImageOptions options{
            .format = format.format, .extent = {kWidth, kHeight, 1}, .usage = VK_IMAGE_USAGE_STORAGE_BIT};
        const VulkanImage from = device().make_image(options);
        const VulkanImage to = device().make_image(options);
        const VulkanKernel kernel = device().make_kernel(
            shader(std::string("image_pass_") + format.storage),
            {VulkanArgument::image(from), VulkanArgument::image(to), VulkanArgument::storage(loaded)});
        const VkBufferImageCopy all = whole_of(options);
        VulkanCommands commands(device());
        commands.make_usable(from).make_usable(to).copy(in, from, {&all, 1}).barrier();
        commands.bind(kernel).dispatch((kWidth + 7) / 8, (kHeight + 7) / 8).barrier();
        commands.copy(to, out, {&all, 1}).barrier();
        device().run(commands);
        format.expect_decoded(bytes, loaded.as<Texel>());
        expect_equal(values_of<std::uint8_t>(out),
                     std::vector<std::uint8_t>(in.as<std::uint8_t>().begin(), in.as<std::uint8_t>().end()));
    }
}

TEST(Images, EveryLevelOfEveryFormatIsFetched) {
    for (const VkImageTiling tiling : {VK_IMAGE_TILING_OPTIMAL, VK_IMAGE_TILING_LINEAR})
        for (const TexelFormat& format : kTexelFormats) {
            if (!has(device().format_features(format.format, tiling),
                     VK_FORMAT_FEATURE_SAMPLED_IMAGE_BIT | VK_FORMAT_FEATURE_TRANSFER_DST_BIT))
                continue;
            SCOPED_TRACE(std::string(format.name) +
                         (tiling == VK_IMAGE_TILING_LINEAR ? ", linear" : ", optimal"));
            const std::uint32_t levels = tiling == VK_IMAGE_TILING_LINEAR ? 1 : 4;
            const VulkanImageOptions options{.format = format.format,
                                             .extent = {45, 19, 1},
                                             .levels = levels,
                                             .usage = VK_IMAGE_USAGE_SAMPLED_BIT,
                                             .tiling = tiling};
            std::vector<VkBufferImageCopy> regions;
            std::uint32_t texels = 0;
            for (std::uint32_t level = 0; level < levels; ++level) {
                // A copy's offset is a multiple of 4 and of the texel.
                texels = (texels + 3) & ~3U;
                regions.push_back(whole_of(options, level, VkDeviceSize{texels} * format.bytes));
                texels += texels_of(regions.back());
            }
            const auto bytes = format.random_texels(texels);
            const VulkanBuffer in = buffer_of(bytes);
            const VulkanBuffer fetched = zeros<Texel>(texels);
            const VulkanImage image = device().make_image(options);
            const VulkanHandle<VkSampler> sampler = device().make_sampler({});
            const VulkanKernel kernel = device().make_kernel(
                shader(std::string("fetch_") + format.sampler()),
                {VulkanArgument::sampled(image, sampler), VulkanArgument::storage(fetched)},
                {.push_bytes = 8});
            VulkanCommands commands(device());
            commands.make_usable(image).copy(in, image, regions).barrier().bind(kernel);
            for (std::uint32_t level = 0; level < levels; ++level) {
                const std::array<std::uint32_t, 2> push{
                    level, static_cast<std::uint32_t>(regions[level].bufferOffset / format.bytes)};
                commands.push(kernel, push).dispatch(6, 3);
            }
            commands.barrier();
            device().run(commands);
            for (const VkBufferImageCopy& region : regions) {
                SCOPED_TRACE(testing::Message() << "level " << region.imageSubresource.mipLevel);
                const std::size_t first = region.bufferOffset / format.bytes;
                format.expect_decoded(
                    std::span(bytes).subspan(first * format.bytes, texels_of(region) * format.bytes),
                    fetched.as<Texel>().subspan(first, texels_of(region)));
            }
        }
}

TEST(Images, PartsOfImagesAreCopied) {
    struct Shape {
        VkImageType type;
        VkImageViewType view;
        VkExtent3D extent;
        std::uint32_t layers;
        VkFormat format;
        std::uint32_t texel_bytes;
    };
    for (const Shape& shape :
         {Shape{VK_IMAGE_TYPE_1D, VK_IMAGE_VIEW_TYPE_1D_ARRAY, {100, 1, 1}, 3, VK_FORMAT_R8G8B8A8_UNORM, 4},
          Shape{VK_IMAGE_TYPE_2D, VK_IMAGE_VIEW_TYPE_2D_ARRAY, {67, 35, 1}, 3, VK_FORMAT_R8_UINT, 1},
          Shape{VK_IMAGE_TYPE_2D,
                VK_IMAGE_VIEW_TYPE_2D_ARRAY,
                {67, 35, 1},
                2,
                VK_FORMAT_R16G16B16A16_SFLOAT,
                8},
          Shape{
              VK_IMAGE_TYPE_2D, VK_IMAGE_VIEW_TYPE_2D_ARRAY, {33, 70, 1}, 2, VK_FORMAT_R32G32B32A32_UINT, 16},
          Shape{VK_IMAGE_TYPE_3D, VK_IMAGE_VIEW_TYPE_3D, {21, 17, 9}, 1, VK_FORMAT_R16_UNORM, 2}}) {
        SCOPED_TRACE(testing::Message() << "format " << shape.format << ", type " << shape.type);
        const VulkanImageOptions options{.format = shape.format,
                                         .type = shape.type,
                                         .view = shape.view,
                                         .extent = shape.extent,
                                         .layers = shape.layers};
        const VulkanImage image = device().make_image(options);
        const VulkanImage other = device().make_image(options);
        const VkBufferImageCopy all = whole_of(options);
        const std::uint32_t bytes = texels_of(all) * shape.texel_bytes;
        Random random(31);
        std::vector<std::uint32_t> words = random.words((bytes + 3) / 4);
        if (shape.format == VK_FORMAT_R16G16B16A16_SFLOAT)
            for (std::uint32_t& word : words) word &= 0xbfffbfff;  // no NaN
        const VulkanBuffer first = buffer_of(words);
        const VulkanBuffer second = buffer_of(random.words(4096));
        const VulkanBuffer out = zeros<std::uint32_t>((bytes + 3) / 4);
        if (shape.format == VK_FORMAT_R16G16B16A16_SFLOAT)
            for (std::uint32_t& word : second.as<std::uint32_t>()) word &= 0xbfffbfff;

        // A part of the last layer and slice, from rows that are further apart than they are long.
        const auto at = [&](std::uint32_t of) { return static_cast<std::int32_t>(of > 8 ? 5 : 0); };
        VkBufferImageCopy part = all;
        part.bufferOffset = 64;
        part.bufferRowLength = 24;
        part.bufferImageHeight = 12;
        part.imageSubresource.baseArrayLayer = shape.layers - 1;
        part.imageSubresource.layerCount = 1;
        part.imageOffset = {at(shape.extent.width), at(shape.extent.height), at(shape.extent.depth)};
        part.imageExtent = {std::min(13U, shape.extent.width), std::min(11U, shape.extent.height),
                            shape.extent.depth > 8 ? 3U : 1U};
        const VkImageCopy across{.srcSubresource = all.imageSubresource,
                                 .srcOffset = {},
                                 .dstSubresource = all.imageSubresource,
                                 .dstOffset = {},
                                 .extent = shape.extent};
        VulkanCommands commands(device());
        commands.make_usable(image).make_usable(other).copy(first, image, {&all, 1}).barrier();
        commands.copy(second, image, {&part, 1}).barrier();
        device().functions().CmdCopyImage(commands.get(), image.handle.get(), VK_IMAGE_LAYOUT_GENERAL,
                                          other.handle.get(), VK_IMAGE_LAYOUT_GENERAL, 1, &across);
        commands.barrier().copy(other, out, {&all, 1}).barrier();
        device().run(commands);

        std::vector<std::byte> expected(bytes);
        std::memcpy(expected.data(), words.data(), bytes);
        for (std::uint32_t z = 0; z < part.imageExtent.depth; ++z)
            for (std::uint32_t y = 0; y < part.imageExtent.height; ++y) {
                const std::size_t slice =
                    part.imageSubresource.baseArrayLayer + z + static_cast<std::uint32_t>(part.imageOffset.z);
                const std::size_t row = y + static_cast<std::uint32_t>(part.imageOffset.y);
                const std::size_t texel = (slice * shape.extent.height + row) * shape.extent.width +
                                          static_cast<std::uint32_t>(part.imageOffset.x);
                std::memcpy(&expected[texel * shape.texel_bytes],
                            &second.bytes[64 + (z * 12 + y) * std::size_t{24} * shape.texel_bytes],
                            std::size_t{part.imageExtent.width} * shape.texel_bytes);
            }
        const auto got = values_of<std::byte>(out);
        for (std::size_t i = 0; i < bytes; ++i) ASSERT_EQ(got[i], expected[i]) << "byte " << i;
    }
}

TEST(Images, LayersSlicesAndFacesAreTold) {
    struct Kind {
        const char* shader;
        VkImageType type;
        VkImageViewType view;
        VkExtent3D extent;
        std::uint32_t layers;
        Groups groups;
    };
    for (const Kind& kind :
         {Kind{"image_kinds_1d", VK_IMAGE_TYPE_1D, VK_IMAGE_VIEW_TYPE_1D, {512, 1, 1}, 1, {128, 0, 0}},
          Kind{"image_kinds_1d_array",
               VK_IMAGE_TYPE_1D,
               VK_IMAGE_VIEW_TYPE_1D_ARRAY,
               {20, 1, 1},
               12,
               {5, 3, 0}},
          Kind{"image_kinds_2d_array",
               VK_IMAGE_TYPE_2D,
               VK_IMAGE_VIEW_TYPE_2D_ARRAY,
               {20, 12, 1},
               6,
               {5, 3, 3}},
          Kind{"image_kinds_3d", VK_IMAGE_TYPE_3D, VK_IMAGE_VIEW_TYPE_3D, {20, 12, 6}, 1, {5, 3, 3}},
          Kind{"image_kinds_cube", VK_IMAGE_TYPE_2D, VK_IMAGE_VIEW_TYPE_CUBE, {12, 12, 1}, 6, {3, 3, 3}},
          Kind{"image_kinds_cube_array",
               VK_IMAGE_TYPE_2D,
               VK_IMAGE_VIEW_TYPE_CUBE_ARRAY,
               {12, 12, 1},
               12,
               {3, 3, 6}}}) {
        SCOPED_TRACE(kind.shader);
        const bool cube = kind.view == VK_IMAGE_VIEW_TYPE_CUBE || kind.view == VK_IMAGE_VIEW_TYPE_CUBE_ARRAY;
        const VulkanImageOptions options{
            .format = VK_FORMAT_R32_UINT,
            .type = kind.type,
            .view = kind.view,
            .extent = kind.extent,
            .layers = kind.layers,
            .usage = VK_IMAGE_USAGE_STORAGE_BIT,
            .flags = cube ? VkImageCreateFlags{VK_IMAGE_CREATE_CUBE_COMPATIBLE_BIT} : 0};
        const VulkanImage image = device().make_image(options);
        const VkBufferImageCopy all = whole_of(options);
        const auto words = Random(32).words(texels_of(all));
        const VulkanBuffer in = buffer_of(words);
        const VulkanBuffer out = zeros<std::uint32_t>(words.size());
        const VulkanBuffer result = zeros<std::uint32_t>(words.size());
        const VulkanKernel kernel = device().make_kernel(
            shader(kind.shader), {VulkanArgument::image(image), VulkanArgument::storage(result)});
        VulkanCommands commands(device());
        commands.make_usable(image).copy(in, image, {&all, 1}).barrier().bind(kernel);
        commands.dispatch(kind.groups.x, std::max(1U, kind.groups.y), std::max(1U, kind.groups.z)).barrier();
        commands.copy(image, out, {&all, 1}).barrier();
        device().run(commands);
        expect_equal(values_of<std::uint32_t>(result), words);
        std::vector<std::uint32_t> stored(words.size());
        for (std::uint32_t i = 0; i < stored.size(); ++i) stored[i] = i * 3 + 1;
        expect_equal(values_of<std::uint32_t>(out), stored);
    }
}

TEST(Images, TexelBuffersAreFetchedLoadedAndStored) {
    constexpr std::uint32_t kTexels = 500;
    for (const TexelFormat& format : kTexelFormats) {
        if (format.storage == nullptr ||
            !has(device().buffer_features(format.format),
                 VK_FORMAT_FEATURE_UNIFORM_TEXEL_BUFFER_BIT | VK_FORMAT_FEATURE_STORAGE_TEXEL_BUFFER_BIT))
            continue;
        SCOPED_TRACE(format.name);
        constexpr VkDeviceSize kOffset = 256;
        std::vector<std::byte> bytes(kOffset);
        const auto texels = format.random_texels(kTexels);
        bytes.insert(bytes.end(), texels.begin(), texels.end());
        const VulkanBuffer in = buffer_of(bytes);
        const VulkanBuffer out = zeros<std::byte>(texels.size());
        const VulkanBuffer result = zeros<Texel>(kTexels);
        const auto from = device().make_view(in, format.format, kOffset, texels.size());
        const auto to = device().make_view(out, format.format);
        run(std::string("texels_") + format.storage, {(kTexels + 63) / 64},
            {VulkanArgument::uniform_texels(from), VulkanArgument::storage_texels(from),
             VulkanArgument::storage_texels(to), VulkanArgument::storage(result)});
        format.expect_decoded(texels, result.as<Texel>());
        std::vector<std::uint8_t> reversed;
        for (std::uint32_t i = 0; i < kTexels; ++i)
            for (std::uint32_t byte = 0; byte < format.bytes; ++byte)
                reversed.push_back(
                    static_cast<std::uint8_t>(texels[(kTexels - 1 - i) * format.bytes + byte]));
        expect_equal(values_of<std::uint8_t>(out), reversed);
    }
}

TEST(Images, AtomicsOnTexelsLoseNothing) {
    const VulkanImageOptions unsigned_options{
        .format = VK_FORMAT_R32_UINT, .extent = {8, 8, 1}, .usage = VK_IMAGE_USAGE_STORAGE_BIT};
    VulkanImageOptions signed_options = unsigned_options;
    signed_options.format = VK_FORMAT_R32_SINT;
    const VulkanImage words = device().make_image(unsigned_options);
    const VulkanImage numbers = device().make_image(signed_options);
    const VulkanBuffer counts = zeros<std::uint32_t>(16);
    const VulkanBuffer tickets = zeros<std::uint32_t>(1024);
    const VulkanBuffer out = zeros<std::uint32_t>(128);
    const VulkanBuffer nothing = zeros<std::uint32_t>(64);
    const auto view = device().make_view(counts, VK_FORMAT_R32_UINT);
    const VulkanKernel kernel = device().make_kernel(
        shader("image_atomics"), {VulkanArgument::image(words), VulkanArgument::image(numbers),
                                  VulkanArgument::storage_texels(view), VulkanArgument::storage(tickets)});
    const VkBufferImageCopy first = whole_of(unsigned_options);
    const VkBufferImageCopy second = whole_of(unsigned_options, 0, 256);
    VulkanCommands commands(device());
    commands.make_usable(words)
        .make_usable(numbers)
        .copy(nothing, words, {&first, 1})
        .copy(nothing, numbers, {&first, 1});
    commands.barrier().bind(kernel).dispatch(4, 4).barrier();
    commands.copy(words, out, {&first, 1}).copy(numbers, out, {&second, 1}).barrier();
    device().run(commands);

    const auto got = out.as<std::uint32_t>();
    std::uint32_t parity = 0;
    std::array<std::uint32_t, 6> spots{};
    for (std::uint32_t i = 0; i < 1024; ++i) {
        parity ^= i * 2'654'435'761U;
        ++spots[i % 3 + 3 * (i % 2)];
    }
    for (std::uint32_t spot = 0; spot < 6; ++spot)
        EXPECT_EQ(got[spot % 3 + 8 * (spot / 3)], spots[spot]) << spot;
    EXPECT_EQ(got[8 * 4 + 4], parity);
    EXPECT_EQ(got[8 * 4 + 5], ~0U);
    EXPECT_EQ(got[8 * 4 + 6] + got[8 * 4 + 7], 1024U * 1025 / 2);
    EXPECT_EQ(got[64], 1023U - 7);
    EXPECT_EQ(got[65], static_cast<std::uint32_t>(-7));
    for (std::uint32_t i = 0; i < 5; ++i)
        EXPECT_EQ(counts.as<std::uint32_t>()[i], 2 * (1024 / 5 + (i < 4 ? 1U : 0U)));
    EXPECT_NE(counts.as<std::uint32_t>()[6], 0U);
    // The tickets of each spot are all from 0 on.
    std::array<std::vector<std::uint32_t>, 6> of_spot;
    for (std::uint32_t i = 0; i < 1024; ++i)
        of_spot[i % 3 + 3 * (i % 2)].push_back(tickets.as<std::uint32_t>()[i]);
    for (auto& drawn : of_spot) {
        std::ranges::sort(drawn);
        for (std::uint32_t i = 0; i < drawn.size(); ++i) ASSERT_EQ(drawn[i], i);
    }
}

TEST(Images, AccessOutsideOfThemTouchesNothing) {
    VulkanDevice robust({.robust_access = true});
    const VulkanImageOptions options{.extent = {10, 7, 1},
                                     .usage = VK_IMAGE_USAGE_STORAGE_BIT | VK_IMAGE_USAGE_SAMPLED_BIT};
    const VulkanImage image = robust.make_image(options);
    const VulkanBuffer in = robust.make_buffer(280);
    const VulkanBuffer out = robust.make_buffer(280);
    const VulkanBuffer result = robust.make_buffer(2048);
    std::ranges::fill(in.bytes, std::byte{51});
    const VulkanHandle<VkSampler> sampler = robust.make_sampler({});
    const VulkanKernel kernel = robust.make_kernel(
        shader("image_robust"), {VulkanArgument::image(image), VulkanArgument::sampled(image, sampler),
                                 VulkanArgument::storage(result)});
    const VkBufferImageCopy all = whole_of(options);
    VulkanCommands commands(robust);
    commands.make_usable(image).copy(in, image, {&all, 1}).barrier().bind(kernel).dispatch(1).barrier();
    commands.copy(image, out, {&all, 1}).barrier();
    robust.run(commands);
    for (const std::byte byte : out.bytes) ASSERT_EQ(byte, std::byte{51});
    for (std::int32_t i = 0; i < 64; ++i) {
        const std::int32_t x = i * 3 - 20;
        const bool inside = x >= 0 && x < 10 && i / 2 < 7;
        for (const std::int32_t at : {i, 64 + i}) {
            const auto texel = result.as<std::array<float, 4>>()[static_cast<std::size_t>(at)];
            for (unsigned channel = 0; channel < 3; ++channel)
                ASSERT_FLOAT_EQ(texel[channel], inside ? 0.2F : 0.0F) << at;
            if (inside) {
                ASSERT_FLOAT_EQ(texel[3], 0.2F) << at;
            }
        }
    }
}

}  // namespace
}  // namespace belfry::vulkan_test
