// panthor's ioctls but VM_BIND (bind.cpp), GROUP_SUBMIT (submit.cpp) and those of XGS queues (xgs.cpp).
// Checks in the kernel's order, with its errnos (facts/uapi.md 1).

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include <sys/mman.h>

#include "drivers/panthor/file.hpp"
#include "drivers/panthor/user_queue_offsets.hpp"

namespace belfry::panthor {
namespace {

using namespace belfry::uapi;
using drm::Call;

/// Host memory is pinned by binding it on real hardware; here this bounds what one request can cost.
constexpr std::uint64_t kBufferBytesMax = 16ULL << 30;
constexpr std::uint32_t kRingBytesMin = 4096;
constexpr std::uint32_t kRingBytesMax = 65536;
constexpr std::uint8_t kQueuePriorityMax = 15;
/// A tiler heap's handle names its VM above, and itself below.
constexpr unsigned kHeapHandleVmShift = 16;
constexpr std::uint8_t kPrioritiesOfAll =
    1U << PANTHOR_GROUP_PRIORITY_LOW | 1U << PANTHOR_GROUP_PRIORITY_MEDIUM;
constexpr std::uint8_t kPrioritiesOfTheNice =
    1U << PANTHOR_GROUP_PRIORITY_HIGH | 1U << PANTHOR_GROUP_PRIORITY_REALTIME;
/// With its NUL.
constexpr std::size_t kLabelBytesMax = 4096;
/// What SET_USER_MMIO_OFFSET takes: the offsets that 32-bit and 64-bit programs can say.
constexpr std::uint64_t kUserMmioOffset32 = 1ULL << 43;
constexpr std::uint64_t kUserMmioOffset64 = DRM_PANTHOR_USER_MMIO_OFFSET;

constexpr auto kInvalid = std::unexpected(Errno::invalid);

// How a row is handled: by a result, by itself, or by a helper that takes the syncobjs or the rings.
using Immediate = Result<void> (File::*)(Call&);
using Deferring = void (File::*)(const std::shared_ptr<Call>&);
using SyncobjHelper = void (*)(drm::SyncobjTable&, drm::Timers&, const std::shared_ptr<Call>&);

using RingHelper = Result<void> (*)(drm::SubmitRings&, Call&);

struct Row {
    std::uint32_t request = 0;
    Immediate immediate = nullptr;
    Deferring deferring = nullptr;
    SyncobjHelper syncobj = nullptr;
    RingHelper ring = nullptr;
};

// clang-format off
constexpr Row kIoctls[] = {
    {.request = DRM_IOCTL_SYNCOBJ_CREATE,           .syncobj = drm::syncobj_create},
    {.request = DRM_IOCTL_SYNCOBJ_DESTROY,          .syncobj = drm::syncobj_destroy},
    {.request = DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD,     .syncobj = drm::syncobj_handle_to_fd},
    {.request = DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE,     .syncobj = drm::syncobj_fd_to_handle},
    {.request = DRM_IOCTL_SYNCOBJ_WAIT,             .syncobj = drm::syncobj_wait},
    {.request = DRM_IOCTL_SYNCOBJ_RESET,            .syncobj = drm::syncobj_reset},
    {.request = DRM_IOCTL_SYNCOBJ_SIGNAL,           .syncobj = drm::syncobj_signal},
    {.request = DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT,    .syncobj = drm::syncobj_timeline_wait},
    {.request = DRM_IOCTL_SYNCOBJ_QUERY,            .syncobj = drm::syncobj_query},
    {.request = DRM_IOCTL_SYNCOBJ_TRANSFER,         .syncobj = drm::syncobj_transfer},
    {.request = DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL,  .syncobj = drm::syncobj_timeline_signal},
    {.request = DRM_IOCTL_SYNCOBJ_EVENTFD,          .syncobj = drm::syncobj_eventfd},
    {.request = DRM_IOCTL_BELFRY_SUBMIT_RING_CREATE,  .ring = drm::submit_ring_create},
    {.request = DRM_IOCTL_BELFRY_SUBMIT_RING_DESTROY, .ring = drm::submit_ring_destroy},
    {.request = DRM_IOCTL_BELFRY_SUBMIT_RING_ENTER,   .ring = drm::submit_ring_enter},
    {.request = DRM_IOCTL_PANTHOR_DEV_QUERY,        .immediate = &File::dev_query},
    {.request = DRM_IOCTL_PANTHOR_VM_CREATE,        .immediate = &File::vm_create},
    {.request = DRM_IOCTL_PANTHOR_VM_DESTROY,       .immediate = &File::vm_destroy},
    {.request = DRM_IOCTL_PANTHOR_VM_BIND,          .deferring = &File::vm_bind},
    {.request = DRM_IOCTL_PANTHOR_VM_GET_STATE,     .immediate = &File::vm_get_state},
    {.request = DRM_IOCTL_PANTHOR_TILER_HEAP_CREATE,  .immediate = &File::tiler_heap_create},
    {.request = DRM_IOCTL_PANTHOR_TILER_HEAP_DESTROY, .deferring = &File::tiler_heap_destroy},
    {.request = DRM_IOCTL_PANTHOR_BO_CREATE,        .immediate = &File::bo_create},
    {.request = DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET,   .immediate = &File::bo_mmap_offset},
    {.request = DRM_IOCTL_PANTHOR_BO_SET_LABEL,     .immediate = &File::bo_set_label},
    {.request = DRM_IOCTL_PANTHOR_SET_USER_MMIO_OFFSET, .immediate = &File::set_user_mmio_offset},
    {.request = DRM_IOCTL_PANTHOR_GROUP_CREATE,     .immediate = &File::group_create},
    {.request = DRM_IOCTL_PANTHOR_GROUP_DESTROY,    .immediate = &File::group_destroy},
    {.request = DRM_IOCTL_PANTHOR_GROUP_SUBMIT,     .immediate = &File::group_submit},
    {.request = DRM_IOCTL_PANTHOR_GROUP_GET_STATE,  .immediate = &File::group_get_state},
    {.request = DRM_IOCTL_PANTHOR_GROUP_KICK,       .immediate = &File::group_kick},
    {.request = DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE,  .immediate = &File::xgs_queue_create},
    {.request = DRM_IOCTL_PANTHOR_XGS_QUEUE_DESTROY, .immediate = &File::xgs_queue_destroy},
    {.request = DRM_IOCTL_PANTHOR_XGS_QUEUE_SUBMIT, .immediate = &File::xgs_queue_submit},
    {.request = DRM_IOCTL_PANTHOR_SYNC_UPDATE,      .immediate = &File::sync_update},
    {.request = DRM_IOCTL_BELFRY_GROUP_GET_FAULT,   .immediate = &File::group_get_fault},
    {.request = DRM_IOCTL_BELFRY_DEVICE_INFO,       .immediate = &File::device_info},
};
// clang-format on

/// Copies a query's answer into the program's object, as far as that reaches; its tail is zeroed.
template <typename T>
Result<void> answer(drm_panthor_dev_query& query, std::uint32_t bytes_min, const T& answer) {
    if (query.pointer == 0) {
        query.size = sizeof(T);
        return {};
    }
    if (query.size < bytes_min) return kInvalid;
    auto* const object = reinterpret_cast<std::byte*>(query.pointer);
    std::memset(object, 0, query.size);
    std::memcpy(object, &answer, std::min<std::size_t>(query.size, sizeof(T)));
    return {};
}

}  // namespace

File::File(Device& device, drm::NodeKind kind, const drm::Opener& opener)
    : device_(device),
      core_(device.core(), kind, opener),
      syncobjs_(device.fence_contexts(), device.exports(), opener.syncobjs) {
    ++device_.files;
}

File::~File() {
    rings_.clear();
    xgs_queues_.clear();
    groups_.for_each(
        [](std::uint32_t, const std::shared_ptr<Group>& group) { group->end({.destroyed = true}); });
    groups_.clear();
    vms_.for_each([this](std::uint32_t, const std::shared_ptr<Vm>& vm) {
        vm->destroy();
        --device_.vms;
    });
    --device_.files;
    device_.run_work();
}

void File::ioctl(const std::shared_ptr<Call>& call) {
    ++device_.requests;
    // The core decides who may ask for what is its own. All else may be asked through both nodes.
    if (!drm::core_ioctl(core_, call)) driver_ioctl(call);
    device_.run_work();
}

void File::driver_ioctl(const std::shared_ptr<Call>& call) {
    const auto* const row = std::ranges::find(kIoctls, call->request(), &Row::request);
    if (row == std::end(kIoctls))
        call->complete(kInvalid);
    else if (row->immediate != nullptr)
        call->complete((this->*row->immediate)(*call));
    else if (row->deferring != nullptr)
        (this->*row->deferring)(call);
    else if (row->ring != nullptr)
        call->complete(row->ring(rings_, *call));
    else
        row->syncobj(syncobjs_, device_.timers(), call);
}

std::shared_ptr<Group> File::group(std::uint32_t handle) {
    const auto* const found = groups_.find(handle);
    return found != nullptr ? *found : nullptr;
}

Result<void> File::dev_query(Call& call) {
    auto& query = call.args<drm_panthor_dev_query>();
    switch (query.type) {
        case DRM_PANTHOR_DEV_QUERY_GPU_INFO:
            return answer(query, offsetof(drm_panthor_gpu_info, core_features), device_.gpu_info());
        case DRM_PANTHOR_DEV_QUERY_CSIF_INFO:
            return answer(query, sizeof(drm_panthor_csif_info), device_.csif_info());
        case DRM_PANTHOR_DEV_QUERY_TIMESTAMP_INFO:
            return answer(query, offsetof(drm_panthor_timestamp_info, timestamp_offset),
                          device_.timestamp_info());
        case DRM_PANTHOR_DEV_QUERY_GROUP_PRIORITIES_INFO:
            return answer(query, sizeof(drm_panthor_group_priorities_info),
                          drm_panthor_group_priorities_info{.allowed_mask = allowed_priorities()});
        default: return kInvalid;
    }
}

Result<void> File::vm_create(Call& call) {
    auto& args = call.args<drm_panthor_vm_create>();
    if (args.flags != 0) return kInvalid;
    auto vm = Vm::make(device_, args.user_va_range);
    if (!vm) return std::unexpected(vm.error());
    const std::uint64_t user_va_bytes = (*vm)->user_va_bytes();
    const auto id = vms_.insert(std::move(*vm));
    if (!id) return std::unexpected(id.error());
    ++device_.vms;
    args.id = *id;
    args.user_va_range = user_va_bytes;
    return {};
}

Result<void> File::vm_destroy(Call& call) {
    const auto& args = call.args<drm_panthor_vm_destroy>();
    if (args.pad != 0) return kInvalid;
    const auto vm = vms_.remove(args.id);
    if (!vm) return kInvalid;
    (*vm)->destroy();
    --device_.vms;
    return {};
}

Result<void> File::vm_get_state(Call& call) {
    auto& args = call.args<drm_panthor_vm_get_state>();
    const auto* const vm = vms_.find(args.vm_id);
    if (vm == nullptr) return kInvalid;
    args.state = (*vm)->unusable ? DRM_PANTHOR_VM_STATE_UNUSABLE : DRM_PANTHOR_VM_STATE_USABLE;
    return {};
}

Result<void> File::tiler_heap_create(Call& call) {
    auto& args = call.args<drm_panthor_tiler_heap_create>();
    const auto* const vm = vms_.find(args.vm_id);
    if (vm == nullptr) return kInvalid;
    // The VM has heaps from here on, also if this one is refused.
    const auto heaps = (*vm)->make_tiler_heaps();
    if (!heaps) return std::unexpected(heaps.error());
    const auto created = (*heaps)->create({.initial_chunks = args.initial_chunk_count,
                                           .chunk_bytes = args.chunk_size,
                                           .chunks_max = args.max_chunks});
    if (!created) return std::unexpected(created.error());
    args.handle = args.vm_id << kHeapHandleVmShift | created->id;
    args.tiler_heap_ctx_gpu_va = created->context_va;
    args.first_heap_chunk_gpu_va = created->first_chunk_va;
    return {};
}

void File::tiler_heap_destroy(const std::shared_ptr<Call>& call) {
    const auto& args = call->args<drm_panthor_tiler_heap_destroy>();
    if (args.pad != 0) return call->complete(kInvalid);
    const auto* const found = vms_.find(args.handle >> kHeapHandleVmShift);
    if (found == nullptr) return call->complete(kInvalid);
    const std::shared_ptr<Vm> vm = *found;
    if (vm->tiler_heaps() == nullptr) return call->complete(std::unexpected(Errno::no_entry));
    const auto destroyed = vm->tiler_heaps()->destroy(args.handle & ((1U << kHeapHandleVmShift) - 1));
    if (!destroyed) return call->complete(destroyed);
    // Answered when the GPU can no longer touch the heap.
    vm->flush([call, vm] { call->complete({}); });
}

Result<void> File::bo_create(Call& call) {
    auto& args = call.args<drm_panthor_bo_create>();
    constexpr std::uint32_t kFlags = DRM_PANTHOR_BO_NO_MMAP;
    if (args.size == 0 || args.pad != 0 || (args.flags & ~kFlags) != 0) return kInvalid;
    std::uint64_t exclusive_vm = 0;
    if (args.exclusive_vm_id != 0) {
        const auto* const vm = vms_.find(args.exclusive_vm_id);
        if (vm == nullptr) return kInvalid;
        exclusive_vm = (*vm)->tag();
    }
    if (args.size > kBufferBytesMax) return std::unexpected(Errno::no_memory);
    auto buffer = device_.make_buffer({.bytes = args.size,
                                       .no_mmap = (args.flags & DRM_PANTHOR_BO_NO_MMAP) != 0,
                                       .exclusive_vm = exclusive_vm},
                                      drm::Residency::Use::evictable);
    if (!buffer) return std::unexpected(buffer.error());
    const std::uint64_t bytes = (*buffer)->size();
    const auto handle = buffers_.insert(*buffer);
    if (!handle) return std::unexpected(handle.error());
    args.size = bytes;
    args.handle = *handle;
    return {};
}

Result<void> File::bo_mmap_offset(Call& call) {
    auto& args = call.args<drm_panthor_bo_mmap_offset>();
    if (args.pad != 0) return kInvalid;
    const auto* const buffer = buffers_.find(args.handle);
    if (buffer == nullptr) return std::unexpected(Errno::no_entry);
    if ((*buffer)->no_mmap()) return std::unexpected(Errno::permission);
    const auto offset = device_.mmap_offsets().offset_of(**buffer);
    if (!offset) return std::unexpected(offset.error());
    args.offset = *offset;
    return {};
}

Result<void> File::bo_set_label(Call& call) {
    const auto& args = call.args<drm_panthor_bo_set_label>();
    if (args.pad != 0) return kInvalid;
    const auto* const buffer = buffers_.find(args.handle);
    if (buffer == nullptr) return std::unexpected(Errno::no_entry);
    if (args.label == 0) {
        (*buffer)->label.reset();
        return {};
    }
    const auto* const label = reinterpret_cast<const char*>(args.label);
    const std::size_t length = ::strnlen(label, kLabelBytesMax);
    if (length == kLabelBytesMax) return std::unexpected(Errno::too_big);
    (*buffer)->label.emplace(label, length);
    return {};
}

Result<void> File::set_user_mmio_offset(Call& call) {
    const std::uint64_t offset = call.args<drm_panthor_set_user_mmio_offset>().offset;
    if (offset != kUserMmioOffset32 && offset != kUserMmioOffset64) return kInvalid;
    user_mmio_offset_ = offset;
    return {};
}

std::uint8_t File::allowed_priorities() {
    const bool nice =
        core_.opener().may_nice || (core_.master() != nullptr && core_.master()->is_current_master());
    return nice ? kPrioritiesOfAll | kPrioritiesOfTheNice : kPrioritiesOfAll;
}

Result<void> File::group_create(Call& call) {
    auto& args = call.args<drm_panthor_group_create>();
    constexpr std::uint32_t kFlags =
        DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT | DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD;
    const bool user_submit = (args.flags & DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT) != 0;
    const bool has_eventfd = (args.flags & DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD) != 0;
    if (args.queues.count == 0 || args.queues.count > 32) return kInvalid;
    if (args.priority > PANTHOR_GROUP_PRIORITY_REALTIME) return kInvalid;
    if ((allowed_priorities() >> args.priority & 1U) == 0) return std::unexpected(Errno::access);
    if ((args.flags & ~kFlags) != 0 || args.pad != 0 || (has_eventfd && !user_submit)) return kInvalid;

    const auto info = device_.gpu_info();
    if ((args.compute_core_mask & ~info.shader_present) != 0 ||
        (args.fragment_core_mask & ~info.shader_present) != 0 ||
        (args.tiler_core_mask & ~info.tiler_present) != 0)
        return kInvalid;
    if (std::popcount(args.compute_core_mask) < args.max_compute_cores ||
        std::popcount(args.fragment_core_mask) < args.max_fragment_cores ||
        std::popcount(args.tiler_core_mask) < args.max_tiler_cores)
        return kInvalid;
    // More queues than streams would pass the kernel's check and could never run.
    if (args.queues.count > device_.firmware().streams_per_group()) return kInvalid;

    GroupOptions options{.user_submit = user_submit,
                         .priority = args.priority,
                         .compute_core_mask = args.compute_core_mask,
                         .fragment_core_mask = args.fragment_core_mask,
                         .tiler_core_mask = args.tiler_core_mask,
                         .max_compute_cores = args.max_compute_cores,
                         .max_fragment_cores = args.max_fragment_cores,
                         .max_tiler_cores = args.max_tiler_cores};
    if (user_submit) {
        auto sync_update = call.take_eventfd(args.eventfd_sync_update);
        if (!sync_update) return std::unexpected(sync_update.error());
        auto group_state = call.take_eventfd(args.eventfd_group_state);
        if (!group_state) return std::unexpected(group_state.error());
        options.sync_update_eventfd = std::move(*sync_update);
        options.group_state_eventfd = std::move(*group_state);
        if (has_eventfd) {
            options.doorbell_eventfd = call.take_fd(args.eventfd_doorbell);
            if (const auto sound = base::check_eventfd(options.doorbell_eventfd.get()); !sound) return sound;
        }
    }
    const auto* const vm = vms_.find(args.vm_id);
    if (vm == nullptr) return kInvalid;
    if (groups_.size() == kGroupsMax) return std::unexpected(Errno::busy);
    options.vm = *vm;

    auto* const queues = reinterpret_cast<drm_panthor_queue_create*>(args.queues.array);
    for (const auto& queue : std::span(queues, args.queues.count)) {
        if (queue.pad[0] != 0 || queue.pad[1] != 0 || queue.pad[2] != 0) return kInvalid;
        if (queue.ringbuf_size < kRingBytesMin || queue.ringbuf_size > kRingBytesMax ||
            !std::has_single_bit(queue.ringbuf_size) || queue.priority > kQueuePriorityMax)
            return kInvalid;
        if (queue.ringbuf_offset != 0 || queue.user_io_offset != 0 || queue.doorbell_offset != 0)
            return kInvalid;
        options.queues.push_back({.priority = queue.priority, .ring_bytes = queue.ringbuf_size});
    }

    const auto group = Group::make(device_, std::move(options));
    if (!group) return std::unexpected(group.error());
    const auto handle = groups_.insert(*group);
    if (!handle) return std::unexpected(handle.error());
    args.group_handle = *handle;
    const drm::Opener& opener = core_.opener();
    (*group)->owner = {.pid = opener.pid, .process = opener.process, .handle = *handle};
    if (user_submit) {
        for (std::uint32_t i = 0; i < args.queues.count; ++i) {
            const auto offset = [&](QueueObject object) {
                return encode_offset({.object = object, .group_serial = (*group)->serial(), .queue = i}) -
                       DRM_PANTHOR_USER_MMIO_OFFSET + user_mmio_offset_;
            };
            queues[i].ringbuf_offset = offset(QueueObject::ring);
            queues[i].user_io_offset = offset(QueueObject::user_io);
            queues[i].doorbell_offset = offset(QueueObject::doorbell);
        }
    }
    return {};
}

Result<void> File::group_destroy(Call& call) {
    const auto& args = call.args<drm_panthor_group_destroy>();
    if (args.pad != 0) return kInvalid;
    const auto group = groups_.remove(args.group_handle);
    if (!group) return kInvalid;
    (*group)->end({.destroyed = true});
    return {};
}

Result<void> File::group_get_state(Call& call) {
    auto& args = call.args<drm_panthor_group_get_state>();
    const auto found = group(args.group_handle);
    if (args.pad != 0 || found == nullptr) return kInvalid;
    args = {.state = found->state_flags(), .fatal_queues = found->doom().fatal_queues};
    return {};
}

Result<void> File::group_kick(Call& call) {
    // An unknown handle is ignored, as in the series: the group may just have been destroyed.
    if (const auto found = group(call.args<drm_panthor_group_kick>().handle)) found->work_seen();
    return {};
}

Result<void> File::group_get_fault(Call& call) {
    auto& args = call.args<belfry_group_get_fault>();
    const auto found = group(args.group_handle);
    if (args.pad != 0 || found == nullptr) return kInvalid;
    const std::uint32_t handle = args.group_handle;
    args = found->fault();
    args.group_handle = handle;
    return {};
}

Result<void> File::device_info(Call& call) {
    call.args<belfry_device_info>() = device_.device_info();
    return {};
}

Group* File::group_by_serial(std::uint64_t serial) {
    Group* match = nullptr;
    groups_.for_each([&](std::uint32_t, const std::shared_ptr<Group>& group) {
        if (group->serial() == serial) match = group.get();
    });
    return match;
}

void File::mmap(const drm::MapRequest& request, drm::MapReply reply) {
    auto plan = plan_map(request);
    if (!plan) return reply(std::unexpected(plan.error()));
    if (plan->buffer == nullptr) return reply(plan->segments);
    core_.when_resident({plan->buffer}, [this, plan = *plan, reply = std::move(reply)](Result<void> there) {
        if (!there) return reply(std::unexpected(there.error()));
        // Memory that may be evicted is mapped from a file of its own, whose end can be seen. Else nobody
        // asks.
        const auto file = plan.buffer->residence.managed() ? device_.exports().open_buffer(plan.buffer)
                                                           : plan.buffer->duplicate_fd();
        if (!file) return reply(std::unexpected(file.error()));
        auto segments = plan.segments;
        segments.front().fd = file->get();
        reply(segments);
    });
    device_.run_work();
}

Result<File::MapPlan> File::plan_map(const drm::MapRequest& request) {
    if (request.bytes == 0 || request.offset % base::kPageBytes != 0) return kInvalid;
    if (request.offset >= user_mmio_offset_) {
        const std::uint64_t offset = request.offset - user_mmio_offset_ + DRM_PANTHOR_USER_MMIO_OFFSET;
        if (offset != DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET) return plan_map_of_queue(offset, request);
        if (request.bytes > base::kPageBytes || (request.protection & (PROT_WRITE | PROT_EXEC)) != 0)
            return kInvalid;
        return MapPlan{.segments = {{.fd = device_.flush_id_fd(),
                                     .fd_offset = 0,
                                     .bytes = base::kPageBytes,
                                     .access = base::Access::read}}};
    }

    if (drm::SubmitRings::is_offset(request.offset)) {
        auto segments = rings_.map(request);
        if (!segments) return std::unexpected(segments.error());
        return MapPlan{.segments = std::move(*segments)};
    }
    const drm::BufferPtr buffer = device_.mmap_offsets().find(request.offset);
    if (buffer == nullptr) return kInvalid;
    if (request.bytes > buffer->size()) return kInvalid;  // before rounding, which wraps
    if (!buffers_.is_open(*buffer)) return std::unexpected(Errno::access);
    return of_buffer(buffer, request.bytes);
}

Result<File::MapPlan> File::plan_map_of_queue(std::uint64_t offset, const drm::MapRequest& request) {
    const QueueOffset queue = decode_offset(offset);
    if (offset != encode_offset(queue) || (request.protection & PROT_EXEC) != 0) return kInvalid;
    Group* const group = group_by_serial(queue.group_serial);
    if (group == nullptr || !group->user_submit() || queue.queue >= group->queue_count()) return kInvalid;
    const std::uint64_t bytes = base::round_up_to_page(request.bytes);
    const std::uint64_t page = queue.queue * base::kPageBytes;
    using base::Access;
    using base::kPageBytes;
    switch (queue.object) {
        case QueueObject::doorbell:
            if (bytes != kPageBytes) return kInvalid;
            return MapPlan{.segments = {{.fd = group->doorbell_fd(),
                                         .fd_offset = 0,
                                         .bytes = bytes,
                                         .access = Access::read_write}}};
        case QueueObject::user_io:
            if (bytes != 2 * kPageBytes) return kInvalid;
            return MapPlan{.segments = {{.fd = group->inputs_fd(),
                                         .fd_offset = page,
                                         .bytes = kPageBytes,
                                         .access = Access::read_write},
                                        {.fd = group->outputs_fd(),
                                         .fd_offset = page,
                                         .bytes = kPageBytes,
                                         .access = Access::read}}};
        case QueueObject::ring: {
            const drm::BufferPtr& ring = group->queue(queue.queue).ring();
            if (request.bytes > ring->size()) return kInvalid;
            return of_buffer(ring, request.bytes);
        }
    }
    return kInvalid;
}

}  // namespace belfry::panthor
