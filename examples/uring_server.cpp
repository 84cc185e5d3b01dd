// A server that waits for its sockets and for the GPU in one io_uring: one thread, no polling, and nobody who
// helps. It answers the requests of lookup.hpp.
//
//   uring_server SOCKET [eventfd]      until SIGTERM or SIGINT; eventfd: as on a kernel before 6.7
//   lookup_client SOCKET
//
// Each client has one entry in the ring at any time, and what that was says where the client is:
//
//   receiving ── request ──► computing ── value reached ──► sending ── reply is out ──► receiving
//       │                       ▲  │                           ▲  │
//       │                       │  └── its job ended the group ┘  │
//       └── gone: closed        └───── another's job ended the group: once more
//                                                                 └── gone: closed
//
// Besides, there is one entry for the next client, one for the end of the group, and one for signals.

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <belfry/uring.hpp>

#include "lookup.hpp"

namespace {

using namespace belfry;

constexpr std::size_t kClientsMax = 256;

class Server {
  public:
    Server(lookup::Gpu gpu, int listener, int signals, io_uring& ring, std::optional<uring::Way> way)
        : gpu_(std::move(gpu)),
          listener_(listener),
          signals_(signals),
          ring_(ring),
          port_(ring_, gpu_.device, gpu_.vm, way),
          clients_(kClientsMax) {
        for (std::size_t i = 0; i < kClientsMax; ++i) clients_[i].slot = i;
        for (Client& client : clients_) free_.push_back(&client);
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server() { io_uring_queue_exit(&ring_); }  // before the buffers that its entries use

    Result<void> run();
    void report() const {
        std::printf("%llu replies, %llu of them errors, %llu clients, %llu groups ended, %llu requests\n",
                    static_cast<unsigned long long>(replies_), static_cast<unsigned long long>(errors_),
                    static_cast<unsigned long long>(connected_), static_cast<unsigned long long>(ended_),
                    static_cast<unsigned long long>(gpu_.device.requests()));
    }

  private:
    enum class Step : std::uint8_t { receiving, computing, sending };
    struct Client {
        std::size_t slot = 0;
        int fd = -1;
        Step step = Step::receiving;
        std::optional<lookup::Job> job;   // while computing; none: its group had ended before
        std::optional<uring::Wait> wait;  // for the job
    };

    io_uring_sqe* entry(void* owner);
    Result<void> completed(void* owner, int res);

    void await_client();
    void await_group_end();
    void await_signal();
    Result<void> accepted(int res);
    Result<void> group_ended();

    void receive(Client& client);
    Result<void> received(Client& client, int res);
    Result<void> compute(Client& client);
    Result<void> computed(Client& client, int res);
    void reply(Client& client, int error);
    void sent(Client& client, int res);
    void drop(Client& client);

    lookup::Gpu gpu_;
    int listener_;
    int signals_;
    io_uring& ring_;
    uring::Port port_;
    std::vector<Client> clients_;
    std::vector<Client*> free_;
    bool accepting_ = false;
    bool stopped_ = false;
    std::uint64_t replies_ = 0;
    std::uint64_t errors_ = 0;
    std::uint64_t connected_ = 0;
    std::uint64_t ended_ = 0;
};

/// The whole loop: hand in what was prepared, sleep until something has completed, go on from there.
Result<void> Server::run() {
    await_client();
    await_group_end();
    await_signal();
    while (!stopped_) {
        if (const int error = io_uring_submit_and_wait(&ring_, 1); error < 0 && error != -EINTR)
            return std::unexpected(Error{.code = -error, .message = std::strerror(-error)});
        io_uring_cqe* cqe = nullptr;
        while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
            void* const owner = io_uring_cqe_get_data(cqe);
            const int res = cqe->res;
            io_uring_cqe_seen(&ring_, cqe);
            if (const auto done = completed(owner, res); !done) return done;
        }
    }
    return {};
}

/// A free entry, whose completion will be `owner`'s.
io_uring_sqe* Server::entry(void* owner) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    while (sqe == nullptr) {
        io_uring_submit(&ring_);
        sqe = io_uring_get_sqe(&ring_);
    }
    io_uring_sqe_set_data(sqe, owner);
    return sqe;
}

Result<void> Server::completed(void* owner, int res) {
    if (owner == &listener_) return accepted(res);
    if (owner == &gpu_) return group_ended();
    if (owner == &signals_) {
        stopped_ = true;
        return {};
    }
    if (owner == nullptr) return {};  // a cancellation: what it cancelled tells
    Client& client = *static_cast<Client*>(owner);
    switch (client.step) {
        case Step::receiving: return received(client, res);
        case Step::computing: return computed(client, res);
        case Step::sending:   sent(client, res); break;
    }
    return {};
}

void Server::await_client() {
    // Without a slot for one more they stay in the socket's backlog.
    if (accepting_ || free_.empty()) return;
    accepting_ = true;
    io_uring_prep_accept(entry(&listener_), listener_, nullptr, nullptr, SOCK_CLOEXEC);
}

