// ExportHost: the descriptors that clients hold objects by, and the event of a last copy being closed.
//
// Owns    the write end of each token's pipe, and the watch on each memfd of which an open file was handed
//         out.
// Runs    in the driver actor, on the thread of its io_context, which outlives it. No locks.
// Called  by drm::Exports; tells it from the event loop what was closed.
//
// A token is the read end of a pipe: readable for good once a byte lies in it. Its copies need no counting:
// the write end, which is ours alone, reports an error when no read end is left in any process. Ours is
// closed after that was told, so that the pipe's inode cannot name something else while it is still known as
// a token.
//
// A dma-buf is a further open file of the buffer's memfd, opened through /proc; so is what a client maps that
// must be seen to let go of it. That the last of these has gone is seen in two steps. inotify says that one
// was closed (its last descriptor and its last mapping are gone). Then a write lease on one more file, opened
// for that, is asked for: the kernel grants it if no other file of that inode is open, and does not count
// ours, which was made and not opened.
#pragma once

#include <chrono>
#include <functional>
#include <unordered_map>
#include <utility>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include "drm/exports.hpp"

namespace belfry::server {

class ExportHost final : public drm::ExportHost {
  public:
    struct Hooks {
        std::function<void()> before_each;  ///< before each event that may end an export
        std::function<void()> after_each;   ///< after it
    };

    /// The process ignores SIGPIPE and SIGIO: the first would come of a token that is signalled while its
    /// last copy is being closed, the second of a client that opens a memfd at the moment of our lease.
    ExportHost(asio::io_context& io, Hooks hooks);
    ExportHost(const ExportHost&) = delete;
    ExportHost& operator=(const ExportHost&) = delete;

    void on_last_closed(std::function<void(drm::Inode)> closed) override { closed_ = std::move(closed); }
    drm::Result<Token> make_token() override;
    void signal_token(drm::Inode token) override;
    /// `memory` stays open until it was told closed. Also ENOMEM if the user's inotify watches are used up,
    /// and EAGAIN while a client keeps a lease on the memory.
    drm::Result<base::Fd> open_memory(int memory) override;

    [[nodiscard]] std::size_t size() const { return tokens_.size() + memories_.size(); }

  private:
    /// A memfd of which others hold open files.
    struct Memory {
        drm::Inode inode;
        int fd;  // borrowed
        asio::steady_timer look_again;
        std::chrono::nanoseconds next_delay{};
    };

    using Memories = std::unordered_map<int, Memory>;

    void token_closed(drm::Inode inode);
    void await_files_closed();
    void read_files_closed();
    void file_closed(int watch);
    void look(int watch);
    void forget(Memories::iterator memory);

    asio::io_context& io_;
    Hooks hooks_;
    std::function<void(drm::Inode)> closed_ = [](drm::Inode) {};
    std::unordered_map<drm::Inode, asio::posix::stream_descriptor, drm::InodeHash> tokens_;  // write ends
    asio::posix::stream_descriptor inotify_;
    Memories memories_;  // by their watch, of which an inode has one
};

}  // namespace belfry::server
