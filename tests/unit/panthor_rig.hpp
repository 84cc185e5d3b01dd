// Rig: clients, the driver and the software GPU in a few words and in one thread, for tests of panthor.
//
//   Rig rig;
//   Client& client = rig.open();
//   const Memory memory = client.memory();
//   UserGroup& group = client.user_group();
//   group.queue(0).submit([&](W& w) { add_one(w, memory.va); });  // into the ring, INSERT published
//   group.queue(0).kick();                                        // the driver asks for a slot
//   rig.run_until_idle();                                         // GPU and interrupts, until nothing is
//   left EXPECT_EQ(memory.u64(), 1u);
//
// Owns    everything. Nothing happens by itself: clients call, step_gpu() lets the GPU work,
// deliver_interrupt()
//         lets the driver hear of it, advance() lets time pass. So each order of the three can be written
//         down.
// Talks   to the driver through drm::Node and drm::File, as a transport does, and to the GPU through its
// Board.
//         What a client maps, it maps from the descriptors that it is given, with the rights that come along.
// Races   finer than a slice are placed by hooks: Wires::on_read and on_write run where the driver touches a
//         register, TestHost::on_interrupt where the GPU raises its line.
// Checks  the driver's invariants after every entry into it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <unordered_set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomic.hpp"
#include "base/memory.hpp"
#include "belfry/command_writer.hpp"
#include "belfry/uapi/csf_exceptions.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/user_queue.h"
#include "drivers/panthor/device.hpp"
#include "drivers/panthor/file.hpp"
#include "drivers/panthor/user_queue_offsets.hpp"
#include "gpu/gpu.hpp"
#include "unit/test_call.hpp"
#include "unit/test_exports.hpp"
#include "unit/test_store.hpp"

namespace belfry::panthor {

using namespace std::chrono_literals;
using namespace belfry::uapi;
using W = CommandWriter;
using drm::TestCall;
using Program = std::function<void(W&)>;

inline constexpr std::uint64_t kPage = base::kPageBytes;

/// The GPU's surroundings: a line that somebody has to look at, a clock that stands.
class TestHost final : public gpu::Host {
  public:
    void interrupt() override {
        line = true;
        if (const auto hook = on_interrupt) hook();  // a copy: it may take itself away
    }
    void attention() override {}
    void futex_wake(std::uint32_t& word, std::uint32_t bits) override {
        if (on_wake)
            on_wake(word, bits);
        else
            wakes.push_back(&word);
    }
    std::uint64_t timestamp() override { return now; }

    bool line = false;
    std::uint64_t now = 1'000'000'000;
    std::vector<const void*> wakes;
    std::function<void(const std::uint32_t&, std::uint32_t)> on_wake;  // instead
    /// In the GPU actor, in the middle of what raised it. May run the driver: it only leaves notes for the
    /// GPU.
    std::function<void()> on_interrupt;
};

/// The driver's way to the registers: the GPU's own, where a test can step in or cut one off.
class Wires final : public gpu::Mmio {
  public:
    explicit Wires(gpu::Mmio& to) : to_(to) {}

    std::uint32_t read(gpu::Reg reg) override {
        if (const auto hook = on_read) hook(reg);
        return to_.read(reg);
    }
    void write(gpu::Reg reg, std::uint32_t value) override {
        if (const auto hook = on_write) hook(reg, value);
        if (firmware_deaf && reg == gpu::doorbell_reg(0)) return;
        to_.write(reg, value);
    }

    std::function<void(gpu::Reg)> on_read;                  // before the read
    std::function<void(gpu::Reg, std::uint32_t)> on_write;  // before the write
    bool firmware_deaf = false;                             // the firmware hears no doorbell of the driver's

  private:
    gpu::Mmio& to_;
};

class TestLines final : public gpu::WakeLines {
  public:
    void add(int eventfd) override { ASSERT_TRUE(fds.insert(eventfd).second); }
    void remove(int eventfd) override { ASSERT_EQ(fds.erase(eventfd), 1u); }
    std::set<int> fds;
};

class Rig;
class Client;

/// A buffer that is bound into a VM and mapped by the client.
struct Memory {
    std::uint32_t handle = 0;
    std::uint64_t va = 0;
    base::Mapping mapping;

