// File: one open file of the device: its handles, and the table of its ioctls.
//
// Owns   BO, VM, group, XGS queue and syncobj handles, and its submit rings. Owned by the transport; when it
// dies, groups are ended first. Runs   in the driver actor. Called by a transport (drm::File).
//
// Each ioctl is a row of kIoctls in ioctls.cpp and a handler of the same name. What a request looks like in
// memory is described once, in uapi/ioctl_table.hpp; a handler sees a private copy.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "belfry/uapi/panthor_drm.h"
#include "drivers/panthor/device.hpp"
#include "drivers/panthor/group.hpp"
#include "drivers/panthor/vm.hpp"
#include "drivers/panthor/xgs_queue.hpp"
#include "drm/core_ioctls.hpp"
#include "drm/handles.hpp"
#include "drm/node.hpp"
#include "drm/submit_ring_ioctls.hpp"
#include "drm/syncobj_ioctls.hpp"

namespace belfry::panthor {

class File final : public drm::File, private drm::SubmitDriver {
  public:
    File(Device& device, drm::NodeKind kind, const drm::Opener& opener);
    ~File() override;

    void ioctl(const std::shared_ptr<drm::Call>& call) override;
    void mmap(const drm::MapRequest& request, drm::MapReply reply) override;
    Result<drm::FencePtr> submit_entry(const uapi::belfry_submit_entry& entry,
                                       std::vector<drm::FencePtr>&& waits) override;

    // Handlers: answer at once by their result.
    Result<void> dev_query(drm::Call& call);
    Result<void> vm_create(drm::Call& call);
    Result<void> vm_destroy(drm::Call& call);
    Result<void> vm_get_state(drm::Call& call);
    Result<void> tiler_heap_create(drm::Call& call);
    Result<void> bo_create(drm::Call& call);
    Result<void> bo_mmap_offset(drm::Call& call);
    Result<void> bo_set_label(drm::Call& call);
    Result<void> set_user_mmio_offset(drm::Call& call);
    Result<void> group_create(drm::Call& call);
    Result<void> group_destroy(drm::Call& call);
    Result<void> group_submit(drm::Call& call);
    Result<void> group_get_state(drm::Call& call);
    Result<void> group_kick(drm::Call& call);
    Result<void> group_get_fault(drm::Call& call);
    Result<void> xgs_queue_create(drm::Call& call);
    Result<void> xgs_queue_destroy(drm::Call& call);
    Result<void> xgs_queue_submit(drm::Call& call);
    Result<void> sync_update(drm::Call& call);
    Result<void> device_info(drm::Call& call);
    // Handlers that answer by themselves, perhaps later.
    void vm_bind(const std::shared_ptr<drm::Call>& call);
    void tiler_heap_destroy(const std::shared_ptr<drm::Call>& call);

    [[nodiscard]] Device& device() { return device_; }
    [[nodiscard]] drm::SyncobjTable& syncobjs() { return syncobjs_; }

    /// For rigs. Null if there is no such handle.
    [[nodiscard]] drm::BufferPtr buffer(std::uint32_t handle) const {
        const drm::BufferPtr* const found = buffers_.find(handle);
        return found != nullptr ? *found : nullptr;
    }
    void check_invariants() const {
        rings_.check_invariants();
        buffers_.check_invariants();
        vms_.for_each([](std::uint32_t, const std::shared_ptr<Vm>& vm) { vm->check_invariants(); });
        xgs_queues_.for_each(
            [](std::uint32_t, const std::unique_ptr<XgsQueue>& queue) { queue->check_invariants(); });
    }

  private:
    // Entries of submit rings (ring_ops.cpp).
    Result<drm::SubmitAccepted> submit(drm::SubmitRequest& request) override;
    Result<drm::SubmitAccepted> ring_job(drm::SubmitRequest& request);
    Result<drm::SubmitAccepted> ring_bind(drm::SubmitRequest& request);
    Result<drm::SubmitAccepted> ring_xgs(drm::SubmitRequest& request);

