#include "drm/dma_buf_ioctls.hpp"

#include <cstring>
#include <iterator>
#include <new>
#include <optional>
#include <utility>

#include "belfry/uapi/dma_buf.h"
#include "drm/core_ioctls.hpp"
#include "drm/fence_merge.hpp"

namespace belfry::drm {

/// One SYNC that waits. One fence after the other: they all have to signal, so the order costs nothing.
class DmaBufWaits::Wait {
  public:
    Wait(DmaBufWaits& in, std::vector<FencePtr> fences, std::shared_ptr<Call> call)
        : in_(in),
          fences_(std::move(fences)),
          call_(std::move(call)),
          callback_([this] { wait_for_next(); }) {}
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() {
        if (call_) call_->when_cancelled(nullptr);
    }

    using Place = std::list<std::unique_ptr<Wait>>::iterator;
    void start(Place self) {
        self_ = self;
        call_->when_cancelled([this] { in_.waits_.erase(self_); });
        wait_for_next();
    }

  private:
    void wait_for_next() {
        while (!fences_.empty()) {
            const FencePtr fence = std::move(fences_.back());
            fences_.pop_back();
            if (fence->add_callback(callback_)) return;
        }
        const auto call = std::move(call_);
        in_.waits_.erase(self_);  // destroys this; last of all the call answers, which may start anything
        call->complete({});
    }

    DmaBufWaits& in_;
    std::vector<FencePtr> fences_;
    std::shared_ptr<Call> call_;
    FenceCallback callback_;
    Place self_;
};

DmaBufWaits::DmaBufWaits() = default;
DmaBufWaits::~DmaBufWaits() = default;

void DmaBufWaits::answer_after(std::vector<FencePtr> fences, const std::shared_ptr<Call>& call) {
    if (fences.empty()) return call->complete({});
    waits_.push_back(std::make_unique<Wait>(*this, std::move(fences), call));
    waits_.back()->start(std::prev(waits_.end()));
}

namespace {

using Usage = Reservation::Usage;

constexpr auto kInvalid = std::unexpected(Errno::invalid);

/// EXPORT_ and IMPORT_SYNC_FILE take the same flags. Who reads waits for writers, who writes for everybody;
/// and so an import for writing is what everybody waits for.
Result<void> check_sync_file_flags(std::uint32_t flags) {
    return (flags & ~DMA_BUF_SYNC_RW) == 0 && flags != 0 ? Result<void>() : kInvalid;
}

/// Nothing at once: the call was answered, or will be.
std::optional<Result<void>> sync(CoreFile& file, Buffer& buffer, const std::shared_ptr<Call>& call) {
    const std::uint64_t flags = call->args<uapi::dma_buf_sync>().flags;
    if ((flags & ~std::uint64_t{DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END}) != 0 || (flags & DMA_BUF_SYNC_RW) == 0)
        return kInvalid;
    if ((flags & DMA_BUF_SYNC_END) != 0) return Result<void>();  // memory is coherent
    const bool writes = (flags & DMA_BUF_SYNC_WRITE) != 0;
    file.dma_buf_waits().answer_after(buffer.reservation.fences(writes ? Usage::read : Usage::write), call);
    return std::nullopt;
}

Result<void> export_sync_file(CoreFile& file, Buffer& buffer, Call& call) {
    auto& args = call.args<uapi::dma_buf_sync_file>();
    if (const auto sound = check_sync_file_flags(args.flags); !sound) return sound;
    const bool writes = (args.flags & DMA_BUF_SYNC_WRITE) != 0;
    const auto fences = buffer.reservation.fences(writes ? Usage::read : Usage::write);
    Device& device = file.device();
    auto fd = device.exports.export_fence(fences.empty() ? signalled_stub(device.timers.now())
                                                         : merge_fences(device.fence_contexts, fences));
    if (!fd) return std::unexpected(fd.error());
    args.fd = call.give_fd(std::move(*fd));
    return {};
}

Result<void> import_sync_file(CoreFile& file, Buffer& buffer, Call& call) {
    const auto& args = call.args<uapi::dma_buf_sync_file>();
    if (const auto sound = check_sync_file_flags(args.flags); !sound) return sound;
    const base::Fd fd = call.take_fd(args.fd);
    const SyncFile* const sync_file = file.device().exports.find_sync_file(fd);
    if (sync_file == nullptr) return kInvalid;
    const bool writes = (args.flags & DMA_BUF_SYNC_WRITE) != 0;
    for (const FencePtr& fence : unwrap_fence(sync_file->fence()))
        buffer.reservation.add(fence, writes ? Usage::write : Usage::read);
    return {};
}

/// For fdinfo and debugfs, which Belfry has not: checked, and not kept.
Result<void> set_name(Call& call) {
    constexpr std::size_t kNameBytesMax = 32;  // with its NUL
    const auto* const name = reinterpret_cast<const char*>(call.args<uapi::dma_buf_set_name>().name);
    return ::strnlen(name, kNameBytesMax) < kNameBytesMax ? Result<void>() : kInvalid;
}

}  // namespace

void dma_buf_ioctl(CoreFile& file, const std::shared_ptr<Call>& call) {
    const BufferPtr buffer = file.device().exports.find_buffer(call->target());
    if (buffer == nullptr) return call->complete(std::unexpected(Errno::not_a_tty));
    std::optional<Result<void>> result;
    try {
        switch (call->request()) {
            case DMA_BUF_IOCTL_SYNC:             result = sync(file, *buffer, call); break;
            case DMA_BUF_SET_NAME_A:
            case DMA_BUF_SET_NAME_B:             result = set_name(*call); break;
            case DMA_BUF_IOCTL_EXPORT_SYNC_FILE: result = export_sync_file(file, *buffer, *call); break;
            case DMA_BUF_IOCTL_IMPORT_SYNC_FILE: result = import_sync_file(file, *buffer, *call); break;
            default:                             result = std::unexpected(Errno::not_a_tty); break;
        }
    } catch (const std::bad_alloc&) {
        result = std::unexpected(Errno::no_memory);
    }
    if (result) call->complete(*result);
}

}  // namespace belfry::drm
