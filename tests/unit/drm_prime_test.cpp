// Buffers as dma-bufs: export, import, and which handle comes back (facts/uapi.md 4.1).
#include <cerrno>
#include <cstdint>
#include <utility>

#include <gtest/gtest.h>

#include "unit/core_rig.hpp"

namespace belfry::drm {
namespace {

using namespace belfry::uapi;

class Prime : public testing::Test {
  protected:
    static base::Fd export_from(CoreClient& client, std::uint32_t handle, std::uint32_t flags = DRM_CLOEXEC) {
        const auto call = client.start(DRM_IOCTL_PRIME_HANDLE_TO_FD,
                                       drm_prime_handle{.handle = handle, .flags = flags, .fd = -1});
        EXPECT_EQ(call->answer(), 0);
        EXPECT_EQ(call->args<drm_prime_handle>().fd, 0);
        return *call->given_fds()[0].duplicate();
    }
    static std::uint32_t import_into(CoreClient& client, const base::Fd& fd) {
        std::vector<base::Fd> fds;
        fds.push_back(*fd.duplicate());
        drm_prime_handle args{.flags = ~0U, .fd = 0};  // flags are ignored
        EXPECT_EQ(client.ioctl(DRM_IOCTL_PRIME_FD_TO_HANDLE, args, std::move(fds)), 0);
        return args.handle;
    }

    CoreRig rig;
    CoreClient& client = rig.open(NodeKind::render);
    CoreClient& other = rig.open(NodeKind::render);
};

TEST_F(Prime, ExportFindsTheseMistakesInThisOrder) {
    const std::uint32_t exclusive = client.buffer(4096, 5);
    const auto answer = [&](std::uint32_t handle, std::uint32_t flags) {
        return client.call(DRM_IOCTL_PRIME_HANDLE_TO_FD, drm_prime_handle{.handle = handle, .flags = flags});
    };
    EXPECT_EQ(answer(99, 1), EINVAL);
    EXPECT_EQ(answer(99, DRM_CLOEXEC | DRM_RDWR), ENOENT);
    EXPECT_EQ(answer(exclusive, 0), EINVAL);
    rig.host.fail = Errno::too_many_files;
    EXPECT_EQ(answer(client.buffer(), 0), EMFILE);
}

TEST_F(Prime, EveryExportIsTheSameDmaBuf) {
    const std::uint32_t handle = client.buffer();
    const base::Fd first = export_from(client, handle);
    const base::Fd second = export_from(client, handle, DRM_RDWR);
    EXPECT_NE(first.get(), second.get());
    EXPECT_EQ(*inode_of(first.get()), *inode_of(second.get()));
    const base::Fd of_another = export_from(client, client.buffer());
    EXPECT_FALSE(*inode_of(first.get()) == *inode_of(of_another.get()));
}

TEST_F(Prime, AnImportIsTheSameBuffer) {
    const std::uint32_t handle = client.buffer(8192);
    const Buffer* const buffer = client.file().buffers().find(handle)->get();
    other.buffer();
    const std::uint32_t imported = import_into(other, export_from(client, handle));
    EXPECT_EQ(imported, 2u);
    EXPECT_EQ(other.file().buffers().find(imported)->get(), buffer);
    EXPECT_TRUE(other.file().buffers().is_open(*buffer));
    EXPECT_EQ(rig.buffers.count(), 2u);
}

TEST_F(Prime, ImportingOnesOwnExportFindsTheHandle) {
    client.buffer();
    const std::uint32_t handle = client.buffer();
    EXPECT_EQ(import_into(client, export_from(client, handle)), handle);
}

TEST_F(Prime, ImportingTwiceGivesOneHandleThatOneCloseDrops) {
    const base::Fd fd = export_from(client, client.buffer());
    EXPECT_EQ(import_into(other, fd), 1u);
    EXPECT_EQ(import_into(other, fd), 1u);
    EXPECT_EQ(other.close(1), 0);
    EXPECT_EQ(other.close(1), EINVAL);
    EXPECT_EQ(import_into(other, fd), 1u);
}

TEST_F(Prime, AnImportedBufferIsExportedAsTheOriginal) {
    const base::Fd fd = export_from(client, client.buffer());
    const base::Fd again = export_from(other, import_into(other, fd));
    EXPECT_EQ(*inode_of(fd.get()), *inode_of(again.get()));
}

TEST_F(Prime, AnImportFollowsAHandleThatWasChanged) {
    const base::Fd fd = export_from(client, client.buffer());
    EXPECT_EQ(client.call(DRM_IOCTL_GEM_CHANGE_HANDLE, drm_gem_change_handle{.handle = 1, .new_handle = 0}),
              0);
    EXPECT_EQ(import_into(client, fd), 0u);
}

TEST_F(Prime, ADmaBufOutlivesHandlesAndFiles) {
    const base::Fd fd = export_from(client, client.buffer());
    EXPECT_EQ(client.close(1), 0);
    rig.close(client);
    EXPECT_EQ(rig.buffers.count(), 1u);
    EXPECT_EQ(import_into(other, fd), 1u);
    EXPECT_EQ(other.close(1), 0);
    EXPECT_EQ(rig.buffers.count(), 1u);
    rig.host.close(*inode_of(fd.get()));
    EXPECT_EQ(rig.buffers.count(), 0u);
}

TEST_F(Prime, ImportRefusesWhatIsNoDmaBufOfOurs) {
    const auto answer = [&](std::int32_t fd, std::vector<base::Fd> fds = {}) {
        drm_prime_handle args{.fd = fd};
        return client.ioctl(DRM_IOCTL_PRIME_FD_TO_HANDLE, args, std::move(fds));
    };
    EXPECT_EQ(answer(Call::kNoDescriptor), EBADF);
    EXPECT_EQ(answer(Call::kClosedDescriptor), EBADF);
    const auto one = [](base::Fd fd) {
        std::vector<base::Fd> fds;
        fds.push_back(std::move(fd));
        return fds;
    };
    EXPECT_EQ(answer(0, one(*base::make_eventfd())), EINVAL);
    EXPECT_EQ(answer(0, one(*rig.exports.export_fence(signalled_stub(1)))), EINVAL);
    // The memory itself, which every file that maps it is given, is no dma-buf before it was exported.
    const BufferPtr buffer = *client.file().buffers().find(client.buffer());
    EXPECT_EQ(answer(0, one(*base::Fd(::dup(buffer->fd())).duplicate())), EINVAL);
}

}  // namespace
}  // namespace belfry::drm
