// What each ioctl and mmap of panthor answers, and which mistake is found first (facts/uapi.md 1.4 to 1.20).
// GROUP_SUBMIT's fences are in panthor_submit_test.cpp, what groups do in panthor_group_test.cpp.
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "unit/panthor_rig.hpp"

namespace belfry::panthor {
namespace {

/// One thing wrong with a request, and what that is answered.
template <typename Request>
struct Mistake {
    const char* what;
    std::function<void(Request&)> make;
    int answer = EINVAL;
};

/// `send` answers a good request with 0, each mistake with its errno, and of two mistakes the one that is
/// listed first. `good` makes a fresh request each time.
template <typename Request>
void expect_order(const std::function<Request()>& good, const std::vector<Mistake<Request>>& mistakes,
                  const std::function<int(Request&)>& send) {
    Request request = good();
    EXPECT_EQ(send(request), 0) << "the good one";
    for (auto first = mistakes.begin(); first != mistakes.end(); ++first) {
        request = good();
        first->make(request);
        EXPECT_EQ(send(request), first->answer) << first->what;
        for (auto second = first + 1; second != mistakes.end(); ++second) {
            request = good();
            second->make(request);
            first->make(request);
            EXPECT_EQ(send(request), first->answer) << first->what << ", and " << second->what;
        }
    }
}

class Ioctls : public testing::Test {
  protected:
    template <typename Args>
    int call(std::uint64_t request, Args args) {
        return client.ioctl(request, args);
    }
    int bind_one(std::uint32_t vm, const drm_panthor_vm_bind_op& op) {
        const auto answered = client.bind(vm, {op});
        return answered->answer().value_or(-1);
    }

    Rig rig;
    Client& client = rig.open();
};

TEST_F(Ioctls, ARequestThatNobodyHandlesIsInvalid) {
    drm_panthor_vm_destroy args{};
    for (const unsigned number : {0x44U, 0x4bU, 0x4cU, 0x4dU, 0x4eU, 0x50U, 0x6fU, 0x71U, 0x74U, 0x9fU})
        EXPECT_EQ(client.ioctl(_IOWR('d', number, drm_panthor_vm_destroy), args), EINVAL) << number;
}

TEST_F(Ioctls, VersionNamesPanthorOneFive) {
    char name[16] = {};
    drm_version args{.name_len = sizeof name, .name = reinterpret_cast<std::uint64_t>(name)};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_VERSION, args), 0);
    EXPECT_EQ(args.version_major, 1);
    EXPECT_EQ(args.version_minor, 5);
    EXPECT_EQ(std::string(name, args.name_len), "panthor");
}

// --- DEV_QUERY

struct QueryCase {
    const char* name;
    std::uint32_t type;
    std::uint32_t bytes_min;
    std::uint32_t bytes;
};
void PrintTo(const QueryCase& query, std::ostream* out) { *out << query.name; }
constexpr QueryCase kQueries[] = {
    {"GpuInfo", DRM_PANTHOR_DEV_QUERY_GPU_INFO, 96, sizeof(drm_panthor_gpu_info)},
    {"CsifInfo", DRM_PANTHOR_DEV_QUERY_CSIF_INFO, 24, sizeof(drm_panthor_csif_info)},
    {"TimestampInfo", DRM_PANTHOR_DEV_QUERY_TIMESTAMP_INFO, 16, sizeof(drm_panthor_timestamp_info)},
    {"GroupPrioritiesInfo", DRM_PANTHOR_DEV_QUERY_GROUP_PRIORITIES_INFO, 4,
     sizeof(drm_panthor_group_priorities_info)},
};

class DevQuery : public testing::TestWithParam<QueryCase> {
  protected:
    int query(std::uint32_t size) {
        args = {.type = GetParam().type, .size = size, .pointer = reinterpret_cast<std::uint64_t>(object)};
        std::memset(object, 0xa5, sizeof object);
        return client.ioctl(DRM_IOCTL_PANTHOR_DEV_QUERY, args);
    }

    Rig rig;
    Client& client = rig.open();
    drm_panthor_dev_query args{};
    unsigned char object[256];
};

