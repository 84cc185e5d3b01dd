#include "drivers/panthor/bind_queue.hpp"

#include "base/check.hpp"
#include "base/memory.hpp"
#include "drivers/panthor/device.hpp"
#include "drivers/panthor/vm.hpp"

namespace belfry::panthor {
namespace {

/// What may be changed in one go, in pages; then others have their turn. An operation costs some by itself.
constexpr std::uint64_t kSlicePages = 1U << 18;
constexpr std::uint64_t kOpPages = 16;

}  // namespace

BindJob::BindJob(BindQueue& queue, BindOp op)
    : op_(std::move(op)), dependencies_([&queue] { queue.wake(); }) {}

BindQueue::BindQueue(Device& device, Vm& vm)
    : device_(device),
      vm_(vm),
      fence_context_(device.fence_contexts().allocate()),
      memory_([this] { wake(); }),
      next_slice_(device.timers(), [this] { wake(); }) {}

BindQueue::~BindQueue() { BELFRY_CHECK(waiting_.empty() && flushing_.empty()); }

drm::FencePtr BindQueue::make_fence() { return drm::Fence::make(fence_context_, ++last_fence_); }

void BindQueue::wake() { device_.wake(*this); }

void BindQueue::push(std::unique_ptr<BindJob> job) {
    device_.binding_vms.insert(vm_.shared_from_this());
    waiting_.push_back(std::move(job));
    wake();
}

void BindQueue::advance() {
    const auto alive = vm_.shared_from_this();  // the last job's end may let go of it
    std::uint64_t pages = 0;
    while (!waiting_.empty() && waiting_.front()->dependencies_.ready()) {
        if (pages >= kSlicePages) {
            next_slice_.arm(device_.timers().now());
            return;
        }
        if (!memory_is_there(*waiting_.front())) return;
        flushing_.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
        BindJob& job = *flushing_.back();
        pages += kOpPages + (job.op_.kind == BindOp::Kind::map ? job.op_.bytes / base::kPageBytes : 0);
        run(job);
    }
}

/// Nothing is mapped where groups run that is not in memory.
bool BindQueue::memory_is_there(const BindJob& job) {
    const bool needed = job.op_.kind == BindOp::Kind::map && vm_.memory().preempt_fence_pending();
    return !needed || memory_.take(job.op_.buffer);
}

void BindQueue::run(BindJob& job) {
    if (job.follows_ && last_error_) {
        job.error_ = last_error_;
    } else if (const auto done =
                   memory_.failed() ? std::unexpected(Errno::io) : vm_.execute(std::move(job.op_));
               !done) {
        job.error_ = done.error();
        // The program built on this operation, and on those behind it.
        vm_.unusable = true;
    }
    last_error_ = job.error_;
    memory_.release();
    vm_.flush([this, &job] { flushed(job); });
}

void BindQueue::flushed(BindJob& job) {
    job.flushed_ = true;
    while (!flushing_.empty() && flushing_.front()->flushed_) {
        // Taken out before it signals: whoever hears of it may bind again.
        const auto done = std::move(flushing_.front());
        flushing_.pop_front();
        done->finished_->signal(device_.timers().now(), done->error_);
    }
    // Last: *this may go with it.
    if (waiting_.empty() && flushing_.empty()) device_.binding_vms.erase(vm_.shared_from_this());
}

void BindQueue::cancel() {
    memory_.release();
    for (auto* const jobs : {&flushing_, &waiting_}) {
        while (!jobs->empty()) {
            const auto job = std::move(jobs->front());
            jobs->pop_front();
            job->finished_->signal(device_.timers().now(), Errno::cancelled);
        }
    }
}

}  // namespace belfry::panthor
