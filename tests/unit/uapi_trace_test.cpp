// Requests as text: what strace would print, from the table alone.
#include <array>
#include <cstring>
#include <string>

#include <gtest/gtest.h>
#include <linux/ioctl.h>

#include "belfry/uapi/dma_buf.h"
#include "belfry/uapi/drm.h"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/sync_file.h"
#include "uapi/trace.hpp"

namespace belfry::uapi {
namespace {

template <typename T>
std::uint64_t address(T* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
}

/// Memory as the preload library sees it: the first page is not there.
bool is_bad(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) < 4096; }
constexpr UserMemory kMemory{.read =
                                 [](void* to, const void* user, std::size_t bytes) {
                                     if (is_bad(user)) return false;
                                     std::memcpy(to, user, bytes);
                                     return true;
                                 },
                             .write = [](void*, const void*, std::size_t) { return false; }};

/// The text of a request that `answer` answers.
template <typename T, typename Answer>
std::string text(std::uint32_t request, T& args, Answer answer, bool succeeded = true) {
    const RequestText before(request, &args, kMemory);
    answer();
    return before.finish(succeeded);
}

constexpr auto kNothing = [] {};

TEST(RequestText, ShowsTheOperationsOfAnXgsQueue) {
    drm_panthor_xgs_op op{
        .addr = 0x1000, .value = 7, .op = DRM_PANTHOR_XGS_OP_WAIT_GT, .format = 1, .flags = 1};
    drm_panthor_xgs_queue_submit submit{.handle = 3, .flags = DRM_PANTHOR_XGS_QUEUE_SUBMIT_BOUNDED};
    submit.ops = {.stride = sizeof op, .count = 1, .array = address(&op)};
    EXPECT_EQ(text(DRM_IOCTL_PANTHOR_XGS_QUEUE_SUBMIT, submit, kNothing),
              "PANTHOR_XGS_QUEUE_SUBMIT {handle=3, flags=0x4, ops=[{addr=0x1000, value=7, op=1, format=1, "
              "flags=0x1}], syncs=[]}");
}

TEST(RequestText, NamesFieldsByKindAndShowsWhatCameBack) {
    std::array<std::uint32_t, 2> handles{1, 2};
    drm_syncobj_wait wait{};
    wait.handles = address(handles.data());
    wait.count_handles = 2;
    wait.timeout_nsec = -1;
    wait.flags = 1;
    wait.first_signaled = 77;
    EXPECT_EQ(
        text(DRM_IOCTL_SYNCOBJ_WAIT, wait, [&] { wait.first_signaled = 0; }),
        "SYNCOBJ_WAIT {handles=[1, 2], timeout_nsec=-1, count_handles=2, flags=0x1, deadline_nsec=0} => "
        "{first_signaled=0}");
    EXPECT_EQ(text(DRM_IOCTL_SYNCOBJ_WAIT, wait, kNothing, false),
              "SYNCOBJ_WAIT {handles=[1, 2], timeout_nsec=-1, count_handles=2, flags=0x1, deadline_nsec=0}");
    wait.pad = 5;
    EXPECT_NE(text(DRM_IOCTL_SYNCOBJ_WAIT, wait, kNothing).find("pad=0x5"), std::string::npos);
}

TEST(RequestText, OfAnOlderProgramEndsWhereItsStructEnds) {
    drm_syncobj_wait wait{};
    const auto request = static_cast<std::uint32_t>(_IOC(_IOC_READ | _IOC_WRITE, 'd', 0xc3, 32));
    EXPECT_EQ(text(request, wait, kNothing),
              "SYNCOBJ_WAIT {handles=[], timeout_nsec=0, count_handles=0, flags=0x0} => {first_signaled=0}");
}

TEST(RequestText, ShowsArraysOfArraysAndNotMoreThanEight) {
    std::array<drm_panthor_sync_op, 2> syncs{};
    syncs[0] = {.flags = 0x80000000, .handle = 3, .timeline_value = 0};
    syncs[1] = {.flags = 1, .handle = 4, .timeline_value = 9};
    std::array<drm_panthor_queue_submit, 2> jobs{};
    jobs[0].syncs = {.stride = 16, .count = 2, .array = address(syncs.data())};
    jobs[1].queue_index = 1;
    drm_panthor_group_submit submit{};
    submit.group_handle = 1;
    submit.queue_submits = {.stride = 40, .count = 2, .array = address(jobs.data())};
    EXPECT_EQ(text(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, submit, kNothing),
              "PANTHOR_GROUP_SUBMIT {group_handle=1, queue_submits=[{queue_index=0, stream_size=0x0, "
              "stream_addr=0x0, latest_flush=0x0, syncs=[{flags=0x80000000, handle=3, timeline_value=0}, "
              "{flags=0x1, handle=4, timeline_value=9}]}, {queue_index=1, stream_size=0x0, stream_addr=0x0, "
              "latest_flush=0x0, syncs=[]}]}");

    std::array<std::uint32_t, 9> handles{1, 2, 3, 4, 5, 6, 7, 8, 9};
    drm_syncobj_array array{.handles = address(handles.data()), .count_handles = 9, .pad = 0};
    EXPECT_EQ(text(DRM_IOCTL_SYNCOBJ_RESET, array, kNothing),
              "SYNCOBJ_RESET {handles=[1, 2, 3, 4, 5, 6, 7, 8, ...], count_handles=9}");
}

TEST(RequestText, ShowsArraysThatComeBackBehindTheArrow) {
    std::array<std::uint32_t, 2> handles{1, 2};
    std::array<std::uint64_t, 2> points{};
    drm_syncobj_timeline_array query{
        .handles = address(handles.data()), .points = address(points.data()), .count_handles = 2, .flags = 0};
    EXPECT_EQ(text(DRM_IOCTL_SYNCOBJ_QUERY, query, [&] { points = {5, 6}; }),
              "SYNCOBJ_QUERY {handles=[1, 2], count_handles=2, flags=0x0} => {points=[5, 6]}");

    std::array<struct sync_fence_info, 2> fences{};
    std::strcpy(fences[0].obj_name, "timeline");
    sync_file_info info{};
    info.num_fences = 2;
    info.sync_fence_info = address(fences.data());
    EXPECT_EQ(text(SYNC_IOC_FILE_INFO, info, [&] { info.num_fences = 1; }),
              "SYNC_FILE_INFO {flags=0x0, num_fences=2} => {name=\"\", status=0, num_fences=1, "
              "sync_fence_info=[{obj_name=\"timeline\", driver_name=\"\", status=0, flags=0x0, "
              "timestamp_ns=0}]}");
}

TEST(RequestText, SaysHowFarABindCame) {
    std::array<drm_panthor_vm_bind_op, 2> ops{};
    drm_panthor_vm_bind bind{.vm_id = 1, .flags = 0, .ops = {48, 2, address(ops.data())}};
    const std::string line = text(DRM_IOCTL_PANTHOR_VM_BIND, bind, [&] { bind.ops.count = 1; }, false);
    EXPECT_TRUE(line.ends_with("} => {ops.count=1}")) << line;
}

TEST(RequestText, QuotesStrings) {
    drm_panthor_bo_set_label label{.handle = 1, .pad = 0, .label = address("say \"hi\"\n")};
    EXPECT_EQ(text(DRM_IOCTL_PANTHOR_BO_SET_LABEL, label, kNothing),
              R"(PANTHOR_BO_SET_LABEL {handle=1, label="say \"hi\"\x0a"})");
    const std::string long_name(200, 'n');
    label.label = address(long_name.c_str());
    EXPECT_EQ(text(DRM_IOCTL_PANTHOR_BO_SET_LABEL, label, kNothing),
              "PANTHOR_BO_SET_LABEL {handle=1, label=\"" + std::string(64, 'n') + "\"...}");
    label.label = 0;
    EXPECT_EQ(text(DRM_IOCTL_PANTHOR_BO_SET_LABEL, label, kNothing),
              "PANTHOR_BO_SET_LABEL {handle=1, label=NULL}");
    EXPECT_EQ(RequestText(DMA_BUF_SET_NAME_B, "scanout", kMemory).finish(true),
              "DMA_BUF_SET_NAME_B {name=\"scanout\"}");

