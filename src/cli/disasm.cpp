#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "belfry/disassembler.hpp"
#include "belfry/uapi/valhall.hpp"
#include "cli/commands.hpp"
#include "cli/failure.hpp"

namespace belfry::cli {

static_assert(std::endian::native == std::endian::little, "streams are read as they lie in memory");

namespace {

/// Where a branch of a shader goes, for the end of its line; nothing for other instructions.
std::string branch_target(std::uint64_t word, std::uint64_t offset) {
    using namespace valhall;
    if (find(word) != &row(Op::branchz)) return {};
    const std::uint64_t target = offset + kInstructionBytes * (1 + get<Op::branchz, Mod::offset>(word));
    const bool is_before = static_cast<std::int64_t>(target) < 0;
    return fmt::format("  ; to {}{:#x}", is_before ? "-" : "", is_before ? -target : target);
}

}  // namespace

int run_disasm(const DisasmOptions& options) {
    const std::string& file = options.file;
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
        const std::string text =
            options.is_shader ? disassemble_shader(word) + branch_target(word, offset) : disassemble(word);
        fmt::print("{:6x}  {:016x}  {}\n", offset, word, text);
        offset += sizeof word;
    }
    if (std::ferror(stream) != 0)
        throw Failure{fmt::format("cannot read {}: {}", file, std::strerror(errno))};
    return EXIT_SUCCESS;
}

}  // namespace belfry::cli
