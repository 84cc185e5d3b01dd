// ValueWaits: who waits for a value in memory, found by where it lies and by how far it must come.
//
// Owns    nothing but the order: a wait belongs to whoever waits, and leaves with it.
// Runs    in the driver actor. Allocates nothing.
// Called  by a driver that keeps waits (add), and when memory may have been updated (look).
// Why so  an update costs what it satisfies: each object is read once, and of those who wait for it exactly
//         the first are taken, as many as the value has come for. All others are not even looked at.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

#include <boost/intrusive/set.hpp>

#include "base/atomic.hpp"
#include "drm/buffer.hpp"

namespace belfry::drm {

class ValueWait
    : public boost::intrusive::set_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    /// What ends it. Unsigned. A value that can never come is waited for too: its memory may go.
    enum class Until : std::uint8_t { at_least, at_most, never };

    /// Entered, hence not known to have ended.
    [[nodiscard]] bool waiting() const { return is_linked(); }

  private:
    friend class ValueWaits;

    /// Whoever is satisfied first comes first.
    struct Key {
        std::uintptr_t at = 0;  // host address
        bool wide = false;      // 64 bits
        Until until{};
        std::uint64_t order = 0;
        auto operator<=>(const Key&) const = default;
    };

    Key key_;
    BufferPtr buffer_;  // so that nothing else can lie there meanwhile
};

class ValueWaits {
  public:
    /// At `offset` of the buffer lies a value of 8 bytes, or 4. A wait that is in already moves.
    void add(ValueWait& wait, const BufferPtr& buffer, std::uint64_t offset, bool wide,
             ValueWait::Until until, std::uint64_t value) {
        remove(wait);
        wait.key_ = {.at = reinterpret_cast<std::uintptr_t>(buffer->data()) + offset,
                     .wide = wide,
                     .until = until,
                     .order = until == ValueWait::Until::at_most ? ~value : value};
        wait.buffer_ = buffer;
        waits_.insert(wait);
    }
    static void remove(ValueWait& wait) {
        wait.unlink();
        wait.buffer_.reset();
    }

    [[nodiscard]] bool empty() const { return waits_.empty(); }
    /// How many objects were read so far: what updates have cost, whatever the machine.
    [[nodiscard]] std::uint64_t reads() const { return reads_; }

    /// Takes out the waits that memory satisfies, of values that begin from host address `first` to `last`,
    /// and calls `satisfied(ValueWait&)` for each. What is not in memory is not looked at.
    template <typename Satisfied>
    void look(std::uintptr_t first, std::uintptr_t last, Satisfied satisfied) {
        for (auto at = waits_.lower_bound(Key{.at = first}); at != waits_.end() && at->key_.at <= last;) {
            const Key object{.at = at->key_.at, .wide = at->key_.wide};
            if (at->buffer_->residence.resident()) {
                const std::uint64_t value = read(object);
                take(object, Until::at_least, value, satisfied);
                take(object, Until::at_most, ~value, satisfied);
            }
            at = waits_.upper_bound(Key{object.at, object.wide, Until::never, UINT64_MAX});
        }
    }
    template <typename Satisfied>
    void look_at_all(Satisfied satisfied) {
        look(0, UINTPTR_MAX, satisfied);
    }

  private:
    using Key = ValueWait::Key;
    using Until = ValueWait::Until;
    struct KeyOf {
        using type = Key;
        const type& operator()(const ValueWait& wait) const { return wait.key_; }
    };

    std::uint64_t read(const Key& object) {
        ++reads_;
        // Acquire: pairs with the release of whoever updated it.
        if (object.wide)
            return base::load(*reinterpret_cast<const std::uint64_t*>(object.at), base::kAcquire);
        return base::load(*reinterpret_cast<const std::uint32_t*>(object.at), base::kAcquire);
    }
    template <typename Satisfied>
    void take(Key object, Until until, std::uint64_t reached, Satisfied& satisfied) {
        object.until = until;
        for (auto at = waits_.lower_bound(object); at != waits_.end() && at->key_.at == object.at &&
                                                   at->key_.wide == object.wide && at->key_.until == until &&
                                                   at->key_.order <= reached;) {
            ValueWait& wait = *at++;
            remove(wait);
            satisfied(wait);
        }
    }

    boost::intrusive::multiset<ValueWait, boost::intrusive::key_of_value<KeyOf>,
                               boost::intrusive::constant_time_size<false>>
        waits_;
    std::uint64_t reads_ = 0;
};

}  // namespace belfry::drm
