// Command streams, written instruction by instruction into memory that the caller has: a mapped buffer, or
// the part of a ring that was reserved.
//
//   CommandWriter stream(words);                  // std::span<std::uint64_t>
//   stream.move48(d(68), buffer_va)
//       .move32(r(70), 0xdeadbeef)
//       .store_multiple(r(70), 0x1, d(68))        // [d68] = r70
//       .wait(kAllSlots)                          // loads and stores end later; wait for them
//       .move48(d(92), fence_va)
//       .move48(d(94), 1)
//       .sync_add64(d(92), d(94));                // *fence_va += 1, waiters wake
//   if (stream.overflowed()) ...                  // it did not fit; what was written is a prefix
//
// Registers: r0 ... r95 of 32 bits, one file for each queue, zero when the queue starts and kept from
// submission to submission. d(n) is the 64-bit pair r(n), r(n + 1) with n even. A kernel-mode submission
// overwrites r92 ... r95 before it calls the stream.
//
// Asynchronous instructions count up a scoreboard slot when they start and down when they end; WAIT stalls
// until the slots it names are zero. Loads and stores count on the "other" slot of SET_SB_ENTRY, FLUSH_CACHE2
// on its own signal slot. The instructions that take `after` run at once if it is empty. Otherwise they read
// their registers, the stream goes on, and they run when the slots in `after` are zero, counting on `signal`
// until then; so `signal` must not be one of `after`.
//
// The words are plain stores: publishing them (a release store of INSERT, a submission) is the caller's. No
// method blocks, allocates or throws. Not for two threads at once.
#pragma once

#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "belfry/uapi/csf.hpp"

namespace belfry {

/// A 32-bit register, r0 ... r95.
struct Reg {
    std::uint8_t index;
};
/// A 64-bit register pair, named by its low register, which is even.
struct Pair {
    std::uint8_t index;
};

/// The register r(index).
constexpr Reg r(std::uint8_t index) {
    assert(index < csf::kRegisters);
    return {index};
}
/// The pair of r(index), its low half, and r(index + 1); index is even.
constexpr Pair d(std::uint8_t index) {
    assert(index < csf::kRegisters && index % 2 == 0);
    return {index};
}

/// A set of scoreboard slots, 0 to 7.
struct Slots {
    std::uint8_t mask = 0;
};
inline constexpr Slots kAllSlots{0xff};

/// The set of these slots: slots(0, 2).
constexpr Slots slots(std::integral auto... indices) {
    assert((true && ... && (indices >= 0 && static_cast<unsigned>(indices) < csf::kSlots)));
    return {static_cast<std::uint8_t>((0U | ... | (1U << indices)))};
}

/// When an instruction that can wait for slots runs; see the head of this file.
struct Deferral {
    Slots after{};
    std::uint8_t signal = 0;
};

/// How SYNC_ADD and SYNC_SET update a sync object.
struct SyncUpdate {
    csf::Scope scope = csf::Scope::system;  ///< csg: seen by queues of this group only, wakes nobody else
    bool propagate = true;                  ///< error word: that of the queue, or false: cleared
    Slots after{};
    std::uint8_t signal = 0;
};

/// What FLUSH_CACHE2 does to each cache.
struct Flush {
    csf::FlushMode l2 = csf::FlushMode::clean_invalidate;   ///< none, clean, clean_invalidate
    csf::FlushMode lsc = csf::FlushMode::clean_invalidate;  ///< load/store caches: the same
    csf::FlushMode other = csf::FlushMode::invalidate;      ///< read-only caches: none, invalidate
    Slots after{};
    std::uint8_t signal = 0;
};

/// The parts of the GPU that a queue needs.
struct Resources {
    bool compute = false;
    bool fragment = false;
    bool tiler = false;
    bool idvs = false;
};

/// Appends instructions; every method writes one word unless it says otherwise, and returns *this.
class CommandWriter {
    using Op = csf::Op;
    using Arg = csf::Arg;
    template <Arg arg>
    using Set = csf::Operand<arg>;

