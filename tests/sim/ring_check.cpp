// What a program must see of its ring: after every step of anybody, and when all is over.
#include <algorithm>
#include <utility>

#include "sim/ring.hpp"

namespace belfry::panthor::sim {

void SimRing::watch() {
    const belfry_submit_consumer& consumer = ring_->consumer();
    const std::uint32_t tail = base::load(consumer.cq_tail, base::kAcquire);
    EXPECT_LE(tail - given_back_, ring_->made.cq_entries) << "completions are lost";
    EXPECT_LE(published_ - base::load(consumer.sq_head, base::kAcquire), ring_->made.sq_entries);
    if (const std::uint32_t error = base::load(consumer.error, base::kAcquire); error != 0) {
        const bool wild = wild_tail_ || wild_head_;
        EXPECT_TRUE((destroyed_ && error == ECANCELED) || (wild && error == EINVAL)) << error;
    }
    const std::uint32_t event = std::exchange(event_, base::load(consumer.cq_event, base::kAcquire));
    EXPECT_TRUE(tail == seen_ || event != event_) << "nobody who sleeps would see completions";
    EXPECT_TRUE(tail == seen_ || !destroyed_);
    while (seen_ != tail) hear(ring_->completion(seen_++));
    for (unsigned place = 0; place < entries_.size(); ++place) {
        Entry& entry = entries_[place];
        if (entry.begun || entry.result || !signals(entry)) continue;
        if (fence(place) == kNoFence && base::load(sync(place).value, base::kAcquire) == 0) continue;
        EXPECT_FALSE(entry.died) << "entry " << place;
        entry.begun = true;
        if (!destroyed_) expect_may_begin(place);
    }
}

void SimRing::expect_may_begin(unsigned place) {
    const Entry& entry = entries_[place];
    for (unsigned other = 0; other < entry.first_beside; ++other)
        EXPECT_TRUE(may_be_over(other)) << "entry " << place << " is in spite of a drain beside " << other;
    EXPECT_FALSE(entry.broken_before) << "entry " << place;
    if (entry.before) {
        EXPECT_TRUE(may_be_over(*entry.before) && !failed(entries_[*entry.before]))
            << "entry " << place << " is linked to " << *entry.before;
    }
}

void SimRing::hear(const drm::Told& told) {
    if (told.user_data == kFloodName) {
        EXPECT_EQ(told.result, 0);
        EXPECT_LE(++floods_told_, floods_written_);
        return;
    }
    const std::uint64_t place = told.user_data - first_name_;
    world_.draw.say("completion", ring_->made.handle * 1000 + place,
                    static_cast<std::uint64_t>(-told.result));
    if (place >= entries_.size()) {
        ADD_FAILURE() << "a completion of nothing: " << told.user_data;
        return;
    }
    Entry& entry = entries_[place];
    EXPECT_TRUE(static_cast<std::int32_t>(published_ - entry.at) > 0) << "entry " << place;
    EXPECT_FALSE(entry.result) << "entry " << place << " completes twice";
    EXPECT_FALSE(has(entry, BELFRY_SUBMIT_NO_SUCCESS_COMPLETION) && told.result == 0) << "entry " << place;
    entry.result = told.result;
    expect_legitimate(static_cast<unsigned>(place), told.result);
    if (failed(entry) && signals(entry)) to_release_.push_back(static_cast<unsigned>(place));
}

void SimRing::expect_legitimate(unsigned place, std::int32_t result) {
    const Entry& entry = entries_[place];
    const std::uint64_t now = world_.rig.host.now;
    const bool broken = entry.broken_before || (entry.before && failed(entries_[*entry.before]));
    const auto kind_of = [&](auto... kinds) { return ((entry.kind == kinds) || ...); };
    const bool of_dead_group = entry.kind == Kind::job && group_may_be_dead();
    for (unsigned other = 0; other < entry.first_beside; ++other)
        EXPECT_TRUE(may_be_over(other)) << "entry " << place << " is in spite of a drain beside " << other;
    // Too late to be cancelled.
    const auto accepted = [&](std::optional<unsigned> whom) {
        return whom && (entries_[*whom].kind == Kind::job || entries_[*whom].kind == Kind::bind ||
                        entries_[*whom].kind == Kind::xgs);
    };
    bool fine = false;
    switch (-result) {
        case 0:
            fine = !kind_of(Kind::bad, Kind::timeout, Kind::linked_timeout) && !broken &&
                   (!entry.before || may_be_over(*entry.before));
            if (has(entry, BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE)) break;
            if (signals(entry)) fine &= fence(place) == 1;
            if (kind_of(Kind::job, Kind::xgs))
                fine &= base::load(sync(place).value, base::kAcquire) == 1 && !entry.ends_badly;
            break;
        case ETIME:
            fine =
                kind_of(Kind::timeout, Kind::linked_timeout) && now >= entry.due && (!broken || entry.whom);
            break;
        case ECANCELED:
            fine = broken || entry.may_cancel || of_dead_group ||
                   (entry.kind == Kind::linked_timeout && may_be_over(*entry.whom));
            break;
        case ENOENT:   fine = entry.kind == Kind::bad || (entry.whom && may_be_over(*entry.whom)); break;
        case EALREADY: fine = accepted(entry.whom) && (entry.kind == Kind::cancel || now >= entry.due); break;
        case EINVAL:   fine = entry.kind == Kind::bad || entry.may_be_refused || of_dead_group; break;
        case ETIMEDOUT:
            // Of the group; the job itself may be younger.
            fine = entry.kind == Kind::xgs ? entry.bounded && now >= entry.made + kTimeoutNs
                                           : of_dead_group && now >= began_ + kTimeoutNs;
            break;
        default: break;
    }
    EXPECT_TRUE(fine) << "entry " << place << " of kind " << static_cast<int>(entry.kind) << ": " << result;
}

/// The driver, told of a wild tail, looks at it in the ring's next turn.
bool SimRing::tail_is_judged() const {
    return !wild_tail_ || destroyed_ || base::load(ring_->consumer().error, base::kAcquire) != 0;
}

bool SimRing::done() const {
    if (!tail_is_judged()) return false;
    if (slow_) return true;
    for (unsigned place = 0; place < entries_.size(); ++place) {
        const Entry& entry = entries_[place];
        if (destroyed_ || over(place)) continue;
        if (taken(entry)) return false;
        // It never will be if the ring is full of what nobody reaps, or has ended.
        const bool full = !reaps_ && seen_ - given_back_ == ring_->made.cq_entries;
        if (!full && base::load(ring_->consumer().error, base::kAcquire) == 0) return false;
    }
    return true;
}

bool SimRing::settled() const {
    if (!to_release_.empty()) return false;
    for (unsigned place = 0; place < entries_.size(); ++place) {
        if (fence(place) == 0) return false;
        if (slow_ && !destroyed_ && !over(place) && taken(entries_[place])) return false;
    }
    return done();
}

void SimRing::complain() const {
    if (!tail_is_judged()) ADD_FAILURE() << "ring " << ring_->made.handle << ": its wild tail goes unseen";
    for (unsigned place = 0; place < entries_.size(); ++place)
        if (fence(place) == 0 || (!destroyed_ && !over(place)))
            ADD_FAILURE() << "ring " << ring_->made.handle << ", entry " << place << " of kind "
                          << static_cast<int>(entries_[place].kind) << ": fence " << fence(place)
                          << (taken(entries_[place]) ? "" : ", not taken");
}

void SimRing::verify() {
    for (unsigned place = 0; place < entries_.size(); ++place) {
        const Entry& entry = entries_[place];
        const int status = signals(entry) ? fence(place) : 1;
        const std::uint64_t value = sync(place).value;
        if (entry.died || (!destroyed_ && !taken(entry))) {
            EXPECT_TRUE(!signals(entry) || (status == kNoFence && value == 0)) << "entry " << place;
            continue;
        }
        if (entry.kind == Kind::job && status == 1 && !entry.released) {
            EXPECT_EQ(value, 1U) << "entry " << place;
        }
        if (entry.kind == Kind::job && entry.result == -ECANCELED && !group_may_be_dead()) {
            EXPECT_EQ(value % kReleased, 0U) << "entry " << place << " was cancelled";
        }
        const bool cancelled = entry.whom && ((entry.kind == Kind::cancel && entry.result == 0) ||
                                              (entry.kind == Kind::linked_timeout && entry.result == -ETIME));
        if (cancelled && !destroyed_ && !(entries_[*entry.whom].kind == Kind::job && group_may_be_dead())) {
            EXPECT_EQ(entries_[*entry.whom].result, -ECANCELED) << "entry " << *entry.whom;
        }
    }
    verify_order();
}

/// The group's queue counts on from job to job, and goes through those that are not held back in their order.
void SimRing::verify_order() const {
    if (group_may_be_dead()) return;
    std::vector<std::uint32_t> counts;
    std::uint32_t last = 0;
    for (unsigned place = 0; place < entries_.size(); ++place) {
        const Entry& entry = entries_[place];
        if (entry.kind != Kind::job || sync(place).value != 1) continue;
        counts.push_back(count(place, entry.second));
        if (entry.before) continue;
        EXPECT_GT(counts.back(), last) << "entry " << place;
        last = counts.back();
    }
    std::ranges::sort(counts);
    for (std::size_t i = 0; i < counts.size(); ++i) EXPECT_EQ(counts[i], jobs_before_ + i + 1);
}

}  // namespace belfry::panthor::sim
