#include "gpu/texture/pixel_format.hpp"

#include <cstring>
#include <string_view>
#include <type_traits>

#include "gpu/texture/numbers.hpp"

namespace belfry::gpu::texture {
namespace {

using enum Encoding;

constexpr Layout packed(Encoding encoding, std::uint8_t bytes, std::array<std::uint8_t, 4> bits) {
    Layout layout{.encoding = encoding, .bytes = bytes};
    std::uint8_t first = 0;
    for (const std::uint8_t width : bits) {
        if (width == 0) break;
        layout.field[layout.channels++] = {first, width};
        first = static_cast<std::uint8_t>(first + width);
    }
    return layout;
}

/// Numbers 96 ... 255 where they follow the rule: class * 32 + (channels - 1) * 8 + size.
constexpr Layout regular(unsigned number) {
    const unsigned size = number & 7;
    std::uint8_t bits = 0;
    Encoding encoding = none;
    if (size >= 1 && size <= 5) {
        bits = static_cast<std::uint8_t>(1U << size);
        constexpr std::array kClass{none, none, none, snorm, uint, unorm, sint, none};
        encoding = kClass[number >> 5];
    } else if (size == 7) {
        bits = number >> 5 == 6 ? 16 : 32;
        encoding = number >> 5 >= 5 ? floating : none;
    }
    if (encoding == none) return {};
    const unsigned channels = ((number >> 3) & 3) + 1;
    std::array<std::uint8_t, 4> widths{};
    for (unsigned i = 0; i < channels; ++i) widths[i] = bits;
    return packed(encoding, static_cast<std::uint8_t>(((channels * bits) + 7) / 8), widths);
}

constexpr std::array<Layout, 256> kLayouts = [] {
    std::array<Layout, 256> table{};
    for (unsigned number = 96; number < 256; ++number) table[number] = regular(number);
    table[64] = packed(unorm, 2, {5, 6, 5});
    table[65] = packed(unorm, 2, {5, 5, 5, 1});
    table[66] = packed(unorm, 2, {1, 5, 5, 5});
    table[67] = packed(unorm, 4, {10, 10, 10, 2});
    table[68] = packed(unorm, 4, {2, 10, 10, 10});
    table[69] = packed(snorm, 4, {10, 10, 10, 2});
    table[70] = packed(snorm, 4, {2, 10, 10, 10});
    table[71] = packed(uint, 4, {10, 10, 10, 2});
    table[72] = packed(uint, 4, {2, 10, 10, 10});
    table[73] = packed(sint, 4, {10, 10, 10, 2});
    table[74] = packed(sint, 4, {2, 10, 10, 10});
    // Depth; the 24-bit ones beside 8 bits of no meaning.
    table[75] = packed(unorm, 2, {16});
    table[76] = packed(floating, 4, {32});
    table[77] = packed(unorm, 4, {24});
    table[78] = {.encoding = unorm, .bytes = 4, .channels = 1, .field = {{{8, 24}}}};
    table[81] = packed(fixed, 4, {32});
    table[82] = packed(fixed, 8, {32, 32});
    table[83] = packed(fixed, 12, {32, 32, 32});
    table[84] = packed(fixed, 16, {32, 32, 32, 32});
    table[89] = packed(small_float, 4, {11, 11, 10});
    table[90] = packed(small_float, 4, {10, 11, 11});
    // The fractions; the exponent has the other five bits.
    table[91] = packed(shared_exponent, 4, {9, 9, 9});
    table[92] = {
        .encoding = shared_exponent, .bytes = 4, .channels = 3, .field = {{{5, 9}, {14, 9}, {23, 9}}}};
    // Stencil: the second channel of a pair whose first is not there.
    table[93] = {.encoding = uint, .bytes = 1, .channels = 2, .field = {{{0, 0}, {0, 8}}}};
    table[95] = {.encoding = constant};
    // As tile buffers hold them.
    table[224] = table[225] = packed(unorm, 2, {5, 5, 5, 1});
    table[226] = table[227] = packed(unorm, 2, {5, 6, 5});
    table[232] = table[233] = packed(unorm, 2, {4, 4, 4, 4});
    table[241] = table[242] = packed(unorm, 4, {8, 8, 8, 2});
    table[237] = packed(unorm, 4, {8, 8, 8, 8});
    table[238] = packed(unorm, 4, {10, 10, 10, 2});
    return table;
}();

/// Orders of components: which channel R, G, B and A come from. z: 0, o: 1, l: the last one that there is.
struct Order {
    std::uint8_t number;
    std::string_view sources;
};
constexpr Order kOrders[] = {
    {0, "0123"},   {2, "1023"},   {4, "2103"},   {8, "1230"},   {10, "2130"},  {12, "3210"},
    {16, "012o"},  {18, "102o"},  {20, "210o"},  {24, "123o"},  {26, "213o"},  {28, "321o"},
    {226, "0000"}, {227, "000o"}, {228, "0001"}, {229, "zzzl"}, {230, "zzzo"}, {231, "zzzz"},
};

// Inlined where `bits` is known, so that nothing is asked for each texel.
[[gnu::always_inline]] inline std::uint32_t decode_number(Encoding encoding, unsigned bits,
                                                          std::uint32_t raw) {
    switch (encoding) {
        case unorm:           return as_bits(unorm_to_float(raw, bits));
        case snorm:           return as_bits(snorm_to_float(raw, bits));
        case sint:            return static_cast<std::uint32_t>(sign_extend(raw, bits));
        case fixed:           return as_bits(fixed_to_float(raw));
        case floating:        return bits == 16 ? as_bits(half_to_float(raw)) : raw;
        case small_float:     return as_bits(small_float_to_float(raw, bits - 5));
        case uint:
        case shared_exponent:
        case constant:
        case none:            break;
    }
    return raw;
}

[[gnu::always_inline]] inline std::uint32_t encode_number(Encoding encoding, unsigned bits,
                                                          std::uint32_t word) {
    switch (encoding) {
        case unorm:           return float_to_unorm(as_float(word), bits);
        case snorm:           return float_to_snorm(as_float(word), bits);
        case fixed:           return float_to_fixed(as_float(word));
        case floating:        return bits == 16 ? float_to_half(as_float(word)) : word;
        case small_float:     return float_to_small_float(as_float(word), bits - 5);
        case uint:
        case sint:
        case shared_exponent:
        case constant:
        case none:            break;
    }
    return word & low_bits(bits);
}

/// Channels of 8, 16 or 32 bits.
template <Encoding E, typename Number, unsigned ChannelCount>
struct WholeBytes {
    static constexpr unsigned kBits = 8 * sizeof(Number);
    static void decode(const Layout& /*layout*/, const std::byte* from, std::uint32_t* channels) {
        std::array<Number, ChannelCount> raw;
        std::memcpy(raw.data(), from, sizeof raw);
        if constexpr (E == unorm && ChannelCount == 4 && sizeof(Number) < 4) {
            // All at once, and stored whole, for the filter that reads it whole.
            using Four = float __attribute__((vector_size(16)));
            const Four numbers{static_cast<float>(raw[0]), static_cast<float>(raw[1]),
                               static_cast<float>(raw[2]), static_cast<float>(raw[3])};
            const Four values = numbers / static_cast<float>(low_bits(kBits));
            std::memcpy(channels, &values, sizeof values);
            return;
        }
        for (unsigned i = 0; i < ChannelCount; ++i) channels[i] = decode_number(E, kBits, raw[i]);
    }
    static void encode(const Layout& /*layout*/, const std::uint32_t* channels, std::byte* to) {
        std::array<Number, ChannelCount> raw;
        for (unsigned i = 0; i < ChannelCount; ++i)
            raw[i] = static_cast<Number>(encode_number(E, kBits, channels[i]));
        std::memcpy(to, raw.data(), sizeof raw);
    }
    static constexpr PixelFormat::Codec kCodec{decode, encode};
};

/// Any other: fields of one 32-bit word.
std::uint32_t read_word(const Layout& layout, const std::byte* from) {
    std::uint32_t word = 0;
    std::memcpy(&word, from, layout.bytes);
    return word;
}

void decode_packed(const Layout& layout, const std::byte* from, std::uint32_t* channels) {
    const std::uint32_t word = read_word(layout, from);
    for (unsigned i = 0; i < layout.channels; ++i) {
        const auto [first, bits] = layout.field[i];
        const std::uint32_t raw = (word >> first) & low_bits(bits);
        channels[i] = bits == 0 ? 0 : decode_number(layout.encoding, bits, raw);
    }
}

void encode_packed(const Layout& layout, const std::uint32_t* channels, std::byte* to) {
    std::uint32_t word = 0;
    for (unsigned i = 0; i < layout.channels; ++i) {
        const auto [first, bits] = layout.field[i];
        if (bits != 0) word |= encode_number(layout.encoding, bits, channels[i]) << first;
    }
    std::memcpy(to, &word, layout.bytes);
}

unsigned exponent_position(const Layout& layout) { return layout.field[0].first == 0 ? 27 : 0; }

void decode_shared_exponent(const Layout& layout, const std::byte* from, std::uint32_t* channels) {
    const std::uint32_t word = read_word(layout, from);
    std::array<std::uint32_t, 3> fraction{};
    for (unsigned i = 0; i < 3; ++i) fraction[i] = (word >> layout.field[i].first) & 0x1ffU;
    const auto values = shared_exponent_to_floats(fraction, (word >> exponent_position(layout)) & 0x1fU);
    for (unsigned i = 0; i < 3; ++i) channels[i] = as_bits(values[i]);
}

void encode_shared_exponent(const Layout& layout, const std::uint32_t* channels, std::byte* to) {
    const SharedExponent shared =
        floats_to_shared_exponent({as_float(channels[0]), as_float(channels[1]), as_float(channels[2])});
    std::uint32_t word = shared.exponent << exponent_position(layout);
    for (unsigned i = 0; i < 3; ++i) word |= shared.fraction[i] << layout.field[i].first;
    std::memcpy(to, &word, layout.bytes);
}

template <Encoding E, typename Number>
constexpr PixelFormat::Codec whole_bytes(unsigned channels) {
    switch (channels) {
        case 1:  return WholeBytes<E, Number, 1>::kCodec;
        case 2:  return WholeBytes<E, Number, 2>::kCodec;
        case 3:  return WholeBytes<E, Number, 3>::kCodec;
        default: return WholeBytes<E, Number, 4>::kCodec;
    }
}

template <Encoding E>
constexpr PixelFormat::Codec whole_bytes(unsigned bits, unsigned channels) {
    if (bits == 8) return whole_bytes<E, std::uint8_t>(channels);
    if (bits == 16) return whole_bytes<E, std::uint16_t>(channels);
    return whole_bytes<E, std::uint32_t>(channels);
}

constexpr PixelFormat::Codec choose_codec(const Layout& layout) {
    if (layout.encoding == shared_exponent) return {decode_shared_exponent, encode_shared_exponent};
    const unsigned bits = layout.field[0].bits;
    const bool whole = (bits == 8 || bits == 16 || bits == 32) && bits * layout.channels == layout.bytes * 8U;
    if (!whole) return {decode_packed, encode_packed};
    for (unsigned i = 0; i < layout.channels; ++i)
        if (layout.field[i].bits != bits) return {decode_packed, encode_packed};
    switch (layout.encoding) {
        case unorm:    return whole_bytes<unorm>(bits, layout.channels);
        case snorm:    return whole_bytes<snorm>(bits, layout.channels);
        case uint:     return whole_bytes<uint>(bits, layout.channels);
        case sint:     return whole_bytes<sint>(bits, layout.channels);
        case floating: return whole_bytes<floating>(bits, layout.channels);
        case fixed:    return whole_bytes<fixed, std::uint32_t>(layout.channels);
        default:       return {decode_packed, encode_packed};
    }
}

constexpr std::array<PixelFormat::Codec, 256> kCodecs = [] {
    std::array<PixelFormat::Codec, 256> table{};
    for (unsigned number = 0; number < 256; ++number) table[number] = choose_codec(kLayouts[number]);
    return table;
}();

constexpr Kind kind_of(Encoding encoding) {
    switch (encoding) {
        case uint: return Kind::uint;
        case sint: return Kind::sint;
        default:   return Kind::floating;
    }
}

/// Linear values of 8-bit sRGB.
const std::array<float, 256>& linear_bytes() {
    static const std::array<float, 256> table = [] {
        std::array<float, 256> values{};
        for (unsigned i = 0; i < 256; ++i) values[i] = srgb_to_linear(unorm_to_float(i, 8));
        return values;
    }();
    return table;
}

}  // namespace

const Layout& layout_of(unsigned number) { return kLayouts[number & 0xff]; }

std::optional<PixelFormat> PixelFormat::from_word(std::uint32_t word) {
    const unsigned number = (word >> 12) & 0xff;
    const unsigned order_number = word & 0xfff;
    const Layout& layout = kLayouts[number];
    if (layout.encoding == none || ((word >> 21) & 1) != 0) return std::nullopt;
    for (const Order& order : kOrders) {
        if (order.number != order_number) continue;
        PixelFormat format;
        format.layout_ = &layout;
        format.codec_ = &kCodecs[number];
        format.kind_ = kind_of(layout.encoding);
        format.one_ = format.kind_ == Kind::floating ? as_bits(1.0F) : 1;
        format.srgb_ = ((word >> 20) & 1) != 0 && layout.encoding == unorm;
        for (unsigned i = 0; i < 4; ++i) {
            const char name = order.sources[i];
            unsigned source = 0;
            if (name == 'z') {
                source = kZero;
            } else if (name == 'o') {
                source = kOne;
            } else {
                source = name == 'l' ? layout.channels - 1U : static_cast<unsigned>(name - '0');
                if (source >= layout.channels) source = i == 3 ? kOne : kZero;
            }
            format.source_[i] = static_cast<std::uint8_t>(source);
        }
        format.plain_bytes_ =
            layout.encoding == unorm && layout.field[0].bits == 8 && layout.bytes == layout.channels;
        format.in_order_ = !format.srgb_ && format.stores_in_order();
        return format;
    }
    return std::nullopt;
}

bool PixelFormat::stores_in_order() const {
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned missing = i == 3 ? kOne : kZero;
        if (source_[i] != (i < layout_->channels ? i : missing)) return false;
    }
    return true;
}

