// TestExports: the host of exported descriptors, without an event loop: a test says when a last copy is
// closed.
#pragma once

#include <array>
#include <functional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "drm/exports.hpp"

namespace belfry::drm {

class TestExports final : public ExportHost {
  public:
    void on_last_closed(std::function<void(Inode)> closed) override { closed_ = std::move(closed); }
    Result<Token> make_token() override {
        if (fail) return std::unexpected(*fail);
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return base::last_error();
        base::Fd read_end(ends[0]);
        const Inode inode = *inode_of(read_end.get());
        write_ends.insert_or_assign(inode, base::Fd(ends[1]));
        return Token{.fd = std::move(read_end), .inode = inode};
    }
    void signal_token(Inode token) override {
        const char byte = 0;
        [[maybe_unused]] const auto written = ::write(write_ends.at(token).get(), &byte, 1);
    }
    Result<base::Fd> open_memory(int memory) override {
        if (fail) return std::unexpected(*fail);
        const std::string path = "/proc/self/fd/" + std::to_string(memory);
        base::Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        if (!file) return base::last_error();
        return file;
    }

    /// The last copy of a descriptor is gone.
    void close(Inode inode) {
        write_ends.erase(inode);
        closed_(inode);
    }

    std::optional<Errno> fail;  ///< what making a descriptor fails with
    std::unordered_map<Inode, base::Fd, InodeHash> write_ends;

  private:
    std::function<void(Inode)> closed_;
};

}  // namespace belfry::drm
