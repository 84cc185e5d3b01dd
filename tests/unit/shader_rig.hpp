// Shader rig: programs for shader cores and the memory that they work on, in a few words.
//
//   ShaderRig rig(R"(
//       SHADDX.u64 r0, u0, r60.w0, shift:2    ; u0 u1: the address of out(0)
//       STORE.i32.slot0 @r60, r0, offset:0
//       NOP.end
//   )");
//   rig.grid = {2, 1, 1};
//   rig.run();
//   EXPECT_EQ(rig.out(17), 17u);
//
// Owns   cores, memory, and what RUN_COMPUTE would name: descriptors, uniforms, tables.
// One thread, unless a test starts more: whatever runs, runs in run() or step().
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "belfry/uapi/csf_exceptions.hpp"
#include "belfry/uapi/valhall.hpp"
#include "gpu/shader/core.hpp"
#include "gpu/shader/task.hpp"
#include "gpu/shader/translation.hpp"
#include "uapi/shader_assembler.hpp"

namespace belfry::gpu::shader {

/// Memory that is mapped page by page.
class FakeMemory final : public Translation {
  public:
    [[nodiscard]] Page page(std::uint64_t address) const override {
        const auto found = pages_.find(address >> kPageShift);
        if (found == pages_.end()) return {.refusal = csf::Exception::translation_fault_3};
        return {.host = found->second.bytes->data(),
                .rights = found->second.rights,
                .refusal = csf::Exception::perm_fault_3};
    }
    [[nodiscard]] std::uint64_t timestamp() const override { return now; }

    void map(std::uint64_t address, std::size_t bytes, unsigned rights = kRead | kWrite) {
        for (std::uint64_t at = address; at < address + bytes; at += kPageBytes)
            pages_[at >> kPageShift] = {std::make_shared<Bytes>(), static_cast<std::uint8_t>(rights)};
    }
    void unmap(std::uint64_t address) { pages_.erase(address >> kPageShift); }

    /// As the CPU sees it: no rights.
    void write(std::uint64_t address, std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const std::size_t part = std::min<std::size_t>(bytes.size(), kPageBytes - address % kPageBytes);
            std::memcpy(at(address), bytes.data(), part);
            bytes = bytes.subspan(part);
            address += part;
        }
    }
    [[nodiscard]] std::vector<std::uint8_t> bytes(std::uint64_t address, std::size_t count) const {
        std::vector<std::uint8_t> all(count);
        for (std::size_t done = 0; done < count;) {
            const std::size_t part = std::min<std::size_t>(count - done, kPageBytes - address % kPageBytes);
            std::memcpy(all.data() + done, at(address), part);
            address += part;
            done += part;
        }
        return all;
    }
    template <typename T>
    void put(std::uint64_t address, const T& value) {
        write(address, std::as_bytes(std::span(&value, 1)));
    }
    template <typename T>
    [[nodiscard]] T get(std::uint64_t address) const {
        T value;
        std::memcpy(&value, bytes(address, sizeof value).data(), sizeof value);
        return value;
    }

    std::uint64_t now = 0;

  private:
    using Bytes = std::array<std::byte, kPageBytes>;
    struct Mapping {
        std::shared_ptr<Bytes> bytes;  // shared: unmapped while something else still has it
        std::uint8_t rights;
    };
    [[nodiscard]] std::byte* at(std::uint64_t address) const {
        return &(*pages_.at(address >> kPageShift).bytes)[address % kPageBytes];
    }

    std::map<std::uint64_t, Mapping> pages_;
};