  public:
    /// Writes from the start of `storage` on, which must outlive the writer.
    explicit CommandWriter(std::span<std::uint64_t> storage) : storage_(storage) {}

    /// Words written so far.
    [[nodiscard]] std::size_t size() const { return size_; }
    /// Bytes written so far: what CALL, JUMP and a submission want as length.
    [[nodiscard]] std::size_t size_bytes() const { return size_ * csf::kInstructionBytes; }
    /// The words written so far.
    [[nodiscard]] std::span<std::uint64_t> words() const { return storage_.first(size_); }
    /// Whether the next word will not fit.
    [[nodiscard]] bool full() const { return size_ == storage_.size(); }
    /// Whether a word did not fit and was dropped. It stays so: the stream lacks instructions and must not
    /// run.
    [[nodiscard]] bool overflowed() const { return overflowed_; }

    /// Any instruction, as a word: csf::encode() makes those that have no method here.
    CommandWriter& word(std::uint64_t instruction) {
        if (full()) {
            overflowed_ = true;
            return *this;
        }
        storage_[size_++] = instruction;
        return *this;
    }

    /// Does nothing; padding.
    CommandWriter& nop() { return emit<Op::nop>(); }

    // Registers.

    /// d[dst] = value, of at most 48 bits: every GPU address.
    CommandWriter& move48(Pair dst, std::uint64_t value) {
        return emit<Op::move48>(Set<Arg::dst>{dst.index}, Set<Arg::immediate>{value});
    }
    /// d[dst] = value. One word if 48 bits suffice, else two.
    CommandWriter& move64(Pair dst, std::uint64_t value) {
        if (value >> 48 == 0) return move48(dst, value);
        move32({dst.index}, static_cast<std::uint32_t>(value));
        return move32({static_cast<std::uint8_t>(dst.index + 1)}, static_cast<std::uint32_t>(value >> 32));
    }
    /// r[dst] = value.
    CommandWriter& move32(Reg dst, std::uint32_t value) {
        return emit<Op::move32>(Set<Arg::dst>{dst.index}, Set<Arg::immediate>{value});
    }
    /// r[dst] = r[src] + addend, modulo 2^32. With 0 it copies a register.
    CommandWriter& add_immediate32(Reg dst, Reg src, std::int32_t addend) {
        return emit<Op::add_immediate32>(Set<Arg::dst>{dst.index}, Set<Arg::src>{src.index},
                                         Set<Arg::immediate>{addend});
    }
    /// d[dst] = d[src] + addend, modulo 2^64. With 0 it copies a pair.
    CommandWriter& add_immediate64(Pair dst, Pair src, std::int32_t addend) {
        return emit<Op::add_immediate64>(Set<Arg::dst>{dst.index}, Set<Arg::src>{src.index},
                                         Set<Arg::immediate>{addend});
    }
    /// r[dst] = the smaller of r[src0] and r[src1], unsigned.
    CommandWriter& umin32(Reg dst, Reg src0, Reg src1) {
        return emit<Op::umin32>(Set<Arg::dst>{dst.index}, Set<Arg::src0>{src0.index},
                                Set<Arg::src1>{src1.index});
    }

    // Memory.

