#include "gpu/shader/memory.hpp"

#include <algorithm>

namespace belfry::gpu::shader {
namespace {

/// What loads from the sink see. Never written.
alignas(64) constinit std::array<std::byte, kPageBytes> zeros{};

/// Words that lie aligned are moved whole.
void copy_in(std::byte* to, const std::byte* from, std::size_t bytes) {
    std::size_t i = 0;
    if (reinterpret_cast<std::uintptr_t>(from) % sizeof(std::uint32_t) == 0)
        for (; i + sizeof(std::uint32_t) <= bytes; i += sizeof(std::uint32_t)) {
            const auto word = load_from<std::uint32_t>(from + i);
            std::memcpy(to + i, &word, sizeof word);
        }
    for (; i < bytes; ++i) to[i] = base::load(from[i], base::kRelaxed);
}

void copy_out(std::byte* to, const std::byte* from, std::size_t bytes) {
    std::size_t i = 0;
    if (reinterpret_cast<std::uintptr_t>(to) % sizeof(std::uint32_t) == 0)
        for (; i + sizeof(std::uint32_t) <= bytes; i += sizeof(std::uint32_t)) {
            std::uint32_t word = 0;
            std::memcpy(&word, from + i, sizeof word);
            store_to(to + i, word);
        }
    for (; i < bytes; ++i) base::store(to[i], from[i], base::kRelaxed);
}

}  // namespace

void Memory::forget() {
    read_.fill({});
    write_.fill({});
}

std::byte* Memory::walk(std::uint64_t address, unsigned rights) {
    const bool write = (rights & kWrite) != 0;
    auto& entry = (write ? write_ : read_)[slot(address)];
    const std::uint64_t offset = address & kPageOffsetMask;
    if (is_sink(address)) {
        entry = {address >> kPageShift, write ? dump_.data() : zeros.data()};
        return entry.host + offset;
    }
    if (address >> kAddressBits != 0) {
        refusal_ = {csf::Exception::addr_size_fault_in, address, write};
        return nullptr;
    }
    const Page page = translation_->page(address);
    if (page.host == nullptr || (page.rights & rights) != rights) {
        refusal_ = {page.refusal, address, write};
        return nullptr;
    }
    entry = {address >> kPageShift, page.host};
    return page.host + offset;
}

bool Memory::read(std::uint64_t address, void* into, std::size_t bytes) {
    auto* to = static_cast<std::byte*>(into);
    while (bytes != 0) {
        const std::byte* const from = readable(address);
        if (from == nullptr) return false;
        const std::size_t part = std::min(bytes, kPageBytes - (address & kPageOffsetMask));
        copy_in(to, from, part);
        to += part;
        address += part;
        bytes -= part;
    }
    return true;
}

bool Memory::write(std::uint64_t address, const void* from, std::size_t bytes) {
    const auto* data = static_cast<const std::byte*>(from);
    while (bytes != 0) {
        std::byte* const to = writable(address);
        if (to == nullptr) return false;
        const std::size_t part = std::min(bytes, kPageBytes - (address & kPageOffsetMask));
        copy_out(to, data, part);
        data += part;
        address += part;
        bytes -= part;
    }
    return true;
}

}  // namespace belfry::gpu::shader
