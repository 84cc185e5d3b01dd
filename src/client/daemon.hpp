// Finding belfryd, or starting one.
//
// Called  by whoever opens a device: the client library, the preload library, the command.
//
// A program that runs with no daemon gets a private one, which ends with its last client. It is started so
// that nothing has to be awaited: the socket listens and our connection is in its backlog before the daemon
// exists.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "base/fd.hpp"

namespace belfry::client {

struct ConnectOptions {
    std::string socket_path{};     ///< empty: $BELFRY_SOCKET, else the default path
    bool may_start = true;         ///< start a private daemon if nobody answers at the default path
    bool may_be_node = false;      ///< before that, look for a node of the kernel that a daemon serves
    std::string belfryd_binary{};  ///< empty: $BELFRYD, else as found; see find_belfryd()
    std::vector<std::string> belfryd_arguments{};  ///< more of them, for one that is started
};

struct DaemonConnection {
    base::Fd primary;
    std::string
        path;  ///< where it is connected to; a child that gets it as $BELFRY_SOCKET meets the same daemon
    bool started = false;  ///< a private daemon was started for it
};

struct ConnectError {
    int error = 0;        ///< errno
    std::string message;  ///< a sentence that names path or program
};

/// Connects to a running daemon, or to a private one that it starts; opens a path that is a device node. A
/// path that was given explicitly (option or $BELFRY_SOCKET) and does not answer is an error, never a reason
/// to start one. Blocks no longer than fork and exec take. Reaps the one child process it makes.
std::expected<DaemonConnection, ConnectError> connect_or_start(const ConnectOptions& options = {});

/// Starts a private daemon, whoever else runs: the second half of connect_or_start().
std::expected<DaemonConnection, ConnectError> start_private(const ConnectOptions& options);

/// The daemon's binary: $BELFRYD, else beside the running program, else in ../bin beside the client library,
/// else in $PATH. Empty if there is none.
std::string find_belfryd();

}  // namespace belfry::client