    /// Loads 32-bit words from d[address] + offset_bytes on, one for each set bit i of `mask`, into r[base +
    /// i]. Memory is packed: a clear bit skips the register only. Offset and address are multiples of 4.
    /// Asynchronous.
    CommandWriter& load_multiple(Reg base, std::uint16_t mask, Pair address, std::int16_t offset_bytes = 0) {
        return emit<Op::load_multiple>(Set<Arg::base>{base.index}, Set<Arg::mask>{mask},
                                       Set<Arg::address>{address.index}, Set<Arg::offset>{offset_bytes});
    }
    /// Stores r[base + i] for each set bit i of `mask`, packed as in load_multiple(). Asynchronous.
    CommandWriter& store_multiple(Reg base, std::uint16_t mask, Pair address, std::int16_t offset_bytes = 0) {
        return emit<Op::store_multiple>(Set<Arg::base>{base.index}, Set<Arg::mask>{mask},
                                        Set<Arg::address>{address.index}, Set<Arg::offset>{offset_bytes});
    }
    /// Stores 64 bits to d[address] + offset_bytes: a counter of the GPU, or the queue's error status.
    CommandWriter& store_state(csf::State state, Pair address, std::int16_t offset_bytes = 0,
                               Deferral when = {}) {
        return emit<Op::store_state>(Set<Arg::state>{state}, Set<Arg::address>{address.index},
                                     Set<Arg::offset>{offset_bytes}, Set<Arg::wait>{when.after.mask},
                                     Set<Arg::signal>{when.signal});
    }
    /// Flushes caches if r[flush_id] is 0 or still the GPU's LATEST_FLUSH_ID. Always asynchronous, on
    /// `signal`.
    CommandWriter& flush_cache2(Reg flush_id, Flush flush = {}) {
        return emit<Op::flush_cache2>(Set<Arg::l2_mode>{flush.l2}, Set<Arg::lsc_mode>{flush.lsc},
                                      Set<Arg::other_mode>{flush.other}, Set<Arg::flush_id>{flush_id.index},
                                      Set<Arg::wait>{flush.after.mask}, Set<Arg::signal>{flush.signal});
    }

    // Control.

    /// Goes on at the instruction after this one plus `offset` instructions, if r[value], signed, compares so
    /// with 0. -1 is the branch itself, 0 the next instruction.
    CommandWriter& branch(csf::Condition condition, Reg value, std::int16_t offset) {
        return emit<Op::branch>(Set<Arg::condition>{condition}, Set<Arg::value>{value.index},
                                Set<Arg::offset>{offset});
    }
    /// Runs the r[length] bytes of instructions at d[address], then goes on here. Seven deep from a ring, six
    /// from a kernel-mode submission.
    CommandWriter& call(Pair address, Reg length) {
        return emit<Op::call>(Set<Arg::address>{address.index}, Set<Arg::length>{length.index});
    }
    /// Runs the r[length] bytes of instructions at d[address] in place of the rest of this stream, which
    /// returns at their end. Not from a ring.
    CommandWriter& jump(Pair address, Reg length) {
        return emit<Op::jump>(Set<Arg::address>{address.index}, Set<Arg::length>{length.index});
    }
    /// Runs the r[length] bytes at d[address] when the tiler heap is full and the driver has no memory for
    /// it. Address and length 0 take the handler away.
    CommandWriter& set_exception_handler(Pair address, Reg length,
                                         csf::ExceptionType type = csf::ExceptionType::tiler_oom) {
        return emit<Op::set_exception_handler>(
            Set<Arg::exception_type>{type}, Set<Arg::address>{address.index}, Set<Arg::length>{length.index});
    }
    /// Clears the queue's error state, after what is in flight.
    CommandWriter& error_barrier() { return emit<Op::error_barrier>(); }
    /// Asks for exactly these resources from now on; stalls until they are there. None releases all.
    CommandWriter& req_resource(Resources wanted) {
        return emit<Op::req_resource>(Set<Arg::compute>{wanted.compute}, Set<Arg::fragment>{wanted.fragment},
                                      Set<Arg::tiler>{wanted.tiler}, Set<Arg::idvs>{wanted.idvs});
    }
    /// Records r[base] ... r[base + count - 1] in the queue's trace buffer, if it has one.
    CommandWriter& trace_point(Reg base, std::uint8_t count, Deferral when = {}) {
        return emit<Op::trace_point>(Set<Arg::base>{base.index}, Set<Arg::count>{count},
                                     Set<Arg::wait>{when.after.mask}, Set<Arg::signal>{when.signal});
    }

