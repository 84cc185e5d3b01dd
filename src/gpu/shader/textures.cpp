// TEX_SINGLE, TEX_FETCH, TEX_GATHER, TEX_GRADIENT: lookups through texture and sampler handles.
//
// Handles may differ between lanes; lanes of the same two are done together. What has no descriptor reads as
// 0. The gradient words are between TEX_GRADIENT and TEX_SINGLE: LOD and number of lookups in the first,
// their extent as two halves in the second.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>

#include "gpu/shader/access.hpp"
#include "gpu/shader/execution.hpp"
#include "gpu/shader/messages.hpp"
#include "gpu/shader/texture_access.hpp"
#include "gpu/texture/cube.hpp"
#include "gpu/texture/numbers.hpp"
#include "gpu/texture/planar.hpp"
#include "gpu/texture/sample.hpp"
#include "gpu/texture/view.hpp"

namespace belfry::gpu::shader {
namespace {

using texture::as_float;
using valhall::LodMode;
using valhall::Mod;
using Name = valhall::Op;

/// The fields of a texture instruction. Where it has not got one, that is 0.
struct Fields {
    valhall::Dimension dimension;
    LodMode lod_mode;
    bool wide, array, shadow, offset, no_bias, no_clamp;
    unsigned component;
    unsigned write_mask;
    texture::RegisterFormat format;

    [[nodiscard]] bool cube() const { return dimension == valhall::Dimension::cube; }
    [[nodiscard]] unsigned coordinates() const {
        constexpr std::array<std::uint8_t, 4> kCount{1, 2, 3, 2};
        return kCount[static_cast<unsigned>(dimension)];
    }
};

template <Name kName>
Fields fields_of(std::uint64_t word) {
    // Where each field lies is known when this is compiled.
    const auto field = [word]<Mod kMod>() -> unsigned {
        if constexpr (valhall::row(kName).find(kMod) != nullptr)
            return static_cast<unsigned>(valhall::get<kName, kMod>(word));
        return 0;
    };
    using enum texture::RegisterFormat;
    constexpr std::array kFormats{automatic_16, f16, u16, s16, automatic, f32, u32, s32};
    return {
        .dimension = static_cast<valhall::Dimension>(field.template operator()<Mod::dimension>()),
        .lod_mode = static_cast<LodMode>(field.template operator()<Mod::lod_mode>()),
        .wide = field.template operator()<Mod::wide_indices>() != 0,
        .array = field.template operator()<Mod::array_enable>() != 0,
        .shadow = field.template operator()<Mod::shadow>() != 0,
        .offset = field.template operator()<Mod::texel_offset>() != 0,
        .no_bias = field.template operator()<Mod::lod_bias_disable>() != 0,
        .no_clamp = field.template operator()<Mod::lod_clamp_disable>() != 0,
        .component = field.template operator()<Mod::fetch_component>(),
        .write_mask = field.template operator()<Mod::write_mask>(),
        .format = kFormats[(field.template operator()<Mod::register_width>() * 4) +
                           field.template operator()<Mod::register_type>()]
    };
}

/// The staging registers, in the order in which the instruction has them. Absent ones read as 0.
struct Staging {
    std::array<const Lanes*, 3> coordinate;
    const Lanes *array, *shadow, *offset, *lod;
    std::array<const Lanes*, 2> gradient;

