// Hostile requests: every row of the ioctl table with random structs, arrays, pointers and descriptors, and
// scribbles over the memory of submit rings, through both ends of the wire into the driver, while the GPU
// works and a well-behaved program does its own work.
//
// $BELFRY_FUZZ_CALLS says how many calls (default 100,000), $BELFRY_FUZZ_SEED where they begin. What fails
// prints the seed of its round; with that as $BELFRY_FUZZ_SEED the same round runs first.
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include <fcntl.h>
#include <linux/ioctl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "belfry/uapi/sw_sync.h"
#include "drm/sw_sync.hpp"
#include "uapi/ioctl_table.hpp"
#include "uapi/wire.hpp"
#include "unit/panthor_rig.hpp"
#include "unit/submit_ring_client.hpp"

namespace belfry::panthor {
namespace {

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

/// The program's memory: a pointer is good as far as it stays within one block, and bad everywhere else.
class ProgramMemory {
  public:
    std::span<std::byte> block(std::size_t bytes) { return blocks_.emplace_back(bytes); }
    void clear() { blocks_.clear(); }

    static bool read(void* to, const void* user, std::size_t bytes) {
        if (!current->holds(user, bytes)) return false;
        std::memcpy(to, user, bytes);
        return true;
    }
    static bool write(void* user, const void* from, std::size_t bytes) {
        if (!current->holds(user, bytes)) return false;
        std::memcpy(user, from, bytes);
        return true;
    }
    static inline ProgramMemory* current = nullptr;

  private:
    [[nodiscard]] bool holds(const void* user, std::size_t bytes) const {
        const auto at = reinterpret_cast<std::uintptr_t>(user);
        for (const auto& block : blocks_) {
            const auto start = reinterpret_cast<std::uintptr_t>(block.data());
            if (at >= start && at - start <= block.size() && bytes <= block.size() - (at - start))
                return true;
        }
        return false;
    }
    std::deque<std::vector<std::byte>> blocks_;
};
constexpr UserMemory kProgramMemory{.read = ProgramMemory::read, .write = ProgramMemory::write};

/// As the server's sessions make one of what arrived.
class FuzzCall final : private IncomingCall, public drm::Call {
  public:
    explicit FuzzCall(IncomingCall incoming)
        : IncomingCall(std::move(incoming)),
          drm::Call(IncomingCall::ioctl().request, IncomingCall::args(), IncomingCall::take_fds()) {
        set_target(IncomingCall::take_target());
    }
    std::optional<Result<void>> answer;
    [[nodiscard]] std::vector<std::byte> reply() const { return IncomingCall::reply(answer->has_value()); }

  private:
    void deliver(Result<void> result) override { answer = result; }
};

class HostileProgram {
  public:
    HostileProgram(Rig& rig, std::uint64_t seed)
        : rig_(rig),
          client_(rig.open({.may_nice = seed % 2 == 0},
                           seed % 3 == 0 ? drm::NodeKind::primary : drm::NodeKind::render)),
          timeline_node_(rig.device().exports(), rig.device().fence_contexts(), rig.device().timers(),
                         [&rig] { rig.device().run_work(); }),
          timeline_(std::move(*timeline_node_.open({}))),
          random_(seed) {
        // Objects to begin with, so that small handles name something.
        const std::uint32_t vm = client_.create_vm();
        client_.memory(vm);
        client_.memory(vm, 16 * kPage);
        client_.kernel_group({.queues = 2});
        client_.user_group();
        client_.syncobj();
        client_.syncobj(true);
        for (unsigned i = 0; i < 3; ++i)
            rings_.emplace_back(client_.file(), drm::RingSetup{.cq_entries = 16});
        descriptors_.emplace_back(::eventfd(0, EFD_CLOEXEC));
        descriptors_.emplace_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
    }
    ~HostileProgram() {
        for (const auto& call : pending_) call->cancel();
        rig_.close(client_);
    }
    HostileProgram(const HostileProgram&) = delete;
    HostileProgram& operator=(const HostileProgram&) = delete;

