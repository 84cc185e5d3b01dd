// Random programs for shader cores, and all that RUN_COMPUTE names: what a hostile client could write.
//
// Most words are valid instructions whose addresses, handles and jumps lead somewhere, so that most of a
// program runs; some are valid but for that, and some are noise. Everything else is drawn likewise.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "belfry/uapi/valhall.hpp"
#include "gpu/texture/pixel_format.hpp"

namespace belfry::gpu {

/// splitmix64: as good as needed here, and nearly free.
class Chance {
  public:
    explicit Chance(std::uint64_t seed) : state_(seed) {}
    std::uint64_t bits() {
        std::uint64_t z = state_ += 0x9e37'79b9'7f4a'7c15;
        z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
        z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
        return z ^ z >> 31;
    }
    std::uint32_t word() { return static_cast<std::uint32_t>(bits()); }
    std::uint32_t below(std::uint64_t count) { return static_cast<std::uint32_t>(bits() % count); }
    bool one_in(unsigned count) { return below(count) == 0; }
    template <typename T, std::size_t n>
    T of(const std::array<T, n>& all) {
        return all[below(n)];
    }

  private:
    std::uint64_t state_;
};

/// Where a hostile program's memory lies.
struct HostileMap {
    std::uint64_t code;
    std::uint64_t code_bytes;
    std::uint64_t data;  // may be written
    std::uint64_t data_bytes;
    std::uint64_t constants;  // may not
    std::uint64_t constant_bytes;
    std::uint64_t descriptors;  // table of kDescriptors
};
inline constexpr std::uint32_t kDescriptors = 64;  // the second half are planes
inline constexpr std::uint32_t kTables = 8;

// What the uniforms hold, in 32-bit words.
inline constexpr unsigned kAddressUniforms = 32;  // pairs, from 0 on
inline constexpr unsigned kHandleUniforms = 16;   // from kAddressUniforms on
inline constexpr unsigned kJumpUniforms = 8;      // from there on: where code lies
inline constexpr unsigned kUniforms = 64;         // the rest: numbers

class HostileShader {
  public:
    HostileShader(Chance& chance, const HostileMap& map) : chance_(chance), map_(map) {}

    void write_code(std::span<std::uint64_t> code) {
        const std::size_t most = chance_.one_in(8) ? code.size() : std::min<std::size_t>(code.size(), 24);
        const unsigned length = 1 + chance_.below(most);
        const unsigned noise = chance_.one_in(6) ? 2 : 200;  // one word in so many
        length_ = length;
        for (unsigned i = 0; i < length; ++i) {
            at_ = i;
            code[i] = chance_.one_in(noise) ? noise_word() : valid_word();
        }
        // Where it would end, unless it has jumped.
        if (length < code.size())
            code[length] = valhall::with(valhall::encode(valhall::Op::nop), valhall::Flow::end);
    }

    void write_uniforms(std::span<std::uint32_t> words) {
        for (unsigned i = 0; i < kAddressUniforms; i += 2) {
            const std::uint64_t address = some_address();
            words[i] = static_cast<std::uint32_t>(address);
            words[i + 1] = static_cast<std::uint32_t>(address >> 32);
        }
        for (unsigned i = 0; i < kHandleUniforms; ++i) words[kAddressUniforms + i] = some_handle();
        for (unsigned i = 0; i < kJumpUniforms; ++i)
            words[kAddressUniforms + kHandleUniforms + i] =
                static_cast<std::uint32_t>(map_.code + 8 * chance_.below(length_ + 2));
        for (unsigned i = kAddressUniforms + kHandleUniforms + kJumpUniforms; i < kUniforms; ++i)
            words[i] = some_number();
    }

