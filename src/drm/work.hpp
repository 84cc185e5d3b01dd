// Work: a part of a driver with something to do that must not be done where it became ready, such as in the
// callback of a fence. WorkQueue: what is ready, in the order in which it became so.
//
// Owned   a Work by whoever it is a part of; linked to a queue from wake() until it is run.
// Runs    in the driver actor.
#pragma once

#include <boost/intrusive/list.hpp>

namespace belfry::drm {

class Work
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    virtual ~Work() = default;
    /// Does what is ready; may find nothing.
    virtual void advance() = 0;
};

class WorkQueue {
  public:
    /// Has `work` looked at by the next run().
    void wake(Work& work) {
        if (!work.is_linked()) ready_.push_back(work);
    }
    /// Until nothing is ready any more.
    void run() {
        while (!ready_.empty()) run_one();
    }
    /// The one that has waited longest.
    void run_one() {
        if (ready_.empty()) return;
        Work& work = ready_.front();
        ready_.pop_front();
        work.advance();
    }
    [[nodiscard]] bool empty() const { return ready_.empty(); }

  private:
    boost::intrusive::list<Work, boost::intrusive::constant_time_size<false>> ready_;
};

}  // namespace belfry::drm
