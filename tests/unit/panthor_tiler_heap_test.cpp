// Tiler heaps: what is refused, what the GPU finds in them, and who they go with.
#include <cerrno>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "unit/panthor_ioctls.hpp"

namespace belfry::panthor {
namespace {

constexpr std::uint32_t kChunkBytes = 128U << 10;
constexpr std::uint32_t kHeapsMax = 128;

class TilerHeap : public testing::Test {
  protected:
    drm_panthor_tiler_heap_create good() {
        return {.vm_id = client.vm(),
                .initial_chunk_count = 3,
                .chunk_size = kChunkBytes,
                .max_chunks = 64,
                .target_in_flight = 65535};
    }
    int create(drm_panthor_tiler_heap_create& args) {
        return client.ioctl(DRM_IOCTL_PANTHOR_TILER_HEAP_CREATE, args);
    }
    drm_panthor_tiler_heap_create heap() {
        auto args = good();
        EXPECT_EQ(create(args), 0);
        return args;
    }
    std::shared_ptr<TestCall> start_destroy(std::uint32_t handle) {
        return client.start(DRM_IOCTL_PANTHOR_TILER_HEAP_DESTROY,
                            drm_panthor_tiler_heap_destroy{.handle = handle});
    }
    int destroy(std::uint32_t handle) { return start_destroy(handle)->answer().value_or(-1); }
    /// What the GPU reads at `va`; nothing if it faults.
    std::optional<std::uint64_t> read(std::uint64_t va) {
        const Memory out = client.memory();
        const std::uint32_t done = client.syncobj();
        KernelGroup& group = client.kernel_group();
        const Stream stream = client.stream([&](W& w) {
            w.move48(d(60), va).load_multiple(r(64), 3, d(60)).wait(kAllSlots);
            w.move48(d(60), out.va).store_multiple(r(64), 3, d(60)).wait(kAllSlots);
        });
        EXPECT_EQ(group.submit({{.stream = stream, .syncs = {signal_op(done)}}}), 0);
        rig.run_until_idle();
        EXPECT_EQ(group.destroy(), 0);
        rig.run_until_idle();
        if (client.fence_status(done) != 1) return std::nullopt;
        return out.u64();
    }

    Rig rig;
    Client& client = rig.open();
};

TEST_F(TilerHeap, CreateFindsTheseMistakesInThisOrder) {
    expect_order<drm_panthor_tiler_heap_create>(
        [&] { return good(); },
        {{"no such VM", [](auto& args) { args.vm_id = 9; }},
         {"no chunk", [](auto& args) { args.initial_chunk_count = 0; }},
         {"more chunks than it may have", [](auto& args) { args.max_chunks = args.initial_chunk_count - 1; }},
         {"chunks that are not whole pages", [](auto& args) { args.chunk_size += 1; }},
         {"small chunks", [](auto& args) { args.chunk_size = kChunkBytes - 4096; }},
         {"large chunks", [](auto& args) { args.chunk_size = (8U << 20) + 4096; }},
         {"more than one request may cost",
          [](auto& args) {
              args.initial_chunk_count = ~0U;
              args.max_chunks = ~0U;
          },
          ENOMEM}},
        [&](auto& args) { return create(args); });
}

TEST_F(TilerHeap, TakesTheSmallestAndTheLargestChunks) {
    for (const std::uint32_t bytes : {128U << 10, 8U << 20}) {
        auto args = good();
        args.chunk_size = bytes;
        EXPECT_EQ(create(args), 0);
    }
}

TEST_F(TilerHeap, AHandleNamesItsVmAndTheLowestFreeHeapOfIt) {
    const std::uint32_t second_vm = (client.vm(), client.create_vm());
    EXPECT_EQ(heap().handle, client.vm() << 16);
    EXPECT_EQ(heap().handle, client.vm() << 16 | 1);
    auto args = good();
    args.vm_id = second_vm;
    EXPECT_EQ(create(args), 0);
    EXPECT_EQ(args.handle, second_vm << 16);
    EXPECT_EQ(destroy(client.vm() << 16), 0);
    EXPECT_EQ(heap().handle, client.vm() << 16);
}

TEST_F(TilerHeap, ThereAreAHundredAndTwentyEightInAVm) {
    for (std::uint32_t i = 0; i < kHeapsMax; ++i) EXPECT_EQ(heap().handle & 0xffff, i);
    const std::uint64_t before = rig.info().buffer_bytes;
    auto args = good();
    EXPECT_EQ(create(args), EBUSY);
    EXPECT_EQ(rig.info().buffer_bytes, before);
    args = good();
    args.vm_id = client.create_vm();
    EXPECT_EQ(create(args), 0);
}

TEST_F(TilerHeap, LiesInTheKernelsPartOfTheVm) {
    drm_panthor_vm_create vm{};
    ASSERT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, vm), 0);
    auto args = good();
    args.vm_id = vm.id;
    ASSERT_EQ(create(args), 0);
    EXPECT_GE(args.tiler_heap_ctx_gpu_va, vm.user_va_range);
    EXPECT_GE(args.first_heap_chunk_gpu_va, vm.user_va_range);
    EXPECT_EQ(args.tiler_heap_ctx_gpu_va % 64, 0u);
    EXPECT_EQ(args.first_heap_chunk_gpu_va % kPage, 0u);
}

