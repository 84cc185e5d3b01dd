// ExportHost: the descriptors that clients hold objects by, and the event of a last copy being closed.
//
// Owns    the write end of each token's pipe, and the watch on the memfds that were handed out.
// Runs    in the driver actor, on the thread of its io_context. No locks.
// Called  by drm::Exports.
#pragma once

#include <functional>
#include <utility>

#include <asio/io_context.hpp>

#include "drm/exports.hpp"

namespace belfry::server {

class ExportHost final : public drm::ExportHost {
  public:
    explicit ExportHost(asio::io_context& io) : io_(io) {}

    void on_last_closed(std::function<void(drm::Inode)> closed) override { closed_ = std::move(closed); }
    drm::Result<Token> make_token() override { return std::unexpected(drm::Errno::too_many_files); }
    void signal_token(drm::Inode) override {}
    drm::Result<base::Fd> open_memory(int) override { return std::unexpected(drm::Errno::too_many_files); }

  private:
    [[maybe_unused]] asio::io_context& io_;
    std::function<void(drm::Inode)> closed_;
};

}  // namespace belfry::server
