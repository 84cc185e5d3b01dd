// GROUP_SUBMIT: kernel-mode jobs of one group, with the fences they wait for and signal.
//
// In the steps of sync_ops.hpp, so that nothing is visible before everything has succeeded (facts/uapi.md
// 1.13).

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "drivers/panthor/file.hpp"
#include "drivers/panthor/sync_ops.hpp"

namespace belfry::panthor {
namespace {

using namespace belfry::uapi;

constexpr auto kInvalid = std::unexpected(Errno::invalid);
constexpr std::uint32_t kFlushIdReserved = 0x7f00'0000;

JobStream stream_of(const drm_panthor_queue_submit& submit) {
    return {.address = submit.stream_addr, .bytes = submit.stream_size, .latest_flush = submit.latest_flush};
}

}  // namespace

Result<void> check_job(const Group* group, std::uint32_t queue, const JobStream& stream) {
    if ((stream.bytes == 0) != (stream.address == 0)) return kInvalid;
    if (stream.address % 64 != 0 || stream.bytes % 8 != 0) return kInvalid;
    if ((stream.latest_flush & kFlushIdReserved) != 0) return kInvalid;
    if (group == nullptr || !group->can_run() || group->user_submit()) return kInvalid;
    if (queue >= group->queue_count()) return kInvalid;
    return {};
}

Result<void> File::group_submit(drm::Call& call) {
    const auto& args = call.args<drm_panthor_group_submit>();
    if (args.pad != 0) return kInvalid;
    const std::span submits(reinterpret_cast<const drm_panthor_queue_submit*>(args.queue_submits.array),
                            args.queue_submits.count);
    const auto found = group(args.group_handle & 0xffff);

    for (const auto& submit : submits) {
        if (submit.pad != 0) return kInvalid;
        if (const auto sound = check_job(found.get(), submit.queue_index, stream_of(submit)); !sound)
            return sound;
    }

    drm::SyncOps sync(syncobjs_);
    for (const auto& submit : submits)
        if (const auto sound = collect_signals(sync, syncs_of(submit)); !sound) return sound;

    std::vector<std::unique_ptr<Job>> jobs;
    jobs.reserve(submits.size());
    for (const auto& submit : submits) {
        Queue& queue = found->queue(submit.queue_index);
        auto job = std::make_unique<Job>(queue, stream_of(submit));
        if (const auto sound = resolve_waits(sync, syncs_of(submit), job->dependencies()); !sound)
            return sound;
        job->arm(queue.make_fence());
        armed(sync, syncs_of(submit), job->finished());
        jobs.push_back(std::move(job));
    }

    // The point of no return: from here on nothing fails, and every fence is signalled by its queue.
    for (std::size_t i = 0; i < jobs.size(); ++i)
        found->queue(submits[i].queue_index).push(std::move(jobs[i]));
    sync.publish();
    return {};
}

}  // namespace belfry::panthor