TEST_F(TilerHeap, ContextsAreZeroAndALineApart) {
    const auto first = heap();
    const auto second = heap();
    EXPECT_EQ(second.tiler_heap_ctx_gpu_va - first.tiler_heap_ctx_gpu_va, 64u);
    EXPECT_EQ(read(second.tiler_heap_ctx_gpu_va), 0u);
}

TEST_F(TilerHeap, AContextThatIsGivenAgainIsZeroAgain) {
    const auto first = heap();
    KernelGroup& group = client.kernel_group();
    ASSERT_EQ(
        group.submit({{.stream = client.stream([&](W& w) { store(w, first.tiler_heap_ctx_gpu_va, 7); })}}),
        0);
    rig.run_until_idle();
    EXPECT_EQ(read(first.tiler_heap_ctx_gpu_va), 7u);
    ASSERT_EQ(group.destroy(), 0);
    rig.run_until_idle();
    ASSERT_EQ(destroy(first.handle), 0);
    const auto again = heap();
    ASSERT_EQ(again.tiler_heap_ctx_gpu_va, first.tiler_heap_ctx_gpu_va);
    EXPECT_EQ(read(again.tiler_heap_ctx_gpu_va), 0u);
}

TEST_F(TilerHeap, TheHeadersOfTheChunksLinkThemAndSayHowLargeTheyAre) {
    const auto created = heap();
    std::uint64_t chunk = created.first_heap_chunk_gpu_va;
    for (std::uint32_t i = 1; i < created.initial_chunk_count; ++i) {
        const std::uint64_t header = read(chunk).value();
        EXPECT_EQ(header & 0xfff, kChunkBytes >> 12);
        const std::uint64_t next = header & ~std::uint64_t{0xfff};
        EXPECT_NE(next, chunk);
        EXPECT_TRUE(read(chunk + kChunkBytes - 8)) << "all of it is mapped";
        chunk = next;
    }
    EXPECT_EQ(read(chunk), 0u) << "the last one";
}

TEST_F(TilerHeap, DestroyFindsTheseMistakesInThisOrder) {
    const std::uint32_t handle = heap().handle;
    drm_panthor_tiler_heap_destroy args{.handle = handle, .pad = 1};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_TILER_HEAP_DESTROY, args), EINVAL);
    EXPECT_EQ(destroy(9U << 16), EINVAL) << "no such VM";
    EXPECT_EQ(destroy(handle + 1), EINVAL) << "no such heap";
    EXPECT_EQ(destroy(handle | 0xffff), EINVAL) << "no such heap";
    EXPECT_EQ(destroy(handle), 0);
    EXPECT_EQ(destroy(handle), EINVAL);
}