    template <typename T>
    [[nodiscard]] T& as(std::uint64_t offset = 0) const {
        if (offset + sizeof(T) > mapping.size()) throw std::out_of_range("test memory");
        return *reinterpret_cast<T*>(mapping.data() + offset);
    }
    [[nodiscard]] std::uint64_t& u64(std::uint64_t offset = 0) const { return as<std::uint64_t>(offset); }
    [[nodiscard]] belfry_sync_object64& sync(std::uint64_t offset = 0) const {
        return as<belfry_sync_object64>(offset);
    }
};

/// Instructions that a job can run.
struct Stream {
    std::uint64_t va;
    std::uint32_t bytes;
};

// Words that tests use often. d60 ... d66 are theirs.
inline void add_one(W& w, std::uint64_t va) { w.move48(d(60), va).move48(d(62), 1).sync_add64(d(60), d(62)); }
/// Until the sync object at `va` is at least `value`.
inline void wait_for(W& w, std::uint64_t va, std::uint64_t value) {
    w.move48(d(60), va).move48(d(62), value - 1).sync_wait64(d(60), csf::Condition::gt, d(62));
}
inline void load(W& w, std::uint64_t va) {
    w.move48(d(60), va).load_multiple(r(64), 1, d(60)).wait(kAllSlots);
}
inline void store(W& w, std::uint64_t va, std::uint32_t value) {
    w.move48(d(60), va).move32(r(64), value).store_multiple(r(64), 1, d(60)).wait(kAllSlots);
}
/// Stores to `va` without end.
inline void store_for_ever(W& w, std::uint64_t va) {
    store(w, va, 1);
    w.branch(csf::Condition::always, r(0), -3);
}
inline void loop_for_ever(W& w) { w.branch(csf::Condition::always, r(0), -1); }
inline constexpr std::uint64_t kBadWord = 0xee00'0000'0000'0000;

struct GroupSetup {
    unsigned queues = 1;
    std::uint32_t ring_bytes = 4096;
    std::uint8_t priority = PANTHOR_GROUP_PRIORITY_MEDIUM;
    std::uint32_t vm = 0;          ///< default: the client's first
    int sync_update_eventfd = -1;  ///< user mode; the driver gets copies
    int group_state_eventfd = -1;
};

/// A user queue as its program has it: three mappings and the count of what it wrote.
class UserQueue {
  public:
    UserQueue(Client& client, std::uint32_t group, const drm_panthor_queue_create& created,
              const base::Mapping& doorbell);

    /// Writes behind what was written, and does not publish it.
    void write(const Program& program);
    void publish() { base::store(input().insert, written, base::kSeqCst); }
    /// write(), publish(). The doorbell is another matter.
    void submit(const Program& program) {
        write(program);
        publish();
    }
    void ring() { base::store(doorbell_.doorbell, 1, base::kSeqCst); }
    int kick();
    /// As a correct program tells of what it has published: rings if the queue is active, else kicks.
    void tell() {
        base::full_fence();
        if (output().active != 0)
            ring();
        else
            EXPECT_EQ(kick(), 0);
    }
    void run(const Program& program);

    [[nodiscard]] belfry_user_input& input() const {
        return *reinterpret_cast<belfry_user_input*>(input_.data());
    }
    [[nodiscard]] const belfry_user_output& output() const {
        return *reinterpret_cast<const belfry_user_output*>(output_.data());
    }
    [[nodiscard]] belfry_user_doorbell& doorbell() const { return doorbell_; }
    [[nodiscard]] bool drained() const { return output().extract == input().insert; }

    std::uint64_t written = 0;

  private:
    Client& client_;
    std::uint32_t group_;
    base::Mapping ring_;
    base::Mapping input_;
    base::Mapping output_;
    belfry_user_doorbell& doorbell_;
};

class UserGroup {
  public:
    UserGroup(Client& client, const GroupSetup& setup);