Texel PixelFormat::decode_reordered(const std::byte* from) const {
    Channels channels{};
    codec_->decode(*layout_, from, channels.data());
    channels[kOne] = one_;
    Texel texel{channels[source_[0]], channels[source_[1]], channels[source_[2]], channels[source_[3]]};
    if (srgb_) to_linear(texel);
    return texel;
}

void PixelFormat::to_linear(Texel& texel) const {
    for (unsigned i = 0; i < 3; ++i) {
        if (!stores(i)) continue;
        const float value = as_float(texel[i]);
        const float linear = layout_->field[0].bits == 8
                                 ? linear_bytes()[static_cast<unsigned>((value * 255) + 0.5F)]
                                 : srgb_to_linear(value);
        texel[i] = as_bits(linear);
    }
}

void PixelFormat::encode(const Texel& texel, std::byte* to) const {
    Channels channels{};
    // Downwards: where several components come from one channel, the first of them is what it gets.
    for (unsigned i = 4; i-- > 0;) {
        const bool coded = srgb_ && i < 3;
        channels[source_[i]] = coded ? as_bits(linear_to_srgb(as_float(texel[i]))) : texel[i];
    }
    codec_->encode(*layout_, channels.data(), to);
}

Texel PixelFormat::only_stored(const Texel& texel) const {
    Texel result{};
    for (unsigned i = 0; i < 4; ++i) {
        if (stores(i)) result[i] = texel[i];
        if (source_[i] == kOne) result[i] = one_;
    }
    return result;
}

}  // namespace belfry::gpu::texture
