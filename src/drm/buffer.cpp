#include "drm/buffer.hpp"

#include <iterator>
#include <new>
#include <utility>

#include "base/check.hpp"

namespace belfry::drm {

BufferStats::~BufferStats() { BELFRY_CHECK(count_ == 0 && bytes_ == 0); }

base::Result<BufferPtr> Buffer::make(BufferStats& stats, const Options& options) {
    if (options.bytes == 0) return std::unexpected(base::Errno::invalid);
    // Before rounding, so that nothing overflows.
    if (options.bytes > kBytesMax) return std::unexpected(base::Errno::no_memory);
    auto memory = base::make_shared_memory(options.name, base::round_up_to_page(options.bytes),
                                           base::Sharing::writable);
    if (!memory) return std::unexpected(memory.error());
    auto* const buffer = new (std::nothrow) Buffer(stats, options, std::move(*memory));
    if (buffer == nullptr) return std::unexpected(base::Errno::no_memory);
    return BufferPtr(buffer);
}

Buffer::Buffer(BufferStats& stats, const Options& options, base::SharedMemory memory)
    : stats_(stats),
      memory_(std::move(memory)),
      no_mmap_(options.no_mmap),
      exclusive_vm_(options.exclusive_vm) {
    ++stats_.count_;
    stats_.bytes_ += size();
}

Buffer::~Buffer() {
    if (offsets_ != nullptr) offsets_->release(*this);
    BELFRY_CHECK(stats_.count_ > 0 && stats_.bytes_ >= size());
    --stats_.count_;
    stats_.bytes_ -= size();
}

MmapOffsets::MmapOffsets() {
    auto* const all = new Piece;
    all->start = kFirst;
    all->bytes = kBytes;
    pieces_.insert(*all);
    free_.insert(*all);
}

MmapOffsets::~MmapOffsets() {
    BELFRY_CHECK(pieces_.size() == 1 && free_.size() == 1);  // no buffer is left
    free_.clear();
    pieces_.clear_and_dispose([](Piece* piece) { delete piece; });
}

base::Result<std::uint64_t> MmapOffsets::offset_of(Buffer& buffer) {
    if (buffer.offsets_ != nullptr) {
        BELFRY_CHECK(buffer.offsets_ == this);
        return buffer.mmap_offset_;
    }
    const auto fitting = free_.lower_bound(buffer.size());
    if (fitting == free_.end()) return std::unexpected(base::Errno::no_memory);
    Piece& piece = *fitting;
    if (piece.bytes > buffer.size()) {
        auto* const rest = new (std::nothrow) Piece;
        if (rest == nullptr) return std::unexpected(base::Errno::no_memory);
        free_.erase(fitting);
        rest->start = piece.start + buffer.size();
        rest->bytes = piece.bytes - buffer.size();
        piece.bytes = buffer.size();
        pieces_.insert(*rest);
        free_.insert(*rest);
    } else {
        free_.erase(fitting);
    }
    piece.buffer = &buffer;
    buffer.offsets_ = this;
    buffer.mmap_offset_ = piece.start;
    return piece.start;
}

BufferPtr MmapOffsets::find(std::uint64_t offset) const {
    const auto found = pieces_.find(offset);
    return found == pieces_.end() ? BufferPtr() : BufferPtr(found->buffer);
}

void MmapOffsets::release(Buffer& buffer) {
    auto at = pieces_.find(buffer.mmap_offset_);
    BELFRY_CHECK(at != pieces_.end() && at->buffer == &buffer);
    at->buffer = nullptr;
    const auto join_next = [this](const auto& first) {
        const auto second = std::next(first);
        if (second == pieces_.end() || first->buffer != nullptr || second->buffer != nullptr) return;
        free_.erase(free_.iterator_to(*second));
        first->bytes += second->bytes;
        pieces_.erase_and_dispose(second, [](Piece* piece) { delete piece; });
    };
    join_next(at);
    if (at != pieces_.begin() && std::prev(at)->buffer == nullptr) {
        free_.insert(*at);  // join_next() takes it out again
        --at;
        free_.erase(free_.iterator_to(*at));  // its size, the key, is about to change
        join_next(at);
    }
    free_.insert(*at);
}

void MmapOffsets::check_invariants() const {
    std::uint64_t end = kFirst;
    std::size_t free = 0;
    bool free_before = false;
    for (const Piece& piece : pieces_) {
        BELFRY_CHECK(piece.start == end && piece.bytes > 0);
        end += piece.bytes;
        const bool is_free = piece.buffer == nullptr;
        BELFRY_CHECK(!(is_free && free_before));
        free_before = is_free;
        if (is_free) {
            ++free;
            continue;
        }
        BELFRY_CHECK(piece.buffer->offsets_ == this && piece.buffer->mmap_offset_ == piece.start);
        BELFRY_CHECK(piece.buffer->size() == piece.bytes);
    }
    BELFRY_CHECK(end == kFirst + kBytes);
    BELFRY_CHECK(free == free_.size());
}

}  // namespace belfry::drm
