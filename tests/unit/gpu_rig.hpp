// Rig: a driver and its clients in a few words, for tests of the GPU.
//
//   Rig rig{{.group_slots = 1}};
//   Group& group = rig.group({.queues = 1});
//   Queue& queue = group.queue(0);
//   queue.submit([](W& w) { w.move32(r(0), 1); });  // into the ring, INSERT published
//   queue.ring();                                   // doorbell page
//   rig.run_until_idle();
//   EXPECT_EQ(queue.reg(0), 1u);
//
// Owns    the GPU, all memory, page tables. One thread: whoever wants something to happen steps.
// Talks   to the GPU as driver and clients do: registers, shared blocks at the addresses that the control
// blocks
//         name, page tables, doorbell pages, rings. The one look inside is for registers and stream status.
// Races   are placed, not awaited: a hook of FakeHost runs in the middle of a slice. STORE_STATE of the
// timestamp
//         is the instruction that calls `on_timestamp`.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <span>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "belfry/command_writer.hpp"
#include "belfry/uapi/csf.hpp"
#include "belfry/uapi/csf_exceptions.hpp"
#include "belfry/uapi/user_queue.h"
#include "gpu/gpu.hpp"

namespace belfry::csf {
inline void PrintTo(Exception exception, std::ostream* out) { *out << name(exception); }
}  // namespace belfry::csf

namespace belfry::gpu {

using W = CommandWriter;
using csf::Exception;

inline constexpr std::uint64_t kPage = 4096;
inline constexpr std::uint64_t kBlock = 2U << 20;

class FakeHost final : public Host {
  public:
    struct Wake {
        const void* word;
        std::uint32_t bitset;
        bool operator==(const Wake&) const = default;
    };

    void interrupt() override {
        ++interrupts;
        if (on_interrupt) on_interrupt();
    }
    void attention() override { attentions.fetch_add(1); }
    void futex_wake(std::uint32_t& word, std::uint32_t bitset) override {
        wakes.push_back({&word, bitset});
        if (on_wake) on_wake();
    }
    std::uint64_t timestamp() override {
        if (on_timestamp) on_timestamp();
        return now;
    }
    void shader_work(unsigned tasks) override {
        if (on_shader_work) on_shader_work(tasks);
    }

    unsigned interrupts = 0;
    std::atomic<unsigned> attentions = 0;  // cores' threads ring, too
    std::vector<Wake> wakes;
    std::uint64_t now = 0;
    std::function<void()> on_interrupt;
    std::function<void()> on_wake;
    std::function<void()> on_timestamp;
    std::function<void(unsigned)> on_shader_work;
};

/// Memory that the GPU sees at `va`.
struct Memory {
    std::uint64_t va = 0;
    std::byte* host = nullptr;
    std::uint64_t bytes = 0;

    template <typename T>
    [[nodiscard]] T& as(std::uint64_t offset = 0) const {
        if (offset + sizeof(T) > bytes) throw std::out_of_range("test memory");
        return *reinterpret_cast<T*>(host + offset);
    }
    [[nodiscard]] std::uint32_t& u32(std::uint64_t offset = 0) const { return as<std::uint32_t>(offset); }
    [[nodiscard]] std::uint64_t& u64(std::uint64_t offset = 0) const { return as<std::uint64_t>(offset); }
    [[nodiscard]] uapi::belfry_sync_object64& sync64(std::uint64_t offset = 0) const {
        return as<uapi::belfry_sync_object64>(offset);
    }
    [[nodiscard]] uapi::belfry_sync_object32& sync32(std::uint64_t offset = 0) const {
        return as<uapi::belfry_sync_object32>(offset);
    }
};

struct Rights {
    bool read_only = false;
    bool no_exec = false;
};

/// Page tables as a driver makes them, and the memory behind them.
class Vm {
  public:
    explicit Vm(std::uint32_t number) : number_(number) {}

