// HandleTable: numbers that a client names its objects by; the lowest free one is given first.
//
// Owns    the objects (values or, mostly, references).
// Runs    in the driver actor.
// Called  by a driver's File: one table for each kind of handle.
// Why so  programs depend on lowest-free numbering, and a client decides how many there are: finding the
//         number is O(log n), and remove() never allocates. A client also decides where it moves a handle, up
//         to 2^31 - 1: what lies beyond the dense numbers is kept apart, so that memory follows the objects.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
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
        // A number that was moved there is in the way: from here on it is one of the dense ones.
        while (has_room() && far_.contains(next_number())) {
            if (!grow()) return std::unexpected(base::Errno::no_memory);
            objects_.emplace_back(std::move(far_.extract(next_number()).mapped()));
        }
        if (!has_room()) return std::unexpected(options_.when_full);
        if (!grow()) return std::unexpected(base::Errno::no_memory);
        objects_.emplace_back(std::move(object));
        return number(objects_.size() - 1);
    }

    /// The object, until the next insert() or remove(); null if there is none.
    [[nodiscard]] T* find(std::uint32_t handle) {
        if (is_dense(handle)) {
            auto& object = objects_[handle - options_.first];
            return object ? &*object : nullptr;
        }
        const auto far = far_.find(handle);
        return far != far_.end() ? &far->second : nullptr;
    }
    [[nodiscard]] const T* find(std::uint32_t handle) const {
        return const_cast<HandleTable*>(this)->find(handle);
    }

    /// Frees the number and hands out the object; nothing if there is none.
    std::optional<T> remove(std::uint32_t handle) {
        T* const object = find(handle);
        if (object == nullptr) return std::nullopt;
        if (!is_dense(handle)) {
            std::optional<T> removed(std::move(*object));
            far_.erase(handle);
            return removed;
        }
        const std::uint32_t index = handle - options_.first;
        free_.push_back(index);
        std::ranges::push_heap(free_, std::greater{});
        return std::exchange(objects_[index], std::nullopt);
    }

    /// Gives the object another number: any that is free, also outside of Options. ENOENT: there is no
    /// `handle`; ENOSPC: `to` is taken; ENOMEM.
    [[nodiscard]] base::Result<void> move(std::uint32_t handle, std::uint32_t to) {
        if (find(handle) == nullptr) return std::unexpected(base::Errno::no_entry);
        if (handle == to) return {};
        if (find(to) != nullptr) return std::unexpected(base::Errno::no_space);
        if (is_dense(to)) {
            free_.erase(std::ranges::find(free_, to - options_.first));
            std::ranges::make_heap(free_, std::greater{});
            objects_[to - options_.first] = remove(handle);
            return {};
        }
        try {
            const auto place = far_.try_emplace(to).first;
            place->second = std::move(*remove(handle));
        } catch (const std::bad_alloc&) {
            return std::unexpected(base::Errno::no_memory);
        }
        return {};
    }

    [[nodiscard]] std::size_t size() const { return objects_.size() - free_.size() + far_.size(); }
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
        const auto far = std::exchange(far_, {});
        const auto objects = std::exchange(objects_, {});
    }

    void check_invariants() const {
        BELFRY_CHECK(free_.size() <= objects_.size());
        BELFRY_CHECK(free_.capacity() >= objects_.size());
        BELFRY_CHECK(std::ranges::is_heap(free_, std::greater{}));
        for (const std::uint32_t index : free_) BELFRY_CHECK(!objects_[index]);
        for (const auto& [handle, object] : far_) BELFRY_CHECK(!is_dense(handle));
        BELFRY_CHECK(static_cast<std::size_t>(std::ranges::count_if(objects_, [](const auto& object) {
                         return object.has_value();
                     })) == objects_.size() - free_.size());
    }

  private:
    static void visit_all(auto& table, auto& visit) {
        auto far = table.far_.begin();
        for (; far != table.far_.end() && far->first < table.options_.first; ++far)
            visit(far->first, far->second);
        for (std::size_t index = 0; index < table.objects_.size(); ++index)
            if (table.objects_[index]) visit(table.number(index), *table.objects_[index]);
        for (; far != table.far_.end(); ++far) visit(far->first, far->second);
    }

    [[nodiscard]] bool is_dense(std::uint32_t handle) const {
        return handle >= options_.first && handle - options_.first < objects_.size();
    }

    [[nodiscard]] bool has_room() const { return objects_.size() <= options_.last - options_.first; }

    /// Memory for one more of the dense ones.
    [[nodiscard]] bool grow() {
        if (objects_.size() < objects_.capacity()) return true;
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

    [[nodiscard]] std::uint32_t next_number() const { return number(objects_.size()); }

    Options options_;
    std::vector<std::optional<T>> objects_;  // the number is first + index
    std::vector<std::uint32_t> free_;        // indices without an object, as a heap with the lowest on top
    std::map<std::uint32_t, T> far_;         // moved to numbers that are not among the dense ones
};

}  // namespace belfry::drm
