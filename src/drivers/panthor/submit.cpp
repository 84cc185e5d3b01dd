// GROUP_SUBMIT: kernel-mode jobs of one group, with the fences they wait for and signal.
//
// In steps, so that nothing is visible before everything has succeeded (facts/uapi.md 1.3, 1.13): check all
// jobs, find what they signal, resolve what they wait for in order, and only then push jobs and publish
// fences.

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "drivers/panthor/file.hpp"

namespace belfry::panthor {
namespace {

using namespace belfry::uapi;

constexpr auto kInvalid = std::unexpected(Errno::invalid);
constexpr std::uint32_t kFlushIdReserved = 0x7f00'0000;
constexpr auto kSignal = static_cast<std::uint32_t>(DRM_PANTHOR_SYNC_OP_SIGNAL);
constexpr std::uint32_t kHandleTypeMask = DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_MASK;

/// One (syncobj, point) that jobs of this call signal, and the fence that it has so far.
struct SignalRecord {
    std::uint32_t handle;
    std::uint64_t point;
    drm::SyncobjPtr syncobj;
    drm::ChainNodePtr node;  // made before the point of no return
    drm::FencePtr fence;     // null: nothing is there yet
};

std::span<const drm_panthor_sync_op> syncs_of(const drm_panthor_queue_submit& submit) {
    return {reinterpret_cast<const drm_panthor_sync_op*>(submit.syncs.array), submit.syncs.count};
}

Result<void> check_flags(const drm_panthor_sync_op& op) {
    const std::uint32_t type = op.flags & kHandleTypeMask;
    if ((op.flags & ~(kHandleTypeMask | kSignal)) != 0) return kInvalid;
    if (type > DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_TIMELINE_SYNCOBJ) return kInvalid;
    if (type == DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_SYNCOBJ && op.timeline_value != 0) return kInvalid;
    return {};
}

/// One record for each (handle, point), in the order of their first mention. How many there are is the
/// client's choice, so finding one must not mean to look at all.
class SignalRecords {
  public:
    SignalRecord* find(const drm_panthor_sync_op& op) {
        const auto found = index_.find({op.handle, op.timeline_value});
        return found != index_.end() ? &records_[found->second] : nullptr;
    }
    void add(SignalRecord record) {
        index_.emplace(std::pair{record.handle, record.point}, records_.size());
        records_.push_back(std::move(record));
    }
    [[nodiscard]] auto begin() { return records_.begin(); }
    [[nodiscard]] auto end() { return records_.end(); }

  private:
    std::vector<SignalRecord> records_;
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::size_t> index_;
};

Result<void> check_job(Group* group, const drm_panthor_queue_submit& submit) {
    if (submit.pad != 0) return kInvalid;
    if ((submit.stream_size == 0) != (submit.stream_addr == 0)) return kInvalid;
    if (submit.stream_addr % 64 != 0 || submit.stream_size % 8 != 0) return kInvalid;
    if ((submit.latest_flush & kFlushIdReserved) != 0) return kInvalid;
    if (group == nullptr || !group->can_run() || group->user_submit()) return kInvalid;
    if (submit.queue_index >= group->queue_count()) return kInvalid;
    return {};
}

Result<void> collect_signals(drm::SyncobjTable& syncobjs, const drm_panthor_queue_submit& submit,
                             SignalRecords& records) {
    for (const drm_panthor_sync_op& op : syncs_of(submit)) {
        if ((op.flags & kSignal) == 0) continue;
        if (const auto sound = check_flags(op); !sound) return sound;
        if (records.find(op) != nullptr) continue;
        drm::SyncobjPtr syncobj = syncobjs.find(op.handle);
        if (syncobj == nullptr) return kInvalid;
        const auto present = syncobj->find_point(op.timeline_value);
        records.add({.handle = op.handle,
                     .point = op.timeline_value,
                     .syncobj = std::move(syncobj),
                     .node = drm::ChainNode::make(),
                     .fence = present ? *present : nullptr});
    }
    return {};
}

Result<void> resolve_waits(drm::SyncobjTable& syncobjs, const drm_panthor_queue_submit& submit,
                           SignalRecords& records, Job& job) {
    for (const drm_panthor_sync_op& op : syncs_of(submit)) {
        if ((op.flags & kSignal) != 0) continue;
        if (const auto sound = check_flags(op); !sound) return sound;
        if (const SignalRecord* const record = records.find(op)) {
            // An earlier job of this call, or what the syncobj held before it; a later job is never waited
            // for.
            if (record->fence == nullptr) return kInvalid;
            job.add_dependency(record->fence);
            continue;
        }
        const drm::SyncobjPtr syncobj = syncobjs.find(op.handle);
        if (syncobj == nullptr) return std::unexpected(Errno::no_entry);
        auto fence = syncobj->find_point(op.timeline_value);
        if (!fence) return kInvalid;
        job.add_dependency(std::move(*fence));
    }
    return {};
}

}  // namespace

Result<void> File::group_submit(drm::Call& call) {
    const auto& args = call.args<drm_panthor_group_submit>();
    if (args.pad != 0) return kInvalid;
    const std::span submits(reinterpret_cast<const drm_panthor_queue_submit*>(args.queue_submits.array),
                            args.queue_submits.count);
    const auto found = group(args.group_handle & 0xffff);

    for (const auto& submit : submits)
        if (const auto sound = check_job(found.get(), submit); !sound) return sound;

    SignalRecords records;
    for (const auto& submit : submits)
        if (const auto sound = collect_signals(syncobjs_, submit, records); !sound) return sound;

    std::vector<std::unique_ptr<Job>> jobs;
    for (const auto& submit : submits) {
        Queue& queue = found->queue(submit.queue_index);
        auto job = std::make_unique<Job>(queue, JobStream{.address = submit.stream_addr,
                                                          .bytes = submit.stream_size,
                                                          .latest_flush = submit.latest_flush});
        if (const auto sound = resolve_waits(syncobjs_, submit, records, *job); !sound) return sound;
        job->arm(queue.make_fence());
        for (const auto& op : syncs_of(submit))
            if ((op.flags & kSignal) != 0) records.find(op)->fence = job->finished();
        jobs.push_back(std::move(job));
    }

    // The point of no return: from here on nothing fails, and every fence is signalled by its queue.
    for (std::size_t i = 0; i < jobs.size(); ++i)
        found->queue(submits[i].queue_index).push(std::move(jobs[i]));
    for (SignalRecord& record : records) {
        if (record.point != 0)
            record.syncobj->add_point(std::move(record.node), std::move(record.fence), record.point);
        else
            record.syncobj->replace(std::move(record.fence));
    }
    return {};
}

}  // namespace belfry::panthor
