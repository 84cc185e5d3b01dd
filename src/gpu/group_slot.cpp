#include "gpu/group_slot.hpp"

#include <array>
#include <bit>

#include "base/atomic.hpp"
#include "base/check.hpp"

namespace belfry::gpu {
namespace {

using base::kAcquire;
using base::kRelaxed;
using base::kRelease;

/// Calls `visit(index)` for each set bit, lowest first. The bits are sampled before.
template <typename Visit>
void for_each_bit(std::uint32_t bits, Visit visit) {
    for (; bits != 0; bits &= bits - 1) visit(static_cast<unsigned>(std::countr_zero(bits)));
}

constexpr std::uint32_t bit(unsigned index) { return 1U << index; }

/// Whether it waits, as far as it has looked: also if it was woken and has not tried again yet. Else every
/// wake of a group that leaves its slot would make it look busy; whether what it waits for has come is for
/// the driver to see in memory, after the acknowledgement.
bool stands(const Stream& stream) {
    return (stream.status() == StreamStatus::blocked || stream.status() == StreamStatus::running) &&
           stream.blocked().reason != BlockedReason::none;
}

}  // namespace

GroupSlot::GroupSlot(Firmware& firmware, unsigned index, unsigned streams)
    : firmware_(firmware), index_(index), streams_(streams), doorbell_ids_(streams, kNoDoorbell) {
    for (Stream& stream : streams_) stream.attach(*this);
}

void GroupSlot::bind_blocks(GroupInput& input, GroupOutput& output, GroupReports& reports,
                            std::vector<StreamBlocks> streams) {
    input_ = &input;
    output_ = &output;
    reports_ = &reports;
    blocks_ = std::move(streams);
}

void GroupSlot::reset() {
    for_each_bit(started_, [this](unsigned i) { streams_[i].stop(); });
    stopped();
}

/// Bookkeeping after all streams have stopped: the slot is free.
void GroupSlot::stopped() {
    firmware_.port_.shader_cores().release(index_);
    leaving_.reset();
    running_ = false;
    idle_ = false;
    started_ = runnable_ = waiting_ = stopping_ = 0;
    firmware_.runnable_slots_ &= ~bit(index_);
    firmware_.waiting_slots_ &= ~bit(index_);
}

void GroupSlot::look() {
    // Sampled once: what is completed is completed with this value, a later toggle is another request.
    const std::uint32_t req = base::load(input_->req, kAcquire);
    std::uint32_t ack = base::load(output_->ack, kRelaxed);

    if (const std::uint32_t asked = req & kGroupStateMask; asked != (ack & kGroupStateMask)) {
        // The page that was taken away before this request was written is the driver's again, and may be
        // gone, once a stop is acknowledged.
        firmware_.port_.take_doorbell_pages();
        bool left = true;
        switch (static_cast<GroupRequest>(asked)) {
            case GroupRequest::start:
                if (!running_) start(false);
                break;
            case GroupRequest::resume:
                if (!running_) start(true);
                break;
            case GroupRequest::suspend:
            case GroupRequest::terminate: left = !running_ || leave(static_cast<GroupRequest>(asked)); break;
        }
        ack = base::load(output_->ack, kRelaxed);  // this may have raised events in it
        if (left) ack = (ack & ~kGroupStateMask) | asked;
    }
    if (((req ^ ack) & kGroupStatusUpdate) != 0) {
        if (running_) write_status();
        ack ^= kGroupStatusUpdate;
    }
    if (((req ^ ack) & kGroupEndpointConfig) != 0) ack ^= kGroupEndpointConfig;

    const std::uint32_t changed = ack ^ base::load(output_->ack, kRelaxed);
    // Release: every write on behalf of the group comes before the driver sees the acknowledgement.
    base::store(output_->ack, ack, kRelease);
    if ((changed & base::load(input_->ack_irq_mask, kRelaxed)) != 0)
        firmware_.port_.raise_job_interrupt(bit(index_));

    const std::uint32_t rung = base::load(input_->doorbell_req, kAcquire);
    const std::uint32_t answered = base::load(output_->doorbell_ack, kRelaxed);
    base::store(output_->doorbell_ack, rung, kRelease);
    base::full_fence();  // consume, then look
    if (running_)
        for_each_bit(rung ^ answered, [this](unsigned i) {
            if (i < streams_.size()) look_at_stream(i);
        });
}

void GroupSlot::start(bool resume) {
    running_ = true;
    idle_ = false;
    address_space_ = base::load(input_->config, kRelaxed);
    const std::uint64_t buffer = base::load(input_->suspend_buf, kRelaxed);
    const auto load = [&](std::uint64_t offset, std::span<std::byte> bytes) {
        return firmware_.read_mcu(jobs_buffer() + offset, bytes);
    };
    ShaderCores& cores = firmware_.port_.shader_cores();
    const bool restored =
        !resume || cores.restore(index_, firmware_.port_.address_space(address_space_), address_space_, load);
    for (unsigned i = 0; i < streams_.size(); ++i) {
        if ((base::load(blocks_[i].input->req, kAcquire) & kStreamStateMask) != kStreamStart) {
            acknowledge_stream(i, kStreamStop);  // also of a group that had the slot before
            continue;
        }
        if (!resume) {
            start_stream(i, nullptr);
            continue;
        }
        StreamState saved{};
        if (!firmware_.read_mcu(buffer + i * sizeof(StreamState),
                                std::as_writable_bytes(std::span(&saved, 1)))) {
            started_ |= bit(i);
            current_ = i;
            streams_[i].refuse();
            report_fatal({.type = csf::Exception::cs_config_fault, .info = buffer, .place = {}});
            continue;
        }
        // A stream that the group had not started when it was suspended starts now.
        start_stream(i, saved.status == StreamStatus::stopped ? nullptr : &saved);
    }
    if (resume) {
        for (unsigned i = 0; i < streams_.size(); ++i) {
            current_ = i;
            if (!restored && (started_ & bit(i)) != 0) streams_[i].lose_jobs();
            // Nothing on behalf of a stream that has not come back.
            if (!streams_[i].started() || streams_[i].status() == StreamStatus::fatal)
                cores.abandon(index_, i);
            note(i);
        }
        cores.go_on(index_);
    }
    check_idle();
}

void GroupSlot::start_stream(unsigned index, const StreamState* saved) {
    const StreamInput& input = *blocks_[index].input;
    const std::uint64_t user_input = base::load(input.ringbuf_input, kRelaxed);
    const std::uint64_t user_output = base::load(input.ringbuf_output, kRelaxed);
    const StreamConfig config{
        .space = &firmware_.port_.address_space(address_space_),
        .ring_base = base::load(input.ringbuf_base, kRelaxed),
        .ring_bytes = base::load(input.ringbuf_size, kRelaxed),
        .input = reinterpret_cast<uapi::belfry_user_input*>(
            firmware_.mcu(user_input, sizeof(uapi::belfry_user_input))),
        .output = reinterpret_cast<uapi::belfry_user_output*>(
            firmware_.mcu(user_output, sizeof(uapi::belfry_user_output))),
        .trace_base = base::load(input.instrbuf_base, kRelaxed),
        .trace_bytes = base::load(input.instrbuf_size, kRelaxed),
    };
    started_ |= bit(index);
    current_ = index;
    doorbell_ids_[index] = base::load(input.config, kRelaxed) >> 8 & 0xff;
    acknowledge_stream(index, kStreamStart);
    const bool sound =
        config.input != nullptr && config.output != nullptr && std::has_single_bit(config.ring_bytes) &&
        config.ring_bytes % (1U << kPageShift) == 0 && config.ring_base % (1U << kPageShift) == 0 &&
        (config.trace_bytes == 0 ||
         (std::has_single_bit(config.trace_bytes) && (config.trace_base | config.trace_bytes) % 4 == 0));
    if (!sound) {
        streams_[index].refuse();
        report_fatal({.type = csf::Exception::cs_config_fault, .info = config.ring_base, .place = {}});
        return;
    }
    if (saved != nullptr)
        streams_[index].resume(config, *saved);
    else
        streams_[index].start(config);
    note(index);
}

/// Has the group leave its slot now, or as soon as no core is in a shader of it, which is within a slice:
/// then shader_news() acknowledges.
bool GroupSlot::leave(GroupRequest how) {
    ShaderCores& cores = firmware_.port_.shader_cores();
    leaving_ = how;
    firmware_.runnable_slots_ &= ~bit(index_);
    if (how == GroupRequest::terminate) cores.abandon(index_);
    cores.hold(index_);
    if (cores.busy(index_)) return false;
    if (how == GroupRequest::terminate)
        terminate();
    else
        suspend();
    return true;
}

void GroupSlot::shader_news() {
    if (!running_) return;
    take_results();
    stop_streams();
    if (!leaving_ || firmware_.port_.shader_cores().busy(index_)) return;
    const GroupRequest how = *leaving_;
    leave(how);
    const std::uint32_t ack = base::load(output_->ack, kRelaxed);
    // Release: every write on behalf of the group comes before the driver sees the acknowledgement.
    base::store(output_->ack, (ack & ~kGroupStateMask) | static_cast<std::uint32_t>(how), kRelease);
    if ((base::load(input_->ack_irq_mask, kRelaxed) & kGroupStateMask) != 0)
        firmware_.port_.raise_job_interrupt(bit(index_));
}

/// For a reset: the streams stop later.
bool GroupSlot::abandon_all_jobs() {
    ShaderCores& cores = firmware_.port_.shader_cores();
    cores.abandon(index_);
    cores.hold(index_);
    return !cores.busy(index_);
}

void GroupSlot::take_results() {
    for (const ComputeResult& result : firmware_.port_.shader_cores().take_results(index_)) {
        current_ = result.stream;
        streams_[current_].job_ended(result);
        note(current_);
    }
    check_idle();
}

/// Acknowledges the STOP of streams that no core is in any more.
void GroupSlot::stop_streams() {
    for_each_bit(stopping_, [this](unsigned i) {
        if (firmware_.port_.shader_cores().busy(index_, i)) return;
        stopping_ &= ~bit(i);
        acknowledge_stream(i, kStreamStop);
        if ((base::load(blocks_[i].input->ack_irq_mask, kRelaxed) & kStreamStateMask) != 0)
            firmware_.port_.raise_job_interrupt(bit(index_));
        look_at_stream(i);  // it may have to start again
    });
    check_idle();
}

/// Where a suspend buffer has the jobs on the shader cores: behind the streams.
std::uint64_t GroupSlot::jobs_buffer() const {
    return base::load(input_->suspend_buf, kRelaxed) + streams_.size() * sizeof(StreamState);
}

void GroupSlot::suspend() {
    take_results();
    // The driver ends what has faulted by disabling the address space, which does not reach a group that has
    // left its slot.
    for_each_bit(started_, [this](unsigned i) {
        current_ = i;
        if (streams_[i].status() == StreamStatus::faulted) streams_[i].end_by_bus_fault();
    });
    write_status();
    const std::uint64_t buffer = base::load(input_->suspend_buf, kRelaxed);
    for (unsigned i = 0; i < streams_.size(); ++i) {
        StreamState saved{};
        if ((started_ & bit(i)) != 0) {
            saved = streams_[i].state();
            streams_[i].stop();
        }
        // A buffer that the driver did not map loses the state: the streams are fatal at RESUME.
        firmware_.write_mcu(buffer + i * sizeof(StreamState), std::as_bytes(std::span(&saved, 1)));
    }
    firmware_.port_.shader_cores().save(index_, [&](std::uint64_t offset, std::span<const std::byte> bytes) {
        return firmware_.write_mcu(jobs_buffer() + offset, bytes);
    });
    stopped();
}

void GroupSlot::terminate() {
    for_each_bit(started_, [this](unsigned i) { streams_[i].stop(); });
    stopped();
}

void GroupSlot::look_at_stream(unsigned index) {
    const StreamInput& input = *blocks_[index].input;
    const std::uint32_t asked = base::load(input.req, kAcquire) & kStreamStateMask;
    const bool started = (started_ & bit(index)) != 0;
    const bool heard = (base::load(input.ack_irq_mask, kRelaxed) & kStreamStateMask) != 0;
    if ((stopping_ & bit(index)) != 0) return;  // stop_streams() looks again
    if (asked == kStreamStart && !started) {
        start_stream(index, nullptr);
        if (heard) firmware_.port_.raise_job_interrupt(bit(index_));
    } else if (asked == kStreamStop && started) {
        firmware_.port_.shader_cores().abandon(index_, index);
        streams_[index].stop();
        started_ &= ~bit(index);
        stopping_ |= bit(index);
        note(index);
        stop_streams();
    } else if (started) {
        current_ = index;
        streams_[index].look();
        note(index);
    }
    check_idle();
}

/// The stream has reached the state that was asked for.
void GroupSlot::acknowledge_stream(unsigned index, std::uint32_t state) {
    std::uint32_t& ack = blocks_[index].output->ack;
    base::store(ack, (base::load(ack, kRelaxed) & ~kStreamStateMask) | state, kRelease);
}

bool GroupSlot::user_doorbell(std::uint32_t id) {
    if (!running_) return false;
    // One doorbell serves all queues of a group: a ring that was consumed looks at each of them.
    for_each_bit(started_, [this, id](unsigned i) {
        if (doorbell_ids_[i] != id) return;
        current_ = i;
        // A program that wrote what a stream waits for says so by its doorbell.
        if (!streams_[i].wake_if_waiting(nullptr)) streams_[i].look();
        note(i);
    });
    return runnable_ != 0;
}

void GroupSlot::prefetch(std::uint32_t id) const {
    for_each_bit(started_, [this, id](unsigned i) {
        if (doorbell_ids_[i] == id) streams_[i].prefetch();
    });
}

bool GroupSlot::wake_waiting(const std::byte* host) {
    bool woke = false;
    for_each_bit(waiting_, [this, host, &woke](unsigned i) {
        if (!streams_[i].wake_if_waiting(host)) return;
        note(i);
        woke = true;
    });
    return woke;
}

void GroupSlot::address_space_changed(std::uint32_t number) {
    // Host addresses of sync objects may have gone: every wait is tried again with fresh ones.
    if (running_ && address_space_ == number) wake_waiting(nullptr);
}

void GroupSlot::address_space_disabled(std::uint32_t number) {
    if (!running_ || address_space_ != number) return;
    for_each_bit(started_, [this](unsigned i) {
        current_ = i;
        streams_[i].end_by_bus_fault();
        note(i);
    });
    check_idle();
}

std::uint32_t GroupSlot::run_slice() {
    BELFRY_CHECK(runnable_ != 0);
    const std::uint32_t after = turn_ + 1 < 32 ? runnable_ & ~0U << (turn_ + 1) : 0;
    turn_ = static_cast<unsigned>(std::countr_zero(after != 0 ? after : runnable_));
    current_ = turn_;
    const std::uint32_t executed = streams_[turn_].run(firmware_.config_.slice_instructions);
    note(turn_);
    check_idle();
    return executed;
}

/// Files the stream under what it is doing now.
void GroupSlot::note(unsigned index) {
    const Stream& stream = streams_[index];
    const bool runs = stream.status() == StreamStatus::running;
    const bool waits =
        stream.status() == StreamStatus::blocked && stream.blocked().reason == BlockedReason::sync;
    const auto set = [](std::uint32_t& word, std::uint32_t mask, bool on) {
        word = on ? word | mask : word & ~mask;
    };
    set(runnable_, bit(index), runs);
    set(waiting_, bit(index), waits);
    set(firmware_.runnable_slots_, bit(index_), runnable_ != 0 && !leaving_);
    set(firmware_.waiting_slots_, bit(index_), waiting_ != 0);
    if (runs) idle_ = false;
}

bool GroupSlot::counts_as_idle(unsigned index) const {
    const Stream& stream = streams_[index];
    const std::uint32_t enabled = base::load(blocks_[index].input->req, kRelaxed);
    switch (stream.status()) {
        case StreamStatus::empty: return (enabled & kStreamIdleEmpty) != 0 && stream.busy_scoreboards() == 0;
        case StreamStatus::blocked:
        case StreamStatus::running:
            return stands(stream) && stream.blocked().reason == BlockedReason::sync &&
                   (enabled & kStreamIdleSyncWait) != 0 && stream.busy_scoreboards() == 0;
        case StreamStatus::stopped:
        case StreamStatus::fatal:   return true;
        default:                    return false;
    }
}

bool GroupSlot::all_count_as_idle() const {
    for (std::uint32_t left = started_; left != 0; left &= left - 1)
        if (!counts_as_idle(static_cast<unsigned>(std::countr_zero(left)))) return false;
    return true;
}

void GroupSlot::check_idle() {
    if (runnable_ != 0 || idle_ || !running_ || !all_count_as_idle()) return;
    idle_ = true;
    raise_group_event(kGroupIdle);
    firmware_.check_all_idle();
}

void GroupSlot::raise_group_event(std::uint32_t event) {
    firmware_.raise_event(input_->req, output_->ack, input_->ack_irq_mask, event, bit(index_));
}

void GroupSlot::raise_stream_event(unsigned index, std::uint32_t event) {
    const StreamInput& input = *blocks_[index].input;
    StreamOutput& output = *blocks_[index].output;
    const std::uint32_t ack = base::load(output.ack, kRelaxed);
    if (((base::load(input.req, kAcquire) ^ ack) & event) == 0)
        base::store(output.ack, ack ^ event, kRelease);
    // The event before its notice: the driver copies the notice first and then looks at the event.
    base::full_fence();
    const std::uint32_t notice = base::load(output_->cs_irq_req, kRelaxed);
    if (((notice ^ base::load(input_->cs_irq_ack, kAcquire)) & bit(index)) == 0)
        base::store(output_->cs_irq_req, notice ^ bit(index), kRelease);
    if ((base::load(input.ack_irq_mask, kRelaxed) & event) != 0)
        firmware_.port_.raise_job_interrupt(bit(index_));
}

void GroupSlot::write_exception(unsigned index, const StreamException& exception, bool fatal) {
    const std::uint32_t event = fatal ? kStreamFatal : kStreamFault;
    StreamOutput& output = *blocks_[index].output;
    // The first one that the driver has not acknowledged is kept.
    if (((base::load(blocks_[index].input->req, kAcquire) ^ base::load(output.ack, kRelaxed)) & event) == 0) {
        base::store(fatal ? output.fatal : output.fault, static_cast<std::uint32_t>(exception.type),
                    kRelaxed);
        base::store(fatal ? output.fatal_info : output.fault_info, exception.info, kRelaxed);
        base::store(output.fault_cmd_ptr, exception.place.cmd_ptr, kRelaxed);
        base::store(output.fault_instruction, exception.place.instruction, kRelaxed);
        const shader::Fault shader = exception.shader != nullptr ? *exception.shader : shader::Fault{};
        base::store(output.shader_pc, shader.pc, kRelaxed);
        base::store(output.shader_instruction, shader.instruction, kRelaxed);
        for (unsigned i = 0; i < shader.workgroup.size(); ++i)
            base::store(output.shader_workgroup[i], shader.workgroup[i], kRelaxed);
        base::store(output.shader_lane, shader.lane, kRelaxed);
    }
    raise_stream_event(index, event);
}

void GroupSlot::write_status() {
    for_each_bit(started_, [this](unsigned i) {
        const Stream& stream = streams_[i];
        StreamOutput& output = *blocks_[i].output;
        const Blocked& blocked = stream.blocked();
        std::uint32_t wait = 0;
        std::uint64_t sync_ptr = 0;
        std::uint64_t sync_value = 0;
        if (stands(stream)) {
            switch (blocked.reason) {
                case BlockedReason::scoreboard: wait = kWaitSourceScoreboard | blocked.scoreboards; break;
                case BlockedReason::progress:   wait = kWaitProgress; break;
                case BlockedReason::sync:
                    wait = kWaitSync | (blocked.wide != 0 ? kWaitSync64 : 0) |
                           static_cast<std::uint32_t>(blocked.condition) << 24;
                    sync_ptr = blocked.sync_address;
                    sync_value = blocked.reference;
                    break;
                default: wait = blocked.protected_mode != 0 ? kWaitProtected : 0; break;
            }
        }
        // Relaxed throughout: valid only after the acknowledgement, whose store releases them.
        base::store(output.status_cmd_ptr, stream.cmd_ptr(), kRelaxed);
        base::store(output.status_wait, wait, kRelaxed);
        base::store(output.status_req_resource, stream.state().resources, kRelaxed);
        base::store(output.status_wait_sync_ptr, sync_ptr, kRelaxed);
        base::store(output.status_wait_sync_value, static_cast<std::uint32_t>(sync_value), kRelaxed);
        base::store(output.status_wait_sync_value_hi, static_cast<std::uint32_t>(sync_value >> 32), kRelaxed);
        base::store(output.status_scoreboards, stream.busy_scoreboards(), kRelaxed);
        base::store(output.status_blocked_reason,
                    stands(stream) ? static_cast<std::uint32_t>(blocked.reason) : 0, kRelaxed);
    });
    base::store(output_->status_state, all_count_as_idle() ? kGroupStatusIdle : 0, kRelaxed);
}

void GroupSlot::sync_updated(csf::Scope scope, std::uint64_t address, const std::byte* host) {
    firmware_.sync_updated(scope, *this, host);
    if (scope != csf::Scope::system) return;
    // After the update, both sequentially consistent: a driver that begins to listen stores the mask, fences,
    // and reads the values (Dekker).
    if ((base::load(input_->ack_irq_mask, base::kSeqCst) & kGroupSyncUpdate) != 0) {
        const std::uint32_t written = base::load(reports_->written, kRelaxed);
        base::store(reports_->addresses[written % kReportsMax], address, kRelaxed);
        base::store(reports_->written, written + 1, kRelease);
    }
    raise_group_event(kGroupSyncUpdate);
}

void GroupSlot::wake(std::uint32_t& word, std::uint32_t bitset) { firmware_.port_.wake(word, bitset); }

void GroupSlot::progress_changed() {
    for_each_bit(started_, [this](unsigned i) {
        if (streams_[i].wake_if_waiting_for_progress()) note(i);
    });
}

std::uint64_t GroupSlot::progress_of(std::uint32_t queue) {
    return queue < streams_.size() && (started_ & bit(queue)) != 0 ? streams_[queue].progress() : 0;
}

void GroupSlot::report_fault(const StreamException& exception) {
    write_exception(current_, exception, false);
}
void GroupSlot::report_fatal(const StreamException& exception) { write_exception(current_, exception, true); }

void GroupSlot::report_mmu_fault(const MmuFault& fault) {
    firmware_.port_.raise_mmu_fault(address_space_, fault);
}

void GroupSlot::protected_mode_wanted() { raise_stream_event(current_, kStreamProtmPending); }

std::uint64_t GroupSlot::timestamp() { return firmware_.port_.timestamp(); }
std::uint64_t GroupSlot::cycles() { return firmware_.port_.cycles(); }
void GroupSlot::flushed_caches() { firmware_.port_.flushed_caches(); }

ShaderCores::Issue GroupSlot::run_compute(const ComputeJob& job, shader::Fault& fault) {
    return firmware_.port_.shader_cores().submit(
        index_, current_, firmware_.port_.address_space(address_space_), address_space_, job, fault);
}

void GroupSlot::abandon_jobs() { firmware_.port_.shader_cores().abandon(index_, current_); }

}  // namespace belfry::gpu