    [[nodiscard]] std::uint32_t number() const { return number_; }
    [[nodiscard]] std::uint64_t root() const { return reinterpret_cast<std::uint64_t>(root_.get()); }

    /// Fresh zeroed pages, mapped at an address that nothing else has; an unmapped page follows.
    Memory memory(std::uint64_t pages = 1, Rights rights = {}) {
        const Memory memory = pages_of(pages, next_va_);
        next_va_ += (pages + 1) * kPage;
        map(memory.va, memory.host, pages, rights);
        return memory;
    }
    /// Host memory that is mapped nowhere yet.
    Memory pages_of(std::uint64_t pages, std::uint64_t va) {
        auto& chunk = chunks_.emplace_back(pages);
        return {.va = va, .host = chunk.front().bytes.data(), .bytes = pages * kPage};
    }

    void map(std::uint64_t va, const std::byte* host, std::uint64_t pages, Rights rights = {}) {
        for (std::uint64_t i = 0; i < pages; ++i)
            entry(va + i * kPage, kLastLevel) = reinterpret_cast<std::uint64_t>(host + i * kPage) |
                                                kPteValid | kPteTableOrPage | bits(rights);
    }
    /// 2 MiB, by one entry of level 2.
    void map_block(std::uint64_t va, const std::byte* host, Rights rights = {}) {
        entry(va, 2) = reinterpret_cast<std::uint64_t>(host) | kPteValid | bits(rights);
    }
    void unmap(std::uint64_t va, std::uint64_t pages = 1) {
        for (std::uint64_t i = 0; i < pages; ++i) entry(va + i * kPage, kLastLevel) = 0;
    }
    /// The entry for `va` in its table of `level`; tables above it are made.
    std::uint64_t& entry(std::uint64_t va, unsigned level) {
        Table* table = root_.get();
        for (unsigned i = 0; i < level; ++i) {
            std::uint64_t& e = (*table).entries[(va >> level_shift(i)) % kEntries];
            if (e == 0) {
                tables_.push_back(std::make_unique<Table>());
                e = reinterpret_cast<std::uint64_t>(tables_.back().get()) | kPteValid | kPteTableOrPage;
            }
            table = reinterpret_cast<Table*>(e & kPteAddressMask);
        }
        return table->entries[(va >> level_shift(level)) % kEntries];
    }

  private:
    struct alignas(kPage) Table {
        std::array<std::uint64_t, kEntries> entries{};
    };
    struct alignas(kPage) HostPage {
        std::array<std::byte, kPage> bytes{};
    };
    static std::uint64_t bits(Rights rights) {
        return (rights.read_only ? kPteReadOnly : 0) | (rights.no_exec ? kPteNoExec : 0);
    }

    std::uint32_t number_;
    std::unique_ptr<Table> root_ = std::make_unique<Table>();
    std::vector<std::unique_ptr<Table>> tables_;
    std::deque<std::vector<HostPage>> chunks_;
    std::uint64_t next_va_ = 0x100'0000;
};

/// What a stream has reported and the driver not yet acknowledged; type OK if nothing.
struct Record {
    Exception type = Exception::ok;
    std::uint64_t info = 0;
    std::uint64_t cmd_ptr = 0;
    std::uint64_t instruction = 0;
};

class Rig;
class Group;

struct GroupOptions {
    unsigned queues = 1;
    Vm* vm = nullptr;  ///< default: the rig's
    std::uint64_t ring_bytes = kPage;
    std::uint64_t trace_bytes = 0;  ///< of each queue's trace buffer
    bool start = true;
};

/// The client's side of a queue, and the driver's blocks of its stream while the group is on a slot.
class Queue {
  public:
    Queue(Group& group, unsigned index, const GroupOptions& options);

