// PageTable: the translation tables of one GPU address space (layout: gpu/registers.hpp).
//
// Owns   the tables. The memory they point to is kept alive by whoever mapped it.
// Runs   in the driver actor; the GPU walks the tables at the same time, so an entry is one release store.
// Called by Vm and by McuMemory. Whoever unmaps sees to the TLB flush, and to release_retired() after it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/result.hpp"
#include "gpu/registers.hpp"

namespace belfry::panthor {

struct PageFlags {
    bool read_only = false;
    bool no_exec = false;
};

class PageTable {
    struct Table;

  public:
    /// Tables that translate nothing, linked through themselves: owned, and moved without an allocation.
    class Tables {
      public:
        Tables() = default;
        Tables(Tables&& other) noexcept : first_(std::exchange(other.first_, nullptr)) {}
        Tables& operator=(Tables&& other) noexcept {
            std::swap(first_, other.first_);
            return *this;
        }
        ~Tables() { clear(); }
        [[nodiscard]] bool empty() const { return first_ == nullptr; }
        void clear();

      private:
        friend class PageTable;
        void push(std::unique_ptr<Table> table);
        [[nodiscard]] std::unique_ptr<Table> pop();

        Table* first_ = nullptr;
    };

    PageTable();
    ~PageTable();
    PageTable(const PageTable&) = delete;
    PageTable& operator=(const PageTable&) = delete;

    /// Host address of the level-0 table, for TRANSTAB.
    [[nodiscard]] std::uint64_t root() const { return reinterpret_cast<std::uint64_t>(root_.get()); }

    /// As many as a map() there can need, whatever else is mapped by then. ENOMEM.
    [[nodiscard]] static base::Result<Tables> reserve(std::uint64_t va, std::uint64_t bytes);
    /// All three are whole pages. What lay there before is replaced. Takes what it needs from `reserve`, and
    /// leaves the rest.
    void map(std::uint64_t va, const std::byte* host, std::uint64_t bytes, PageFlags flags, Tables& reserve);
    /// Holes are fine. Tables that become empty are kept until release_retired(): the GPU may be in one.
    void unmap(std::uint64_t va, std::uint64_t bytes);
    void release_retired() { retired_.clear(); }

    /// Tables in use, the root included.
    [[nodiscard]] std::size_t tables() const { return tables_; }

  private:
    struct alignas(1U << gpu::kPageShift) Table {
        std::array<std::uint64_t, gpu::kEntries> entries{};
    };

    void map_in(Table& table, unsigned level, std::uint64_t va, std::uint64_t end, std::uint64_t pte,
                Tables& reserve);
    bool unmap_in(Table& table, unsigned level, std::uint64_t va, std::uint64_t end);
    void destroy_below(Table& table, unsigned level);

    std::unique_ptr<Table> root_;
    Tables retired_;
    std::size_t tables_ = 1;
};

}  // namespace belfry::panthor