    Staging(const Fields& fields, const Operands& operands, unsigned first) {
        static constexpr Lanes kNone{};
        const auto next = [&](bool present) { return present ? &operands.reg(first++) : &kNone; };
        for (unsigned i = 0; i < 3; ++i) coordinate[i] = next(i < fields.coordinates());
        array = next(fields.array);
        shadow = next(fields.shadow);
        offset = next(fields.offset);
        lod = next(fields.lod_mode == LodMode::explicit_lod || fields.lod_mode == LodMode::computed_bias);
        for (const Lanes*& word : gradient) word = next(fields.lod_mode == LodMode::grdesc);
    }
    [[nodiscard]] int offset_of(unsigned axis, unsigned lane) const {
        return static_cast<std::int8_t>((*offset)[lane] >> (8 * axis));
    }
};

/// A place of a cube as a shader passes it: the face in bits 31:29 of the first word, the rest of it being
/// what is left of the float s in 0 ... 1.
struct CubePlace {
    unsigned face;
    float s, t;
};
CubePlace cube_place(const Staging& staging, unsigned lane) {
    const std::uint32_t word = (*staging.coordinate[0])[lane];
    const std::uint32_t rest = word & 0x1fff'ffff;
    return {.face = std::min(word >> 29, 5U),
            .s = rest == 0 ? 0.0F : as_float(rest | 0x2000'0000),
            .t = as_float((*staging.coordinate[1])[lane])};
}

/// A layer as a shader passes it: a float, of which the nearest integer counts, or that integer. No number
/// that means a layer is both: floats from 1 on are beyond the layers that there can be.
unsigned layer_of(std::uint32_t word, unsigned layers) {
    if (word <= 0xffff) return std::min(word, layers - 1);
    const float rounded = std::nearbyint(as_float(word));
    return rounded > 0 ? static_cast<unsigned>(std::min(rounded, static_cast<float>(layers - 1))) : 0;
}

texture::Place place_of(const Fields& fields, const Staging& staging, const texture::Texture& texture,
                        unsigned lane) {
    texture::Place place;
    if (fields.cube()) {
        const CubePlace cube = cube_place(staging, lane);
        place.at = {cube.s, cube.t, 0};
        place.layer = 6 * layer_of((*staging.array)[lane], std::max(texture.layers / 6, 1U)) + cube.face;
    } else {
        for (unsigned i = 0; i < 3; ++i) place.at[i] = as_float((*staging.coordinate[i])[lane]);
        place.layer = layer_of((*staging.array)[lane], texture.layers);
    }
    for (unsigned i = 0; i < 3; ++i) place.offset[i] = staging.offset_of(i, lane);
    return place;
}

/// Differences within the lane's quad: of its row and of its column.
texture::Gradient quad_gradient(const Fields& fields, const Staging& staging, unsigned lane) {
    const auto coordinates = [&](unsigned of) -> std::array<float, 3> {
        if (fields.cube()) {
            const unsigned face = cube_place(staging, lane).face;
            const CubePlace place = cube_place(staging, of);
            const auto [s, t] = texture::on_plane_of(face, place.face, place.s, place.t);
            return {s, t, 0};
        }
        std::array<float, 3> at{};
        for (unsigned i = 0; i < 3; ++i) at[i] = as_float((*staging.coordinate[i])[of]);
        return at;
    };
    const auto left = coordinates(lane & ~1U);
    const auto right = coordinates(lane | 1U);
    const auto upper = coordinates(lane & ~2U);
    const auto lower = coordinates(lane | 2U);
    texture::Gradient gradient;
    for (unsigned i = 0; i < 3; ++i) {
        gradient.ddx[i] = right[i] - left[i];
        gradient.ddy[i] = lower[i] - upper[i];
    }
    return gradient;
}

std::int32_t low_half(std::uint32_t word) { return static_cast<std::int16_t>(word & 0xffff); }

std::array<std::uint32_t, 2> pack_footprint(const texture::Footprint& footprint) {
    const auto lod = static_cast<std::uint32_t>(std::clamp(footprint.lod_256, -0x8000, 0x7fff)) & 0xffff;
    return {lod | footprint.taps << 16,
            texture::float_to_half(footprint.extent[0]) | texture::float_to_half(footprint.extent[1]) << 16};
}
texture::Footprint unpack_footprint(std::uint32_t first, std::uint32_t second) {
    return {.lod_256 = low_half(first),
            .taps = std::clamp(first >> 16, 1U, 16U),
            .extent = {texture::half_to_float(second & 0xffff), texture::half_to_float(second >> 16)}};
}

/// What the lane covers, biased.
texture::Footprint footprint_of(const Fields& fields, const Staging& staging, const texture::Texture& texture,
                                const texture::Sampler& sampler, unsigned lane) {
    texture::Footprint footprint;
    switch (fields.lod_mode) {
        case LodMode::zero:         break;
        case LodMode::explicit_lod: footprint.lod_256 = low_half((*staging.lod)[lane]); break;
        case LodMode::grdesc:
            footprint = unpack_footprint((*staging.gradient[0])[lane], (*staging.gradient[1])[lane]);
            break;
        case LodMode::computed:
        case LodMode::computed_bias:
            footprint = texture::footprint_of(texture, sampler, quad_gradient(fields, staging, lane));
            break;
    }
    footprint.lod_256 += sampler.lod_bias_256;
    if (fields.lod_mode == LodMode::computed_bias) {
        const std::uint32_t word = (*staging.lod)[lane];
        footprint.lod_256 += low_half(word);
        // A least LOD, of which 0 is none.
        if (word >> 16 != 0)
            footprint.lod_256 = std::max(footprint.lod_256, static_cast<std::int32_t>(word >> 16));
    }
    return footprint;
}

/// What a lane's lookup gives: components, and what kind they are of.
struct Result {
    texture::Texel texel{};
    texture::Kind kind{};
};

/// A texture and its sampler, as far as they exist.
struct Pair {
    texture::View* view;
    const texture::Sampler* sampler;
};

Result single(const Fields& fields, const Staging& staging, const Pair& pair, unsigned lane,
              std::int64_t& steps) {
    if (pair.sampler == nullptr) return {};
    const texture::Texture& texture = pair.view->texture();
    const texture::Footprint footprint = footprint_of(fields, staging, texture, *pair.sampler, lane);
    steps -= 8 * static_cast<std::int64_t>(footprint.taps - 1);
    const auto texel = texture::sample(*pair.view, *pair.sampler, place_of(fields, staging, texture, lane),
                                       footprint, fields.shadow ? texture::Shadow::yes : texture::Shadow::no,
                                       as_float((*staging.shadow)[lane]));
    return {texel, fields.shadow ? texture::Kind::floating : texture.format.kind()};
}

/// The same for all of `lanes`, if they differ in the place alone.
std::optional<texture::PlanarLookup> planar_lookup(const Fields& fields, const Staging& staging,
                                                   const Pair& pair, LaneMask lanes) {
    const bool same_lod = fields.lod_mode == LodMode::zero ||
                          (fields.lod_mode == LodMode::explicit_lod && alike(*staging.lod, lanes) == lanes);
    if (pair.sampler == nullptr || fields.dimension != valhall::Dimension::d2 || !same_lod || fields.array ||
        fields.shadow || fields.offset)
        return std::nullopt;
    const texture::Footprint footprint =
        footprint_of(fields, staging, pair.view->texture(), *pair.sampler, first_of(lanes));
    return texture::PlanarLookup::prepare(*pair.view, *pair.sampler, footprint.lod_256);
}

Result gather(const Fields& fields, const Staging& staging, const Pair& pair, unsigned lane,
              std::int64_t& /*steps*/) {
    if (pair.sampler == nullptr) return {};
    const texture::Texture& texture = pair.view->texture();
    const auto texel = texture::gather(
        *pair.view, *pair.sampler, place_of(fields, staging, texture, lane), fields.component,
        fields.shadow ? texture::Shadow::yes : texture::Shadow::no, as_float((*staging.shadow)[lane]));
    return {texel, fields.shadow ? texture::Kind::floating : texture.format.kind()};
}

Result fetch(const Fields& /*fields*/, const Staging& staging, const Pair& pair, unsigned lane,
             std::int64_t& /*steps*/) {
    const texture::Texture& texture = pair.view->texture();
    const bool is_3d = texture.dimension == texture::Dimension::d3;
    const std::uint32_t offsets = (*staging.offset)[lane];
    const unsigned level = offsets >> 24;
    const auto coordinate = [&](unsigned axis) {
        return (*staging.coordinate[axis])[lane] + static_cast<std::uint32_t>(staging.offset_of(axis, lane));
    };
    unsigned x = coordinate(0);
    unsigned y = coordinate(1);
    unsigned slice = is_3d ? coordinate(2) : offsets >> 16 & 0xff;
    unsigned layer = (*staging.array)[lane];
    Result result{.kind = texture.format.kind()};
    if (level >= texture.levels) return result;
    if (pair.sampler != nullptr && pair.sampler->clamp_layer) layer = std::min(layer, texture.layers - 1);
    if (pair.sampler != nullptr && pair.sampler->clamp_coordinates) {
        const auto within = [](unsigned value, unsigned size) {
            return static_cast<unsigned>(std::clamp(static_cast<int>(value), 0, static_cast<int>(size - 1)));
        };
        x = within(x, pair.view->width(level));
        y = within(y, pair.view->height(level));
        if (is_3d) slice = within(slice, pair.view->slices(level));
    }
    if (const auto texel = pair.view->fetch(level, layer, x, y, slice))
        result.texel = pair.view->swizzled(*texel);
    return result;
}

/// What TEX_GRADIENT makes of a change of coordinates.
Result gradient_words(const Fields& fields, const Pair& pair, const texture::Gradient& change) {
    if (pair.sampler == nullptr) return {};
    const texture::Texture& texture = pair.view->texture();
    texture::Footprint footprint = texture::footprint_of(texture, *pair.sampler, change);
    if (!fields.no_bias) footprint.lod_256 += pair.sampler->lod_bias_256;
    if (!fields.no_clamp)
        footprint.lod_256 =
            texture::clamp_to_texture(texture, texture::clamp_to_sampler(*pair.sampler, footprint.lod_256));
    const auto words = pack_footprint(footprint);
    return {.texel = {words[0], words[1], 0, 0}, .kind = texture::Kind::uint};
}

/// Of a quad's coordinates.
Result quad_words(const Fields& fields, const Staging& staging, const Pair& pair, unsigned lane,
                  std::int64_t& /*steps*/) {
    return gradient_words(fields, pair, quad_gradient(fields, staging, lane));
}

struct Handles {
    std::uint32_t texture, sampler;
};
/// Narrow handles fold the tables as immediate fields do.
Handles handles_of(bool wide, std::uint32_t low, std::uint32_t high) {
    if (wide) return {.texture = high, .sampler = low};
    return {.texture = handle_of(table_of_field(low >> 27 & 15), low >> 16 & 0x7ff),
            .sampler = handle_of(table_of_field(low >> 11 & 15), low & 0x7ff)};
}

/// Calls `look(pair, lanes)` for active lanes that have the same texture, and what it returns for each of
/// them; puts what that returns into registers after all, because quads and results may share some.
template <typename Look>
bool for_textures(Execution& execution, const Op& op, const Fields& fields, Look look) {
    TextureMemory memory(execution.memory);
    const Lanes& low = execution.operands(op.source[0]);
    const Lanes& high = execution.operands(static_cast<OperandIndex>(op.source[0] + 1));
    std::array<Result, kLanes> results;
    for (LaneMask rest = execution.active; rest != 0;) {
        LaneMask same = alike(low, rest);
        if (fields.wide) same &= alike(high, rest);
        rest &= ~same;
        const unsigned first = first_of(same);
        const Handles handles = handles_of(fields.wide, low[first], high[first]);

        const Descriptor* const of_sampler =
            execution.descriptors.descriptor(handles.sampler, execution.memory);
        if (of_sampler == nullptr) return execution.raise_refusal(first, AccessKind::read);
        const auto sampler = texture::parse_sampler(bytes_of(*of_sampler));
        const Descriptor* const of_texture =
            execution.descriptors.descriptor(handles.texture, execution.memory);
        if (of_texture == nullptr) return execution.raise_refusal(first, AccessKind::read);
        auto texture = texture::parse_texture(bytes_of(*of_texture));
        if (!texture) {
            for (; same != 0; same &= same - 1) results[first_of(same)] = {};
            continue;
        }
        if (sampler && sampler->ignore_srgb) texture->format.ignore_srgb();
        texture::View view(*texture, memory);
        const Pair pair{.view = &view, .sampler = sampler ? &*sampler : nullptr};
        const auto look_one = look(pair, same);
        for (; same != 0; same &= same - 1) {
            const unsigned lane = first_of(same);
            results[lane] = look_one(lane);
            if (view.faulted()) return execution.raise_refusal(lane, AccessKind::read);
        }
    }
    for (LaneMask rest = execution.active; rest != 0; rest &= rest - 1) {
        const unsigned lane = first_of(rest);
        const auto& [texel, kind] = results[lane];
        texture::Texel packed = texel;
        unsigned count = 4;
        if (fields.write_mask != 15) {
            count = 0;
            for (unsigned i = 0; i < 4; ++i)
                if ((fields.write_mask >> i & 1) != 0) packed[count++] = texel[i];
        }
        put_components(execution.operands, op.result, lane, kind, fields.format,
                       std::span(packed).first(count));
    }
    return true;
}

using LaneLookup = Result (*)(const Fields&, const Staging&, const Pair&, unsigned, std::int64_t&);

template <Name kName, LaneLookup kLookup>
bool look_up(Execution& execution, const Op& op) {
    const Fields fields = fields_of<kName>(op.word);
    const Staging staging(fields, execution.operands, op.destination);
    return for_textures(execution, op, fields, [&](const Pair& pair, LaneMask lanes) {
        std::optional<texture::PlanarLookup> planar;
        if constexpr (kName == Name::tex_single) planar = planar_lookup(fields, staging, pair, lanes);
        return [&, planar](unsigned lane) -> Result {
            if (!planar) return kLookup(fields, staging, pair, lane, execution.steps);
            const float s = as_float((*staging.coordinate[0])[lane]);
            const float t = as_float((*staging.coordinate[1])[lane]);
            return {planar->at(s, t), pair.view->texture().format.kind()};
        };
    });
}

/// TEX_GRADIENT with derivatives as they are: pairs along x and y for each coordinate.
bool take_derivatives(Execution& execution, const Op& op) {
    const Fields fields = fields_of<Name::tex_gradient>(op.word);
    return for_textures(execution, op, fields, [&](const Pair& pair, LaneMask /*lanes*/) {
        return [&](unsigned lane) {
            texture::Gradient given;
            for (unsigned i = 0; i < fields.coordinates(); ++i) {
                given.ddx[i] = as_float(execution.operands.reg(op.destination + 2 * i)[lane]);
                given.ddy[i] = as_float(execution.operands.reg(op.destination + 2 * i + 1)[lane]);
            }
            return gradient_words(fields, pair, given);
        };
    });
}

}  // namespace

bool bind_texture(Op& op) {
    switch (static_cast<Name>(op.name)) {
        case Name::tex_single:
            op.message = look_up<Name::tex_single, single>;
            op.cost = 200;
            return true;
        case Name::tex_fetch:
            op.message = look_up<Name::tex_fetch, fetch>;
            op.cost = 80;
            return true;
        case Name::tex_gather:
            op.message = look_up<Name::tex_gather, gather>;
            op.cost = 200;
            // Texels as coordinates: what the instruction does with them is not known.
            return valhall::get<Name::tex_gather, Mod::integer_coordinates>(op.word) == 0;
        case Name::tex_gradient:
            op.message = valhall::get<Name::tex_gradient, Mod::derivative_enable>(op.word) != 0
                             ? take_derivatives
                             : look_up<Name::tex_gradient, quad_words>;
            op.cost = 80;
            return true;
        default: return false;
    }
}

}  // namespace belfry::gpu::shader
