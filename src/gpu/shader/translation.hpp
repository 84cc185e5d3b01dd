// Translation: how shader cores reach what lies outside of them: memory, and the time. Implemented by whoever
// owns the page tables (gpu/), used by the TLB of a Core (memory.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

#include "belfry/uapi/csf_exceptions.hpp"

namespace belfry::gpu::shader {

inline constexpr unsigned kPageShift = 12;
inline constexpr std::uint64_t kPageBytes = 1U << kPageShift;
inline constexpr unsigned kAddressBits = 48;

/// Rights as bits.
enum Rights : std::uint8_t { kRead = 1, kWrite = 2, kExecute = 4 };

struct Page {
    std::byte* host = nullptr;  ///< null: nothing is mapped there
    std::uint8_t rights = 0;    ///< Rights
    /// Why an access that `rights` does not cover, or any if there is no page, is a fault.
    csf::Exception refusal{};
};

class Translation {
  public:
    virtual ~Translation() = default;
    /// The page that holds `address`. Called on any core's thread, with as many at once as there are cores.
    /// What it returns may be used until the core has left its task (Core::run has returned): an unmap waits
    /// for that.
    [[nodiscard]] virtual Page page(std::uint64_t address) const = 0;
    /// The timestamp counter, as shaders see it. Called as page() is.
    [[nodiscard]] virtual std::uint64_t timestamp() const { return 0; }
};

}  // namespace belfry::gpu::shader
