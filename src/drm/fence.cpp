#include "drm/fence.hpp"

#include "base/check.hpp"

namespace belfry::drm {

void FenceCallback::cancel() {
    unlink();
    fence_.reset();
}

bool Fence::is_signalled() {
    if (!signalled_) poll();
    return signalled_;
}

int Fence::status() {
    if (!is_signalled()) return 0;
    return error_ ? -static_cast<int>(*error_) : 1;
}

void Fence::signal(std::uint64_t now_ns, std::optional<Errno> error) {
    BELFRY_CHECK(!signalled_);
    signalled_ = true;
    error_ = error;
    timestamp_ns_ = now_ns;
    const FencePtr self(this);  // a callback may drop the last reference
    while (!callbacks_.empty()) {
        FenceCallback& callback = callbacks_.front();
        callback.cancel();
        const auto signalled = callback.signalled_;  // the callback may destroy its holder
        signalled();
    }
}

bool Fence::add_callback(FenceCallback& callback) {
    BELFRY_CHECK(!callback.pending());
    if (is_signalled()) return false;
    if (!signalling_enabled_) {
        signalling_enabled_ = true;
        enable_signalling();
        if (signalled_) return false;
    }
    callback.fence_ = this;
    callbacks_.push_back(callback);
    return true;
}

void Fence::set_number(std::uint64_t context, std::uint64_t seqno) {
    context_ = context;
    seqno_ = seqno;
}

FencePtr signalled_stub(std::uint64_t timestamp_ns) {
    auto stub = Fence::make(0, 0);
    stub->signal(timestamp_ns);
    return stub;
}

}  // namespace belfry::drm
