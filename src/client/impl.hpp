// What lies behind the public handles, where one of them needs another's.
#pragma once

#include <cstdint>
#include <memory>

#include "base/memory.hpp"
#include "belfry/buffer.hpp"
#include "client/connection.hpp"

namespace belfry {

struct Buffer::Impl {
    std::shared_ptr<client::Connection> connection;
    std::uint32_t handle = 0;
    std::uint64_t size = 0;
    base::Mapping memory;

    Impl(std::shared_ptr<client::Connection> connection_, std::uint32_t handle_, std::uint64_t size_)
        : connection(std::move(connection_)), handle(handle_), size(size_) {}
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl();
};

}  // namespace belfry