TEST_P(DevQuery, WithoutAPointerAnswersTheSizeWhateverTheProgramsSize) {
    for (const std::uint32_t size : {0U, 1U, 4096U}) {
        args = {.type = GetParam().type, .size = size};
        EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_DEV_QUERY, args), 0);
        EXPECT_EQ(args.size, GetParam().bytes);
    }
}
TEST_P(DevQuery, RefusesAnObjectThatIsShorterThanTheFirstVersion) {
    EXPECT_EQ(query(GetParam().bytes_min - 1), EINVAL);
    EXPECT_EQ(object[0], 0xa5);
}
TEST_P(DevQuery, FillsAnOldProgramsObjectAndNothingBehindIt) {
    EXPECT_EQ(query(GetParam().bytes_min), 0);
    EXPECT_EQ(object[GetParam().bytes_min], 0xa5);
    EXPECT_EQ(args.size, GetParam().bytes_min);  // left alone
}
TEST_P(DevQuery, ZeroesTheTailOfALargerObject) {
    EXPECT_EQ(query(GetParam().bytes + 8), 0);
    for (std::uint32_t i = GetParam().bytes; i < GetParam().bytes + 8; ++i) EXPECT_EQ(object[i], 0);
    EXPECT_EQ(object[GetParam().bytes + 8], 0xa5);
    EXPECT_EQ(args.size, GetParam().bytes + 8);
}
INSTANTIATE_TEST_SUITE_P(Types, DevQuery, testing::ValuesIn(kQueries),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST_F(Ioctls, DevQueryOfAnUnknownTypeIsInvalidWithAndWithoutAPointer) {
    std::uint64_t object = 0;
    EXPECT_EQ(call(DRM_IOCTL_PANTHOR_DEV_QUERY, drm_panthor_dev_query{.type = 4}), EINVAL);
    EXPECT_EQ(call(DRM_IOCTL_PANTHOR_DEV_QUERY,
                   drm_panthor_dev_query{
                       .type = 4, .size = 8, .pointer = reinterpret_cast<std::uint64_t>(&object)}),
              EINVAL);
}

TEST_F(Ioctls, DevQueryDescribesThisGpu) {
    const auto query = [&](std::uint32_t type, auto& object) {
        EXPECT_EQ(call(DRM_IOCTL_PANTHOR_DEV_QUERY,
                       drm_panthor_dev_query{.type = type,
                                             .size = sizeof object,
                                             .pointer = reinterpret_cast<std::uint64_t>(&object)}),
                  0);
    };
    drm_panthor_gpu_info gpu{};
    query(DRM_PANTHOR_DEV_QUERY_GPU_INFO, gpu);
    EXPECT_EQ(gpu.gpu_id, 0xa8670005u);
    EXPECT_EQ(gpu.shader_present, 0x50005u);
    EXPECT_EQ(gpu.mmu_features & 0xff, 48u);
    drm_panthor_csif_info csif{};
    query(DRM_PANTHOR_DEV_QUERY_CSIF_INFO, csif);
    EXPECT_EQ(csif.csg_slot_count, 8u);
    EXPECT_EQ(csif.cs_slot_count, 8u);
    EXPECT_EQ(csif.cs_reg_count, 96u);
    EXPECT_EQ(csif.scoreboard_slot_count, 8u);
    EXPECT_EQ(csif.unpreserved_cs_reg_count, 4u);
    drm_panthor_timestamp_info timestamp{};
    query(DRM_PANTHOR_DEV_QUERY_TIMESTAMP_INFO, timestamp);
    EXPECT_EQ(timestamp.timestamp_frequency, 1'000'000'000u);
    EXPECT_EQ(timestamp.current_timestamp, rig.host.now);
    drm_panthor_group_priorities_info priorities{};
    query(DRM_PANTHOR_DEV_QUERY_GROUP_PRIORITIES_INFO, priorities);
    EXPECT_EQ(priorities.allowed_mask, 0b11);
}

// --- VM_CREATE, VM_DESTROY

constexpr std::uint64_t kFull = 1ULL << 48;
constexpr std::uint64_t kCap = kFull - (256ULL << 20);

TEST_F(Ioctls, VmCreateLeavesTheKernelTheLargestPowerOfTwoAboveWhatWasAsked) {
    struct Range {
        std::uint64_t asked;
        std::uint64_t given;
    };
    for (const auto& [asked, given] : {
             Range{0, 1ULL << 47},
             Range{1, 1ULL << 47},
             Range{1ULL << 32, 1ULL << 47},
             Range{1ULL << 47, 1ULL << 47},
             Range{(1ULL << 47) + 1, kFull - (1ULL << 46)},
             Range{kCap - 4096, kCap},
             Range{kCap, kCap},
         }) {
        drm_panthor_vm_create args{.user_va_range = asked};
        EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, args), 0);
        EXPECT_EQ(args.user_va_range, given) << asked;
    }
}

TEST_F(Ioctls, VmCreateFindsTheseMistakesInThisOrder) {
    // Each call takes one of 32 ids: that they run out comes last.
    expect_order<drm_panthor_vm_create>(
        [] { return drm_panthor_vm_create{}; },
        {{"a flag", [](auto& args) { args.flags = 1; }},
         {"more than there is", [](auto& args) { args.user_va_range = kCap + 1; }},
         {"all ids taken",
          [&](auto&) {
              drm_panthor_vm_create one{};
              while (client.ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, one) == 0) continue;
          },
          EBUSY}},
        [&](auto& args) { return client.ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, args); });
}

TEST_F(Ioctls, VmIdsAreOneToThirtyTwoLowestFreeFirst) {
    for (std::uint32_t id = 1; id <= 32; ++id) EXPECT_EQ(client.create_vm(), id);
    EXPECT_EQ(call(DRM_IOCTL_PANTHOR_VM_CREATE, drm_panthor_vm_create{}), EBUSY);
    EXPECT_EQ(client.vm_destroy(7), 0);
    EXPECT_EQ(client.vm_destroy(3), 0);
    EXPECT_EQ(client.create_vm(), 3u);
    EXPECT_EQ(client.create_vm(), 7u);
    EXPECT_EQ(rig.info().vms, 32u);
}

TEST_F(Ioctls, VmIdsOfAnotherFileMeanNothing) {
    client.create_vm();
    Client& other = rig.open();
    EXPECT_EQ(other.vm_destroy(1), EINVAL);
    EXPECT_EQ(other.create_vm(), 1u);
}

TEST_F(Ioctls, VmDestroyRefusesPaddingAndUnknownIds) {
    const std::uint32_t vm = client.create_vm();
    for (const auto& wrong : {drm_panthor_vm_destroy{.id = vm, .pad = 1}, drm_panthor_vm_destroy{.id = 0},
                              drm_panthor_vm_destroy{.id = 2}, drm_panthor_vm_destroy{.id = 33}})
        EXPECT_EQ(call(DRM_IOCTL_PANTHOR_VM_DESTROY, wrong), EINVAL);
    EXPECT_EQ(client.vm_destroy(vm), 0);
    EXPECT_EQ(client.vm_destroy(vm), EINVAL);
    EXPECT_EQ(rig.info().vms, 0u);
}

// --- VM_BIND

TEST_F(Ioctls, VmBindRefusesEachOfTheseOps) {
    const std::uint32_t vm = client.vm();
    const std::uint32_t bo = client.bo(2 * kPage);
    const std::uint32_t foreign = client.bo(kPage, 0, client.create_vm());
    const auto map = Client::map_op(bo, 0x10000, kPage);
    const auto unmap = Client::unmap_op(0x10000, kPage);
    std::vector<drm_panthor_sync_op> syncs{signal_op(client.syncobj())};
    struct Case {
        const char* what;
        drm_panthor_vm_bind_op op;
        std::function<void(drm_panthor_vm_bind_op&)> spoil;
    };
    const Case cases[] = {
        {"syncs", map, [&](auto& op) { op.syncs = obj_array(syncs); }},
        {"unaligned va", map, [](auto& op) { op.va += 8; }},
        {"unaligned size", map, [](auto& op) { op.size -= 8; }},
        {"unaligned offset", map, [](auto& op) { op.bo_offset = 8; }},
        {"no such buffer", map, [](auto& op) { op.bo_handle = 99; }},
        {"buffer 0", map, [](auto& op) { op.bo_handle = 0; }},
        {"map flag 3", map, [](auto& op) { op.flags |= 1U << 3; }},
        {"map flag 27", map, [](auto& op) { op.flags |= 1U << 27; }},
        {"longer than the buffer", map, [](auto& op) { op.size = 3 * kPage; }},
        {"beyond the buffer", map, [](auto& op) { op.bo_offset = 2 * kPage; }},
        {"end beyond the buffer", map, [](auto& op) { op.bo_offset = kPage, op.size = 2 * kPage; }},
        {"offset that wraps", map, [](auto& op) { op.bo_offset = ~0ULL << 12; }},
        {"another VM's buffer", map, [&](auto& op) { op.bo_handle = foreign; }},
        {"end beyond the VA space", map, [](auto& op) { op.va = kFull - kPage, op.size = 2 * kPage; }},
        {"beyond the VA space", map, [](auto& op) { op.va = kFull; }},
        {"va that wraps", map, [](auto& op) { op.va = ~0ULL << 12, op.size = 2 * kPage; }},
        {"unaligned unmap", unmap, [](auto& op) { op.va += 1; }},
        {"unmap with a map flag", unmap, [](auto& op) { op.flags |= DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC; }},
        {"unmap with a buffer", unmap, [&](auto& op) { op.bo_handle = bo; }},
        {"unmap with an offset", unmap, [](auto& op) { op.bo_offset = kPage; }},
        {"unmap beyond the VA space", unmap, [](auto& op) { op.va = kFull; }},
        {"unmap of more than the VA space", unmap, [](auto& op) { op.va = 0, op.size = ~0ULL << 12; }},
    };
    for (const Case& spoilt : cases) {
        auto op = spoilt.op;
        EXPECT_EQ(bind_one(vm, op), 0) << "before " << spoilt.what;
        spoilt.spoil(op);
        EXPECT_EQ(bind_one(vm, op), EINVAL) << spoilt.what;
    }
}

