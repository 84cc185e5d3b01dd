// Connection: what all handles of a Device share, and how a failed request becomes an Error.
//
// Runs on any thread. Internal to the client library.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "belfry/error.hpp"
#include "client/transport.hpp"

namespace belfry::client {

struct Connection {
    std::unique_ptr<Transport> transport;
    std::string path;
};

/// "WHAT: strerror", with the errno.
Error error_of(base::Errno code, std::string_view what);

/// Makes a request of the driver; `what` says in an error what was wanted, with its values.
belfry::Result<void> request(const Connection& connection, std::uint32_t number, void* args,
                             std::string_view what);

/// For destructors: nobody can be told that it failed.
void request_quietly(const Connection& connection, std::uint32_t number, void* args);

}  // namespace belfry::client
