#include "drivers/panthor/bind_queue.hpp"

#include "base/check.hpp"
#include "base/memory.hpp"
#include "base/signalling.hpp"
#include "drivers/panthor/device.hpp"
#include "drivers/panthor/vm.hpp"

namespace belfry::panthor {
namespace {

/// What may be changed in one go, in pages; then others have their turn. An operation costs some by itself.
constexpr std::uint64_t kSlicePages = 1U << 18;
constexpr std::uint64_t kOpPages = 16;

}  // namespace

struct BindJob::Needs {
    Vm::Reserve reserve;
    std::unique_ptr<Vm::Flush> flush;
};

BindJob::BindJob(Vm& vm, BindOp op)
    : vm_(vm.shared_from_this()), op_(std::move(op)), dependencies_([&vm] { vm.binds().wake(); }) {}

BindJob::~BindJob() = default;

Result<std::unique_ptr<BindJob>> BindJob::make(Vm& vm, BindOp op) {
    auto reserve = vm.reserve(op);
    if (!reserve) return std::unexpected(reserve.error());
    std::unique_ptr<BindJob> job(new BindJob(vm, std::move(op)));
    job->needs_ = std::make_unique<Needs>(
        std::move(*reserve), vm.make_flush([job = job.get()] { job->vm_->binds().flushed(*job); }));
    return job;
}

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
    waiting_.push_back(std::move(job));
    if (!BindQueueHook::is_linked()) device_.binding.push_back(*this);
    wake();
}

void BindQueue::advance() {
    const auto alive = vm_.shared_from_this();  // the last job's end may let go of it
    const base::SignallingPath path;
    std::uint64_t pages = 0;
    while (!waiting_.empty() && waiting_.front().dependencies_.ready()) {
        if (pages >= kSlicePages) {
            next_slice_.arm(device_.timers().now());
            return;
        }
        BindJob& job = waiting_.front();
        if (!memory_is_there(job)) return;
        flushing_.push_back(waiting_.pop_front());
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
    const auto needs = std::move(job.needs_);
    if (job.follows_ && last_error_) {
        job.error_ = last_error_;
    } else if (const auto done = memory_.failed()
                                     ? std::unexpected(Errno::io)
                                     : vm_.execute(std::move(job.op_), std::move(needs->reserve));
               !done) {
        job.error_ = done.error();
        // The program built on this operation, and on those behind it.
        vm_.unusable = true;
    }
    last_error_ = job.error_;
    memory_.release();
    vm_.flush(std::move(needs->flush));
}

void BindQueue::flushed(BindJob& job) {
    const auto alive = vm_.shared_from_this();
    const base::SignallingPath path;
    job.flushed_ = true;
    // Each is taken out before it signals: whoever hears of it may bind again.
    while (!flushing_.empty() && flushing_.front().flushed_) end(flushing_.pop_front());
    if (waiting_.empty() && flushing_.empty()) BindQueueHook::unlink();
}

void BindQueue::cancel() {
    const auto alive = vm_.shared_from_this();
    const base::SignallingPath path;
    memory_.release();
    for (auto* const jobs : {&flushing_, &waiting_})
        while (!jobs->empty()) {
            jobs->front().error_ = Errno::cancelled;
            end(jobs->pop_front());
        }
    BindQueueHook::unlink();
}

void BindQueue::end(std::unique_ptr<BindJob> job) {
    job->finished_->signal(device_.timers().now(), job->error_);
}

}  // namespace belfry::panthor
