// Clients, driver and GPU in random order, with everything that may go wrong going wrong; then nothing goes
// wrong any more, and all that was promised must happen. The driver's invariants are checked after every
// step.
//
// One seed is one run; the failing one is printed, and --gtest_filter with it repeats it.
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "unit/panthor_rig.hpp"

namespace belfry::panthor {
namespace {

constexpr std::uint64_t kSeeds = 150;
constexpr unsigned kSteps = 400;

/// A client with what it has made so far; it uses dead handles as gladly as living ones.
struct Player {
    Client* client;
    std::vector<Memory> memories;
    std::vector<UserGroup*> user_groups;
    std::vector<KernelGroup*> kernel_groups;
    std::vector<std::uint32_t> syncobjs;
    std::vector<std::uint32_t> xgs_queues;
    std::vector<std::shared_ptr<TestCall>> calls;
};

class Chaos {
  public:
    explicit Chaos(std::uint64_t seed)
        : random_(seed), rig_({.group_slots = 1 + pick(3), .streams_per_group = 1 + pick(3)}) {}

    void play() {
        for (unsigned i = 0; i < kSteps; ++i) step();
    }

    /// Faults of the firmware stop and time passes: every fence signals, every call is answered.
    void settle() {
        rig_.wires.firmware_deaf = false;
        rig_.gpu.write(gpu::doorbell_reg(0), 1);
        // A group keeps its slot until it ends, idle or not: those that wait get on when others go.
        for (Player& player : players_)
            for (UserGroup* const group : player.user_groups) group->destroy();
        pass_time(kLongestLine);
        if (rig_.info().groups_waiting == 0) expect_signalled();
        for (Player& player : players_)
            for (KernelGroup* const group : player.kernel_groups) {
                pass_time(kOneGroup);
                group->destroy();
            }
        pass_time(kOneGroup);
        expect_signalled();
        for (const Player& player : players_)
            for (const auto& call : player.calls) EXPECT_TRUE(call->answered());
        for (Player& player : players_) rig_.close(*player.client);
        players_.clear();
        rig_.run_until_idle();
        EXPECT_EQ(rig_.info().groups, 0u);
        EXPECT_EQ(rig_.info().groups_on_slot, 0u);
        EXPECT_EQ(rig_.info().buffers, 0u);
        EXPECT_EQ(rig_.info().vms, 0u);
        EXPECT_FALSE(rig_.device().next_deadline());
    }

    /// Everything still works for somebody new.
    void start_over() {
        Client& client = rig_.open();
        const Memory memory = client.memory();
        const std::uint32_t end = client.syncobj();
        ASSERT_EQ(
            client.kernel_group().submit(
                {{.stream = client.stream([&](W& w) { add_one(w, memory.va); }), .syncs = {signal_op(end)}}}),
            0);
        rig_.run_until_idle();
        EXPECT_EQ(client.fence_status(end), 1);
        EXPECT_EQ(memory.u64(), 1u);
    }

  private:
    void expect_signalled() {
        for (const drm::FencePtr& fence : fences_) ASSERT_TRUE(fence->is_signalled());
    }
    /// A job that does not end takes 5 s and ends its group; those of all groups may wait for each other in a
    /// line.
    static constexpr unsigned kOneGroup = 6;
    static constexpr unsigned kLongestLine = 3 * 8 * kOneGroup;

    void pass_time(unsigned seconds) {
        for (unsigned i = 0; i < seconds; ++i) {
            rig_.run(50);
            rig_.advance(1s);
        }
    }

    unsigned pick(std::size_t below) { return static_cast<unsigned>(random_() % below); }
    template <typename T>
    T* any(std::vector<T>& of) {
        return of.empty() ? nullptr : &of[pick(of.size())];
    }

    Program program(Player& player) {
        const std::uint64_t va = player.memories.empty() ? 0x5000 : any(player.memories)->va;
        switch (pick(8)) {
            case 0:  return [va](W& w) { store_for_ever(w, va); };
            case 1:  return [](W& w) { w.word(kBadWord); };
            case 2:  return [](W& w) { load(w, 0x10); };
            case 3:  return [va](W& w) { wait_for(w, va, 5), add_one(w, va); };
            case 4:  return [va](W& w) { add_one(w, va), load(w, va + 64); };
            default: return [va](W& w) { add_one(w, va); };
        }
    }