    // Scoreboard.

    /// Stalls until all these slots are zero.
    CommandWriter& wait(Slots slots) { return emit<Op::wait>(Set<Arg::wait>{slots.mask}); }
    /// Chooses the slots on which later jobs (endpoint) and later loads and stores (other) count.
    CommandWriter& set_sb_entry(std::uint8_t endpoint, std::uint8_t other) {
        return emit<Op::set_sb_entry>(Set<Arg::endpoint_entry>{endpoint}, Set<Arg::other_entry>{other});
    }

    // Sync objects: belfry_sync_object32 and belfry_sync_object64 of belfry/uapi/user_queue.h at d[address].
    // An update wakes the queues and, for the 64-bit form, the CPU waiters that it satisfies.

    /// value += r[data], modulo 2^32.
    CommandWriter& sync_add32(Pair address, Reg data, SyncUpdate update = {}) {
        return sync_update<Op::sync_add32>(address, data.index, update);
    }
    /// value += d[data], modulo 2^64.
    CommandWriter& sync_add64(Pair address, Pair data, SyncUpdate update = {}) {
        return sync_update<Op::sync_add64>(address, data.index, update);
    }
    /// value = r[data].
    CommandWriter& sync_set32(Pair address, Reg data, SyncUpdate update = {}) {
        return sync_update<Op::sync_set32>(address, data.index, update);
    }
    /// value = d[data].
    CommandWriter& sync_set64(Pair address, Pair data, SyncUpdate update = {}) {
        return sync_update<Op::sync_set64>(address, data.index, update);
    }
    /// Stalls until value > r[reference] (gt) or <= (le), unsigned; v10 promises no other condition. An error
    /// word that is set puts this queue into error state too, unless `reject`.
    CommandWriter& sync_wait32(Pair address, csf::Condition condition, Reg reference, bool reject = false) {
        return emit<Op::sync_wait32>(Set<Arg::address>{address.index}, Set<Arg::condition>{condition},
                                     Set<Arg::reference>{reference.index}, Set<Arg::error_reject>{reject});
    }
    /// Stalls until value > d[reference] (gt) or <= (le); as sync_wait32().
    CommandWriter& sync_wait64(Pair address, csf::Condition condition, Pair reference, bool reject = false) {
        return emit<Op::sync_wait64>(Set<Arg::address>{address.index}, Set<Arg::condition>{condition},
                                     Set<Arg::reference>{reference.index}, Set<Arg::error_reject>{reject});
    }

    // The queue's progress counter.

    /// Sets this queue's counter to r[src].
    CommandWriter& progress_store(Reg src) { return emit<Op::progress_store>(Set<Arg::src>{src.index}); }
    /// r[dst] = this queue's counter.
    CommandWriter& progress_load(Reg dst) { return emit<Op::progress_load>(Set<Arg::dst>{dst.index}); }
    /// Stalls until the counter of queue `queue` of the same group has reached r[src].
    CommandWriter& progress_wait(std::uint8_t queue, Reg src) {
        return emit<Op::progress_wait>(Set<Arg::queue>{queue}, Set<Arg::src>{src.index});
    }

  private:
    template <Op op, Arg... args>
    CommandWriter& emit(csf::Operand<args>... operands) {
        return word(csf::encode<op>(operands...));
    }
    template <Op op>
    CommandWriter& sync_update(Pair address, std::uint8_t data, const SyncUpdate& update) {
        return emit<op>(Set<Arg::address>{address.index}, Set<Arg::data>{data},
                        Set<Arg::error_propagate>{update.propagate}, Set<Arg::scope>{update.scope},
                        Set<Arg::wait>{update.after.mask}, Set<Arg::signal>{update.signal});
    }

    std::span<std::uint64_t> storage_;
    std::size_t size_ = 0;
    bool overflowed_ = false;
};

}  // namespace belfry
