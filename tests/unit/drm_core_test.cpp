// The core requests through both kinds of node: who may ask, masters and magics, names of buffers
// (facts/uapi.md 1.1, 4.1).
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <linux/ioctl.h>

#include "unit/core_rig.hpp"

namespace belfry::drm {
namespace {

using namespace belfry::uapi;

class Core : public testing::Test {
  protected:
    CoreRig rig;
};

std::uint32_t magic(CoreClient& client) {
    drm_auth args{};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_GET_MAGIC, args), 0);
    return args.magic;
}
int authenticate(CoreClient& client, std::uint32_t magic) {
    return client.call(DRM_IOCTL_AUTH_MAGIC, drm_auth{.magic = magic});
}
int set_master(CoreClient& client) { return client.call(DRM_IOCTL_SET_MASTER, std::uint32_t{}); }
int drop_master(CoreClient& client) { return client.call(DRM_IOCTL_DROP_MASTER, std::uint32_t{}); }
bool authenticated(CoreClient& client) {
    drm_client args{};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_GET_CLIENT, args), 0);
    return args.auth != 0;
}
const Opener kRoot{.pid = 1, .uid = 0, .may_admin = true};
const Opener kUser{.pid = 7, .uid = 1000};

// --- who may ask

TEST_F(Core, ARenderNodeRefusesWhatBelongsToThePrimaryOne) {
    CoreClient& client = rig.open(NodeKind::render, kRoot);
    for (const std::uint64_t request : std::initializer_list<std::uint64_t>{
             DRM_IOCTL_GET_UNIQUE, DRM_IOCTL_GET_MAGIC, DRM_IOCTL_GET_CLIENT, DRM_IOCTL_GET_STATS,
             DRM_IOCTL_SET_VERSION, DRM_IOCTL_GEM_FLINK, DRM_IOCTL_GEM_OPEN, DRM_IOCTL_SET_CLIENT_CAP,
             DRM_IOCTL_AUTH_MAGIC, DRM_IOCTL_SET_MASTER, DRM_IOCTL_DROP_MASTER})
        EXPECT_EQ(client.call(request, drm_stats{}), EACCES) << request;
    for (const unsigned modesetting : {0x3aU, 0xa0U, 0xa1U, 0xb2U, 0xbeU, 0xc6U, 0xceU})
        EXPECT_EQ(client.call(_IOWR('d', modesetting, drm_stats), drm_stats{}), EACCES) << modesetting;
}

TEST_F(Core, ThePrimaryNodeHasNoModesetting) {
    CoreClient& client = rig.open(NodeKind::primary);
    for (const unsigned modesetting : {0x3aU, 0x3cU, 0xa0U, 0xa1U, 0xbeU, 0xc6U, 0xceU})
        EXPECT_EQ(client.call(_IOWR('d', modesetting, drm_stats), drm_stats{}), EOPNOTSUPP) << modesetting;
    EXPECT_EQ(client.call(DRM_IOCTL_SET_CLIENT_CAP, drm_set_client_cap{.capability = 2, .value = 1}),
              EOPNOTSUPP);
}

TEST_F(Core, DriverAndSyncobjRequestsAreNotCore) {
    CoreClient& client = rig.open(NodeKind::render);
    for (const unsigned number : {0x40U, 0x9fU, 0xbfU, 0xc0U, 0xc5U, 0xcaU, 0xcdU, 0xcfU})
        EXPECT_FALSE(client.is_core(_IOWR('d', number, drm_stats))) << number;
    EXPECT_FALSE(client.is_core(_IOWR('W', 0, drm_stats)));
}

TEST_F(Core, GetCapKnowsFourCapabilities) {
    CoreClient& client = rig.open(NodeKind::render);
    for (const auto& [capability, value] :
         std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0x5, 3}, {0x6, 1}, {0x13, 1}, {0x14, 1}}) {
        drm_get_cap args{.capability = capability};
        EXPECT_EQ(client.ioctl(DRM_IOCTL_GET_CAP, args), 0);
        EXPECT_EQ(args.value, value) << capability;
    }
    for (const std::uint64_t capability : {0x0U, 0x1U, 0x7U, 0x10U, 0x15U, 0x1000U}) {
        drm_get_cap args{.capability = capability, .value = 7};
        EXPECT_EQ(client.ioctl(DRM_IOCTL_GET_CAP, args), EOPNOTSUPP);
        EXPECT_EQ(args.value, 0u) << capability;
    }
}

TEST_F(Core, VersionTellsFullLengthsAndFillsTheRoomThatThereIs) {
    CoreClient& client = rig.open(NodeKind::primary);
    char name[4] = {'x', 'x', 'x', 'x'};
    drm_version args{.name_len = 3, .name = reinterpret_cast<std::uint64_t>(name)};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_VERSION, args), 0);
    EXPECT_EQ(std::string(name, 4), "tesx");
    EXPECT_EQ(args.name_len, 4u);
    EXPECT_EQ(args.desc_len, 11u);
}

