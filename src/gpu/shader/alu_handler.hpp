// Handlers: from what an instruction does to one lane to what runs it on all.
//
// An instruction is a type with a Signature and an operator() on words. It is made without arguments, or from
// the instruction word if it has modifiers of its own.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "gpu/shader/alu_operand.hpp"

// A lane reads and writes only what is its own, whichever registers are the same.
#if defined(__clang__)
#define BELFRY_LANES_ARE_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define BELFRY_LANES_ARE_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace belfry::gpu::shader::BELFRY_SIMD {

template <Type kResultType, Type... kTypes>
struct Signature {
    static constexpr Type kResult = kResultType;
    static constexpr std::array<Type, sizeof...(kTypes)> kSources{kTypes...};
    static constexpr std::size_t kSourceCount = sizeof...(kTypes);
    static constexpr bool kFrequent = false;  // worth a handler for abs and neg alone
    static constexpr bool is_float(Type type) { return type == Type::f32 || type == Type::f16; }
    static constexpr bool kFloats = is_float(kResultType) || (is_float(kTypes) || ...);
};

template <class T, valhall::Op kName>
inline T make(u64 word) {
    if constexpr (std::is_constructible_v<T, Word<kName>>)
        return T(Word<kName>{word});
    else
        return T{};
}

inline constexpr struct alignas(64) {
    u32 bit[kLanes] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
} kLaneBits;

/// The bits of each lane's register that a write mask lets through.
inline constexpr u32 kWriteMasks[4] = {0, 0xffff, 0xffff0000, 0xffffffff};

/// kFast: full warps get a loop of their own.
template <bool kFast, class T, class Store, class... Loads, std::size_t... kIndices>
inline void run_lanes(const T& compute, const Op& op, const Operands& operands, LaneMask active,
                      std::index_sequence<kIndices...> /*sources*/, const Loads&... load) {
    const u32* const source[] = {operands(op.source[kIndices]).word.data()...};
    u32* const destination = operands.reg(op.destination).word.data();
    const Store store(op);
    if constexpr (kFast) {
        if (active == kAllLanes && op.write_mask == 3) [[likely]] {
            BELFRY_LANES_ARE_INDEPENDENT
            for (unsigned lane = 0; lane < kLanes; ++lane)
                destination[lane] = store(compute(load(source[kIndices][lane])...));
            return;
        }
    }
    const u32 mask = kWriteMasks[op.write_mask & 3];
    BELFRY_LANES_ARE_INDEPENDENT
    for (unsigned lane = 0; lane < kLanes; ++lane) {
        const u32 result = store(compute(load(source[kIndices][lane])...));
        const u32 written = (active & kLaneBits.bit[lane]) != 0 ? mask : 0;
        destination[lane] = choose(written, result, destination[lane]);
    }
}

/// The handler of an instruction of 32-bit registers.
template <valhall::Op kName, class T, class Store, class... Loads>
[[gnu::flatten]] void run(const Op& op, const Operands& operands, LaneMask active) {
    constexpr bool kFast = (std::is_same_v<Loads, AsIs> && ...);
    run_lanes<kFast, T, Store>(make<T, kName>(op.word), op, operands, active,
                               std::index_sequence_for<Loads...>(), Loads(op)...);
}

/// Types whose values come from the word share no handler between names; others do.
template <class T, valhall::Op kName>
inline constexpr valhall::Op kHandlerName =
    std::is_constructible_v<T, Word<kName>> ? kName : valhall::Op::nop;

template <class T, std::size_t>
using AsIsFor = AsIs;

/// T where the word has no modifiers and the mode is plain; Any, which does the same, otherwise. T may leave
/// sources out that the word makes constant.
template <valhall::Op kName, class T, class Any, std::size_t... kIndices>
inline AluHandler pick_of(u64 word, FloatMode mode, std::index_sequence<kIndices...> /*sources*/) {
    constexpr const valhall::Row& kOwn = kRow<kName>;
    static_assert(T::kSourceCount <= kOwn.source_count_);
    constexpr bool kStores = T::kResult == Type::f32 || T::kResult == Type::f16;
    constexpr const valhall::Field* kClamp = kStores ? kField<kName, valhall::Mod::clamp> : nullptr;
    constexpr u64 kSigns = (sign_bits(kOwn.sources_[kIndices]) | ... | 0);
    constexpr u64 kSelectors = (selector_bits(kOwn.sources_[kIndices]) | ... | 0);
    constexpr u64 kAll = kSigns | kSelectors | field_bits(kClamp);
    constexpr u64 kDefault = (selector_default(kOwn.sources_[kIndices]) | ... | 0);
    constexpr valhall::Op kStoreName = kClamp == nullptr ? valhall::Op::nop : kName;

    if constexpr (T::kFloats) {
        if (!mode.plain()) {
            using Store = std::conditional_t<kStores, Result<kStoreName, T::kResult, true>, AsIs>;
            return run<kHandlerName<Any, kName>, Any, Store,
                       Load<kOwn.sources_[kIndices], T::kSources[kIndices], true>...>;
        }
    }
    if ((word & kAll) == kDefault) return run<kHandlerName<T, kName>, T, AsIs, AsIsFor<T, kIndices>...>;
    using Store = std::conditional_t<kClamp == nullptr, AsIs, Result<kStoreName, T::kResult, false>>;
    if constexpr (T::kFrequent) {
        if ((word & (kSelectors | field_bits(kClamp))) == kDefault)
            return run<kHandlerName<T, kName>, T, AsIs,
                       Signs<kOwn.sources_[kIndices], T::kSources[kIndices]>...>;
    }
    if constexpr (kSigns != 0) {
        if ((word & kSelectors) == kDefault)
            return run<kHandlerName<Any, kName>, Any, Store,
                       Signs<kOwn.sources_[kIndices], T::kSources[kIndices]>...>;
    }
    if constexpr (kSelectors != 0)
        return run<kHandlerName<Any, kName>, Any, Store,
                   Load<kOwn.sources_[kIndices], T::kSources[kIndices], false>...>;
    return nullptr;  // not reached
}

