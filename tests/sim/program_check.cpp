// What a program must see: after every step of anybody, and when all is over.
#include <algorithm>
#include <utility>

#include <unistd.h>

#include "sim/program.hpp"

namespace belfry::panthor::sim {

void SimProgram::watch() {
    for (Lane* const lane : active_) watch_lane(*lane);
    for (SimRing& ring : rings_) ring.watch();
    for (Import& import : imports_) watch_import(import);
    std::erase_if(fence_waits_, [&](const FenceWait& wait) {
        if (!wait.call->answered()) return false;
        const auto signalled = [&](std::uint32_t syncobj) { return client_->fence_status(syncobj) != 0; };
        if (*wait.call->answer() == 0)
            EXPECT_TRUE(wait.all ? std::ranges::all_of(*wait.syncobjs, signalled)
                                 : std::ranges::any_of(*wait.syncobjs, signalled));
        else
            EXPECT_TRUE(*wait.call->answer() == ETIME && now() >= wait.deadline) << *wait.call->answer();
        return true;
    });
}

/// The fences of others signal in order, too.
void SimProgram::watch_import(Import& import) {
    const auto& points = import.of->points;
    const auto status = [&](std::uint64_t point) { return client_->fence_status(import.syncobj, point); };
    while (import.over < points.size() && status(points[import.over]) != 0) ++import.over;
    for (std::size_t i = import.over; i < points.size(); ++i)
        EXPECT_EQ(status(points[i]), 0) << "of program " << import.of->owner;
}

/// Values rise, fences signal in order, and what they say is so.
void SimProgram::watch_lane(Lane& lane) {
    const std::uint64_t value = base::load(sync(lane).value, base::kAcquire);
    EXPECT_GE(value, lane.seen) << "lane " << lane.index;
    if (!lane.released) {
        EXPECT_LE(value, lane.jobs) << "lane " << lane.index;
    }
    lane.seen = value;
    if (compute_ && !lane.released && lane.group != nullptr) compute_->check(lane.index, value, lane.jobs);
    if (lane.shared != nullptr) lane.shared->slow |= lane.slow;
    while (!lane.pending.empty()) {
        const Promise& promise = lane.pending.front();
        const int status = this->status(promise);
        if (status == 0) break;
        world_.draw.say(status > 0 ? "signalled" : "failed", lane.index, promise.job);
        if (status < 0) {
            expect_legitimate(lane, promise, status);
        } else {
            EXPECT_GE(value, promise.job) << "lane " << lane.index;
            if (lane.group != nullptr) {
                EXPECT_EQ(result(lane, promise.job - 1), promise.job) << "lane " << lane.index;
            }
        }
        lane.kept.push_back(promise);
        lane.pending.pop_front();
    }
    // Only a deadline is ahead of its turn.
    for (std::size_t i = 1; i < lane.pending.size(); ++i)
        if (const int status = this->status(lane.pending[i]); status != 0) {
            EXPECT_TRUE(lane.pending[i].bounded && status == -ETIMEDOUT)
                << "lane " << lane.index << ", job " << lane.pending[i].job << ": " << status;
        }
}

void SimProgram::expect_legitimate(Lane& lane, const Promise& promise, int status) {
    if (status == -ETIMEDOUT) {
        // Of the group; the job itself may be younger.
        EXPECT_GE(now(), (lane.group != nullptr ? began_ : promise.made) + kTimeoutNs)
            << "lane " << lane.index;
        EXPECT_TRUE(lane.slow || world_.silenced) << "lane " << lane.index;
        lane.may_fail = errors_ = true;  // an XGS queue's error state stays
    }
    // The error of a dead group's sync object becomes that of whoever waited for it.
    const bool inherits = status == -EINVAL && errors_;
    const bool fails = lane.group != nullptr ? may_be_dead(*lane.group) : lane.may_fail;
    EXPECT_TRUE(fails || inherits) << "lane " << lane.index << ": " << status;
}

/// All jobs are done that can be, and no fence is pending.
bool SimProgram::is_done(const Lane& lane) const {
    return lane.pending.empty() &&
           (lane.released || base::load(sync(lane).value, base::kAcquire) >= lane.bad.value_or(lane.jobs));
}

bool SimProgram::done() const {
    // What a program that has died was to do has ended.
    const auto ended = [](const Import& import) {
        return !import.of->orphaned || import.over == import.of->points.size();
    };
    return std::ranges::all_of(imports_, ended) && std::ranges::all_of(rings_, &SimRing::done) &&
           std::ranges::all_of(active_, [&](const Lane* lane) { return lane->slow || is_done(*lane); });
}

bool SimProgram::settled() const {
    const auto for_ever = [](const FenceWait& wait) { return wait.deadline == kForEver; };
    const auto over = [](const Import& import) { return import.over == import.of->points.size(); };
    return std::ranges::all_of(rings_, &SimRing::settled) && std::ranges::all_of(imports_, over) &&
           std::ranges::all_of(active_, [&](const Lane* lane) { return is_done(*lane); }) &&
           std::ranges::none_of(fence_waits_, for_ever) &&
           std::ranges::all_of(binds_, [&](const Promise& promise) { return status(promise) != 0; });
}

void SimProgram::complain() const {
    for (const Lane* const lane : active_) {
        if (is_done(*lane)) continue;
        ADD_FAILURE() << "program " << number_ << ", lane " << lane->index << (lane->slow ? ", slow" : "")
                      << ": " << sync(*lane).value << " of " << lane->jobs << " jobs, "
                      << lane->pending.size() << " fences";
    }
    for (const Import& import : imports_)
        if (import.over != import.of->points.size())
            ADD_FAILURE() << "program " << number_ << " waits for " << import.of->points[import.over]
                          << " of program " << import.of->owner;
    for (const Promise& bind : binds_)
        if (status(bind) == 0) ADD_FAILURE() << "program " << number_ << ": a bind";
    for (const SimRing& ring : rings_) ring.complain();
}

unsigned SimProgram::timeouts() const {
    return static_cast<unsigned>(std::ranges::count_if(active_, [](const Lane* lane) { return lane->slow; }) +
                                 std::ranges::count_if(rings_, &SimRing::slow));
}

void SimProgram::verify() {
    for (Group& group : groups_) verify_group(group);
    for (SimRing& ring : rings_) ring.verify();
    for (const Lane* const lane : active_) {
        if (lane->released) continue;
        const std::uint64_t end = lane->seen;
        // The circle of those that are stuck is broken once one of them has died.
        if (lane->bad && lane->group->kind == Kind::stuck)
            EXPECT_GE(end, *lane->bad) << "lane " << lane->index;
        else
            EXPECT_EQ(end, lane->bad.value_or(lane->jobs)) << "lane " << lane->index;
        EXPECT_TRUE(lane->pending.empty()) << "lane " << lane->index;
        if (lane->group == nullptr) continue;
        for (unsigned job = lane->first; job < end; ++job)
            EXPECT_EQ(result(*lane, job), job + 1) << "lane " << lane->index;
    }
    for (const Sleeper& sleeper : sleepers_)
        if (sleeper.asleep && !sleeper.lane->released) {
            EXPECT_LT(sync(*sleeper.lane).value, sleeper.target) << "lane " << sleeper.lane->index;
        }
    for (const FenceWait& wait : fence_waits_)
        EXPECT_LT(now(), wait.deadline) << "a wait is not answered in time";
    for (const Promise& promise : binds_) {
        EXPECT_EQ(status(promise), 1) << "a bind";
        if (promise.syncobj == alias_.ready) continue;
        drm_syncobj_destroy destroy{.handle = promise.syncobj};
        EXPECT_EQ(client_->ioctl(DRM_IOCTL_SYNCOBJ_DESTROY, destroy), 0);
    }
    binds_.clear();
}

void SimProgram::verify_group(Group& group) {
    if (group.destroyed) return;
    const auto state = (group.user != nullptr ? group.user->state() : group.kernel->state()).state;
    if (state != 0) {
        EXPECT_TRUE(may_be_dead(group)) << "lane " << group.lanes.front()->index << ", state " << state;
    }
    std::uint64_t count = 0;
    if (group.states && state != 0 && !std::exchange(group.told, true)) {
        EXPECT_EQ(::read(group.states.get(), &count, sizeof count), sizeof count);
    }
    const bool worked = std::ranges::any_of(
        group.lanes, [&](const Lane* lane) { return !lane->released && lane->seen > lane->first; });
    if (group.updates && worked) {
        EXPECT_EQ(::read(group.updates.get(), &count, sizeof count), sizeof count);
    }
}

}  // namespace belfry::panthor::sim
