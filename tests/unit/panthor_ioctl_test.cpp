// What panthor's ioctls on the device, its VMs and its buffers answer, and which mistake is found first
// (facts/uapi.md 1.4 to 1.10, 1.17, 1.18). Those on groups are in panthor_ioctl_group_test.cpp, mmap in
// panthor_ioctl_mmap_test.cpp.
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "unit/panthor_ioctls.hpp"

namespace belfry::panthor {
namespace {

TEST_F(Ioctls, ARequestThatNobodyHandlesIsInvalid) {
    drm_panthor_vm_destroy args{};
    for (const unsigned number : {0x50U, 0x6fU, 0x75U, 0x77U, 0x9fU})
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
    EXPECT_EQ(gpu.shader_present, 1u);  // one core, as the rig has it
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

TEST_F(Ioctls, DevQueryTellsTheWholeOfAMaliG610) {
    drm_panthor_gpu_info gpu{};
    std::memset(&gpu, 0xff, sizeof gpu);
    EXPECT_EQ(call(DRM_IOCTL_PANTHOR_DEV_QUERY,
                   drm_panthor_dev_query{.type = DRM_PANTHOR_DEV_QUERY_GPU_INFO,
                                         .size = sizeof gpu,
                                         .pointer = reinterpret_cast<std::uint64_t>(&gpu)}),
              0);
    const drm_panthor_gpu_info g610{.gpu_id = 0xa8670005,
                                    .csf_id = 0x040a0412,
                                    .l2_features = 0x07120306,
                                    .tiler_features = 0x809,
                                    .mem_features = 0x301,
                                    .mmu_features = 0x2830,
                                    .thread_features = 0x04010000,
                                    .max_threads = 2048,
                                    .thread_max_workgroup_size = 1024,
                                    .thread_max_barrier_size = 1024,
                                    .texture_features = {0x000e001e},  // of a board: more formats
                                    .as_present = 0xffff,
                                    .shader_present = 1,  // but for its number of cores
                                    .l2_present = 1,
                                    .tiler_present = 1};
    EXPECT_EQ(std::memcmp(&gpu, &g610, sizeof gpu), 0);
}

TEST_F(Ioctls, DevQueryTellsThePrioritiesOfWhoAsks) {
    const auto mask = [](Client& by) {
        drm_panthor_group_priorities_info priorities{};
        drm_panthor_dev_query args{.type = DRM_PANTHOR_DEV_QUERY_GROUP_PRIORITIES_INFO,
                                   .size = sizeof priorities,
                                   .pointer = reinterpret_cast<std::uint64_t>(&priorities)};
        EXPECT_EQ(by.ioctl(DRM_IOCTL_PANTHOR_DEV_QUERY, args), 0);
        return priorities.allowed_mask;
    };
    EXPECT_EQ(mask(client), 0b0011);
    EXPECT_EQ(mask(rig.open({.may_admin = true})), 0b0011);
    EXPECT_EQ(mask(rig.open({.may_nice = true})), 0b1111);
    Client& master = rig.open({}, drm::NodeKind::primary);
    EXPECT_EQ(mask(master), 0b1111);
    EXPECT_EQ(mask(rig.open({}, drm::NodeKind::primary)), 0b0011);
    std::uint32_t none = 0;
    EXPECT_EQ(master.ioctl(DRM_IOCTL_DROP_MASTER, none), 0);
    EXPECT_EQ(mask(master), 0b0011);
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

TEST_F(Ioctls, VmBindFindsTheVmBeforeTheOps) {
    struct Request {
        std::uint32_t vm;
        drm_panthor_vm_bind_op op;
    };
    const std::uint32_t bo = client.bo();
    expect_order<Request>(
        [&] { return Request{.vm = client.vm(), .op = Client::map_op(bo, 0x10000, kPage)}; },
        {{"no such VM", [](auto& request) { request.vm = 9; }},
         {"a bad op", [](auto& request) { request.op.va = 1; }}},
        [&](auto& request) { return client.bind(request.vm, {request.op})->answer().value_or(-1); });
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

// --- BO_SET_LABEL, SET_USER_MMIO_OFFSET

TEST_F(Ioctls, BoSetLabelFindsTheseMistakesInThisOrder) {
    const std::uint32_t bo = client.bo();
    const std::string longest(4095, 'x');
    const std::string too_long(4096, 'x');
    expect_order<drm_panthor_bo_set_label>(
        [&] {
            return drm_panthor_bo_set_label{.handle = bo,
                                            .label = reinterpret_cast<std::uint64_t>(longest.c_str())};
        },
        {{"padding", [](auto& args) { args.pad = 1; }},
         {"no such buffer", [](auto& args) { args.handle = 99; }, ENOENT},
         {"too long", [&](auto& args) { args.label = reinterpret_cast<std::uint64_t>(too_long.c_str()); },
          E2BIG}},
        [&](auto& args) { return client.ioctl(DRM_IOCTL_PANTHOR_BO_SET_LABEL, args); });
}

TEST_F(Ioctls, ALabelStaysWithTheBufferUntilItIsClearedOrReplaced) {
    const std::uint32_t bo = client.bo();
    const drm::BufferPtr buffer = client.find_buffer(bo);
    const auto label = [&](const char* text) {
        EXPECT_EQ(
            call(DRM_IOCTL_PANTHOR_BO_SET_LABEL,
                 drm_panthor_bo_set_label{.handle = bo, .label = reinterpret_cast<std::uint64_t>(text)}),
            0);
        return buffer->label;
    };
    EXPECT_FALSE(buffer->label);
    EXPECT_EQ(label("framebuffer"), "framebuffer");
    EXPECT_EQ(label(""), "");  // a label, too
    EXPECT_EQ(label(nullptr), std::nullopt);
}

TEST_F(Ioctls, TheUserMmioOffsetIsOneOfTwo) {
    for (const std::uint64_t offset :
         {0ULL, 1ULL << 42, (1ULL << 43) + 1, 1ULL << 44, 1ULL << 55, 1ULL << 57})
        EXPECT_EQ(
            call(DRM_IOCTL_PANTHOR_SET_USER_MMIO_OFFSET, drm_panthor_set_user_mmio_offset{.offset = offset}),
            EINVAL);
    for (const std::uint64_t offset : {1ULL << 43, 1ULL << 56})
        EXPECT_EQ(
            call(DRM_IOCTL_PANTHOR_SET_USER_MMIO_OFFSET, drm_panthor_set_user_mmio_offset{.offset = offset}),
            0);
}

// --- both nodes

TEST_F(Ioctls, ThePrimaryNodeAnswersDriverAndSyncobjRequestsToAnybody) {
    rig.open({}, drm::NodeKind::primary);
    Client& unauthenticated = rig.open({}, drm::NodeKind::primary);
    const Memory memory = unauthenticated.memory();
    unauthenticated.user_group().queue(0).run([&](W& w) { add_one(w, memory.va); });
    EXPECT_EQ(memory.u64(), 1u);
    unauthenticated.syncobj();
}

TEST_F(Ioctls, ABufferOpenedByNameMayBeMappedAndBound) {
    Client& first = rig.open({.may_admin = true}, drm::NodeKind::primary);
    Client& second = rig.open({.may_admin = true}, drm::NodeKind::primary);
    const Memory memory = first.memory();
    drm_gem_flink flink{.handle = memory.handle};
    EXPECT_EQ(first.ioctl(DRM_IOCTL_GEM_FLINK, flink), 0);
    drm_gem_open open{.name = flink.name};
    EXPECT_EQ(second.ioctl(DRM_IOCTL_GEM_OPEN, open), 0);
    memory.u64() = 42;
    const auto mapping = std::move(second.map(second.mmap_offset(open.handle), kPage).at(0));
    EXPECT_EQ(*reinterpret_cast<std::uint64_t*>(mapping.data()), 42u);
    EXPECT_EQ(second.bind(second.vm(), {Client::map_op(open.handle, 0x1000, kPage)})->answer(), 0);
}

TEST_F(Ioctls, ABufferIsSharedWithAnotherFileThroughADmaBuf) {
    const Memory memory = client.memory();
    const auto exported =
        client.start(DRM_IOCTL_PRIME_HANDLE_TO_FD, drm_prime_handle{.handle = memory.handle});
    ASSERT_EQ(exported->answer(), 0);
    Client& other = rig.open();
    std::vector<base::Fd> fds;
    fds.push_back(*exported->given_fds()[0].duplicate());
    drm_prime_handle args{.fd = 0};
    ASSERT_EQ(other.ioctl(DRM_IOCTL_PRIME_FD_TO_HANDLE, args, std::move(fds)), 0);
    EXPECT_EQ(other.find_buffer(args.handle), client.find_buffer(memory.handle));
    memory.u64() = 7;
    const auto mapping = std::move(other.map(other.mmap_offset(args.handle), kPage).at(0));
    EXPECT_EQ(*reinterpret_cast<std::uint64_t*>(mapping.data()), 7u);
    EXPECT_EQ(other.bind(other.vm(), {Client::map_op(args.handle, 0x1000, kPage)})->answer(), 0);
}

TEST_F(Ioctls, AnExclusiveBufferIsNotExported) {
    const std::uint32_t bo = client.bo(kPage, 0, client.vm());
    EXPECT_EQ(call(DRM_IOCTL_PRIME_HANDLE_TO_FD, drm_prime_handle{.handle = bo}), EINVAL);
}

TEST_F(Ioctls, AClosedFileLeavesOnlyWhatWasExported) {
    Client& other = rig.open({}, drm::NodeKind::primary);
    const Memory memory = other.memory();
    other.user_group();
    const auto exported =
        other.start(DRM_IOCTL_PRIME_HANDLE_TO_FD, drm_prime_handle{.handle = memory.handle});
    const drm::Inode inode = *drm::inode_of(exported->given_fds()[0].get());
    rig.close(other);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().files, 1u);
    EXPECT_EQ(rig.info().vms, 0u);
    EXPECT_EQ(rig.info().groups, 0u);
    EXPECT_EQ(rig.info().buffers, 1u);  // what somebody holds by its descriptor
    rig.exports.close(inode);
    EXPECT_EQ(rig.info().buffers, 0u);
}

}  // namespace
}  // namespace belfry::panthor