TEST_F(Core, AClientNameIsUpTo64GraphicCharacters) {
    CoreClient& client = rig.open(NodeKind::render);
    const auto name = [&](std::string text) {
        return client.call(DRM_IOCTL_SET_CLIENT_NAME,
                           drm_set_client_name{.name_len = text.size(),
                                               .name = reinterpret_cast<std::uint64_t>(text.data())});
    };
    EXPECT_EQ(name("glmark2"), 0);
    EXPECT_EQ(name(std::string(64, 'a')), 0);
    EXPECT_EQ(name(std::string(65, 'a')), EINVAL);
    EXPECT_EQ(name("a b"), EINVAL);
    EXPECT_EQ(name("a\n"), EINVAL);
    EXPECT_EQ(name(std::string("a\0", 2)), EINVAL);
    EXPECT_EQ(client.call(DRM_IOCTL_SET_CLIENT_NAME, drm_set_client_name{}), 0);
    EXPECT_EQ(client.call(DRM_IOCTL_SET_CLIENT_NAME, drm_set_client_name{.name_len = 1}), EFAULT);
}

// --- masters

TEST_F(Core, TheFirstToOpenIsMasterAndTheNextIsNot) {
    CoreClient& first = rig.open(NodeKind::primary, kUser);
    CoreClient& second = rig.open(NodeKind::primary, kUser);
    EXPECT_TRUE(first.master());
    EXPECT_FALSE(second.master());
    EXPECT_TRUE(authenticated(first));
    EXPECT_FALSE(authenticated(second));
    EXPECT_EQ(set_master(first), 0);
}

TEST_F(Core, RenderNodesMakeNoMasters) {
    rig.open(NodeKind::render, kRoot);
    EXPECT_TRUE(rig.open(NodeKind::primary, kUser).master());
}

TEST_F(Core, RootIsAuthenticatedWithoutBeingMaster) {
    rig.open(NodeKind::primary, kUser);
    CoreClient& root = rig.open(NodeKind::primary, kRoot);
    EXPECT_FALSE(root.master());
    EXPECT_TRUE(authenticated(root));
}

TEST_F(Core, AUserWhoNeverWasMasterNeitherSetsNorDrops) {
    CoreClient& first = rig.open(NodeKind::primary, kUser);
    CoreClient& second = rig.open(NodeKind::primary, kUser);
    EXPECT_EQ(set_master(second), EACCES);
    EXPECT_EQ(drop_master(second), EACCES);
    EXPECT_EQ(drop_master(first), 0);
    EXPECT_EQ(set_master(second), EACCES);
}

TEST_F(Core, RootSetsMasterWhenThereIsNone) {
    CoreClient& first = rig.open(NodeKind::primary, kUser);
    CoreClient& root = rig.open(NodeKind::primary, kRoot);
    EXPECT_EQ(drop_master(root), EINVAL);
    EXPECT_EQ(set_master(root), EBUSY);
    EXPECT_EQ(drop_master(first), 0);
    EXPECT_EQ(drop_master(first), EINVAL);
    EXPECT_EQ(set_master(root), 0);
    EXPECT_EQ(set_master(root), 0);
    EXPECT_TRUE(root.master());
    EXPECT_EQ(set_master(first), EBUSY);
    EXPECT_EQ(drop_master(root), 0);
    EXPECT_EQ(set_master(first), 0);
    EXPECT_TRUE(first.master());
}

TEST_F(Core, WhoOpensWhenTheMasterHasClosedIsMaster) {
    rig.close(rig.open(NodeKind::primary, kUser));
    EXPECT_TRUE(rig.open(NodeKind::primary, kUser).master());
}

TEST_F(Core, ACloseOfAFormerMasterLeavesTheNewOne) {
    CoreClient& first = rig.open(NodeKind::primary, kUser);
    EXPECT_EQ(drop_master(first), 0);
    CoreClient& second = rig.open(NodeKind::primary, kUser);
    rig.close(first);
    EXPECT_TRUE(second.master());
}

TEST_F(Core, AMagicIsTheSameEachTimeAndDiffersBetweenFiles) {
    CoreClient& first = rig.open(NodeKind::primary);
    CoreClient& second = rig.open(NodeKind::primary);
    EXPECT_GE(magic(first), 1u);
    EXPECT_EQ(magic(first), magic(first));
    EXPECT_NE(magic(first), magic(second));
}