    [[nodiscard]] std::uint32_t handle() const { return handle_; }
    [[nodiscard]] UserQueue& queue(std::size_t index) { return *queues_.at(index); }
    [[nodiscard]] const drm_panthor_queue_create& offsets(std::size_t index) const {
        return created_.at(index);
    }
    [[nodiscard]] bool active() { return queue(0).output().active != 0; }
    int kick(std::uint32_t mask = 1);
    int destroy();
    [[nodiscard]] drm_panthor_group_get_state state();
    [[nodiscard]] belfry_group_get_fault fault();

  private:
    Client& client_;
    std::uint32_t handle_ = 0;
    std::vector<drm_panthor_queue_create> created_;
    base::Mapping doorbell_;
    std::vector<std::unique_ptr<UserQueue>> queues_;
};

/// A job of GROUP_SUBMIT.
struct JobSpec {
    std::uint32_t queue = 0;
    std::optional<Stream> stream;  ///< none: only syncs
    std::vector<drm_panthor_sync_op> syncs;
};

class KernelGroup {
  public:
    KernelGroup(Client& client, const GroupSetup& setup);

    [[nodiscard]] std::uint32_t handle() const { return handle_; }
    int submit(const std::vector<JobSpec>& jobs);
    int destroy();
    [[nodiscard]] drm_panthor_group_get_state state();
    [[nodiscard]] belfry_group_get_fault fault();

  private:
    Client& client_;
    std::uint32_t handle_ = 0;
};

inline drm_panthor_sync_op wait_op(std::uint32_t syncobj, std::uint64_t point = 0) {
    return {.flags = point != 0 ? 1U : 0U, .handle = syncobj, .timeline_value = point};
}
inline drm_panthor_sync_op signal_op(std::uint32_t syncobj, std::uint64_t point = 0) {
    return {.flags = static_cast<std::uint32_t>(DRM_PANTHOR_SYNC_OP_SIGNAL) | (point != 0 ? 1U : 0U),
            .handle = syncobj,
            .timeline_value = point};
}

template <typename T>
drm_panthor_obj_array obj_array(const std::vector<T>& elements) {
    return {.stride = sizeof(T),
            .count = static_cast<std::uint32_t>(elements.size()),
            .array = reinterpret_cast<std::uint64_t>(elements.data())};
}

/// One open file of the device.
class Client {
  public:
    Client(Rig& rig, std::unique_ptr<drm::File> file) : rig_(rig), file_(std::move(file)) {}

    // Requests.
    /// A request that may be answered later. `args` are copied.
    template <typename Args>
    std::shared_ptr<TestCall> start(std::uint64_t request, const Args& args, std::vector<base::Fd> fds = {});
    /// A request that is answered at once: 0 or an errno. `args` get what comes back.
    template <typename Args>
    int ioctl(std::uint64_t request, Args& args, std::vector<base::Fd> fds = {});
    base::Result<std::vector<drm::MapSegment>> mmap(std::uint64_t offset, std::uint64_t bytes,
                                                    int protection = PROT_READ | PROT_WRITE);
    /// What mmap gives, each segment mapped as far as it allows.
    std::vector<base::Mapping> map(std::uint64_t offset, std::uint64_t bytes);

    // Objects; all must succeed.
    std::uint32_t create_vm(std::uint64_t user_va_range = 0);
    /// The client's first VM.
    std::uint32_t vm() { return vm_ != 0 ? vm_ : vm_ = create_vm(); }
    std::uint32_t bo(std::uint64_t bytes = kPage, std::uint32_t flags = 0, std::uint32_t exclusive_vm = 0);
    [[nodiscard]] std::uint64_t mmap_offset(std::uint32_t bo);
    /// A fresh buffer, bound where nothing else is; an unbound page follows.
    Memory memory(std::uint32_t vm = 0, std::uint64_t bytes = kPage);
    Stream stream(const Program& program, std::uint32_t vm = 0);
    UserGroup& user_group(const GroupSetup& setup = {});
    KernelGroup& kernel_group(const GroupSetup& setup = {});
    std::uint32_t syncobj(bool signaled = false);