    void submit(Player& player) {
        KernelGroup** const group = any(player.kernel_groups);
        if (group == nullptr) return;
        std::vector<JobSpec> jobs(1 + pick(40));
        for (JobSpec& job : jobs) {
            if (pick(8) != 0) job.stream = streams_of(player);
            job.syncs = syncs(player);
        }
        if ((*group)->submit(jobs) == 0) remember_fences(player);
    }
    std::vector<drm_panthor_sync_op> syncs(Player& player) {
        std::vector<drm_panthor_sync_op> ops;
        for (unsigned i = pick(3); i > 0; --i)
            if (const auto* const syncobj = any(player.syncobjs))
                ops.push_back(pick(2) == 0 ? wait_op(*syncobj) : signal_op(*syncobj));
        return ops;
    }
    /// Whatever can be seen is a promise.
    void remember_fences(Player& player) {
        for (const std::uint32_t syncobj : player.syncobjs)
            if (auto fence = player.client->fence(syncobj)) fences_.push_back(std::move(fence));
    }
    void use_xgs(Player& player) {
        Client& client = *player.client;
        if (pick(4) == 0) {
            drm_panthor_xgs_queue_create create{.vm_id = client.vm(), .eventfd_sync_update = -1};
            if (client.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, create) == 0)
                player.xgs_queues.push_back(create.handle);
            return;
        }
        const std::uint32_t* const queue = any(player.xgs_queues);
        if (queue == nullptr) return;
        if (pick(8) == 0) {
            drm_panthor_xgs_queue_destroy destroy{.handle = *queue};
            client.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_DESTROY, destroy);
            return;
        }
        std::vector<drm_panthor_xgs_op> ops(pick(4));
        for (drm_panthor_xgs_op& op : ops)
            op = {.addr = player.memories.empty() ? 0x5000 : any(player.memories)->va,
                  .value = pick(6),
                  .op = static_cast<std::uint8_t>(pick(4)),
                  .format = static_cast<std::uint8_t>(pick(2)),
                  .flags = 0};
        const auto ops_of_syncs = syncs(player);
        drm_panthor_xgs_queue_submit submit{
            .handle = *queue, .flags = pick(8), .ops = obj_array(ops), .syncs = obj_array(ops_of_syncs)};
        if (client.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_SUBMIT, submit) == 0) remember_fences(player);
        drm_panthor_sync_update update{};
        if (pick(2) == 0) client.ioctl(DRM_IOCTL_PANTHOR_SYNC_UPDATE, update);
    }
    Stream streams_of(Player& player) { return player.client->stream(program(player)); }

    void act(Player& player) {
        Client& client = *player.client;
        switch (pick(14)) {
            case 0: player.memories.push_back(client.memory()); break;
            case 1:
                if (player.user_groups.size() < 8)
                    player.user_groups.push_back(
                        &client.user_group({.priority = static_cast<std::uint8_t>(pick(2)),
                                            .vm = pick(4) == 0 && vms_++ < 20 ? client.create_vm() : 0}));
                break;
            case 2:
                if (player.kernel_groups.size() < 8) player.kernel_groups.push_back(&client.kernel_group());
                break;
            case 3: player.syncobjs.push_back(client.syncobj(pick(2) == 0)); break;
            case 4:
            case 5: submit(player); break;
            case 6:
            case 7:
                if (UserGroup** const group = any(player.user_groups)) {
                    (*group)->queue(0).submit(program(player));
                    if (pick(4) != 0) (*group)->queue(0).tell();
                }
                break;
            case 8:
                if (UserGroup** const group = any(player.user_groups)) (*group)->kick(pick(4));
                break;
            case 9:
                if (UserGroup** const group = any(player.user_groups); group != nullptr && pick(2) == 0)
                    (*group)->destroy();
                else if (KernelGroup** const other = any(player.kernel_groups);
                         other != nullptr && pick(2) == 0)
                    other[0]->destroy();
                break;
            case 10:
                if (const Memory* const memory = any(player.memories))
                    player.calls.push_back(client.unmap(*memory));
                break;
            case 11:
                if (const Memory* const memory = any(player.memories))
                    player.calls.push_back(
                        client.bind(client.vm(), {Client::map_op(memory->handle, memory->va, kPage)}));
                break;
            default: use_xgs(player);
        }
    }

    void step() {
        if (players_.empty() || (players_.size() < 3 && pick(50) == 0)) {
            players_.push_back({.client = &rig_.open()});
            players_.back().syncobjs.push_back(players_.back().client->syncobj());
        }
        switch (pick(10)) {
            case 0:
            case 1: rig_.step_gpu(1 + pick(3)); break;
            case 2:
            case 3: rig_.deliver_interrupt(); break;
            case 4:
                if (pick(10) == 0) rig_.advance(std::chrono::milliseconds(pick(8000)));
                if (pick(20) == 0) rig_.wires.firmware_deaf = !rig_.wires.firmware_deaf;
                if (pick(10) == 0) rig_.gpu.write(gpu::doorbell_reg(0), 1);
                if (pick(20) == 0) rig_.host.line = true;  // for nothing
                break;
            case 5:
                if (pick(30) == 0) {
                    const unsigned leaver = pick(players_.size());
                    rig_.close(*players_[leaver].client);
                    players_.erase(players_.begin() + leaver);
                }
                break;
            case 6:
                // The driver runs in the middle of the GPU's slice for a while.
                rig_.host.on_interrupt = pick(2) == 0
                                             ? std::function<void()>([this] { rig_.deliver_interrupt(); })
                                             : std::function<void()>();
                break;
            default: act(*any(players_));
        }
    }

    std::mt19937_64 random_;
    Rig rig_;
    std::vector<Player> players_;
    std::vector<drm::FencePtr> fences_;
    unsigned vms_ = 0;
};

class RandomOrder : public testing::TestWithParam<std::uint64_t> {};

TEST_P(RandomOrder, BreaksNoInvariantAndNoPromise) {
    Chaos chaos(GetParam());
    chaos.play();
    chaos.settle();
    chaos.start_over();
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomOrder, testing::Range<std::uint64_t>(0, kSeeds),
                         [](const auto& tested) { return "Seed" + std::to_string(tested.param); });

}  // namespace
}  // namespace belfry::panthor
