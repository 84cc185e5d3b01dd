// The table of ioctls and the wire: what a program passes is what a handler sees, and back; what a hostile
// client sends is refused without reading beyond it (run this under ASan and UBSan).
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.hpp"
#include "belfry/uapi/drm.h"
#include "belfry/uapi/panthor_drm.h"
#include "uapi/ioctl_table.hpp"
#include "uapi/wire.hpp"

namespace belfry::uapi {
namespace {

template <typename T>
T get(std::span<const std::byte> bytes, std::size_t offset) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}
template <typename T>
void put(std::span<std::byte> bytes, std::size_t offset, std::type_identity_t<T> value) {
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}
template <typename T>
std::uint64_t address(T* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
}

/// Pretends to be the kernel's side of a socket: parses what was marshalled, with duplicates of the
/// descriptors.
Result<IncomingCall> arrive(const Outgoing& out) {
    std::vector<base::Fd> fds;
    for (const int fd : out.fds) fds.emplace_back(::dup(fd));
    return IncomingCall::parse(out.request, out.payload, std::move(fds));
}

template <typename T>
T& args_of(IncomingCall& call) {
    return *reinterpret_cast<T*>(call.args().data());
}

Errno marshal_error(std::uint32_t request, const void* args) {
    Outgoing out;
    const auto marshalled = marshal(request, args, out);
    return marshalled ? Errno{} : marshalled.error();
}

/// What becomes of a request on its way to a handler: an error on either side, or none.
Errno arrival_error(std::uint32_t request, const void* args) {
    Outgoing out;
    if (const auto marshalled = marshal(request, args, out); !marshalled) return marshalled.error();
    const auto call = arrive(out);
    return call ? Errno{} : call.error();
}

// ---- A program's memory for any row of the table, filled with a pattern

constexpr std::uint32_t kElements = 3;

class Program {
  public:
    explicit Program(const Ioctl& ioctl) {
        eventfd_ = base::make_eventfd().value();
        args_ = make(*ioctl.layout);
        for (const DescriptorField& field : ioctl.descriptors) {
            put<std::uint32_t>(args_, field.flags_offset, ~0U);
            put<std::int32_t>(args_, field.offset, eventfd_.get());
        }
    }
    std::span<std::byte> args() { return args_; }

  private:
    std::span<std::byte> allocate(std::size_t bytes) {
        // Apart, so that ASan sees each step over an end.
        memory_.push_back(std::make_unique<std::byte[]>(bytes));
        const std::span<std::byte> room(memory_.back().get(), bytes);
        for (std::byte& byte : room) byte = static_cast<std::byte>(next_++ % 127 + 1);
        return room;
    }

    std::span<std::byte> make(const StructLayout& layout) {
        const auto object = allocate(layout.bytes);
        attach(layout, object);
        return object;
    }

    void attach(const StructLayout& layout, std::span<std::byte> object) {
        for (const Attachment& attachment : layout.attachments) {
            const auto elements = allocate(kElements * attachment.element_bytes);
            if (attachment.kind == AttachmentKind::obj_array) {
                const drm_panthor_obj_array array{attachment.element_bytes, kElements,
                                                  address(elements.data())};
                put<drm_panthor_obj_array>(object, attachment.pointer_offset, array);
            } else {
                if (attachment.count_width == 8)
                    put<std::uint64_t>(object, attachment.count_offset, kElements);
                if (attachment.count_width == 4)
                    put<std::uint32_t>(object, attachment.count_offset, kElements);
                put<std::uint64_t>(object, attachment.pointer_offset, address(elements.data()));
            }
            if (attachment.element == nullptr) continue;
            for (std::size_t i = 0; i < kElements; ++i)
                attach(*attachment.element,
                       elements.subspan(i * attachment.element_bytes, attachment.element_bytes));
        }
    }

