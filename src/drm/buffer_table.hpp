// BufferTable: the GEM handles of a file. BufferNames: the names that buffers have across files (GEM_FLINK).
//
// Owns    a reference of its buffer for each handle; names own nothing: a buffer's name goes with its last
//         handle.
// Runs    in the driver actor.
// Called  by the core requests on buffers, and by a driver for whatever names a buffer by handle.
// Why so  a file may have several handles of one buffer (GEM_OPEN makes a new one each time), while PRIME
//         must find the handle that it gave or was given before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "drm/buffer.hpp"
#include "drm/handles.hpp"

namespace belfry::drm {

/// One for a device; outlives its files.
class BufferNames {
  public:
    /// The buffer's name, the same for each call. ENOMEM.
    [[nodiscard]] base::Result<std::uint32_t> name_of(Buffer& buffer);
    /// Null if no buffer with a handle has that name.
    [[nodiscard]] BufferPtr find(std::uint32_t name) const;

  private:
    friend class BufferTable;
    void forget(Buffer& buffer);

    HandleTable<Buffer*> buffers_;
};

class BufferTable {
  public:
    explicit BufferTable(BufferNames& names) : names_(names) {}
    BufferTable(const BufferTable&) = delete;
    BufferTable& operator=(const BufferTable&) = delete;
    ~BufferTable();

    /// A new handle, the lowest free one. ENOMEM.
    [[nodiscard]] base::Result<std::uint32_t> insert(const BufferPtr& buffer);
    /// Until the next change; null if there is no such handle.
    [[nodiscard]] const BufferPtr* find(std::uint32_t handle) const { return handles_.find(handle); }
    /// False if there is no such handle.
    [[nodiscard]] bool remove(std::uint32_t handle);
    /// ENOENT, ENOSPC, ENOMEM, as HandleTable::move().
    [[nodiscard]] base::Result<void> move(std::uint32_t handle, std::uint32_t to);

    /// Whether this file has a handle of it, and so may map it.
    [[nodiscard]] bool is_open(const Buffer& buffer) const { return open_.contains(&buffer); }

    /// `handle` was exported: an import of its dma-buf finds it.
    void exported(std::uint32_t handle);
    /// The handle of an imported dma-buf; a new one only if this file has neither exported nor imported it.
    [[nodiscard]] base::Result<std::uint32_t> import(const BufferPtr& buffer);

    void check_invariants() const;

  private:
    struct Open {
        std::uint32_t handles = 0;
        std::optional<std::uint32_t> prime;  // the handle that PRIME knows
    };

    void drop(Buffer& buffer);

    BufferNames& names_;
    HandleTable<BufferPtr> handles_;
    std::unordered_map<const Buffer*, Open> open_;
};

}  // namespace belfry::drm