    /// Anything at all into the memory of one of its rings: counters, entries, arena.
    void scribble_on_a_ring() {
        if (rings_.empty()) return;
        drm::RingClient& ring = rings_[below(rings_.size())];
        const std::uint32_t head = base::load(ring.consumer().sq_head, base::kAcquire);
        for (std::uint32_t i = 0; i < 8; ++i) {
            std::array<std::uint64_t, sizeof(belfry_submit_entry) / 8> words{};
            for (auto& word : words) word = one_in(3) ? any_number() : below(8);
            auto entry = std::bit_cast<belfry_submit_entry>(words);
            if (!one_in(4)) {
                entry.opcode = static_cast<std::uint8_t>(one_in(2) ? below(3) : 0x40 + below(4));
                entry.flags = static_cast<std::uint8_t>(below(16));
                entry.more_syncs = static_cast<std::uint16_t>(one_in(4) ? below(4) : 0);
                entry.wait_handle = static_cast<std::uint32_t>(below(3));
                entry.signal_handle = static_cast<std::uint32_t>(below(3));
                entry.wait_point = entry.signal_point = 0;
            }
            ring.at(head + i) = entry;
        }
        for (unsigned i = 0; i < 32; ++i)
            base::store(*reinterpret_cast<std::uint64_t*>(ring.arena() + 8 * below(512)),
                        any_value(FieldKind::hex), base::kRelaxed);
        const bool sound = !one_in(50);
        base::store(
            ring.client().sq_tail,
            sound ? head + static_cast<std::uint32_t>(below(9)) : static_cast<std::uint32_t>(random_()),
            base::kRelease);
        if (!one_in(10))
            base::store(ring.client().cq_head, base::load(ring.consumer().cq_tail, base::kAcquire),
                        base::kRelease);
        else if (one_in(5))
            base::store(ring.client().cq_head, static_cast<std::uint32_t>(random_()), base::kRelease);
        ring.enter();
        rig_.poll_rings(1 + static_cast<unsigned>(below(3)));
    }

    void make_one_call() {
        if (one_in(8)) return scribble_on_a_ring();
        ProgramMemory::current = &memory_;
        memory_.clear();
        const auto table = ioctls();
        const Ioctl& row = table[below(table.size())];
        if (row.name.starts_with("MODE_") && !one_in(16)) return;  // all that is refused whatever is in it
        hostile_ = one_in(2);
        const auto args = memory_.block(row.layout->bytes);
        fill(*row.layout, args);
        for (const DescriptorField& field : row.descriptors) put(args, field.offset, 4, any_descriptor());

        Outgoing out;
        if (!marshal(row.request, args.data(), out, kProgramMemory, static_cast<int>(any_descriptor())))
            return;
        std::vector<base::Fd> fds;
        for (const int fd : out.fds) fds.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
        const bool spoilt = hostile_ && one_in(8);
        if (spoilt) spoil(out.payload);
        auto incoming = IncomingCall::parse(row.request, out.payload, std::move(fds));
        if (!incoming) return;
        const auto call = std::make_shared<FuzzCall>(std::move(*incoming));
        if (_IOC_TYPE(row.request) == BELFRY_SW_SYNC_IOCTL_BASE)
            timeline_->ioctl(call);
        else
            client_.file().ioctl(call);
        if (!call->answer) {
            pending_.push_back(call);
            if (pending_.size() > 16) {
                pending_.front()->cancel();
                pending_.pop_front();
            }
            return;
        }
        std::vector<base::Fd> given;
        if (*call->answer)
            for (const base::Fd& fd : call->given_fds()) given.push_back(std::move(*fd.duplicate()));
        const int result = *call->answer ? 0 : static_cast<int>(call->answer->error());
        EXPECT_LT(result, 133) << row.name << ": no errno of Linux";
        for (const base::Fd& fd : given) keep(fd);
        if (spoilt || !unmarshal_reply(out, result, call->reply(), given, args.data(), kProgramMemory))
            return;
        for (const DescriptorField& field : row.descriptors) {
            if (!goes_out(field.direction)) continue;
            std::int32_t number = -1;
            std::memcpy(&number, args.data() + field.offset, sizeof number);
            const base::Fd programs_own(number);
        }
    }

  private:
    std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
    bool one_in(unsigned n) { return below(n) == 0; }

    static void put(std::span<std::byte> object, std::size_t offset, std::size_t width, std::uint64_t value) {
        std::memcpy(object.data() + offset, &value, std::min<std::size_t>(width, sizeof value));
    }

    std::uint64_t any_number() {
        switch (below(8)) {
            case 0:  return 0;
            case 1:  return 1;
            case 2:  return below(16);
            case 3:  return base::kPageBytes * below(64);
            case 4:  return std::uint64_t{1} << below(64);
            case 5:  return ~(std::uint64_t{1} << below(64));
            case 6:  return ~std::uint64_t{0} - below(4);
            default: return random_();
        }
    }

    /// Mostly what takes a request far: what is wrong at once teaches little.
    std::uint64_t any_value(FieldKind kind) {
        if (hostile_ && one_in(6)) return any_number();
        switch (kind) {
            case FieldKind::number:        return one_in(2) ? 0 : below(4);
            case FieldKind::signed_number: return below(2) * rig_.host.now;
            case FieldKind::hex:
                return one_in(3)   ? 0
                       : one_in(2) ? base::kPageBytes << below(10)
                                   : base::kPageBytes * below(16);
            case FieldKind::flags:  return one_in(2) ? 0 : std::uint64_t{1} << below(32);
            case FieldKind::handle: return below(6);
            case FieldKind::count:  return below(4);
            default:                return 0;
        }
    }

    void fill(const StructLayout& layout, std::span<std::byte> object) {
        for (const Field& field : layout.fields)
            for (std::size_t at = 0; at < field.width; at += 8)
                put(object, field.offset + at, std::min<std::size_t>(8, field.width - at),
                    hostile_ && one_in(20) ? any_number() : any_value(field.kind));
        for (const Attachment& attachment : layout.attachments) attach(attachment, object);
    }

