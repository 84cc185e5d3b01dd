// What the driver is asked for a program: ioctl and mmap on its descriptors.
//
// Runs on any thread of the program, in forked children too: no locks. The program's own descriptor carries
// the request and no copy of it is kept, so that the driver's file dies with the program's last one.
#pragma once

#include <cstddef>

#include <sys/types.h>

#include "shim/view.hpp"

namespace belfry::shim {

/// Whether a request of this type may be one for belfryd.
bool is_ours(unsigned long request);
/// As ioctl(2), on a descriptor whose kernel object refused the request with errno `refused`.
int ioctl(int fd, unsigned long request, void* args, int refused);
/// As mmap(2), on a descriptor of a node.
void* map(const OpenNode& node, void* address, std::size_t bytes, int protection, int flags, int fd,
          off_t offset);

/// Before the program closes descriptors: what was kept for them goes. Later calls make it anew if there is
/// another copy.
void forget_file(int fd);
void forget_files(unsigned first, unsigned last);

}  // namespace belfry::shim
