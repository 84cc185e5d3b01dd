// What one program does wrong harms that program alone, and is told to it in a sentence. Two bystanders, one
// in user mode and one in kernel mode, run jobs during every test and must never notice.
#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon_rig.hpp"
#include "uapi/ioctl_table.hpp"
#include "uapi/wire.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language

/// No sync object ever gets there.
constexpr std::uint64_t kNever = 1ULL << 40;
/// Where nothing is mapped.
constexpr std::uint64_t kNowhere = 0x7'0000'0000;

class Isolation : public DaemonTest {
  protected:
    /// Waits until the group has ended, and expects its message to say all this.
    static void expect_ended(const Client& client, std::initializer_list<std::string> words) {
        const auto waited = client.group.wait(client.done, kNever, {.timeout = kGenerous});
        ASSERT_EQ(code_of(waited), ECANCELED);
        const GroupStatus status = must(client.group.status());
        EXPECT_FALSE(status.alive);
        EXPECT_TRUE(status.fatal_fault);
        expect_mentions(status.message, words);
        expect_mentions(waited.error().message, {status.message});
    }
    static void expect_ended(RawClient& client, std::initializer_list<std::string> words) {
        ASSERT_TRUE(eventually([&] { return client.ended(); }));
        expect_mentions(client.message(), words);
    }
    void TearDown() override {
        user_bystander.await_more();
        kernel_bystander.await_more();
        user_bystander.finish();
        kernel_bystander.finish();
    }

    Bystander user_bystander{daemon.socket(), Bystander::Mode::user};
    Bystander kernel_bystander{daemon.socket(), Bystander::Mode::kernel};
};

// ---- Streams that go wrong

TEST_F(Isolation, AReadOfAnUnmappedAddressNamesQueueInstructionAndAddress) {
    Client client(daemon.socket(), {.queues = {{}, {}}});
    client.submit(
        [](CommandWriter& job) { job.move48(d(6), kNowhere).load_multiple(r(4), 1, d(6)).wait(kAllSlots); },
        1);
    expect_ended(client, {"queue 1", "TRANSLATION_FAULT_", "a read of address " + hex(kNowhere),
                          "LOAD_MULTIPLE {r4}, [d6]", " at 0x"});
    EXPECT_NE(must(client.group.status()).fatal_queues & 2U, 0U);
}

TEST_F(Isolation, AWriteToAReadOnlyMappingChangesNothingAndIsNamed) {
    Client client(daemon.socket());
    const Buffer data = must(client.device.create_buffer(4096));
    const std::uint64_t va = must(client.vm.map(data, {.read_only = true}));
    client.submit([&](CommandWriter& job) {
        job.move48(d(6), va).move32(r(4), 1).store_multiple(r(4), 1, d(6)).wait(kAllSlots);
    });
    expect_ended(client, {"queue 0", "PERM_FAULT_3", "a write of address " + hex(va),
                          "STORE_MULTIPLE {r4}, [d6]", " at 0x"});
    EXPECT_EQ(data.words()[0], 0U);
}

TEST_F(Isolation, AnUnmappedBufferIsOutOfReachAtOnce) {
    Client client(daemon.socket());
    const Buffer data = must(client.device.create_buffer(4096));
    const std::uint64_t va = must(client.vm.map(data));
    const auto load = [&] {
        client.submit([&](CommandWriter& job) {
            job.move48(d(6), va).load_multiple(r(4), 1, d(6)).wait(kAllSlots);
            client.count(job);
        });
    };
    load();
    client.await(1);
    must(client.vm.unmap(va, 4096));
    load();
    expect_ended(client, {"TRANSLATION_FAULT_3", "a read of address " + hex(va)});
    EXPECT_EQ(client.done.value(), 1U);
}

