// What tests of panthor's ioctls share: a client, and a way to say which of two mistakes is found first.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "unit/panthor_rig.hpp"

namespace belfry::panthor {

/// One thing wrong with a request, and what that is answered.
template <typename Request>
struct Mistake {
    const char* what;
    std::function<void(Request&)> make;
    int answer = EINVAL;
};

/// `send` answers a good request with 0, each mistake with its errno, and of two mistakes the one that is
/// listed first. `good` makes a fresh request each time.
template <typename Request>
void expect_order(const std::function<Request()>& good, const std::vector<Mistake<Request>>& mistakes,
                  const std::function<int(Request&)>& send) {
    Request request = good();
    EXPECT_EQ(send(request), 0) << "the good one";
    for (auto first = mistakes.begin(); first != mistakes.end(); ++first) {
        request = good();
        first->make(request);
        EXPECT_EQ(send(request), first->answer) << first->what;
        for (auto second = first + 1; second != mistakes.end(); ++second) {
            request = good();
            second->make(request);
            first->make(request);
            EXPECT_EQ(send(request), first->answer) << first->what << ", and " << second->what;
        }
    }
}

class Ioctls : public testing::Test {
  protected:
    template <typename Args>
    int call(std::uint64_t request, Args args) {
        return client.ioctl(request, args);
    }
    int bind_one(std::uint32_t vm, const drm_panthor_vm_bind_op& op) {
        const auto answered = client.bind(vm, {op});
        return answered->answer().value_or(-1);
    }

    Rig rig;
    Client& client = rig.open();
};

}  // namespace belfry::panthor