TEST_F(Ioctls, VmBindRefusesTypesThatItDoesNotKnow) {
    for (const std::uint32_t type : {2U, 3U, 15U})
        EXPECT_EQ(bind_one(client.vm(), {.flags = type << 28, .size = kPage}), EINVAL) << type;
}

TEST_F(Ioctls, VmBindFindsTheVmFirstThenAsyncThenTheOps) {
    struct Request {
        std::uint32_t vm;
        std::uint32_t flags;
        drm_panthor_vm_bind_op op;
    };
    const std::uint32_t bo = client.bo();
    expect_order<Request>(
        [&] { return Request{.vm = client.vm(), .flags = 0, .op = Client::map_op(bo, 0x10000, kPage)}; },
        {{"no such VM", [](auto& request) { request.vm = 9; }},
         {"in the background", [](auto& request) { request.flags = DRM_PANTHOR_VM_BIND_ASYNC; }, EOPNOTSUPP},
         {"a bad op", [](auto& request) { request.op.va = 1; }}},
        [&](auto& request) {
            return client.bind(request.vm, {request.op}, request.flags)->answer().value_or(-1);
        });
}

TEST_F(Ioctls, VmBindIgnoresFlagsBeyondAsync) { EXPECT_EQ(client.bind(client.vm(), {}, ~1U)->answer(), 0); }

TEST_F(Ioctls, VmBindOfSizeZeroSucceedsAndLooksAtNothing) {
    EXPECT_EQ(bind_one(client.vm(), {.flags = ~0U, .bo_handle = 99, .bo_offset = 1, .va = 1, .size = 0}), 0);
}

TEST_F(Ioctls, VmBindOfNoOpsSucceeds) { EXPECT_EQ(client.bind(client.vm(), {})->answer(), 0); }

TEST_F(Ioctls, VmBindThatFailsSaysHowFarItGotAndKeepsWhatItDid) {
    const std::uint32_t bo = client.bo();
    const auto call =
        client.bind(client.vm(), {Client::map_op(bo, 0x10000, kPage), Client::map_op(bo, 0x20000, kPage),
                                  Client::map_op(bo, 0x30001, kPage), Client::map_op(bo, 0x40000, kPage)});
    EXPECT_EQ(call->answer(), EINVAL);
    EXPECT_EQ(call->args<drm_panthor_vm_bind>().ops.count, 2u);
    // What is bound, the GPU can load.
    UserQueue& queue = client.user_group().queue(0);
    queue.run([](W& w) { load(w, 0x10000), load(w, 0x20000); });
    EXPECT_TRUE(queue.drained());
    queue.run([](W& w) { load(w, 0x40000); });
    EXPECT_FALSE(queue.drained());
}

TEST_F(Ioctls, VmBindThatSucceedsLeavesTheCount) {
    const std::uint32_t bo = client.bo();
    const auto call =
        client.bind(client.vm(), {Client::map_op(bo, 0x10000, kPage), Client::map_op(bo, 0x20000, kPage)});
    EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(call->args<drm_panthor_vm_bind>().ops.count, 2u);
}

TEST_F(Ioctls, MapOverSomethingReplacesTheOverlapAndKeepsTheRest) {
    const Memory below = client.memory(0, 3 * kPage);
    const Memory above = client.memory();
    for (std::uint64_t page = 0; page < 3; ++page) below.u64(page * kPage) = page + 1;
    above.u64() = 9;
    EXPECT_EQ(bind_one(client.vm(), Client::map_op(above.handle, below.va + kPage, kPage)), 0);
    const Memory result = client.memory();
    client.user_group().queue(0).run([&](W& w) {
        for (std::uint64_t page = 0; page < 3; ++page) {
            load(w, below.va + page * kPage);
            w.move48(d(60), result.va + page * 4).store_multiple(r(64), 1, d(60)).wait(kAllSlots);
        }
    });
    EXPECT_EQ(result.as<std::uint32_t>(0), 1u);
    EXPECT_EQ(result.as<std::uint32_t>(4), 9u);
    EXPECT_EQ(result.as<std::uint32_t>(8), 3u);
}

TEST_F(Ioctls, UnmapOfAHoleSucceeds) {
    EXPECT_EQ(bind_one(client.vm(), Client::unmap_op(0x10000, kPage)), 0);
    EXPECT_EQ(bind_one(client.vm(), Client::unmap_op(0, kFull)), 0);
}

TEST_F(Ioctls, AProgramMayBindInTheKernelsPart) {
    EXPECT_EQ(bind_one(client.vm(), Client::map_op(client.bo(), kFull - kPage, kPage)), 0);
}

TEST_F(Ioctls, AnExclusiveBufferBindsInItsOwnVmOnly) {
    const std::uint32_t other = client.create_vm();
    const std::uint32_t bo = client.bo(kPage, 0, client.vm());
    EXPECT_EQ(bind_one(client.vm(), Client::map_op(bo, 0x10000, kPage)), 0);
    EXPECT_EQ(bind_one(other, Client::map_op(bo, 0x10000, kPage)), EINVAL);
}

