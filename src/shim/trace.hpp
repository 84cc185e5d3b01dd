// The trace: a line for each thing that the program does to the driver.
//
// $BELFRY_TRACE names where to: "stderr", or a file that is appended to. One write a line, so that the lines
// of several threads and processes do not mix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "base/result.hpp"
#include "uapi/trace.hpp"

namespace belfry::shim {

/// What was done, while it is being done: measures its time.
class Trace {
  public:
    explicit Trace(std::string_view where);
    [[nodiscard]] bool wanted() const { return started_ns_ != 0; }
    /// The line for a request whose words were begun before it was made.
    void request(const uapi::RequestText& words, base::Result<void> result) const;
    void map(std::size_t bytes, int protection, int flags, off_t offset, base::Result<void*> result) const;
    void open(int flags, int fd) const;

  private:
    void line(const std::string& what, const std::string& result) const;
    std::string where_;
    std::uint64_t started_ns_ = 0;  // 0: nobody wants to know
};

}  // namespace belfry::shim
