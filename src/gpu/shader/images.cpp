// LD_TEX, LEA_TEX, ST_CVT: texels by integer coordinates, without a sampler.
//
// What lies outside of the image, or has no descriptor, reads as 0; its address is the sink. The conversion
// word that LEA_TEX gives and ST_CVT takes is the pixel format.
#include <array>
#include <cstdint>
#include <optional>

#include "gpu/shader/access.hpp"
#include "gpu/shader/execution.hpp"
#include "gpu/shader/messages.hpp"
#include "gpu/shader/texture_access.hpp"
#include "gpu/texture/view.hpp"

namespace belfry::gpu::shader {
namespace {

using valhall::Mod;
using Name = valhall::Op;

/// Where an image instruction points: x and y in the halves of its first operand, a depth slice or sample and
/// the layer in those of its second. Of one dimension x is all of the first; its high half is then beyond the
/// height.
struct ImagePlace {
    unsigned x, y, slice, layer;
};
ImagePlace place_of(const Execution& execution, const Op& op, unsigned lane) {
    const std::uint32_t xy = execution.operands(op.source[0])[lane];
    const std::uint32_t zw = execution.operands(op.source[1])[lane];
    return {.x = xy & 0xffff, .y = xy >> 16, .slice = zw & 0xffff, .layer = zw >> 16};
}

/// Calls `step(lane, view)` for the active lanes with a view of their image, or null if there is no image.
template <typename Step>
bool for_images(Execution& execution, const Op& op, bool immediate, Step step) {
    TextureMemory memory(execution.memory);
    const auto for_lanes = [&](const Descriptor& descriptor, LaneMask lanes) {
        const auto image = texture::parse_texture(bytes_of(descriptor));
        std::optional<texture::View> view;
        if (image) view.emplace(*image, memory);
        for (; lanes != 0; lanes &= lanes - 1) {
            const unsigned lane = first_of(lanes);
            step(lane, view ? &*view : nullptr);
            if (view && view->faulted()) return execution.raise_refusal(lane, AccessKind::read);
        }
        return true;
    };
    return for_descriptors<Name::ld_tex_imm>(execution, op, immediate, for_lanes);
}

template <bool kImmediate>
bool load_texel(Execution& execution, const Op& op) {
    const texture::RegisterFormat format = register_format_of(op);
    const unsigned components = components_of(op);
    return for_images(execution, op, kImmediate, [&](unsigned lane, texture::View* view) {
        texture::Texel texel{};
        texture::Kind kind{};
        if (view != nullptr) {
            const ImagePlace at = place_of(execution, op, lane);
            const auto found = view->fetch(0, at.layer, at.x, at.y, at.slice);
            if (found) texel = view->swizzled(*found);
            kind = view->texture().format.kind();
        }
        put_components(execution.operands, op.destination, lane, kind, format,
                       std::span(texel).first(components));
    });
}

template <bool kImmediate>
bool lea_texel(Execution& execution, const Op& op) {
    return for_images(execution, op, kImmediate, [&](unsigned lane, texture::View* view) {
        std::optional<std::uint64_t> address;
        if (view != nullptr) {
            const ImagePlace at = place_of(execution, op, lane);
            address = view->address(at.layer, at.x, at.y, at.slice);
        }
        put_address(execution.operands, op.destination, lane, address,
                    view != nullptr ? view->texture().format_word : 0);
    });
}

/// A component that an instruction has in registers from `first` on.
std::uint32_t component(const Operands& operands, unsigned first, unsigned lane,
                        texture::RegisterFormat format, unsigned index) {
    if (!texture::is_16_bit(format)) return operands.reg(first + index)[lane];
    return operands.reg(first + index / 2)[lane] >> (16 * (index % 2)) & 0xffff;
}

bool store_converted(Execution& execution, const Op& op) {
    const Operands& operands = execution.operands;
    const texture::RegisterFormat format = register_format_of(op);
    const unsigned components = components_of(op);
    const auto offset = valhall::get<Name::st_cvt, Mod::offset>(op.word);
    const Lanes& words = operands(op.source[1]);
    for (LaneMask rest = execution.active; rest != 0;) {
        LaneMask same = alike(words, rest);
        rest &= ~same;
        const auto pixel = texture::PixelFormat::from_word(words[first_of(same)]);
        if (!pixel) continue;  // of no image
        for (; same != 0; same &= same - 1) {
            const unsigned lane = first_of(same);
            texture::Texel texel{};
            for (unsigned i = 0; i < components; ++i)
                texel[i] = texture::from_register(pixel->kind(), format,
                                                  component(operands, op.destination, lane, format, i));
            std::array<std::byte, texture::PixelFormat::kBytesMax> bytes{};
            pixel->encode(texel, bytes.data());
            const std::uint64_t address = pair_of(operands, op.source[0], lane) + offset;
            if (!execution.memory.write(address, bytes.data(), pixel->bytes()))
                return execution.raise_refusal(lane, AccessKind::write);
        }
    }
    return true;
}

}  // namespace

bool bind_image(Op& op) {
    op.cost = 60;
    switch (static_cast<Name>(op.name)) {
        case Name::ld_tex_imm:  op.message = load_texel<true>; return true;
        case Name::ld_tex:      op.message = load_texel<false>; return true;
        case Name::lea_tex_imm: op.message = lea_texel<true>; return true;
        case Name::lea_tex:     op.message = lea_texel<false>; return true;
        case Name::st_cvt:      op.message = store_converted; return true;
        default:                return false;
    }
}

}  // namespace belfry::gpu::shader