TEST_F(Ioctls, AnExclusiveBufferDoesNotBindInAnotherVmThatGotTheId) {
    const std::uint32_t id = client.create_vm();
    const std::uint32_t bo = client.bo(kPage, 0, id);
    EXPECT_EQ(client.vm_destroy(id), 0);
    EXPECT_EQ(client.create_vm(), id);
    EXPECT_EQ(bind_one(id, Client::map_op(bo, 0x10000, kPage)), EINVAL);
}

TEST_F(Ioctls, ANoMmapBufferCanBeBound) {
    const std::uint32_t bo = client.bo(kPage, DRM_PANTHOR_BO_NO_MMAP);
    EXPECT_EQ(bind_one(client.vm(), Client::map_op(bo, 0x10000, kPage)), 0);
}

// --- BO_CREATE, BO_MMAP_OFFSET, GEM_CLOSE

TEST_F(Ioctls, BoCreateRoundsUpToPages) {
    for (const auto& [asked, given] :
         {std::pair{1U, 4096U}, {4095U, 4096U}, {4096U, 4096U}, {4097U, 8192U}}) {
        drm_panthor_bo_create args{.size = asked};
        EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_BO_CREATE, args), 0);
        EXPECT_EQ(args.size, given);
    }
    EXPECT_EQ(rig.info().buffers, 4u);
    EXPECT_EQ(rig.info().buffer_bytes, 5 * kPage);
}

TEST_F(Ioctls, BoCreateFindsTheseMistakesInThisOrder) {
    expect_order<drm_panthor_bo_create>(
        [] { return drm_panthor_bo_create{.size = 1}; },
        {{"no size", [](auto& args) { args.size = 0; }},
         {"padding", [](auto& args) { args.pad = 1; }},
         {"flag 1", [](auto& args) { args.flags = 2; }},
         {"flag 31", [](auto& args) { args.flags = 1U << 31; }},
         {"no such VM", [](auto& args) { args.exclusive_vm_id = 1; }},
         {"too large", [](auto& args) { args.size = ~0ULL; }, ENOMEM},
         {"large", [](auto& args) { args.size = 1ULL << 41; }, ENOMEM}},
        [&](auto& args) { return client.ioctl(DRM_IOCTL_PANTHOR_BO_CREATE, args); });
}

TEST_F(Ioctls, BoMemoryIsZeroAtFirst) {
    const Memory memory = client.memory(0, 2 * kPage);
    for (std::uint64_t offset = 0; offset < 2 * kPage; offset += 8) ASSERT_EQ(memory.u64(offset), 0u);
}

TEST_F(Ioctls, BoHandlesStartAtOneAndTheLowestFreeOneIsGiven) {
    for (std::uint32_t handle = 1; handle <= 5; ++handle) EXPECT_EQ(client.bo(), handle);
    EXPECT_EQ(client.gem_close(4), 0);
    EXPECT_EQ(client.gem_close(2), 0);
    EXPECT_EQ(client.bo(), 2u);
    EXPECT_EQ(client.bo(), 4u);
    EXPECT_EQ(client.bo(), 6u);
}

TEST_F(Ioctls, GemCloseOfAnUnknownHandleIsInvalid) {
    client.bo();
    EXPECT_EQ(client.gem_close(0), EINVAL);
    EXPECT_EQ(client.gem_close(2), EINVAL);
    EXPECT_EQ(client.gem_close(1), 0);
    EXPECT_EQ(client.gem_close(1), EINVAL);
    EXPECT_EQ(rig.info().buffers, 0u);
}

TEST_F(Ioctls, BoMmapOffsetFindsTheseMistakesInThisOrder) {
    const std::uint32_t bo = client.bo();
    const std::uint32_t no_mmap = client.bo(1, DRM_PANTHOR_BO_NO_MMAP);
    expect_order<drm_panthor_bo_mmap_offset>(
        [&] { return drm_panthor_bo_mmap_offset{.handle = bo}; },
        {{"padding", [](auto& args) { args.pad = 1; }},
         {"no such buffer", [](auto& args) { args.handle = 99; }, ENOENT},
         {"NO_MMAP", [&](auto& args) { args.handle = no_mmap; }, EPERM}},
        [&](auto& args) { return client.ioctl(DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET, args); });
}

TEST_F(Ioctls, BoMmapOffsetIsTheSameEachTimeAndDiffersBetweenBuffers) {
    const std::uint32_t bo = client.bo();
    EXPECT_EQ(client.mmap_offset(bo), client.mmap_offset(bo));
    EXPECT_NE(client.mmap_offset(bo), client.mmap_offset(client.bo()));
}

// --- GROUP_CREATE

struct GroupRequest {
    drm_panthor_group_create args;
    std::vector<drm_panthor_queue_create> queues;
    std::vector<int> fds;  ///< dup()ed for the call
    drm_panthor_queue_create nowhere{};

    /// The first queue, and the second; a request that has none is wrong for that already.
    drm_panthor_queue_create& first() { return queues.empty() ? nowhere : queues[0]; }
    drm_panthor_queue_create& second() { return queues.size() < 2 ? nowhere : queues[1]; }
};

