// OwningList: a list that owns what is in it, linked by the objects themselves: what goes into it, or from
// one to another, does so without an allocation.
#pragma once

#include <memory>

#include <boost/intrusive/list.hpp>

namespace belfry::base {

/// `T` derives from boost::intrusive::list_base_hook<>.
template <typename T>
class OwningList {
  public:
    OwningList() = default;
    OwningList(OwningList&& other) noexcept { append(other); }
    OwningList& operator=(OwningList&& other) noexcept {
        clear();
        append(other);
        return *this;
    }
    ~OwningList() { clear(); }

    [[nodiscard]] bool empty() const { return list_.empty(); }
    [[nodiscard]] T& front() { return list_.front(); }
    [[nodiscard]] const T& front() const { return list_.front(); }
    [[nodiscard]] auto begin() const { return list_.begin(); }
    [[nodiscard]] auto end() const { return list_.end(); }

    void push_back(std::unique_ptr<T> item) { list_.push_back(*item.release()); }
    /// Not of an empty one.
    [[nodiscard]] std::unique_ptr<T> pop_front() {
        std::unique_ptr<T> item(&list_.front());
        list_.pop_front();
        return item;
    }
    /// All that is in `other`, behind what is here.
    void append(OwningList& other) { list_.splice(list_.end(), other.list_); }
    void clear() { list_.clear_and_dispose(std::default_delete<T>()); }

  private:
    boost::intrusive::list<T, boost::intrusive::constant_time_size<false>> list_;
};

}  // namespace belfry::base