    // The client's part.
    /// Writes words behind the last ones, without publishing them.
    void write(std::span<const std::uint64_t> words) {
        for (const std::uint64_t word : words) {
            ring_memory.u64(written % ring_memory.bytes) = word;
            written += csf::kInstructionBytes;
        }
    }
    void write(const std::function<void(W&)>& program);
    void publish() { input().insert = written; }
    /// Writes and publishes; no doorbell.
    void submit(const std::function<void(W&)>& program) {
        write(program);
        publish();
    }
    void submit(std::initializer_list<std::uint64_t> words) {
        write(std::span(words.begin(), words.size()));
        publish();
    }
    /// Stores to the doorbell page.
    void ring();
    /// submit(), ring(), until the GPU has nothing to do.
    void run(const std::function<void(W&)>& program);
    void run(std::initializer_list<std::uint64_t> words);

    [[nodiscard]] uapi::belfry_user_input& input() const { return io_memory.as<uapi::belfry_user_input>(); }
    [[nodiscard]] uapi::belfry_user_output& output() const {
        return io_memory.as<uapi::belfry_user_output>(kPage);
    }
    [[nodiscard]] bool drained() const { return output().extract == input().insert; }

    // The driver's part.
    [[nodiscard]] StreamInput& in() const;
    [[nodiscard]] StreamOutput& out() const;
    /// "Look at this stream."
    void driver_ring();
    [[nodiscard]] Record fatal() const { return record(kStreamFatal); }
    [[nodiscard]] Record fault() const { return record(kStreamFault); }
    void acknowledge_events() { in().req = (in().req & ~kStreamEvents) | (out().ack & kStreamEvents); }

    // The look inside.
    [[nodiscard]] const Stream& stream() const;
    [[nodiscard]] std::uint32_t reg(unsigned index) const { return stream().state().registers[index]; }
    [[nodiscard]] std::uint64_t pair(unsigned index) const {
        return reg(index) | std::uint64_t{reg(index + 1)} << 32;
    }
    [[nodiscard]] StreamStatus status() const { return stream().status(); }
    [[nodiscard]] BlockedReason blocked_by() const {
        return status() == StreamStatus::blocked ? stream().blocked().reason : BlockedReason::none;
    }

    Memory ring_memory;  // GPU address in the group's space
    Memory io_memory;    // MCU address: input page, output page
    Memory trace;
    std::uint64_t written = 0;  // counter: what write() has written
    std::uint32_t idle_conditions = kStreamIdleEmpty | kStreamIdleSyncWait;

  private:
    [[nodiscard]] Record record(std::uint32_t event) const;

    Group& group_;
    unsigned index_;
};

class Group {
  public:
    Group(Rig& rig, const GroupOptions& options);

    Queue& queue(unsigned index) { return queues_.at(index); }
    [[nodiscard]] unsigned slot() const { return slot_; }
    [[nodiscard]] Vm& vm() const { return *vm_; }
    [[nodiscard]] Rig& rig() const { return rig_; }
    [[nodiscard]] uapi::belfry_user_doorbell& doorbell() const {
        return doorbell_memory.as<uapi::belfry_user_doorbell>();
    }

    // As the driver does it: each asks and steps until the firmware has acknowledged.
    void start_on(unsigned slot) { put_on(slot, GroupRequest::start); }
    void resume_on(unsigned slot) { put_on(slot, GroupRequest::resume); }
    void suspend() { leave(GroupRequest::suspend); }
    void terminate() { leave(GroupRequest::terminate); }
    void update_status();

    // The same in pieces.
    void program(unsigned slot);
    void ask(GroupRequest request);
    [[nodiscard]] bool acknowledged() const { return ((in().req ^ out().ack) & kGroupStateMask) == 0; }
    /// Off the slot: its doorbell page is unbound.
    void unbind();

    [[nodiscard]] GroupInput& in() const;
    [[nodiscard]] GroupOutput& out() const;
    [[nodiscard]] bool event(std::uint32_t bit) const { return ((in().req ^ out().ack) & bit) != 0; }
    void acknowledge(std::uint32_t events) { in().req = (in().req & ~events) | (out().ack & events); }
    /// What set of streams has notices that the driver has not copied.
    [[nodiscard]] std::uint32_t notices() const { return out().cs_irq_req ^ in().cs_irq_ack; }

