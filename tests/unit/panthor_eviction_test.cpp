// Memory under pressure: what is evicted for whom, when it comes back, and what may happen meanwhile. Letters
// with a number are races of facts/firmware-and-scheduling.md, section 7, each forced in the order in which
// it bites. The store fills evicted memory with nonsense: whoever runs on it, or looks at it, fails.
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "unit/panthor_rig.hpp"

namespace belfry::panthor {
namespace {

using drm::ResidencyState;

constexpr std::uint64_t kBudget = 64 * kPage;
/// Two of these fit beside what programs map, three do not.
constexpr std::uint64_t kLarge = 24 * kPage;
/// One of these fits.
constexpr std::uint64_t kHuge = 40 * kPage;
constexpr std::chrono::nanoseconds kSlice{Scheduler::kSliceNs};
/// Rounds of GPU, driver and store in which one group leaves for another.
constexpr unsigned kSwitch = 24;

/// A program with a VM of its own: a page that it maps, and memory that only the GPU looks at.
struct Tenant {
    Tenant(Rig& on, std::uint64_t size)
        : rig(on), client(rig.open()), page(client.memory()), bytes(size), memory(client.gpu_memory(bytes)) {}

    [[nodiscard]] ResidencyState state() { return client.find_buffer(memory.handle)->residence.state(); }
    [[nodiscard]] bool resident() { return state() == ResidencyState::resident; }
    [[nodiscard]] bool evicted() { return state() == ResidencyState::evicted; }
    /// Counts on from what the memory holds in its first and in its last page, and tells what it found.
    void count(W& w) const {
        for (const std::uint64_t va : {memory.va, memory.va + bytes - kPage}) {
            w.move48(d(60), va).load_multiple(r(64), 1, d(60)).wait(kAllSlots);
            w.add_immediate32(r(64), r(64), 1).store_multiple(r(64), 1, d(60)).wait(kAllSlots);
            w.move48(d(60), page.va + 64 + (va != memory.va ? 4 : 0));
            w.store_multiple(r(64), 1, d(60)).wait(kAllSlots);
        }
        add_one(w, page.va);
    }
    /// The same without end.
    void count_for_ever(W& w) const {
        count(w);
        w.branch(csf::Condition::always, r(0), -static_cast<std::int16_t>(w.words().size() + 1));
    }
    void kick(const Program& program) {
        if (group == nullptr) group = &client.user_group();
        group->queue(0).submit(program);
        EXPECT_EQ(group->kick(), 0);
    }
    void kick() {
        kick([this](W& w) { count(w); });
    }
    void run() {
        kick();
        rig.run_until_idle();
    }
    [[nodiscard]] std::uint64_t jobs() const { return page.u64(); }
    /// All jobs have counted on from each other.
    void expect_jobs(std::uint64_t expected) const {
        EXPECT_EQ(jobs(), expected);
        EXPECT_EQ(page.as<std::uint32_t>(64), expected);
        EXPECT_EQ(page.as<std::uint32_t>(68), expected);
    }
    [[nodiscard]] bool on_slot() const { return group != nullptr && group->active(); }

    Rig& rig;
    Client& client;
    Memory page;
    std::uint64_t bytes;
    Memory memory;
    UserGroup* group = nullptr;
};

class Eviction : public testing::Test {
  protected:
    Tenant& tenant(std::uint64_t bytes = kLarge) { return tenants.emplace_back(rig, bytes); }
    /// A tenant that has run, and was evicted for two others.
    Tenant& evicted_tenant() {
        Tenant& first = tenant();
        first.run();
        tenant().run();
        tenant().run();
        EXPECT_TRUE(first.evicted());
        return first;
    }
    /// From now on the store finishes what it is told to finish.
    void hold_store() { rig.store.held = true; }
    void finish_one() {
        rig.store.held = false;
        EXPECT_TRUE(rig.step_store());
        rig.store.held = true;
    }
    void release_store() {
        rig.store.held = false;
        rig.run_until_idle();
    }
    void pass(std::chrono::nanoseconds time) {
        for (; time > 0ns; time -= 1ms) {
            rig.advance(1ms);
            rig.run(kSwitch);
        }
    }

