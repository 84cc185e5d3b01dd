#include "server/server.hpp"

#include <chrono>
#include <csignal>

#include <spdlog/spdlog.h>

#include <asio/post.hpp>

#include "base/clock.hpp"

namespace belfry::server {

std::expected<std::unique_ptr<Server>, std::string> Server::make(const ServerOptions& options,
                                                                 ListeningSocket socket) {
    auto host = GpuHost::make();
    if (!host)
        return std::unexpected(
            "cannot make the eventfds between GPU and driver: is the limit on open files too low?");
    return std::make_unique<Server>(options, std::move(socket), std::move(*host));
}

Server::Server(const ServerOptions& options, ListeningSocket socket, std::unique_ptr<GpuHost> host)
    : options_(options),
      host_(std::move(host)),
      exports_(io_),
      gpu_(options.firmware, *host_),
      device_({.mmio = gpu_, .shared = gpu_.shared(), .wake_lines = *host_}, exports_),
      node_(device_, drm::NodeKind::render),
      interrupt_(io_, host_->interrupt_fd()),
      timer_(io_),
      signals_(io_, SIGTERM, SIGINT),
      listener_(io_, std::move(socket), node_,
                {.before_each = [this] { enter(); },
                 .after_each = [this] { arm_timer(); },
                 .on_last_closed =
                     [this] {
                         if (options_.end_with_last_client) shut_down();
                     }}) {}

Server::~Server() {
    // Files end their groups; the firmware is not waited for, because the GPU's thread ends before its memory
    // goes.
    listener_.close_all();
    thread_.reset();
    interrupt_.release();
}

bool Server::run() {
    thread_ = std::make_unique<GpuThread>(gpu_, *host_);
    await_interrupt();
    await_signal();
    enter();
    device_.boot([this](base::Result<void> up) {
        if (!up) {
            spdlog::error("the GPU's firmware did not come up");
            failed_ = true;
            io_.stop();
            return;
        }
        // Last: whoever connects finds everything below working.
        listener_.start();
        spdlog::info("serving {} with {} group slots of {} streams", listener_.path(),
                     device_.firmware().group_slots(), device_.firmware().streams_per_group());
    });
    io_.run();
    return !failed_;
}

void Server::stop() {
    asio::post(io_, [this] { shut_down(); });
}

void Server::shut_down() {
    listener_.close_all();
    io_.stop();
}

/// Before each entry into the driver.
void Server::enter() { device_.set_now(base::monotonic_ns()); }

void Server::await_interrupt() {
    interrupt_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
        if (error) return;
        // Drained first: a line that rises while it is being served rings again.
        base::drain_eventfd(host_->interrupt_fd());
        enter();
        device_.interrupt();
        arm_timer();
        await_interrupt();
    });
}

void Server::await_signal() {
    signals_.async_wait([this](const asio::error_code& error, int signal) {
        if (error) return;
        spdlog::info("ended by signal {}", signal);
        shut_down();
    });
}

void Server::arm_timer() {
    const auto deadline = device_.next_deadline();
    if (deadline == timer_armed_for_) return;
    timer_armed_for_ = deadline;
    if (!deadline) {
        timer_.cancel();
        return;
    }
    timer_.expires_at(asio::steady_timer::time_point(std::chrono::nanoseconds(*deadline)));
    timer_.async_wait([this](const asio::error_code& error) {
        if (error) return;
        timer_armed_for_.reset();
        enter();
        device_.tick();
        arm_timer();
    });
}

}  // namespace belfry::server
