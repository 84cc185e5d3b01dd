// What lies behind Vm.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "belfry/vm.hpp"
#include "client/connection.hpp"

namespace belfry {

struct Vm::Impl {
    /// The first page is left out, so that address 0 always faults.
    static constexpr std::uint64_t kFirstAddress = 0x10000;

    std::shared_ptr<client::Connection> connection;
    std::uint32_t id;
    std::uint64_t end;  // of the program's part
    std::mutex mutex;
    std::uint64_t next = kFirstAddress;  // guarded by mutex; only grows: 47 bits last

    Impl(std::shared_ptr<client::Connection> connection_, std::uint32_t id_, std::uint64_t end_)
        : connection(std::move(connection_)), id(id_), end(end_) {}
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl();

    Result<std::uint64_t> choose_address(std::uint64_t bytes);
};

}  // namespace belfry