    Rig rig{{.group_slots = 4, .streams_per_group = 2}, kBudget};
    std::deque<Tenant> tenants;
};

// --- who goes, and that all comes back

TEST_F(Eviction, AGroupEndsThoughASyncObjectThatItOwnsIsEvicted) {
    Tenant& first = evicted_tenant();
    first.group->queue(0).doorbell().owned[0] = first.memory.va;
    EXPECT_EQ(first.group->destroy(), 0);
    rig.run_until_idle();
    EXPECT_TRUE(first.evicted());
}

TEST_F(Eviction, AFreshBufferIsNotInMemoryAndNeedsNoStore) {
    Tenant& one = tenant();
    EXPECT_TRUE(one.evicted());
    const auto before = rig.info().resident_bytes;
    hold_store();
    one.run();
    one.expect_jobs(1);
    EXPECT_TRUE(one.resident());
    EXPECT_GE(rig.info().resident_bytes, before + kLarge);
    EXPECT_EQ(rig.store.pending(), 0u);
}

TEST_F(Eviction, TheLeastRecentlyScheduledGoesFirst) {
    Rig one_slot{{.group_slots = 1, .streams_per_group = 2}, kBudget};
    for (unsigned i = 0; i < 3; ++i) tenants.emplace_back(one_slot, kLarge);
    for (const std::size_t turn : {0, 1, 0, 2}) tenants[turn].run();
    EXPECT_TRUE(tenants[0].resident());
    EXPECT_TRUE(tenants[1].evicted());
    EXPECT_TRUE(tenants[2].resident());
    EXPECT_EQ(one_slot.info().evictions, 1u);
    EXPECT_EQ(one_slot.info().evicted_bytes, kLarge);
    EXPECT_LE(one_slot.info().resident_bytes, kBudget);
    tenants.clear();
}

TEST_F(Eviction, WhatNoVmMapsGoesBeforeWhatAnyMaps) {
    Tenant& first = tenant();
    first.run();
    // In memory, mapped by nobody: brought in by a mapping of the client's that is gone again.
    Memory loose = first.client.memory(0, 16 * kPage);
    std::memset(loose.mapping.data(), 1, loose.mapping.size());
    const auto unbound = first.client.unmap(loose);
    rig.run_until_idle();
    EXPECT_EQ(unbound->answer(), 0);
    first.client.unmap_from_cpu(loose);
    tenant().run();
    EXPECT_EQ(first.client.find_buffer(loose.handle)->residence.state(), ResidencyState::evicted);
    EXPECT_TRUE(first.resident());
}

TEST_F(Eviction, UserModeGroupsComputeOnWhatCameBack) {
    constexpr unsigned kTenants = 6;
    for (unsigned i = 0; i < kTenants; ++i) tenant();
    for (unsigned round = 1; round <= 5; ++round)
        for (Tenant& one : tenants) {
            one.run();
            one.expect_jobs(round);
            EXPECT_LE(rig.info().resident_bytes, kBudget);
        }
    EXPECT_GE(rig.info().restores, 3 * kTenants);
}

TEST_F(Eviction, KernelModeGroupsComputeOnWhatCameBackAndTheirFencesSignal) {
    constexpr unsigned kTenants = 5;
    struct Submitter {
        KernelGroup* group;
        Stream stream;
        std::uint32_t fence;
    };
    std::vector<Submitter> submitters;
    for (unsigned i = 0; i < kTenants; ++i) {
        Tenant& one = tenant(20 * kPage);
        submitters.push_back({.group = &one.client.kernel_group(),
                              .stream = one.client.stream([&](W& w) { one.count(w); }),
                              .fence = one.client.syncobj()});
    }
    for (unsigned round = 1; round <= 4; ++round) {
        for (unsigned i = 0; i < kTenants; ++i)
            EXPECT_EQ(submitters[i].group->submit(
                          {{.stream = submitters[i].stream, .syncs = {signal_op(submitters[i].fence)}}}),
                      0);
        for (unsigned i = 0; i < 100; ++i) pass(1ms);
        for (unsigned i = 0; i < kTenants; ++i) {
            EXPECT_EQ(tenants[i].client.fence_status(submitters[i].fence), 1);
            tenants[i].expect_jobs(round);
        }
    }
    EXPECT_GT(rig.info().evictions, 0u);
}

TEST_F(Eviction, EndlessGroupsThatDoNotFitTogetherTakeTurns) {
    Tenant& first = tenant(kHuge);
    Tenant& second = tenant(kHuge);
    for (Tenant* const one : {&first, &second}) one->kick([one](W& w) { one->count_for_ever(w); });
    for (unsigned turn = 0; turn < 6; ++turn) {
        const std::uint64_t before[] = {first.jobs(), second.jobs()};
        pass(3 * kSlice);
        EXPECT_GT(first.jobs(), before[0]);
        EXPECT_GT(second.jobs(), before[1]);
        EXPECT_FALSE(first.on_slot() && second.on_slot());
        EXPECT_LE(rig.info().resident_bytes, kBudget);
    }
    // Nobody has lost a count.
    EXPECT_LE(first.jobs(), first.page.as<std::uint32_t>(68));
    EXPECT_LE(first.page.as<std::uint32_t>(68), first.jobs() + 1);
}

TEST_F(Eviction, AGroupThatWaitsForMemoryIsNotPassedByThoseWhoHaveTheirs) {
    Tenant& first = tenant(kHuge);
    first.kick([&](W& w) { first.count_for_ever(w); });
    rig.run(kSwitch);
    // A second group of the first VM: there are slots for it, and all its memory is there.
    UserGroup& other = first.client.user_group();
    Tenant& second = tenant(kHuge);
    second.kick([&](W& w) { second.count_for_ever(w); });
    other.queue(0).submit(loop_for_ever);
    EXPECT_EQ(other.kick(), 0);
    rig.run(kSwitch);
    EXPECT_FALSE(other.active());
    pass(2 * kSlice);
    EXPECT_GT(second.jobs(), 0u);
}

TEST_F(Eviction, AnIdleGroupOnASlotGivesItsMemoryAtOnce) {
    Tenant& idle = tenant(kHuge);
    idle.run();
    EXPECT_TRUE(idle.on_slot());
    Tenant& other = tenant(kHuge);
    other.run();
    other.expect_jobs(1);
    EXPECT_TRUE(idle.evicted());
}

TEST_F(Eviction, OneVmLargerThanTheBudgetRunsAlone) {
    Tenant& giant = tenant(kHuge);
    const Memory more = giant.client.gpu_memory(kHuge);
    Tenant& other = tenant(kLarge);
    other.run();
    giant.kick([&](W& w) {
        store(w, more.va, 1);
        giant.count(w);
    });
    rig.run_until_idle();
    giant.expect_jobs(1);
    EXPECT_TRUE(other.evicted());
    EXPECT_GT(rig.info().resident_bytes, kBudget);
    for (unsigned round = 2; round < 5; ++round) {
        other.run();
        other.expect_jobs(round);
        EXPECT_LE(rig.info().resident_bytes, kBudget);
        giant.run();
        giant.expect_jobs(round);
    }
}

TEST_F(Eviction, WithoutABudgetNobodyIsEverEvicted) {
    Rig unbounded;
    std::deque<Tenant> all;
    for (unsigned i = 0; i < 10; ++i) all.emplace_back(unbounded, kHuge).run();
    for (Tenant& one : all) EXPECT_TRUE(one.resident());
    EXPECT_EQ(unbounded.info().memory_budget, 0u);
    EXPECT_EQ(unbounded.info().evictions, 0u);
}

// --- races

TEST_F(Eviction, AKickDuringEvictionRunsOnlyWhenAllIsBack) {  // J1
    Tenant& first = tenant();
    first.run();
    tenant().run();
    hold_store();
    tenant().kick();
    rig.run(kSwitch);
    ASSERT_EQ(first.state(), ResidencyState::evicting);
    first.kick();
    rig.run(kSwitch);
    EXPECT_FALSE(first.on_slot());
    finish_one();
    rig.run(kSwitch);
    EXPECT_FALSE(first.on_slot());
    release_store();
    first.expect_jobs(2);
}

TEST_F(Eviction, AGroupResumesOnlyWhenItsMemoryIsRestored) {  // J2
    Tenant& first = evicted_tenant();
    hold_store();
    first.kick();
    while (first.state() != ResidencyState::restoring) {
        rig.run(kSwitch);
        if (first.state() != ResidencyState::restoring) finish_one();
    }
    rig.run(kSwitch);
    EXPECT_FALSE(first.on_slot());
    finish_one();
    rig.run(kSwitch);
    first.expect_jobs(2);
}

TEST_F(Eviction, WhoIsStartingIsSuspendedForMemoryOnceItHasStartedAndHadItsSlice) {  // J5
    Tenant& first = tenant(kHuge);
    first.kick([&](W& w) { first.count_for_ever(w); });  // START is asked, the GPU has not looked yet
    Tenant& second = tenant(kHuge);
    second.kick();
    ASSERT_EQ(rig.on_slot(0)->state(), GroupState::starting);
    pass(kSlice / 2);
    EXPECT_GT(first.jobs(), 0u);
    EXPECT_EQ(second.jobs(), 0u);
    pass(kSlice);
    EXPECT_EQ(second.jobs(), 1u);
}

TEST_F(Eviction, MemoryIsNotTakenBeforeTheSuspensionIsAcknowledged) {  // J3
    Tenant& first = tenant(kHuge);
    first.kick([&](W& w) { first.count_for_ever(w); });
    rig.run(kSwitch);
    rig.advance(2 * kSlice);
    Tenant& second = tenant(kHuge);
    second.kick(loop_for_ever);
    ASSERT_EQ(rig.on_slot(0)->state(), GroupState::suspending);
    EXPECT_TRUE(first.resident());
    rig.run(kSwitch);
    EXPECT_TRUE(first.evicted());
}

TEST_F(Eviction, WorkPublishedWhileAGroupLeavesForMemoryIsNotLost) {  // B1
    Tenant& first = tenant(kHuge);
    first.run();
    Tenant& second = tenant(kHuge);
    second.kick();  // the first is idle: SUSPEND is asked
    ASSERT_EQ(rig.on_slot(0)->state(), GroupState::suspending);
    first.group->queue(0).submit([&](W& w) { first.count(w); });
    first.group->queue(0).tell();
    rig.run_until_idle();
    pass(3 * kSlice);
    first.expect_jobs(2);
    second.expect_jobs(1);
}

TEST_F(Eviction, AVmMayGoWhileItsMemoryDoes) {
    Tenant& first = tenant();
    first.run();
    tenant().run();
    hold_store();
    tenant().kick();
    rig.run(kSwitch);
    ASSERT_EQ(first.state(), ResidencyState::evicting);
    rig.close(first.client);
    finish_one();
    EXPECT_EQ(rig.store.kept(), 0u);
    release_store();
    tenants.back().expect_jobs(1);
}

TEST_F(Eviction, AVmMayGoWhileItsMemoryComes) {
    Tenant& first = evicted_tenant();
    hold_store();
    first.kick();
    while (first.state() != ResidencyState::restoring) {
        rig.run(kSwitch);
        if (first.state() != ResidencyState::restoring) finish_one();
    }
    rig.close(first.client);
    release_store();
    rig.check();
}

TEST_F(Eviction, AllFilesMayCloseWhileMemoryIsOnItsWay) {
    evicted_tenant();
    hold_store();
    for (Tenant& one : tenants) one.kick();
    rig.run(kSwitch);
    EXPECT_GT(rig.store.pending(), 0u);
    for (Tenant& one : tenants) rig.close(one.client);
    rig.run(kSwitch);
    rig.store.held = false;
    rig.run_until_idle();
    EXPECT_EQ(rig.store.kept(), 0u);
    // The programs' mappings have gone with them.
    for (const drm::Inode inode : rig.exports.open_inodes()) rig.exports.close(inode);
    EXPECT_EQ(rig.info().resident_bytes, 0u);
    EXPECT_EQ(rig.info().buffers, 0u);
}

TEST_F(Eviction, TheDeviceMayGoWhileMemoryIsOnItsWay) {
    evicted_tenant();
    hold_store();
    for (Tenant& one : tenants) one.kick();
    rig.run(kSwitch);
    EXPECT_GT(rig.store.pending(), 0u);
}

// --- binds

/// A second VM of a tenant's program, with a group that runs, where its evicted memory may be bound too.
struct RunningVm {
    explicit RunningVm(Tenant& of) : owner(of), vm(of.client.create_vm()) {
        // The page, so that results show.
        EXPECT_EQ(of.client.bind(vm, {Client::map_op(of.page.handle, of.page.va, kPage)})->answer(), 0);
        group = &of.client.user_group({.vm = vm});
        group->queue(0).run([](W& w) { w.nop(); });
        EXPECT_TRUE(group->active());
        map = {Client::map_op(of.memory.handle, of.memory.va, of.bytes)};
    }
    Tenant& owner;
    std::uint32_t vm;
    UserGroup* group;
    std::vector<drm_panthor_vm_bind_op> map;
};

TEST_F(Eviction, ABindOfEvictedMemoryWhereAGroupRunsIsAnsweredWhenItIsThere) {
    Tenant& first = evicted_tenant();
    const RunningVm running(first);
    hold_store();
    const auto call = first.client.bind(running.vm, running.map);
    rig.run(kSwitch);
    EXPECT_FALSE(call->answered());
    EXPECT_EQ(first.state(), ResidencyState::restoring);
    rig.store.held = false;
    rig.run(kSwitch);
    EXPECT_EQ(call->answer(), 0);
    EXPECT_TRUE(first.resident());
    UserGroup& user = first.client.user_group({.vm = running.vm});
    user.queue(0).submit([&](W& w) { first.count(w); });
    EXPECT_EQ(user.kick(), 0);
    rig.run(2 * kSwitch);
    first.expect_jobs(2);
}

TEST_F(Eviction, ABindInTheBackgroundSignalsWhenEvictedMemoryIsThere) {
    Tenant& first = evicted_tenant();
    const RunningVm running(first);
    hold_store();
    const std::uint32_t fence = first.client.syncobj();
    const std::vector syncs{signal_op(fence)};
    auto op = running.map;
    op[0].syncs = obj_array(syncs);
    EXPECT_EQ(first.client.bind(running.vm, op, DRM_PANTHOR_VM_BIND_ASYNC)->answer(), 0);
    rig.run(kSwitch);
    EXPECT_EQ(first.client.fence_status(fence), 0);
    rig.store.held = false;
    rig.run(kSwitch);
    EXPECT_EQ(first.client.fence_status(fence), 1);
    EXPECT_TRUE(first.resident());
}

TEST_F(Eviction, ABindDuringEvictionWaitsUntilTheMemoryIsBack) {
    Tenant& first = tenant();
    first.run();
    const RunningVm running(first);
    tenant().run();
    hold_store();
    tenant().kick();
    rig.run(kSwitch);
    ASSERT_EQ(first.state(), ResidencyState::evicting);
    const auto call = first.client.bind(running.vm, running.map);
    rig.run(kSwitch);
    EXPECT_FALSE(call->answered());
    rig.store.held = false;
    rig.run(kSwitch);
    EXPECT_EQ(call->answer(), 0);
    EXPECT_TRUE(first.resident());
}

TEST_F(Eviction, ABindThatWaitsForMemoryDiesWithItsFile) {
    Tenant& first = evicted_tenant();
    const RunningVm running(first);
    hold_store();
    const auto call = first.client.bind(running.vm, running.map);
    rig.close(first.client);
    rig.store.held = false;
    rig.run_until_idle();
    EXPECT_FALSE(call->answered());
}

TEST_F(Eviction, MemoryThatTwoVmsMapStaysWhileOneOfThemRuns) {
    Tenant& first = tenant();
    first.run();
    const RunningVm running(first);
    EXPECT_EQ(first.client.bind(running.vm, running.map)->answer(), 0);
    running.group->queue(0).submit(loop_for_ever);
    running.group->queue(0).tell();
    tenant().kick();
    tenant().kick();
    pass(kSlice / 2);
    EXPECT_TRUE(first.resident());
}

TEST_F(Eviction, AnUnboundBufferStaysUntilTheGpuHasForgottenIt) {
    Tenant& first = tenant();
    first.kick([&](W& w) { store_for_ever(w, first.memory.va); });
    rig.run(kSwitch);
    const auto call = first.client.bind(first.client.vm(), {Client::unmap_op(first.memory.va, first.bytes)});
    EXPECT_FALSE(call->answered());
    tenant().kick();
    tenant().kick();
    EXPECT_TRUE(first.resident());
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
}

// --- CPU mappings

TEST_F(Eviction, AMappingOfEvictedMemoryIsAnsweredWhenItIsThereAndPinsIt) {
    Tenant& first = evicted_tenant();
    const std::uint64_t offset = first.client.mmap_offset(first.memory.handle);
    hold_store();
    std::optional<base::Mapping> mapped;
    first.client.file().mmap({.offset = offset, .bytes = first.bytes, .protection = PROT_READ | PROT_WRITE},
                             [&](const base::Result<std::vector<drm::MapSegment>>& answer) {
                                 ASSERT_TRUE(answer);
                                 const drm::MapSegment& segment = answer->at(0);
                                 mapped =
                                     base::map_shared(segment.fd, 0, segment.bytes, segment.access).value();
                             });
    EXPECT_FALSE(mapped);
    release_store();
    ASSERT_TRUE(mapped);
    EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(mapped->data()), 1u);
    for (Tenant& one : tenants)
        if (&one != &first) one.run();
    EXPECT_TRUE(first.resident());
    first.memory.mapping = std::move(*mapped);
    first.client.unmap_from_cpu(first.memory);
    for (Tenant& one : tenants)
        if (&one != &first) one.run();
    EXPECT_TRUE(first.evicted());
    first.run();
    first.expect_jobs(2);
}

TEST_F(Eviction, AMappingThatWaitsForMemoryDiesWithItsFile) {
    Tenant& first = evicted_tenant();
    const std::uint64_t offset = first.client.mmap_offset(first.memory.handle);
    hold_store();
    bool answered = false;
    first.client.file().mmap({.offset = offset, .bytes = kPage, .protection = PROT_READ},
                             [&](const auto&) { answered = true; });
    rig.close(first.client);
    release_store();
    EXPECT_FALSE(answered);
}

TEST_F(Eviction, ADmaBufOfEvictedMemoryIsGivenWhenItIsThere) {
    Tenant& first = evicted_tenant();
    hold_store();
    const auto call = first.client.start(
        DRM_IOCTL_PRIME_HANDLE_TO_FD, drm_prime_handle{.handle = first.memory.handle, .flags = 0, .fd = -1});
    EXPECT_FALSE(call->answered());
    release_store();
    EXPECT_EQ(call->answer(), 0);
    const auto mapping =
        base::map_shared(call->given_fds()[0].get(), 0, first.bytes, base::Access::read).value();
    EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(mapping.data()), 1u);
    for (Tenant& one : tenants)
        if (&one != &first) one.run();
    EXPECT_TRUE(first.resident());
}