/// Where a rig keeps things.
inline constexpr std::uint64_t kCode = 0x7f'0000'0000;
inline constexpr std::uint64_t kOut = 0x5f'ffff'0000;  // crosses 4 GiB
inline constexpr std::size_t kOutBytes = 0x20000;
inline constexpr std::uint64_t kDescriptors = 0x10'0000;  // Shader Program, Local Storage, tables, uniforms
inline constexpr std::uint64_t kProgram = kDescriptors;
inline constexpr std::uint64_t kLocalStorage = kDescriptors + 0x40;
inline constexpr std::uint64_t kTables = kDescriptors + 0x400;
inline constexpr std::uint64_t kUniformWords = kDescriptors + 0x800;
inline constexpr std::uint64_t kTable0 = kDescriptors + 0x1000;  // one page of descriptors
inline constexpr std::uint64_t kThreadLocal = 0x20'0000;
inline constexpr std::uint64_t kWorkgroupLocal = 0x80'0000;
inline constexpr std::uint32_t kCores = 4;

class ShaderRig {
  public:
    explicit ShaderRig(std::string_view text = "NOP.end") {
        memory.map(kCode, 4 * kPageBytes, kRead | kExecute);
        memory.map(kOut, kOutBytes);
        memory.map(kDescriptors, 2 * kPageBytes, kRead);
        memory.map(kThreadLocal, kCores * kThreadsPerCore * kThreadLocalBytes);
        memory.map(kWorkgroupLocal, kCores * kWorkgroupLocalBytes);
        program(text);
        memory.put(kProgram, std::array<std::uint32_t, 8>{0x18, 0xffff, static_cast<std::uint32_t>(kCode),
                                                          static_cast<std::uint32_t>(kCode >> 32)});
        memory.put(kLocalStorage,
                   std::array<std::uint32_t, 8>{2, 0 | 13U << 8, kThreadLocal, 0, kWorkgroupLocal});
        uniform(0, static_cast<std::uint32_t>(kOut));
        uniform(1, static_cast<std::uint32_t>(kOut >> 32));
        memory.put(kTables, std::array<std::uint32_t, 4>{kTable0, 1U << 24, kPageBytes, 0});
        for (std::uint32_t i = 0; i < kCores; ++i) cores.push_back(std::make_unique<Core>());
    }

    /// Puts the program in memory, from `address` on.
    void program(std::string_view text, std::uint64_t address = kCode) {
        const auto words = valhall::assemble(text);
        if (!words) throw std::invalid_argument(words.error());
        this->words(*words, address);
    }
    void words(std::span<const std::uint64_t> words, std::uint64_t address = kCode) {
        memory.write(address, std::as_bytes(words));
    }
    void uniform(unsigned index, std::uint32_t value) { memory.put(kUniformWords + 4 * index, value); }
    /// Makes descriptor `index` of table 0 a buffer.
    void buffer(std::uint32_t index, std::uint64_t address, std::uint32_t bytes) {
        memory.put(kTable0 + 32 * index,
                   std::array<std::uint32_t, 8>{9 | 1U << 4, bytes, static_cast<std::uint32_t>(address),
                                                static_cast<std::uint32_t>(address >> 32)});
    }

    [[nodiscard]] std::uint32_t out(std::uint32_t index) const {
        return memory.get<std::uint32_t>(kOut + 4 * index);
    }
    void set_out(std::uint32_t index, std::uint32_t value) { memory.put(kOut + 4 * index, value); }
    [[nodiscard]] std::vector<std::uint32_t> outs(std::uint32_t count) const {
        std::vector<std::uint32_t> all;
        for (std::uint32_t i = 0; i < count; ++i) all.push_back(out(i));
        return all;
    }

    [[nodiscard]] ComputeRegisters registers() const {
        return {.resource_table = kTables | 1,
                .uniforms = kUniformWords | std::uint64_t{64} << 56,
                .program = kProgram,
                .local_storage = kLocalStorage,
                .workgroup_size = (threads[0] - 1) | (threads[1] - 1) << 10 | (threads[2] - 1) << 20,
                .offset = offset,
                .size = grid};
    }

