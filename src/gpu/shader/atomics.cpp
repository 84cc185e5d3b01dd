// ATOM, ATOM_RETURN, ATOM1_RETURN: atomic against other lanes, cores and CPUs.
//
// Lanes go one after the other, in order. Sequentially consistent, which is more than a shader may rely on:
// on the machines that this runs on, it costs an atomic operation nothing.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "gpu/shader/access.hpp"
#include "gpu/shader/execution.hpp"
#include "gpu/shader/messages.hpp"

namespace belfry::gpu::shader {
namespace {

using valhall::Atom;
using valhall::Atom1;
using valhall::Mod;
using Name = valhall::Op;

std::uint64_t offset_of(const Op& op) {
    constexpr auto kBits = valhall::row(Name::atom_i32).find(Mod::offset)->bits();
    static_assert(kBits == valhall::row(Name::atom_return_i32).find(Mod::offset)->bits());
    static_assert(kBits == valhall::row(Name::atom1_return_i32).find(Mod::offset)->bits());
    return valhall::get<Name::atom_i32, Mod::offset>(op.word);
}

/// Replaces by `change` of what is there, which it gives back.
template <typename T, typename Change>
T update(std::atomic_ref<T> word, Change change) {
    T old = word.load(std::memory_order_relaxed);
    while (!word.compare_exchange_weak(old, change(old))) {
    }
    return old;
}

template <Atom kAtom, typename T>
T apply(T& at, T operand) {
    const std::atomic_ref word(at);
    using Signed = std::make_signed_t<T>;
    const auto is_signed = [](T value) { return static_cast<Signed>(value); };
    switch (kAtom) {
        case Atom::aadd:  return word.fetch_add(operand);
        case Atom::aand:  return word.fetch_and(operand);
        case Atom::aor:   return word.fetch_or(operand);
        case Atom::axor:  return word.fetch_xor(operand);
        case Atom::axchg: return word.exchange(operand);
        case Atom::aumin: return update(word, [&](T old) { return std::min(old, operand); });
        case Atom::aumax: return update(word, [&](T old) { return std::max(old, operand); });
        case Atom::asmin:
            return update(word, [&](T old) { return is_signed(operand) < is_signed(old) ? operand : old; });
        case Atom::asmax:
            return update(word, [&](T old) { return is_signed(operand) > is_signed(old) ? operand : old; });
    }
    __builtin_unreachable();
}

/// The word that `lane` changes; null: a fault was raised.
template <typename T>
T* word_of(Execution& execution, const Op& op, unsigned lane, std::uint64_t& address) {
    address = pair_of(execution.operands, op.source[0], lane) + offset_of(op);
    if (address % sizeof(T) != 0) {
        execution.raise(csf::Exception::addr_range_fault, lane, address, AccessKind::atomic);
        return nullptr;
    }
    std::byte* const host = execution.memory.writable(address);
    if (host == nullptr) execution.raise_refusal(lane, AccessKind::atomic);
    return reinterpret_cast<T*>(host);
}

template <typename T>
T operand_of(const Operands& operands, unsigned first, unsigned lane) {
    if constexpr (sizeof(T) == 4)
        return operands.reg(first)[lane];
    else
        return operands.reg(first)[lane] | std::uint64_t{operands.reg(first + 1)[lane]} << 32;
}

template <typename T>
void put_result(const Operands& operands, unsigned first, unsigned lane, T value) {
    operands.reg(first)[lane] = static_cast<std::uint32_t>(value);
    if constexpr (sizeof(T) == 8) operands.reg(first + 1)[lane] = static_cast<std::uint32_t>(value >> 32);
}

/// Each lane's `step(word, lane)` gives the old value, which is returned if the instruction asks for it.
template <typename T, bool kReturn, typename Step>
bool for_lanes(Execution& execution, const Op& op, unsigned result, Step step) {
    for (LaneMask rest = execution.active; rest != 0; rest &= rest - 1) {
        const unsigned lane = first_of(rest);
        std::uint64_t address = 0;
        T* const word = word_of<T>(execution, op, lane, address);
        if (word == nullptr) return false;
        const T old = step(*word, lane);
        // What was left in the sink is nobody's.
        if constexpr (kReturn) put_result<T>(execution.operands, result, lane, is_sink(address) ? T{0} : old);
    }
    return true;
}

template <typename T, bool kReturn, Atom kAtom>
bool atom(Execution& execution, const Op& op) {
    return for_lanes<T, kReturn>(execution, op, op.result, [&](T& word, unsigned lane) {
        return apply<kAtom>(word, operand_of<T>(execution.operands, op.destination, lane));
    });
}

template <typename T>
bool compare_exchange(Execution& execution, const Op& op) {
    return for_lanes<T, true>(execution, op, op.result, [&](T& word, unsigned lane) {
        const T wanted = operand_of<T>(execution.operands, op.destination, lane);
        T old = operand_of<T>(execution.operands, op.destination + sizeof(T) / 4, lane);
        std::atomic_ref(word).compare_exchange_strong(old, wanted);
        return old;
    });
}

/// The operand that ATOM1_RETURN implies.
template <typename T, bool kReturn, Atom kAtom, int kOperand>
bool atom1(Execution& execution, const Op& op) {
    return for_lanes<T, kReturn>(execution, op, op.destination, [&](T& word, unsigned) {
        return apply<kAtom>(word, static_cast<T>(kOperand));
    });
}

template <typename T, bool kReturn>
MessageHandler choose(Atom what) {
    switch (what) {
        case Atom::aadd:  return atom<T, kReturn, Atom::aadd>;
        case Atom::asmin: return atom<T, kReturn, Atom::asmin>;
        case Atom::asmax: return atom<T, kReturn, Atom::asmax>;
        case Atom::aumin: return atom<T, kReturn, Atom::aumin>;
        case Atom::aumax: return atom<T, kReturn, Atom::aumax>;
        case Atom::aand:  return atom<T, kReturn, Atom::aand>;
        case Atom::aor:   return atom<T, kReturn, Atom::aor>;
        case Atom::axor:  return atom<T, kReturn, Atom::axor>;
        case Atom::axchg: return atom<T, kReturn, Atom::axchg>;
    }
    return nullptr;
}

template <typename T, bool kReturn>
MessageHandler choose(Atom1 what) {
    switch (what) {
        case Atom1::ainc:   return atom1<T, kReturn, Atom::aadd, 1>;
        case Atom1::adec:   return atom1<T, kReturn, Atom::aadd, -1>;
        case Atom1::aumax1: return atom1<T, kReturn, Atom::aumax, 1>;
        case Atom1::asmax1: return atom1<T, kReturn, Atom::asmax, 1>;
        case Atom1::aor1:   return atom1<T, kReturn, Atom::aor, 1>;
    }
    return nullptr;
}

template <typename T>
bool bind(Op& op, Name atom_name, Name return_name) {
    const auto name = static_cast<Name>(op.name);
    if (name == atom_name) {
        op.message = choose<T, false>(static_cast<Atom>(valhall::get<Name::atom_i32, Mod::atom>(op.word)));
    } else if (name == return_name) {
        const auto what = static_cast<Atom>(valhall::get<Name::atom_return_i32, Mod::atom>(op.word));
        const bool compares = valhall::get<Name::atom_return_i32, Mod::compare>(op.word) != 0;
        op.message = !compares ? choose<T, true>(what) : what == Atom::axchg ? compare_exchange<T> : nullptr;
    } else {
        const auto what = static_cast<Atom1>(valhall::get<Name::atom1_return_i32, Mod::atom1>(op.word));
        const bool returns = valhall::get<Name::atom1_return_i32, Mod::cnt>(op.word) != 0;
        op.message = returns ? choose<T, true>(what) : choose<T, false>(what);
    }
    op.cost = 40;
    return op.message != nullptr;
}

}  // namespace

bool bind_atomic(Op& op) {
    switch (static_cast<Name>(op.name)) {
        case Name::atom_i32:
        case Name::atom_return_i32:
        case Name::atom1_return_i32: return bind<std::uint32_t>(op, Name::atom_i32, Name::atom_return_i32);
        case Name::atom_i64:
        case Name::atom_return_i64:
        case Name::atom1_return_i64: return bind<std::uint64_t>(op, Name::atom_i64, Name::atom_return_i64);
        default:                     return false;
    }
}

}  // namespace belfry::gpu::shader
