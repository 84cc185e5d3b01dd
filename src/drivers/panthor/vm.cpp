#include "drivers/panthor/vm.hpp"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "base/check.hpp"
#include "drivers/panthor/device.hpp"

namespace belfry::panthor {
namespace {

constexpr std::uint64_t kFullBytes = 1ULL << Vm::kVaBits;
/// The driver's part is at least this.
constexpr std::uint64_t kKernelBytesMin = 256ULL << 20;
/// What a 64-bit program could use at most, as Linux on x86-64 has it (facts/uapi.md 1.5).
constexpr std::uint64_t kTaskBytes = 0x7fff'ffff'f000;

}  // namespace

Result<std::shared_ptr<Vm>> Vm::make(Device& device, std::uint64_t user_va_bytes) {
    if (user_va_bytes > kFullBytes - kKernelBytesMin) return std::unexpected(Errno::invalid);
    if (user_va_bytes == 0) user_va_bytes = kTaskBytes;
    // The driver's part is the largest power of two that is left; the program gets all below it.
    return std::make_shared<Vm>(device, kFullBytes - std::bit_floor(kFullBytes - user_va_bytes));
}

Vm::Vm(Device& device, std::uint64_t user_va_bytes)
    : device_(device),
      user_va_bytes_(user_va_bytes),
      tag_(device.next_serial()),
      kernel_free_{{user_va_bytes, kFullBytes - user_va_bytes}},
      space_({.va = 0, .bytes = kFullBytes}),
      memory_(device.residency()),
      binds_(device, *this),
      sync_waits_(device.sync_waits()) {}

// No flush: without a group on a slot the GPU has no translation of this VM that it could use.
Vm::~Vm() { *alive_ = false; }

Result<Vm::Reserve> Vm::reserve(const BindOp& op) {
    const drm::VaRange range{.va = op.va, .bytes = op.bytes};
    if (op.kind == BindOp::Kind::sync_only || !space_.contains(range)) return Reserve{};  // changes nothing
    const bool maps = op.kind == BindOp::Kind::map;
    auto pieces = drm::VaSpace::reserve(maps ? drm::VaStep::Kind::map : drm::VaStep::Kind::unmap);
    if (!pieces) return std::unexpected(pieces.error());
    if (!maps) return Reserve{.pieces = std::move(*pieces)};
    auto tables = PageTable::reserve(op.va, op.bytes);
    if (!tables) return std::unexpected(tables.error());
    return Reserve{
        .pieces = std::move(*pieces), .tables = std::move(*tables), .use = memory_.reserve(*op.buffer)};
}

Result<void> Vm::execute(BindOp op, Reserve reserve) {
    if (op.kind == BindOp::Kind::map && unusable) return std::unexpected(Errno::invalid);
    if (op.bytes == 0) return {};
    return op.kind == BindOp::Kind::unmap ? unmap(op.va, op.bytes, reserve) : map(std::move(op), reserve);
}

Result<void> Vm::map(BindOp op, Reserve& reserve) {
    // Where groups run on it, only what is in memory: the caller has seen to that, unless it is fresh.
    if (memory_.preempt_fence_pending()) device_.residency().commit(*op.buffer);
    return space_.map(
        {.range = {.va = op.va, .bytes = op.bytes},
         .buffer = std::move(op.buffer),
         .buffer_offset = op.buffer_offset,
         .flags = op.flags},
        reserve.pieces, [this, &reserve](const drm::VaStep& step) { apply(step, reserve); }, removed_);
}

Result<void> Vm::unmap(std::uint64_t va, std::uint64_t bytes, Reserve& reserve) {
    return space_.unmap(
        {.va = va, .bytes = bytes}, reserve.pieces,
        [this, &reserve](const drm::VaStep& step) { apply(step, reserve); }, removed_);
}

void Vm::apply(const drm::VaStep& step, Reserve& reserve) {
    sync_waits_.mappings_changed();
    const drm::VaMapping& mapping = step.mapping;
    if (step.kind == drm::VaStep::Kind::unmap) {
        tables_.unmap(mapping.range.va, mapping.range.bytes);
        return;
    }
    memory_.attach(*mapping.buffer, mapping.range.bytes, reserve.use);
    // What somebody waits for may lie in it: that can be looked at once it is in memory.
    if (!sync_waits_.empty()) device_.residency().restore(*mapping.buffer);
    tables_.map(mapping.range.va, mapping.buffer->data() + mapping.buffer_offset, mapping.range.bytes,
                {.read_only = (mapping.flags & uapi::DRM_PANTHOR_VM_BIND_OP_MAP_READONLY) != 0,
                 .no_exec = (mapping.flags & uapi::DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC) != 0},
                reserve.tables);
}

Result<std::uint64_t> Vm::map_kernel(const drm::BufferPtr& buffer, std::uint32_t flags) {
    auto piece = allocate_kernel_va(buffer->size());
    if (!piece) return std::unexpected(piece.error());
    const std::uint64_t va = piece->key();
    BindOp op{.kind = BindOp::Kind::map, .va = va, .bytes = buffer->size(), .buffer = buffer, .flags = flags};
    auto reserved = reserve(op);
    const auto mapped =
        reserved ? map(std::move(op), *reserved) : Result<void>(std::unexpected(reserved.error()));
    if (!mapped) {
        free_kernel_va(std::move(*piece));
        return std::unexpected(mapped.error());
    }
    return va;
}

void Vm::unmap_kernel(std::uint64_t va, std::uint64_t bytes) {
    KernelPieces freed{{va, bytes}};
    auto reserved = reserve({.kind = BindOp::Kind::unmap, .va = va, .bytes = bytes});
    if (reserved && unmap(va, bytes, *reserved)) kernel_freed_.push_back(freed.extract(freed.begin()));
}

/// The lowest that is free. There are as many pieces as the VM's groups and heaps have left holes: few.
Result<Vm::KernelPiece> Vm::allocate_kernel_va(std::uint64_t bytes) {
    const auto found =
        std::ranges::find_if(kernel_free_, [bytes](const auto& free) { return free.second >= bytes; });
    if (found == kernel_free_.end()) return std::unexpected(Errno::no_memory);
    if (found->second > bytes)
        kernel_free_.emplace_hint(std::next(found), found->first + bytes, found->second - bytes);
    auto piece = kernel_free_.extract(found);
    piece.mapped() = bytes;
    return piece;
}

void Vm::free_kernel_va(KernelPiece freed) {
    const auto [piece, inserted, node] = kernel_free_.insert(std::move(freed));
    BELFRY_CHECK(inserted);
    if (const auto next = std::next(piece);
        next != kernel_free_.end() && next->first == piece->first + piece->second) {
        piece->second += next->second;
        kernel_free_.erase(next);
    }
    if (piece == kernel_free_.begin()) return;
    if (const auto before = std::prev(piece); before->first + before->second == piece->first) {
        before->second += piece->second;
        kernel_free_.erase(piece);
    }
}

Vm::Flush::Flush(Vm& vm, std::function<void()> then) : vm_(vm), alive_(vm.alive_), then_(std::move(then)) {}

void Vm::Flush::done() {
    if (taken_ && *alive_) {
        if (--vm_.flushes_ == 0) vm_.tables_.release_retired();
        for (const drm::VaMapping& piece : removed_) vm_.memory_.detach(*piece.buffer, piece.range.bytes);
        // The GPU may have updated objects in what was unmapped, and reported an address that means nothing
        // any more, or something else.
        if (!removed_.empty()) vm_.device_.sync_waits().recheck();
        for (KernelPiece& piece : freed_) vm_.free_kernel_va(std::move(piece));
    }
    then_();
}

std::unique_ptr<Vm::Flush> Vm::make_flush(std::function<void()> then) {
    return std::make_unique<Flush>(*this, std::move(then));
}

void Vm::flush(std::function<void()> then) { flush(make_flush(std::move(then))); }

void Vm::flush(std::unique_ptr<Flush> flush) {
    if (removed_.empty() && kernel_freed_.empty()) return flush->done();
    ++flushes_;
    flush->taken_ = true;
    flush->removed_.append(removed_);
    flush->freed_.swap(kernel_freed_);
    device_.mmu().flush(*this, std::move(flush));
}

Result<TilerHeaps*> Vm::make_tiler_heaps() {
    if (tiler_heaps_ == nullptr) {
        auto heaps = std::make_unique<TilerHeaps>(*this, device_);
        if (const auto allocated = heaps->allocate(); !allocated) return std::unexpected(allocated.error());
        tiler_heaps_ = std::move(heaps);
    }
    return tiler_heaps_.get();
}

void Vm::destroy() {
    if (tiler_heaps_ == nullptr) return;
    tiler_heaps_->unmap_all();
    tiler_heaps_.reset();
    flush([] {});
}

void Vm::check_invariants() const {
    std::uint64_t end = 0;
    for (const auto& [va, bytes] : kernel_free_) {
        BELFRY_CHECK(va >= user_va_bytes_ && va > end && bytes > 0);
        end = va + bytes;
    }
    BELFRY_CHECK(end <= kFullBytes);
}

}  // namespace belfry::panthor
