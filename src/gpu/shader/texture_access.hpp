// What message instructions on textures and attributes share: descriptors and memory as gpu/texture wants
// them, and registers of the formats that it knows.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "belfry/uapi/valhall.hpp"
#include "gpu/shader/execution.hpp"
#include "gpu/texture/descriptor.hpp"
#include "gpu/texture/memory.hpp"
#include "gpu/texture/register_format.hpp"

namespace belfry::gpu::shader {

/// A core's memory, as texture functions read it.
class TextureMemory final : public texture::Memory {
  public:
    explicit TextureMemory(shader::Memory& memory) : memory_(memory) {}

    const std::byte* read(std::uint64_t address, std::size_t bytes, std::byte* scratch) override {
        static_assert(texture::kPageBytes == kPageBytes);
        if ((address & kPageOffsetMask) + bytes <= kPageBytes) return memory_.readable(address);
        return memory_.read(address, scratch, bytes) ? scratch : nullptr;
    }

  private:
    shader::Memory& memory_;  // texture::Memory is what this is
};

inline texture::DescriptorBytes bytes_of(const Descriptor& descriptor) {
    return std::as_bytes(std::span(descriptor.word)).first<texture::kDescriptorBytes>();
}

/// The lanes of `lanes` whose word is that of the first of them.
inline LaneMask alike(const Lanes& words, LaneMask lanes) {
    const std::uint32_t word = words[first_of(lanes)];
    LaneMask same = 0;
    for (unsigned i = 0; i < kLanes; ++i) same |= words[i] == word ? 1U << i : 0;
    return same & lanes;
}

/// The handle of an instruction that has it as source 2 or, in the _IMM form, in its word.
template <valhall::Op kImmediate>
std::uint32_t handle_in(const Op& op) {
    using valhall::Mod;
    return handle_of(
        table_of_field(static_cast<std::uint32_t>(valhall::get<kImmediate, Mod::table>(op.word))),
        static_cast<std::uint32_t>(valhall::get<kImmediate, Mod::index>(op.word)));
}

/// Calls `step(descriptor, handle's lanes)` for each handle that active lanes have: one from the word in the
/// _IMM form, whose table and index are where `kImmediate` has them, else those in source 2. False as soon as
/// that is, or a descriptor can't be read.
template <valhall::Op kImmediate, typename Step>
bool for_descriptors(Execution& execution, const Op& op, bool immediate, Step step) {
    const auto for_handle = [&](std::uint32_t handle, LaneMask lanes) {
        const Descriptor* const descriptor = execution.descriptors.descriptor(handle, execution.memory);
        if (descriptor == nullptr) return execution.raise_refusal(first_of(lanes), AccessKind::read);
        return step(*descriptor, lanes);
    };
    if (immediate) return for_handle(handle_in<kImmediate>(op), execution.active);
    const Lanes& handles = execution.operands(op.source[2]);
    for (LaneMask rest = execution.active; rest != 0;) {
        const LaneMask same = alike(handles, rest);
        rest &= ~same;
        if (!for_handle(handles[first_of(same)], same)) return false;
    }
    return true;
}

/// Puts what LEA_TEX and LEA_ATTR give a lane into three registers: an address, the sink if there is none,
/// and what converts to and from what lies there.
inline void put_address(const Operands& operands, unsigned first, unsigned lane,
                        std::optional<std::uint64_t> address, std::uint32_t conversion) {
    const std::uint64_t to = address.value_or(kSink);
    operands.reg(first)[lane] = static_cast<std::uint32_t>(to);
    operands.reg(first + 1)[lane] = static_cast<std::uint32_t>(to >> 32);
    operands.reg(first + 2)[lane] = conversion;
}

/// Puts a lane's components into registers from `first` on, two in each if the format has 16 bits.
inline void put_components(const Operands& operands, unsigned first, unsigned lane, texture::Kind kind,
                           texture::RegisterFormat format, std::span<const std::uint32_t> components) {
    if (texture::is_kept(kind, format)) [[likely]] {
        for (unsigned i = 0; i < components.size(); ++i) operands.reg(first + i)[lane] = components[i];
        return;
    }
    if (!texture::is_16_bit(format)) {
        for (unsigned i = 0; i < components.size(); ++i)
            operands.reg(first + i)[lane] = texture::to_register(kind, format, components[i]);
        return;
    }
    for (unsigned i = 0; i < components.size(); i += 2) {
        std::uint32_t both = texture::to_register(kind, format, components[i]);
        if (i + 1 < components.size()) both |= texture::to_register(kind, format, components[i + 1]) << 16;
        operands.reg(first + i / 2)[lane] = both;
    }
}

inline texture::RegisterFormat register_format_of(const Op& op) {
    using valhall::Mod;
    return static_cast<texture::RegisterFormat>(
        valhall::get(valhall::row(static_cast<valhall::Op>(op.name)), Mod::regfmt, op.word));
}
inline unsigned components_of(const Op& op) {
    using valhall::Mod;
    return static_cast<unsigned>(
               valhall::get(valhall::row(static_cast<valhall::Op>(op.name)), Mod::vec, op.word)) +
           1;
}

}  // namespace belfry::gpu::shader