    base::Fd eventfd_;
    std::vector<std::unique_ptr<std::byte[]>> memory_;
    std::span<std::byte> args_;
    unsigned next_ = 0;
};

/// What an attachment's field points to, as a handler would follow it.
std::span<std::byte> pointed_to(const Attachment& attachment, std::span<const std::byte> object) {
    const bool array = attachment.kind == AttachmentKind::obj_array;
    const auto pointer = get<std::uint64_t>(
        object, attachment.pointer_offset + (array ? offsetof(drm_panthor_obj_array, array) : 0));
    const auto count = attachment.count_width == 8 ? get<std::uint64_t>(object, attachment.count_offset)
                                                   : get<std::uint32_t>(object, attachment.count_offset);
    if (pointer == 0) return {};
    return {reinterpret_cast<std::byte*>(pointer), count * attachment.element_bytes};
}

bool is_replaced(FieldKind kind) {
    return kind == FieldKind::pointer || kind == FieldKind::obj_array || kind == FieldKind::descriptor;
}

void expect_same(const StructLayout& layout, std::span<const std::byte> a, std::span<const std::byte> b) {
    for (const Field& field : layout.fields) {
        if (is_replaced(field.kind)) continue;
        EXPECT_EQ(std::memcmp(a.data() + field.offset, b.data() + field.offset, field.width), 0)
            << layout.name << "." << field.name;
    }
    for (const Attachment& attachment : layout.attachments) {
        const auto in_a = pointed_to(attachment, a);
        const auto in_b = pointed_to(attachment, b);
        ASSERT_EQ(in_a.size(), in_b.size()) << layout.name << "." << attachment.name;
        EXPECT_NE(in_a.data(), in_b.data()) << layout.name << "." << attachment.name;
        if (!goes_in(attachment.direction)) continue;
        if (attachment.element == nullptr) {
            EXPECT_TRUE(std::ranges::equal(in_a, in_b)) << layout.name << "." << attachment.name;
            continue;
        }
        const std::size_t bytes = attachment.element_bytes;
        for (std::size_t at = 0; at < in_a.size(); at += bytes)
            expect_same(*attachment.element, in_a.subspan(at, bytes), in_b.subspan(at, bytes));
    }
}

class EachIoctl : public testing::TestWithParam<Ioctl> {};

TEST_P(EachIoctl, HasFieldsThatCoverItsStructWithoutAGap) {
    const auto covers = [](const auto& self, const StructLayout& layout) -> void {
        std::size_t end = 0;
        for (const Field& field : layout.fields) {
            EXPECT_EQ(field.offset, end) << layout.name << "." << field.name;
            end = field.offset + field.width;
        }
        EXPECT_EQ(end, layout.bytes) << layout.name;
        for (const Attachment& attachment : layout.attachments) {
            if (attachment.element == nullptr) continue;
            self(self, *attachment.element);
            // What the wire relies on: what goes back points nowhere.
            EXPECT_TRUE(!goes_out(attachment.direction) || attachment.element->attachments.empty());
            EXPECT_EQ(attachment.element->bytes % 8, 0U) << "elements are laid end to end, aligned for u64";
        }
    };
    covers(covers, *GetParam().layout);
    EXPECT_EQ(_IOC_SIZE(GetParam().request), GetParam().layout->bytes);
    EXPECT_EQ(find_ioctl(GetParam().request).value()->name, GetParam().name);
}

TEST_P(EachIoctl, ArrivesAsItWasSentAndGoesBackAsItWasAnswered) {
    const Ioctl& ioctl = GetParam();
    Program program(ioctl);
    const std::vector<std::byte> before(program.args().begin(), program.args().end());
    Outgoing out;
    ASSERT_TRUE(marshal(ioctl.request, program.args().data(), out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    EXPECT_EQ(call->ioctl().request, ioctl.request);
    expect_same(*ioctl.layout, program.args(), call->args());

    // A handler that inverts each byte it may write.
    for (const Field& field : ioctl.layout->fields) {
        if (is_replaced(field.kind) || field.kind == FieldKind::count) continue;
        for (std::byte& byte : call->args().subspan(field.offset, field.width)) byte = ~byte;
    }
    std::vector<std::vector<std::byte>> answers;
    for (const Attachment& attachment : ioctl.layout->attachments) {
        if (!goes_out(attachment.direction)) continue;
        const auto elements = pointed_to(attachment, call->args());
        for (std::byte& byte : elements) byte = ~byte;
        answers.emplace_back(elements.begin(), elements.end());
    }

    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, program.args().data()));
    const bool comes_back = (_IOC_DIR(ioctl.request) & _IOC_READ) != 0;
    for (const Field& field : ioctl.layout->fields) {
        const bool kept = is_replaced(field.kind) || field.kind == FieldKind::count || !comes_back;
        for (std::size_t i = field.offset; i < field.offset + std::size_t{field.width}; ++i)
            EXPECT_EQ(program.args()[i], kept ? before[i] : ~before[i]) << field.name;
    }
    auto answer = answers.begin();
    for (const Attachment& attachment : ioctl.layout->attachments) {
        if (!goes_out(attachment.direction)) continue;
        EXPECT_TRUE(std::ranges::equal(pointed_to(attachment, program.args()), *answer++)) << attachment.name;
    }
}

TEST_P(EachIoctl, IsNotShakenByMutatedMessages) {
    const Ioctl& ioctl = GetParam();
    Program program(ioctl);
    Outgoing out;
    ASSERT_TRUE(marshal(ioctl.request, program.args().data(), out));

    // Reads and writes all that a handler could reach.
    const auto touch = [](const auto& self, const StructLayout& layout, std::span<std::byte> object) -> void {
        for (const Attachment& attachment : layout.attachments) {
            const auto elements = pointed_to(attachment, object);
            if (attachment.element == nullptr || attachment.element->attachments.empty()) {
                std::ranges::fill(elements, std::byte{0xa5});
                continue;
            }
            for (std::size_t at = 0; at < elements.size(); at += attachment.element_bytes)
                self(self, *attachment.element, elements.subspan(at, attachment.element_bytes));
        }
    };

    std::mt19937_64 random(ioctl.request);  // the same on each run
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    constexpr std::uint64_t kNasty[] = {0,          1,          2,          7,          8,          32,   33,
                                        0x7fffffff, 0x80000000, 0xffffffff, 1ULL << 32, 1ULL << 63, ~0ULL};
    int survived = 0;
    for (int round = 0; round < 20'000; ++round) {
        std::vector<std::byte> payload = out.payload;
        for (std::size_t mutations = below(4) + 1; mutations != 0 && !payload.empty(); --mutations) {
            const std::size_t at = below(payload.size());
            switch (below(5)) {
                case 0: payload[at] = static_cast<std::byte>(random()); break;
                case 1: payload.resize(at); break;
                case 2: payload.resize(payload.size() + below(64)); break;
                case 3:
                case 4: {
                    const std::uint64_t value = kNasty[below(std::size(kNasty))];
                    const std::size_t word = at & ~std::size_t{3};
                    const std::size_t width =
                        std::min<std::size_t>(below(2) == 0 ? 4 : 8, payload.size() - word);
                    std::memcpy(payload.data() + word, &value, width);
                    break;
                }
            }
        }
        // Its end is where ASan watches.
        const auto exact = std::make_unique<std::byte[]>(payload.size());
        std::ranges::copy(payload, exact.get());
        std::vector<base::Fd> fds(below(5));
        auto call = IncomingCall::parse(ioctl.request, {exact.get(), payload.size()}, std::move(fds));
        if (!call) continue;
        ++survived;
        touch(touch, *ioctl.layout, call->args());
        for (const DescriptorField& field : ioctl.descriptors)
            EXPECT_LT(get<std::int32_t>(call->args(), field.offset), 5);
        EXPECT_GE(call->reply(true).size(), ioctl.layout->bytes);
        EXPECT_EQ(call->reply(false).size(), ioctl.layout->bytes);
    }
    EXPECT_GT(survived, 0) << "mutations that all fail test nothing";
}

INSTANTIATE_TEST_SUITE_P(Table, EachIoctl, testing::ValuesIn(ioctls().begin(), ioctls().end()),
                         [](const auto& row) { return std::string(row.param.name); });

// ---- Finding the row

TEST(IoctlTable, AnswersEveryRequestOfTheHeaders) {
    constexpr std::uint64_t kAll[] = {
        DRM_IOCTL_VERSION,
        DRM_IOCTL_GEM_CLOSE,
        DRM_IOCTL_GET_CAP,
        DRM_IOCTL_SYNCOBJ_CREATE,
        DRM_IOCTL_SYNCOBJ_DESTROY,
        DRM_IOCTL_SYNCOBJ_WAIT,
        DRM_IOCTL_SYNCOBJ_RESET,
        DRM_IOCTL_SYNCOBJ_SIGNAL,
        DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT,
        DRM_IOCTL_SYNCOBJ_QUERY,
        DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL,
        DRM_IOCTL_PANTHOR_DEV_QUERY,
        DRM_IOCTL_PANTHOR_VM_CREATE,
        DRM_IOCTL_PANTHOR_VM_DESTROY,
        DRM_IOCTL_PANTHOR_VM_BIND,
        DRM_IOCTL_PANTHOR_BO_CREATE,
        DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET,
        DRM_IOCTL_PANTHOR_GROUP_CREATE,
        DRM_IOCTL_PANTHOR_GROUP_DESTROY,
        DRM_IOCTL_PANTHOR_GROUP_SUBMIT,
        DRM_IOCTL_PANTHOR_GROUP_GET_STATE,
        DRM_IOCTL_PANTHOR_GROUP_KICK,
        DRM_IOCTL_BELFRY_GROUP_GET_FAULT,
        DRM_IOCTL_BELFRY_DEVICE_INFO,
    };
    EXPECT_EQ(ioctls().size(), std::size(kAll));
    for (const std::uint64_t request : kAll) EXPECT_TRUE(find_ioctl(static_cast<std::uint32_t>(request)));
}

TEST(IoctlTable, KnowsTheKernelsNumbers) {
    EXPECT_EQ(find_ioctl(0xc0406400).value()->name, "VERSION");
    EXPECT_EQ(find_ioctl(0xc02864c3).value()->name, "SYNCOBJ_WAIT");
    EXPECT_EQ(find_ioctl(0xc0186449).value()->name, "PANTHOR_GROUP_SUBMIT");
}

TEST(IoctlTable, SaysNotATtyToOtherTypesAndInvalidToUnknownNumbers) {
    EXPECT_EQ(find_ioctl(0x5401).error(), Errno::not_a_tty);  // TCGETS
    EXPECT_EQ(find_ioctl(static_cast<std::uint32_t>(_IO('d', 0x5f))).error(), Errno::invalid);
    EXPECT_EQ(find_ioctl(static_cast<std::uint32_t>(_IO('d', 0xff))).error(), Errno::invalid);
}

// ---- Sizes that differ from ours

TEST(StructSize, AShorterStructReadsAsZeroFilledAndIsNotWrittenBeyondItsEnd) {
    std::vector<std::byte> shorter(56, std::byte{0});  // GROUP_CREATE of the kernel
    put<std::uint32_t>(shorter, offsetof(drm_panthor_group_create, vm_id), 7);
    const auto request = static_cast<std::uint32_t>(_IOC(_IOC_READ | _IOC_WRITE, 'd', 0x47, 56));
    Outgoing out;
    ASSERT_TRUE(marshal(request, shorter.data(), out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    auto& args = args_of<drm_panthor_group_create>(*call);
    EXPECT_EQ(args.vm_id, 7U);
    EXPECT_EQ(args.eventfd_sync_update, -1);
    args.group_handle = 5;
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, shorter.data()));
    EXPECT_EQ(get<std::uint32_t>(shorter, offsetof(drm_panthor_group_create, group_handle)), 5U);
}

TEST(StructSize, ALongerStructIsAcceptedAndItsTailIsLeftAlone) {
    std::vector<std::byte> longer(24, std::byte{0x77});
    put<std::uint64_t>(longer, 0, DRM_CAP_SYNCOBJ);
    const auto request = static_cast<std::uint32_t>(_IOC(_IOC_READ | _IOC_WRITE, 'd', 0x0c, 24));
    Outgoing out;
    ASSERT_TRUE(marshal(request, longer.data(), out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    args_of<drm_get_cap>(*call).value = 1;
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, longer.data()));
    EXPECT_EQ(get<std::uint64_t>(longer, 8), 1U);
    EXPECT_EQ(get<std::uint64_t>(longer, 16), 0x7777777777777777U);
}

TEST(StructSize, DirectionBitsOfTheProgramDecideWhatIsCopied) {
    drm_get_cap cap{.capability = DRM_CAP_SYNCOBJ, .value = 9};
    const auto only_in = static_cast<std::uint32_t>(_IOC(_IOC_WRITE, 'd', 0x0c, 16));
    Outgoing out;
    ASSERT_TRUE(marshal(only_in, &cap, out));
    auto call = arrive(out);
    args_of<drm_get_cap>(*call).value = 1;
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, &cap));
    EXPECT_EQ(cap.value, 9U);

    const auto only_out = static_cast<std::uint32_t>(_IOC(_IOC_READ, 'd', 0x0c, 16));
    ASSERT_TRUE(marshal(only_out, &cap, out));
    call = arrive(out);
    EXPECT_EQ(args_of<drm_get_cap>(*call).capability, 0U);
}

