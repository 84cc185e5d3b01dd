// RequestText: one request as a line of text, as strace would print it, from the table alone.
//
// Made and used by whoever passes requests on (the preload library), around each of them; reads the program's
// memory, bad pointers and all, through UserMemory. Result and time are the caller's to print.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "uapi/ioctl_table.hpp"
#include "uapi/wire.hpp"

namespace belfry::uapi {

class RequestText {
  public:
    /// Before the request: reads what goes in.
    RequestText(std::uint32_t request, const void* args, const UserMemory& memory);

    /// After it: the whole text, e.g. `SYNCOBJ_WAIT {handles=[1, 2], timeout_nsec=-1, count_handles=2,
    /// flags=0x1} => {first_signaled=0}`. Behind the arrow is what came back: on success all that the driver
    /// fills in, and whatever else changed.
    [[nodiscard]] std::string finish(bool succeeded) const;

  private:
    /// The program's struct as far as it is readable, zero-filled to our length.
    [[nodiscard]] bool read_struct(std::span<std::byte> to) const;

    std::uint32_t request_;
    std::uint64_t args_;
    const UserMemory& memory_;
    const Ioctl* ioctl_ = nullptr;  // null: no row
    std::uint32_t bytes_ = 0;       // of the program's struct, as far as we know it
    std::array<std::byte, 256> before_{};
    std::string text_;
};

}  // namespace belfry::uapi