    // VM_BIND.
    std::shared_ptr<TestCall> bind(std::uint32_t vm, const std::vector<drm_panthor_vm_bind_op>& ops,
                                   std::uint32_t flags = 0);
    std::shared_ptr<TestCall> unmap(const Memory& memory, std::uint32_t vm = 0) {
        return bind(vm != 0 ? vm : this->vm(), {unmap_op(memory.va, memory.mapping.size())});
    }
    static drm_panthor_vm_bind_op map_op(std::uint32_t bo, std::uint64_t va, std::uint64_t bytes,
                                         std::uint64_t bo_offset = 0) {
        return {.flags = DRM_PANTHOR_VM_BIND_OP_TYPE_MAP,
                .bo_handle = bo,
                .bo_offset = bo_offset,
                .va = va,
                .size = bytes};
    }
    static drm_panthor_vm_bind_op unmap_op(std::uint64_t va, std::uint64_t bytes) {
        return {.flags = DRM_PANTHOR_VM_BIND_OP_TYPE_UNMAP, .va = va, .size = bytes};
    }

    /// The same without a mapping of the client's: if there is a memory budget, it can be evicted.
    Memory gpu_memory(std::uint64_t bytes, std::uint32_t vm = 0);
    /// The client's mapping goes, which the driver hears of.
    void unmap_from_cpu(Memory& memory);

    int gem_close(std::uint32_t bo);
    int vm_destroy(std::uint32_t vm);
    int group_destroy(std::uint32_t group);
    int kick(std::uint32_t group, std::uint32_t mask = 1);
    [[nodiscard]] drm_panthor_group_get_state state(std::uint32_t group);
    [[nodiscard]] belfry_group_get_fault fault(std::uint32_t group);

    /// Of the fence that `syncobj` has for `point`: 0 pending, 1 signalled, else its error, negative. (There
    /// are no sync files yet to ask.)
    [[nodiscard]] int fence_status(std::uint32_t syncobj, std::uint64_t point = 0);
    /// Null if it has none.
    [[nodiscard]] drm::FencePtr fence(std::uint32_t syncobj, std::uint64_t point = 0);
    [[nodiscard]] bool has_fence(std::uint32_t syncobj, std::uint64_t point = 0) {
        return fence(syncobj, point) != nullptr;
    }

    /// The buffer behind a handle, for what no request tells of it.
    [[nodiscard]] drm::BufferPtr find_buffer(std::uint32_t handle) {
        return static_cast<File&>(*file_).buffer(handle);
    }
    [[nodiscard]] Rig& rig() const { return rig_; }
    [[nodiscard]] drm::File& file() { return *file_; }

  private:
    friend class Rig;
    [[nodiscard]] drm::SyncobjPtr find_syncobj(std::uint32_t handle) {
        return static_cast<File&>(*file_).syncobjs().find(handle);
    }

    Rig& rig_;
    std::unique_ptr<drm::File> file_;
    std::uint32_t vm_ = 0;
    std::uint64_t next_va_ = 0x1000'0000;
    std::deque<UserGroup> user_groups_;
    std::deque<KernelGroup> kernel_groups_;
    std::list<base::Fd> files_;  // that mmap answered with
    std::unordered_set<drm::Inode, drm::InodeHash> mapped_;
};

class Rig {
  public:
    explicit Rig(gpu::FirmwareConfig config = {.group_slots = 8, .streams_per_group = 8},
                 std::uint64_t memory_budget = 0)
        : gpu(config, host),
          wires(gpu),
          device_(std::make_unique<Device>(
              gpu::Board{.mmio = wires,
                         .shared = gpu.shared(),
                         .wake_lines = lines,
                         .flush_id_fd = gpu.flush_id_fd()},
              exports, drm::MemoryOptions{.budget_bytes = memory_budget, .store = &store})) {
        device_->set_now(host.now);
        std::optional<base::Result<void>> up;
        device_->boot([&up](base::Result<void> result) { up = result; });
        run_until_idle();
        if (!up || !*up) throw std::runtime_error("the device does not boot");
    }
    ~Rig() {
        // What hooks refer to is gone: they are younger than the rig.
        host.on_interrupt = nullptr;
        wires.on_read = nullptr;
        wires.on_write = nullptr;
        clients_.clear();
        store.stop();
        device_.reset();  // from here on the GPU must not be stepped
    }
    Rig(const Rig&) = delete;
    Rig& operator=(const Rig&) = delete;