TEST(StructSize, TheStructComesBackEvenIfTheRequestFailed) {
    drm_panthor_vm_bind_op ops[2]{};
    drm_panthor_vm_bind bind{.vm_id = 1, .flags = 0, .ops = {sizeof ops[0], 2, address(ops)}};
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_VM_BIND, &bind, out));
    auto call = arrive(out);
    args_of<drm_panthor_vm_bind>(*call).ops.count = 1;
    const auto result = unmarshal_reply(out, EINVAL, call->reply(false), {}, &bind);
    EXPECT_EQ(result.error(), Errno::invalid);
    EXPECT_EQ(bind.ops.count, 1U);
    EXPECT_EQ(bind.ops.array, address(ops)) << "the program's pointer, not the server's";
}

// ---- Arrays of objects

TEST(ObjArray, WithoutElementsIsNotLookedAt) {
    drm_panthor_group_submit submit{};
    submit.queue_submits = {.stride = 3, .count = 0, .array = 0xdead};
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, &submit, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    EXPECT_EQ(args_of<drm_panthor_group_submit>(*call).queue_submits.array, 0U);
}

TEST(ObjArray, WithAStrideBelowTheMinimumIsInvalid) {
    drm_panthor_queue_submit element{};
    drm_panthor_group_submit submit{};
    submit.queue_submits = {.stride = 39, .count = 1, .array = address(&element)};
    EXPECT_EQ(arrival_error(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, &submit), Errno::invalid);
}

