#include "drm/timers.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace belfry::drm {

void Timer::arm(std::uint64_t deadline_ns) {
    unlink();  // the deadline is the key: it never changes under the tree
    deadline_ns_ = deadline_ns;
    timers_.armed_.insert(*this);
}

// Whoever armed a timer outlives the Timers that it refers to: that is an order of destruction gone wrong.
Timers::~Timers() { BELFRY_CHECK(armed_.empty() && due_.empty()); }

void Timers::set_now(std::uint64_t now_ns) { now_ns_ = std::max(now_ns_, now_ns); }

std::optional<std::uint64_t> Timers::next_deadline() const {
    if (armed_.empty()) return std::nullopt;
    return armed_.begin()->deadline();
}

void Timers::run(std::uint64_t now_ns) {
    BELFRY_CHECK(due_.empty());  // a callback does not run the timers
    set_now(now_ns);
    // All that is due moves over first: what callbacks arm from here on belongs to the next run.
    while (!armed_.empty() && armed_.begin()->deadline() <= now_ns_) {
        Timer& timer = *armed_.begin();
        timer.unlink();
        due_.insert(due_.end(), timer);
    }
    while (!due_.empty()) {
        Timer& timer = *due_.begin();
        timer.unlink();
        const auto expired = timer.expired_;  // the callback may destroy the timer
        expired();
    }
}

void Timers::check_invariants() const {
    std::uint64_t last = 0;
    for (const Timer& timer : armed_) {
        BELFRY_CHECK(timer.deadline() >= last);
        last = timer.deadline();
    }
    for (const Timer& timer : due_) BELFRY_CHECK(timer.deadline() <= now_ns_);
}

}  // namespace belfry::drm
