// CoreRig: a device that has the core requests and no driver, and files of its two nodes.
//
// Owns    everything; nothing happens by itself. Invariants are checked after every request.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "belfry/uapi/dma_buf.h"
#include "belfry/uapi/drm.h"
#include "drm/core_ioctls.hpp"
#include "unit/test_call.hpp"
#include "unit/test_exports.hpp"

namespace belfry::drm {

class CoreClient {
  public:
    CoreClient(Device& device, BufferStats& buffers, NodeKind kind, const Opener& opener)
        : buffers_(buffers), file_(std::make_unique<CoreFile>(device, kind, opener)) {}

    /// A request that may be answered later; `target` for one to a dma-buf.
    template <typename Args>
    std::shared_ptr<TestCall> start(std::uint64_t request, const Args& args, std::vector<base::Fd> fds = {},
                                    base::Fd target = {}) {
        auto call = TestCall::make(static_cast<std::uint32_t>(request), args, std::move(fds));
        call->set_target(std::move(target));
        EXPECT_TRUE(core_ioctl(*file_, call));
        file_->buffers().check_invariants();
        return call;
    }
    /// A request that is answered at once: 0 or an errno. `args` get what comes back.
    template <typename Args>
    int ioctl(std::uint64_t request, Args& args, std::vector<base::Fd> fds = {}, base::Fd target = {}) {
        const auto call = start(request, args, std::move(fds), std::move(target));
        args = call->template args<Args>();
        if (!call->answered()) throw std::logic_error("not answered at once");
        return *call->answer();
    }
    template <typename Args>
    int call(std::uint64_t request, Args args) {
        return ioctl(request, args);
    }
    bool is_core(std::uint64_t request) {
        return core_ioctl(*file_, TestCall::make(static_cast<std::uint32_t>(request), uapi::drm_stats{}));
    }

    std::uint32_t buffer(std::uint64_t bytes = 4096, std::uint64_t exclusive_vm = 0) {
        return *file_->buffers().insert(
            *Buffer::make(buffers_, {.bytes = bytes, .exclusive_vm = exclusive_vm}));
    }
    int close(std::uint32_t handle) {
        return call(DRM_IOCTL_GEM_CLOSE, uapi::drm_gem_close{.handle = handle});
    }
    [[nodiscard]] bool master() const {
        return file_->master() != nullptr && file_->master()->is_current_master();
    }
    [[nodiscard]] CoreFile& file() { return *file_; }

  private:
    BufferStats& buffers_;
    std::unique_ptr<CoreFile> file_;
};

class CoreRig {
  public:
    CoreClient& open(NodeKind kind, const Opener& opener = {}) {
        return clients_.emplace_back(device, buffers, kind, opener);
    }
    void close(CoreClient& client) {
        clients_.remove_if([&](const CoreClient& other) { return &other == &client; });
    }

    TestExports host;
    Timers timers;
    FenceContexts contexts;
    BufferStats buffers;
    VersionInfo version{
        .major = 1, .minor = 5, .patchlevel = 0, .name = "test", .date = "0", .desc = "Test driver"};
    Exports exports{host};
    Device device{.version = version,
                  .unique = "test.gpu",
                  .exports = exports,
                  .timers = timers,
                  .fence_contexts = contexts};

  private:
    std::list<CoreClient> clients_;
};

}  // namespace belfry::drm