    /// Starts the job and cuts it into tasks of so many workgroups. False: fault.
    bool start(std::uint64_t workgroups_of_a_task = ~0ULL) {
        const auto started = start_job(registers(), memory);
        fault.reset();
        tasks.clear();
        if (!started) {
            fault = started.error();
            return false;
        }
        job = *started;
        ++serial;
        const std::uint64_t all = job.workgroups();
        for (std::uint64_t first = 0; first < all;) {
            const std::uint64_t count = std::min(workgroups_of_a_task, all - first);
            InFlight& task = tasks.emplace_back();
            task.workgroup = std::make_unique<Workgroup>();
            // What an earlier job may have left there.
            std::memset(static_cast<void*>(&task.workgroup->warps), 0xab, sizeof task.workgroup->warps);
            task.workgroup->warp_count = 0;
            task.task = {.job = &job,
                         .serial = serial,
                         .next = first,
                         .end = first + count,
                         .core = static_cast<std::uint32_t>((tasks.size() - 1) % kCores),
                         .workgroup = task.workgroup.get()};
            first += count;
        }
        return true;
    }
    /// Runs task `index` on core `core` for about so many steps.
    Outcome step(std::size_t index, std::size_t core, std::uint32_t steps) {
        const Outcome outcome = cores[core]->run(tasks[index].task, memory, generation, steps, leave);
        if (outcome == Outcome::faulted) fault = cores[core]->fault();
        return outcome;
    }
    /// Runs all, tasks one after the other, on the first core. `turns` bounds how often it is called.
    Outcome run(std::uint32_t steps = 1U << 20, unsigned turns = 1U << 16) {
        if (!start()) return Outcome::faulted;
        for (std::size_t i = 0; i < tasks.size(); ++i) {
            Outcome outcome = Outcome::paused;
            while (outcome == Outcome::paused && turns-- != 0) outcome = step(i, 0, steps);
            if (outcome != Outcome::finished) return outcome;
        }
        return Outcome::finished;
    }
    /// Runs all in an order and in pieces that `seed` chooses, on all cores.
    Outcome run_in_pieces(std::uint32_t seed, std::uint32_t steps_max,
                          std::uint64_t workgroups_of_a_task = 1) {
        if (!start(workgroups_of_a_task)) return Outcome::faulted;
        std::mt19937 random(seed);
        // As many in flight as there are shares of local memory.
        std::vector<std::size_t> in_flight;
        std::size_t next = 0;
        const auto take = [&](std::uint32_t core) {
            tasks[next].task.core = core;
            return next++;
        };
        while (next < tasks.size() && in_flight.size() < kCores)
            in_flight.push_back(take(static_cast<std::uint32_t>(in_flight.size())));
        while (!in_flight.empty()) {
            const std::size_t which = random() % in_flight.size();
            const std::size_t index = in_flight[which];
            const Outcome outcome =
                step(index, random() % kCores, 1 + static_cast<std::uint32_t>(random()) % steps_max);
            if (outcome == Outcome::faulted) return outcome;
            if (outcome != Outcome::finished) continue;
            if (next < tasks.size())
                in_flight[which] = take(tasks[index].task.core);
            else
                in_flight.erase(in_flight.begin() + static_cast<std::ptrdiff_t>(which));
        }
        return Outcome::finished;
    }

    static constexpr std::uint32_t kThreadLocalBytes = 64;
    static constexpr std::uint32_t kWorkgroupLocalBytes = 4096;

    FakeMemory memory;
    std::array<std::uint32_t, 3> grid{1, 1, 1};      ///< in workgroups
    std::array<std::uint32_t, 3> threads{16, 1, 1};  ///< of a workgroup
    std::array<std::uint32_t, 3> offset{};
    std::vector<std::unique_ptr<Core>> cores;
    std::atomic<bool> leave{false};
    std::uint64_t generation = 1;
    std::optional<Fault> fault;
    Job job{};

    struct InFlight {
        std::unique_ptr<Workgroup> workgroup;
        Task task{};
    };
    std::deque<InFlight> tasks;

  private:
    std::uint64_t serial = 0;
};

}  // namespace belfry::gpu::shader
