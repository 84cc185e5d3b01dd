#include "drm/sync_ops.hpp"

namespace belfry::drm {

bool Dependencies::ready() {
    while (!fences_.empty()) {
        if (signalled_.pending()) return false;
        if (fences_.back()->add_callback(signalled_)) return false;
        fences_.pop_back();
    }
    return true;
}

const SyncOps::Signal* SyncOps::find(std::uint32_t handle, std::uint64_t point) const {
    const auto found = index_.find({handle, point});
    return found != index_.end() ? &signals_[found->second] : nullptr;
}

Result<void> SyncOps::collect_signal(std::uint32_t handle, std::uint64_t point) {
    if (find(handle, point) != nullptr) return {};
    auto signal = make_signal(handle, point);
    if (!signal) return std::unexpected(signal.error());
    index_.emplace(std::pair{handle, point}, signals_.size());
    signals_.push_back(std::move(*signal));
    return {};
}

Result<SyncOps::Signal> SyncOps::make_signal(std::uint32_t handle, std::uint64_t point) {
    if (ForeignSyncobjs* const foreign = syncobjs_->foreign()) {
        auto prepared = foreign->prepare(handle, point);
        if (!prepared)
            return std::unexpected(prepared.error() == Errno::no_entry ? Errno::invalid : prepared.error());
        auto present = foreign->find_point(handle, point);
        return Signal{.point = point,
                      .fence = present ? std::move(*present) : nullptr,
                      .foreign = std::move(*prepared)};
    }
    SyncobjPtr syncobj = syncobjs_->find(handle);
    if (syncobj == nullptr) return std::unexpected(Errno::invalid);
    auto present = syncobj->find_point(point);
    return Signal{.syncobj = std::move(syncobj),
                  .point = point,
                  .node = ChainNode::make(),
                  .fence = present ? std::move(*present) : nullptr};
}

Result<FencePtr> SyncOps::resolve_wait(std::uint32_t handle, std::uint64_t point) const {
    if (const Signal* const signal = find(handle, point)) {
        if (signal->fence == nullptr) return std::unexpected(Errno::invalid);
        return signal->fence;
    }
    if (ForeignSyncobjs* const foreign = syncobjs_->foreign()) return foreign->find_point(handle, point);
    const SyncobjPtr syncobj = syncobjs_->find(handle);
    if (syncobj == nullptr) return std::unexpected(Errno::no_entry);
    return syncobj->find_point(point);
}

void SyncOps::armed(std::uint32_t handle, std::uint64_t point, const FencePtr& finished) {
    signals_[index_.at({handle, point})].fence = finished;
}

void SyncOps::all_armed(const FencePtr& finished) {
    for (Signal& signal : signals_) signal.fence = finished;
}

void SyncOps::publish() {
    for (Signal& signal : signals_) {
        if (signal.foreign != nullptr)
            signal.foreign.release()->publish(std::move(signal.fence));
        else if (signal.point != 0)
            signal.syncobj->add_point(std::move(signal.node), std::move(signal.fence), signal.point);
        else
            signal.syncobj->replace(std::move(signal.fence));
    }
}

}  // namespace belfry::drm
