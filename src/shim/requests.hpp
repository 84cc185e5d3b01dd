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

/// The program has one of our files under this number now.
void remember_file(int fd);
/// Around the closing of descriptors by the program. Before it: what was kept for them goes; later calls make
/// it anew if there is another copy. After it, where closing has an effect that others see at once, as a
/// kernel's has: waits until belfryd has heard of it.
class Closing {
  public:
    explicit Closing(int fd) { forget(fd); }
    Closing(unsigned first, unsigned last);
    Closing(const Closing&) = delete;
    Closing& operator=(const Closing&) = delete;
    ~Closing() {
        if (seen_at_once_) settle();
    }

  private:
    void forget(int fd);
    static void settle();
    bool seen_at_once_ = false;
};

}  // namespace belfry::shim