    Memory doorbell_memory;
    Memory suspend_buffer;  // only its address: pages lie in another order in host memory

  private:
    void put_on(unsigned slot, GroupRequest request);
    void leave(GroupRequest request);

    Rig& rig_;
    Vm* vm_;
    unsigned slot_ = ~0U;
    std::deque<Queue> queues_;
};

class Rig {
  public:
    explicit Rig(FirmwareConfig config = {.group_slots = 2, .streams_per_group = 4})
        : gpu(config, host), config_(config) {
        gpu.write(gpu::Reg::job_int_mask, ~0U);
        gpu.write(gpu::Reg::mmu_int_mask, ~0U);
        enable(mcu_vm);
        enable(vm);
        gpu.write(gpu::Reg::mcu_control, kMcuControlAuto);
        gpu.step();
        global_in().ack_irq_mask = ~0U;
        take_job_interrupts();
    }

    /// A group with its queues; started on the next slot unless options say otherwise.
    Group& group(const GroupOptions& options = {}) {
        Group& group = groups_.emplace_back(*this, options);
        if (options.start) group.start_on(next_slot_++);
        return group;
    }
    /// Pages in the default address space.
    Memory memory(std::uint64_t pages = 1, Rights rights = {}) { return vm.memory(pages, rights); }
    /// Words that can be called.
    Memory buffer(const std::function<void(W&)>& program) {
        const Memory memory = vm.memory();
        W writer(std::span(&memory.u64(), kPage / 8));
        program(writer);
        return {.va = memory.va, .host = memory.host, .bytes = writer.size_bytes()};
    }

    // Time.
    bool step() { return gpu.step(); }
    void run_until_idle(unsigned steps_max = 10'000) {
        for (unsigned i = 0; i < steps_max; ++i)
            if (!gpu.step()) return;
        ADD_FAILURE() << "still busy after " << steps_max << " steps";
    }
    template <std::predicate Done>
    void step_until(Done done, unsigned steps_max = 1000) {
        for (unsigned i = 0; i < steps_max; ++i) {
            if (done()) return;
            gpu.step();
        }
        if (!done()) ADD_FAILURE() << "not reached in " << steps_max << " steps";
    }

    // Address spaces.
    Vm& new_vm() {
        Vm& fresh = vms_.emplace_back(next_as_++);
        enable(fresh);
        return fresh;
    }
    void enable(Vm& of) {
        gpu.write64(as_reg(of.number(), AsReg::transtab_lo), of.root());
        gpu.write64(as_reg(of.number(), AsReg::transcfg_lo), kTranscfgAarch64_4k);
        command(of, kAsCommandUpdate);
    }
    void disable(Vm& of) {
        gpu.write64(as_reg(of.number(), AsReg::transcfg_lo), kTranscfgUnmapped);
        command(of, kAsCommandUpdate);
    }
    void flush(Vm& of) { command(of, kAsCommandFlushMem); }
    void command(Vm& of, std::uint32_t command) {
        gpu.write(as_reg(of.number(), AsReg::command), command);
        step_until([&] { return gpu.read(as_reg(of.number(), AsReg::status)) == 0; });
        gpu.write(gpu::Reg::mmu_int_clear, mmu_int_command_done(of.number()));
    }