TEST(ObjArray, WithLongerElementsIsTakenIfTheirTailsAreZero) {
    struct Longer {
        drm_panthor_queue_submit ours;
        std::uint64_t unknown;
    };
    Longer elements[3]{};
    for (std::uint32_t i = 0; i < 3; ++i) elements[i].ours.queue_index = i + 10;
    drm_panthor_group_submit submit{};
    submit.queue_submits = {.stride = sizeof(Longer), .count = 3, .array = address(elements)};
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, &submit, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    const auto& seen = args_of<drm_panthor_group_submit>(*call).queue_submits;
    EXPECT_EQ(seen.stride, sizeof(drm_panthor_queue_submit));
    EXPECT_EQ(reinterpret_cast<const drm_panthor_queue_submit*>(seen.array)[2].queue_index, 12U);

    elements[2].unknown = 1;
    EXPECT_EQ(arrival_error(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, &submit), Errno::too_big);
}

TEST(ObjArray, WithElementsOfAnOlderProgramIsZeroFilledAndWrittenBackAtItsLength) {
    struct Older {
        std::uint8_t priority;
        std::uint8_t pad[3];
        std::uint32_t ringbuf_size;
    };
    Older queues[2]{{1, {}, 4096}, {2, {}, 8192}};
    drm_panthor_group_create create{};
    create.queues = {.stride = sizeof(Older), .count = 2, .array = address(queues)};
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_GROUP_CREATE, &create, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    auto* const seen =
        reinterpret_cast<drm_panthor_queue_create*>(args_of<drm_panthor_group_create>(*call).queues.array);
    EXPECT_EQ(seen[1].priority, 2U);
    EXPECT_EQ(seen[1].ringbuf_size, 8192U);
    EXPECT_EQ(seen[1].ringbuf_offset, 0U);
    seen[0].ringbuf_size = 1;
    seen[1].ringbuf_size = 2;
    seen[1].ringbuf_offset = ~0ULL;
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, &create));
    EXPECT_EQ(queues[0].ringbuf_size, 1U);
    EXPECT_EQ(queues[1].ringbuf_size, 2U);
    EXPECT_EQ(create.queues.stride, sizeof(Older));
}