    Client& open(const drm::Opener& opener = {}, drm::NodeKind kind = drm::NodeKind::render) {
        Node node(*device_, kind);
        return clients_.emplace_back(*this, std::move(*node.open(opener)));
    }
    /// The client's end: what it mapped goes with its file.
    void close(Client& client) {
        const auto mapped = std::move(client.mapped_);
        clients_.remove_if([&](const Client& other) { return &other == &client; });
        if (device_->residency().bounded())
            for (const drm::Inode inode : mapped) exports.close(inode);
        device_->run_work();
        check();
    }

    // The GPU.
    /// Lets the GPU do so many pieces of work. The driver hears nothing of them. True if there is more to do.
    bool step_gpu(unsigned steps = 1) {
        bool more = false;
        for (unsigned i = 0; i < steps; ++i) more = gpu.step();
        return more;
    }
    /// Lets the driver hear of what the GPU raised. False if that was nothing.
    bool deliver_interrupt() {
        if (in_interrupt_ || !std::exchange(host.line, false)) return false;
        in_interrupt_ = true;
        device_->interrupt();
        in_interrupt_ = false;
        check();
        return true;
    }
    /// Lets the backing store finish what it was asked first. False if that is nothing, or if it is held.
    bool step_store() {
        if (store.held || !store.finish_one()) return false;
        device_->run_work();
        check();
        return true;
    }
    /// All three, so many times.
    void run(unsigned rounds) {
        for (unsigned i = 0; i < rounds; ++i) {
            gpu.step();
            deliver_interrupt();
            step_store();
        }
    }
    /// All three, until none has anything left.
    void run_until_idle(unsigned rounds_max = 100'000) {
        for (unsigned i = 0; i < rounds_max; ++i) {
            const bool more = gpu.step();
            if (deliver_interrupt() || step_store() || more) continue;
            // A hook may have run the driver at the end of that step.
            const bool idle = gpu.prepare_sleep();
            gpu.woke();
            if (idle && !host.line) return;
        }
        ADD_FAILURE() << "still busy after " << rounds_max << " rounds";
    }
    /// So many looks at submit rings that are awake.
    void poll_rings(unsigned looks = 4) {
        for (unsigned i = 0; i < looks; ++i) {
            device_->poll();
            check();
        }
    }
    /// The GPU alone, until it has nothing left.
    void run_gpu_until_idle(unsigned steps_max = 100'000) {
        for (unsigned i = 0; i < steps_max; ++i)
            if (!gpu.step()) return;
        ADD_FAILURE() << "still busy after " << steps_max << " steps";
    }

    // Time.
    /// Calls the timers that come due on the way, each at its time.
    void advance(std::chrono::nanoseconds by) {
        const std::uint64_t end = host.now + static_cast<std::uint64_t>(by.count());
        for (auto due = device_->next_deadline(); due && *due <= end; due = device_->next_deadline()) {
            host.now = std::max(host.now, *due);
            device_->set_now(host.now);
            device_->tick();
            check();
        }
        host.now = end;
        device_->set_now(end);
    }

