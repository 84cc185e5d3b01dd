#include "drm/sw_sync.hpp"

#include <algorithm>
#include <new>

#include "base/check.hpp"
#include "belfry/uapi/sw_sync.h"

namespace belfry::drm {

using namespace uapi;

void SwSyncFence::set_deadline(std::uint64_t deadline_ns) {
    if (!is_signalled()) deadline_ns_ = std::min(deadline_ns_.value_or(deadline_ns), deadline_ns);
}

Result<std::unique_ptr<File>> SwSyncNode::open(const Opener&) { return std::make_unique<SwSyncFile>(*this); }

SwSyncFile::~SwSyncFile() {
    signal_first([](const SwSyncFence&) { return true; }, Errno::no_entry);
    node_.after_each_();
}

void SwSyncFile::ioctl(const std::shared_ptr<Call>& call) {
    Result<void> result;
    try {
        switch (call->request()) {
            case SW_SYNC_IOC_CREATE_FENCE: result = create_fence(*call); break;
            case SW_SYNC_IOC_INC:          result = inc(*call); break;
            case SW_SYNC_GET_DEADLINE:     result = get_deadline(*call); break;
            default:                       result = std::unexpected(Errno::not_a_tty);
        }
    } catch (const std::bad_alloc&) {
        result = std::unexpected(Errno::no_memory);
    }
    call->complete(result);
    node_.after_each_();
}

void SwSyncFile::mmap(const MapRequest&, MapReply reply) { reply(std::unexpected(Errno::no_device)); }

Result<void> SwSyncFile::create_fence(Call& call) {
    auto& args = call.args<sw_sync_create_fence_data>();
    auto file = node_.exports_.export_fence(fence_at(args.value));
    if (!file) return std::unexpected(file.error());
    args.fence = call.give_fd(std::move(*file));
    return {};
}

FencePtr SwSyncFile::fence_at(std::uint32_t value) {
    // The kernel compares as 32-bit numbers that wrap: half of all values lie ahead, the others have passed.
    const auto ahead = static_cast<std::int32_t>(value - static_cast<std::uint32_t>(value_));
    if (ahead <= 0) {
        FencePtr reached(new SwSyncFence(context_, value));
        reached->signal(node_.timers_.now());
        return reached;
    }
    const std::uint64_t seqno = value_ + static_cast<std::uint64_t>(ahead);
    const auto same = pending_.find(seqno);
    if (same != pending_.end()) return {&*same};
    const boost::intrusive_ptr<SwSyncFence> fence(new SwSyncFence(context_, seqno));
    pending_.insert(*fence);
    return fence;
}

Result<void> SwSyncFile::inc(Call& call) {
    value_ += call.args<sw_sync_inc>().value;
    signal_first([this](const SwSyncFence& fence) { return fence.seqno() <= value_; }, std::nullopt);
    return {};
}

template <typename Due>
void SwSyncFile::signal_first(Due due, std::optional<Errno> error) {
    while (!pending_.empty() && due(*pending_.begin())) {
        const boost::intrusive_ptr<SwSyncFence> fence(&*pending_.begin());
        fence->unlink();
        fence->signal(node_.timers_.now(), error);
    }
}

Result<void> SwSyncFile::get_deadline(Call& call) {
    auto& args = call.args<sw_sync_get_deadline>();
    if (args.deadline_ns != 0 || args.pad != 0) return std::unexpected(Errno::invalid);
    const SyncFile* const file = node_.exports_.find_sync_file(call.take_fd(args.fence_fd));
    const auto* const fence =
        file != nullptr ? dynamic_cast<const SwSyncFence*>(file->fence().get()) : nullptr;
    if (fence == nullptr) return std::unexpected(Errno::invalid);
    if (!fence->deadline()) return std::unexpected(Errno::no_entry);
    args.deadline_ns = *fence->deadline();
    return {};
}

void SwSyncFile::check_invariants() const {
    for (const SwSyncFence& fence : pending_)
        BELFRY_CHECK(fence.context() == context_ && fence.seqno() > value_ && fence.use_count() > 0);
}

}  // namespace belfry::drm