TEST_F(Eviction, NoMoreIsPinnedThanTheBudget) {
    Client& client = rig.open();
    const std::uint32_t large = client.bo(kBudget - 8 * kPage);
    const std::uint64_t offset = client.mmap_offset(large);
    const auto mapping = client.map(offset, kPage);
    // Neither by mapping, nor by what the driver must have at hand, nor can it ever be there.
    const std::uint32_t small = client.bo(8 * kPage);
    EXPECT_EQ(client.map(client.mmap_offset(small), kPage).size(), 1u);
    drm_panthor_bo_create more{.size = kPage};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_BO_CREATE, more), ENOMEM);
    drm_panthor_bo_create huge{.size = kBudget + kPage};
    EXPECT_EQ(rig.open().ioctl(DRM_IOCTL_PANTHOR_BO_CREATE, huge), ENOMEM);
    std::vector<drm_panthor_queue_create> queues = queue_creates({});
    drm_panthor_group_create create{.queues = obj_array(queues),
                                    .priority = PANTHOR_GROUP_PRIORITY_MEDIUM,
                                    .vm_id = client.vm(),
                                    .eventfd_sync_update = -1,
                                    .eventfd_group_state = -1,
                                    .eventfd_doorbell = -1};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_GROUP_CREATE, create), ENOMEM);
}

