#include "drivers/panthor/queue.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/signalling.hpp"
#include "belfry/uapi/csf.hpp"
#include "drivers/panthor/device.hpp"

namespace belfry::panthor {
namespace {

using csf::Arg;
using csf::encode;
using csf::Op;
using csf::Operand;

/// Rings move in cache lines, for the prefetcher.
constexpr std::uint64_t kRingStep = 64;
constexpr std::uint64_t kJobTimeoutNs = 5'000'000'000;

constexpr std::uint64_t kJobWords = 16;
constexpr std::uint64_t kJobBytes = kJobWords * csf::kInstructionBytes;
static_assert(kJobBytes % kRingStep == 0);

/// A queue's sync_: its sync object, and on the next page the error state of each job that the ring can hold.
constexpr std::uint64_t kSyncBytes = 2 * base::kPageBytes;
constexpr std::uint64_t kStatuses = base::kPageBytes / sizeof(std::uint64_t);

/// What the kernel writes for one job (facts/csf-isa.md 8): flush, call the stream, wait for all that it
/// started, count it as done, and end its error state. And Belfry's own: before it counts, it tells its error
/// state. The kernel learns that from the fault's event, by where EXTRACT is; but EXTRACT has gone on when
/// that is late.
std::array<std::uint64_t, kJobWords> job_words(const JobStream& stream, std::uint64_t sync_va,
                                               std::uint64_t status_va) {
    constexpr unsigned kAddress = csf::kRegisters - 4;  // d92
    constexpr unsigned kValue = csf::kRegisters - 2;    // r94, d94
    constexpr unsigned kAllSlots = (1U << csf::kSlots) - 1;
    // No instruction can hold a larger one. Nor does the kernel refuse it: what it writes then is not a
    // MOVE48, and faults or does worse to its program. This always faults.
    constexpr std::uint64_t kAddressesEnd = 1ULL << 48;
    constexpr std::uint64_t kNoInstruction = ~0ULL;
    return {
        encode<Op::move32>(Operand<Arg::dst>{kValue}, Operand<Arg::immediate>{stream.latest_flush}),
        encode<Op::flush_cache2>(Operand<Arg::l2_mode>{csf::FlushMode::clean_invalidate},
                                 Operand<Arg::lsc_mode>{csf::FlushMode::clean_invalidate},
                                 Operand<Arg::other_mode>{csf::FlushMode::invalidate},
                                 Operand<Arg::flush_id>{kValue}),
        stream.address < kAddressesEnd
            ? encode<Op::move48>(Operand<Arg::dst>{kAddress}, Operand<Arg::immediate>{stream.address})
            : kNoInstruction,
        encode<Op::move32>(Operand<Arg::dst>{kValue}, Operand<Arg::immediate>{stream.bytes}),
        encode<Op::wait>(Operand<Arg::wait>{1}),
        encode<Op::call>(Operand<Arg::address>{kAddress}, Operand<Arg::length>{kValue}),
        encode<Op::wait>(Operand<Arg::wait>{kAllSlots}),
        encode<Op::move48>(Operand<Arg::dst>{kAddress}, Operand<Arg::immediate>{status_va}),
        encode<Op::store_state>(Operand<Arg::address>{kAddress},
                                Operand<Arg::state>{csf::State::error_status}),
        encode<Op::move48>(Operand<Arg::dst>{kAddress}, Operand<Arg::immediate>{sync_va}),
        encode<Op::move48>(Operand<Arg::dst>{kValue}, Operand<Arg::immediate>{1}),
        encode<Op::sync_add64>(Operand<Arg::address>{kAddress}, Operand<Arg::data>{kValue},
                               Operand<Arg::error_propagate>{1}, Operand<Arg::scope>{csf::Scope::system}),
        encode<Op::error_barrier>(),
    };
}

}  // namespace

Job::Job(Queue& queue, const JobStream& stream)
    : queue_(queue), stream_(stream), dependencies_([this] { queue_.wake(); }) {}

bool Job::cancel() {
    if (!waiting_ || error_) return false;
    error_ = Errno::cancelled;
    stream_ = {};  // from now on it is only a point in the queue's order
    dependencies_.clear();
    queue_.wake();
    return true;
}

Queue::Queue(Device& device, Group& group, std::size_t index, const QueueOptions& options)
    : device_(device),
      group_(group),
      index_(index),
      options_(options),
      fence_context_(device.fence_contexts().allocate()),
      job_timer_(device.timers(), [this] { job_overdue(); }),
      time_left_(kJobTimeoutNs) {}

Queue::~Queue() { BELFRY_CHECK(!has_jobs()); }

Result<void> Queue::allocate(uapi::belfry_user_input& input, uapi::belfry_user_output& output) {
    input_ = &input;
    output_ = &output;
    // What the driver writes jobs to and reads their ends from, it must find at any time.
    using Use = drm::Residency::Use;
    auto ring = device_.make_buffer({.bytes = options_.ring_bytes, .name = "belfry-ring"},
                                    group_.user_submit() ? Use::evictable : Use::wired);
    if (!ring) return std::unexpected(ring.error());
    ring_ = std::move(*ring);
    constexpr auto kRingFlags =
        uapi::DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC | uapi::DRM_PANTHOR_VM_BIND_OP_MAP_UNCACHED;
    const auto ring_va = group_.vm().map_kernel(ring_, kRingFlags);
    if (!ring_va) return std::unexpected(ring_va.error());
    ring_va_ = *ring_va;
    if (group_.user_submit()) return {};

    auto sync =
        device_.make_buffer({.bytes = kSyncBytes, .no_mmap = true, .name = "belfry-job-sync"}, Use::wired);
    if (!sync) return std::unexpected(sync.error());
    sync_ = std::move(*sync);
    const auto sync_va = group_.vm().map_kernel(sync_, kRingFlags);
    if (!sync_va) return std::unexpected(sync_va.error());
    sync_va_ = *sync_va;
    return {};
}

void Queue::unmap() {
    if (ring_va_ != 0) group_.vm().unmap_kernel(ring_va_, ring_->size());
    if (sync_va_ != 0) group_.vm().unmap_kernel(sync_va_, sync_->size());
}

bool Queue::has_work() const {
    // The client's, read once; the firmware judges it when it runs.
    return base::load(input_->insert, base::kAcquire) != base::load(output_->extract, base::kAcquire);
}

uapi::belfry_sync_object64& Queue::sync_object() const {
    return *reinterpret_cast<uapi::belfry_sync_object64*>(sync_->data());
}

std::uint64_t Queue::status_offset(std::uint64_t seqno) {
    return base::kPageBytes + seqno % kStatuses * sizeof(std::uint64_t);
}

drm::FencePtr Queue::make_fence() { return drm::Fence::make(fence_context_, ++last_fence_); }

void Queue::wake() { device_.wake(*this); }

void Queue::push(std::unique_ptr<Job> job) {
    waiting_.push_back(std::move(job));
    wake();
}

void Queue::advance() {
    const base::SignallingPath path;
    if (!group_.can_run()) {
        // A job that reaches the ring too late is never executed.
        if (group_.state() == GroupState::dead) fail_all(Errno::cancelled);
        return;
    }
    bool wrote = false;
    while (!waiting_.empty() && waiting_.front().dependencies_.ready()) {
        Job& job = waiting_.front();
        if (job.stream_.bytes != 0) {
            // Room is made by jobs that are done, of which there is an interrupt; of EXTRACT, which moves
            // later, there is none (Submit.AFullRingsLastJobMakesRoomBeforeTheGpuSaysSo).
            if (insert_ + kJobBytes - done_ > options_.ring_bytes) break;  // advanced again by check_done()
            write_job(job);
            wrote = true;
        } else {
            job.seqno_ = last_seqno_;  // done with the job before it
        }
        job.waiting_ = false;
        in_flight_.push_back(waiting_.pop_front());
    }
    if (wrote) group_.work_seen();
    update_clock();
    check_done();
}

void Queue::update_clock() {
    const bool runs = !in_flight_.empty() && group_.state() != GroupState::runnable &&
                      group_.state() != GroupState::starting && group_.state() != GroupState::dead;
    if (runs == job_timer_.armed()) return;
    const std::uint64_t now = device_.timers().now();
    if (runs) {
        job_timer_.arm(now + time_left_);
        return;
    }
    time_left_ = in_flight_.empty() ? kJobTimeoutNs : std::max(job_timer_.deadline(), now) - now;
    job_timer_.cancel();
}

void Queue::write_job(Job& job) {
    job.seqno_ = ++last_seqno_;
    job.ring_end_ = insert_ + kJobBytes;
    // A job is a power of two in bytes and so are its neighbours: it never straddles the ring's end.
    static_assert(4096 % kJobBytes == 0);
    auto* place = reinterpret_cast<std::uint64_t*>(ring_->data() + (insert_ & (options_.ring_bytes - 1)));
    // Atomic, since the GPU may still be at the words behind the SYNC_ADD of the job that was here. Most are
    // the same in each job: what is not written stays in the GPU's cache, and costs nobody a transfer.
    for (const std::uint64_t word : job_words(job.stream_, sync_va_, sync_va_ + status_offset(job.seqno_))) {
        if (base::load(*place, base::kRelaxed) != word) base::store(*place, word, base::kRelaxed);
        ++place;
    }
    insert_ = job.ring_end_;
    // Release: the words before the counter that publishes them (A1).
    base::store(input_->insert, insert_, base::kRelease);
}

void Queue::check_done() {
    if (sync_ == nullptr || in_flight_.empty()) return;
    const base::SignallingPath path;
    const std::uint64_t done = base::load(sync_object().value, base::kAcquire);
    bool progress = false;
    while (!in_flight_.empty() && in_flight_.front().seqno_ <= done) {
        const auto job = in_flight_.pop_front();
        std::optional<Errno> error = job->error_;
        if (job->stream_.bytes != 0) {
            progress = true;
            done_ = job->ring_end_;
            const std::uint64_t status =
                base::load(*reinterpret_cast<std::uint64_t*>(sync_->data() + status_offset(job->seqno_)),
                           base::kRelaxed);
            if (status != 0) error = Errno::invalid;
        }
        complete(*job, error);
    }
    // Where all that was left had no stream the time must not go on for the next job.
    if (!progress && !in_flight_.empty()) return;
    job_timer_.cancel();
    time_left_ = kJobTimeoutNs;
    update_clock();
    if (!waiting_.empty()) wake();  // there is room
}

void Queue::complete(Job& job, std::optional<Errno> error) {
    job.finished_->signal(device_.timers().now(), error);
}

void Queue::job_overdue() {
    check_done();
    if (!in_flight_.empty() && !job_timer_.armed()) group_.end({.timed_out = true});
}

void Queue::fail_all(Errno error) {
    const base::SignallingPath path;
    job_timer_.cancel();
    for (auto* const jobs : {&in_flight_, &waiting_}) {
        // Each is taken out before it signals: whoever hears of it may submit again.
        while (!jobs->empty()) complete(*jobs->pop_front(), error);
    }
    if (sync_ == nullptr) return;
    // Streams of other groups that wait for this queue go on, and see why.
    base::store(sync_object().error, ~0U, base::kRelaxed);
    base::store(sync_object().value, last_seqno_, base::kRelease);
    device_.wake_waiting_streams();
    device_.sync_waits().updated(sync_->data());
}

}  // namespace belfry::panthor