TEST(ObjArray, OfMoreThanThirtyTwoQueuesIsInvalidBeforeItIsRead) {
    drm_panthor_group_create create{};
    create.queues = {.stride = 32, .count = 33, .array = 0};
    EXPECT_EQ(marshal_error(DRM_IOCTL_PANTHOR_GROUP_CREATE, &create), Errno::invalid);
}

TEST(ObjArray, BeyondSixteenMebibytesIsNoMemory) {
    drm_panthor_vm_bind bind{};
    bind.ops = {.stride = 48, .count = UINT32_MAX, .array = 4096};
    EXPECT_EQ(marshal_error(DRM_IOCTL_PANTHOR_VM_BIND, &bind), Errno::no_memory);
    // As a hostile client would say it, without sending any.
    EXPECT_EQ(IncomingCall::parse(DRM_IOCTL_PANTHOR_VM_BIND, std::as_bytes(std::span(&bind, 1)), {}).error(),
              Errno::no_memory);
}

// ---- What else a struct points to

TEST(Pointers, AbsentPointsStayAbsent) {
    std::uint32_t handles[2]{1, 2};
    drm_syncobj_timeline_wait wait{};
    wait.handles = address(handles);
    wait.count_handles = 2;
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &wait, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    EXPECT_EQ(args_of<drm_syncobj_timeline_wait>(*call).points, 0U);
    EXPECT_EQ(reinterpret_cast<std::uint32_t*>(args_of<drm_syncobj_timeline_wait>(*call).handles)[1], 2U);
}

TEST(Pointers, ANullArrayThatMustBeThereIsAFault) {
    drm_syncobj_wait wait{};
    wait.count_handles = 1;
    EXPECT_EQ(marshal_error(DRM_IOCTL_SYNCOBJ_WAIT, &wait), Errno::fault);
}