/// The handler of `kName` that does what T does to a lane: the one for its modifiers.
template <valhall::Op kName, class T, class Any = T>
inline AluHandler pick(u64 word, FloatMode mode) {
    return pick_of<kName, T, Any>(word, mode, std::make_index_sequence<T::kSourceCount>());
}

// 64-bit registers: pairs of which the even one is low.

struct Pair {
    u32 low;
    u32 high;

    [[nodiscard]] u64 joined() const { return u64{high} << 32 | low; }
    static Pair of(u64 value) { return {static_cast<u32>(value), static_cast<u32>(value >> 32)}; }
};

/// A source of 64 bits, or one extended to them; of a shift amount, its byte.
template <valhall::Source kSource, bool kSigned>
struct LoadPair {
    Part<kSigned> part = Part<kSigned>::whole();
    u32 whole = ~0U;  // mask: the high register counts
    u32 flip;

    explicit LoadPair(const Op& op) : flip(0 - bit(op.word, kSource.invert)) {
        const u32 value = static_cast<u32>(op.word >> kSource.selector_bit) & 15;
        if constexpr (kSource.selector == valhall::Selector::widen64) {
            part = widened_part<kSigned>(value);
            whole = mask_of(value == 0);
        } else if constexpr (kSource.selector == valhall::Selector::byte_lane) {
            part = Part<kSigned>::byte(value & 3);
            whole = 0;
        }
    }
    Pair operator()(u32 low, u32 high) const {
        const u32 selected = part(low);
        const u32 extension = kSigned ? static_cast<u32>(static_cast<i32>(selected) >> 31) : 0;
        return {selected ^ flip, choose(whole, high, extension) ^ flip};
    }
};

template <class T, class... Loads, std::size_t... kIndices>
inline void run_pairs(const T& compute, const Op& op, const Operands& operands, LaneMask active,
                      std::index_sequence<kIndices...> /*sources*/, const Loads&... load) {
    const u32* const low[] = {operands(op.source[kIndices]).word.data()...};
    const u32* const high[] = {operands(op.source[kIndices] | 1U).word.data()...};
    u32* const destination_low = operands.reg(op.destination).word.data();
    u32* const destination_high = operands.reg(op.destination | 1U).word.data();
    BELFRY_LANES_ARE_INDEPENDENT
    for (unsigned lane = 0; lane < kLanes; ++lane) {
        const Pair result = compute(load(low[kIndices][lane], high[kIndices][lane])...);
        const u32 written = mask_of((active & kLaneBits.bit[lane]) != 0);
        destination_low[lane] = choose(written, result.low, destination_low[lane]);
        destination_high[lane] = choose(written, result.high, destination_high[lane]);
    }
}

/// The handler of an instruction with a 64-bit result. It is always written whole.
template <valhall::Op kName, class T, class... Loads>
[[gnu::flatten]] void run_pair(const Op& op, const Operands& operands, LaneMask active) {
    run_pairs<T>(make<T, kName>(op.word), op, operands, active, std::index_sequence_for<Loads...>(),
                 Loads(op)...);
}

template <valhall::Op kName, class T, std::size_t... kIndices>
inline AluHandler pick_pair_of(std::index_sequence<kIndices...> /*sources*/) {
    static_assert(kRow<kName>.source_count_ == T::kSourceCount);
    return run_pair<kHandlerName<T, kName>, T,
                    LoadPair<kRow<kName>.sources_[kIndices], T::kSources[kIndices] == Type::sint>...>;
}
template <valhall::Op kName, class T>
inline AluHandler pick_pair() {
    return pick_pair_of<kName, T>(std::make_index_sequence<T::kSourceCount>());
}

}  // namespace belfry::gpu::shader::BELFRY_SIMD
