// An io_uring for commands of drm_uring, whichever driver's node they are for, the commands that all drivers
// have, and programs that are killed with some in flight.
#pragma once

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.hpp"
#include "belfry/uapi/uring_cmd.h"

namespace belfry::kernel_tests {

using namespace belfry::uapi;

constexpr auto kSignal = static_cast<std::uint32_t>(BELFRY_SUBMIT_SYNC_SIGNAL);

/// What a test writes down is what the kernel gets. A node is what has an fd().
class Ring {
  public:
    explicit Ring(unsigned entries = 256, unsigned flags = IORING_SETUP_SQE128) {
        io_uring_params params{};
        params.flags = flags;
        const int error = io_uring_queue_init_params(entries, &ring_, &params);
        if (error != 0) throw std::system_error(-error, std::system_category(), "io_uring_setup");
    }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() { io_uring_queue_exit(&ring_); }

    /// From here on entries name the ring's own reference to the node, whose descriptor may be closed.
    void register_file(const auto& node) {
        const int fd = node.fd();
        registered_ = io_uring_register_files(&ring_, &fd, 1) == 0;
        EXPECT_TRUE(registered_);
    }
    /// Not yet submitted. The SQE's user_data is the entry's.
    io_uring_sqe* prepare(const auto& node, const belfry_uring_command& command) {
        io_uring_sqe* const sqe = prepare_plain();
        sqe->opcode = IORING_OP_URING_CMD;
        sqe->fd = registered_ ? 0 : node.fd();
        if (registered_) sqe->flags |= IOSQE_FIXED_FILE;
        sqe->cmd_op = BELFRY_URING_CMD_SUBMIT;
        sqe->user_data = command.entry.user_data;
        std::memcpy(sqe->cmd, &command, sizeof command);
        return sqe;
    }
    io_uring_sqe* prepare_plain() {
        io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
        if (sqe == nullptr) throw std::length_error("the submission queue is full");
        std::memset(sqe, 0, 2 * sizeof *sqe);
        return sqe;
    }
    void enter() { EXPECT_GE(io_uring_submit(&ring_), 0); }

    struct Completion {
        std::uint64_t user_data;
        int result;
        bool operator==(const Completion&) const = default;
    };
    /// Sleeps until there is one.
    Completion next() {
        io_uring_cqe* cqe = nullptr;
        int error = 0;
        do error = io_uring_wait_cqe(&ring_, &cqe);
        while (error == -EINTR);
        EXPECT_EQ(error, 0);
        const Completion completion{cqe->user_data, cqe->res};
        io_uring_cqe_seen(&ring_, cqe);
        return completion;
    }
    [[nodiscard]] bool nothing_completed() {
        io_uring_get_events(&ring_);  // task work that is due runs
        return io_uring_cq_ready(&ring_) == 0;
    }
    int run(const auto& node, const belfry_uring_command& command) {
        prepare(node, command);
        enter();
        return next().result;
    }
    /// The next `count` results, by the commands' user_data.
    std::map<std::uint64_t, int> results(unsigned count) {
        std::map<std::uint64_t, int> results;
        while (count-- > 0) {
            const Completion completion = next();
            EXPECT_TRUE(results.emplace(completion.user_data, completion.result).second)
                << completion.user_data;
        }
        return results;
    }
    io_uring& raw() { return ring_; }

  private:
    io_uring ring_{};
    bool registered_ = false;
};

inline belfry_uring_command nop(std::uint64_t user_data = 0) {
    belfry_uring_command command{};
    command.entry.opcode = BELFRY_SUBMIT_NOP;
    command.entry.user_data = user_data;
    return command;
}
inline belfry_uring_command cancel(std::uint64_t whom, std::uint64_t user_data) {
    belfry_uring_command command = nop(user_data);
    command.entry.opcode = BELFRY_SUBMIT_CANCEL;
    command.entry.payload[0] = whom;
    return command;
}
inline belfry_uring_command with_wait(belfry_uring_command command, std::uint32_t handle,
                                      std::uint64_t point = 0) {
    command.entry.wait_handle = handle;
    command.entry.wait_point = point;
    return command;
}
inline belfry_uring_command with_signal(belfry_uring_command command, std::uint32_t handle,
                                        std::uint64_t point = 0) {
    command.entry.signal_handle = handle;
    command.entry.signal_point = point;
    return command;
}
inline belfry_uring_command with_more(belfry_uring_command command,
                                      const std::vector<belfry_submit_sync>& syncs) {
    command.entry.more_syncs = static_cast<std::uint16_t>(syncs.size());
    command.arena = reinterpret_cast<std::uintptr_t>(syncs.data());
    command.arena_bytes = static_cast<std::uint32_t>(syncs.size() * sizeof syncs[0]);
    return command;
}

/// Runs it in a process of its own, which is killed once it has written to the descriptor.
inline void kill_when_ready(const std::function<void(int ready)>& body) {
    const base::Fd ready(::eventfd(0, EFD_CLOEXEC));
    const pid_t child = ::fork();
    if (child == 0) {
        body(ready.get());
        ::_exit(0);
    }
    eventfd_t count = 0;
    EXPECT_EQ(::eventfd_read(ready.get(), &count), 0);
    ::kill(child, SIGKILL);
    EXPECT_EQ(::waitpid(child, nullptr, 0), child);
}

}  // namespace belfry::kernel_tests