    std::array<char, 16> name{};
    drm_version version{};
    version.name = address(name.data());
    version.name_len = name.size();
    const std::string line = text(DRM_IOCTL_VERSION, version, [&] {
        std::memcpy(name.data(), "panthor", 7);
        version.name_len = 7;
        version.version_major = 1;
    });
    EXPECT_TRUE(
        line.starts_with("VERSION {name_len=16, date_len=0, desc_len=0} => {version_major=1, "
                         "version_minor=0, version_patchlevel=0, name_len=7, name=\"panthor\""))
        << line;
}

TEST(RequestText, ShowsADescriptorThatTheProgramGotAsComingBack) {
    drm_prime_handle prime{.handle = 4, .flags = DRM_CLOEXEC, .fd = -1};
    EXPECT_EQ(text(DRM_IOCTL_PRIME_HANDLE_TO_FD, prime, [&] { prime.fd = 7; }),
              "PRIME_HANDLE_TO_FD {handle=4, flags=0x80000} => {fd=7}");
    EXPECT_EQ(text(DRM_IOCTL_PRIME_FD_TO_HANDLE, prime, [&] { prime.handle = 5; }),
              "PRIME_FD_TO_HANDLE {handle=4, flags=0x80000, fd=7} => {handle=5}");
}

TEST(RequestText, PrintsBadPointersAsAddresses) {
    drm_syncobj_array array{.handles = 0x123, .count_handles = 1, .pad = 0};
    EXPECT_EQ(text(DRM_IOCTL_SYNCOBJ_RESET, array, kNothing, false),
              "SYNCOBJ_RESET {handles=0x123, count_handles=1}");
    EXPECT_EQ(RequestText(DRM_IOCTL_GET_CAP, reinterpret_cast<const void*>(8), kMemory).finish(false),
              "GET_CAP 0x8");
    EXPECT_EQ(RequestText(DRM_IOCTL_GET_CAP, nullptr, kMemory).finish(false), "GET_CAP NULL");
    EXPECT_EQ(RequestText(DRM_IOCTL_SET_MASTER, nullptr, kMemory).finish(true), "SET_MASTER");
    EXPECT_EQ(RequestText(0x645f, nullptr, kMemory).finish(false), "ioctl(0x645f, 0x0)");
}

TEST(RequestText, OfEveryRowWithGarbageInItIsNoMoreThanText) {
    for (const Ioctl& row : ioctls()) {
        std::array<std::byte, 256> args{};
        for (std::size_t i = 0; i < args.size(); ++i)
            args[i] = std::byte{i % 8 < 2 ? std::uint8_t{7} : std::uint8_t{}};  // small, and bad as a pointer
        const void* const argument = row.by_value ? nullptr : args.data();
        const std::string line = RequestText(row.request, argument, kMemory).finish(true);
        EXPECT_TRUE(line.starts_with(row.name)) << line;
    }
}

}  // namespace
}  // namespace belfry::uapi
