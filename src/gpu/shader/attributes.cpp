// LD_ATTR, LEA_ATTR: elements of buffers by the index of a vertex or instance.
//
// What lies outside of the buffer, or has no descriptor, reads as 0; its address is the sink.
#include <array>
#include <cstdint>
#include <optional>

#include "gpu/shader/execution.hpp"
#include "gpu/shader/messages.hpp"
#include "gpu/shader/texture_access.hpp"
#include "gpu/texture/pixel_format.hpp"

namespace belfry::gpu::shader {
namespace {

using valhall::Mod;
using Name = valhall::Op;

/// Attribute descriptors of elements of a buffer; the others are those of vertex packets.
enum class AttributeType : std::uint32_t { linear = 1, power_of_two_divisor = 2, divisor = 3 };

/// An attribute and its buffer.
struct Attribute {
    texture::PixelFormat format;
    std::uint32_t format_word;
    AttributeType type;
    bool of_instance;
    std::uint32_t shift, round_up, divisor;
    std::int64_t offset;
    std::uint32_t stride;
    Buffer buffer;

    /// Number of the element that vertex or instance `index` takes.
    [[nodiscard]] std::uint64_t element(std::uint32_t index) const {
        switch (type) {
            case AttributeType::linear:               return index;
            case AttributeType::power_of_two_divisor: return index >> shift;
            case AttributeType::divisor:              break;
        }
        // The divisor is a multiplication by 2^32 / d and a shift; bit 31 of the factor is always set.
        const std::uint64_t factor = divisor | 0x8000'0000U;
        return ((std::uint64_t{index} + round_up) * factor >> 32) >> shift;
    }
    /// Where that element lies; nothing if not wholly within the buffer.
    [[nodiscard]] std::optional<std::uint64_t> address(std::uint32_t index) const {
        const std::uint64_t distance = stride * element(index);
        if (distance >> 33 != 0) return std::nullopt;  // beyond any buffer, whatever the offset
        const std::int64_t start = static_cast<std::int64_t>(distance) + offset;
        if (start < 0 || start + format.bytes() > std::int64_t{buffer.size}) return std::nullopt;
        return buffer.address + static_cast<std::uint64_t>(start);
    }
};

std::optional<Attribute> parse_attribute(const Descriptor& descriptor, std::uint32_t global_offset) {
    const auto& word = descriptor.word;
    const auto type = static_cast<AttributeType>(word[0] >> 4 & 0xf);
    const auto format = texture::PixelFormat::from_word(word[0] >> 10);
    const bool known = type == AttributeType::linear || type == AttributeType::power_of_two_divisor ||
                       type == AttributeType::divisor;
    if (descriptor.type() != DescriptorType::attribute || !known || !format) return std::nullopt;
    const bool offset_enable = (word[0] >> 8 & 1) != 0;
    return Attribute{.format = *format,
                     .format_word = word[0] >> 10,
                     .type = type,
                     .of_instance = (word[1] >> 6 & 3) == 1,
                     .shift = word[1] >> 24 & 31,
                     .round_up = word[1] >> 29 & 1,
                     .divisor = word[5],
                     .offset = std::int64_t{static_cast<std::int32_t>(word[2])} +
                               (offset_enable ? std::int64_t{global_offset} : 0),
                     .stride = word[4],
                     .buffer = {}};
}

/// Calls `step(lane, attribute, address)` for the active lanes; attribute is null if there is none. False as
/// soon as that is, or a descriptor can't be read.
template <typename Step>
bool for_attributes(Execution& execution, const Op& op, bool immediate, Step step) {
    const auto for_lanes = [&](const Descriptor& descriptor, LaneMask lanes) {
        auto attribute = parse_attribute(descriptor, execution.job->attribute_offset);
        if (attribute) {
            const std::uint32_t of_buffer =
                handle_of(descriptor.word[1] & 63, descriptor.word[3] & 0xff'ffff);
            const Buffer* const buffer = execution.descriptors.buffer(of_buffer, execution.memory);
            if (buffer == nullptr) return execution.raise_refusal(first_of(lanes), AccessKind::read);
            attribute->buffer = *buffer;
        }
        for (; lanes != 0; lanes &= lanes - 1) {
            const unsigned lane = first_of(lanes);
            std::optional<std::uint64_t> address;
            if (attribute) {
                const unsigned source = attribute->of_instance ? 1 : 0;
                address = attribute->address(execution.operands(op.source[source])[lane]);
            }
            if (!step(lane, attribute ? &*attribute : nullptr, address)) return false;
        }
        return true;
    };
    return for_descriptors<Name::ld_attr_imm>(execution, op, immediate, for_lanes);
}

template <bool kImmediate>
bool load_attribute(Execution& execution, const Op& op) {
    const texture::RegisterFormat format = register_format_of(op);
    const unsigned components = components_of(op);
    return for_attributes(
        execution, op, kImmediate,
        [&](unsigned lane, const Attribute* attribute, std::optional<std::uint64_t> address) {
            texture::Texel texel{};
            texture::Kind kind{};
            if (address) {
                std::array<std::byte, texture::PixelFormat::kBytesMax> bytes{};
                if (!execution.memory.read(*address, bytes.data(), attribute->format.bytes()))
                    return execution.raise_refusal(lane, AccessKind::read);
                texel = attribute->format.decode(bytes.data());
                kind = attribute->format.kind();
            }
            put_components(execution.operands, op.destination, lane, kind, format,
                           std::span(texel).first(components));
            return true;
        });
}

template <bool kImmediate>
bool lea_attribute(Execution& execution, const Op& op) {
    return for_attributes(
        execution, op, kImmediate,
        [&](unsigned lane, const Attribute* attribute, std::optional<std::uint64_t> address) {
            put_address(execution.operands, op.destination, lane, address,
                        attribute != nullptr ? attribute->format_word : 0);
            return true;
        });
}

}  // namespace

bool bind_attribute(Op& op) {
    op.cost = 40;
    switch (static_cast<Name>(op.name)) {
        case Name::ld_attr_imm:  op.message = load_attribute<true>; return true;
        case Name::ld_attr:      op.message = load_attribute<false>; return true;
        case Name::lea_attr_imm: op.message = lea_attribute<true>; return true;
        case Name::lea_attr:     op.message = lea_attribute<false>; return true;
        default:                 return false;
    }
}

}  // namespace belfry::gpu::shader