TEST(Pointers, MemoryThatCannotBeReadOrWrittenIsAFault) {
    constexpr UserMemory kNone{.read = [](void*, const void*, std::size_t) { return false; },
                               .write = [](void*, const void*, std::size_t) { return false; }};
    drm_get_cap cap{};
    Outgoing out;
    EXPECT_EQ(marshal(DRM_IOCTL_GET_CAP, &cap, out, kNone).error(), Errno::fault);
    ASSERT_TRUE(marshal(DRM_IOCTL_GET_CAP, &cap, out));
    EXPECT_EQ(unmarshal_reply(out, 0, arrive(out)->reply(true), {}, &cap, kNone).error(), Errno::fault);
}

TEST(Pointers, AQueryWithoutAPointerAsksForTheSize) {
    drm_panthor_dev_query query{.type = DRM_PANTHOR_DEV_QUERY_GPU_INFO, .size = 1U << 31, .pointer = 0};
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_DEV_QUERY, &query, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    auto& args = args_of<drm_panthor_dev_query>(*call);
    EXPECT_EQ(args.pointer, 0U);
    args.size = 112;
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, &query));
    EXPECT_EQ(query.size, 112U);
}

TEST(Pointers, RoomBehindAnAnswerIsZeroedHoweverLongItIs) {
    std::vector<std::byte> room(100'000, std::byte{0xff});
    drm_panthor_dev_query query{
        .type = 0, .size = static_cast<std::uint32_t>(room.size()), .pointer = address(room.data())};
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_DEV_QUERY, &query, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    auto& args = args_of<drm_panthor_dev_query>(*call);
    EXPECT_EQ(args.size, kOutRoomMax);
    *reinterpret_cast<std::uint32_t*>(args.pointer) = 0xa8670000;
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, &query));
    EXPECT_EQ(query.size, room.size());
    EXPECT_EQ(get<std::uint32_t>(room, 0), 0xa8670000U);
    EXPECT_TRUE(
        std::ranges::all_of(std::span(room).subspan(4), [](std::byte b) { return b == std::byte{}; }));
}

TEST(Pointers, AStringFillsItsRoomOnlyAsFarAsItGoes) {
    std::array<char, 16> name{};
    name.fill('#');
    drm_version version{};
    version.name = address(name.data());
    version.name_len = name.size();
    version.desc_len = 1000;  // no pointer: only the length is asked for
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_VERSION, &version, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    auto& args = args_of<drm_version>(*call);
    ASSERT_EQ(args.name_len, 16U);
    std::memcpy(reinterpret_cast<char*>(args.name), "panthor", 7);
    args.name_len = 7;
    args.desc_len = 18;
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, &version));
    EXPECT_EQ(std::string_view(name.data(), name.size()), "panthor#########");
    EXPECT_EQ(version.name_len, 7U);
    EXPECT_EQ(version.desc_len, 18U);
    EXPECT_EQ(version.name, address(name.data()));
}

TEST(Pointers, AStringLongerThanItsRoomIsCutOffAndSaysItsWholeLength) {
    std::array<char, 4> name{'#', '#', '#', '#'};
    drm_version version{};
    version.name = address(name.data());
    version.name_len = 3;
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_VERSION, &version, out));
    auto call = arrive(out);
    std::memcpy(reinterpret_cast<char*>(args_of<drm_version>(*call).name), "pan", 3);
    args_of<drm_version>(*call).name_len = 7;
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, &version));
    EXPECT_EQ(std::string_view(name.data(), name.size()), "pan#");
    EXPECT_EQ(version.name_len, 7U);
}

TEST(Pointers, OutArraysAreNotWrittenIfTheRequestFailed) {
    std::uint32_t handle = 1;
    std::uint64_t point = 77;
    drm_syncobj_timeline_array query{
        .handles = address(&handle), .points = address(&point), .count_handles = 1, .flags = 0};
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_SYNCOBJ_QUERY, &query, out));
    auto call = arrive(out);
    *reinterpret_cast<std::uint64_t*>(args_of<drm_syncobj_timeline_array>(*call).points) = 1;
    EXPECT_EQ(unmarshal_reply(out, ENOENT, call->reply(false), {}, &query).error(), Errno::no_entry);
    EXPECT_EQ(point, 77U);
}

TEST(Pointers, AReplyThatDoesNotFitTheRequestIsAProtocolError) {
    drm_get_cap cap{.capability = 1, .value = 2};
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_GET_CAP, &cap, out));
    const std::array<std::byte, 17> reply{};
    for (const std::size_t bytes : {0U, 15U, 17U})
        EXPECT_EQ(unmarshal_reply(out, 0, std::span(reply).first(bytes), {}, &cap).error(), Errno::protocol);
    EXPECT_EQ(unmarshal_reply(out, -5, std::span(reply).first(16), {}, &cap).error(), Errno::protocol);
    EXPECT_EQ(cap.value, 2U);
}

