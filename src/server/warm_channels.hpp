// WarmChannels: channels that had a message a moment ago. A program that goes from request to request makes
// the next one sooner than the event loop could be asked about it, so these are looked at directly.
//
// Owns    a reference to each while it is warm. One that stays silent goes back to the event loop.
// Runs    in the driver actor.
// Called  by Session (add) and by Server::serve (look, cool_down).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace belfry::server {

class WarmChannels {
  public:
    class Channel {
      public:
        virtual ~Channel() = default;
        /// Handles one message, if there is one.
        virtual bool look() = 0;
        /// Nobody will look any more: the event loop is to tell of the next message.
        virtual void cool() = 0;
    };

    /// From within a handler of the channel's, which is not waited for otherwise.
    void add(std::shared_ptr<Channel> channel) { added_.push_back(std::move(channel)); }
    /// Handles at most one message of each; false if there was none.
    bool look(std::uint64_t now_ns);
    /// Before the event loop sleeps.
    void cool_down();

  private:
    struct Entry {
        std::shared_ptr<Channel> channel;
        std::uint64_t last_message_ns;
    };
    std::vector<Entry> warm_;
    std::vector<std::shared_ptr<Channel>> added_;
};

}  // namespace belfry::server
