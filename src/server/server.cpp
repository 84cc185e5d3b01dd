#include "server/server.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <thread>
#include <utility>

#include <spdlog/spdlog.h>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>

#include "base/clock.hpp"
#include "uapi/fault_text.hpp"

namespace belfry::server {

std::expected<std::unique_ptr<Server>, std::string> Server::make(const ServerOptions& options,
                                                                 ListeningSocket socket) {
    auto host = GpuHost::make();
    if (!host)
        return std::unexpected(
            "cannot make the eventfds between GPU and driver: is the limit on open files too low?");
    base::Fd backing_file;
    if (options.memory_budget_bytes != 0) {
        auto made = BackingFile::make_file();
        if (!made) return std::unexpected(std::move(made.error()));
        backing_file = std::move(*made);
    }
    auto server =
        std::make_unique<Server>(options, std::move(socket), std::move(*host), std::move(backing_file));
    if (auto opened = server->open_doors(); !opened) return std::unexpected(std::move(opened.error()));
    return server;
}

Server::Server(const ServerOptions& options, ListeningSocket socket, std::unique_ptr<GpuHost> host,
               base::Fd backing_file)
    : options_(options),
      host_(std::move(host)),
      exports_(io_, {.before_each = [this] { enter(); }, .after_each = [this] { leave(); }}),
      backing_file_(backing_file
                        ? std::make_unique<BackingFile>(io_, std::move(backing_file),
                                                        BackingFile::Hooks{.before_each = [this] { enter(); },
                                                                           .after_each = [this] { leave(); }})
                        : nullptr),
      gpu_(options.firmware, *host_),
      device_(
          {.mmio = gpu_, .shared = gpu_.shared(), .wake_lines = *host_, .flush_id_fd = gpu_.flush_id_fd()},
          exports_, {.budget_bytes = options.memory_budget_bytes, .store = backing_file_.get()}),
      render_node_(device_, drm::NodeKind::render),
      primary_node_(device_, drm::NodeKind::primary),
      sw_sync_node_(device_.exports(), device_.fence_contexts(), device_.timers(),
                    [this] { device_.run_work(); }),
      interrupt_(io_, host_->interrupt_fd()),
      timer_(io_),
      signals_(io_, SIGTERM, SIGINT),
      // A private belfryd has the standard error of who started it, which may be the watcher.
      end_reports_(io_, options.end_with_last_client ? EndReports::WatchedLines::not_logged
                                                     : EndReports::WatchedLines::logged),
      path_(socket.path()),
      listener_(io_, std::move(socket), render_node_,
                {.before_each = [this] { enter(); },
                 .after_each = [this] { settle(); },
                 .on_client = [this](const drm::Opener& opener) { end_reports_.client_came(opener.pid); },
                 .on_last_closed =
                     [this] {
                         if (options_.end_with_last_client) shut_down();
                     }}) {}

Server::~Server() {
    // Files end their groups; the firmware is not waited for, because the GPU's threads end before its memory
    // goes.
    close_doors();
    thread_.reset();
    pool_.reset();
    if (backing_file_ != nullptr) backing_file_->stop();
    interrupt_.release();
}

bool Server::run() {
    pool_ = std::make_unique<ShaderPool>(gpu_, options_.firmware.shader_cores);
    host_->set_pool(pool_.get());
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
        if (!options_.kernel_node.empty() && !open_kernel_node()) {
            failed_ = true;
            io_.stop();
            return;
        }
        listener_.set_warm_channels(warm_);
        listener_.start();
        spdlog::info("serving {} with {} group slots of {} streams", path_, device_.firmware().group_slots(),
                     device_.firmware().streams_per_group());
    });
    serve();
    return !failed_;
}

bool Server::open_kernel_node() {
    auto opened = KernelNode::open(
        io_, options_.kernel_node, render_node_, device_.fence_contexts(),
        {.before_each = [this] { enter(); },
         .after_each = [this] { leave(); },
         .on_lost =
             [this] {
                 spdlog::error("the kernel has taken the node away: it was not answered in time");
                 failed_ = true;
                 stop();
             }});
    if (!opened) {
        spdlog::error("{}", opened.error());
        return false;
    }
    kernel_node_ = std::move(*opened);
    return true;
}