// ---- Descriptors

struct DescriptorTest : testing::Test {
    base::Fd a = base::make_eventfd().value();
    base::Fd b = base::make_eventfd().value();
    drm_panthor_group_create create{};
    Outgoing out;
};

TEST_F(DescriptorTest, ThatAreThereBecomeIndicesInTheOrderOfTheTable) {
    create.flags = DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT | DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD;
    create.eventfd_sync_update = a.get();
    create.eventfd_group_state = -1;
    create.eventfd_doorbell = b.get();
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_GROUP_CREATE, &create, out));
    EXPECT_EQ(out.fds, (std::vector{a.get(), b.get()}));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    const auto& args = args_of<drm_panthor_group_create>(*call);
    EXPECT_EQ(args.eventfd_sync_update, 0);
    EXPECT_EQ(args.eventfd_group_state, -1);
    EXPECT_EQ(args.eventfd_doorbell, 1);
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, &create));
    EXPECT_EQ(create.eventfd_doorbell, b.get()) << "the program's number, not an index";
}

TEST_F(DescriptorTest, WithoutTheirFlagAreNotLookedAt) {
    create.flags = DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT;
    create.eventfd_sync_update = -1;
    create.eventfd_group_state = -1;
    create.eventfd_doorbell = 1'000'000;
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_GROUP_CREATE, &create, out));
    EXPECT_TRUE(out.fds.empty());
    auto call = arrive(out);
    ASSERT_TRUE(call);
    EXPECT_EQ(args_of<drm_panthor_group_create>(*call).eventfd_doorbell, -1);
}

TEST_F(DescriptorTest, ThatAreNotOpenAreBad) {
    create.flags = DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT;
    create.eventfd_sync_update = -1;
    for (const int bad : {1'000'000, -2}) {
        create.eventfd_group_state = bad;
        EXPECT_EQ(marshal_error(DRM_IOCTL_PANTHOR_GROUP_CREATE, &create), Errno::bad_fd);
    }
}

TEST_F(DescriptorTest, InAnotherNumberThanTheStructSaysAreAProtocolError) {
    create.flags = DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT;
    create.eventfd_sync_update = a.get();
    create.eventfd_group_state = -1;
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_GROUP_CREATE, &create, out));
    for (const std::size_t count : {0U, 2U}) {
        std::vector<base::Fd> fds(count);
        EXPECT_EQ(IncomingCall::parse(out.request, out.payload, std::move(fds)).error(), Errno::protocol);
    }
}

// ---- Messages

struct MessageTest : testing::Test {
    MessageTest() {
        std::array<int, 2> both{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, both.data()), 0);
        mine = base::Fd(both[0]);
        theirs = base::Fd(both[1]);
    }
    void send_raw(const void* bytes, std::size_t count, std::vector<int> fds = {}) {
        alignas(cmsghdr) std::array<std::byte, 512> control{};
        iovec part{const_cast<void*>(bytes), count};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        if (!fds.empty()) {
            message.msg_control = control.data();
            message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
            cmsghdr* const header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
            std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
        }
        ASSERT_EQ(::sendmsg(mine.get(), &message, 0), static_cast<ssize_t>(count));
    }
    Result<bool> receive() { return receive_message(theirs.get(), buffer, MSG_DONTWAIT); }

    base::Fd mine;
    base::Fd theirs;
    MessageBuffer buffer;
};

TEST_F(MessageTest, CarryAnyPayloadUpToTheLimit) {
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, kInlinePayloadMax, kInlinePayloadMax + 1,
                                    static_cast<std::size_t>(kPayloadBytesMax)}) {
        std::vector<std::byte> payload(bytes);
        for (std::size_t i = 0; i < bytes; ++i) payload[i] = static_cast<std::byte>(i * 7 + i / 251);
        MessageHeader header;
        header.request = 42;
        ASSERT_TRUE(send_message(mine.get(), header, payload, {}, 0));
        ASSERT_TRUE(receive().value());
        EXPECT_EQ(buffer.header.request, 42U);
        EXPECT_TRUE(std::ranges::equal(buffer.payload, payload)) << bytes;
        EXPECT_TRUE(buffer.fds.empty());
    }
}

