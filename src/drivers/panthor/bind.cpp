// VM_BIND: at once, or in the background with fences to wait for and to signal (facts/uapi.md 1.7).
//
// A bind that is done at once does not wait for those that are queued.

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/memory.hpp"
#include "drivers/panthor/file.hpp"
#include "drivers/panthor/sync_ops.hpp"

namespace belfry::panthor {
namespace {

using namespace belfry::uapi;

constexpr auto kInvalid = std::unexpected(Errno::invalid);
constexpr auto kMapFlags =
    static_cast<std::uint32_t>(DRM_PANTHOR_VM_BIND_OP_MAP_READONLY | DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC |
                               DRM_PANTHOR_VM_BIND_OP_MAP_UNCACHED);
constexpr auto kTypeMask = static_cast<std::uint32_t>(DRM_PANTHOR_VM_BIND_OP_TYPE_MASK);

}  // namespace

void File::vm_bind(const std::shared_ptr<drm::Call>& call) {
    auto& args = call->args<drm_panthor_vm_bind>();
    const auto* const found = vms_.find(args.vm_id);
    if (found == nullptr) return call->complete(kInvalid);
    const std::shared_ptr<Vm> vm = *found;
    const std::span ops(reinterpret_cast<const drm_panthor_vm_bind_op*>(args.ops.array), args.ops.count);
    if ((args.flags & DRM_PANTHOR_VM_BIND_ASYNC) != 0) return call->complete(bind_later(*vm, ops));
    // What is mapped where groups run must be in memory first.
    std::vector<drm::BufferPtr> mapped;
    if (vm->memory().preempt_fence_pending())
        for (const auto& op : ops)
            if (const auto* const buffer = buffers_.find(op.bo_handle)) mapped.push_back(*buffer);
    core_.when_resident(mapped, [this, call, vm, ops](Result<void> result) {
        std::uint32_t bound = 0;
        while (result && bound < ops.size()) {
            result = bind_now(*vm, ops[bound]);
            if (result) ++bound;
        }
        if (!result) call->args<drm_panthor_vm_bind>().ops.count = bound;  // earlier ones stay
        // Answered when the GPU can no longer touch what was unmapped.
        vm->flush([call, vm, result] { call->complete(result); });
    });
}

Result<void> File::bind_now(Vm& vm, const drm_panthor_vm_bind_op& op) {
    if (op.syncs.count != 0) return kInvalid;
    if (op.size == 0) return {};  // and nothing else is looked at
    auto prepared = prepare_bind(vm, op);
    if (!prepared) return std::unexpected(prepared.error());
    auto reserve = vm.reserve(*prepared);
    if (!reserve) return std::unexpected(reserve.error());
    return vm.execute(std::move(*prepared), std::move(*reserve));
}

Result<void> File::bind_later(Vm& vm, std::span<const drm_panthor_vm_bind_op> ops) {
    auto jobs = make_bind_jobs(vm, ops);
    if (!jobs) return std::unexpected(jobs.error());

    drm::SyncOps sync(syncobjs_);
    for (const auto& op : ops)
        if (const auto sound = collect_signals(sync, syncs_of(op)); !sound) return sound;
    for (std::size_t i = 0; i < ops.size(); ++i) {
        BindJob& job = *(*jobs)[i];
        if (const auto sound = resolve_waits(sync, syncs_of(ops[i]), job.dependencies()); !sound)
            return sound;
        job.arm(vm.binds().make_fence());
        armed(sync, syncs_of(ops[i]), job.finished());
    }

    // The point of no return: from here on nothing fails, and every fence is signalled by the VM's queue.
    for (auto& job : *jobs) vm.binds().push(std::move(job));
    sync.publish();
    return {};
}

Result<std::vector<std::unique_ptr<BindJob>>> File::make_bind_jobs(
    Vm& vm, std::span<const drm_panthor_vm_bind_op> ops) {
    std::vector<std::unique_ptr<BindJob>> jobs;
    jobs.reserve(ops.size());
    for (const auto& op : ops) {
        if (vm.unusable) return kInvalid;
        auto prepared = prepare_bind(vm, op);
        if (!prepared) return std::unexpected(prepared.error());
        auto job = BindJob::make(vm, std::move(*prepared));
        if (!job) return std::unexpected(job.error());
        jobs.push_back(std::move(*job));
    }
    return jobs;
}

Result<BindOp> File::prepare_bind(const Vm& vm, const drm_panthor_vm_bind_op& op) {
    if ((op.va | op.size | op.bo_offset) % base::kPageBytes != 0) return kInvalid;
    const std::uint32_t type = op.flags & kTypeMask;
    if (type == static_cast<std::uint32_t>(DRM_PANTHOR_VM_BIND_OP_TYPE_MAP)) {
        const auto* const buffer = buffers_.find(op.bo_handle);
        if (buffer == nullptr || (op.flags & ~(kMapFlags | kTypeMask)) != 0) return kInvalid;
        const std::uint64_t bytes = (*buffer)->size();
        if (op.size > bytes || op.bo_offset > bytes - op.size) return kInvalid;
        if ((*buffer)->exclusive_vm() != 0 && (*buffer)->exclusive_vm() != vm.tag()) return kInvalid;
        return BindOp{.kind = BindOp::Kind::map,
                      .va = op.va,
                      .bytes = op.size,
                      .buffer = *buffer,
                      .buffer_offset = op.bo_offset,
                      .flags = op.flags & kMapFlags};
    }
    if ((op.flags & ~kTypeMask) != 0 || op.bo_handle != 0 || op.bo_offset != 0) return kInvalid;
    if (type == static_cast<std::uint32_t>(DRM_PANTHOR_VM_BIND_OP_TYPE_UNMAP))
        return BindOp{.kind = BindOp::Kind::unmap, .va = op.va, .bytes = op.size};
    if (type != static_cast<std::uint32_t>(DRM_PANTHOR_VM_BIND_OP_TYPE_SYNC_ONLY)) return kInvalid;
    if (op.va != 0 || op.size != 0 || op.syncs.count == 0) return kInvalid;
    return BindOp{.kind = BindOp::Kind::sync_only};
}

}  // namespace belfry::panthor
