// Programs: instructions as a core has decoded them, by 4 KiB page of code.
//
// Owns   a bounded number of pages: a copy of the words and what has been decoded of them.
// Runs   on whatever thread runs the Core.
// Called by core.cpp whenever a warp enters a page.
//
// A page is compared with memory when it is first used after begin(), which is once a job: so a change of the
// code between two jobs is seen however it was made. One during a job is seen by the next.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "gpu/shader/literals.hpp"
#include "gpu/shader/translation.hpp"
#include "gpu/shader/warp.hpp"

namespace belfry::gpu::shader {

inline constexpr unsigned kInstructionBytes = 8;
inline constexpr unsigned kOpsPerPage = kPageBytes / kInstructionBytes;

/// What the loop of core.cpp does with an operation.
enum class OpKind : std::uint8_t {
    undecoded,  ///< Programs::decode() first
    alu,
    alu_then_flow,
    message,
    message_then_flow,
    nop,
    nop_then_flow,
    branch,
    branch_indirect,
    barrier,
    reads_pc,  ///< anything of the above that must find its address in kProgramCounter
    invalid,
    page_end,  ///< after the last operation of a page
};

struct CodePage {
    std::array<Op, kOpsPerPage + 1> ops;
    std::array<std::uint64_t, kOpsPerPage> words;
    std::uint64_t written;  ///< registers that what has been decoded writes, one bit each
};

class Programs {
  public:
    /// `literals`: the rows of the shared bank that it may fill with constants.
    explicit Programs(std::span<Lanes> literals);

    /// From now on, pages are those of `translation`.
    void use(const Translation& translation) { translation_ = &translation; }
    /// A job starts, or may find other memory at its addresses. `program_word` is word 0 of its Shader
    /// Program descriptor: its float modes are part of what instructions are decoded to.
    void begin(std::uint32_t program_word);

    /// The page of code at `page << 12`; null if it may not be executed.
    CodePage* find(std::uint64_t page) {
        const Tag& tag = tags_[slot(page)];
        if (tag.page == page && tag.epoch == epoch_) [[likely]]
            return &pages_[slot(page)];
        return enter(page);
    }

    /// Decodes the operation at `index`.
    void decode(CodePage& page, std::size_t index);
    /// Registers that programs may have written since begin(), one bit each.
    [[nodiscard]] std::uint64_t written() const { return written_; }
    /// The kind that an operation of kind reads_pc has beside.
    static OpKind kind_without_pc(const Op& op);

  private:
    static constexpr std::size_t kPages = 64;
    struct Tag {
        std::uint64_t page = ~0ULL;
        std::uint64_t epoch = 0;
        std::uint32_t program_word = 0;
    };

    void fold_constants(Op& op, const valhall::Row& row);
    static std::size_t slot(std::uint64_t page) { return (page ^ page >> 6 ^ page >> 12) % kPages; }
    CodePage* enter(std::uint64_t page);

    const Translation* translation_ = nullptr;
    std::uint64_t epoch_ = 0;
    std::uint32_t program_word_ = 0;  // its float modes
    std::uint64_t written_ = 0;
    std::array<Tag, kPages> tags_{};
    std::unique_ptr<CodePage[]> pages_;
    Literals literals_;
};

}  // namespace belfry::gpu::shader