    // Firmware blocks, found as a driver finds them.
    [[nodiscard]] std::uint32_t shared32(std::uint64_t offset) {
        std::uint32_t value = 0;
        std::memcpy(&value, gpu.shared().subspan(offset).data(), sizeof value);
        return value;
    }
    template <typename T>
    T& block(std::uint32_t mcu_address) {
        return *reinterpret_cast<T*>(gpu.shared().subspan(mcu_address - 0x0400'0000).data());
    }
    std::uint32_t group_control(unsigned slot) { return 0x1000 + slot * shared32(0x14); }
    std::uint32_t stream_control(unsigned slot, unsigned index) {
        return group_control(slot) + 0x40 + index * shared32(group_control(slot) + 0x18);
    }
    GlobalInput& global_in() { return block<GlobalInput>(shared32(0x8)); }
    GlobalOutput& global_out() { return block<GlobalOutput>(shared32(0xc)); }
    GroupInput& group_in(unsigned slot) { return block<GroupInput>(shared32(group_control(slot) + 0x4)); }
    GroupOutput& group_out(unsigned slot) { return block<GroupOutput>(shared32(group_control(slot) + 0x8)); }
    StreamInput& stream_in(unsigned slot, unsigned index) {
        return block<StreamInput>(shared32(stream_control(slot, index) + 0x4));
    }
    StreamOutput& stream_out(unsigned slot, unsigned index) {
        return block<StreamOutput>(shared32(stream_control(slot, index) + 0x8));
    }

    /// Doorbell 0.
    void ring_firmware() { gpu.write(doorbell_reg(0), 1); }
    void ring_group(unsigned slot) {
        auto& req = global_in().doorbell_req;
        req = (req & ~(1U << slot)) | (~global_out().doorbell_ack & 1U << slot);
        ring_firmware();
    }
    /// Raises toggles of the global block, against ack.
    void ask_global(std::uint32_t toggles) {
        auto& req = global_in().req;
        req = (req & ~toggles) | (~global_out().ack & toggles);
        ring_firmware();
    }

    /// Reads and clears.
    std::uint32_t take_job_interrupts() {
        const std::uint32_t raised = gpu.read(gpu::Reg::job_int_stat);
        gpu.write(gpu::Reg::job_int_clear, raised);
        return raised;
    }
    std::uint32_t take_mmu_interrupts() {
        const std::uint32_t raised = gpu.read(gpu::Reg::mmu_int_stat);
        gpu.write(gpu::Reg::mmu_int_clear, raised);
        return raised;
    }

    [[nodiscard]] const FirmwareConfig& config() const { return config_; }

    FakeHost host;
    Gpu gpu;
    Vm mcu_vm{0};
    Vm vm{1};

  private:
    FirmwareConfig config_;
    std::uint32_t next_as_ = 2;
    unsigned next_slot_ = 0;
    std::deque<Vm> vms_;
    std::deque<Group> groups_;
};

// --- Queue ---

inline Queue::Queue(Group& group, unsigned index, const GroupOptions& options)
    : group_(group), index_(index) {
    ring_memory = group.vm().memory(options.ring_bytes / kPage, {.no_exec = true});
    io_memory = group.rig().mcu_vm.memory(2);
    if (options.trace_bytes != 0) {
        trace = group.vm().memory((options.trace_bytes + kPage - 1) / kPage);
        trace.bytes = options.trace_bytes;
    }
}

inline void Queue::write(const std::function<void(W&)>& program) {
    std::vector<std::uint64_t> words(ring_memory.bytes / csf::kInstructionBytes);
    W writer(words);
    program(writer);
    ASSERT_FALSE(writer.overflowed());
    write(std::span<const std::uint64_t>(writer.words()));
}

inline void Queue::ring() { group_.doorbell().doorbell = 1; }

inline void Queue::run(const std::function<void(W&)>& program) {
    submit(program);
    ring();
    group_.rig().run_until_idle();
}

inline void Queue::run(std::initializer_list<std::uint64_t> words) {
    submit(words);
    ring();
    group_.rig().run_until_idle();
}

inline StreamInput& Queue::in() const { return group_.rig().stream_in(group_.slot(), index_); }
inline StreamOutput& Queue::out() const { return group_.rig().stream_out(group_.slot(), index_); }
inline const Stream& Queue::stream() const {
    return group_.rig().gpu.firmware().stream(group_.slot(), index_);
}

inline void Queue::driver_ring() {
    auto& req = group_.in().doorbell_req;
    req = (req & ~(1U << index_)) | (~group_.out().doorbell_ack & 1U << index_);
    group_.rig().ring_group(group_.slot());
}

inline Record Queue::record(std::uint32_t event) const {
    if (((in().req ^ out().ack) & event) == 0) return {};
    const bool fatal = event == kStreamFatal;
    return {.type = static_cast<Exception>((fatal ? out().fatal : out().fault) & 0xff),
            .info = fatal ? out().fatal_info : out().fault_info,
            .cmd_ptr = out().fault_cmd_ptr,
            .instruction = out().fault_instruction};
}

// --- Group ---

inline Group::Group(Rig& rig, const GroupOptions& options)
    : rig_(rig), vm_(options.vm != nullptr ? options.vm : &rig.vm) {
    doorbell_memory = rig.mcu_vm.memory();
    const std::uint64_t save_bytes = rig.shared32(0x1000 + 0xc);
    const std::uint64_t save_pages = (save_bytes + kPage - 1) / kPage;
    suspend_buffer = rig.mcu_vm.memory(save_pages);
    for (std::uint64_t i = 0; i < save_pages; ++i)  // scattered: its last page comes first in host memory
        rig.mcu_vm.map(suspend_buffer.va + i * kPage, suspend_buffer.host + (save_pages - 1 - i) * kPage, 1);
    for (unsigned i = 0; i < options.queues; ++i) queues_.emplace_back(*this, i, options);
}

inline GroupInput& Group::in() const { return rig_.group_in(slot_); }
inline GroupOutput& Group::out() const { return rig_.group_out(slot_); }

inline void Group::program(unsigned slot) {
    slot_ = slot;
    for (unsigned i = 0; i < rig_.config().streams_per_group; ++i) {
        StreamInput& stream = rig_.stream_in(slot, i);
        // Events that a former group left behind are gone; requests start as acknowledged.
        stream.req = rig_.stream_out(slot, i).ack & kStreamEvents;
        stream.ack_irq_mask = ~0U;
        if (i >= queues_.size()) continue;
        const Queue& queue = queues_[i];
        stream.ringbuf_base = queue.ring_memory.va;
        stream.ringbuf_size = static_cast<std::uint32_t>(queue.ring_memory.bytes);
        stream.ringbuf_input = queue.io_memory.va;
        stream.ringbuf_output = queue.io_memory.va + kPage;
        stream.instrbuf_base = queue.trace.va;
        stream.instrbuf_size = static_cast<std::uint32_t>(queue.trace.bytes);
        stream.config = stream_config(0, slot + 1);
        stream.req |= kStreamStart | queue.idle_conditions;
    }
    in().suspend_buf = suspend_buffer.va;
    in().config = vm_->number();
    in().ack_irq_mask = ~0U;
    acknowledge(kGroupEvents);
    in().cs_irq_ack = out().cs_irq_req;
    rig_.gpu.write64(doorbell_page_lo(slot + 1), reinterpret_cast<std::uint64_t>(&doorbell()));
}

inline void Group::unbind() { rig_.gpu.write64(doorbell_page_lo(slot_ + 1), 0); }

inline void Group::ask(GroupRequest request) {
    in().req = (in().req & ~kGroupStateMask) | static_cast<std::uint32_t>(request);
    rig_.ring_group(slot_);
}

inline void Group::put_on(unsigned slot, GroupRequest request) {
    program(slot);
    ask(request);
    rig_.step_until([this] { return acknowledged(); });
}

inline void Group::leave(GroupRequest request) {
    ask(request);
    rig_.step_until([this] { return acknowledged(); });
    unbind();
    rig_.step();
}

inline void Group::update_status() {
    in().req = (in().req & ~kGroupStatusUpdate) | (~out().ack & kGroupStatusUpdate);
    rig_.ring_group(slot_);
    rig_.step_until([this] { return ((in().req ^ out().ack) & kGroupStatusUpdate) == 0; });
}

}  // namespace belfry::gpu