TEST_F(MessageTest, CarryDescriptorsBesideALongPayload) {
    const base::Fd eventfd = base::make_eventfd().value();
    const std::vector<std::byte> payload(100'000);
    const int fd = eventfd.get();
    ASSERT_TRUE(send_message(mine.get(), {}, payload, std::span(&fd, 1), 0));
    ASSERT_TRUE(receive().value());
    ASSERT_EQ(buffer.fds.size(), 1U);
    base::ring_eventfd(buffer.fds[0].get());
    std::uint64_t count = 0;
    EXPECT_EQ(::read(fd, &count, sizeof count), 8);
}

TEST_F(MessageTest, OfAnotherMagicOrVersionAreRefused) {
    MessageHeader header;
    header.magic ^= 1;
    send_raw(&header, sizeof header);
    EXPECT_EQ(receive().error(), Errno::protocol);
    header = {};
    header.version = 99;
    send_raw(&header, sizeof header);
    EXPECT_EQ(receive().error(), Errno::protocol);
}

TEST_F(MessageTest, WhoseSizesAreLiesAreRefused) {
    MessageHeader header;
    send_raw(&header, sizeof header - 1);
    EXPECT_EQ(receive().error(), Errno::protocol);
    header.payload_bytes = 1;
    send_raw(&header, sizeof header);
    EXPECT_EQ(receive().error(), Errno::protocol);
    header.payload_bytes = 0;
    header.fd_count = 1;
    send_raw(&header, sizeof header);
    EXPECT_EQ(receive().error(), Errno::protocol);
    std::vector<std::byte> long_packet(sizeof header + kInlinePayloadMax + 1);
    header = {};
    header.payload_bytes = kInlinePayloadMax + 1;
    std::memcpy(long_packet.data(), &header, sizeof header);
    send_raw(long_packet.data(), long_packet.size());
    EXPECT_EQ(receive().error(), Errno::protocol);
}

TEST_F(MessageTest, WithUnexpectedDescriptorsAreRefusedAndTheDescriptorsClosed) {
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK), 0);
    const base::Fd read_end(pipe[0]);
    base::Fd write_end(pipe[1]);
    const MessageHeader header;
    send_raw(&header, sizeof header, {write_end.get()});
    write_end = base::Fd();
    EXPECT_EQ(receive().error(), Errno::protocol);
    char byte = 0;
    EXPECT_EQ(::read(read_end.get(), &byte, 1), 0) << "no copy of the write end is left";
}

TEST_F(MessageTest, WithMoreDescriptorsThanThereIsRoomForAreRefused) {
    const MessageHeader header;
    send_raw(&header, sizeof header, std::vector<int>(kMessageFdsMax + 8, mine.get()));
    EXPECT_EQ(receive().error(), Errno::protocol);
}

TEST_F(MessageTest, WhosePayloadIsInSomethingElseThanAFileInMemoryOfThatSizeAreRefused) {
    MessageHeader header;
    header.flags = MessageHeader::kPayloadInMemfd;
    header.payload_bytes = 5000;
    send_raw(&header, sizeof header);
    EXPECT_EQ(receive().error(), Errno::protocol) << "no descriptor at all";
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
    const base::Fd read_end(pipe[0]);
    const base::Fd write_end(pipe[1]);
    send_raw(&header, sizeof header, {read_end.get()});
    EXPECT_EQ(receive().error(), Errno::protocol) << "a pipe, which would block";
    const base::Fd memfd(::memfd_create("short", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(memfd.get(), 4999), 0);
    send_raw(&header, sizeof header, {memfd.get()});
    EXPECT_EQ(receive().error(), Errno::protocol) << "too short";
}

TEST_F(MessageTest, BeyondTheLimitAreNoMemoryAndNotRead) {
    MessageHeader header;
    header.flags = MessageHeader::kPayloadInMemfd;
    header.payload_bytes = kPayloadBytesMax + 1;
    send_raw(&header, sizeof header, {mine.get()});
    EXPECT_EQ(receive().error(), Errno::no_memory);
}

TEST_F(MessageTest, EndWithAHangUp) {
    EXPECT_EQ(receive().error(), Errno::again);
    mine = base::Fd();
    EXPECT_FALSE(receive().value());
}

TEST_F(MessageTest, ThatCarryAChannelCarryNothingElse) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    const base::Fd kept(ends[0]);
    const base::Fd sent(ends[1]);
    ASSERT_TRUE(send_channel(mine.get(), sent.get()));
    EXPECT_TRUE(receive_channel(theirs.get()).value());
    const base::Fd eventfd = base::make_eventfd().value();
    ASSERT_TRUE(send_channel(mine.get(), eventfd.get()));
    EXPECT_EQ(receive_channel(theirs.get()).error(), Errno::protocol);
    send_raw("x", 1);
    EXPECT_EQ(receive_channel(theirs.get()).error(), Errno::protocol);
    mine = base::Fd();
    EXPECT_FALSE(receive_channel(theirs.get()).value());
}

}  // namespace
}  // namespace belfry::uapi
