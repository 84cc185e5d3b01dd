#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <fmt/format.h>

#include "belfry/disassembler.hpp"
#include "cli/commands.hpp"
#include "cli/failure.hpp"

namespace belfry::cli {

static_assert(std::endian::native == std::endian::little, "streams are read as they lie in memory");

int run_disasm(const std::string& file) {
    struct Close {
        void operator()(std::FILE* open) const { std::fclose(open); }
    };
    std::unique_ptr<std::FILE, Close> opened;
    std::FILE* stream = stdin;
    if (file != "-") {
        opened.reset(std::fopen(file.c_str(), "rb"));
        if (opened == nullptr) throw Failure{fmt::format("cannot open {}: {}", file, std::strerror(errno))};
        stream = opened.get();
    }
    std::uint64_t offset = 0;
    for (;;) {
        std::uint64_t word = 0;
        const std::size_t got = std::fread(&word, 1, sizeof word, stream);
        if (got == 0) break;
        if (got < sizeof word)
            throw Failure{fmt::format("{} ends with {} bytes at offset {:#x}: instructions are 8 bytes each",
                                      file, got, offset)};
        fmt::print("{:6x}  {:016x}  {}\n", offset, word, disassemble(word));
        offset += sizeof word;
    }
    if (std::ferror(stream) != 0)
        throw Failure{fmt::format("cannot read {}: {}", file, std::strerror(errno))};
    return EXIT_SUCCESS;
}

}  // namespace belfry::cli