class GroupCreate : public Ioctls {
  protected:
    GroupRequest good(std::uint32_t flags) {
        return {.args = {.priority = PANTHOR_GROUP_PRIORITY_MEDIUM,
                         .flags = flags,
                         .vm_id = client.vm(),
                         .eventfd_sync_update = -1,
                         .eventfd_group_state = -1,
                         .eventfd_doorbell = -1},
                .queues = queue_creates({.queues = 2})};
    }
    int send(GroupRequest& request) {
        if (request.args.queues.count == 0) request.args.queues = obj_array(request.queues);
        std::vector<base::Fd> fds;
        for (const int fd : request.fds) fds.emplace_back(::dup(fd));
        return client.ioctl(DRM_IOCTL_PANTHOR_GROUP_CREATE, request.args, std::move(fds));
    }
    /// What is wrong whether a group is user-mode or not, and comes before its eventfds are looked at.
    static std::vector<Mistake<GroupRequest>> early_mistakes() {
        return {
            {"33 queues", [](auto& request) { request.queues.resize(33, request.first()); }},
            {"no queues", [](auto& request) { request.queues.clear(); }},
            {"priority 4", [](auto& request) { request.args.priority = 4; }},
            {"high priority", [](auto& request) { request.args.priority = 2; }, EACCES},
            {"realtime priority", [](auto& request) { request.args.priority = 3; }, EACCES},
            {"flag 2", [](auto& request) { request.args.flags |= 4; }},
            {"padding", [](auto& request) { request.args.pad = 1; }},
            {"no such compute core", [](auto& request) { request.args.compute_core_mask = 2; }},
            {"no such fragment core", [](auto& request) { request.args.fragment_core_mask = 2; }},
            {"no such tiler", [](auto& request) { request.args.tiler_core_mask = 2; }},
            {"more compute cores than in the mask",
             [](auto& request) { request.args.max_compute_cores = 1; }},
            {"more fragment cores than in the mask",
             [](auto& request) { request.args.max_fragment_cores = 1; }},
            {"more tilers than in the mask", [](auto& request) { request.args.max_tiler_cores = 1; }},
            {"more queues than a slot has streams",
             [](auto& request) { request.queues.resize(9, request.first()); }},
        };
    }
    static std::vector<Mistake<GroupRequest>> queue_mistakes() {
        return {
            {"queue padding 0", [](auto& request) { request.second().pad[0] = 1; }},
            {"queue padding 1", [](auto& request) { request.second().pad[1] = 1; }},
            {"queue padding 2", [](auto& request) { request.second().pad[2] = 1; }},
            {"no ring", [](auto& request) { request.second().ringbuf_size = 0; }},
            {"a ring of 2 KiB", [](auto& request) { request.second().ringbuf_size = 2048; }},
            {"a ring of 12 KiB", [](auto& request) { request.second().ringbuf_size = 12288; }},
            {"a ring of 128 KiB", [](auto& request) { request.second().ringbuf_size = 131072; }},
            {"queue priority 16", [](auto& request) { request.second().priority = 16; }},
            {"a ring offset", [](auto& request) { request.second().ringbuf_offset = 1; }},
            {"a user I/O offset", [](auto& request) { request.second().user_io_offset = 1; }},
            {"a doorbell offset", [](auto& request) { request.second().doorbell_offset = 1; }},
        };
    }
    void expect_group_order(std::uint32_t flags, std::vector<Mistake<GroupRequest>> mistakes) {
        mistakes.push_back({"no such VM", [](auto& request) { request.args.vm_id = 9; }});
        std::ranges::copy(queue_mistakes(), std::back_inserter(mistakes));
        expect_order<GroupRequest>([&] { return good(flags); }, mistakes,
                                   [&](auto& request) { return send(request); });
    }
};

TEST_F(GroupCreate, FindsTheMistakesOfAKernelModeGroupInThisOrder) {
    auto mistakes = early_mistakes();
    mistakes.push_back({"an eventfd without user submission", [](auto& request) {
                            request.args.flags = DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD;
                        }});
    expect_group_order(0, std::move(mistakes));
}

TEST_F(GroupCreate, FindsTheMistakesOfAUserGroupInThisOrder) {
    auto mistakes = early_mistakes();
    mistakes.push_back(
        {"a sync-update eventfd", [](auto& request) { request.args.eventfd_sync_update = 0; }, EOPNOTSUPP});
    mistakes.push_back(
        {"a group-state eventfd", [](auto& request) { request.args.eventfd_group_state = 0; }, EOPNOTSUPP});
    mistakes.push_back({"a doorbell eventfd that is not there",
                        [](auto& request) {
                            request.args.flags |= DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD;
                            request.args.eventfd_doorbell = -1;
                        },
                        EBADF});
    mistakes.push_back({"a doorbell eventfd that is none", [](auto& request) {
                            request.args.flags |= DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD;
                            request.args.eventfd_doorbell = 0;
                            request.fds = {STDOUT_FILENO};
                        }});
    expect_group_order(DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT, std::move(mistakes));
}

TEST_F(GroupCreate, AFullTableIsFoundAfterTheVmAndBeforeTheQueues) {
    auto request = good(0);
    for (std::uint32_t handle = 1; handle <= 128; ++handle) {
        request = good(0);
        ASSERT_EQ(send(request), 0);
        ASSERT_EQ(request.args.group_handle, handle);
    }
    std::vector<Mistake<GroupRequest>> mistakes{
        {"no such VM", [](auto& wrong) { wrong.args.vm_id = 9; }},
        {"full", [](auto&) {}, EBUSY},
        {"no ring", [](auto& wrong) { wrong.queues[0].ringbuf_size = 0; }, EBUSY},
    };
    for (const auto& mistake : mistakes) {
        request = good(0);
        mistake.make(request);
        EXPECT_EQ(send(request), mistake.answer) << mistake.what;
    }
    EXPECT_EQ(rig.info().groups, 128u);
    EXPECT_EQ(client.group_destroy(77), 0);
    request = good(0);
    EXPECT_EQ(send(request), 0);
    EXPECT_EQ(request.args.group_handle, 77u);
}

TEST_F(GroupCreate, RefusedGroupsLeaveNothingBehind) {
    const auto before = rig.info();
    for (const auto& mistake : queue_mistakes()) {
        auto request = good(DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT);
        mistake.make(request);
        EXPECT_EQ(send(request), EINVAL);
    }
    EXPECT_EQ(rig.info().groups, before.groups);
    EXPECT_EQ(rig.info().buffers, before.buffers);
}

TEST_F(GroupCreate, TakesCoresOfTheMasksAndAsManyQueuesAsASlotHasStreams) {
    auto request = good(DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT);
    request.queues = queue_creates({.queues = 8, .ring_bytes = 65536});
    request.args.compute_core_mask = 0x50005;
    request.args.fragment_core_mask = 0x50001;
    request.args.tiler_core_mask = 1;
    request.args.max_compute_cores = 4;
    request.args.max_fragment_cores = 2;
    request.args.max_tiler_cores = 1;
    request.queues[7].priority = 15;
    EXPECT_EQ(send(request), 0);
}

TEST_F(GroupCreate, AKernelModeGroupHasNothingToMap) {
    auto request = good(0);
    EXPECT_EQ(send(request), 0);
    for (const auto& queue : request.queues) {
        EXPECT_EQ(queue.ringbuf_offset, 0u);
        EXPECT_EQ(queue.user_io_offset, 0u);
        EXPECT_EQ(queue.doorbell_offset, 0u);
    }
}

TEST_F(GroupCreate, IgnoresTheEventfdsOfAKernelModeGroup) {
    auto request = good(0);
    request.args.eventfd_sync_update = request.args.eventfd_group_state = request.args.eventfd_doorbell = 0;
    EXPECT_EQ(send(request), 0);
}