void Server::await_group_end() { io_uring_prep_poll_add(entry(&gpu_), gpu_.group_ended(), POLLIN); }

void Server::await_signal() { io_uring_prep_poll_add(entry(&signals_), signals_, POLLIN); }

Result<void> Server::accepted(int res) {
    accepting_ = false;
    if (res >= 0) {
        Client& client = *free_.back();
        free_.pop_back();
        client.fd = res;
        ++connected_;
        receive(client);
    } else if (res != -ECONNABORTED) {
        return std::unexpected(Error{.code = -res, .message = std::string("accept: ") + std::strerror(-res)});
    }
    await_client();
    return {};
}

Result<void> Server::group_ended() {
    ++ended_;
    if (const auto made = gpu_.new_group(); !made) return made;
    await_group_end();
    for (Client& client : clients_) {
        if (client.fd < 0 || client.step != Step::computing) continue;
        if (client.job) {
            // Nobody reaches its value any more, if it is not reached already: then finish() will say so.
            io_uring_prep_cancel(entry(nullptr), &client, 0);
        } else if (const auto again = compute(client); !again) {
            return again;
        }
    }
    return {};
}

void Server::receive(Client& client) {
    client.step = Step::receiving;
    lookup::Request& request = gpu_.slot(client.slot).request;
    io_uring_prep_recv(entry(&client), client.fd, &request, sizeof request, MSG_WAITALL);
}

Result<void> Server::received(Client& client, int res) {
    if (res == sizeof(lookup::Request)) return compute(client);
    drop(client);  // hung up, between two requests or in the middle of one
    return {};
}

Result<void> Server::compute(Client& client) {
    client.step = Step::computing;
    client.job.reset();
    auto job = gpu_.submit(client.slot);
    if (!job && job.error().code == ECANCELED) return {};  // group_ended() comes, and then once more
    if (!job) return std::unexpected(job.error());
    client.job = *job;
    auto wait = port_.prep_wait(entry(&client), job->done, job->target);
    if (!wait) return std::unexpected(wait.error());
    client.wait.emplace(std::move(*wait));
    return {};
}

Result<void> Server::computed(Client& client, int res) {
    const auto outcome = client.wait->finish(res);
    if (!outcome && outcome.error().code != ECANCELED) return std::unexpected(outcome.error());
    const bool reached = outcome && *outcome == uring::Outcome::reached;
    if (!reached && gpu_.is_present(*client.job)) return client.wait->prep(entry(&client));
    client.wait.reset();
    if (!reached && !client.job->is_culprit()) return compute(client);
    reply(client, reached ? 0 : EFAULT);
    return {};
}

void Server::reply(Client& client, int error) {
    client.step = Step::sending;
    lookup::Reply& reply = gpu_.slot(client.slot).reply;
    reply.error = static_cast<std::uint32_t>(error);
    io_uring_prep_send(entry(&client), client.fd, &reply, sizeof reply, MSG_NOSIGNAL | MSG_WAITALL);
}

void Server::sent(Client& client, int res) {
    if (res != sizeof(lookup::Reply)) return drop(client);
    ++replies_;
    if (gpu_.slot(client.slot).reply.error != 0) ++errors_;
    receive(client);
}

void Server::drop(Client& client) {
    ::close(client.fd);
    client.fd = -1;
    free_.push_back(&client);
    await_client();
}

/// A socket that listens at `path`; negative: errno says why not.
int listen_at(const char* path) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ::unlink(path);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener, SOMAXCONN) != 0)
        return -1;
    return listener;
}

int fail(const std::string& message) {
    std::fprintf(stderr, "uring_server: %s\n", message.c_str());
    return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) return fail("usage: uring_server SOCKET [eventfd]");
    const bool by_eventfd = argc > 2 && std::string_view(argv[2]) == "eventfd";
    sigset_t ends{};
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    ::sigprocmask(SIG_BLOCK, &ends, nullptr);
    const int signals = ::signalfd(-1, &ends, SFD_CLOEXEC);
    const int listener = listen_at(argv[1]);
    if (listener < 0) return fail(std::string(argv[1]) + ": " + std::strerror(errno));
    io_uring ring{};
    if (const int error = io_uring_queue_init(2 * kClientsMax, &ring, 0); error < 0)
        return fail(std::string("io_uring: ") + std::strerror(-error));
    auto gpu = lookup::Gpu::open(kClientsMax);
    if (!gpu) return fail(gpu.error().message);

    Server server(std::move(*gpu), listener, signals, ring,
                  by_eventfd ? std::optional(uring::Way::eventfd) : std::nullopt);
    std::printf("listening at %s\n", argv[1]);
    std::fflush(stdout);
    const auto ended = server.run();
    server.report();
    ::unlink(argv[1]);
    return ended ? EXIT_SUCCESS : fail(ended.error().message);
}
