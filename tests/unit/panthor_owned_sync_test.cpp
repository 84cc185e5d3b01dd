// Sync objects that a group owns: when the group has ended, whoever waits for one goes on and can tell.
#include <cstdint>

#include <gtest/gtest.h>

#include "unit/panthor_rig.hpp"

namespace belfry::panthor {
namespace {

class OwnedSyncObjects : public testing::Test {
  protected:
    static void own(UserGroup& group, std::uint64_t address, std::size_t place = 0) {
        group.queue(0).doorbell().owned[place] = address;
    }
    static void expect_ended(const Memory& memory, std::uint64_t offset = 0) {
        EXPECT_EQ(memory.sync(offset).value, ~0ULL);
        EXPECT_EQ(memory.sync(offset).error, BELFRY_SYNC_OBJECT_ENDED);
    }
    /// A group on a slot whose stream never ends.
    UserGroup& looping(Client& of) {
        UserGroup& group = of.user_group();
        group.queue(0).submit([](W& w) { loop_for_ever(w); });
        EXPECT_EQ(group.kick(), 0);
        rig.run(3);
        return group;
    }

    Rig rig{{.group_slots = 2}};
    Client& client = rig.open();
    Memory memory = client.memory();
};

TEST_F(OwnedSyncObjects, SaySoWhenTheGroupHasFaulted) {
    UserGroup& group = client.user_group();
    own(group, memory.va);
    own(group, memory.va + 64, BELFRY_OWNED_SYNC_OBJECTS - 1);
    memory.sync().value = 7;
    group.queue(0).run([](W& w) { w.word(kBadWord); });
    expect_ended(memory);
    expect_ended(memory, 64);
}

TEST_F(OwnedSyncObjects, SaySoWhenTheGroupIsDestroyedOffItsSlot) {
    UserGroup& group = client.user_group();
    own(group, memory.va);
    EXPECT_EQ(group.destroy(), 0);
    expect_ended(memory);
}

TEST_F(OwnedSyncObjects, AreLeftAloneWhileTheGroupsStreamsMayStillUpdateThem) {
    UserGroup& group = looping(client);
    own(group, memory.va);
    rig.wires.firmware_deaf = true;
    EXPECT_EQ(group.destroy(), 0);
    rig.run(5);
    EXPECT_EQ(memory.sync().value, 0U);
    rig.wires.firmware_deaf = false;
    rig.gpu.write(gpu::doorbell_reg(0), 1);
    rig.run_until_idle();
    expect_ended(memory);
}

TEST_F(OwnedSyncObjects, SaySoInTimeThoughTheFirmwareNeverAnswersForTheGroup) {
    UserGroup& group = looping(client);
    own(group, memory.va);
    rig.wires.firmware_deaf = true;
    EXPECT_EQ(group.destroy(), 0);
    rig.advance(std::chrono::nanoseconds(Scheduler::kAnswerTimeoutNs));
    expect_ended(memory);
    rig.wires.firmware_deaf = false;
    rig.gpu.write(gpu::doorbell_reg(0), 1);
    rig.run_until_idle();
}

TEST_F(OwnedSyncObjects, SaySoWhenTheFileCloses) {
    Client& other = rig.open();
    const Memory theirs = other.memory();  // which it still has mapped
    own(other.user_group(), theirs.va);
    rig.close(other);
    rig.run_until_idle();
    expect_ended(theirs);
}

TEST_F(OwnedSyncObjects, LetStreamsOfOtherGroupsGoOn) {
    UserGroup& owner = client.user_group();
    UserGroup& waiting = client.user_group();
    own(owner, memory.va);
    waiting.queue(0).submit([&](W& w) {
        wait_for(w, memory.va, 5);
        store(w, memory.va + 256, 42);
    });
    EXPECT_EQ(waiting.kick(), 0);
    rig.run_until_idle();
    EXPECT_EQ(memory.as<std::uint32_t>(256), 0U);
    EXPECT_EQ(owner.destroy(), 0);
    rig.run_until_idle();
    EXPECT_EQ(memory.as<std::uint32_t>(256), 42U);
}

TEST_F(OwnedSyncObjects, ThatAreNoneAreNobodysHarm) {
    UserGroup& group = client.user_group();
    const std::uint32_t bo = client.bo();
    auto read_only = Client::map_op(bo, 0x5000, kPage);
    read_only.flags |= DRM_PANTHOR_VM_BIND_OP_MAP_READONLY;
    EXPECT_EQ(client.bind(client.vm(), {read_only})->answer(), 0);
    std::size_t place = 0;
    const std::uint64_t addresses[] = {0x5000, 0x6000,    memory.va + 4, memory.va + kPage - 8,
                                       ~0ULL,  1ULL << 63};
    for (const std::uint64_t address : addresses) own(group, address, place++);
    EXPECT_EQ(group.destroy(), 0);
    for (std::uint64_t offset = 0; offset < kPage; offset += 8) EXPECT_EQ(memory.u64(offset), 0U);
}

}  // namespace
}  // namespace belfry::panthor