TEST_F(Isolation, AnUnknownOpcodeIsNamedAsTheWordThatItIs) {
    Client client(daemon.socket());
    client.submit([](CommandWriter& job) { job.nop().word(0x0a00'0000'0000'0000); });
    expect_ended(client, {"queue 0", "CS_INSTR_INVALID", ".word 0x0a00000000000000", " at 0x"});
}

TEST_F(Isolation, WorkForTheTilerIsToldThatThereIsNone) {
    Client client(daemon.socket());
    client.submit([](CommandWriter& job) { job.word(csf::encode<csf::Op::run_fragment>()); });
    expect_ended(client, {"queue 0", "CS_ENDPOINT_FAULT", "no tiler", "RUN_FRAGMENT", " at 0x"});
}

TEST_F(Isolation, CallsThatGoTooDeepAreNamedWithTheirLimit) {
    Client client(daemon.socket());
    const StreamAt itself = client.stream([&](CommandWriter& job) { job.call(d(0), r(2)); });
    client.submit([&](CommandWriter& job) {
        job.move48(d(0), itself.address).move32(r(2), itself.bytes).call(d(0), r(2));
    });
    expect_ended(
        client, {"queue 0", "CS_CALL_STACK_OVERFLOW", "8 deep", "CALL d0, r2", " at " + hex(itself.address)});
}

TEST_F(Isolation, AMisalignedSyncObjectIsNamedWithItsAddress) {
    Client client(daemon.socket());
    client.submit(
        [&](CommandWriter& job) { job.move48(d(0), client.va + 4).move48(d(2), 1).sync_add64(d(0), d(2)); });
    expect_ended(client, {"queue 0", "CS_BUS_FAULT", hex(client.va + 4), "SYNC_ADD64", " at 0x"});
}

TEST_F(Isolation, AKernelModeJobThatFaultsSignalsItsFenceAndIsNamedWithTheAddressInItsStream) {
    Client client(daemon.socket(), {.user_submit = false});
    const Syncobj fence = must(client.device.create_syncobj());
    const StreamAt stream =
        client.stream([](CommandWriter& job) { job.nop().nop().word(0x0a00'0000'0000'0000); });
    submit(client.group, stream, {{.syncobj = fence, .signal = true}});
    EXPECT_EQ(code_of(fence.wait(0, kGenerous)), 0);
    expect_ended(client, {"queue 0", "CS_INSTR_INVALID", ".word 0x0a00000000000000",
                          " at " + hex(stream.address + 16)});
    EXPECT_EQ(code_of(client.group.submit(0, stream.address, stream.bytes)), EINVAL);
}

TEST_F(Isolation, AGroupThatHasEndedTakesNoMoreWorkAndSaysWhy) {
    Client client(daemon.socket());
    client.submit([](CommandWriter& job) { job.word(0x0a00'0000'0000'0000); });
    expect_ended(client, {"CS_INSTR_INVALID"});
    CommandWriter writer = must(client.group.queue().begin(8));
    const auto submitted = client.group.queue().submit(writer.nop());
    ASSERT_EQ(code_of(submitted), ECANCELED);
    expect_mentions(submitted.error().message, {"CS_INSTR_INVALID"});
    Group fresh = must(client.vm.create_group({}));
    CommandWriter again = must(fresh.queue().begin(8));
    client.count(again);
    must(fresh.queue().submit(again));
    EXPECT_EQ(code_of(client.done.wait(1, {.timeout = kGenerous})), 0) << "the VM is as good as before";
}

TEST_F(Isolation, AProgramThatSleepsForRoomIsWokenWhenItsGroupEnds) {
    Client client(daemon.socket(), {.queues = {{.ring_bytes = 4096}}});
    constexpr std::uint64_t kGate = 64;
    SyncObject gate = must(SyncObject::at(client.page, kGate, client.va + kGate));
    client.submit([&](CommandWriter& job) {
        job.move48(d(0), gate.address())
            .move48(d(2), 0)
            .sync_wait64(d(0), csf::Condition::gt, d(2))
            .word(0x0aULL << 56);
    });
    Child sleeper([&] {
        const auto writer = client.group.queue().begin(512);
        require(code_of(writer) == ECANCELED, "it found room, or the wrong error");
    });
    ASSERT_TRUE(eventually([&] { return sleeps(sleeper.pid()); }));
    gate.set(1);
    must(client.group.queue().ring());
    sleeper.finish();
}

TEST_F(Isolation, AnEndlessLoopSharesTheGpuUntilItsGroupIsDestroyed) {
    Client other(daemon.socket());
    std::optional<Client> endless(std::in_place, daemon.socket());
    endless->submit([&](CommandWriter& job) {
        endless->count(job);
        write_endless_loop(job);
    });
    endless->await(1);
    for (std::uint64_t job = 1; job <= 20; ++job) {
        other.submit_count();
        ASSERT_EQ(code_of(other.done.wait(job, {.timeout = kGenerous})), 0);
    }
    user_bystander.await_more();
    kernel_bystander.await_more();
    EXPECT_TRUE(must(endless->group.status()).alive);
    const std::uint32_t on_slot = must(other.device.load()).groups_on_slot;
    endless.reset();
    EXPECT_TRUE(eventually([&] { return must(other.device.load()).groups_on_slot == on_slot - 1; }));
}

TEST_F(Isolation, ABufferThatWasClosedWhileItWasMappedGoesOnWorking) {
    Client client(daemon.socket());
    std::optional<Buffer> data(must(client.device.create_buffer(4096)));
    const std::uint64_t va = must(client.vm.map(*data));
    data->words()[0] = 4711;
    data.reset();
    client.submit([&](CommandWriter& job) {
        job.move48(d(0), va).load_multiple(r(4), 1, d(0)).wait(kAllSlots);
        job.move48(d(0), client.va + 64).store_multiple(r(4), 1, d(0)).wait(kAllSlots);
        client.count(job);
    });
    client.await(1);
    EXPECT_EQ(client.word(64), 4711U);
}

TEST_F(Isolation, AVmThatFaultsTakesOnlyItsOwnGroupsWithIt) {
    Client victim(daemon.socket());
    Group culprit = must(victim.vm.create_group({}));
    CommandWriter writer = must(culprit.queue().begin(8));
    writer.move48(d(6), kNowhere).load_multiple(r(4), 1, d(6)).wait(kAllSlots);
    victim.submit([](CommandWriter& job) { write_endless_loop(job); });
    must(culprit.queue().submit(writer));
    expect_ended(victim, {"TRANSLATION_FAULT_", hex(kNowhere)});
    const GroupStatus status = must(culprit.status());
    EXPECT_FALSE(status.alive);
    expect_mentions(status.message, {"LOAD_MULTIPLE {r4}, [d6]"});
}

// ---- Pages that a program can write

TEST_F(Isolation, AMisalignedInsertIsNamed) {
    RawClient client(daemon.socket());
    client.publish(12);
    expect_ended(client, {"queue 0", "CS_CONFIG_FAULT", "INSERT 0xc", "multiple of 8"});
}

TEST_F(Isolation, AnInsertBeyondTheRingIsNamed) {
    RawClient client(daemon.socket());
    client.publish(RawClient::kRingBytes + 8);
    expect_ended(client, {"queue 0", "CS_CONFIG_FAULT", "INSERT 0x1008"});
}

TEST_F(Isolation, AnInsertThatGoesBackIsNamed) {
    RawClient client(daemon.socket());
    client.submit_count();
    ASSERT_TRUE(eventually([&] { return client.counted(1); }));
    ASSERT_TRUE(eventually([&] { return base::load(client.output().extract, base::kAcquire) == 64; }));
    client.publish(8);
    expect_ended(client, {"queue 0", "CS_CONFIG_FAULT", "INSERT 0x8"});
}

TEST_F(Isolation, TheOutputPageCannotBeMadeWritable) {
    RawClient client(daemon.socket());
    const auto plan =
        must(client.transport->plan_mmap(client.io_offset, 2 * base::kPageBytes, PROT_READ | PROT_WRITE));
    ASSERT_EQ(plan.segments.size(), 2U);
    ASSERT_EQ(plan.segments[1].access, uapi::MmapSegment::kReadOnly);
    const int fd = plan.fds[plan.segments[1].fd_index].get();
    const auto map_writable = [](int of) {
        return ::mmap(nullptr, base::kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, of, 0);
    };
    EXPECT_EQ(map_writable(fd), MAP_FAILED);
    EXPECT_EQ(::pwrite(fd, "x", 1, 0), -1);
    EXPECT_EQ(::ftruncate(fd, 0), -1);
    EXPECT_EQ(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, base::kPageBytes), -1);
    EXPECT_EQ(::mprotect(client.io.data() + base::kPageBytes, base::kPageBytes, PROT_READ | PROT_WRITE), -1);
    const base::Fd reopened(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(map_writable(reopened.get()), MAP_FAILED);

    Process writer([&] {
        ::signal(SIGSEGV, SIG_DFL);
        *reinterpret_cast<volatile std::byte*>(client.io.data() + base::kPageBytes) = std::byte{1};
        ::_exit(0);
    });
    EXPECT_EQ(writer.wait(), -SIGSEGV);
    client.submit_count();
    EXPECT_TRUE(eventually([&] { return client.counted(1); }));
}

TEST_F(Isolation, GarbageAllOverItsOwnPagesHarmsNobodyElse) {
    Child scribbler([&] {
        constexpr unsigned kRounds = 200;
        constexpr unsigned kScribblesMax = 64;
        std::mt19937_64 random(20240807);
        RawClient client(daemon.socket());
        const auto scribble = [&random](std::span<std::byte> bytes) {
            for (auto& word : std::span(reinterpret_cast<std::uint64_t*>(bytes.data()), bytes.size() / 8))
                base::store(word, random(), base::kRelaxed);
        };
        for (unsigned round = 0; round < kRounds; ++round) {
            // Half of the time instructions that exist, so that some of them run.
            scribble(client.ring.bytes());
            if (random() % 2 == 0)
                for (auto& word :
                     std::span(reinterpret_cast<std::uint64_t*>(client.ring.data()), client.ring.size() / 8))
                    word = (word & ~(0xffULL << 56)) | (random() % 0x36) << 56;
            // Half of the time an INSERT that is sound.
            if (random() % 2 == 0) client.publish(random() % (RawClient::kRingBytes / 8) * 8);
            for (std::uint64_t i = random() % kScribblesMax; i > 0 && !client.ended(); --i) {
                scribble(client.io.bytes().first(base::kPageBytes));
                scribble(client.doorbell_page.bytes());
                client.kick();
            }
            client.destroy_group();
            client.create_group();
        }
    });
    scribbler.finish();
}

// ---- Programs that vanish

/// Works for ever, as fast as it can; counts each step, the first ones included, so that it can be killed
/// anywhere.
[[noreturn]] void work_for_ever(const std::string& socket, std::uint64_t seed, Counter& steps) {
    std::mt19937_64 random(seed);
    Device device = must(Device::open({.socket_path = socket}));
    steps.add();
    Client user(device);
    steps.add();
    Client kernel(device, {.user_submit = false});
    steps.add();
    const Syncobj timeline = must(device.create_syncobj());
    const StreamAt stream = kernel.stream([&](CommandWriter& job) { kernel.bump(job, 64); });
    std::uint64_t jobs = 0;
    for (std::uint64_t point = 1;; steps.add()) {
        switch (random() % 4) {
            case 0:
                user.submit_count();
                ++jobs;
                break;
            case 1: user.await(jobs); break;
            case 2:
                submit(kernel.group, stream, {{.syncobj = timeline, .signal = true, .point = point++}});
                break;
            case 3:
                if (point > 1) must(timeline.wait(point - 1, kGenerous));
                break;
        }
    }
}

/// What belfryd holds.
struct Holdings {
    std::uint32_t groups, vms, files, buffers;
    std::uint64_t buffer_bytes;
    std::size_t descriptors, shared_mappings;
    bool operator==(const Holdings&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Holdings& of) {
    return out << of.groups << " groups, " << of.vms << " VMs, " << of.files << " files, " << of.buffers
               << " buffers of " << of.buffer_bytes << " bytes, " << of.descriptors << " descriptors, "
               << of.shared_mappings << " shared mappings";
}

/// Without bystanders, whose comings and goings would be seen in the figures.
class Vanishing : public DaemonTest {
  protected:
    [[nodiscard]] Holdings holdings() const {
        const DeviceLoad load = must(observer.load());
        return {.groups = load.groups,
                .vms = load.vms,
                .files = load.files,
                .buffers = load.buffers,
                .buffer_bytes = load.buffer_bytes,
                .descriptors = daemon.descriptors(),
                .shared_mappings = daemon.shared_mappings()};
    }
    void expect_eventually(const Holdings& before) const {
        static_cast<void>(eventually([&] { return holdings() == before; }));
        EXPECT_EQ(holdings(), before);
    }

    Device observer = daemon.open();
};

TEST_F(Vanishing, AHundredProgramsThatAreKilledInTheMiddleOfTheirWorkLeaveNothingBehind) {
    constexpr std::uint64_t kSeed = 1;
    constexpr std::uint32_t kStepsMax = 80;
    const Holdings before = holdings();
    EXPECT_EQ(before.groups, 0U);
    EXPECT_EQ(before.vms, 0U);
    EXPECT_EQ(before.files, 1U);
    std::mt19937_64 random(kSeed);
    for (unsigned round = 0; round < 100; ++round) {
        Counter steps;
        const std::uint64_t seed = random();
        Child program([&] { work_for_ever(daemon.socket(), seed, steps); });
        steps.await(static_cast<std::uint32_t>(random() % kStepsMax));
        program.signal(SIGKILL);
        ASSERT_EQ(program.wait(), -SIGKILL) << "round " << round;
    }
    expect_eventually(before);
}

TEST_F(Vanishing, AProgramThatIsKilledWhileItsJobsNeverEndLeavesNothingBehind) {
    const Holdings before = holdings();
    Counter ready;
    Child program([&] {
        Client user(daemon.socket());
        Client kernel(daemon.socket(), {.user_submit = false});
        const Syncobj fence = must(kernel.device.create_syncobj());
        user.submit(write_endless_loop);
        submit(kernel.group, kernel.stream(write_endless_loop), {{.syncobj = fence, .signal = true}});
        submit(kernel.group, kernel.stream(write_endless_loop), {{.syncobj = fence}});
        ready.add();
        must(fence.wait());
    });
    ready.await(1);
    EXPECT_EQ(holdings().groups, 2U);
    EXPECT_GT(holdings().shared_mappings, before.shared_mappings) << "or they are not seen at all";
    EXPECT_GT(holdings().descriptors, before.descriptors);
    program.signal(SIGKILL);
    EXPECT_EQ(program.wait(), -SIGKILL);
    expect_eventually(before);
}

TEST_F(Vanishing, AProgramThatHandsItsOwnFileToTheDaemonAsAChannelLeavesNothingBehind) {
    const Holdings before = holdings();
    Child program([&] {
        const auto transport = must(client::SocketTransport::connect(daemon.socket()));
        const auto second = must(client::SocketTransport::connect(daemon.socket()));
        // Kept by the daemon, these would keep each other and themselves alive.
        must(uapi::send_channel(transport->fd(), transport->fd()));
        must(uapi::send_channel(transport->fd(), second->fd()));
        must(uapi::send_channel(second->fd(), transport->fd()));
        uapi::drm_panthor_vm_create vm{};
        must(transport->ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, &vm));
        must(second->ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, &vm));
    });
    program.finish();
    expect_eventually(before);
}

TEST_F(Isolation, AProgramThatStopsInTheMiddleDisturbsNobody) {
    Counter steps;
    Child program([&] { work_for_ever(daemon.socket(), 7, steps); });
    steps.await(40);
    program.signal(SIGSTOP);
    program.await_stop();
    user_bystander.await_more();
    kernel_bystander.await_more();
    Client fresh(daemon.socket());
    fresh.submit_count();
    EXPECT_EQ(code_of(fresh.done.wait(1, {.timeout = kGenerous})), 0);
    program.signal(SIGCONT);
    steps.await(steps.value() + 40);
}

// ---- Programs that speak another language

base::Fd connect_to(const std::string& path) {
    base::Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    require(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0,
            "cannot connect");
    return fd;
}

std::vector<std::byte> garbage(std::mt19937_64& random, std::size_t bytes_max) {
    std::vector<std::byte> bytes(1 + random() % bytes_max);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    return bytes;
}

/// The end of a fresh channel, of which the daemon has the other.
base::Fd open_channel(int primary) {
    std::array<int, 2> ends{};
    require(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0, "no socket pair");
    const base::Fd theirs(ends[1]);
    base::Fd mine(ends[0]);
    must(uapi::send_channel(primary, theirs.get()));
    return mine;
}

TEST_F(Isolation, GarbageOnThePrimarySocketDisturbsNobody) {
    Child program([&] {
        std::mt19937_64 random(3);
        const base::Fd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        const base::Fd eventfd = must(base::make_eventfd());
        for (unsigned round = 0; round < 300; ++round) {
            const base::Fd primary = connect_to(daemon.socket());
            for (unsigned i = 0; i < 4; ++i) {
                const auto bytes = garbage(random, 4096);
                ::send(primary.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            }
            // What is no channel.
            const std::array fds = {file.get(), eventfd.get(), primary.get()};
            static_cast<void>(uapi::send_channel(primary.get(), fds[round % fds.size()]));
        }
    });
    program.finish();
}

TEST_F(Isolation, GarbageOnChannelsDisturbsNobody) {
    Child program([&] {
        std::mt19937_64 random(4);
        const base::Fd primary = connect_to(daemon.socket());
        for (unsigned round = 0; round < 1000; ++round) {
            const base::Fd channel = open_channel(primary.get());
            const auto bytes = garbage(random, 512);
            ::send(channel.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        }
        // In the right envelope.
        for (unsigned round = 0; round < 3000; ++round) {
            const base::Fd channel = open_channel(primary.get());
            uapi::MessageHeader header;
            header.kind = random() % 8 == 0 ? uapi::MessageKind::mmap : uapi::MessageKind::ioctl;
            header.request = static_cast<std::uint32_t>(random());
            if (random() % 8 != 0)
                header.request = static_cast<std::uint32_t>(_IOWR('d', random() % 256, random() % 128));
            static_cast<void>(
                uapi::send_message(channel.get(), header, garbage(random, 256), {}, MSG_DONTWAIT));
        }
        // Real requests with garbage in them, by a transport that takes no harm of it itself.
        auto transport = must(client::SocketTransport::connect(daemon.socket()));
        for (unsigned round = 0; round < 3000; ++round) {
            std::array<std::uint64_t, 16> args{};
            for (std::size_t i = 0; i < args.size(); ++i)
                args[i] = random() % 4 == 0 ? random() : random() % 8;
            static constexpr std::uint32_t kWithoutPointers[] = {DRM_IOCTL_GEM_CLOSE,
                                                                 DRM_IOCTL_PANTHOR_VM_CREATE,
                                                                 DRM_IOCTL_PANTHOR_VM_DESTROY,
                                                                 DRM_IOCTL_PANTHOR_BO_CREATE,
                                                                 DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET,
                                                                 DRM_IOCTL_PANTHOR_GROUP_DESTROY,
                                                                 DRM_IOCTL_PANTHOR_GROUP_KICK,
                                                                 DRM_IOCTL_PANTHOR_GROUP_GET_STATE,
                                                                 DRM_IOCTL_BELFRY_GROUP_GET_FAULT,
                                                                 DRM_IOCTL_BELFRY_DEVICE_INFO,
                                                                 DRM_IOCTL_SYNCOBJ_CREATE,
                                                                 DRM_IOCTL_SYNCOBJ_DESTROY,
                                                                 DRM_IOCTL_GET_CAP};
            static_cast<void>(
                transport->ioctl(kWithoutPointers[random() % std::size(kWithoutPointers)], args.data()));
        }
    });
    program.finish();
}

TEST_F(Isolation, AProgramThatAsksAndNeverReadsTheAnswersDisturbsNobody) {
    const base::Fd primary = connect_to(daemon.socket());
    std::vector<base::Fd> channels;
    for (unsigned i = 0; i < 100; ++i) {
        channels.push_back(open_channel(primary.get()));
        uapi::MessageHeader header;
        header.request = DRM_IOCTL_BELFRY_DEVICE_INFO;
        const std::array<std::byte, sizeof(uapi::belfry_device_info)> nothing{};
        // Far more than one request at a time.
        for (unsigned request = 0; request < 50; ++request)
            static_cast<void>(uapi::send_message(channels.back().get(), header, nothing, {}, MSG_DONTWAIT));
    }
    user_bystander.await_more();
    kernel_bystander.await_more();
}

}  // namespace
}  // namespace belfry