TEST_F(Eviction, AMappingThatWouldPinMoreThanTheBudgetIsRefused) {
    Client& client = rig.open();
    const std::uint32_t first = client.bo(kHuge);
    const std::uint32_t second = client.bo(kHuge);
    EXPECT_EQ(client.map(client.mmap_offset(first), kPage).size(), 1u);
    EXPECT_EQ(client.mmap(client.mmap_offset(second), kPage).error(), base::Errno::no_memory);
    EXPECT_EQ(client.map(client.mmap_offset(first), kPage).size(), 1u);  // it is pinned as it is
}

// --- what the driver looks at itself

class EvictionXgs : public Eviction {
  protected:
    EvictionXgs() {
        drm_panthor_xgs_queue_create create{.vm_id = first.client.vm(), .eventfd_sync_update = -1};
        EXPECT_EQ(first.client.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, create), 0);
        queue = create.handle;
    }
    int submit(const std::vector<drm_panthor_xgs_op>& ops, std::uint32_t flags = 0) {
        const std::vector syncs{signal_op(fence)};
        drm_panthor_xgs_queue_submit args{
            .handle = queue, .flags = flags, .ops = obj_array(ops), .syncs = obj_array(syncs)};
        return first.client.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_SUBMIT, args);
    }
    [[nodiscard]] drm_panthor_xgs_op op(std::uint32_t kind, std::uint64_t value) const {
        return {.addr = first.memory.va + kSync,
                .value = value,
                .op = static_cast<std::uint8_t>(kind),
                .format = DRM_PANTHOR_XGS_OP_FORMAT_U64};
    }
    /// By a stream.
    void expect_value(std::uint64_t value) {
        first.kick([&](W& w) {
            wait_for(w, first.memory.va + kSync, value);
            add_one(w, first.page.va + 128);
        });
        rig.run_until_idle();
        EXPECT_EQ(first.page.u64(128), 1u);
    }

    static constexpr std::uint64_t kSync = kPage;
    Tenant& first = evicted_tenant();
    std::uint32_t fence = first.client.syncobj();
    std::uint32_t queue = 0;
};

