#include "drm/buffer_table.hpp"

#include "base/check.hpp"

namespace belfry::drm {

base::Result<std::uint32_t> BufferNames::name_of(Buffer& buffer) {
    if (buffer.name_ == 0) {
        const auto name = buffers_.insert(&buffer);
        if (!name) return name;
        buffer.name_ = *name;
    }
    return buffer.name_;
}

BufferPtr BufferNames::find(std::uint32_t name) const {
    Buffer* const* const buffer = buffers_.find(name);
    return buffer != nullptr ? BufferPtr(*buffer) : BufferPtr();
}

void BufferNames::forget(Buffer& buffer) {
    if (buffer.name_ != 0) buffers_.remove(buffer.name_);
    buffer.name_ = 0;
}

BufferTable::~BufferTable() {
    handles_.for_each([this](std::uint32_t, const BufferPtr& buffer) { drop(*buffer); });
}

base::Result<std::uint32_t> BufferTable::insert(const BufferPtr& buffer) {
    const auto open = open_.try_emplace(buffer.get()).first;
    const auto handle = handles_.insert(buffer);
    if (!handle) {
        if (open->second.handles == 0) open_.erase(open);
        return handle;
    }
    ++open->second.handles;
    ++buffer->handles_;
    return handle;
}

bool BufferTable::remove(std::uint32_t handle) {
    const auto buffer = handles_.remove(handle);
    if (!buffer) return false;
    const auto open = open_.find(buffer->get());
    if (open->second.prime == handle) open->second.prime.reset();
    if (--open->second.handles == 0) open_.erase(open);
    drop(**buffer);
    return true;
}

void BufferTable::drop(Buffer& buffer) {
    if (--buffer.handles_ == 0) names_.forget(buffer);
}

base::Result<void> BufferTable::move(std::uint32_t handle, std::uint32_t to) {
    if (const auto moved = handles_.move(handle, to); !moved) return moved;
    Open& open = open_.at(find(to)->get());
    if (open.prime == handle) open.prime = to;
    return {};
}

void BufferTable::exported(std::uint32_t handle) {
    Open& open = open_.at(find(handle)->get());
    if (!open.prime) open.prime = handle;
}

base::Result<std::uint32_t> BufferTable::import(const BufferPtr& buffer) {
    const auto open = open_.find(buffer.get());
    if (open != open_.end() && open->second.prime) return *open->second.prime;
    const auto handle = insert(buffer);
    if (handle) open_.at(buffer.get()).prime = *handle;
    return handle;
}

void BufferTable::check_invariants() const {
    handles_.check_invariants();
    std::unordered_map<const Buffer*, std::uint32_t> handles;
    handles_.for_each([&](std::uint32_t, const BufferPtr& buffer) { ++handles[buffer.get()]; });
    BELFRY_CHECK(handles.size() == open_.size());
    for (const auto& [buffer, open] : open_) {
        BELFRY_CHECK(open.handles == handles[buffer] && open.handles <= buffer->handles_);
        BELFRY_CHECK(!open.prime || find(*open.prime)->get() == buffer);
    }
}

}  // namespace belfry::drm
