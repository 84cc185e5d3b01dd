// Work: a part of the device with something to do that must not be done where it became ready, such as in
// the callback of a fence.
//
// Owned   by whoever it is a part of; linked to the device's list from Device::wake() until the driver's
//         current entry works that list off (Device::run_work()).
// Runs    in the driver actor.
#pragma once

#include <boost/intrusive/list.hpp>

namespace belfry::panthor {

class Work
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    virtual ~Work() = default;
    /// Does what is ready; may find nothing.
    virtual void advance() = 0;
};

}  // namespace belfry::panthor