    // What there is.
    [[nodiscard]] Device& device() { return *device_; }
    [[nodiscard]] belfry_device_info info() const { return device_->device_info(); }
    /// What sits on a slot; null if nothing does.
    [[nodiscard]] Group* on_slot(unsigned slot) { return device_->scheduler().on_slot(slot); }
    [[nodiscard]] const gpu::Stream& stream(unsigned slot, unsigned index) const {
        return gpu.firmware().stream(slot, index);
    }
    void check() {
        device_->check_invariants();
        for (unsigned i = 0; i < device_->scheduler().slot_count(); ++i)
            if (const Group* const group = on_slot(i)) group->check_invariants();
        for (const Client& client : clients_) static_cast<const File&>(*client.file_).check_invariants();
    }

    TestHost host;
    gpu::Gpu gpu;
    Wires wires;
    TestLines lines;
    drm::TestExports exports;
    drm::TestStore store;

  private:
    std::unique_ptr<Device> device_;
    std::list<Client> clients_;
    bool in_interrupt_ = false;
};

// --- Client

template <typename Args>
std::shared_ptr<TestCall> Client::start(std::uint64_t request, const Args& args, std::vector<base::Fd> fds) {
    auto call = TestCall::make(static_cast<std::uint32_t>(request), args, std::move(fds));
    file_->ioctl(call);
    rig_.check();
    return call;
}

template <typename Args>
int Client::ioctl(std::uint64_t request, Args& args, std::vector<base::Fd> fds) {
    const auto call = start(request, args, std::move(fds));
    args = call->template args<Args>();
    if (!call->answered()) throw std::logic_error("not answered at once");
    return *call->answer();
}

inline base::Result<std::vector<drm::MapSegment>> Client::mmap(std::uint64_t offset, std::uint64_t bytes,
                                                               int protection) {
    std::optional<base::Result<std::vector<drm::MapSegment>>> answer;
    file_->mmap({.offset = offset, .bytes = bytes, .protection = protection},
                [&](const base::Result<std::vector<drm::MapSegment>>& segments) {
                    answer = segments;
                    if (!segments) return;
                    // The client's from here on.
                    for (drm::MapSegment& segment : **answer) {
                        mapped_.insert(*drm::inode_of(segment.fd));
                        segment.fd = files_.emplace_back(::dup(segment.fd)).get();
                    }
                });
    rig_.check();
    for (unsigned i = 0; i < 100 && !answer; ++i) rig_.run(1);  // the memory is being made room for
    if (!answer) throw std::logic_error("not answered");
    return *answer;
}

inline std::vector<base::Mapping> Client::map(std::uint64_t offset, std::uint64_t bytes) {
    std::vector<base::Mapping> mappings;
    const auto segments = mmap(offset, bytes).value();
    for (const drm::MapSegment& segment : segments)
        mappings.push_back(
            base::map_shared(segment.fd, segment.fd_offset, segment.bytes, segment.access).value());
    files_.clear();
    return mappings;
}

inline std::uint32_t Client::create_vm(std::uint64_t user_va_range) {
    drm_panthor_vm_create args{.user_va_range = user_va_range};
    EXPECT_EQ(ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, args), 0);
    return args.id;
}

inline std::uint32_t Client::bo(std::uint64_t bytes, std::uint32_t flags, std::uint32_t exclusive_vm) {
    drm_panthor_bo_create args{.size = bytes, .flags = flags, .exclusive_vm_id = exclusive_vm};
    EXPECT_EQ(ioctl(DRM_IOCTL_PANTHOR_BO_CREATE, args), 0);
    return args.handle;
}

inline std::uint64_t Client::mmap_offset(std::uint32_t bo) {
    drm_panthor_bo_mmap_offset args{.handle = bo};
    EXPECT_EQ(ioctl(DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET, args), 0);
    return args.offset;
}

inline Memory Client::memory(std::uint32_t vm, std::uint64_t bytes) {
    const std::uint32_t handle = bo(bytes);
    const std::uint64_t va = next_va_;
    next_va_ += bytes + kPage;
    const auto call = bind(vm != 0 ? vm : this->vm(), {map_op(handle, va, bytes)});
    EXPECT_EQ(call->answer(), 0);
    return {.handle = handle, .va = va, .mapping = std::move(map(mmap_offset(handle), bytes).at(0))};
}

