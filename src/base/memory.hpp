// Shared memory: sealed memfds and mappings of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace belfry::base {

inline constexpr std::uint64_t kPageBytes = 4096;

constexpr std::uint64_t round_up_to_page(std::uint64_t bytes) {
    return (bytes + kPageBytes - 1) & ~(kPageBytes - 1);
}

/// What a mapping of a memfd allows.
enum class Access { read, read_write };

/// Owns one mapping; unmaps it.
class Mapping {
  public:
    Mapping() = default;
    Mapping(std::byte* data, std::size_t bytes) : data_(data), bytes_(bytes) {}
    Mapping(Mapping&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Mapping& operator=(Mapping&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~Mapping();

    [[nodiscard]] std::byte* data() const { return data_; }
    [[nodiscard]] std::size_t size() const { return bytes_; }
    [[nodiscard]] std::span<std::byte> bytes() const { return {data_, bytes_}; }
    explicit operator bool() const { return data_ != nullptr; }

  private:
    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
};

/// Maps `bytes` of `fd` from `offset` on, shared. Never touched pages cost no memory.
Result<Mapping> map_shared(int fd, std::uint64_t offset, std::size_t bytes, Access access);

/// A zeroed memfd with our own read-write mapping of it. Its size can never change again, so no client can
/// make an access of ours end in SIGBUS by truncating it.
struct SharedMemory {
    Fd fd;
    Mapping mapping;
};

/// Who else may write a SharedMemory that is handed out as a descriptor.
enum class Sharing {
    writable,   ///< whoever has the descriptor
    read_only,  ///< nobody: further writable mappings and writes are refused, ours stays
};

/// `bytes` must be a multiple of the page size. ENOMEM, EMFILE.
Result<SharedMemory> make_shared_memory(const char* name, std::size_t bytes, Sharing sharing);

}  // namespace belfry::base
