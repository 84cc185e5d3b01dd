// A lookup service whose table lies in GPU memory: what the example servers uring_server.cpp and
// asio_server.cpp, and their client lookup_client.cpp, have in common.
//
// A request names an index; the GPU reads the table there, and its answer is the reply. Nobody checks the
// index: one beyond the table is a page fault, which ends the group. Jobs of a queue run in order, so the
// culprit is the first one that is not done; the others lose nothing but time, because they are submitted
// again to a new group.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

#include <belfry/belfry.hpp>

namespace lookup {

struct Request {
    std::uint32_t id;  ///< the client's, for its own use
    std::uint32_t index;
};
struct Reply {
    std::uint32_t id;
    std::uint32_t value;
    std::uint32_t error;  ///< 0, or EFAULT: no such index
};

constexpr std::uint32_t kEntries = 4096;
constexpr std::uint32_t entry(std::uint32_t index) { return index * index; }

/// Where a request comes in and its reply goes out. Sockets and GPU use the same memory: nothing is copied.
struct Slot {
    Request request;
    Reply reply;
    std::uint32_t pad[11];
};
static_assert(sizeof(Slot) == 64);

/// A job is done when `done` has reached `target`.
struct Job {
    belfry::SyncObject done;
    std::uint64_t target;
    /// Once its group has ended: whether it is the one that it ended by.
    [[nodiscard]] bool is_culprit() const { return target == done.value() + 1; }
};

/// Owns one. Rung for ever once it has been rung, because nobody reads it.
class Eventfd {
  public:
    Eventfd() = default;
    Eventfd(Eventfd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Eventfd& operator=(Eventfd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Eventfd() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] static Eventfd make() {
        Eventfd made;
        made.fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return made;
    }
    [[nodiscard]] int fd() const { return fd_; }

  private:
    int fd_ = -1;
};

class Gpu {
  public:
    static belfry::Result<Gpu> open(std::size_t slots);

    Slot& slot(std::size_t index) { return reinterpret_cast<Slot*>(slots.bytes().data())[index]; }
    /// Looks up what the request in the slot asks for. ECANCELED: the group has ended.
    belfry::Result<Job> submit(std::size_t slot);

    /// Whether it is one of the present group; others are done or will never be.
    [[nodiscard]] bool is_present(const Job& job) const { return job.done.address() == done_->address(); }

    /// Becomes readable, and stays so, when the present group ends.
    [[nodiscard]] int group_ended() const { return group_ended_.fd(); }
    /// In place of a group that has ended, or the first one. Makes requests of the driver and waits for them,
    /// which nothing else here does.
    belfry::Result<void> new_group();

    belfry::Device device;
    belfry::Vm vm;

  private:
    static constexpr std::uint64_t kTableAddress = 1ULL << 40;  // with nothing behind it
    static constexpr std::size_t kObjectBytes = 4096;
    static constexpr std::size_t kJobWords = 9;

    Gpu(belfry::Device device_, belfry::Vm vm_, belfry::Buffer table_, belfry::Buffer slots_,
        std::uint64_t slots_address, belfry::Buffer objects_, std::uint64_t objects_address)
        : device(std::move(device_)),
          vm(std::move(vm_)),
          table(std::move(table_)),
          slots(std::move(slots_)),
          slots_address_(slots_address),
          objects(std::move(objects_)),
          objects_address_(objects_address) {}

    belfry::Buffer table;
    belfry::Buffer slots;
    std::uint64_t slots_address_;
    belfry::Buffer objects;
    std::uint64_t objects_address_;

    std::size_t groups_ = 0;
    Eventfd group_ended_;
    std::optional<belfry::Group> group_;
    std::optional<belfry::SyncObject> done_;  // of the present group
    std::uint64_t submitted_ = 0;             // to it
};

inline belfry::Result<Gpu> Gpu::open(std::size_t slots) {
    auto device = belfry::Device::open();
    if (!device) return std::unexpected(device.error());
    auto vm = device->create_vm();
    if (!vm) return std::unexpected(vm.error());
    auto table = device->create_buffer(kEntries * sizeof(std::uint32_t));
    if (!table) return std::unexpected(table.error());
    const std::span entries(reinterpret_cast<std::uint32_t*>(table->bytes().data()), kEntries);
    for (std::uint32_t i = 0; i < kEntries; ++i) entries[i] = entry(i);
    if (const auto at = vm->map(*table, {.address = kTableAddress, .read_only = true}); !at)
        return std::unexpected(at.error());
    auto messages = device->create_buffer(slots * sizeof(Slot));
    if (!messages) return std::unexpected(messages.error());
    const auto messages_address = vm->map(*messages);
    if (!messages_address) return std::unexpected(messages_address.error());
    auto objects = device->create_buffer(kObjectBytes);
    if (!objects) return std::unexpected(objects.error());
    const auto objects_address = vm->map(*objects);
    if (!objects_address) return std::unexpected(objects_address.error());
    Gpu gpu(std::move(*device), std::move(*vm), std::move(*table), std::move(*messages), *messages_address,
            std::move(*objects), *objects_address);
    if (const auto made = gpu.new_group(); !made) return std::unexpected(made.error());
    return gpu;
}

inline belfry::Result<void> Gpu::new_group() {
    group_ended_ = Eventfd::make();
    auto group = vm.create_group({.group_state_eventfd = group_ended_.fd()});
    if (!group) return std::unexpected(group.error());
    group_ = std::move(*group);
    // A sync object for each group, so that waits for the one before keep theirs. There are 256, in turn.
    const std::size_t at = groups_++ * 16 % kObjectBytes;
    auto done = belfry::SyncObject::at(objects, at, objects_address_ + at);
    if (!done) return std::unexpected(done.error());
    done->set(0);
    done_ = *done;
    submitted_ = 0;
    return {};
}

inline belfry::Result<Job> Gpu::submit(std::size_t index) {
    using namespace belfry;
    Slot& message = slot(index);
    message.reply = {.id = message.request.id, .value = 0, .error = 0};
    const std::uint64_t from = kTableAddress + std::uint64_t{message.request.index} * sizeof(std::uint32_t);
    const std::uint64_t to =
        slots_address_ + index * sizeof(Slot) + offsetof(Slot, reply) + offsetof(Reply, value);
    auto commands = group_->queue().begin(kJobWords);
    if (!commands) return std::unexpected(commands.error());
    commands->move48(d(0), from)
        .load_multiple(r(2), 0b1, d(0))
        .move48(d(4), to)
        .move48(d(6), done_->address())
        .move48(d(8), 1)
        .wait(kAllSlots)
        .store_multiple(r(2), 0b1, d(4))
        .wait(kAllSlots)
        .sync_add64(d(6), d(8));
    if (const auto rung = group_->queue().submit(*commands); !rung) return std::unexpected(rung.error());
    return Job{.done = *done_, .target = ++submitted_};
}

}  // namespace lookup
