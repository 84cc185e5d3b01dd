#include "drivers/panthor/sync_waits.hpp"

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "belfry/uapi/user_queue.h"
#include "drivers/panthor/vm.hpp"

namespace belfry::panthor {

const drm::VaMapping* find_sync_mapping(const Vm& vm, std::uint64_t address, bool wide, SyncAccess access) {
    const std::uint64_t bytes =
        wide ? sizeof(uapi::belfry_sync_object64) : sizeof(uapi::belfry_sync_object32);
    if (address % (wide ? sizeof(std::uint64_t) : sizeof(std::uint32_t)) != 0) return nullptr;
    const drm::VaMapping* const mapping = vm.space().find(address);
    if (mapping == nullptr || mapping->range.end() - address < bytes) return nullptr;
    if (access == SyncAccess::write && (mapping->flags & uapi::DRM_PANTHOR_VM_BIND_OP_MAP_READONLY) != 0)
        return nullptr;
    return mapping;
}

std::byte* find_sync_object(const Vm& vm, std::uint64_t address, bool wide, SyncAccess access) {
    const drm::VaMapping* const mapping = find_sync_mapping(vm, address, wide, access);
    if (mapping == nullptr) return nullptr;
    BELFRY_CHECK(mapping->buffer->residence.resident());
    return mapping->buffer->data() + mapping->buffer_offset + (address - mapping->range.va);
}

SyncWait::State SyncWait::look() const {
    const drm::VaMapping* const mapping =
        find_sync_mapping(*condition_.vm, condition_.address, condition_.wide);
    if (mapping == nullptr) return State::unmapped;
    if (!mapping->buffer->residence.resident()) return State::waiting;
    const std::byte* const object = find_sync_object(*condition_.vm, condition_.address, condition_.wide);
    // Acquire: pairs with the release of whoever updated the object.
    const std::uint64_t value =
        condition_.wide
            ? base::load(reinterpret_cast<const uapi::belfry_sync_object64*>(object)->value, base::kAcquire)
            : base::load(reinterpret_cast<const uapi::belfry_sync_object32*>(object)->value, base::kAcquire);
    return csf::sync_satisfied(condition_.until, value, condition_.value) ? State::satisfied : State::waiting;
}

void SyncWaits::add(SyncWait& wait) {
    waits_.push_back(wait);
    if (!listening_) {
        listening_ = true;
        hooks_.listen(true);
    }
    // Listening before the look: an update in between is found, or reported
    // (facts/firmware-and-scheduling.md 7, F1 and B8). Pairs with the fence of the GPU's update.
    base::full_fence();
    settle(wait);
}

void SyncWaits::advance() {
    base::full_fence();
    for (auto wait = waits_.begin(); wait != waits_.end();) settle(*wait++);
    if (!waits_.empty() || !listening_) return;
    listening_ = false;
    hooks_.listen(false);
}

void SyncWaits::settle(SyncWait& wait) {
    if (wait.look() == SyncWait::State::waiting) return;
    wait.unlink();
    hooks_.wake(wait.waiter_);
}

}  // namespace belfry::panthor
