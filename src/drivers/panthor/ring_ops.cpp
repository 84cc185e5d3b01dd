// panthor's entries of submit rings: jobs, binds and XGS jobs, by the same steps as the requests that do the
// like (submit.cpp, bind.cpp, xgs.cpp). The points that an entry waits for and signals are the framework's.

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "drivers/panthor/file.hpp"

namespace belfry::panthor {
namespace {

using namespace belfry::uapi;

constexpr auto kInvalid = std::unexpected(Errno::invalid);

template <typename T>
T payload_of(const belfry_submit_entry& entry) {
    static_assert(sizeof(T) == sizeof entry.payload);
    T payload{};
    std::memcpy(&payload, entry.payload, sizeof payload);
    return payload;
}

}  // namespace

Result<drm::SubmitAccepted> File::submit(drm::SubmitRequest& request) {
    switch (request.entry.opcode) {
        case BELFRY_PANTHOR_SUBMIT_JOB:     return ring_job(request);
        case BELFRY_PANTHOR_SUBMIT_VM_BIND: return ring_bind(request);
        case BELFRY_PANTHOR_SUBMIT_XGS:     return ring_xgs(request);
        default:                            return kInvalid;
    }
}

Result<drm::FencePtr> File::submit_entry(const belfry_submit_entry& entry,
                                         std::vector<drm::FencePtr>&& waits) {
    // An XGS job's fence has no bound, and binds have their operations in an arena, which is not at hand.
    if (entry.opcode != BELFRY_PANTHOR_SUBMIT_JOB) return std::unexpected(Errno::not_supported);
    drm::SubmitArena none({}, 0);
    drm::SubmitRequest request{
        .entry = entry, .arena = none, .waits = std::move(waits), .signals = drm::SyncOps(syncobjs_)};
    auto accepted = ring_job(request);
    if (!accepted) return std::unexpected(accepted.error());
    return std::move(accepted->finished);
}

Result<drm::SubmitAccepted> File::ring_job(drm::SubmitRequest& request) {
    const auto args = payload_of<belfry_panthor_submit_job>(request.entry);
    const auto* const found = groups_.find(args.group_handle);
    if (found == nullptr) return kInvalid;
    Group& group = **found;
    const JobStream stream{
        .address = args.stream_addr, .bytes = args.stream_size, .latest_flush = args.latest_flush};
    if (const auto sound = check_job(&group, args.queue_index, stream); !sound)
        return std::unexpected(sound.error());

    Queue& queue = group.queue(args.queue_index);
    auto job = std::make_unique<Job>(queue, stream);
    request.move_waits_to(job->dependencies());
    job->arm(queue.make_fence());
    drm::SubmitAccepted accepted{.finished = job->finished(), .job = job.get()};
    request.signals.all_armed(accepted.finished);
    // The point of no return: from here on nothing fails, and the fence is signalled by the queue.
    queue.push(std::move(job));
    request.signals.publish();
    return accepted;
}

Result<drm::SubmitAccepted> File::ring_bind(drm::SubmitRequest& request) {
    const auto args = payload_of<belfry_panthor_submit_vm_bind>(request.entry);
    const auto* const found = vms_.find(args.vm_id);
    if (found == nullptr || args.pad != 0 || args.pad1 != 0 || args.op_count == 0) return kInvalid;
    Vm& vm = **found;
    const auto ops = request.arena.read<drm_panthor_vm_bind_op>(args.ops_offset, args.op_count);
    if (!ops) return std::unexpected(ops.error());
    if (std::ranges::any_of(*ops, [](const auto& op) { return op.syncs.count != 0; })) return kInvalid;

    auto jobs = make_bind_jobs(vm, *ops);
    if (!jobs) return std::unexpected(jobs.error());
    // All but the first follow it: one fails with all before it.
    request.move_waits_to(jobs->front()->dependencies());
    for (std::size_t i = 1; i < jobs->size(); ++i) (*jobs)[i]->follow();
    for (auto& job : *jobs) job->arm(vm.binds().make_fence());
    drm::SubmitAccepted accepted{.finished = jobs->back()->finished()};
    request.signals.all_armed(accepted.finished);
    // The point of no return: from here on nothing fails, and the fences are signalled by the VM's queue.
    for (auto& job : *jobs) vm.binds().push(std::move(job));
    request.signals.publish();
    return accepted;
}

Result<drm::SubmitAccepted> File::ring_xgs(drm::SubmitRequest& request) {
    const auto args = payload_of<belfry_panthor_submit_xgs>(request.entry);
    if (args.pad != 0) return kInvalid;
    auto ops = request.arena.read<drm_panthor_xgs_op>(args.ops_offset, args.op_count);
    if (!ops) return std::unexpected(ops.error());
    const std::size_t load = ops->size() + request.waits.size() + 1;
    const auto queue = find_xgs_queue(args.handle, args.flags, *ops, load);
    if (!queue) return std::unexpected(queue.error());
    auto job = std::make_unique<XgsJob>(**queue, args.flags, std::move(*ops), std::move(request.signals));
    request.move_waits_to(job->dependencies());
    job->sync().all_armed(job->finished());
    drm::SubmitAccepted accepted{.finished = job->finished(), .job = job.get()};
    // The point of no return: from here on nothing fails, and the fence is signalled by the queue.
    (*queue)->push(std::move(job), load);
    return accepted;
}

}  // namespace belfry::panthor
