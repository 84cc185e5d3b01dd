#include "gpu/shader/descriptors.hpp"

#include <algorithm>

namespace belfry::gpu::shader {
namespace {

/// An entry of the resource table.
struct Table {
    std::array<std::uint32_t, 4> word;

    [[nodiscard]] std::uint64_t address() const {
        return word[0] | std::uint64_t{word[1] & 0xff'ffffU} << 32;
    }
    [[nodiscard]] bool has_descriptors() const { return (word[1] >> 24 & 1) != 0; }
    [[nodiscard]] std::uint64_t size() const { return word[2] | std::uint64_t{word[3]} << 32; }
};
static_assert(sizeof(Table) == 16);

}  // namespace

void Descriptors::begin(const Job& job) {
    job_ = &job;
    ++epoch_;
}

const Descriptors::Entry* Descriptors::look_up(std::uint32_t handle, Memory& memory) {
    Entry& entry = entries_[slot(handle)];
    entry = {.epoch = 0, .handle = handle};  // of no epoch, until it is whole
    const bool of_tables = handle >> 24 == kTableOfTables;
    const std::uint32_t index = handle & 0xff'ffff;
    const std::uint32_t table_index = of_tables ? index : handle >> 24;

    Table table{};
    if (table_index < job_->resource_tables &&
        !memory.read(job_->resource_table + table_index * sizeof(Table), &table, sizeof table))
        return nullptr;
    // An address beyond 48 bits is refused where it is used.
    if (of_tables) {
        entry.buffer = {table.address(),
                        static_cast<std::uint32_t>(std::min<std::uint64_t>(table.size(), ~0U))};
    } else if (table.has_descriptors()) {
        const std::uint64_t offset = std::uint64_t{index} * sizeof(Descriptor);
        if (table.size() >= sizeof(Descriptor) && offset <= table.size() - sizeof(Descriptor) &&
            !memory.read(table.address() + offset, &entry.descriptor, sizeof(Descriptor)))
            return nullptr;
        const auto& word = entry.descriptor.word;
        if (entry.descriptor.type() == DescriptorType::buffer)
            entry.buffer = {word[2] | std::uint64_t{word[3]} << 32, word[1]};
    }
    entry.epoch = epoch_;
    return &entry;
}

}  // namespace belfry::gpu::shader