    void driver_ioctl(const std::shared_ptr<drm::Call>& call);
    /// The priorities that this file's groups may have, a bit each.
    [[nodiscard]] std::uint8_t allowed_priorities();
    [[nodiscard]] std::shared_ptr<Group> group(std::uint32_t handle);
    [[nodiscard]] Group* group_by_serial(std::uint64_t serial);
    Result<void> bind_now(Vm& vm, const uapi::drm_panthor_vm_bind_op& op);
    Result<void> bind_later(Vm& vm, std::span<const uapi::drm_panthor_vm_bind_op> ops);
    /// The queue that can be given such a job. EINVAL, EBUSY.
    Result<XgsQueue*> find_xgs_queue(std::uint32_t handle, std::uint32_t flags,
                                     std::span<const uapi::drm_panthor_xgs_op> ops, std::size_t load);
    Result<std::vector<std::unique_ptr<BindJob>>> make_bind_jobs(
        Vm& vm, std::span<const uapi::drm_panthor_vm_bind_op> ops);
    Result<BindOp> prepare_bind(const Vm& vm, const uapi::drm_panthor_vm_bind_op& op);
    /// What a mapping consists of. With a buffer it is one segment of that, whose file is still missing.
    struct MapPlan {
        std::vector<drm::MapSegment> segments;
        drm::BufferPtr buffer{};
    };
    static MapPlan of_buffer(const drm::BufferPtr& buffer, std::uint64_t bytes) {
        return {.segments = {{.fd = -1,
                              .fd_offset = 0,
                              .bytes = base::round_up_to_page(bytes),
                              .access = base::Access::read_write}},
                .buffer = buffer};
    }
    Result<MapPlan> plan_map(const drm::MapRequest& request);
    Result<MapPlan> plan_map_of_queue(std::uint64_t offset, const drm::MapRequest& request);

    static constexpr std::uint32_t kGroupsMax = 128;
    static constexpr std::uint32_t kXgsQueuesMax = 128;

    Device& device_;
    drm::CoreFile core_;
    drm::BufferTable& buffers_ = core_.buffers();
    std::uint64_t user_mmio_offset_ = DRM_PANTHOR_USER_MMIO_OFFSET;
    drm::HandleTable<std::shared_ptr<Vm>> vms_{{.first = 1, .last = 32, .when_full = Errno::busy}};
    drm::HandleTable<std::shared_ptr<Group>> groups_{
        {.first = 1, .last = kGroupsMax, .when_full = Errno::busy}};
    drm::HandleTable<std::unique_ptr<XgsQueue>> xgs_queues_{
        {.first = 1, .last = kXgsQueuesMax, .when_full = Errno::busy}};
    drm::SyncobjTable syncobjs_;
    /// Has the rings looked at: when something has completed, and as long as one is awake.
    struct RingWork final : drm::Work {
        RingWork(File& of, void (drm::SubmitRings::*what)(drm::SubmitDriver&)) : file(of), turn(what) {}
        void advance() override { (file.rings_.*turn)(file); }
        File& file;
        void (drm::SubmitRings::*turn)(drm::SubmitDriver&);
    };
    RingWork ring_work_{*this, &drm::SubmitRings::advance};
    RingWork ring_poll_{*this, &drm::SubmitRings::poll};
    drm::SubmitRings rings_{
        {.device = core_.device(), .syncobjs = syncobjs_, .advance = ring_work_, .poll = ring_poll_}};
};

/// What open() of one of the device's nodes gives.
class Node final : public drm::Node {
  public:
    Node(Device& device, drm::NodeKind kind) : device_(device), kind_(kind) {}
    Result<std::unique_ptr<drm::File>> open(const drm::Opener& opener) override {
        return std::make_unique<File>(device_, kind_, opener);
    }

  private:
    Device& device_;
    drm::NodeKind kind_;
};

}  // namespace belfry::panthor
