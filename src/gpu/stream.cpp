#include "gpu/stream.hpp"

#include <algorithm>
#include <bit>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/sync_object.hpp"

namespace belfry::gpu {
namespace {

using base::kAcquire;
using base::kRelaxed;
using base::kRelease;
using csf::Arg;
using csf::Condition;
using csf::Exception;
using csf::get;
using csf::Op;

constexpr std::uint64_t kPageBytes = 1U << kPageShift;
constexpr std::uint32_t kAllSlots = (1U << kScoreboards) - 1;

/// Streams are fetched from pages that are mapped no-execute (rings by the kernel, command buffers by Mesa),
/// so a fetch is a read to the MMU; "execute" is for shader cores.
constexpr Access kFetch = Access::read;

bool is_register(std::uint64_t index) { return index < kRegisters; }
bool is_pair(std::uint64_t index) { return index < kRegisters && index % 2 == 0; }

/// Wait mask and signal slot of a deferrable instruction. False if one names a slot that does not exist:
/// hardware drops such an operation or faults (facts/csf-isa.md 2.5), here it is always a fault, so that it
/// is noticed.
template <Op op_code>
bool take_deferral(std::uint64_t word, InFlight& op) {
    const auto wait = get<op_code, Arg::wait>(word);
    const auto signal = get<op_code, Arg::signal>(word);
    op.wait = static_cast<std::uint8_t>(wait);
    op.signal = static_cast<std::uint8_t>(signal);
    return wait <= kAllSlots && signal < kScoreboards;
}

}  // namespace

void Stream::start(const StreamConfig& config) {
    config_ = config;
    state_ = {};
    fetch_page_ = ~0ULL;
    waiting_on_ = nullptr;
    // Client-writable, so only a hint: judge_insert() bounds what it can lead to, and to its owner's harm.
    state_.extract = base::load(config.input->extract_init, kAcquire);
    state_.frames[0] = {.start = state_.extract, .next = state_.extract, .end = state_.extract};
    state_.status = StreamStatus::empty;
    base::store(config.output->extract, state_.extract, kRelease);
    base::store(config.output->active, 1, kRelease);
    // ACTIVE before INSERT: a client whose INSERT is not seen here reads ACTIVE after it, and rings.
    base::full_fence();
    // With a word that straddles the ring's pages nothing could ever be fetched.
    if (state_.extract % kInstructionBytes != 0)
        fail(Exception::cs_config_fault, state_.extract, here(0));
    else
        look();
}

void Stream::resume(const StreamConfig& config, const StreamState& saved) {
    config_ = config;
    state_ = saved;
    fetch_page_ = ~0ULL;
    waiting_on_ = nullptr;
    // Neither "blocked" nor "empty" is believed: what the stream waits for may have come while it was away.
    if (state_.status == StreamStatus::blocked) state_.status = StreamStatus::running;
    base::store(config.output->active, 1, kRelease);
    base::full_fence();  // as in start()
    look();
}

void Stream::stop() {
    if (config_.output != nullptr) base::store(config_.output->active, 0, kRelease);
    config_ = {};  // its pages are the driver's again, and may be another slot's soon
    state_.status = StreamStatus::stopped;
    waiting_on_ = nullptr;
}

bool Stream::look() {
    if (state_.status == StreamStatus::empty && judge_insert()) state_.status = StreamStatus::running;
    return state_.status == StreamStatus::running;
}

void Stream::prefetch() const {
    if (state_.status != StreamStatus::empty) return;  // a doorbell starts nothing
    __builtin_prefetch(&config_.input->insert);
    // Only where the ring's page is known anyhow; the next fetch judges it.
    const std::uint64_t address = address_of(state_.frames[0]);
    if (address >> kPageShift == fetch_page_) __builtin_prefetch(fetch_host_ + address % kPageBytes);
}

/// Takes the INSERT that the client has published. True if it is beyond what was known. Only called when
/// everything before has been executed.
bool Stream::judge_insert() {
    Frame& ring = state_.frames[0];
    const std::uint64_t insert = base::load(config_.input->insert, kAcquire);  // the client's: read once
    const std::uint64_t bytes = insert - ring.next;
    if (bytes == 0) return false;
    if (bytes > config_.ring_bytes || insert % kInstructionBytes != 0) {
        fail(Exception::cs_config_fault, insert, here(0));
        return false;
    }
    ring.start = ring.next;
    ring.end = insert;
    return true;
}

bool Stream::wake_if_waiting(const std::byte* host) {
    if (state_.status != StreamStatus::blocked || state_.blocked.reason != BlockedReason::sync) return false;
    // An object whose host address is not known matches every update.
    if (host != nullptr && waiting_on_ != nullptr && host != waiting_on_) return false;
    state_.status = StreamStatus::running;
    return true;
}

bool Stream::wake_if_waiting_for_progress() {
    if (state_.status != StreamStatus::blocked || state_.blocked.reason != BlockedReason::progress)
        return false;
    state_.status = StreamStatus::running;
    return true;
}

void Stream::job_ended(const ComputeResult& result) {
    if (state_.status == StreamStatus::stopped || state_.status == StreamStatus::fatal ||
        state_.status == StreamStatus::faulted)
        return;
    --state_.jobs[result.entry];
    if (result.faulted != 0) {
        shader_fault(result.fault, result.place);
        return;
    }
    if (result.progress != 0) bump_progress();
    // What was deferred until then completes now, though the stream may stand or have nothing more to run.
    if (!complete(kAllSlots) || state_.status != StreamStatus::blocked) return;
    switch (state_.blocked.reason) {
        case BlockedReason::scoreboard:
        case BlockedReason::deferred:   state_.status = StreamStatus::running; break;
        case BlockedReason::resource:
            if (state_.blocked.protected_mode == 0) state_.status = StreamStatus::running;
            break;
        default: break;
    }
}

void Stream::lose_jobs() {
    if (std::ranges::any_of(state_.jobs, [](std::uint8_t jobs) { return jobs != 0; }))
        fail(Exception::cs_config_fault, 0, here(0));
}

void Stream::end_by_bus_fault() {
    if (state_.status == StreamStatus::stopped || state_.status == StreamStatus::fatal) return;
    // Who did nothing wrong has no place to show: so the driver tells the culprit.
    const bool culprit = state_.status == StreamStatus::faulted;
    fail(Exception::cs_bus_fault, culprit ? state_.fault_address : 0, culprit ? state_.culprit : Place{});
}

std::uint32_t Stream::busy_scoreboards() const {
    std::uint32_t busy = 0;
    for (unsigned i = 0; i < state_.in_flight_count; ++i) busy |= 1U << state_.in_flight[i].signal;
    for (unsigned i = 0; i < kScoreboards; ++i)
        if (state_.jobs[i] != 0) busy |= 1U << i;
    return busy;
}

std::uint64_t Stream::address_of(const Frame& frame) const {
    if (&frame != state_.frames.data()) return frame.next;
    return config_.ring_base + (frame.next & (config_.ring_bytes - 1));
}

/// The instruction word at `address`; its page follows. Null on an MMU fault.
const std::uint64_t* Stream::fetch(std::uint64_t address) {
    AddressSpace& space = *config_.space;
    if (address >> kPageShift != fetch_page_ || fetch_generation_ != space.generation()) {
        const std::byte* const host = space.translate(address, kFetch);
        if (host == nullptr) return nullptr;
        fetch_page_ = address >> kPageShift;
        fetch_generation_ = space.generation();
        fetch_host_ = host - address % kPageBytes;
    }
    return reinterpret_cast<const std::uint64_t*>(fetch_host_ + address % kPageBytes);
}

/// EXTRACT moves when all instructions that one INSERT published have run, so that branches among them stay
/// valid; on a fault it moves to the fault, for the driver to tell whose it is.
void Stream::publish_extract(std::uint64_t extract) {
    state_.extract = extract;
    base::store(config_.output->extract, extract, kRelease);
    // Dekker with a client that waits for room: it counts itself in, fences, and reads EXTRACT again.
    base::full_fence();
    if (base::load(config_.input->ring_waiters, kRelaxed) != 0)
        port_->wake(base::low_word(config_.output->extract), ~0U);
}

bool Stream::next_window() {
    complete(kAllSlots);
    if (state_.status != StreamStatus::running) return false;
    if (state_.extract != state_.frames[0].next) publish_extract(state_.frames[0].next);
    if (judge_insert()) return true;
    if (state_.status == StreamStatus::running) state_.status = StreamStatus::empty;
    return false;
}

std::uint32_t Stream::run(std::uint32_t budget) {
    executed_ = 0;
    state_.blocked.reason = BlockedReason::none;
    while (state_.status == StreamStatus::running && executed_ < budget) {
        Frame& frame = top();
        if (frame.next == frame.end) {
            // Running off the end is the return; the ring, which has no end, asks for more.
            if (state_.depth > 0)
                --state_.depth;
            else
                next_window();
            continue;
        }
        const std::uint64_t address = address_of(frame);
        const std::uint64_t* ip = fetch(address);
        if (ip == nullptr) {
            mmu_fault(here(0));
            break;
        }
        // A straight run: to the end of the buffer, the page (a ring is whole pages, so also to its wrap) or
        // the budget. `first` stands for frame.next.
        const std::uint64_t* first = ip;
        const std::uint64_t run = std::min({budget - executed_, (frame.end - frame.next) / kInstructionBytes,
                                            (kPageBytes - address % kPageBytes) / kInstructionBytes});
        const std::uint64_t* const last = ip + run;
        std::uint32_t* const registers = state_.registers.data();
        bool straight = true;
        while (straight && ip != last) {
            // Each word is read once, whatever the client does to it meanwhile.
            const std::uint64_t word = base::load(*ip, kRelaxed);
            switch (static_cast<Op>(csf::opcode(word))) {
                case Op::nop:    ++ip; continue;
                case Op::move48: {
                    const auto dst = get<Op::move48, Arg::dst>(word);
                    if (!is_pair(dst)) break;
                    set_pair(dst, get<Op::move48, Arg::immediate>(word));
                    ++ip;
                    continue;
                }
                case Op::move32: {
                    const auto dst = get<Op::move32, Arg::dst>(word);
                    if (!is_register(dst)) break;
                    registers[dst] = static_cast<std::uint32_t>(get<Op::move32, Arg::immediate>(word));
                    ++ip;
                    continue;
                }
                case Op::add_immediate32: {
                    const auto dst = get<Op::add_immediate32, Arg::dst>(word);
                    const auto src = get<Op::add_immediate32, Arg::src>(word);
                    if (!is_register(dst) || !is_register(src)) break;
                    registers[dst] = registers[src] + static_cast<std::uint32_t>(
                                                          get<Op::add_immediate32, Arg::immediate>(word));
                    ++ip;
                    continue;
                }
                case Op::add_immediate64: {
                    const auto dst = get<Op::add_immediate64, Arg::dst>(word);
                    const auto src = get<Op::add_immediate64, Arg::src>(word);
                    if (!is_pair(dst) || !is_pair(src)) break;
                    set_pair(dst, pair(src) + static_cast<std::uint64_t>(
                                                  get<Op::add_immediate64, Arg::immediate>(word)));
                    ++ip;
                    continue;
                }
                case Op::umin32: {
                    const auto dst = get<Op::umin32, Arg::dst>(word);
                    const auto src0 = get<Op::umin32, Arg::src0>(word);
                    const auto src1 = get<Op::umin32, Arg::src1>(word);
                    if (!is_register(dst) || !is_register(src0) || !is_register(src1)) break;
                    registers[dst] = std::min(registers[src0], registers[src1]);
                    ++ip;
                    continue;
                }
                default: break;
            }
            // Everything else, and whatever is wrong, with the state written back.
            frame.next += static_cast<std::uint64_t>(ip - first) * kInstructionBytes;
            executed_ += static_cast<std::uint64_t>(ip - first);
            first = ip;
            switch (execute(word)) {
                case Step::next: ++ip; break;
                case Step::reenter:
                    ++executed_;
                    first = ip;
                    straight = false;
                    break;
                case Step::stop: straight = false; break;
            }
        }
        if (straight) {
            frame.next += static_cast<std::uint64_t>(ip - first) * kInstructionBytes;
            executed_ += static_cast<std::uint64_t>(ip - first);
        }
    }
    // The end of a slice is as late as an operation may complete.
    if (state_.status != StreamStatus::fatal && state_.status != StreamStatus::faulted) complete(kAllSlots);
    return static_cast<std::uint32_t>(executed_);
}

/// One instruction at top().next. `next`: done, go on after it. `reenter`: done, frames say where to go on.
/// `stop`: not done, the status says why; it is executed again if the stream runs again.
Stream::Step Stream::execute(std::uint64_t word) {
    switch (static_cast<Op>(csf::opcode(word))) {
        case Op::branch:         return execute_branch(word);
        case Op::load_multiple:  return execute_load_store(word, false);
        case Op::store_multiple: return execute_load_store(word, true);
        case Op::wait:           return execute_wait(word);
        case Op::sync_add32:
        case Op::sync_add64:
        case Op::sync_set32:
        case Op::sync_set64:     return execute_sync_update(word);
        case Op::sync_wait32:
        case Op::sync_wait64:    return execute_sync_wait(word);
        case Op::call:           return execute_call(word, false);
        case Op::jump:           return execute_call(word, true);

        case Op::set_sb_entry: {
            const auto endpoint = get<Op::set_sb_entry, Arg::endpoint_entry>(word);
            const auto other = get<Op::set_sb_entry, Arg::other_entry>(word);
            if (endpoint >= kScoreboards || other >= kScoreboards) return invalid(word);
            state_.endpoint_entry = static_cast<std::uint8_t>(endpoint);
            state_.other_entry = static_cast<std::uint8_t>(other);
            return Step::next;
        }
        case Op::flush_cache2: {
            // Memory is coherent: the flush is its scoreboard step, and counts for LATEST_FLUSH_ID.
            if (!is_register(get<Op::flush_cache2, Arg::flush_id>(word))) return invalid(word);
            for (const std::uint64_t mode :
                 {get<Op::flush_cache2, Arg::l2_mode>(word), get<Op::flush_cache2, Arg::lsc_mode>(word),
                  get<Op::flush_cache2, Arg::other_mode>(word)})
                if (mode > static_cast<std::uint64_t>(csf::FlushMode::clean_invalidate)) return invalid(word);
            InFlight op{.kind = InFlight::Kind::flush};
            if (!take_deferral<Op::flush_cache2>(word, op)) return invalid(word);
            op.place = here(word);
            return defer(op);
        }
        case Op::store_state: {
            const auto address = get<Op::store_state, Arg::address>(word);
            if (!is_pair(address)) return invalid(word);
            InFlight op{.kind = InFlight::Kind::store_state};
            if (!take_deferral<Op::store_state>(word, op)) return invalid(word);
            op.state = static_cast<std::uint8_t>(get<Op::store_state, Arg::state>(word));
            op.address = pair(address) + static_cast<std::uint64_t>(get<Op::store_state, Arg::offset>(word));
            op.place = here(word);
            return issue(op);
        }
        case Op::trace_point: {
            const auto first = get<Op::trace_point, Arg::base>(word);
            const auto count = get<Op::trace_point, Arg::count>(word);
            if (count > kRegistersPerAccess || first + count > kRegisters) return invalid(word);
            InFlight op{.kind = InFlight::Kind::trace};
            if (!take_deferral<Op::trace_point>(word, op)) return invalid(word);
            op.count = static_cast<std::uint8_t>(count);
            op.place = here(word);
            SampledRegisters sampled{};
            std::copy_n(state_.registers.begin() + static_cast<std::ptrdiff_t>(first), count,
                        sampled.begin());
            return issue(op, &sampled);
        }
        case Op::progress_store: {
            const auto src = get<Op::progress_store, Arg::src>(word);
            if (!is_register(src)) return invalid(word);
            state_.progress = state_.registers[src];
            port_->progress_changed();
            return Step::next;
        }
        case Op::progress_load: {
            const auto dst = get<Op::progress_load, Arg::dst>(word);
            if (!is_register(dst)) return invalid(word);
            state_.registers[dst] = static_cast<std::uint32_t>(state_.progress);
            return Step::next;
        }
        case Op::progress_wait: return execute_progress_wait(word);
        case Op::req_resource:
            // Granted at once: nobody competes for endpoints that do not exist.
            state_.resources = static_cast<std::uint8_t>(word & 0xf);
            return Step::next;
        case Op::set_exception_handler: return execute_exception_handler(word);
        case Op::prot_region:
            port_->protected_mode_wanted();
            return block({.reason = BlockedReason::resource, .protected_mode = 1});
        case Op::error_barrier:
            complete(kAllSlots);
            if (state_.status != StreamStatus::running) return Step::stop;
            if (busy_scoreboards() != 0)
                return block({.reason = BlockedReason::scoreboard, .scoreboards = kAllSlots});
            state_.error = 0;
            return Step::next;

        // Names the heap of tiling work to come, which drivers do once when they set a queue up. That work
        // will fail, so nothing of it is kept.
        case Op::heap_set: {
            const auto address = get<Op::heap_set, Arg::address>(word);
            return is_pair(address) ? Step::next : invalid(word);
        }
        case Op::run_compute:
        case Op::run_compute_indirect: return execute_run_compute(word);
        // No tiler: work for it fails, nothing pretends to have done it.
        case Op::run_tiling:
        case Op::run_idvs:
        case Op::run_fragment:
        case Op::run_fullscreen:
        case Op::finish_tiling:
        case Op::finish_fragment:
        case Op::heap_operation:  return fail(Exception::cs_endpoint_fault, word, here(word));
        default:                  return invalid(word);
    }
}

Stream::Step Stream::execute_branch(std::uint64_t word) {
    const auto raw_condition = get<Op::branch, Arg::condition>(word);
    const auto index = get<Op::branch, Arg::value>(word);
    const auto condition = static_cast<Condition>(raw_condition);
    if (raw_condition > static_cast<std::uint64_t>(Condition::always)) return invalid(word);
    bool taken = true;
    if (condition != Condition::always) {
        if (!is_register(index)) return invalid(word);
        const auto value = static_cast<std::int32_t>(state_.registers[index]);
        switch (condition) {
            case Condition::le:     taken = value <= 0; break;
            case Condition::gt:     taken = value > 0; break;
            case Condition::eq:     taken = value == 0; break;
            case Condition::ne:     taken = value != 0; break;
            case Condition::lt:     taken = value < 0; break;
            case Condition::ge:     taken = value >= 0; break;
            case Condition::always: break;
        }
    }
    if (!taken) return Step::next;
    Frame& frame = top();
    const std::uint64_t target =
        frame.next + kInstructionBytes +
        static_cast<std::uint64_t>(get<Op::branch, Arg::offset>(word)) * kInstructionBytes;
    if (target - frame.start > frame.end - frame.start) return invalid(word);
    frame.next = target;
    return Step::reenter;
}

Stream::Step Stream::execute_load_store(std::uint64_t word, bool store) {
    // Both have the same fields in the same places.
    const auto base_register = get<Op::load_multiple, Arg::base>(word);
    const auto mask = static_cast<std::uint16_t>(get<Op::load_multiple, Arg::mask>(word));
    const auto address = get<Op::load_multiple, Arg::address>(word);
    const auto offset = get<Op::load_multiple, Arg::offset>(word);
    if (mask == 0) return Step::next;
    const auto last = base_register + static_cast<unsigned>(std::bit_width(mask)) - 1;
    if (!is_pair(address) || !is_register(last) || offset % 4 != 0) return invalid(word);
    InFlight op{.kind = store ? InFlight::Kind::store : InFlight::Kind::load};
    op.signal = state_.other_entry;
    op.base = static_cast<std::uint8_t>(base_register);
    op.mask = mask;
    op.address = (pair(address) + static_cast<std::uint64_t>(offset)) & ~3ULL;
    op.place = here(word);
    if (!store) return defer(op);
    SampledRegisters sampled;  // as far as the mask goes
    unsigned words = 0;
    for (std::uint32_t left = mask; left != 0; left &= left - 1)
        sampled[words++] = state_.registers[base_register + static_cast<unsigned>(std::countr_zero(left))];
    return defer(op, &sampled);
}

Stream::Step Stream::execute_sync_update(std::uint64_t word) {
    // All four have the same fields in the same places.
    const auto op_code = static_cast<Op>(csf::opcode(word));
    const bool wide = op_code == Op::sync_add64 || op_code == Op::sync_set64;
    const auto address = get<Op::sync_add64, Arg::address>(word);
    const auto data = get<Op::sync_add64, Arg::data>(word);
    const auto scope = get<Op::sync_add64, Arg::scope>(word);
    if (!is_pair(address) || !(wide ? is_pair(data) : is_register(data))) return invalid(word);
    if (scope != static_cast<std::uint64_t>(csf::Scope::system) &&
        scope != static_cast<std::uint64_t>(csf::Scope::csg))
        return invalid(word);
    const bool add = op_code == Op::sync_add32 || op_code == Op::sync_add64;
    InFlight op{.kind = add ? InFlight::Kind::sync_add : InFlight::Kind::sync_set};
    if (!take_deferral<Op::sync_add64>(word, op)) return invalid(word);
    op.wide = wide ? 1 : 0;
    op.propagate = static_cast<std::uint8_t>(get<Op::sync_add64, Arg::error_propagate>(word));
    op.scope = static_cast<std::uint8_t>(scope);
    op.address = pair(address);
    op.value = wide ? pair(data) : state_.registers[data];
    op.place = here(word);
    return issue(op);
}

Stream::Step Stream::execute_sync_wait(std::uint64_t word) {
    const bool wide = static_cast<Op>(csf::opcode(word)) == Op::sync_wait64;
    const auto address = get<Op::sync_wait64, Arg::address>(word);
    const auto reference_register = get<Op::sync_wait64, Arg::reference>(word);
    const auto condition = static_cast<Condition>(get<Op::sync_wait64, Arg::condition>(word));
    if (!is_pair(address) || !(wide ? is_pair(reference_register) : is_register(reference_register)))
        return invalid(word);
    if (condition != Condition::le && condition != Condition::gt && condition != Condition::ge)
        return invalid(word);

    const std::uint64_t object = pair(address);
    const std::uint64_t reference = wide ? pair(reference_register) : state_.registers[reference_register];
    std::byte* const host = sync_object(object, wide, Access::read, here(word));
    if (host == nullptr) return Step::stop;
    std::uint64_t value = 0;
    std::uint32_t error = 0;
    // Acquire: pairs with the release of the value, which comes after the error word.
    if (wide) {
        const auto& sync = *reinterpret_cast<const uapi::belfry_sync_object64*>(host);
        value = base::load(sync.value, kAcquire);
        error = base::load(sync.error, kRelaxed);
    } else {
        const auto& sync = *reinterpret_cast<const uapi::belfry_sync_object32*>(host);
        value = base::load(sync.value, kAcquire);
        error = base::load(sync.error, kRelaxed);
    }
    if (!csf::sync_satisfied(condition, value, reference)) {
        // What is in flight goes on while the stream stands, and may be the very update that it waits for:
        // then look again, since nobody else's update might ever come.
        const std::uint32_t in_flight = state_.in_flight_count;
        complete(kAllSlots);
        if (state_.status != StreamStatus::running) return Step::stop;
        if (state_.in_flight_count != in_flight) return execute_sync_wait(word);
        waiting_on_ = host;
        return block({.reason = BlockedReason::sync,
                      .condition = condition,
                      .wide = static_cast<std::uint8_t>(wide),
                      .sync_address = object,
                      .reference = reference});
    }
    if (error != 0 && get<Op::sync_wait64, Arg::error_reject>(word) == 0) {
        raise_recoverable({.type = Exception::cs_inherit_fault, .info = object, .place = here(word)});
    }
    return Step::next;
}

Stream::Step Stream::execute_wait(std::uint64_t word) {
    const auto mask = static_cast<std::uint32_t>(get<Op::wait, Arg::wait>(word));
    if ((mask & busy_scoreboards()) != 0) {
        complete(mask);
        if (state_.status != StreamStatus::running) return Step::stop;
        // Left over: operations that wait for themselves. They never end, and neither does this wait.
        if ((mask & busy_scoreboards()) != 0)
            return block({.reason = BlockedReason::scoreboard, .scoreboards = mask});
    }
    if (get<Op::wait, Arg::progress>(word) != 0) bump_progress();
    return Step::next;
}

Stream::Step Stream::execute_call(std::uint64_t word, bool tail) {
    // CALL and JUMP have the same fields in the same places.
    const auto address_register = get<Op::call, Arg::address>(word);
    const auto length_register = get<Op::call, Arg::length>(word);
    if (!is_pair(address_register) || !is_register(length_register)) return invalid(word);
    const std::uint64_t address = pair(address_register);
    const std::uint64_t bytes = state_.registers[length_register];
    if (bytes % kInstructionBytes != 0 || address % kInstructionBytes != 0) return invalid(word);
    if (tail && state_.depth == 0) return invalid(word);
    if (!tail && state_.depth + 1 == kCallDepth)
        return fail(Exception::cs_call_stack_overflow, word, here(word));

    if (!tail) {
        top().next += kInstructionBytes;
        ++state_.depth;
    }
    top() = {.start = address, .next = address, .end = address + bytes};
    return Step::reenter;
}

Stream::Step Stream::execute_progress_wait(std::uint64_t word) {
    const auto src = get<Op::progress_wait, Arg::src>(word);
    if (!is_register(src)) return invalid(word);
    const auto queue = static_cast<std::uint32_t>(get<Op::progress_wait, Arg::queue>(word));
    if (port_->progress_of(queue) >= state_.registers[src]) return Step::next;
    return block({.reason = BlockedReason::progress, .reference = state_.registers[src]});
}

Stream::Step Stream::execute_exception_handler(std::uint64_t word) {
    const auto address = get<Op::set_exception_handler, Arg::address>(word);
    const auto length = get<Op::set_exception_handler, Arg::length>(word);
    const auto type = get<Op::set_exception_handler, Arg::exception_type>(word);
    if (!is_pair(address) || !is_register(length)) return invalid(word);
    if (type != static_cast<std::uint64_t>(csf::ExceptionType::tiler_oom)) return invalid(word);
    // Kept for a tiler that would call it; without one it never runs.
    state_.handler_address = pair(address);
    state_.handler_bytes = state_.registers[length];
    state_.handler_type = static_cast<std::uint32_t>(type);
    return Step::next;
}

Stream::Step Stream::execute_run_compute(std::uint64_t word) {
    const bool indirect = static_cast<Op>(csf::opcode(word)) == Op::run_compute_indirect;
    const auto& r = state_.registers;
    // Both have the same selects in the same places.
    ComputeJob job{
        .registers = {.resource_table = pair(0 + 2 * get<Op::run_compute, Arg::srt_select>(word)),
                      .uniforms = pair(8 + 2 * get<Op::run_compute, Arg::fau_select>(word)),
                      .program = pair(16 + 2 * get<Op::run_compute, Arg::spd_select>(word)),
                      .local_storage = pair(24 + 2 * get<Op::run_compute, Arg::tsd_select>(word)),
                      .attribute_offset = r[32],
                      .workgroup_size = r[33],
                      .offset = {r[34], r[35], r[36]},
                      .size = {r[37], r[38], r[39]}},
        .workgroups_per_task = get<Op::run_compute_indirect, Arg::workgroups_per_task>(word),
        .place = here(word),
        .entry = state_.endpoint_entry,
        .progress = static_cast<std::uint8_t>(get<Op::run_compute, Arg::progress>(word)),
    };
    if (!indirect) {
        const auto axis = get<Op::run_compute, Arg::task_axis>(word);
        if (axis > static_cast<std::uint64_t>(csf::TaskAxis::z)) return invalid(word);
        job.workgroups_per_task = get<Op::run_compute, Arg::task_increment>(word);
        // A task is all of the grid below the axis.
        for (std::uint64_t i = 0; i < axis; ++i)
            if (__builtin_mul_overflow(job.workgroups_per_task, r[37 + i], &job.workgroups_per_task))
                job.workgroups_per_task = ~0ULL;
    }
    shader::Fault fault;
    switch (port_->run_compute(job, fault)) {
        case ShaderCores::Issue::started: ++state_.jobs[job.entry]; return Step::next;
        case ShaderCores::Issue::done:
            if (job.progress != 0) bump_progress();
            return Step::next;
        case ShaderCores::Issue::full:    return block({.reason = BlockedReason::resource});
        case ShaderCores::Issue::faulted: return shader_fault(fault, job.place);
    }
    return Step::stop;
}

/// A class D instruction: at once if its wait mask is 0, else deferred.
Stream::Step Stream::issue(const InFlight& op, const SampledRegisters* sampled) {
    if (op.wait != 0) return defer(op, sampled);
    return perform(op, sampled) ? Step::next : Step::stop;
}

Stream::Step Stream::defer(const InFlight& op, const SampledRegisters* sampled) {
    if (state_.in_flight_count == kInFlightMax) {
        complete(kAllSlots);
        if (state_.status != StreamStatus::running) return Step::stop;
        if (state_.in_flight_count == kInFlightMax) return block({.reason = BlockedReason::deferred});
    }
    state_.in_flight[state_.in_flight_count] = op;
    if (sampled != nullptr) state_.sampled[state_.in_flight_count] = *sampled;
    ++state_.in_flight_count;
    return Step::next;
}

/// Completes the operations that count on `slots`, and those that they wait for, oldest first; leaves all
/// others. False if one of them ended the stream.
bool Stream::complete(std::uint32_t slots) {
    bool changed = state_.in_flight_count != 0;
    while (changed) {
        changed = false;
        const std::uint32_t busy = busy_scoreboards();
        unsigned kept = 0;
        for (unsigned i = 0; i < state_.in_flight_count; ++i) {
            const InFlight& op = state_.in_flight[i];
            const bool wanted = (slots >> op.signal & 1U) != 0;
            const std::uint32_t waits_for = op.wait & busy;
            if (wanted && waits_for == 0) {
                if (!perform(op, &state_.sampled[i]))
                    return false;  // the stream has ended, and what is left is void
                changed = true;
                continue;
            }
            if (wanted && (waits_for & ~slots) != 0) {
                slots |= waits_for;
                changed = true;
            }
            if (kept != i) {
                state_.in_flight[kept] = op;
                state_.sampled[kept] = state_.sampled[i];
            }
            ++kept;
        }
        state_.in_flight_count = kept;
        changed = changed && kept != 0;
    }
    return true;
}

bool Stream::perform(const InFlight& op, const SampledRegisters* sampled) {
    switch (op.kind) {
        case InFlight::Kind::load:
        case InFlight::Kind::store:       return perform_access(op, sampled);
        case InFlight::Kind::sync_add:
        case InFlight::Kind::sync_set:    return perform_sync(op);
        case InFlight::Kind::store_state: return perform_store_state(op);
        case InFlight::Kind::trace:       return perform_trace(op, *sampled);
        case InFlight::Kind::flush:       port_->flushed_caches(); return true;
    }
    return true;
}

bool Stream::perform_access(const InFlight& op, const SampledRegisters* sampled) {
    AddressSpace& space = *config_.space;
    const bool store = op.kind == InFlight::Kind::store;
    std::uint64_t address = op.address;
    std::byte* host = nullptr;
    unsigned word = 0;
    for (std::uint32_t left = op.mask; left != 0; left &= left - 1, ++word, address += 4, host += 4) {
        if (word == 0 || address % kPageBytes == 0) {
            host = space.translate(address, store ? Access::write : Access::read);
            if (host == nullptr) {
                mmu_fault(op.place);
                return false;
            }
        }
        auto& memory = *reinterpret_cast<std::uint32_t*>(host);
        if (store)
            base::store(memory, (*sampled)[word], kRelaxed);
        else
            state_.registers[op.base + static_cast<unsigned>(std::countr_zero(left))] =
                base::load(memory, kRelaxed);
    }
    return true;
}

/// The host address of a sync object, naturally aligned as every driver has them; null if the stream ended.
std::byte* Stream::sync_object(std::uint64_t address, bool wide, Access access, const Place& place) {
    const std::size_t bytes = wide ? sizeof(uapi::belfry_sync_object64) : sizeof(uapi::belfry_sync_object32);
    if (address % bytes != 0) {
        fail(Exception::cs_bus_fault, address, place);
        return nullptr;
    }
    std::byte* const host = config_.space->translate(address, access);
    if (host == nullptr) mmu_fault(place);
    return host;
}

bool Stream::perform_sync(const InFlight& op) {
    std::byte* const host = sync_object(op.address, op.wide != 0, Access::write, op.place);
    if (host == nullptr) return false;
    const bool add = op.kind == InFlight::Kind::sync_add;
    const std::uint32_t error = op.propagate != 0 ? state_.error : 0;
    const auto wake = [this](std::uint32_t& word, std::uint32_t bits) { port_->wake(word, bits); };
    if (op.wide != 0)
        base::update_sync_object(*reinterpret_cast<uapi::belfry_sync_object64*>(host), add, op.value, error,
                                 wake);
    else
        base::update_sync_object(*reinterpret_cast<uapi::belfry_sync_object32*>(host), add, op.value, error,
                                 wake);
    port_->sync_updated(static_cast<csf::Scope>(op.scope), op.address, host);
    return true;
}

bool Stream::perform_store_state(const InFlight& op) {
    if (op.address % 8 != 0) {
        fail(Exception::cs_bus_fault, op.address, op.place);
        return false;
    }
    std::byte* const host = config_.space->translate(op.address, Access::write);
    if (host == nullptr) {
        mmu_fault(op.place);
        return false;
    }
    std::uint64_t value = 0;
    switch (static_cast<csf::State>(op.state)) {
        case csf::State::timestamp:      value = port_->timestamp(); break;
        case csf::State::cycle_count:    value = port_->cycles() + executed_; break;
        case csf::State::disjoint_count: value = 0; break;  // this GPU's clock never stops
        case csf::State::error_status:   value = state_.error; break;
    }
    base::store(*reinterpret_cast<std::uint64_t*>(host), value, kRelease);
    return true;
}

bool Stream::perform_trace(const InFlight& op, const SampledRegisters& sampled) {
    if (config_.trace_bytes == 0) return true;
    for (unsigned i = 0; i < op.count; ++i) {
        const std::uint64_t address = config_.trace_base + (state_.trace_offset & (config_.trace_bytes - 1));
        std::byte* const host = config_.space->translate(address, Access::write);
        if (host == nullptr) {
            mmu_fault(op.place);
            return false;
        }
        base::store(*reinterpret_cast<std::uint32_t*>(host), sampled[i], kRelaxed);
        state_.trace_offset += 4;
    }
    return true;
}

Stream::Step Stream::block(const Blocked& blocked) {
    // What is in flight goes on while the stream stands.
    complete(kAllSlots);
    if (state_.status != StreamStatus::running) return Step::stop;
    state_.blocked = blocked;
    state_.status = StreamStatus::blocked;
    return Step::stop;
}

Stream::Step Stream::invalid(std::uint64_t word) {
    return fail(Exception::cs_instr_invalid, word, here(word));
}

Stream::Step Stream::fail(Exception type, std::uint64_t info, const Place& place) {
    state_.status = StreamStatus::fatal;
    abandon_work();  // nothing on behalf of a stream that has ended
    if (config_.output != nullptr) publish_extract(state_.frames[0].next);
    port_->report_fatal({.type = type,
                         .info = info,
                         .place = place,
                         .shader = state_.shader_fault.pc != 0 ? &state_.shader_fault : nullptr});
    return Step::stop;
}

void Stream::raise_recoverable(const StreamException& exception) {
    state_.error = 1;
    // The ring position of the fault tells the driver which job it belongs to.
    publish_extract(state_.frames[0].next);
    state_.frames[0].start = state_.frames[0].next;
    port_->report_fault(exception);
}

Stream::Step Stream::mmu_fault(const Place& place) { return mmu_fault(config_.space->fault(), place); }

Stream::Step Stream::mmu_fault(const MmuFault& fault, const Place& place) {
    state_.status = StreamStatus::faulted;
    abandon_work();
    state_.culprit = place;
    state_.fault_address = fault.address;
    publish_extract(state_.frames[0].next);
    port_->report_mmu_fault(fault);
    return Step::stop;
}

/// A shader of a job that the instruction at `place` started. The stream ends with it: what comes behind the
/// job would tell of results that are not there.
Stream::Step Stream::shader_fault(const shader::Fault& fault, const Place& place) {
    state_.shader_fault = fault;
    if (!csf::is_mmu_fault(fault.exception)) return fail(fault.exception, fault.address, place);
    const Access access = fault.atomic ? Access::atomic : fault.write ? Access::write : Access::read;
    return mmu_fault({.type = fault.exception, .access = access, .address = fault.address}, place);
}

void Stream::abandon_work() {
    state_.in_flight_count = 0;
    state_.jobs = {};
    waiting_on_ = nullptr;
    port_->abandon_jobs();
}

}  // namespace belfry::gpu