TEST_F(GroupCreate, ADoorbellEventfdWakesTheGpuUntilTheGroupIsGone) {
    const base::Fd eventfd(::eventfd(0, EFD_CLOEXEC));
    auto request = good(DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT | DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD);
    request.args.eventfd_doorbell = 0;
    request.fds = {eventfd.get()};
    EXPECT_EQ(send(request), 0);
    EXPECT_EQ(rig.lines.fds.size(), 1u);
    EXPECT_EQ(client.group_destroy(request.args.group_handle), 0);
    EXPECT_TRUE(rig.lines.fds.empty());
}

// --- GROUP_DESTROY, GROUP_GET_STATE, GROUP_KICK, GROUP_GET_FAULT, DEVICE_INFO

TEST_F(Ioctls, GroupDestroyRefusesPaddingAndUnknownHandles) {
    const std::uint32_t group = client.kernel_group().handle();
    for (const auto& wrong :
         {drm_panthor_group_destroy{.group_handle = group, .pad = 1},
          drm_panthor_group_destroy{.group_handle = 0}, drm_panthor_group_destroy{.group_handle = 2},
          drm_panthor_group_destroy{.group_handle = 129}})
        EXPECT_EQ(call(DRM_IOCTL_PANTHOR_GROUP_DESTROY, wrong), EINVAL);
    EXPECT_EQ(client.group_destroy(group), 0);
    EXPECT_EQ(client.group_destroy(group), EINVAL);
    EXPECT_EQ(rig.info().groups, 0u);
}

TEST_F(Ioctls, AGroupHandleIsFreeAtOnce) {
    EXPECT_EQ(client.user_group().handle(), 1u);
    EXPECT_EQ(client.user_group().handle(), 2u);
    EXPECT_EQ(client.group_destroy(1), 0);
    EXPECT_EQ(client.user_group().handle(), 1u);
}

TEST_F(Ioctls, GroupGetStateRewritesAllSixteenBytes) {
    drm_panthor_group_get_state args{
        .group_handle = client.kernel_group().handle(), .state = 0xffffffff, .fatal_queues = 0xffffffff};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_GROUP_GET_STATE, args), 0);
    EXPECT_EQ(args.group_handle, 0u);
    EXPECT_EQ(args.state, 0u);
    EXPECT_EQ(args.fatal_queues, 0u);
    EXPECT_EQ(args.pad, 0u);
}

TEST_F(Ioctls, GroupGetStateRefusesPaddingAndUnknownHandles) {
    const std::uint32_t group = client.kernel_group().handle();
    for (const auto& wrong :
         {drm_panthor_group_get_state{.group_handle = group, .pad = 1},
          drm_panthor_group_get_state{.group_handle = 0}, drm_panthor_group_get_state{.group_handle = 2}})
        EXPECT_EQ(call(DRM_IOCTL_PANTHOR_GROUP_GET_STATE, wrong), EINVAL);
}

TEST_F(Ioctls, GroupKickOfAnUnknownHandleIsIgnored) {
    EXPECT_EQ(client.kick(0), 0);
    EXPECT_EQ(client.kick(1), 0);
    EXPECT_EQ(client.kick(~0U, ~0U), 0);
}

TEST_F(Ioctls, GroupGetFaultRefusesPaddingAndUnknownHandles) {
    const std::uint32_t group = client.kernel_group().handle();
    for (const auto& wrong :
         {belfry_group_get_fault{.group_handle = group, .pad = 1}, belfry_group_get_fault{.group_handle = 0},
          belfry_group_get_fault{.group_handle = 2}})
        EXPECT_EQ(call(DRM_IOCTL_BELFRY_GROUP_GET_FAULT, wrong), EINVAL);
}

TEST_F(Ioctls, GroupGetFaultOfAHealthyGroupSaysSo) {
    belfry_group_get_fault args{.group_handle = client.kernel_group().handle(), .flags = ~0U, .address = 1};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_BELFRY_GROUP_GET_FAULT, args), 0);
    EXPECT_EQ(args.group_handle, 1u);
    EXPECT_EQ(args.flags, 0u);
    EXPECT_EQ(args.address, 0u);
}

TEST_F(Ioctls, DeviceInfoCountsWhatThereIs) {
    rig.open();
    client.bo(3 * kPage);
    client.user_group();
    belfry_device_info info{};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_BELFRY_DEVICE_INFO, info), 0);
    EXPECT_EQ(info.files, 2u);
    EXPECT_EQ(info.vms, 1u);
    EXPECT_EQ(info.groups, 1u);
    EXPECT_EQ(info.groups_on_slot, 0u);
    EXPECT_EQ(info.groups_waiting, 0u);
    EXPECT_EQ(info.buffers, 2u);  // with the ring
    EXPECT_EQ(info.buffer_bytes, 4 * kPage);
    EXPECT_EQ(info.requests, 4u);
}

// --- GROUP_SUBMIT: what it refuses

class GroupSubmit : public Ioctls {
  protected:
    struct Request {
        drm_panthor_group_submit args;
        std::vector<drm_panthor_queue_submit> jobs;
        std::vector<drm_panthor_sync_op> first_syncs;   // of job 0
        std::vector<drm_panthor_sync_op> second_syncs;  // of job 1
    };

    Request good() {
        return {.args = {.group_handle = group.handle()},
                .jobs = {{.stream_size = stream.bytes, .stream_addr = stream.va}, {.queue_index = 1}},
                .first_syncs = {wait_op(ready), signal_op(unsubmitted)},
                .second_syncs = {wait_op(ready)}};
    }
    int send(Request& request) {
        request.jobs[0].syncs = obj_array(request.first_syncs);
        request.jobs[1].syncs = obj_array(request.second_syncs);
        request.args.queue_submits = obj_array(request.jobs);
        const int result = client.ioctl(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, request.args);
        // What a good one signals must be unsubmitted again for the next.
        std::vector<std::uint32_t> handles{unsubmitted};
        EXPECT_EQ(result == 0, client.has_fence(unsubmitted));
        EXPECT_EQ(call(DRM_IOCTL_SYNCOBJ_RESET,
                       drm_syncobj_array{.handles = reinterpret_cast<std::uint64_t>(handles.data()),
                                         .count_handles = 1}),
                  0);
        return result;
    }
    /// In a new group each time, since it kills it.
    KernelGroup& dead_group() {
        KernelGroup& dead = client.kernel_group();
        const Stream bad = client.stream([](W& w) { w.word(kBadWord); });
        EXPECT_EQ(dead.submit({{.stream = bad}}), 0);
        rig.run_until_idle();
        EXPECT_EQ(dead.state().fatal_queues, 1u);
        return dead;
    }

