#include "drivers/panthor/xgs_queue.hpp"

#include <utility>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/futex.hpp"
#include "base/signalling.hpp"
#include "base/sync_object.hpp"
#include "belfry/uapi/csf_exceptions.hpp"
#include "belfry/uapi/user_queue.h"
#include "drivers/panthor/device.hpp"

namespace belfry::panthor {
namespace {

using namespace belfry::uapi;

/// Operations that are done in one go; then others have their turn.
constexpr std::size_t kSliceOps = 256;

/// What error words say of a failure of this queue's own: the exceptions that streams of the GPU have for the
/// like, so that whoever reads an error word knows one set of numbers.
constexpr std::uint32_t error_word(Errno error) {
    return static_cast<std::uint32_t>(error == Errno::timed_out ? csf::Exception::cs_res_term
                                                                : csf::Exception::cs_bus_fault);
}

bool is_wide(const drm_panthor_xgs_op& op) { return op.format == DRM_PANTHOR_XGS_OP_FORMAT_U64; }
bool is_wait(const drm_panthor_xgs_op& op) {
    return op.op == DRM_PANTHOR_XGS_OP_WAIT_LE || op.op == DRM_PANTHOR_XGS_OP_WAIT_GT;
}

}  // namespace

XgsJob::XgsJob(XgsQueue& queue, std::uint32_t flags, std::vector<drm_panthor_xgs_op> ops, drm::SyncOps sync)
    : queue_(queue),
      flags_(flags),
      ops_(std::move(ops)),
      sync_(std::move(sync)),
      dependencies_([this] { queue_.wake(); }),
      finished_(queue.make_fence()),
      deadline_(queue.device_.timers(), [this] { queue_.overdue(*this); }) {}

bool XgsJob::cancel() {
    if (error_) return false;
    queue_.fail(*this, Errno::cancelled);
    queue_.wake();
    return true;
}

void XgsJob::step(XgsJobEvent event) {
    const auto to = next(state_, event);
    BELFRY_CHECK(to.has_value());
    state_ = *to;
}

XgsQueue::XgsQueue(Device& device, std::shared_ptr<Vm> vm, base::Fd updates)
    : device_(device),
      vm_(std::move(vm)),
      updates_(std::move(updates)),
      fence_context_(device.fence_contexts().allocate()),
      memory_([this] { wake(); }),
      next_slice_(device.timers(), [this] { wake(); }) {}

XgsQueue::~XgsQueue() {
    while (!jobs_.empty()) {
        jobs_.front().job->error_ = Errno::cancelled;
        finish();
    }
}

Result<void> XgsQueue::check_room(std::size_t load) const {
    if (load > kLoadMax) return std::unexpected(Errno::invalid);
    if (load > kLoadMax - load_) return std::unexpected(Errno::busy);
    return {};
}

drm::FencePtr XgsQueue::make_fence() { return drm::Fence::make(fence_context_, ++last_fence_); }

void XgsQueue::wake() { device_.wake(*this); }

void XgsQueue::push(std::unique_ptr<XgsJob> job, std::size_t load) {
    XgsJob& pushed = *job;
    jobs_.push_back({.job = std::move(job), .load = load});
    load_ += load;
    if (pushed.bounded()) {
        pushed.deadline_.arm(device_.timers().now() + kBoundNs);
        pushed.sync_.publish();
    }
    wake();
}

void XgsQueue::advance() {
    const base::SignallingPath path;
    slice_left_ = kSliceOps;
    auto progress = Progress::done;
    while (!jobs_.empty() && progress == Progress::done) {
        progress = run(*jobs_.front().job);
        if (progress == Progress::done) finish();
    }
    if (progress == Progress::slice_over) next_slice_.arm(device_.timers().now());
    if (!std::exchange(signalled_, false)) return;
    device_.wake_waiting_streams();
    if (updates_) base::ring_foreign_eventfd(updates_.get());
}

/// Goes on with the first job.
XgsQueue::Progress XgsQueue::run(XgsJob& job) {
    if (job.state_ == XgsJobState::queued && !job.dependencies_.ready()) return Progress::waits;
    if (job.state_ == XgsJobState::queued || job.state_ == XgsJobState::doomed) begin(job);
    if (job.state_ == XgsJobState::parked) {
        // Not for nothing: to look at what is not in memory would bring it back.
        if (wait_->waiting() && wait_->look() == SyncWait::State::waiting) return Progress::waits;
        job.step(XgsJobEvent::look_again);
    }
    wait_.reset();
    for (; job.next_ < job.ops_.size(); ++job.next_) {
        if (slice_left_ == 0) return Progress::slice_over;
        const drm_panthor_xgs_op& op = job.ops_[job.next_];
        --slice_left_;
        if (is_wait(op) && job.state_ != XgsJobState::running) continue;
        if (!memory_is_there(op)) return Progress::waits;
        if (!is_wait(op))
            do_signal(job, op);
        else if (!do_wait(job, op))
            return Progress::waits;
    }
    memory_.release();
    return Progress::done;
}

/// False: it is brought into memory, and the queue is woken when it is there.
bool XgsQueue::memory_is_there(const drm_panthor_xgs_op& op) {
    const drm::VaMapping* const mapping = find_sync_mapping(*vm_, op.addr, is_wide(op));
    if (mapping != nullptr) return memory_.take(mapping->buffer);
    memory_.release();
    return true;
}

void XgsQueue::begin(XgsJob& job) {
    job.step(XgsJobEvent::turn);
    if ((job.flags_ & DRM_PANTHOR_XGS_QUEUE_SUBMIT_ERROR_BARRIER_PRE) != 0) error_ = 0;
    if (job.error_) error_ = error_word(*job.error_);
}

/// False: not satisfied, and the queue is woken when that may have changed.
bool XgsQueue::do_wait(XgsJob& job, const drm_panthor_xgs_op& op) {
    if (memory_.failed()) {
        fail(job, Errno::invalid);
        return true;
    }
    wait_.emplace(*this,
                  SyncCondition{
                      .vm = vm_,
                      .address = op.addr,
                      .value = op.value,
                      .until = op.op == DRM_PANTHOR_XGS_OP_WAIT_GT ? csf::Condition::gt : csf::Condition::le,
                      .wide = is_wide(op),
                  });
    switch (wait_->look()) {
        case SyncWait::State::waiting:
            job.step(XgsJobEvent::wait_unmet);
            memory_.release();                 // it may take for ever
            device_.sync_waits().add(*wait_);  // which looks once more
            return false;
        case SyncWait::State::unmapped: fail(job, Errno::invalid); break;
        case SyncWait::State::satisfied:
            if ((op.flags & DRM_PANTHOR_XGS_OP_INHERIT_ERROR_WAIT) != 0) {
                const std::byte* const object = find_sync_object(*vm_, op.addr, is_wide(op));
                // Written before the value that look() has acquired.
                const std::uint32_t error =
                    is_wide(op) ? base::load(reinterpret_cast<const belfry_sync_object64*>(object)->error,
                                             base::kRelaxed)
                                : base::load(reinterpret_cast<const belfry_sync_object32*>(object)->error,
                                             base::kRelaxed);
                if (error != 0) error_ = error;
            }
            break;
    }
    wait_.reset();
    return true;
}

void XgsQueue::do_signal(XgsJob& job, const drm_panthor_xgs_op& op) {
    std::byte* const object =
        memory_.failed() ? nullptr : find_sync_object(*vm_, op.addr, is_wide(op), SyncAccess::write);
    if (object == nullptr) {
        fail(job, Errno::invalid);
        return;
    }
    const bool add = op.op == DRM_PANTHOR_XGS_OP_SIGNAL_ADD;
    const auto wake = [](std::uint32_t& word, std::uint32_t bits) { base::futex_wake(word, bits); };
    if (is_wide(op))
        base::update_sync_object(*reinterpret_cast<belfry_sync_object64*>(object), add, op.value, error_,
                                 wake);
    else
        base::update_sync_object(*reinterpret_cast<belfry_sync_object32*>(object), add, op.value, error_,
                                 wake);
    signalled_ = true;
    device_.sync_waits().updated(object);
}

/// The first failure counts.
void XgsQueue::fail(XgsJob& job, Errno error) {
    if (job.error_) return;
    job.error_ = error;
    job.step(XgsJobEvent::failed);
    if (job.state_ == XgsJobState::failing) error_ = error_word(error);
    // The bound holds for the fence, not for operations that must keep their order.
    if (job.bounded()) job.finished_->signal(device_.timers().now(), error);
}

/// The first job is over. Taken out before its fence signals: whoever hears of it may submit again.
void XgsQueue::finish() {
    const auto job = std::move(jobs_.front().job);
    load_ -= jobs_.front().load;
    jobs_.pop_front();
    if (!job->error_ && error_ != 0) job->error_ = Errno::invalid;  // as of a job of the GPU in error state
    if ((job->flags_ & DRM_PANTHOR_XGS_QUEUE_SUBMIT_ERROR_BARRIER_POST) != 0) error_ = 0;
    if (!job->finished_->is_signalled()) job->finished_->signal(device_.timers().now(), job->error_);
    if (!job->bounded()) job->sync_.publish();
}

void XgsQueue::overdue(XgsJob& job) {
    // It may be done but for looking, and is then no longer there (facts/firmware-and-scheduling.md 7, G12).
    const std::uint64_t number = job.finished_->seqno();
    advance();
    if (jobs_.empty() || number < jobs_.front().job->finished_->seqno()) return;
    fail(job, Errno::timed_out);
    wake();
}

void XgsQueue::check_invariants() const {
    std::size_t load = 0;
    for (std::size_t i = 0; i < jobs_.size(); ++i) {
        const XgsJob& job = *jobs_[i].job;
        load += jobs_[i].load;
        const bool begun = job.state_ != XgsJobState::queued && job.state_ != XgsJobState::doomed;
        BELFRY_CHECK(i == 0 || !begun);
        BELFRY_CHECK(job.bounded() == (job.deadline_.armed() || job.finished_->error().has_value()));
    }
    BELFRY_CHECK(load == load_ && load_ <= kLoadMax);
    BELFRY_CHECK(wait_.has_value() == (!jobs_.empty() && jobs_.front().job->state_ == XgsJobState::parked));
}

}  // namespace belfry::panthor