TEST_F(Core, AMasterAuthenticatesByMagicOnce) {
    CoreClient& master = rig.open(NodeKind::primary, kUser);
    CoreClient& client = rig.open(NodeKind::primary, kUser);
    const std::uint32_t number = magic(client);
    EXPECT_EQ(authenticate(client, number), EACCES);
    EXPECT_EQ(authenticate(master, number + 1), EINVAL);
    EXPECT_EQ(authenticate(master, 0), EINVAL);
    EXPECT_FALSE(authenticated(client));
    EXPECT_EQ(authenticate(master, number), 0);
    EXPECT_TRUE(authenticated(client));
    EXPECT_EQ(authenticate(master, number), EINVAL);
    EXPECT_EQ(magic(client), number);  // still its own
}

TEST_F(Core, AMagicGoesWithItsFile) {
    CoreClient& master = rig.open(NodeKind::primary, kUser);
    CoreClient& client = rig.open(NodeKind::primary, kUser);
    const std::uint32_t number = magic(client);
    rig.close(client);
    EXPECT_EQ(authenticate(master, number), EINVAL);
}

TEST_F(Core, GetClientTellsWhoOpened) {
    CoreClient& client = rig.open(NodeKind::primary, kUser);
    drm_client args{.magic = 5, .iocs = 6};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_GET_CLIENT, args), 0);
    EXPECT_EQ(args.pid, 7u);
    EXPECT_EQ(args.uid, 1000u);
    EXPECT_EQ(args.magic, 0u);
    EXPECT_EQ(args.iocs, 0u);
    EXPECT_EQ(client.call(DRM_IOCTL_GET_CLIENT, drm_client{.idx = 1}), EINVAL);
}

TEST_F(Core, StatsAreZero) {
    drm_stats args{};
    std::memset(&args, 0xff, sizeof args);
    EXPECT_EQ(rig.open(NodeKind::primary).ioctl(DRM_IOCTL_GET_STATS, args), 0);
    EXPECT_EQ(args.count, 0u);
    for (const std::uint64_t word : args.data) EXPECT_EQ(word, 0u);
}

TEST_F(Core, TheUniqueNameIsThereOnceTheMasterHasSetItsVersion) {
    CoreClient& client = rig.open(NodeKind::primary);
    std::array<char, 32> name{};
    const auto unique = [&](std::uint64_t room) {
        name.fill('x');
        drm_unique args{.unique_len = room, .unique = reinterpret_cast<std::uint64_t>(name.data())};
        EXPECT_EQ(client.ioctl(DRM_IOCTL_GET_UNIQUE, args), 0);
        return std::pair(args.unique_len, name[0]);
    };
    EXPECT_EQ(unique(32), (std::pair<std::uint64_t, char>(0, 'x')));
    EXPECT_EQ(client.call(DRM_IOCTL_SET_VERSION, drm_set_version{1, 0, -1, -1}), 0);
    EXPECT_EQ(unique(32).first, 0u);
    EXPECT_EQ(client.call(DRM_IOCTL_SET_VERSION, drm_set_version{1, 1, -1, -1}), 0);
    EXPECT_EQ(unique(32), (std::pair<std::uint64_t, char>(8, 't')));
    EXPECT_EQ(std::string(name.data(), 9), "test.gpux");
    EXPECT_EQ(unique(7), (std::pair<std::uint64_t, char>(8, 'x')));  // no room for all: nothing
}

TEST_F(Core, SetVersionAnswersWhatThereIsWhateverWasAsked) {
    CoreClient& client = rig.open(NodeKind::primary);
    struct Case {
        drm_set_version asked;
        int answer;
    };
    for (const Case& tried : {Case{{-1, 9, -1, 9}, 0}, Case{{1, 4, 1, 5}, 0}, Case{{1, 5, -1, -1}, EINVAL},
                              Case{{2, 0, -1, -1}, EINVAL}, Case{{1, -1, -1, -1}, EINVAL},
                              Case{{-1, -1, 1, 6}, EINVAL}, Case{{-1, -1, 0, 0}, EINVAL}}) {
        drm_set_version args = tried.asked;
        EXPECT_EQ(client.ioctl(DRM_IOCTL_SET_VERSION, args), tried.answer);
        EXPECT_EQ(args.drm_di_major, 1);
        EXPECT_EQ(args.drm_di_minor, 4);
        EXPECT_EQ(args.drm_dd_major, 1);
        EXPECT_EQ(args.drm_dd_minor, 5);
    }
    CoreClient& other = rig.open(NodeKind::primary, kRoot);
    EXPECT_EQ(other.call(DRM_IOCTL_SET_VERSION, drm_set_version{-1, 0, -1, 0}), EACCES);
}

// --- names of buffers

