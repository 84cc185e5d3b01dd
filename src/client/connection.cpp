#include "client/connection.hpp"

#include <cstring>

#include <fmt/format.h>

namespace belfry::client {

Error error_of(base::Errno code, std::string_view what) {
    const int number = static_cast<int>(code);
    return {.code = number, .message = fmt::format("{}: {}", what, std::strerror(number))};
}

belfry::Result<void> request(const Connection& connection, std::uint32_t number, void* args,
                             std::string_view what) {
    if (const auto done = connection.transport->ioctl(number, args); !done)
        return std::unexpected(error_of(done.error(), what));
    return {};
}

void request_quietly(const Connection& connection, std::uint32_t number, void* args) {
    static_cast<void>(connection.transport->ioctl(number, args));
}

}  // namespace belfry::client
