// Buffer: a BO's memory, and the fake mmap offsets by which clients map BOs.
//
// Owned   by everybody who holds a BufferPtr: handles, mappings, jobs, page-table walkers.
// Runs    in the driver actor: the count is not atomic. The memory itself is shared with GPU and clients.
// Called  by drivers. Who may use which buffer (handles, exclusive VMs) is theirs to decide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <boost/intrusive/set.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include "base/memory.hpp"
#include "base/result.hpp"
#include "drm/reservation.hpp"
#include "drm/residence.hpp"

namespace belfry::drm {

class MmapOffsets;

/// What buffers there are. One for a device; outlives its buffers.
class BufferStats {
  public:
    BufferStats() = default;
    BufferStats(const BufferStats&) = delete;
    BufferStats& operator=(const BufferStats&) = delete;
    ~BufferStats();

    [[nodiscard]] std::uint64_t count() const { return count_; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  private:
    friend class Buffer;

    std::uint64_t count_ = 0;
    std::uint64_t bytes_ = 0;
};

class Buffer : public boost::intrusive_ref_counter<Buffer, boost::thread_unsafe_counter> {
  public:
    static constexpr std::uint64_t kBytesMax = std::uint64_t{1} << 40;

    struct Options {
        std::uint64_t bytes = 0;         ///< rounded up to whole pages
        bool no_mmap = false;            ///< clients cannot map it
        std::uint64_t exclusive_vm = 0;  ///< the driver's tag of the only VM that may bind it; 0 = any
        const char* name = "belfry-bo";  ///< as /proc/PID/maps shows it
    };
    /// Zeroed memory. EINVAL: no bytes; ENOMEM: more than kBytesMax, or no room; EMFILE.
    [[nodiscard]] static base::Result<BufferPtr> make(BufferStats& stats, const Options& options);

    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer();

    [[nodiscard]] std::uint64_t size() const { return memory_.mapping.size(); }
    [[nodiscard]] bool no_mmap() const { return no_mmap_; }
    [[nodiscard]] std::uint64_t exclusive_vm() const { return exclusive_vm_; }

    /// Our own read-write mapping: what the GPU works on. Clients write it too, so it is hostile memory. To
    /// be looked at only while the buffer is resident; where it lies never changes.
    [[nodiscard]] std::byte* data() const { return memory_.mapping.data(); }
    /// The memfd behind it. Sealed: its size never changes.
    [[nodiscard]] int fd() const { return memory_.fd.get(); }
    [[nodiscard]] base::Result<base::Fd> duplicate_fd() const { return memory_.fd.duplicate(); }
    /// What MmapOffsets has given it: where it lies among all buffers of the device that have an offset.
    [[nodiscard]] std::uint64_t mmap_offset() const { return mmap_offset_; }

    /// What clients wait for before they use it, as far as they said so: implicit synchronisation.
    Reservation reservation;
    /// What its program calls it.
    std::optional<std::string> label;

  private:
    friend class BufferNames;
    friend class BufferTable;
    friend class MmapOffsets;

    Buffer(BufferStats& stats, const Options& options, base::SharedMemory memory);

    BufferStats& stats_;
    base::SharedMemory memory_;
    bool no_mmap_;
    std::uint64_t exclusive_vm_;
    MmapOffsets* offsets_ = nullptr;  // who gave mmap_offset_; null if nobody did
    std::uint64_t mmap_offset_ = 0;
    std::uint32_t handles_ = 0;  // of all files
    std::uint32_t name_ = 0;     // of GEM_FLINK; 0 = none

  public:
    /// Whether it is in memory. Goes first, while there is a buffer to speak of.
    Residence residence{*this};
};

/// The offsets that clients give mmap for buffers: unique in a device, fixed for a buffer's life, free
/// afterwards. One for a device; outlives its buffers. Does not check whether the file that maps has a handle
/// of the buffer: that is the caller's (EACCES).
class MmapOffsets {
  public:
    /// 32-bit offsets never name a buffer. Nor does the first megabyte above them: on a board the driver's
    /// own buffers have those, and programs that look at the low 32 bits take 0 for "no offset".
    static constexpr std::uint64_t kFirst = (std::uint64_t{1} << 32) + (1U << 20);
    static constexpr std::uint64_t kBytes = std::uint64_t{256} << 32;

    MmapOffsets();
    MmapOffsets(const MmapOffsets&) = delete;
    MmapOffsets& operator=(const MmapOffsets&) = delete;
    ~MmapOffsets();

    /// The buffer's offset; the same for each call. ENOMEM: no room left.
    [[nodiscard]] base::Result<std::uint64_t> offset_of(Buffer& buffer);
    /// The buffer whose offset is exactly `offset`, or null.
    [[nodiscard]] BufferPtr find(std::uint64_t offset) const;

    void check_invariants() const;

  private:
    friend class Buffer;

    /// A piece of the offset space. The pieces lie end to end, and no two free ones touch. A buffer's piece
    /// turns into a free one when the buffer goes, so nothing is allocated then: that may be on a signalling
    /// path.
    struct ByStart;
    struct BySize;
    struct Piece : boost::intrusive::set_base_hook<boost::intrusive::tag<ByStart>>,
                   boost::intrusive::set_base_hook<boost::intrusive::tag<BySize>> {
        std::uint64_t start = 0;
        std::uint64_t bytes = 0;
        Buffer* buffer = nullptr;  // null: free
    };
    struct StartOf {
        using type = std::uint64_t;
        const type& operator()(const Piece& piece) const { return piece.start; }
    };
    struct SizeOf {
        using type = std::uint64_t;
        const type& operator()(const Piece& piece) const { return piece.bytes; }
    };

    void release(Buffer& buffer);

    boost::intrusive::set<
        Piece, boost::intrusive::key_of_value<StartOf>,
        boost::intrusive::base_hook<boost::intrusive::set_base_hook<boost::intrusive::tag<ByStart>>>>
        pieces_;
    boost::intrusive::multiset<
        Piece, boost::intrusive::key_of_value<SizeOf>,
        boost::intrusive::base_hook<boost::intrusive::set_base_hook<boost::intrusive::tag<BySize>>>>
        free_;  // for best fit
};

}  // namespace belfry::drm