    std::array<std::uint32_t, 8> program() {
        std::array<std::uint32_t, 8> words{8 | 1U << 4 | (chance_.word() & 0xffff'ff00), chance_.word()};
        const std::uint64_t pc = map_.code + (chance_.one_in(16) ? chance_.below(map_.code_bytes + 16) : 0);
        words[2] = static_cast<std::uint32_t>(pc);
        words[3] = static_cast<std::uint32_t>(pc >> 32);
        return chance_.one_in(64) ? noise_descriptor() : words;
    }
    std::array<std::uint32_t, 8> local_storage() {
        const std::uint64_t thread_local_base = some_address();
        const std::uint64_t workgroup_local_base = some_address();
        if (chance_.one_in(32)) return noise_descriptor();
        return {chance_.below(8),
                chance_.one_in(3) ? 31 : chance_.below(4) | chance_.below(14) << 8,
                static_cast<std::uint32_t>(thread_local_base),
                static_cast<std::uint32_t>(thread_local_base >> 32) | chance_.below(2) << 28,
                static_cast<std::uint32_t>(workgroup_local_base),
                static_cast<std::uint32_t>(workgroup_local_base >> 32),
                0,
                0};
    }
    /// An entry of the resource table.
    std::array<std::uint32_t, 4> table() {
        const bool sound = !chance_.one_in(8);
        const std::uint64_t address = sound ? map_.descriptors : some_address();
        return {static_cast<std::uint32_t>(address),
                static_cast<std::uint32_t>(address >> 32) | (chance_.one_in(16) ? 0 : 1U << 24),
                sound ? kDescriptors * 32 : chance_.word(), chance_.one_in(32) ? chance_.word() : 0};
    }
    std::array<std::uint32_t, 8> descriptor(std::uint32_t index) {
        if (chance_.one_in(24)) return noise_descriptor();
        std::array<std::uint32_t, 8> words{};
        if (index >= kDescriptors / 2) {
            words = plane();
        } else {
            switch (chance_.below(4)) {
                case 0:  words = sampler(); break;
                case 1:  words = attribute(); break;
                case 2:  words = buffer(); break;
                default: words = texture(); break;
            }
        }
        for (unsigned flips = chance_.one_in(4) ? 1 + chance_.below(3) : 0; flips != 0; --flips)
            words[chance_.below(8)] ^= 1U << chance_.below(32);
        return words;
    }

    std::uint64_t some_address() {
        switch (chance_.below(64)) {
            case 0:  return chance_.bits();
            case 1:  return chance_.bits() >> 16;
            case 2:  return map_.code + chance_.below(map_.code_bytes);
            case 3:  return map_.descriptors + chance_.below(kDescriptors * 32);
            case 4:
            case 5:  return map_.constants + chance_.below(map_.constant_bytes);
            case 6:  return map_.data + map_.data_bytes - chance_.below(64);
            case 7:  return map_.data - chance_.below(64);
            case 8:  return map_.data + chance_.below(map_.data_bytes);
            default: return map_.data + (chance_.below(map_.data_bytes) & ~15ULL);
        }
    }
    std::uint32_t some_number() {
        switch (chance_.below(6)) {
            case 0:  return chance_.word();
            case 1:  return std::bit_cast<std::uint32_t>(static_cast<float>(chance_.below(128)) / 8 - 4);
            case 2:  return chance_.of(kEdges);
            default: return chance_.below(64);
        }
    }

  private:
    static constexpr std::array<std::uint32_t, 12> kEdges{0,           1,           0x7fff'ffff, 0x8000'0000,
                                                          0xffff'ffff, 0x7f80'0000, 0xff80'0000, 0x7fc0'0001,
                                                          0x0000'0001, 0x4f00'0000, 0x7c00'7c00, 0x3c00'bc00};

    std::array<std::uint32_t, 8> noise_descriptor() {
        std::array<std::uint32_t, 8> words;
        for (std::uint32_t& word : words) word = chance_.word();
        return words;
    }
    std::uint32_t some_handle() {
        const std::uint32_t table = chance_.one_in(16) ? chance_.below(64) : chance_.below(kTables);
        return table << 24 | (chance_.one_in(16) ? chance_.word() & 0xff'ffff : chance_.below(kDescriptors));
    }
    /// 22 bits that name a format, most of the time.
    std::uint32_t format() {
        static const std::vector<std::uint32_t> kKnown = [] {
            std::vector<std::uint32_t> known;
            Chance chance(1);
            for (unsigned i = 0; i < 400'000; ++i)
                if (const std::uint32_t word = chance.word() >> 10; texture::PixelFormat::from_word(word))
                    known.push_back(word);
            return known;
        }();
        if (kKnown.empty() || chance_.one_in(32)) return chance_.word() >> 10;
        return kKnown[chance_.below(kKnown.size())];
    }
    std::uint32_t extent() { return chance_.one_in(8) ? chance_.below(0x1'0000) : chance_.below(40); }

    std::array<std::uint32_t, 8> sampler() {
        constexpr std::array<std::uint32_t, 6> kWraps{8, 9, 11, 12, 13, 15};
        std::array<std::uint32_t, 8> words = noise_descriptor();
        words[0] = (words[0] & ~0xf'ff3fU) | 1U | chance_.of(kWraps) << 8 | chance_.of(kWraps) << 12 |
                   chance_.of(kWraps) << 16;
        if (words[0] >> 30 == 2) words[0] ^= 1U << 31;
        if ((words[0] >> 4 & 3) == 1) words[0] ^= 1U << 4;
        return words;
    }
    std::array<std::uint32_t, 8> texture() {
        const std::uint64_t planes =
            chance_.one_in(12) ? some_address()
                               : map_.descriptors + 32 * (kDescriptors / 2 + chance_.below(kDescriptors / 2));
        std::uint32_t swizzle = 0;
        for (unsigned i = 0; i < 4; ++i) swizzle |= chance_.below(6) << (3 * i);
        return {2U | chance_.below(4) << 4 | format() << 10,
                extent() | extent() << 16,
                swizzle | (chance_.one_in(3) ? chance_.below(17) : 0) << 16,
                chance_.one_in(2) ? 0x1fffU << 16 : chance_.word() & 0x1fff'1fff,
                static_cast<std::uint32_t>(planes),
                static_cast<std::uint32_t>(planes >> 32),
                chance_.one_in(2) ? 0 : extent(),
                chance_.one_in(2) ? 0 : extent()};
    }
    std::array<std::uint32_t, 8> plane() {
        const std::uint64_t address = chance_.one_in(8) ? some_address() : map_.data;
        return {10U | 1U << 4 | (1 + chance_.below(2)) << 8 | chance_.below(64) << 24,
                chance_.word(),
                static_cast<std::uint32_t>(address),
                static_cast<std::uint32_t>(address >> 32),
                chance_.one_in(8) ? chance_.word() : chance_.below(1024),
                0,
                chance_.one_in(8) ? chance_.word() : chance_.below(4096),
                extent() | extent() << 16};
    }
    std::array<std::uint32_t, 8> buffer() {
        const std::uint64_t address = some_address();
        return {9U | 1U << 4,
                chance_.one_in(8) ? chance_.word() : chance_.below(0x2000),
                static_cast<std::uint32_t>(address),
                static_cast<std::uint32_t>(address >> 32),
                0,
                0,
                0,
                0};
    }
    std::array<std::uint32_t, 8> attribute() {
        return {5U | (1 + chance_.below(3)) << 4 | chance_.below(2) << 8 | format() << 10,
                (chance_.word() & ~63U) | chance_.below(kTables),
                chance_.one_in(8) ? chance_.word() : chance_.below(256),
                chance_.below(kDescriptors),
                chance_.one_in(8) ? chance_.word() : chance_.below(64),
                chance_.word(),
                0,
                0};
    }

    std::uint64_t noise_word() {
        const std::uint64_t noise = chance_.bits();
        if (chance_.one_in(2)) return noise;
        const valhall::Row& row = valhall::kRows[chance_.below(valhall::kRows.size())];
        return (noise & ~(0x81ffULL << 48)) | valhall::encode(row);
    }

    std::uint64_t valid_word() {
        for (unsigned tries = 0; tries < 8; ++tries)
            if (const std::uint64_t word = likely_word(); valhall::judge(word) == valhall::Verdict::valid)
                return word;
        return valhall::encode(valhall::Op::nop);
    }
    std::uint64_t likely_word() {
        using enum valhall::Op;
        static constexpr std::array<valhall::Op, 12> kMessages{
            load_i32, store_i32,  atom_i32,  atom_return_i64, ld_tex,        lea_tex,
            st_cvt,   tex_single, tex_fetch, tex_gather,      ld_buffer_i64, branchz};
        const valhall::Row& row = chance_.one_in(4) ? valhall::row(chance_.of(kMessages))
                                                    : valhall::kRows[chance_.below(valhall::kRows.size())];
        std::uint64_t word = valhall::encode(row);
        for (const valhall::Field& field : row.fields()) {
            std::uint64_t value = chance_.word();
            if (field.kind == valhall::Kind::choice)
                for (value %= 1U << field.width; !field.choices->has(value);)
                    value = chance_.below(1U << field.width);
            if (field.mod == valhall::Mod::offset) value = row.op == branchz ? jump() : chance_.below(32);
            word = valhall::insert(field, word, value);
        }
        for (const valhall::Source& source : row.sources()) word |= source_of(row, source);
        switch (row.destination) {
            case valhall::Destination::none:   break;
            case valhall::Destination::normal: {
                const std::uint64_t mask = row.writes_pair() || !chance_.one_in(4) ? 3 : 1 + chance_.below(2);
                word &= ~(0xffULL << 40);
                word |= mask << 46 | some_register(row.writes_pair()) << 40;
                break;
            }
            case valhall::Destination::w16_r40:
                word = (word & ~(0x3fULL << 16)) | some_register(true) << 16;
                [[fallthrough]];
            default: word = (word & ~(0x3fULL << 40)) | some_register(true) << 40; break;
        }
        constexpr std::array<valhall::Flow, 3> kFlows{valhall::Flow::reconverge, valhall::Flow::end,
                                                      static_cast<valhall::Flow>(1)};
        return chance_.one_in(16) ? valhall::with(word, chance_.of(kFlows)) : word;
    }
    std::uint64_t source_of(const valhall::Row& row, const valhall::Source& source) {
        const bool message = !row.is_alu();
        const bool texture = message && row.unit == valhall::Unit::texture;
        std::uint64_t byte = some_register(source.pair);
        const unsigned from = chance_.below(16);
        if (row.op == valhall::Op::branchzi && source.bit != 0)
            byte = 0x80 | (kAddressUniforms + kHandleUniforms + chance_.below(kJumpUniforms));
        else if (message && from < 15)
            byte = source.pair && !texture
                       ? 0x80U | (chance_.below(kAddressUniforms) & ~1U)
                       : 0x80U | (kAddressUniforms + (chance_.below(kHandleUniforms) & ~1U));
        else if (from < 4)
            byte = 0x80 | (chance_.below(kUniforms) & (source.pair ? ~1U : ~0U));
        else if (from < 6)
            byte = 0xc0 | (chance_.below(64) & (source.pair ? ~1U : ~0U));
        std::uint64_t bits = byte << source.bit;
        const unsigned width = valhall::form(source.selector).width;
        if (width != 0 && chance_.one_in(2))
            bits |= (chance_.bits() & ((1ULL << width) - 1)) << source.selector_bit;
        for (const std::uint8_t modifier : {source.neg, source.abs, source.invert})
            if (modifier != 0 && chance_.one_in(4)) bits |= 1ULL << modifier;
        return bits;
    }
    std::uint64_t some_register(bool pair) { return chance_.below(64) & (pair ? ~1U : ~0U); }
    /// Of a branch: mostly forward, and within the program.
    std::uint64_t jump() {
        if (chance_.one_in(64)) return chance_.bits();
        if (chance_.one_in(16)) return ~std::uint64_t{chance_.below(at_ + 1)};
        return chance_.below(length_ - at_);
    }

    Chance& chance_;
    const HostileMap& map_;
    unsigned length_ = 1;
    unsigned at_ = 0;
};

}  // namespace belfry::gpu