TEST_F(TilerHeap, DestroyInAVmThatNeverHadAnyFindsNoEntry) {
    const std::uint32_t vm = client.create_vm();
    EXPECT_EQ(destroy(vm << 16), ENOENT);
    auto args = good();
    args.vm_id = vm;
    args.initial_chunk_count = 0;
    EXPECT_EQ(create(args), EINVAL);
    EXPECT_EQ(destroy(vm << 16), EINVAL) << "it has been asked for one";
}

TEST_F(TilerHeap, IsGoneFromTheGpuWhenItIsDestroyed) {
    const auto created = heap();
    // The last chunk: a group's ring may get the first one's address.
    const std::uint64_t chunk = created.first_heap_chunk_gpu_va + 2 * kChunkBytes;
    EXPECT_TRUE(read(chunk));
    EXPECT_EQ(destroy(created.handle), 0);
    EXPECT_FALSE(read(chunk));
    EXPECT_TRUE(read(created.tiler_heap_ctx_gpu_va)) << "the contexts stay";
}

TEST_F(TilerHeap, DestroyIsAnsweredWhenTheGpuHasFlushed) {
    UserGroup& group = client.user_group();
    group.queue(0).run([](W& w) { w.nop(); });
    const auto created = heap();
    const auto before = rig.info();
    const auto call = start_destroy(created.handle);
    EXPECT_FALSE(call->answered());
    EXPECT_EQ(rig.info().buffers, before.buffers);
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(rig.info().buffers, before.buffers - 1);
}

TEST_F(TilerHeap, GoesWithItsVmAlsoIfAGroupStillHoldsThat) {
    UserGroup& group = client.user_group();
    group.queue(0).run([](W& w) { w.nop(); });
    const auto before = rig.info();
    heap();
    heap();
    EXPECT_EQ(client.vm_destroy(client.vm()), 0);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().buffers, before.buffers);
    EXPECT_EQ(group.state().state, 0u);
}

TEST_F(TilerHeap, GoesWithItsFile) {
    heap();
    rig.close(client);
    EXPECT_EQ(rig.info().buffers, 0u);
}

TEST_F(TilerHeap, ThatTheProgramHasBoundOverIsStillDestroyed) {
    const auto created = heap();
    const std::uint32_t bo = client.bo();
    ASSERT_EQ(
        client.bind(client.vm(), {Client::map_op(bo, created.first_heap_chunk_gpu_va, kPage)})->answer(), 0);
    EXPECT_EQ(client.gem_close(bo), 0);
    EXPECT_EQ(destroy(created.handle), 0);
    EXPECT_EQ(rig.info().buffers, 1u) << "the contexts";
}

TEST_F(TilerHeap, HeapsThatComeAndGoFindRoomInTheSmallestKernelPart) {
    drm_panthor_vm_create vm{.user_va_range = (1ULL << 48) - (256ULL << 20)};
    ASSERT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, vm), 0);
    auto large = good();
    large.vm_id = vm.id;
    large.chunk_size = 8U << 20;
    large.initial_chunk_count = 10;
    for (int i = 0; i < 20; ++i) {
        auto first = large;
        auto second = large;
        auto third = large;
        auto fourth = large;
        ASSERT_EQ(create(first), 0);
        ASSERT_EQ(create(second), 0);
        ASSERT_EQ(create(third), 0);
        ASSERT_EQ(create(fourth), ENOMEM);
        // In each order, so that the holes must grow together again.
        ASSERT_EQ(destroy(second.handle), 0);
        ASSERT_EQ(destroy(i % 2 == 0 ? first.handle : third.handle), 0);
        ASSERT_EQ(destroy(i % 2 == 0 ? third.handle : first.handle), 0);
    }
}

}  // namespace
}  // namespace belfry::panthor
