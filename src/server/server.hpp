// Server: everything that belfryd is made of, put together and taken apart in order.
//
// Owns    the GPU and its threads, panthor's device, the nodes, the view of them, the listener.
// Runs    run() in the driver actor, which is the calling thread.
// Called  by main.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include "drivers/panthor/device.hpp"
#include "drivers/panthor/file.hpp"
#include "drm/sw_sync.hpp"
#include "gpu/gpu.hpp"
#include "server/backing_file.hpp"
#include "server/end_reports.hpp"
#include "server/export_host.hpp"
#include "server/gpu_thread.hpp"
#include "server/kernel_node.hpp"
#include "server/listener.hpp"
#include "server/shader_pool.hpp"
#include "server/view.hpp"

namespace belfry::server {

struct ServerOptions {
    gpu::FirmwareConfig firmware;
    bool end_with_last_client = false;
    /// Of BOs that may be in memory; 0: no bound. Beyond it they go to a file in $TMPDIR, or in /var/tmp.
    std::uint64_t memory_budget_bytes = 0;
    /// The kernel's /dev/belfry: serves a DRM node of the kernel, too. Empty: none.
    std::string kernel_node;
};

class Server {
  public:
    /// The socket is listening already and leads to the render node; if it has a name, all nodes get doors in
    /// the view beside it. Clients are taken when the firmware is up.
    static std::expected<std::unique_ptr<Server>, std::string> make(const ServerOptions& options,
                                                                    ListeningSocket socket);
    Server(const ServerOptions& options, ListeningSocket socket, std::unique_ptr<GpuHost> host,
           base::Fd backing_file);
    ~Server();

    /// Serves until stop(), SIGTERM, SIGINT, or the last client if so asked. False if the device did not come
    /// up.
    bool run();
    /// From any thread.
    void stop();

  private:
    [[nodiscard]] std::expected<void, std::string> open_doors();
    bool open_kernel_node();
    void serve();
    bool poll_rings(std::uint64_t now);
    void shut_down();
    void close_doors();
    void await_interrupt();
    void await_signal();
    void settle();
    void enter();
    void leave();

    ServerOptions options_;
    asio::io_context io_;
    // In the order of dependence; taken apart in reverse.
    std::unique_ptr<GpuHost> host_;
    ExportHost exports_;
    std::unique_ptr<BackingFile> backing_file_;  // null: no bound on memory
    gpu::Gpu gpu_;
    panthor::Device device_;
    panthor::Node render_node_;
    panthor::Node primary_node_;
    drm::SwSyncNode sw_sync_node_;
    std::unique_ptr<ShaderPool> pool_;
    std::unique_ptr<GpuThread> thread_;
    asio::posix::stream_descriptor interrupt_;  // borrows the host's
    asio::steady_timer timer_;
    std::optional<std::uint64_t> timer_armed_for_;
    asio::signal_set signals_;
    EndReports end_reports_;
    std::string path_;
    WarmChannels warm_;
    Listener listener_;
    std::optional<View> view_;
    std::unique_ptr<KernelNode> kernel_node_;  // null: none, or not yet
    bool failed_ = false;
};

}  // namespace belfry::server
