// TestExports: the host of exported descriptors, without an event loop: a test says when a last copy is
// closed. And what a program sees of such a descriptor with poll().
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drm/exports.hpp"

namespace belfry::drm {

inline bool readable(const base::Fd& fd) {
    pollfd entry{.fd = fd.get(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) == 1;
}

class TestExports final : public ExportHost {
  public:
    void on_last_closed(std::function<void(Inode)> closed) override { closed_ = std::move(closed); }
    Result<Token> make_token() override {
        if (fail) return std::unexpected(*fail);
        std::array<int, 2> ends{};
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0)
            return base::last_error();
        base::Fd read_end(ends[0]);
        const Inode inode = *inode_of(read_end.get());
        write_ends.insert_or_assign(inode, base::Fd(ends[1]));
        return Token{.fd = std::move(read_end), .inode = inode};
    }
    void signal_token(Inode token) override {
        const char byte = 0;  // perhaps to nobody: the last copy may be closed and close() still to come
        [[maybe_unused]] const auto sent = ::send(write_ends.at(token).get(), &byte, 1, MSG_NOSIGNAL);
    }
    Result<base::Fd> open_memory(int memory) override {
        if (fail) return std::unexpected(*fail);
        const std::string path = "/proc/self/fd/" + std::to_string(memory);
        base::Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        if (!file) return base::last_error();
        memories_.insert(*inode_of(file.get()));
        return file;
    }

    /// The last copy of a descriptor is gone.
    void close(Inode inode) {
        write_ends.erase(inode);
        memories_.erase(inode);
        closed_(inode);
    }

    /// Of all descriptors that were made and not closed.
    [[nodiscard]] std::vector<Inode> open_inodes() const {
        std::vector<Inode> inodes(memories_.begin(), memories_.end());
        for (const auto& [inode, write_end] : write_ends) inodes.push_back(inode);
        return inodes;
    }

    std::optional<Errno> fail;  ///< what making a descriptor fails with
    std::unordered_map<Inode, base::Fd, InodeHash> write_ends;

  private:
    std::function<void(Inode)> closed_;
    std::unordered_set<Inode, InodeHash> memories_;
};

}  // namespace belfry::drm