    void attach(const Attachment& attachment, std::span<std::byte> object) {
        const std::uint64_t count = attachment.kind == AttachmentKind::object ? below(160) : below(5);
        const std::uint64_t stride =
            attachment.element_bytes +
            (hostile_ && attachment.kind == AttachmentKind::obj_array && one_in(6) ? 8 : 0);
        const auto block = memory_.block(count * stride + 64);
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto element = block.subspan(i * stride, attachment.element_bytes);
            if (attachment.element != nullptr)
                fill(*attachment.element, element);
            else
                put(element, 0, element.size(), any_value(attachment.element_kind));
        }
        std::uint64_t pointer =
            hostile_ && one_in(20) ? any_number() : reinterpret_cast<std::uint64_t>(block.data());
        if (attachment.optional && one_in(4)) pointer = 0;
        const std::uint64_t said = hostile_ && one_in(20) ? any_number() : count;
        if (attachment.kind == AttachmentKind::obj_array) {
            const drm_panthor_obj_array array{
                .stride = static_cast<std::uint32_t>(hostile_ && one_in(20) ? any_number() : stride),
                .count = static_cast<std::uint32_t>(said),
                .array = pointer};
            std::memcpy(object.data() + attachment.pointer_offset, &array, sizeof array);
        } else {
            put(object, attachment.pointer_offset, 8, pointer);
            if (attachment.count_width != 0)
                put(object, attachment.count_offset, attachment.count_width, said);
        }
    }

    void spoil(std::vector<std::byte>& payload) {
        if (one_in(4)) payload.resize(below(payload.size() + 32));
        for (unsigned i = 0; i < 4 && !payload.empty(); ++i)
            payload[below(payload.size())] = static_cast<std::byte>(random_());
    }

    std::uint64_t any_descriptor() {
        if (one_in(6)) return static_cast<std::uint32_t>(-1);
        if (one_in(12)) return 1'000'000;
        return static_cast<std::uint64_t>(descriptors_[below(descriptors_.size())].get());
    }
    void keep(const base::Fd& fd) {
        if (descriptors_.size() > 24)
            descriptors_.erase(descriptors_.begin() + 2 + static_cast<std::ptrdiff_t>(below(20)));
        descriptors_.push_back(std::move(*fd.duplicate()));
    }

    Rig& rig_;
    Client& client_;
    drm::SwSyncNode timeline_node_;
    std::unique_ptr<drm::File> timeline_;
    std::mt19937_64 random_;
    bool hostile_ = false;  // this call: else it is only odd
    ProgramMemory memory_;
    std::vector<base::Fd> descriptors_;
    std::deque<std::shared_ptr<FuzzCall>> pending_;
    std::deque<drm::RingClient> rings_;
};

TEST(HostileRequests, CrashNothingLeakNothingAndDisturbNobody) {
    const std::uint64_t calls = number_from_environment("BELFRY_FUZZ_CALLS", 100'000);
    std::uint64_t seed = number_from_environment("BELFRY_FUZZ_SEED", 1);
    constexpr std::uint64_t kRound = 2'000;

    Rig rig;
    Client& bystander = rig.open();
    UserGroup& group = bystander.user_group();
    const Memory memory = bystander.memory();
    const belfry_device_info before = rig.info();
    std::uint64_t done = 0;
    for (std::uint64_t made = 0; made < calls && !testing::Test::HasFailure(); made += kRound, ++seed) {
        SCOPED_TRACE("BELFRY_FUZZ_SEED=" + std::to_string(seed));
        {
            HostileProgram one(rig, seed);
            HostileProgram other(rig, ~seed);
            for (std::uint64_t i = 0; i < kRound / 2; ++i) {
                one.make_one_call();
                other.make_one_call();
                rig.run(4);
                if (i % 100 == 0) rig.advance(1ms);
            }
            group.queue(0).submit([&](W& w) { add_one(w, memory.va); });
            group.queue(0).tell();
            rig.run(2'000);
            EXPECT_EQ(memory.u64(), ++done) << "a bystander's work was not done";
        }
        rig.run(100);
        for (unsigned i = 0; i < 30; ++i) {  // whatever was under way ends or is ended
            rig.advance(1s);
            rig.run(50);
        }
        const auto inodes = rig.exports.open_inodes();
        for (const drm::Inode inode : inodes) rig.exports.close(inode);
        const belfry_device_info after = rig.info();
        EXPECT_EQ(after.files, before.files);
        EXPECT_EQ(after.groups, before.groups);
        EXPECT_EQ(after.vms, before.vms);
        EXPECT_EQ(after.buffers, before.buffers);
        EXPECT_EQ(after.buffer_bytes, before.buffer_bytes);
    }
}

}  // namespace
}  // namespace belfry::panthor