TEST_F(EvictionXgs, AnXgsSignalWaitsUntilItsObjectIsThere) {
    hold_store();
    EXPECT_EQ(submit({op(DRM_PANTHOR_XGS_OP_SIGNAL_ADD, 3)}), 0);
    EXPECT_FALSE(first.client.has_fence(fence));
    EXPECT_EQ(first.state(), ResidencyState::restoring);
    release_store();
    EXPECT_EQ(first.client.fence_status(fence), 1);
    expect_value(3);
}

TEST_F(EvictionXgs, AnXgsWaitLooksWhenItsObjectIsThereAndThenLetsItGo) {
    EXPECT_EQ(submit({op(DRM_PANTHOR_XGS_OP_WAIT_GT, 4)}), 0);
    const auto before = rig.info().restores;
    rig.run_until_idle();
    EXPECT_EQ(rig.info().restores, before + 1);
    EXPECT_TRUE(first.evicted());  // what is on the slots counts for more
    // Looking again, for whatever reason, brings nothing back: nobody can have changed it.
    const auto restores = rig.info().restores;
    drm_panthor_sync_update update{};
    EXPECT_EQ(first.client.ioctl(DRM_IOCTL_PANTHOR_SYNC_UPDATE, update), 0);
    EXPECT_EQ(rig.info().restores, restores);
    // A stream updates it, for which it comes back; the job goes on.
    first.kick(
        [&](W& w) { w.move48(d(60), first.memory.va + kSync).move48(d(62), 5).sync_set64(d(60), d(62)); });
    rig.run_until_idle();
    EXPECT_EQ(first.client.fence_status(fence), 1);
}

