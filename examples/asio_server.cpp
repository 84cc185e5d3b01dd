// The server of uring_server.cpp, written as C++20 coroutines on Asio: each client is a loop that reads,
// computes and writes, and `co_await gpu.done(job)` is all that there is of the GPU.
//
//   asio_server SOCKET                 until SIGTERM or SIGINT
//   lookup_client SOCKET
//
// Asio's event loop keeps the sockets. Waits for the GPU lie in an io_uring of their own, whose descriptor
// Asio watches like any other: it is readable when something has completed. One thread, no polling.

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/read.hpp>
#include <asio/redirect_error.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <belfry/uring.hpp>

#include "lookup.hpp"

namespace {

using asio::use_awaitable;
using asio::local::stream_protocol;
using namespace belfry;

constexpr std::size_t kClientsMax = 256;

/// What is an error of the program's, and no reply to anybody.
template <typename T>
T must(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().message);
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// Something that coroutines wait for: a timer that never expires, and is cancelled when it happens.
class Event {
  public:
    explicit Event(asio::io_context& io) : timer_(io, asio::steady_timer::time_point::max()) {}
    void happen() { timer_.cancel(); }
    asio::awaitable<void> wait() {
        asio::error_code cancelled;
        co_await timer_.async_wait(asio::redirect_error(use_awaitable, cancelled));
    }

  private:
    asio::steady_timer timer_;
};

/// How a coroutine ends that nobody waits for: its error is the program's.
void rethrow(const std::exception_ptr& error) {
    if (error) std::rethrow_exception(error);
}

/// The GPU as coroutines see it.
class Gpu {
  public:
    Gpu(asio::io_context& io, lookup::Gpu& gpu, io_uring& ring)
        : io_(io),
          gpu_(gpu),
          ring_(ring),
          port_(ring, gpu.device, gpu.vm),
          completions_(io, ring.ring_fd),
          regrouped_(io) {
        asio::co_spawn(io, serve_completions(), rethrow);
        asio::co_spawn(io, serve_groups(), rethrow);
    }
    Gpu(const Gpu&) = delete;
    Gpu& operator=(const Gpu&) = delete;
    ~Gpu() { completions_.release(); }

    /// True when the job is done; false when its group has ended and it was not.
    asio::awaitable<bool> done(lookup::Job job) {
        uring::Wait wait(port_, job.done, job.target);
        InFlight entry{.job = job, .completed = Event(io_)};
        for (;;) {
            io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
            must(wait.prep(sqe));
            io_uring_sqe_set_data(sqe, &entry);
            io_uring_submit(&ring_);
            in_flight_.insert(&entry);
            co_await entry.completed.wait();
            in_flight_.erase(&entry);
            const auto outcome = wait.finish(entry.res);
            if (outcome && *outcome == uring::Outcome::reached) co_return true;
            if (!outcome && outcome.error().code != ECANCELED) must(outcome);
            if (!gpu_.is_present(job)) co_return false;
        }
    }

    /// Has the request in the slot looked up. Returns the reply's error.
    asio::awaitable<int> look_up(std::size_t slot) {
        for (;;) {
            const auto job = gpu_.submit(slot);
            if (!job && job.error().code != ECANCELED) must(job);
            if (!job) {
                co_await regrouped_.wait();
                continue;
            }
            if (co_await done(*job)) co_return 0;
            if (job->is_culprit()) co_return EFAULT;
        }
    }

    lookup::Slot& slot(std::size_t index) { return gpu_.slot(index); }

  private:
    struct InFlight {
        lookup::Job job;
        Event completed;
        int res = 0;
    };

    /// Resumes whoever waits for what has completed.
    asio::awaitable<void> serve_completions() {
        for (;;) {
            co_await completions_.async_wait(asio::posix::stream_descriptor::wait_read, use_awaitable);
            io_uring_cqe* cqe = nullptr;
            while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
                auto* const entry = static_cast<InFlight*>(io_uring_cqe_get_data(cqe));
                if (entry != nullptr) {  // null: a cancellation
                    entry->res = cqe->res;
                    entry->completed.happen();
                }
                io_uring_cqe_seen(&ring_, cqe);
            }
        }
    }

    /// Makes a new group when the present one has ended, and ends the waits for the old one's values.
    asio::awaitable<void> serve_groups() {
        for (;;) {
            {
                asio::posix::stream_descriptor ended(io_, ::dup(gpu_.group_ended()));
                co_await ended.async_wait(asio::posix::stream_descriptor::wait_read, use_awaitable);
            }
            must(gpu_.new_group());
            for (InFlight* const entry : in_flight_) {
                io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
                io_uring_prep_cancel(sqe, entry, 0);
                io_uring_sqe_set_data(sqe, nullptr);
                io_uring_submit(&ring_);
            }
            regrouped_.happen();
        }
    }

    asio::io_context& io_;
    lookup::Gpu& gpu_;
    io_uring& ring_;
    uring::Port port_;
    asio::posix::stream_descriptor completions_;
    Event regrouped_;
    std::set<InFlight*> in_flight_;
};

/// One client, from its first request to its last.
asio::awaitable<void> serve(stream_protocol::socket client, Gpu& gpu, std::vector<std::size_t>& free) {
    const std::size_t index = free.back();
    free.pop_back();
    lookup::Slot& slot = gpu.slot(index);
    try {
        for (;;) {
            co_await asio::async_read(client, asio::buffer(&slot.request, sizeof slot.request),
                                      use_awaitable);
            const int error = co_await gpu.look_up(index);
            slot.reply.error = static_cast<std::uint32_t>(error);
            co_await asio::async_write(client, asio::buffer(&slot.reply, sizeof slot.reply), use_awaitable);
        }
    } catch (const asio::system_error&) {  // it has hung up
    }
    free.push_back(index);
}

asio::awaitable<void> accept(stream_protocol::acceptor& acceptor, Gpu& gpu, std::vector<std::size_t>& free) {
    for (;;) {
        stream_protocol::socket client = co_await acceptor.async_accept(use_awaitable);
        if (free.empty()) continue;  // turned away
        asio::co_spawn(acceptor.get_executor(), serve(std::move(client), gpu, free), rethrow);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: asio_server SOCKET\n");
        return EXIT_FAILURE;
    }
    try {
        // Clients that are still there at the end go with `io`: what they refer to lives longer.
        lookup::Gpu memory = must(lookup::Gpu::open(kClientsMax));
        std::vector<std::size_t> free;
        for (std::size_t i = 0; i < kClientsMax; ++i) free.push_back(i);
        asio::io_context io(1);
        io_uring ring{};
        if (const int error = io_uring_queue_init(2 * kClientsMax, &ring, 0); error < 0)
            throw std::runtime_error(std::string("io_uring: ") + std::strerror(-error));
        Gpu gpu(io, memory, ring);

        ::unlink(argv[1]);
        stream_protocol::acceptor acceptor(io, stream_protocol::endpoint(argv[1]));
        asio::co_spawn(io, accept(acceptor, gpu, free), rethrow);
        asio::signal_set ends(io, SIGTERM, SIGINT);
        ends.async_wait([&](const asio::error_code&, int) { io.stop(); });
        std::printf("listening at %s\n", argv[1]);
        std::fflush(stdout);
        io.run();
        io_uring_queue_exit(&ring);
        std::printf("%llu requests to the driver\n",
                    static_cast<unsigned long long>(memory.device.requests()));
        ::unlink(argv[1]);
        return EXIT_SUCCESS;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "asio_server: %s\n", error.what());
        return EXIT_FAILURE;
    }
}
