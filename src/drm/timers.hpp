// Timers: what the driver wants done later, ordered by deadline.
//
// Owns    the order only. A Timer is a member of whoever wants to be called; it unlinks itself when
// destroyed. Runs    in the driver actor. There is no clock below the server: time is told by set_now() and
// run(). Called  by a transport or rig (set_now before it hands in a request or an interrupt; next_deadline
// to know how
//         long it may sleep; run when that has come) and by helpers and drivers that arm timers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>

#include <boost/intrusive/set.hpp>

namespace belfry::drm {

class Timers;

/// Calls back once for each time that it was armed and not cancelled.
class Timer
    : public boost::intrusive::set_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    /// `expired` is a lambda of at most two words that needs no destructor, e.g. [this]: it is copied before
    /// it runs, so that it may destroy this timer, and a copy must not allocate.
    template <typename F>
        requires(std::is_invocable_v<F&> && std::is_trivially_copyable_v<F> && sizeof(F) <= 2 * sizeof(void*))
    Timer(Timers& timers, F expired) : timers_(timers), expired_(expired) {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    /// Wants to be called when `deadline_ns` (CLOCK_MONOTONIC) has come; replaces an earlier deadline. A
    /// deadline that has passed already is met by the next run().
    void arm(std::uint64_t deadline_ns);
    void cancel() { unlink(); }
    [[nodiscard]] bool armed() const { return is_linked(); }
    /// The deadline that arm() was last given.
    [[nodiscard]] std::uint64_t deadline() const { return deadline_ns_; }

  private:
    friend class Timers;

    Timers& timers_;
    std::uint64_t deadline_ns_ = 0;
    std::function<void()> expired_;
};

class Timers {
  public:
    Timers() = default;
    Timers(const Timers&) = delete;
    Timers& operator=(const Timers&) = delete;
    ~Timers();

    /// The time that was last told.
    [[nodiscard]] std::uint64_t now() const { return now_ns_; }
    /// Tells the time without calling anybody. Time never goes back: an earlier one is ignored.
    void set_now(std::uint64_t now_ns);

    [[nodiscard]] std::optional<std::uint64_t> next_deadline() const;

    /// Tells the time and calls every timer that is due, by deadline, then in the order in which they were
    /// armed. A callback may arm, cancel and destroy any timer. What it arms is left to the next run() even
    /// if it is due, so that a timer which arms itself cannot hold the loop.
    void run(std::uint64_t now_ns);

    void check_invariants() const;

  private:
    friend class Timer;

    struct DeadlineOf {
        using type = std::uint64_t;
        const type& operator()(const Timer& timer) const { return timer.deadline_ns_; }
    };
    using Queue = boost::intrusive::multiset<Timer, boost::intrusive::key_of_value<DeadlineOf>,
                                             boost::intrusive::constant_time_size<false>>;

    std::uint64_t now_ns_ = 0;
    Queue armed_;
    Queue due_;  // during run(): what this run has still to call
};

}  // namespace belfry::drm