TEST_F(EvictionXgs, ABoundedJobsFenceNeedsNoMemoryToFail) {
    hold_store();
    EXPECT_EQ(submit({op(DRM_PANTHOR_XGS_OP_WAIT_GT, 0)}, DRM_PANTHOR_XGS_QUEUE_SUBMIT_BOUNDED), 0);
    rig.advance(5s);
    EXPECT_EQ(first.client.fence_status(fence), -ETIMEDOUT);
    release_store();
}

TEST_F(EvictionXgs, WhatCannotBeRestoredFailsAJob) {
    rig.store.restoring_fails = base::Errno::io;
    EXPECT_EQ(submit({op(DRM_PANTHOR_XGS_OP_SIGNAL_SET, 1)}), 0);
    rig.run_until_idle();
    EXPECT_EQ(first.client.fence_status(fence), -EINVAL);
    rig.store.restoring_fails.reset();
}

class EvictionOfBlocked : public Eviction {
  protected:
    static constexpr std::uint64_t kGate = kPage;
    Tenant& first = tenant();
    /// A group that waits for a sync object in memory that can be evicted, off its slot.
    EvictionOfBlocked() {
        first.kick([&](W& w) {
            wait_for(w, first.memory.va + kGate, 1);
            first.count(w);
        });
        rig.run_until_idle();
        tenant(kHuge).run();
        EXPECT_TRUE(first.evicted());
        EXPECT_FALSE(first.on_slot());
    }
    void map_first() {
        auto mapped = first.client.map(first.client.mmap_offset(first.memory.handle), first.bytes);
        first.memory.mapping = std::move(mapped.at(0));
    }
};