    Stream stream = client.stream([](W& w) { w.nop(); });
    KernelGroup& group = client.kernel_group({.queues = 2});
    UserGroup& user = client.user_group();
    std::uint32_t ready = client.syncobj(true);
    std::uint32_t unsubmitted = client.syncobj();
    std::uint32_t other = client.syncobj();
};

TEST_F(GroupSubmit, FindsTheMistakesOfJobsAndSignalsBeforeThoseOfWaits) {
    // All of these are EINVAL; what can be told apart is that a wait's ENOENT comes after them.
    const std::uint32_t dead = dead_group().handle();
    expect_order<Request>(
        [&] { return good(); },
        {
            {"padding", [](auto& request) { request.args.pad = 1; }},
            {"job padding", [](auto& request) { request.jobs[1].pad = 1; }},
            {"a size without an address", [](auto& request) { request.jobs[1].stream_size = 8; }},
            {"an address without a size", [](auto& request) { request.jobs[0].stream_size = 0; }},
            {"an address that is not a cache line's",
             [](auto& request) { request.jobs[0].stream_addr += 8; }},
            {"a size that is not of instructions", [](auto& request) { request.jobs[0].stream_size = 12; }},
            {"flush id bit 24", [](auto& request) { request.jobs[0].latest_flush = 1U << 24; }},
            {"flush id bit 30", [](auto& request) { request.jobs[0].latest_flush = 1U << 30; }},
            {"no such group", [](auto& request) { request.args.group_handle = 99; }},
            {"a group that has ended", [&](auto& request) { request.args.group_handle = dead; }},
            {"a user group", [&](auto& request) { request.args.group_handle = user.handle(); }},
            {"no such queue", [](auto& request) { request.jobs[1].queue_index = 2; }},
            {"a signal's flag 8", [](auto& request) { request.first_syncs[1].flags |= 1U << 8; }},
            {"a signal's handle type 2", [](auto& request) { request.first_syncs[1].flags |= 2; }},
            {"a point for a binary signal", [](auto& request) { request.first_syncs[1].timeline_value = 1; }},
            {"no such syncobj to signal", [](auto& request) { request.first_syncs[1].handle = 99; }},
            {"no such syncobj to wait for", [](auto& request) { request.first_syncs[0].handle = 99; },
             ENOENT},
            {"an unsubmitted one to wait for, later",
             [&](auto& request) { request.second_syncs[0].handle = other; }},
        },
        [&](auto& request) { return send(request); });
}

TEST_F(GroupSubmit, FindsTheFlagsOfAWaitBeforeItsSyncobj) {
    expect_order<Request>(
        [&] { return good(); },
        {{"flag 8", [](auto& request) { request.first_syncs[0].flags = 1U << 8; }},
         {"handle type 2", [](auto& request) { request.first_syncs[0].flags = 2; }},
         {"a point for a binary wait", [](auto& request) { request.first_syncs[0].timeline_value = 1; }},
         {"no such syncobj", [](auto& request) { request.first_syncs[0].handle = 99; }, ENOENT},
         {"no such syncobj, next job", [](auto& request) { request.second_syncs[0].handle = 99; }, ENOENT}},
        [&](auto& request) { return send(request); });
}

TEST_F(GroupSubmit, FindsTheMistakesOfWaitsInTheOrderOfTheJobs) {
    auto request = good();
    request.first_syncs[0].handle = other;  // unsubmitted
    request.second_syncs[0].handle = 99;    // unknown
    EXPECT_EQ(send(request), EINVAL);
    request = good();
    request.first_syncs[0].handle = 99;
    request.second_syncs[0].handle = other;
    EXPECT_EQ(send(request), ENOENT);
}

TEST_F(GroupSubmit, OfNothingSucceedsForAnyGroup) {
    EXPECT_EQ(call(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, drm_panthor_group_submit{.group_handle = 99}), 0);
    EXPECT_EQ(call(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, drm_panthor_group_submit{.group_handle = 99, .pad = 1}),
              EINVAL);
}

TEST_F(GroupSubmit, CutsTheHandleToSixteenBits) {
    auto request = good();
    request.args.group_handle |= 0xabcd0000;
    EXPECT_EQ(send(request), 0);
}

TEST_F(GroupSubmit, TakesTheFlushIdsThatTheGpuGives) {
    auto request = good();
    request.jobs[0].latest_flush = 0x80ffffff;
    EXPECT_EQ(send(request), 0);
}

// --- mmap

class Mmap : public Ioctls {
  protected:
    int error(std::uint64_t offset, std::uint64_t bytes, int protection = PROT_READ | PROT_WRITE) {
        return error(client, offset, bytes, protection);
    }
    static int error(Client& by, std::uint64_t offset, std::uint64_t bytes,
                     int protection = PROT_READ | PROT_WRITE) {
        const auto segments = by.mmap(offset, bytes, protection);
        return segments ? 0 : static_cast<int>(segments.error());
    }
};

TEST_F(Mmap, OfABufferIsOneSegmentThatMayBeWritten) {
    const auto segments = client.mmap(client.mmap_offset(client.bo(2 * kPage)), 2 * kPage).value();
    ASSERT_EQ(segments.size(), 1u);
    EXPECT_EQ(segments[0].fd_offset, 0u);
    EXPECT_EQ(segments[0].bytes, 2 * kPage);
    EXPECT_EQ(segments[0].access, base::Access::read_write);
}

TEST_F(Mmap, OfABufferMayBeShorterAndIsWholePages) {
    const std::uint64_t offset = client.mmap_offset(client.bo(2 * kPage));
    EXPECT_EQ(client.mmap(offset, 1).value()[0].bytes, kPage);
    EXPECT_EQ(client.mmap(offset, kPage + 1).value()[0].bytes, 2 * kPage);
}

TEST_F(Mmap, OfABufferRefusesWrongOffsetsAndLengths) {
    const std::uint64_t offset = client.mmap_offset(client.bo(2 * kPage));
    EXPECT_EQ(error(offset, 0), EINVAL);
    EXPECT_EQ(error(offset, 2 * kPage + 1), EINVAL);
    EXPECT_EQ(error(offset, ~0ULL), EINVAL);  // rounds to nothing
    EXPECT_EQ(error(offset + 1, kPage), EINVAL);
    EXPECT_EQ(error(offset + kPage, kPage), EINVAL);
    EXPECT_EQ(error(offset - kPage, kPage), EINVAL);
    EXPECT_EQ(error(0, kPage), EINVAL);
}