TEST_F(Core, ABufferIsOpenedByItsNameInAnotherFile) {
    CoreClient& client = rig.open(NodeKind::primary, kRoot);
    CoreClient& other = rig.open(NodeKind::primary, kRoot);
    drm_gem_flink flink{.handle = client.buffer(8192)};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_GEM_FLINK, flink), 0);
    EXPECT_GE(flink.name, 1u);
    const std::uint32_t name = flink.name;
    EXPECT_EQ(client.ioctl(DRM_IOCTL_GEM_FLINK, flink), 0);
    EXPECT_EQ(flink.name, name);

    drm_gem_open open{.name = name};
    EXPECT_EQ(other.ioctl(DRM_IOCTL_GEM_OPEN, open), 0);
    EXPECT_EQ(open.handle, 1u);
    EXPECT_EQ(open.size, 8192u);
    EXPECT_EQ(other.ioctl(DRM_IOCTL_GEM_OPEN, open), 0);
    EXPECT_EQ(open.handle, 2u);  // a new handle each time

    EXPECT_EQ(client.close(1), 0);
    EXPECT_EQ(other.close(1), 0);
    EXPECT_EQ(other.ioctl(DRM_IOCTL_GEM_OPEN, open), 0);  // the name lives with the last handle
    EXPECT_EQ(other.close(1), 0);
    EXPECT_EQ(other.close(2), 0);
    EXPECT_EQ(other.ioctl(DRM_IOCTL_GEM_OPEN, open), ENOENT);
    EXPECT_EQ(rig.buffers.count(), 0u);
}

TEST_F(Core, ANameGoesWithTheFileThatHadTheLastHandle) {
    CoreClient& client = rig.open(NodeKind::primary, kRoot);
    CoreClient& other = rig.open(NodeKind::primary, kRoot);
    drm_gem_flink flink{.handle = client.buffer()};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_GEM_FLINK, flink), 0);
    rig.close(client);
    EXPECT_EQ(other.call(DRM_IOCTL_GEM_OPEN, drm_gem_open{.name = flink.name}), ENOENT);
}

TEST_F(Core, NamesAreForTheAuthenticated) {
    rig.open(NodeKind::primary, kUser);
    CoreClient& client = rig.open(NodeKind::primary, kUser);
    const std::uint32_t handle = client.buffer();
    EXPECT_EQ(client.call(DRM_IOCTL_GEM_FLINK, drm_gem_flink{.handle = handle}), EACCES);
    EXPECT_EQ(client.call(DRM_IOCTL_GEM_OPEN, drm_gem_open{.name = 1}), EACCES);
}

TEST_F(Core, FlinkOfAnUnknownHandleIsNoEntry) {
    CoreClient& client = rig.open(NodeKind::primary, kRoot);
    EXPECT_EQ(client.call(DRM_IOCTL_GEM_FLINK, drm_gem_flink{.handle = 1}), ENOENT);
    EXPECT_EQ(client.call(DRM_IOCTL_GEM_OPEN, drm_gem_open{.name = 1}), ENOENT);
}

// --- GEM_CLOSE, GEM_CHANGE_HANDLE

TEST_F(Core, GemCloseDoesNotLookAtPadding) {
    CoreClient& client = rig.open(NodeKind::render);
    const std::uint32_t handle = client.buffer();
    EXPECT_EQ(client.call(DRM_IOCTL_GEM_CLOSE, drm_gem_close{.handle = handle, .pad = 1}), 0);
    EXPECT_EQ(client.call(DRM_IOCTL_GEM_CLOSE, drm_gem_close{.handle = handle}), EINVAL);
}

TEST_F(Core, AHandleIsChangedToAnyFreeNumberOfAnInt) {
    CoreClient& client = rig.open(NodeKind::render);
    const auto change = [&](std::uint32_t from, std::uint32_t to) {
        return client.call(DRM_IOCTL_GEM_CHANGE_HANDLE,
                           drm_gem_change_handle{.handle = from, .new_handle = to});
    };
    EXPECT_EQ(client.buffer(), 1u);
    EXPECT_EQ(client.buffer(), 2u);
    EXPECT_EQ(change(99, 1U << 31), EINVAL);  // before the handle is looked up
    EXPECT_EQ(change(99, 99), ENOENT);
    EXPECT_EQ(change(1, 1), 0);
    EXPECT_EQ(change(1, 2), ENOSPC);
    EXPECT_EQ(change(1, INT_MAX), 0);
    EXPECT_EQ(change(1, 5), ENOENT);
    EXPECT_EQ(change(INT_MAX, 0), 0);
    EXPECT_EQ(change(2, 0), ENOSPC);
    EXPECT_EQ(client.buffer(), 1u);
    EXPECT_EQ(client.close(0), 0);
    EXPECT_EQ(client.close(0), EINVAL);
    EXPECT_EQ(client.close(1), 0);
    EXPECT_EQ(client.close(2), 0);
    EXPECT_EQ(rig.buffers.count(), 0u);
}

}  // namespace
}  // namespace belfry::drm
