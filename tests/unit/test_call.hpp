// TestCall: a client's request as a transport would make it, whose answer is kept for the test to look at.
//
// Owned   by the test, and by the handler that defers it.
// The argument struct lies in the call; arrays that it points to are the test's and must outlive it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "drm/call.hpp"

namespace belfry::drm {

namespace test_call_detail {

/// A base before Call, so that the storage exists when Call is given it.
struct Storage {
    alignas(std::max_align_t) std::array<std::byte, 256> bytes{};
};

}  // namespace test_call_detail

class TestCall final : private test_call_detail::Storage, public Call {
  public:
    template <typename Args>
    static std::shared_ptr<TestCall> make(std::uint32_t request, const Args& args,
                                          std::vector<base::Fd> fds = {}) {
        static_assert(sizeof(Args) <= sizeof(Storage::bytes));
        auto call = std::make_shared<TestCall>(request, sizeof(Args), std::move(fds));
        std::memcpy(call->bytes.data(), &args, sizeof args);
        return call;
    }

    TestCall(std::uint32_t request, std::size_t args_bytes, std::vector<base::Fd> fds)
        : Call(request, std::span(bytes).first(args_bytes), std::move(fds)) {}

    [[nodiscard]] bool answered() const { return answer_.has_value(); }
    /// As ioctl() would return it: 0 or an errno, positive; nothing while it is pending.
    [[nodiscard]] std::optional<int> answer() const { return answer_; }

    /// Called when the answer is delivered, for tests of what a client does right then.
    std::function<void()> when_answered;

  private:
    void deliver(Result<void> result) override {
        answer_ = result ? 0 : static_cast<int>(result.error());
        if (when_answered) when_answered();
    }

    std::optional<int> answer_;
};

}  // namespace belfry::drm