TEST_F(EvictionOfBlocked, NothingBringsItBackUntilSomebodyCanChangeWhatItWaitsFor) {
    const auto restores = rig.info().restores;
    drm_panthor_sync_update update{};
    EXPECT_EQ(first.client.ioctl(DRM_IOCTL_PANTHOR_SYNC_UPDATE, update), 0);
    EXPECT_EQ(first.group->kick(), 0);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().restores, restores);
    EXPECT_EQ(first.jobs(), 0u);
}

TEST_F(EvictionOfBlocked, AnUpdateByAnotherGroupBringsItBackAndIsSeen) {
    UserGroup& other = first.client.user_group();
    other.queue(0).submit([&](W& w) { add_one(w, first.memory.va + kGate); });
    EXPECT_EQ(other.kick(), 0);
    rig.run_until_idle();
    pass(2 * kSlice);
    first.expect_jobs(1);
}

TEST_F(EvictionOfBlocked, AValueThatWasWrittenInSilenceIsSeenBeforeTheMemoryGoes) {
    drm::Hold hold{[] {}};
    static_cast<void>(hold.take(first.client.find_buffer(first.memory.handle)));
    rig.run_until_idle();
    map_first();
    base::store(first.memory.sync(kGate).value, 1, base::kSeqCst);
    first.client.unmap_from_cpu(first.memory);
    hold.release();
    EXPECT_EQ(first.jobs(), 0u);
    tenants.back().run();  // which needs that memory
    pass(2 * kSlice);
    first.expect_jobs(1);
}

