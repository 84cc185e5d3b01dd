#include "server/warm_channels.hpp"

#include <utility>

namespace belfry::server {
namespace {

/// Longer than a program's way from a reply to its next request.
constexpr std::uint64_t kWarmNs = 10'000;
/// To look in vain costs half a microsecond: with more of them the event loop knows better.
constexpr std::size_t kWarmMax = 4;

}  // namespace

bool WarmChannels::look(std::uint64_t now_ns) {
    for (auto& channel : std::exchange(added_, {})) {
        if (warm_.size() < kWarmMax)
            warm_.push_back({.channel = std::move(channel), .last_message_ns = now_ns});
        else
            channel->cool();
    }
    bool found = false;
    std::erase_if(warm_, [&](Entry& entry) {
        if (entry.channel->look()) {
            found = true;
            entry.last_message_ns = now_ns;
        } else if (now_ns - entry.last_message_ns > kWarmNs) {
            entry.channel->cool();
            return true;
        }
        return false;
    });
    return found;
}

void WarmChannels::cool_down() {
    for (const auto& channel : std::exchange(added_, {})) channel->cool();
    for (const Entry& entry : std::exchange(warm_, {})) entry.channel->cool();
}

}  // namespace belfry::server
