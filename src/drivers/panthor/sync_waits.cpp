#include "drivers/panthor/sync_waits.hpp"

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "belfry/uapi/user_queue.h"
#include "drivers/panthor/vm.hpp"

namespace belfry::panthor {
namespace {

constexpr std::uint64_t kMissedNs = 1'000'000'000;

}  // namespace

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

SyncWait::~SyncWait() {
    if (waiting()) condition_.vm->sync_waits().all_.remove(*this);
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

void VmSyncWaits::mappings_changed() {
    if (!empty()) all_.hooks_.wake(*this);
}

void VmSyncWaits::advance() {
    for (auto at = waits_.begin(); at != waits_.end();) all_.locate(*at++);
    all_.recheck();
}

SyncWaits::SyncWaits(drm::Timers& timers, Hooks hooks)
    : timers_(timers), hooks_(std::move(hooks)), missed_timer_(timers, [this] {
          // What has been reported is not missed, however late its interrupt.
          hooks_.catch_up();
          hooks_.wake(find_missed_);
      }) {}

void SyncWaits::add(SyncWait& wait) {
    if (!locate(wait)) return;
    wait.condition_.vm->sync_waits().waits_.push_back(wait);
    if (!listening_) {
        listening_ = true;
        hooks_.listen(true);
        missed_timer_.arm(timers_.now() + kMissedNs);
    }
    // Listening before the look: an update in between is found, or reported
    // (facts/firmware-and-scheduling.md 7, F1 and B8). Pairs with the fence of the GPU's update.
    base::full_fence();
    if (wait.look() == SyncWait::State::satisfied) end(wait);
}

bool SyncWaits::locate(SyncWait& wait) {
    const SyncCondition& condition = wait.condition_;
    const drm::VaMapping* const mapping = find_sync_mapping(*condition.vm, condition.address, condition.wide);
    if (mapping == nullptr) {
        end(wait);
        return false;
    }
    using Until = drm::ValueWait::Until;
    const bool greater = condition.until == csf::Condition::gt;
    const bool most = condition.until == csf::Condition::le;
    waits_.add(wait, mapping->buffer, mapping->buffer_offset + (condition.address - mapping->range.va),
               condition.wide,
               most                                  ? Until::at_most
               : greater && condition.value == ~0ULL ? Until::never
                                                     : Until::at_least,
               condition.value + (greater ? 1 : 0));
    return true;
}

void SyncWaits::remove(SyncWait& wait) {
    drm::ValueWaits::remove(wait);
    wait.SyncWaitHook::unlink();
    if (empty()) hooks_.wake(disarm_);
}

void SyncWaits::end(SyncWait& wait) {
    remove(wait);
    hooks_.wake(wait.waiter_);
}

void SyncWaits::updated(const std::byte* object) {
    if (empty()) return;
    // Objects of the two sizes may overlap, and the driver's waits need not be aligned as the GPU's are.
    const auto at = reinterpret_cast<std::uintptr_t>(object);
    waits_.look(at & ~std::uintptr_t{7}, at + sizeof(uapi::belfry_sync_object64) - 1,
                [this](drm::ValueWait& wait) { end(static_cast<SyncWait&>(wait)); });
}

void SyncWaits::reported(const Vm& vm, std::uint64_t address) {
    // It was bound to something else meanwhile: the flush has all looked at (Vm::Flush).
    const drm::VaMapping* const mapping = vm.space().find(address);
    if (mapping != nullptr)
        updated(mapping->buffer->data() + mapping->buffer_offset + (address - mapping->range.va));
}

void SyncWaits::advance() {
    base::full_fence();
    waits_.look_at_all([this](drm::ValueWait& wait) { end(static_cast<SyncWait&>(wait)); });
}

void SyncWaits::FindMissed::advance() {
    if (!waits.listening_) return;  // nobody waits any more
    base::full_fence();
    waits.waits_.look_at_all([this](drm::ValueWait& wait) {
        ++waits.missed_;
        waits.end(static_cast<SyncWait&>(wait));
    });
    waits.missed_timer_.arm(waits.timers_.now() + kMissedNs);
}

void SyncWaits::Disarm::advance() {
    if (!waits.empty() || !waits.listening_) return;
    waits.listening_ = false;
    waits.hooks_.listen(false);
    waits.missed_timer_.cancel();
}

}  // namespace belfry::panthor