inline Memory Client::gpu_memory(std::uint64_t bytes, std::uint32_t vm) {
    const std::uint32_t handle = bo(bytes);
    const std::uint64_t va = next_va_;
    next_va_ += bytes + kPage;
    const auto call = bind(vm != 0 ? vm : this->vm(), {map_op(handle, va, bytes)});
    EXPECT_EQ(call->answer(), 0);
    return {.handle = handle, .va = va};
}

inline void Client::unmap_from_cpu(Memory& memory) {
    memory.mapping = {};
    rig_.exports.close(*drm::inode_of(find_buffer(memory.handle)->fd()));
    rig_.device().run_work();
    rig_.check();
}

inline Stream Client::stream(const Program& program, std::uint32_t vm) {
    const Memory memory = this->memory(vm);
    W writer(std::span(&memory.u64(), kPage / sizeof(std::uint64_t)));
    program(writer);
    EXPECT_FALSE(writer.overflowed());
    return {.va = memory.va, .bytes = static_cast<std::uint32_t>(writer.size_bytes())};
}

inline UserGroup& Client::user_group(const GroupSetup& setup) {
    return user_groups_.emplace_back(*this, setup);
}
inline KernelGroup& Client::kernel_group(const GroupSetup& setup) {
    return kernel_groups_.emplace_back(*this, setup);
}

inline std::uint32_t Client::syncobj(bool signaled) {
    drm_syncobj_create args{.flags = signaled ? DRM_SYNCOBJ_CREATE_SIGNALED : 0};
    EXPECT_EQ(ioctl(DRM_IOCTL_SYNCOBJ_CREATE, args), 0);
    return args.handle;
}

inline std::shared_ptr<TestCall> Client::bind(std::uint32_t vm,
                                              const std::vector<drm_panthor_vm_bind_op>& ops,
                                              std::uint32_t flags) {
    return start(DRM_IOCTL_PANTHOR_VM_BIND,
                 drm_panthor_vm_bind{.vm_id = vm, .flags = flags, .ops = obj_array(ops)});
}

inline int Client::gem_close(std::uint32_t bo) {
    drm_gem_close args{.handle = bo};
    return ioctl(DRM_IOCTL_GEM_CLOSE, args);
}
inline int Client::vm_destroy(std::uint32_t vm) {
    drm_panthor_vm_destroy args{.id = vm};
    return ioctl(DRM_IOCTL_PANTHOR_VM_DESTROY, args);
}
inline int Client::group_destroy(std::uint32_t group) {
    drm_panthor_group_destroy args{.group_handle = group};
    return ioctl(DRM_IOCTL_PANTHOR_GROUP_DESTROY, args);
}
inline int Client::kick(std::uint32_t group, std::uint32_t mask) {
    drm_panthor_group_kick args{.handle = group, .queue_mask = mask};
    return ioctl(DRM_IOCTL_PANTHOR_GROUP_KICK, args);
}
inline drm_panthor_group_get_state Client::state(std::uint32_t group) {
    drm_panthor_group_get_state args{.group_handle = group};
    EXPECT_EQ(ioctl(DRM_IOCTL_PANTHOR_GROUP_GET_STATE, args), 0);
    return args;
}
inline belfry_group_get_fault Client::fault(std::uint32_t group) {
    belfry_group_get_fault args{.group_handle = group};
    EXPECT_EQ(ioctl(DRM_IOCTL_BELFRY_GROUP_GET_FAULT, args), 0);
    return args;
}

inline drm::FencePtr Client::fence(std::uint32_t syncobj, std::uint64_t point) {
    return find_syncobj(syncobj)->find_point(point).value_or(nullptr);
}
inline int Client::fence_status(std::uint32_t syncobj, std::uint64_t point) {
    return drm::ChainNode::contained(fence(syncobj, point))->status();
}

// --- groups

inline std::vector<drm_panthor_queue_create> queue_creates(const GroupSetup& setup) {
    return std::vector(setup.queues, drm_panthor_queue_create{.ringbuf_size = setup.ring_bytes});
}

