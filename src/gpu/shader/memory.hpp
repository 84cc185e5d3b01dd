// Memory: how a core reaches the address space of the job that it runs. A small TLB before a Translation.
//
// Owns   host pointers to pages, valid while its core is in run(), and again in the next run if neither the
//        generation of translations nor the job has changed.
// Runs   on whatever thread runs the Core.
// Called by message instructions, with addresses that a shader made up.
//
// What lies at a host pointer belongs to programs that may write it at any moment: it is read once, into a
// register or a local. Naturally aligned accesses of up to 8 bytes do not tear.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/atomic.hpp"
#include "belfry/uapi/csf_exceptions.hpp"
#include "gpu/shader/translation.hpp"

namespace belfry::gpu::shader {

inline constexpr std::uint64_t kPageOffsetMask = kPageBytes - 1;

/// The address that LEA_* give for what lies outside of a resource. No GPU address looks like it: loads from
/// there give 0, stores go nowhere. The offset of an instruction cannot lead out of its 4 GiB.
inline constexpr std::uint64_t kSink = 0xffff'8000'8000'0000;
constexpr bool is_sink(std::uint64_t address) { return address >> 32 == kSink >> 32; }

class Memory {
  public:
    /// What the last access that failed ran into.
    struct Refusal {
        csf::Exception exception{};
        std::uint64_t address = 0;
        bool write = false;
    };

    /// From now on, pages are those of `translation`. What is known of pages stays: forget() it if another
    /// translation may say otherwise.
    void use(const Translation& translation) { translation_ = &translation; }
    void forget();

    /// The byte at `address`; the rest of its 4 KiB page follows. Null: see refusal().
    const std::byte* readable(std::uint64_t address) {
        const Entry& entry = read_[slot(address)];
        if (entry.page == address >> kPageShift) [[likely]]
            return entry.host + (address & kPageOffsetMask);
        return walk(address, kRead);
    }
    /// As readable(), of a page that may be read and written.
    std::byte* writable(std::uint64_t address) {
        const Entry& entry = write_[slot(address)];
        if (entry.page == address >> kPageShift) [[likely]]
            return entry.host + (address & kPageOffsetMask);
        return walk(address, kRead | kWrite);
    }
    /// Copies; the bytes may lie in several pages. False: see refusal(). A write may have been done in part.
    bool read(std::uint64_t address, void* into, std::size_t bytes);
    bool write(std::uint64_t address, const void* from, std::size_t bytes);

    [[nodiscard]] const Refusal& refusal() const { return refusal_; }

  private:
    static constexpr std::size_t kEntries = 512;
    struct Entry {
        std::uint64_t page = ~0ULL;  // no address has it
        std::byte* host = nullptr;
    };

    static std::size_t slot(std::uint64_t address) { return (address >> kPageShift) % kEntries; }
    std::byte* walk(std::uint64_t address, unsigned rights);

    const Translation* translation_ = nullptr;
    Refusal refusal_;
    std::array<Entry, kEntries> read_{};
    std::array<Entry, kEntries> write_{};
    /// Where stores to the sink go. Never read.
    alignas(64) std::array<std::byte, kPageBytes> dump_;
};

/// Reads a value that somebody may write at the same time.
template <typename T>
T load_from(const std::byte* host) {
    if (reinterpret_cast<std::uintptr_t>(host) % sizeof(T) == 0) [[likely]]
        return base::load(*reinterpret_cast<const T*>(host), base::kRelaxed);
    T value;
    for (std::size_t i = 0; i < sizeof value; ++i)
        reinterpret_cast<std::byte*>(&value)[i] = base::load(host[i], base::kRelaxed);
    return value;
}

template <typename T>
void store_to(std::byte* host, T value) {
    if (reinterpret_cast<std::uintptr_t>(host) % sizeof(T) == 0) [[likely]] {
        base::store(*reinterpret_cast<T*>(host), value, base::kRelaxed);
        return;
    }
    for (std::size_t i = 0; i < sizeof value; ++i)
        base::store(host[i], reinterpret_cast<const std::byte*>(&value)[i], base::kRelaxed);
}

}  // namespace belfry::gpu::shader
