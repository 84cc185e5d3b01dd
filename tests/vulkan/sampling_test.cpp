// Sampling: filters, ways to wrap, levels, layers, slices and faces, against Vulkan's own formulas in
// doubles.

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "vulkan/rig.hpp"

namespace belfry::vulkan_test {
namespace {

using Color = std::array<double, 4>;
using Place = std::array<float, 4>;

/// Weights have 8 bits at least, and texels of 8 bits differ by 1 at most.
constexpr double kFilterError = 1.0 / 96;

/// An image whose texels are known: of one kind, all levels and layers random bytes.
struct Picture {
    VkImageViewType view;
    VkExtent3D extent;
    std::uint32_t levels = 1;
    std::uint32_t layers = 1;
    VulkanImage image{};
    std::vector<std::vector<std::uint8_t>> bytes{};  // of each level

    void make(std::uint32_t seed) {
        const bool cube = view == VK_IMAGE_VIEW_TYPE_CUBE || view == VK_IMAGE_VIEW_TYPE_CUBE_ARRAY;
        const bool line = view == VK_IMAGE_VIEW_TYPE_1D || view == VK_IMAGE_VIEW_TYPE_1D_ARRAY;
        image = device().make_image(
            {.format = VK_FORMAT_R8G8B8A8_UNORM,
             .type = view == VK_IMAGE_VIEW_TYPE_3D ? VK_IMAGE_TYPE_3D
                     : line                        ? VK_IMAGE_TYPE_1D
                                                   : VK_IMAGE_TYPE_2D,
             .view = view,
             .extent = extent,
             .levels = levels,
             .layers = layers,
             .usage = VK_IMAGE_USAGE_SAMPLED_BIT,
             .flags = cube ? VkImageCreateFlags{VK_IMAGE_CREATE_CUBE_COMPATIBLE_BIT} : 0});
        Random random(seed);
        std::vector<VkBufferImageCopy> regions;
        std::vector<std::uint32_t> words;
        for (std::uint32_t level = 0; level < levels; ++level) {
            const VkExtent3D size = size_of(level);
            regions.push_back({.bufferOffset = words.size() * 4,
                               .imageSubresource = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT,
                                                    .mipLevel = level,
                                                    .layerCount = layers},
                               .imageExtent = size});
            const auto of_level = random.words(std::size_t{size.width} * size.height * size.depth * layers);
            bytes.emplace_back(of_level.size() * 4);
            std::memcpy(bytes.back().data(), of_level.data(), bytes.back().size());
            words.insert(words.end(), of_level.begin(), of_level.end());
        }
        const VulkanBuffer in = buffer_of(words);
        VulkanCommands commands(device());
        commands.make_usable(image).copy(in, image, regions).barrier();
        device().run(commands);
    }
    [[nodiscard]] VkExtent3D size_of(std::uint32_t level) const {
        return {std::max(1U, extent.width >> level), std::max(1U, extent.height >> level),
                std::max(1U, extent.depth >> level)};
    }
    [[nodiscard]] Color texel(std::uint32_t level, std::int64_t x, std::int64_t y, std::int64_t slice) const {
        const VkExtent3D size = size_of(level);
        const std::int64_t at = ((slice * size.height + y) * size.width + x) * 4;
        Color color;
        for (unsigned i = 0; i < 4; ++i) color[i] = bytes[level][static_cast<std::size_t>(at) + i] / 255.0;
        return color;
    }
};

/// Where a coordinate leads; -1 is the border.
std::int64_t wrapped(std::int64_t at, std::int64_t size, VkSamplerAddressMode mode) {
    const auto modulo = [](std::int64_t a, std::int64_t n) { return (a % n + n) % n; };
    switch (mode) {
        case VK_SAMPLER_ADDRESS_MODE_REPEAT:          return modulo(at, size);
        case VK_SAMPLER_ADDRESS_MODE_MIRRORED_REPEAT: {
            const std::int64_t in_two = modulo(at, 2 * size) - size;
            return size - 1 - (in_two >= 0 ? in_two : -(1 + in_two));
        }
        case VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE: return std::clamp<std::int64_t>(at, 0, size - 1);
        default:                                    return at >= 0 && at < size ? at : -1;
    }
}

/// One level, with the coordinates in texels.
Color filtered(const Picture& picture, const VkSamplerCreateInfo& sampler, std::uint32_t level,
               std::array<double, 3> at, VkFilter filter, std::int64_t layer) {
    const VkExtent3D size = picture.size_of(level);
    const std::int64_t sizes[3] = {size.width, size.height, size.depth};
    const VkSamplerAddressMode modes[3] = {sampler.addressModeU, sampler.addressModeV, sampler.addressModeW};
    Color border{0, 0, 0, 0};
    if (sampler.borderColor == VK_BORDER_COLOR_FLOAT_OPAQUE_WHITE) border = {1, 1, 1, 1};
    if (sampler.borderColor == VK_BORDER_COLOR_FLOAT_OPAQUE_BLACK) border = {0, 0, 0, 1};
    const bool linear = filter == VK_FILTER_LINEAR;
    Color sum{};
    for (unsigned corner = 0; corner < (linear ? 8U : 1U); ++corner) {
        double weight = 1;
        std::int64_t texel[3];
        bool inside = true;
        for (unsigned i = 0; i < 3; ++i) {
            const double place = linear ? at[i] - 0.5 : at[i];
            const double low = std::floor(place);
            const bool second = (corner >> i & 1) != 0;
            if (linear) weight *= second ? place - low : 1 - (place - low);
            texel[i] = wrapped(static_cast<std::int64_t>(low) + (second ? 1 : 0), sizes[i], modes[i]);
            inside = inside && texel[i] >= 0;
        }
        if (weight == 0) continue;
        const Color color =
            inside ? picture.texel(level, texel[0], texel[1], layer >= 0 ? layer : texel[2]) : border;
        for (unsigned i = 0; i < 4; ++i) sum[i] += weight * color[i];
    }
    return sum;
}

struct Sampled {
    Color color;
    bool sure = true;  ///< not so near to where another texel begins that any other rounding finds that one
};

/// `dimensions` coordinates are filtered; a layer is told by itself, -1 for none.
Sampled sampled(const Picture& picture, const VkSamplerCreateInfo& sampler, std::array<double, 3> place,
                unsigned dimensions, std::int64_t layer, double lod) {
    const double clamped = std::clamp(lod + sampler.mipLodBias, static_cast<double>(sampler.minLod),
                                      static_cast<double>(sampler.maxLod));
    const double last = picture.levels - 1;
    // Levels have 8 bits behind the point.
    const bool either_filter = sampler.magFilter != sampler.minFilter && std::abs(clamped) < 1.0 / 128;
    const VkFilter filter = clamped <= 0 ? sampler.magFilter : sampler.minFilter;
    const auto level_at = [&](double level) {
        const auto number = static_cast<std::uint32_t>(std::clamp(level, 0.0, last));
        const VkExtent3D size = picture.size_of(number);
        const double sizes[3] = {static_cast<double>(size.width), static_cast<double>(size.height),
                                 static_cast<double>(size.depth)};
        std::array<double, 3> at{0.5, 0.5, 0.5};
        bool sure = !either_filter;
        for (unsigned i = 0; i < dimensions; ++i) {
            at[i] = place[i] * sizes[i];
            if (filter == VK_FILTER_NEAREST && std::abs(at[i] - std::round(at[i])) < 1.0 / 64) sure = false;
        }
        return Sampled{filtered(picture, sampler, number, at, filter, layer), sure};
    };
    if (sampler.mipmapMode == VK_SAMPLER_MIPMAP_MODE_NEAREST) {
        const double level = std::ceil(clamped + 0.5) - 1;
        Sampled result = level_at(level);
        result.sure = result.sure && std::abs(clamped + 0.5 - std::round(clamped + 0.5)) > 1.0 / 128;
        return result;
    }
    const double within = std::clamp(clamped, 0.0, last);
    const Sampled low = level_at(std::floor(within));
    const Sampled high = level_at(std::floor(within) + 1);
    const double weight = within - std::floor(within);
    Sampled result{{}, low.sure && high.sure};
    for (unsigned i = 0; i < 4; ++i) result.color[i] = low.color[i] * (1 - weight) + high.color[i] * weight;
    return result;
}

VkSamplerCreateInfo sampler_of(VkFilter filter, VkSamplerAddressMode mode,
                               VkSamplerMipmapMode levels = VK_SAMPLER_MIPMAP_MODE_NEAREST) {
    return {.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO,
            .magFilter = filter,
            .minFilter = filter,
            .mipmapMode = levels,
            .addressModeU = mode,
            .addressModeV = mode,
            .addressModeW = mode,
            .maxLod = VK_LOD_CLAMP_NONE,
            .borderColor = VK_BORDER_COLOR_FLOAT_OPAQUE_WHITE};
}

/// Samples at random places; `expected_of` is given each and its level.
void try_places(const char* kind, const Picture& picture, const VkSamplerCreateInfo& info, double lod_to,
                const std::function<Place(Random&)>& draw,
                const std::function<Sampled(const Place&, double lod)>& expected_of) {
    constexpr std::uint32_t kPlaces = 512;
    Random random(77);
    std::vector<Place> places(kPlaces);
    std::vector<float> lods(kPlaces);
    for (std::uint32_t i = 0; i < kPlaces; ++i) {
        places[i] = draw(random);
        lods[i] = static_cast<float>((random.word() / 0x1p32) * (lod_to + 1) - (lod_to > 0 ? 1 : 0));
    }
    const VulkanBuffer place_buffer = buffer_of(places);
    const VulkanBuffer lod_buffer = buffer_of(lods);
    const VulkanBuffer result = zeros<Place>(kPlaces);
    const VulkanHandle<VkSampler> sampler = device().make_sampler(info);
    run(std::string("sample_") + kind, {kPlaces / 64},
        {VulkanArgument::sampled(picture.image, sampler), VulkanArgument::storage(place_buffer),
         VulkanArgument::storage(lod_buffer), VulkanArgument::storage(result)},
        {kPlaces});
    unsigned told = 0;
    unsigned sure = 0;
    for (std::uint32_t i = 0; i < kPlaces && told < 4; ++i) {
        const Sampled expected = expected_of(places[i], lods[i]);
        if (!expected.sure) continue;
        ++sure;
        const Place& got = result.as<Place>()[i];
        for (unsigned channel = 0; channel < 4; ++channel) {
            if (std::abs(got[channel] - expected.color[channel]) <= kFilterError) continue;
            ADD_FAILURE() << "at " << testing::PrintToString(places[i]) << " of level " << lods[i] << ": got "
                          << testing::PrintToString(got) << ", expected "
                          << testing::PrintToString(expected.color);
            ++told;
            break;
        }
    }
    EXPECT_GT(sure, kPlaces / 3);
}

float drawn(Random& random, double from, double to) {
    return static_cast<float>(from + (to - from) * (random.word() / 0x1p32));
}

constexpr VkSamplerAddressMode kModes[] = {
    VK_SAMPLER_ADDRESS_MODE_REPEAT, VK_SAMPLER_ADDRESS_MODE_MIRRORED_REPEAT,
    VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE, VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_BORDER};

TEST(Sampling, FiltersAndWaysToWrapAreAsVulkanHasThem) {
    struct Kind {
        const char* shader;
        Picture picture;
        unsigned dimensions;
        unsigned layer_at;  // which coordinate is the layer; 0: none
    };
    Kind kinds[] = {{"1d", {VK_IMAGE_VIEW_TYPE_1D, {19, 1, 1}}, 1, 0},
                    {"1d_array", {VK_IMAGE_VIEW_TYPE_1D_ARRAY, {19, 1, 1}, 1, 5}, 1, 1},
                    {"2d", {VK_IMAGE_VIEW_TYPE_2D, {16, 16, 1}}, 2, 0},
                    {"2d", {VK_IMAGE_VIEW_TYPE_2D, {13, 7, 1}}, 2, 0},
                    {"2d_array", {VK_IMAGE_VIEW_TYPE_2D_ARRAY, {13, 7, 1}, 1, 4}, 2, 2},
                    {"3d", {VK_IMAGE_VIEW_TYPE_3D, {9, 7, 5}}, 3, 0}};
    for (Kind& kind : kinds) {
        kind.picture.make(41);
        for (const VkFilter filter : {VK_FILTER_NEAREST, VK_FILTER_LINEAR})
            for (const VkSamplerAddressMode mode : kModes) {
                SCOPED_TRACE(testing::Message() << kind.shader << ", filter " << filter << ", mode " << mode);
                const VkSamplerCreateInfo info = sampler_of(filter, mode);
                try_places(
                    kind.shader, kind.picture, info, 0,
                    [&](Random& random) {
                        Place place{drawn(random, -1.6, 2.6), drawn(random, -1.6, 2.6),
                                    drawn(random, -1.6, 2.6), 0};
                        if (kind.layer_at != 0) place[kind.layer_at] = drawn(random, -1, 6);
                        return place;
                    },
                    [&](const Place& place, double) {
                        std::int64_t layer = -1;
                        double part = 0.25;
                        if (kind.layer_at != 0) {
                            const double wanted = place[kind.layer_at];
                            part = std::abs(wanted - std::floor(wanted) - 0.5);
                            layer = static_cast<std::int64_t>(
                                std::clamp(std::nearbyint(wanted), 0.0, kind.picture.layers - 1.0));
                        }
                        Sampled result = sampled(kind.picture, info, {place[0], place[1], place[2]},
                                                 kind.dimensions, layer, 0);
                        result.sure = result.sure && part > 1.0 / 64;
                        return result;
                    });
            }
    }
}

TEST(Sampling, LevelsAreChosenAndMixed) {
    Picture picture{VK_IMAGE_VIEW_TYPE_2D, {32, 20, 1}, 5};
    picture.make(42);
    for (const VkSamplerMipmapMode levels : {VK_SAMPLER_MIPMAP_MODE_NEAREST, VK_SAMPLER_MIPMAP_MODE_LINEAR})
        for (unsigned variant = 0; variant < 4; ++variant) {
            SCOPED_TRACE(testing::Message() << "mode " << levels << ", variant " << variant);
            VkSamplerCreateInfo info = sampler_of(VK_FILTER_LINEAR, VK_SAMPLER_ADDRESS_MODE_REPEAT, levels);
            if (variant == 1) info.mipLodBias = 0.75;
            if (variant == 2) info.minLod = 1.25, info.maxLod = 2.5;
            if (variant == 3) info.magFilter = VK_FILTER_NEAREST;
            try_places(
                "2d", picture, info, 6,
                [](Random& random) { return Place{drawn(random, 0, 1), drawn(random, 0, 1), 0, 0}; },
                [&](const Place& place, double lod) {
                    return sampled(picture, info, {place[0], place[1], 0}, 2, 0, lod);
                });
        }
}

/// The face that a direction meets, and where.
struct Face {
    std::int64_t face;
    double s;
    double t;
    double margin;  // by how much the greatest coordinate is the greatest
};

Face face_of(const Place& direction) {
    const double x = direction[0];
    const double y = direction[1];
    const double z = direction[2];
    const double ax = std::abs(x);
    const double ay = std::abs(y);
    const double az = std::abs(z);
    const double most = std::max({ax, ay, az});
    double sc = 0;
    double tc = 0;
    std::int64_t face = 0;
    if (most == ax) {
        face = x > 0 ? 0 : 1;
        sc = x > 0 ? -z : z;
        tc = -y;
    } else if (most == ay) {
        face = y > 0 ? 2 : 3;
        sc = x;
        tc = y > 0 ? z : -z;
    } else {
        face = z > 0 ? 4 : 5;
        sc = z > 0 ? x : -x;
        tc = -y;
    }
    const double others = ax + ay + az - most - std::min({ax, ay, az});
    return {face, 0.5 * sc / most + 0.5, 0.5 * tc / most + 0.5, 1 - others / most};
}

TEST(Sampling, DirectionsMeetTheFacesOfCubes) {
    struct Kind {
        const char* shader;
        Picture picture;
    };
    Kind kinds[] = {{"cube", {VK_IMAGE_VIEW_TYPE_CUBE, {16, 16, 1}, 1, 6}},
                    {"cube_array", {VK_IMAGE_VIEW_TYPE_CUBE_ARRAY, {8, 8, 1}, 1, 18}}};
    for (Kind& kind : kinds) {
        kind.picture.make(43);
        const auto cubes = kind.picture.layers / 6;
        for (const VkFilter filter : {VK_FILTER_NEAREST, VK_FILTER_LINEAR}) {
            SCOPED_TRACE(testing::Message() << kind.shader << ", filter " << filter);
            const VkSamplerCreateInfo info = sampler_of(filter, VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE);
            try_places(
                kind.shader, kind.picture, info, 0,
                [&](Random& random) {
                    return Place{drawn(random, -1, 1), drawn(random, -1, 1), drawn(random, -1, 1),
                                 std::floor(drawn(random, 0, cubes))};
                },
                [&](const Place& place, double) {
                    const Face face = face_of(place);
                    Sampled result = sampled(kind.picture, info, {face.s, face.t, 0}, 2,
                                             static_cast<std::int64_t>(place[3]) * 6 + face.face, 0);
                    // Filters cross the edges of faces, which this model does not.
                    const double edge = 0.51 / kind.picture.extent.width;
                    const bool inner = std::min({face.s, face.t, 1 - face.s, 1 - face.t}) > edge;
                    result.sure = result.sure && face.margin > 1e-3 && (filter == VK_FILTER_NEAREST || inner);
                    return result;
                });
        }
    }
}

TEST(Sampling, GathersOffsetsGradientsAndSizesAreRight) {
    Picture pictures[] = {{VK_IMAGE_VIEW_TYPE_2D, {8, 8, 1}, 4},
                          {VK_IMAGE_VIEW_TYPE_2D, {8, 8, 1}, 2},
                          {VK_IMAGE_VIEW_TYPE_2D, {23, 12, 1}, 3}};
    for (std::uint32_t i = 0; i < 3; ++i) pictures[i].make(50 + i);
    const VkSamplerCreateInfo info = sampler_of(VK_FILTER_NEAREST, VK_SAMPLER_ADDRESS_MODE_REPEAT);
    const VulkanHandle<VkSampler> sampler = device().make_sampler(info);
    VulkanArgument images = VulkanArgument::texture(pictures[0].image);
    for (const unsigned i : {1U, 2U})
        images.images.push_back(VulkanArgument::texture(pictures[i].image).images[0]);
    const VulkanBuffer result = zeros<Place>(80);
    run("sample_more", {1}, {images, VulkanArgument::sampler(sampler), VulkanArgument::storage(result)}, {1});

    const auto got = result.as<Place>();
    const auto expect_color = [](const Place& color, const Color& expected, const char* what) {
        for (unsigned i = 0; i < 4; ++i)
            EXPECT_NEAR(color[i], expected[i], kFilterError) << what << ", channel " << i;
    };
    for (std::uint32_t i = 0; i < 16; ++i) {
        SCOPED_TRACE(testing::Message() << "invocation " << i);
        const std::int64_t x = i % 4;
        const std::int64_t y = i / 4;
        const auto texel = [&](std::int64_t u, std::int64_t v) {
            return pictures[0].texel(0, (u + 8) % 8, (v + 8) % 8, 0);
        };
        expect_color(got[i], {texel(x, y + 1)[1], texel(x + 1, y + 1)[1], texel(x + 1, y)[1], texel(x, y)[1]},
                     "gather");
        expect_color(got[16 + i], texel(x + 3, y - 2), "offset");
        // Level 2 has two texels each way; i / 16 is an edge of one only at 0 and 8.
        if (i % 8 != 0) expect_color(got[32 + i], pictures[0].texel(2, i / 8, i / 8, 0), "gradient");
        Color sum{};
        for (unsigned n = 1; n < 3; ++n) {
            const auto of =
                sampled(pictures[n], info,
                        {(static_cast<double>(x) + 0.5) / 8, (static_cast<double>(y) + 0.5) / 8, 0}, 2, 0, 0);
            for (unsigned channel = 0; channel < 4; ++channel) sum[channel] += of.color[channel];
        }
        // The lavapipe of Mesa 22.3 gives all lanes the texel of the first one.
        if (!on_cpu()) expect_color(got[48 + i], sum, "sum of several images");
        const VkExtent3D size = pictures[2].size_of(1);
        EXPECT_EQ(got[64 + i][0], static_cast<float>(size.width));
        EXPECT_EQ(got[64 + i][1], static_cast<float>(size.height));
        EXPECT_EQ(got[64 + i][2], 2.0F);
        EXPECT_NEAR(got[64 + i][3], texel(x + 2, y + 2)[2], kFilterError) << "gather with an offset";
    }
}

}  // namespace
}  // namespace belfry::vulkan_test
