// Descriptors: the resource table of a job, and the descriptors that handles name, as a core has read them.
//
// Owns   copies of descriptors, read once and kept for the job: a program that changes one while a job uses
//        it is seen by the next job.
// Runs   on whatever thread runs the Core.
//
// What is not there (no such table or index, a null descriptor, another type than asked for) is an empty
// resource: no fault. Tables or descriptors in memory that is not mapped are a fault.
#pragma once

#include <array>
#include <cstdint>

#include "gpu/shader/memory.hpp"
#include "gpu/shader/task.hpp"
#include "gpu/texture/descriptor.hpp"

namespace belfry::gpu::shader {

using texture::DescriptorType;

struct Descriptor {
    std::array<std::uint32_t, 8> word;

    [[nodiscard]] DescriptorType type() const { return static_cast<DescriptorType>(word[0] & 0xf); }
};
static_assert(sizeof(Descriptor) == 32);

/// The memory of a Buffer descriptor. Empty: size 0.
struct Buffer {
    std::uint64_t address;
    std::uint32_t size;
};

/// Table of a 4-bit table field: 0 ... 11, then 60 ... 63.
constexpr std::uint32_t table_of_field(std::uint32_t field) { return field < 12 ? field : field + 48; }
constexpr std::uint32_t handle_of(std::uint32_t table, std::uint32_t index) { return table << 24 | index; }

inline constexpr std::uint32_t kTableVertexPacket = 61;
inline constexpr std::uint32_t kTableOfTables = 62;  ///< index t: the memory of table t

class Descriptors {
  public:
    /// From now on, handles are those of `job`. Forgets all.
    void begin(const Job& job);

    /// The descriptor that `handle` names, of type null if there is none. Null: memory.refusal() says why.
    /// Valid until the next call.
    const Descriptor* descriptor(std::uint32_t handle, Memory& memory) {
        const Entry& entry = entries_[slot(handle)];
        if (entry.handle == handle && entry.epoch == epoch_) [[likely]]
            return &entry.descriptor;
        const Entry* const found = look_up(handle, memory);
        return found == nullptr ? nullptr : &found->descriptor;
    }
    /// As descriptor(): the memory that LD_BUFFER and LEA_BUFFER reach by `handle`.
    const Buffer* buffer(std::uint32_t handle, Memory& memory) {
        const Entry& entry = entries_[slot(handle)];
        if (entry.handle == handle && entry.epoch == epoch_) [[likely]]
            return &entry.buffer;
        const Entry* const found = look_up(handle, memory);
        return found == nullptr ? nullptr : &found->buffer;
    }
    /// Changes whenever what descriptor() says may have: whoever keeps something of his own compares it.
    [[nodiscard]] std::uint64_t epoch() const { return epoch_; }

  private:
    static constexpr std::size_t kEntries = 128;
    struct Entry {
        std::uint64_t epoch = 0;
        std::uint32_t handle = 0;
        Buffer buffer{};
        Descriptor descriptor{};
    };

    /// Tables are few and their first descriptors are used most.
    static std::size_t slot(std::uint32_t handle) { return (handle ^ handle >> 24 << 4) % kEntries; }
    const Entry* look_up(std::uint32_t handle, Memory& memory);

    const Job* job_ = nullptr;
    std::uint64_t epoch_ = 0;
    std::array<Entry, kEntries> entries_{};
};

}  // namespace belfry::gpu::shader
