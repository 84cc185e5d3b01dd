// Temporary files, and transfers to and from a file that are whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace belfry::base {

/// Where files go that are too large for memory: $TMPDIR, else /var/tmp.
std::string large_file_directory();
/// A file that has no name, or none any more. Empty on failure, with errno.
Fd make_unnamed_file(const std::string& directory);

/// All of it, or an error: as of pwrite().
Result<void> write_all(int file, const std::byte* data, std::uint64_t bytes, std::uint64_t at);
/// All of it, or an error: as of pread(), or EIO if the file ends before.
Result<void> read_all(int file, std::byte* data, std::uint64_t bytes, std::uint64_t at);

}  // namespace belfry::base