inline std::uint32_t create_group(Client& client, const GroupSetup& setup,
                                  std::vector<drm_panthor_queue_create>& queues, std::uint32_t flags) {
    queues = queue_creates(setup);
    std::vector<base::Fd> fds;
    const auto send = [&fds](int eventfd) {
        if (eventfd < 0) return -1;
        fds.emplace_back(::dup(eventfd));
        return static_cast<int>(fds.size()) - 1;
    };
    drm_panthor_group_create args{.queues = obj_array(queues),
                                  .priority = setup.priority,
                                  .flags = flags,
                                  .vm_id = setup.vm != 0 ? setup.vm : client.vm(),
                                  .eventfd_sync_update = send(setup.sync_update_eventfd),
                                  .eventfd_group_state = send(setup.group_state_eventfd),
                                  .eventfd_doorbell = -1};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_GROUP_CREATE, args, std::move(fds)), 0);
    return args.group_handle;
}

inline UserGroup::UserGroup(Client& client, const GroupSetup& setup) : client_(client) {
    handle_ = create_group(client, setup, created_, DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT);
    doorbell_ = std::move(client.map(created_.at(0).doorbell_offset, kPage).at(0));
    for (const auto& created : created_)
        queues_.push_back(std::make_unique<UserQueue>(client, handle_, created, doorbell_));
}

inline int UserGroup::kick(std::uint32_t mask) { return client_.kick(handle_, mask); }
inline int UserGroup::destroy() { return client_.group_destroy(handle_); }
inline drm_panthor_group_get_state UserGroup::state() { return client_.state(handle_); }
inline belfry_group_get_fault UserGroup::fault() { return client_.fault(handle_); }

inline UserQueue::UserQueue(Client& client, std::uint32_t group, const drm_panthor_queue_create& created,
                            const base::Mapping& doorbell)
    : client_(client),
      group_(group),
      ring_(std::move(client.map(created.ringbuf_offset, created.ringbuf_size).at(0))),
      doorbell_(*reinterpret_cast<belfry_user_doorbell*>(doorbell.data())) {
    auto pages = client.map(created.user_io_offset, 2 * kPage);
    input_ = std::move(pages.at(0));
    output_ = std::move(pages.at(1));
}

inline void UserQueue::write(const Program& program) {
    std::vector<std::uint64_t> words(ring_.size() / sizeof(std::uint64_t));
    W writer(words);
    program(writer);
    EXPECT_FALSE(writer.overflowed());
    for (const std::uint64_t word : writer.words()) {
        auto& place = *reinterpret_cast<std::uint64_t*>(ring_.data() + (written & (ring_.size() - 1)));
        base::store(place, word, base::kRelaxed);
        written += sizeof word;
    }
}

inline int UserQueue::kick() { return client_.kick(group_); }

inline void UserQueue::run(const Program& program) {
    submit(program);
    tell();
    client_.rig().run_until_idle();
}

inline KernelGroup::KernelGroup(Client& client, const GroupSetup& setup) : client_(client) {
    std::vector<drm_panthor_queue_create> queues;
    handle_ = create_group(client, setup, queues, 0);
}

inline int KernelGroup::submit(const std::vector<JobSpec>& jobs) {
    std::vector<drm_panthor_queue_submit> submits;
    for (const JobSpec& job : jobs)
        submits.push_back({.queue_index = job.queue,
                           .stream_size = job.stream ? job.stream->bytes : 0,
                           .stream_addr = job.stream ? job.stream->va : 0,
                           .syncs = obj_array(job.syncs)});
    drm_panthor_group_submit args{.group_handle = handle_, .queue_submits = obj_array(submits)};
    return client_.ioctl(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, args);
}

inline int KernelGroup::destroy() { return client_.group_destroy(handle_); }
inline drm_panthor_group_get_state KernelGroup::state() { return client_.state(handle_); }
inline belfry_group_get_fault KernelGroup::fault() { return client_.fault(handle_); }

}  // namespace belfry::panthor
