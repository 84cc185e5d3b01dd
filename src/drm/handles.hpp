// HandleTable: numbers that a client names its objects by; the lowest free one is given first.
//
// Owns    the objects (values or, mostly, references).
// Runs    in the driver actor.
// Called  by a driver's File: one table for each kind of handle.
// Why so  programs depend on lowest-free numbering, and a client decides how many there are: finding the
// number is
//         O(log n), and remove() never allocates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "base/result.hpp"

namespace belfry::drm {

template <typename T>
class HandleTable {
  public:
    struct Options {
        std::uint32_t first = 1;
        std::uint32_t last = 0x7fff'ffff;
        base::Errno when_full = base::Errno::no_memory;
    };

    HandleTable() : HandleTable(Options{}) {}
    explicit HandleTable(Options options) : options_(options) { BELFRY_CHECK(options.first <= options.last); }

    /// The number that `object` got. Errors: Options::when_full, ENOMEM.
    [[nodiscard]] base::Result<std::uint32_t> insert(T object) {
        if (!free_.empty()) {
            std::ranges::pop_heap(free_, std::greater{});
            const std::size_t index = free_.back();
            free_.pop_back();
            objects_[index].emplace(std::move(object));
            return number(index);
        }
        if (objects_.size() > options_.last - options_.first) return std::unexpected(options_.when_full);
        if (objects_.size() == objects_.capacity() && !grow()) return std::unexpected(base::Errno::no_memory);
        objects_.emplace_back(std::move(object));
        return number(objects_.size() - 1);
    }

    /// The object, until the next insert() or remove(); null if there is none.
    [[nodiscard]] T* find(std::uint32_t handle) {
        const std::size_t index = handle - options_.first;  // below `first` wraps to beyond the end
        if (handle < options_.first || index >= objects_.size() || !objects_[index]) return nullptr;
        return &*objects_[index];
    }
    [[nodiscard]] const T* find(std::uint32_t handle) const {
        return const_cast<HandleTable*>(this)->find(handle);
    }

    /// Frees the number and hands out the object; nothing if there is none.
    std::optional<T> remove(std::uint32_t handle) {
        if (find(handle) == nullptr) return std::nullopt;
        const std::uint32_t index = handle - options_.first;
        free_.push_back(index);
        std::ranges::push_heap(free_, std::greater{});
        return std::exchange(objects_[index], std::nullopt);
    }

    [[nodiscard]] std::size_t size() const { return objects_.size() - free_.size(); }
    [[nodiscard]] bool empty() const { return size() == 0; }

    /// Calls `visit(handle, object)` in the order of the numbers. `visit` must not insert or remove.
    template <typename Visit>
    void for_each(Visit visit) {
        visit_all(*this, visit);
    }
    template <typename Visit>
    void for_each(Visit visit) const {
        visit_all(*this, visit);
    }

    /// Drops all objects. Their destructors see an empty table.
    void clear() {
        free_.clear();
        const auto objects = std::exchange(objects_, {});
    }

    void check_invariants() const {
        BELFRY_CHECK(free_.size() <= objects_.size());
        BELFRY_CHECK(free_.capacity() >= objects_.size());
        BELFRY_CHECK(std::ranges::is_heap(free_, std::greater{}));
        for (const std::uint32_t index : free_) BELFRY_CHECK(!objects_[index]);
        BELFRY_CHECK(static_cast<std::size_t>(std::ranges::count_if(
                         objects_, [](const auto& object) { return object.has_value(); })) == size());
    }

  private:
    static void visit_all(auto& table, auto& visit) {
        for (std::size_t index = 0; index < table.objects_.size(); ++index)
            if (table.objects_[index]) visit(table.number(index), *table.objects_[index]);
    }

    [[nodiscard]] bool grow() {
        const std::size_t capacity = std::max<std::size_t>(8, objects_.capacity() * 2);
        try {
            free_.reserve(capacity);  // here, so that remove() need not
            objects_.reserve(capacity);
        } catch (const std::bad_alloc&) {
            return false;
        }
        return true;
    }

    [[nodiscard]] std::uint32_t number(std::size_t index) const {
        return options_.first + static_cast<std::uint32_t>(index);
    }

    Options options_;
    std::vector<std::optional<T>> objects_;  // the number is first + index
    std::vector<std::uint32_t> free_;        // indices without an object, as a heap with the lowest on top
};

}  // namespace belfry::drm
