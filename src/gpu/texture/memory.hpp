// Memory: how texture functions reach bytes. Whoever calls them hands one in.
#pragma once

#include <cstddef>
#include <cstdint>

namespace belfry::gpu::texture {

inline constexpr std::uint64_t kPageBytes = 4096;
/// No element of a plane and no descriptor is longer.
inline constexpr std::size_t kReadBytesMax = 32;

class Memory {
  public:
    /// The `bytes` (at most kReadBytesMax) at `address`, readable until the caller's instruction ends; null
    /// if any of them is not mapped for reading. The answer is either `scratch`, filled with a copy, or lies
    /// in a host page that holds the whole page around `address` and may be read from end to end.
    virtual const std::byte* read(std::uint64_t address, std::size_t bytes, std::byte* scratch) = 0;

  protected:
    ~Memory() = default;
};

}  // namespace belfry::gpu::texture