/// The event loop. Looks for more a while before it sleeps: a program that goes from request to request makes
/// the next one in less time than it takes to fall asleep and wake up.
void Server::serve() {
    constexpr std::uint64_t kSpinNs = 8'000;
    /// Between two looks, which hold up whoever sends.
    constexpr std::uint64_t kPauseNs = 500;
    /// Messages in a row of channels that are warm, or turns of rings, before everybody else has a turn.
    constexpr unsigned kTurn = 8;
    const bool spins = std::thread::hardware_concurrency() > 1;
    unsigned in_a_row = 0;
    std::uint64_t now = base::monotonic_ns();
    std::uint64_t last_event_ns = now;
    const auto until_stopped = asio::make_work_guard(io_);
    while (!io_.stopped()) {
        bool found = warm_.look(now);
        if (device_.polls()) found |= poll_rings(now);
        if (!found || ++in_a_row == kTurn) {
            in_a_row = 0;
            found |= io_.poll() != 0;
        }
        // A ring that is awake has nobody who waits for us to look less often.
        const bool pauses = !found && !device_.polls();
        const std::uint64_t begun =
            std::exchange(now, pauses ? base::relax_for(kPauseNs) : base::monotonic_ns());
        if (found) {
            device_.busy_ns += now - begun;
            last_event_ns = now;
        } else if (!device_.polls() && (!spins || now - last_event_ns >= kSpinNs)) {
            warm_.cool_down();
            io_.run_one();
            now = last_event_ns = base::monotonic_ns();
            device_.busy_ns += now - device_.timers().now();  // since the event came
        }
    }
    warm_.cool_down();
}

/// Submit rings: false if the one whose turn it was had nothing.
bool Server::poll_rings(std::uint64_t now) {
    device_.set_now(now);
    const bool found = device_.poll();
    if (found) settle();
    return found;
}

void Server::stop() {
    asio::post(io_, [this] { shut_down(); });
}

void Server::shut_down() {
    close_doors();
    io_.stop();
}

std::expected<void, std::string> Server::open_doors() {
    if (path_.empty()) return {};  // inherited, and without a name
    auto view = View::make(path_);
    if (!view) return std::unexpected(std::move(view.error()));
    view_.emplace(std::move(*view));
    const std::array<std::pair<const char*, drm::Node*>, 3> doors{{{View::kRenderNode, &render_node_},
                                                                   {View::kPrimaryNode, &primary_node_},
                                                                   {View::kSwSyncNode, &sw_sync_node_}}};
    for (const auto& [name, node] : doors) {
        auto socket = ListeningSocket::bind(view_->at(name));
        if (!socket) return std::unexpected(std::move(socket.error()));
        listener_.add_door(std::move(*socket), *node);
    }
    auto socket = ListeningSocket::bind(view_->at(View::kEnded));
    if (!socket) return std::unexpected(std::move(socket.error()));
    end_reports_.open_door(std::move(*socket));
    return {};
}

void Server::close_doors() {
    kernel_node_.reset();
    end_reports_.close();
    view_.reset();  // before the socket: it may lie in a directory that goes with it
    listener_.close_all();
}

/// Before each entry into the driver.
void Server::enter() { device_.set_now(base::monotonic_ns()); }

/// After an entry that may have given the driver more to do.
void Server::leave() {
    device_.run_work();
    settle();
}

void Server::await_interrupt() {
    interrupt_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
        if (error) return;
        // Drained first: a line that rises while it is being served rings again.
        base::drain_eventfd(host_->interrupt_fd());
        enter();
        device_.interrupt();
        settle();
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

/// After each entry into the driver: says which groups have ended, tells the kernel of what has signalled,
/// and wakes up for what is due next.
void Server::settle() {
    device_.take_ended([this](const panthor::Group& group) {
        end_reports_.ended(group.owner, uapi::fault_text(group.fault(), group.state_flags()));
    });
    if (kernel_node_ != nullptr) kernel_node_->send_signals();
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
        settle();
    });
}

}  // namespace belfry::server
