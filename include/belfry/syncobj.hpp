// Syncobj: a DRM syncobj, by which kernel-mode jobs wait and signal; binary, or a timeline of points.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "belfry/error.hpp"
#include "belfry/export.hpp"

namespace belfry {

class Device;
namespace client {
struct Connection;
}

/// Move-only. `point` 0 means the syncobj's whole present fence, everything else a point of its timeline.
class BELFRY_EXPORT Syncobj {
  public:
    Syncobj(Syncobj&&) noexcept;
    Syncobj& operator=(Syncobj&&) noexcept;
    ~Syncobj();

    /// Sleeps until the fence of `point` has signalled; fences that fail also signal. ETIME: not in time.
    /// EINVAL: there is no such fence yet. No timeout: no limit.
    [[nodiscard]] Result<void> wait(std::uint64_t point = 0,
                                    std::optional<std::chrono::nanoseconds> timeout = {}) const;
    /// The same, but first until there is a fence: for what XGS queues signal, which comes late.
    [[nodiscard]] Result<void> wait_for_submit(std::uint64_t point = 0,
                                               std::optional<std::chrono::nanoseconds> timeout = {}) const;
    /// Has `eventfd` rung, once, when the fence of `point` has signalled, also if there is no such fence yet.
    /// The eventfd may be closed afterwards. ENOMEM: 1024 such requests of the file are pending; EINVAL: a
    /// kernel's node before Linux 6.6.
    [[nodiscard]] Result<void> ring_eventfd(int eventfd, std::uint64_t point = 0) const;
    /// Signals from the CPU: replaces the fence (0), or adds a signalled point.
    [[nodiscard]] Result<void> signal(std::uint64_t point = 0) const;
    /// Drops the fence.
    [[nodiscard]] Result<void> reset() const;
    /// The highest point that is signalled with all before it; 0 if it is no timeline.
    [[nodiscard]] Result<std::uint64_t> query() const;

    [[nodiscard]] std::uint32_t handle() const { return handle_; }

  private:
    friend class Device;
    Syncobj(std::shared_ptr<client::Connection> connection, std::uint32_t handle);
    [[nodiscard]] Result<void> wait(std::uint64_t point, std::optional<std::chrono::nanoseconds> timeout,
                                    std::uint32_t flags) const;
    std::shared_ptr<client::Connection> connection_;
    std::uint32_t handle_ = 0;
};

}  // namespace belfry