TEST_F(Mmap, OfABufferThatIsNotOpenInThisFileIsAnAccessError) {
    const std::uint64_t offset = client.mmap_offset(client.bo());
    Client& other = rig.open();
    EXPECT_EQ(error(other, offset, kPage), EACCES);
    other.bo();  // the same handle does not make it the same buffer
    EXPECT_EQ(error(other, offset, kPage), EACCES);
}

TEST_F(Mmap, OfABufferThatIsGoneIsInvalid) {
    const std::uint32_t bo = client.bo();
    const std::uint64_t offset = client.mmap_offset(bo);
    client.gem_close(bo);
    EXPECT_EQ(error(offset, kPage), EINVAL);
}

TEST_F(Mmap, OfABufferThatIsClosedButBoundIsAnAccessError) {
    const Memory memory = client.memory();
    const std::uint64_t offset = client.mmap_offset(memory.handle);
    client.gem_close(memory.handle);
    EXPECT_EQ(error(offset, kPage), EACCES);
}

TEST_F(Mmap, OfADoorbellIsOnePageAndNeverCode) {
    const std::uint64_t offset = client.user_group().offsets(0).doorbell_offset;
    EXPECT_EQ(error(offset, kPage), 0);
    EXPECT_EQ(error(offset, 1), 0);
    EXPECT_EQ(error(offset, kPage, PROT_WRITE), 0);
    EXPECT_EQ(error(offset, 2 * kPage), EINVAL);
    EXPECT_EQ(error(offset, 0), EINVAL);
    EXPECT_EQ(error(offset, ~0ULL), EINVAL);
    EXPECT_EQ(error(offset, kPage, PROT_READ | PROT_EXEC), EINVAL);
}

TEST_F(Mmap, OfUserIoIsAPageToWriteAndAPageToReadOnly) {
    UserGroup& group = client.user_group({.queues = 2});
    const auto segments = client.mmap(group.offsets(1).user_io_offset, 2 * kPage).value();
    ASSERT_EQ(segments.size(), 2u);
    EXPECT_EQ(segments[0].bytes, kPage);
    EXPECT_EQ(segments[0].access, base::Access::read_write);
    EXPECT_EQ(segments[1].bytes, kPage);
    EXPECT_EQ(segments[1].access, base::Access::read);
    EXPECT_EQ(error(group.offsets(1).user_io_offset, kPage), EINVAL);
    EXPECT_EQ(error(group.offsets(1).user_io_offset, 3 * kPage), EINVAL);
    EXPECT_EQ(error(group.offsets(1).user_io_offset, 2 * kPage, PROT_EXEC), EINVAL);
}

TEST_F(Mmap, TheOutputPageCannotBeMappedForWritingWhateverTheProgramTries) {  // H2
    const auto segments = client.mmap(client.user_group().offsets(0).user_io_offset, 2 * kPage).value();
    EXPECT_FALSE(base::map_shared(segments[1].fd, segments[1].fd_offset, kPage, base::Access::read_write));
    std::uint64_t forged = 64;
    EXPECT_LT(::pwrite(segments[1].fd, &forged, sizeof forged, 0), 0);
}

TEST_F(Mmap, OfARingIsUpToItsSize) {
    const std::uint64_t offset = client.user_group({.ring_bytes = 16384}).offsets(0).ringbuf_offset;
    EXPECT_EQ(client.mmap(offset, 16384).value()[0].access, base::Access::read_write);
    EXPECT_EQ(error(offset, kPage), 0);
    EXPECT_EQ(error(offset, 16385), EINVAL);
    EXPECT_EQ(error(offset, ~0ULL), EINVAL);
    EXPECT_EQ(error(offset, 16384, PROT_READ | PROT_EXEC), EINVAL);
}

TEST_F(Mmap, OfUserMmioRefusesWhatNobodyGave) {
    UserGroup& group = client.user_group();
    const std::uint64_t ring = group.offsets(0).ringbuf_offset;
    const std::uint64_t doorbell = group.offsets(0).doorbell_offset;
    EXPECT_EQ(error(DRM_PANTHOR_USER_MMIO_OFFSET, kPage),
              EINVAL);  // the flush id page, which is still to come
    EXPECT_EQ(error(ring + kPage, kPage), EINVAL);
    EXPECT_EQ(error(ring + (1ULL << 16), kPage), EINVAL);  // queue 1
    EXPECT_EQ(error(ring + (1ULL << 21), kPage), EINVAL);  // the next group
    EXPECT_EQ(error(ring | 1ULL << 57, kPage), EINVAL);
    EXPECT_EQ(error(ring | 1ULL << 63, kPage), EINVAL);
    EXPECT_EQ(error(doorbell + (1ULL << 54), kPage), EINVAL);
}

TEST_F(Mmap, OfAnotherFilesQueueIsInvalid) {
    const std::uint64_t offset = client.user_group().offsets(0).ringbuf_offset;
    Client& other = rig.open();
    other.user_group();
    EXPECT_EQ(error(other, offset, kPage), EINVAL);
}

TEST_F(Mmap, OfADestroyedGroupIsInvalidAlsoWhenItsHandleLivesAgain) {  // G16
    UserGroup& group = client.user_group();
    const auto stale = group.offsets(0);
    EXPECT_EQ(group.destroy(), 0);
    UserGroup& next = client.user_group();
    EXPECT_EQ(next.handle(), group.handle());
    EXPECT_EQ(error(stale.ringbuf_offset, kPage), EINVAL);
    EXPECT_EQ(error(stale.user_io_offset, 2 * kPage), EINVAL);
    EXPECT_EQ(error(stale.doorbell_offset, kPage), EINVAL);
}

TEST_F(Mmap, MappingsOutliveTheirGroup) {
    UserGroup& group = client.user_group();
    group.queue(0).submit([](W& w) { w.nop(); });
    EXPECT_EQ(group.destroy(), 0);
    rig.run_until_idle();
    group.queue(0).submit([](W& w) { w.nop(); });
    group.queue(0).ring();
    EXPECT_EQ(group.queue(0).output().active, 0u);
}

}  // namespace
}  // namespace belfry::panthor