TEST_F(EvictionOfBlocked, EvictedMemoryThatIsBoundWhereItWaitsIsLookedAt) {
    // Another buffer, in which the object is 1, lies in the store.
    Client& client = first.client;
    const std::uint32_t vm = client.create_vm();
    const Memory other = client.gpu_memory(kLarge, vm);
    UserGroup& writer = client.user_group({.vm = vm});
    writer.queue(0).run([&](W& w) { add_one(w, other.va + kGate); });
    tenants.back().run();
    EXPECT_EQ(client.find_buffer(other.handle)->residence.state(), ResidencyState::evicted);
    EXPECT_EQ(client.bind(client.vm(), {Client::map_op(other.handle, first.memory.va, kLarge)})->answer(), 0);
    rig.run_until_idle();
    pass(2 * kSlice);
    EXPECT_EQ(first.jobs(), 1u);
}

// --- what the store cannot do

TEST_F(Eviction, IfTheStoreIsFullTheBudgetIsExceeded) {
    rig.store.evicting_fails = base::Errno::no_space;
    for (unsigned i = 0; i < 4; ++i) tenant();
    for (unsigned round = 1; round < 3; ++round)
        for (Tenant& one : tenants) {
            one.run();
            one.expect_jobs(round);
        }
    EXPECT_GT(rig.info().resident_bytes, kBudget);
    EXPECT_EQ(rig.info().evictions, 0u);
}

TEST_F(Eviction, AGroupWhoseMemoryCannotBeRestoredEndsAndOthersGoOn) {
    Tenant& first = evicted_tenant();
    rig.store.restoring_fails = base::Errno::io;
    first.kick();
    rig.run_until_idle();
    EXPECT_EQ(first.group->state().state, DRM_PANTHOR_GROUP_STATE_FATAL_FAULT);
    EXPECT_EQ(first.group->fault().exception, static_cast<std::uint32_t>(csf::Exception::cs_res_term));
    EXPECT_EQ(first.jobs(), 1u);
    rig.store.restoring_fails.reset();
    for (Tenant& one : tenants) {
        if (&one == &first) continue;
        one.run();
        one.expect_jobs(2);
    }
}

TEST_F(Eviction, AKernelModeJobWhoseMemoryCannotBeRestoredHasAFenceWithAnError) {
    Tenant& first = evicted_tenant();
    KernelGroup& group = first.client.kernel_group();
    const Stream stream = first.client.stream([&](W& w) { first.count(w); });
    const std::uint32_t fence = first.client.syncobj();
    rig.store.restoring_fails = base::Errno::io;
    EXPECT_EQ(group.submit({{.stream = stream, .syncs = {signal_op(fence)}}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(first.client.fence_status(fence), -EINVAL);
}

TEST_F(Eviction, AMappingOfWhatCannotBeRestoredIsAnError) {
    Tenant& first = evicted_tenant();
    rig.store.restoring_fails = base::Errno::io;
    std::optional<base::Errno> error;
    first.client.file().mmap(
        {.offset = first.client.mmap_offset(first.memory.handle), .bytes = kPage, .protection = PROT_READ},
        [&](const base::Result<std::vector<drm::MapSegment>>& answer) { error = answer.error(); });
    rig.run_until_idle();
    EXPECT_EQ(error, base::Errno::io);
}

// --- the driver's own buffers

TEST_F(Eviction, ATilerHeapsChunksComeBackAsTheyWere) {
    Client& client = rig.open();
    drm_panthor_tiler_heap_create heap{
        .vm_id = client.vm(), .initial_chunk_count = 1, .chunk_size = 128 << 10, .max_chunks = 1};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_TILER_HEAP_CREATE, heap), 0);
    for (unsigned i = 0; i < 3; ++i) tenant().run();
    EXPECT_GT(rig.info().evictions, 0u);
    const Memory page = client.memory();
    UserGroup& group = client.user_group();
    // Of the last chunk: there is none behind it.
    group.queue(0).run([&](W& w) {
        load(w, heap.first_heap_chunk_gpu_va);
        w.move48(d(60), page.va).store_multiple(r(64), 1, d(60)).wait(kAllSlots);
        add_one(w, page.va + 64);
    });
    EXPECT_EQ(page.u64(64), 1u);
    EXPECT_EQ(page.as<std::uint32_t>(), 0u);
}

}  // namespace
}  // namespace belfry::panthor
