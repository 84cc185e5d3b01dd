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
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.hpp"
#include "belfry/uapi/dma_buf.h"
#include "belfry/uapi/drm.h"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/sync_file.h"
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
            if (field.flag != 0) put<std::uint32_t>(args_, field.flags_offset, ~0U);
            put<std::int32_t>(args_, field.offset, eventfd_.get());
        }
        argument_ = ioctl.by_value ? reinterpret_cast<void*>(get<std::uint64_t>(args_, 0)) : args_.data();
    }
    std::span<std::byte> args() { return args_; }
    /// As it is passed to ioctl().
    void* argument() { return argument_; }
    [[nodiscard]] int target() const { return eventfd_.get(); }

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
            if (attachment.kind == AttachmentKind::c_string) elements.back() = std::byte{};
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
    void* argument_ = nullptr;
    unsigned next_ = 0;
};

/// What an attachment's field points to, as a handler would follow it.
std::span<std::byte> pointed_to(const Attachment& attachment, std::span<const std::byte> object) {
    const bool array = attachment.kind == AttachmentKind::obj_array;
    const auto pointer = get<std::uint64_t>(
        object, attachment.pointer_offset + (array ? offsetof(drm_panthor_obj_array, array) : 0));
    if (pointer == 0) return {};
    std::uint64_t count = 0;
    switch (attachment.count_width) {
        case 8:  count = get<std::uint64_t>(object, attachment.count_offset); break;
        case 4:  count = get<std::uint32_t>(object, attachment.count_offset); break;
        default: count = std::strlen(reinterpret_cast<const char*>(pointer)) + 1; break;
    }
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

/// What a handler must leave alone, as it says what becomes of a descriptor that it gives.
bool gives_flags(const Ioctl& ioctl, const Field& field) {
    return std::ranges::any_of(ioctl.descriptors, [&](const DescriptorField& descriptor) {
        return descriptor.flag != 0 && descriptor.flags_offset == field.offset;
    });
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
    if (!GetParam().by_value) {
        EXPECT_EQ(_IOC_SIZE(GetParam().request), GetParam().layout->bytes);
    }
    EXPECT_EQ(find_ioctl(GetParam().request).value()->name, GetParam().name);
}

TEST_P(EachIoctl, ArrivesAsItWasSentAndGoesBackAsItWasAnswered) {
    const Ioctl& ioctl = GetParam();
    Program program(ioctl);
    const bool goes_there =
        ioctl.by_value || ioctl.layout->bytes == 0 || (_IOC_DIR(ioctl.request) & _IOC_WRITE) != 0;
    std::vector<std::byte> before(program.args().begin(), program.args().end());
    if (!goes_there) std::ranges::fill(before, std::byte{});
    Outgoing out;
    ASSERT_TRUE(marshal(ioctl.request, program.argument(), out, kPlainMemory, program.target()));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    EXPECT_EQ(call->ioctl().request, ioctl.request);
    EXPECT_EQ(static_cast<bool>(call->take_target()), ioctl.target);
    expect_same(*ioctl.layout, before, call->args());

    // A handler that inverts each byte it may write.
    for (const Field& field : ioctl.layout->fields) {
        if (is_replaced(field.kind) || field.kind == FieldKind::count) continue;
        if (gives_flags(ioctl, field)) continue;
        for (std::byte& byte : call->args().subspan(field.offset, field.width)) byte = ~byte;
    }
    std::vector<base::Fd> given;
    for (const DescriptorField& field : ioctl.descriptors) {
        if (field.direction != Direction::out) continue;
        put<std::int32_t>(call->args(), field.offset, static_cast<std::int32_t>(given.size()));
        given.push_back(base::make_eventfd().value());
    }
    std::vector<int> numbers;
    for (const base::Fd& fd : given) numbers.push_back(fd.get());
    std::vector<std::vector<std::byte>> answers;
    for (const Attachment& attachment : ioctl.layout->attachments) {
        if (!goes_out(attachment.direction)) continue;
        const auto elements = pointed_to(attachment, call->args());
        for (std::byte& byte : elements) byte = ~byte;
        answers.emplace_back(elements.begin(), elements.end());
    }

    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), given, program.argument()));
    std::vector<base::Fd> programs;
    for (const DescriptorField& field : ioctl.descriptors)
        if (field.direction == Direction::out)
            programs.emplace_back(get<std::int32_t>(program.args(), field.offset));
    EXPECT_TRUE(std::ranges::equal(programs, numbers, {}, &base::Fd::get));
    EXPECT_TRUE(std::ranges::none_of(given, &base::Fd::operator bool));

    const bool comes_back = (_IOC_DIR(ioctl.request) & _IOC_READ) != 0;
    for (const Field& field : ioctl.layout->fields) {
        if (std::ranges::any_of(ioctl.descriptors, [&](const DescriptorField& descriptor) {
                return descriptor.direction == Direction::out && descriptor.offset == field.offset;
            }))
            continue;
        const bool kept = is_replaced(field.kind) || field.kind == FieldKind::count || !comes_back ||
                          gives_flags(ioctl, field);
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
    ASSERT_TRUE(marshal(ioctl.request, program.argument(), out, kPlainMemory, program.target()));

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

// Numbers as in facts/uapi.md 1.2, 4.1, 4.2, 5 and 7.3.
TEST(IoctlTable, KnowsTheKernelsNumbers) {
    constexpr std::pair<std::uint32_t, std::string_view> kAll[] = {
        {0xc0303e03, "SYNC_MERGE"},
        {0xc0383e04, "SYNC_FILE_INFO"},
        {0x40103e05, "SYNC_SET_DEADLINE"},
        {0xc0285700, "SW_SYNC_CREATE_FENCE"},
        {0x40045701, "SW_SYNC_INC"},
        {0xc0105702, "SW_SYNC_GET_DEADLINE"},
        {0x40086200, "DMA_BUF_SYNC"},
        {0x40046201, "DMA_BUF_SET_NAME_A"},
        {0x40086201, "DMA_BUF_SET_NAME_B"},
        {0xc0086202, "DMA_BUF_EXPORT_SYNC_FILE"},
        {0x40086203, "DMA_BUF_IMPORT_SYNC_FILE"},
        {0xc0406400, "VERSION"},
        {0xc0106401, "GET_UNIQUE"},
        {0x80046402, "GET_MAGIC"},
        {0xc0286405, "GET_CLIENT"},
        {0x80f86406, "GET_STATS"},
        {0xc0106407, "SET_VERSION"},
        {0x40086409, "GEM_CLOSE"},
        {0xc008640a, "GEM_FLINK"},
        {0xc010640b, "GEM_OPEN"},
        {0xc010640c, "GET_CAP"},
        {0x4010640d, "SET_CLIENT_CAP"},
        {0x40046411, "AUTH_MAGIC"},
        {0x0000641e, "SET_MASTER"},
        {0x0000641f, "DROP_MASTER"},
        {0xc00c642d, "PRIME_HANDLE_TO_FD"},
        {0xc00c642e, "PRIME_FD_TO_HANDLE"},
        {0xc0106440, "PANTHOR_DEV_QUERY"},
        {0xc0106441, "PANTHOR_VM_CREATE"},
        {0xc0086442, "PANTHOR_VM_DESTROY"},
        {0xc0186443, "PANTHOR_VM_BIND"},
        {0xc0086444, "PANTHOR_VM_GET_STATE"},
        {0xc0186445, "PANTHOR_BO_CREATE"},
        {0xc0106446, "PANTHOR_BO_MMAP_OFFSET"},
        {DRM_IOCTL_PANTHOR_GROUP_CREATE, "PANTHOR_GROUP_CREATE"},  // longer than the kernel's
        {0xc0086448, "PANTHOR_GROUP_DESTROY"},
        {0xc0186449, "PANTHOR_GROUP_SUBMIT"},
        {0xc010644a, "PANTHOR_GROUP_GET_STATE"},
        {0xc028644b, "PANTHOR_TILER_HEAP_CREATE"},
        {0xc008644c, "PANTHOR_TILER_HEAP_DESTROY"},
        {0xc010644d, "PANTHOR_BO_SET_LABEL"},
        {0xc008644e, "PANTHOR_SET_USER_MMIO_OFFSET"},
        {0xc0086470, "PANTHOR_GROUP_KICK"},  // renumbered from here on, as long as in the series
        {0xc0106471, "PANTHOR_XGS_QUEUE_CREATE"},
        {0xc0086472, "PANTHOR_XGS_QUEUE_DESTROY"},
        {0xc0286473, "PANTHOR_XGS_QUEUE_SUBMIT"},
        {0xc0086474, "PANTHOR_SYNC_UPDATE"},
        {DRM_IOCTL_BELFRY_GROUP_GET_FAULT, "BELFRY_GROUP_GET_FAULT"},
        {DRM_IOCTL_BELFRY_DEVICE_INFO, "BELFRY_DEVICE_INFO"},
        {0xc00864bf, "SYNCOBJ_CREATE"},
        {0xc00864c0, "SYNCOBJ_DESTROY"},
        {0xc01864c1, "SYNCOBJ_HANDLE_TO_FD"},
        {0xc01864c2, "SYNCOBJ_FD_TO_HANDLE"},
        {0xc02864c3, "SYNCOBJ_WAIT"},
        {0xc01064c4, "SYNCOBJ_RESET"},
        {0xc01064c5, "SYNCOBJ_SIGNAL"},
        {0xc03064ca, "SYNCOBJ_TIMELINE_WAIT"},
        {0xc01864cb, "SYNCOBJ_QUERY"},
        {0xc02064cc, "SYNCOBJ_TRANSFER"},
        {0xc01864cd, "SYNCOBJ_TIMELINE_SIGNAL"},
        {0xc01864cf, "SYNCOBJ_EVENTFD"},
        {0xc01064d1, "SET_CLIENT_NAME"},
        {0xc00864d2, "GEM_CHANGE_HANDLE"},
        {0xc03864f0, "BELFRY_SUBMIT_RING_CREATE"},
        {0x400864f1, "BELFRY_SUBMIT_RING_DESTROY"},
        {0x400864f2, "BELFRY_SUBMIT_RING_ENTER"},
    };
    for (const auto& [request, name] : kAll) {
        const auto row = find_ioctl(request);
        ASSERT_TRUE(row) << name;
        EXPECT_EQ((*row)->name, name);
        EXPECT_EQ((*row)->request, request) << name;
    }
    const auto modesetting =
        std::ranges::count_if(ioctls(), [](const Ioctl& row) { return row.layout->name == "modesetting"; });
    EXPECT_EQ(ioctls().size(), std::size(kAll) + static_cast<std::size_t>(modesetting));
}

TEST(IoctlTable, KnowsWhatOnlyDisplaysAnswerByNumberAlone) {
    EXPECT_EQ(find_ioctl(0xc018643a).value()->name, "WAIT_VBLANK");
    EXPECT_EQ(find_ioctl(0xc04064a0).value()->name, "MODE_GETRESOURCES");
    for (std::uint32_t nr = 0xa0; nr <= 0xd2; ++nr) EXPECT_TRUE(find_ioctl(_IO('d', nr))) << nr;
}

TEST(IoctlTable, SaysNotATtyToOtherTypesAndInvalidToUnknownNumbers) {
    EXPECT_EQ(find_ioctl(0x5401).error(), Errno::not_a_tty);  // TCGETS
    EXPECT_EQ(find_ioctl(static_cast<std::uint32_t>(_IO('d', 0x5f))).error(), Errno::invalid);
    EXPECT_EQ(find_ioctl(static_cast<std::uint32_t>(_IO('d', 0xff))).error(), Errno::invalid);
    EXPECT_EQ(find_ioctl(static_cast<std::uint32_t>(_IO('d', 0x03))).error(), Errno::invalid);  // IRQ_BUSID
    for (const char type : {'>', 'W', 'b'})
        EXPECT_EQ(find_ioctl(static_cast<std::uint32_t>(_IO(type, 0x3f))).error(), Errno::not_a_tty);
}

TEST(IoctlTable, TakesRequestsToOtherFilesExactly) {
    EXPECT_EQ(find_ioctl(0xc0203e03).error(), Errno::not_a_tty) << "MERGE of 32 bytes";
    EXPECT_EQ(find_ioctl(0x80086200).error(), Errno::not_a_tty) << "SYNC the other way";
    EXPECT_EQ(find_ioctl(0x40106201).error(), Errno::not_a_tty) << "SET_NAME of 16 bytes";
    EXPECT_EQ(find_ioctl(0x40046201).value()->name, "DMA_BUF_SET_NAME_A");
    EXPECT_EQ(find_ioctl(0x40086201).value()->name, "DMA_BUF_SET_NAME_B");
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

TEST(Pointers, ANameThatDoesNotFitLeavesItsRoomAlone) {
    std::array<char, 4> name{'#', '#', '#', '#'};
    drm_unique unique{.unique_len = name.size(), .unique = address(name.data())};
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_GET_UNIQUE, &unique, out));
    auto call = arrive(out);
    args_of<drm_unique>(*call).unique_len = 12;
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, &unique));
    EXPECT_EQ(unique.unique_len, 12U);
    EXPECT_EQ(std::string_view(name.data(), name.size()), "####");
}

TEST(Pointers, TextIsCarriedUpToWhatAHandlerLooksAt) {
    const std::string name(64, 'n');
    drm_set_client_name args{.name_len = 64, .name = address(name.data())};
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_SET_CLIENT_NAME, &args, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    const auto& seen = args_of<drm_set_client_name>(*call);
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(seen.name), seen.name_len), name);

    for (const std::uint64_t too_long : {std::uint64_t{65}, ~std::uint64_t{0}}) {
        args = {.name_len = too_long, .name = 1};  // an address that must not be read
        ASSERT_TRUE(marshal(DRM_IOCTL_SET_CLIENT_NAME, &args, out));
        call = arrive(out);
        EXPECT_EQ(args_of<drm_set_client_name>(*call).name_len, too_long);
        EXPECT_EQ(args_of<drm_set_client_name>(*call).name, 0U);
    }
}

const char* label_seen(IncomingCall& call) {
    return reinterpret_cast<const char*>(args_of<drm_panthor_bo_set_label>(call).label);
}

TEST(CString, ArrivesWithItsEndAndNothingBehindIt) {
    Outgoing out;
    for (const std::string text : {"", "vertices", "a\nb"}) {
        const auto exact = std::make_unique<char[]>(text.size() + 1);  // ASan watches its end
        std::ranges::copy(text, exact.get());
        const drm_panthor_bo_set_label label{.handle = 3, .pad = 0, .label = address(exact.get())};
        ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_BO_SET_LABEL, &label, out));
        EXPECT_EQ(out.payload.size(), sizeof label + text.size() + 1);
        auto call = arrive(out);
        ASSERT_TRUE(call);
        EXPECT_EQ(label_seen(*call), text);
    }
}

TEST(CString, MayBeAbsentWhichIsNotEmpty) {
    Outgoing out;
    const drm_panthor_bo_set_label label{.handle = 3, .pad = 0, .label = 0};
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_BO_SET_LABEL, &label, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    EXPECT_EQ(label_seen(*call), nullptr);
}

TEST(CString, IsCutOffWhereItIsTooLongForTheHandler) {
    Outgoing out;
    for (const std::size_t length : {4095U, 4096U, 10'000U}) {
        const std::string text(length, 'x');
        const drm_panthor_bo_set_label label{.handle = 3, .pad = 0, .label = address(text.c_str())};
        ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_BO_SET_LABEL, &label, out));
        auto call = arrive(out);
        ASSERT_TRUE(call);
        EXPECT_EQ(std::strlen(label_seen(*call)), std::min<std::size_t>(length, 4096));
    }
}

TEST(CString, WithoutAnEndOnTheWireIsAProtocolError) {
    Outgoing out;
    const drm_panthor_bo_set_label label{.handle = 3, .pad = 0, .label = address("name")};
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_BO_SET_LABEL, &label, out));
    out.payload.pop_back();
    EXPECT_EQ(arrive(out).error(), Errno::protocol);
}

TEST(CString, OfADmaBufsNameIsTheArgumentItself) {
    const base::Fd target = base::make_eventfd().value();
    Outgoing out;
    const std::string name(40, 'n');
    for (const std::uint32_t request : {0x40046201U, 0x40086201U}) {
        ASSERT_TRUE(marshal(request, name.c_str(), out, kPlainMemory, target.get()));
        auto call = arrive(out);
        ASSERT_TRUE(call);
        EXPECT_EQ(call->ioctl().request, request);
        EXPECT_EQ(std::strlen(reinterpret_cast<const char*>(args_of<dma_buf_set_name>(*call).name)), 32U);
        ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, const_cast<char*>(name.c_str())));
        EXPECT_EQ(name, std::string(40, 'n')) << "nothing is written";
    }
    EXPECT_EQ(marshal(DMA_BUF_SET_NAME_B, nullptr, out, kPlainMemory, target.get()).error(), Errno::fault);
}

struct FileInfoTest : testing::Test {
    base::Fd target = base::make_eventfd().value();
    std::array<struct sync_fence_info, 3> fences{};
    sync_file_info info{};
    Outgoing out;
    FileInfoTest() {
        info.num_fences = 3;
        info.sync_fence_info = address(fences.data());
        fences[2].status = 99;
    }
};

TEST_F(FileInfoTest, WritesAsManyFencesAsTheHandlerSaysThereAre) {
    ASSERT_TRUE(marshal(SYNC_IOC_FILE_INFO, &info, out, kPlainMemory, target.get()));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    auto& args = args_of<sync_file_info>(*call);
    reinterpret_cast<struct sync_fence_info*>(args.sync_fence_info)[1].status = 1;
    args.num_fences = 2;
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, &info));
    EXPECT_EQ(info.num_fences, 2U);
    EXPECT_EQ(fences[1].status, 1);
    EXPECT_EQ(fences[2].status, 99);
    EXPECT_EQ(info.sync_fence_info, address(fences.data()));
}

TEST_F(FileInfoTest, ThatFailsWritesNothing) {
    info.status = 5;
    ASSERT_TRUE(marshal(SYNC_IOC_FILE_INFO, &info, out, kPlainMemory, target.get()));
    auto call = arrive(out);
    args_of<sync_file_info>(*call).status = 6;
    EXPECT_EQ(unmarshal_reply(out, EINVAL, call->reply(false), {}, &info).error(), Errno::invalid);
    EXPECT_EQ(info.status, 5);
}

TEST_F(FileInfoTest, HasRoomForAllHoweverManyTheProgramNames) {
    info.num_fences = ~0U;
    ASSERT_TRUE(marshal(SYNC_IOC_FILE_INFO, &info, out, kPlainMemory, target.get()));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    auto& args = args_of<sync_file_info>(*call);
    EXPECT_GE(args.num_fences, 1000U);
    args.num_fences = 1;
    ASSERT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, &info));
    EXPECT_EQ(info.num_fences, 1U);
}

TEST(NoStruct, ARequestWithoutArgumentsNeedsNoMemory) {
    Outgoing out;
    ASSERT_TRUE(marshal(DRM_IOCTL_SET_MASTER, nullptr, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    EXPECT_TRUE(call->args().empty());
    EXPECT_TRUE(unmarshal_reply(out, 0, call->reply(true), {}, nullptr));
    EXPECT_EQ(unmarshal_reply(out, EACCES, call->reply(false), {}, nullptr).error(), Errno::access);
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

TEST_F(DescriptorTest, ThatAreNotThereArriveAsNoneOrAsClosed) {
    create.flags = DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT;
    create.eventfd_sync_update = -77;
    create.eventfd_group_state = 1'000'000;
    ASSERT_TRUE(marshal(DRM_IOCTL_PANTHOR_GROUP_CREATE, &create, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    EXPECT_EQ(args_of<drm_panthor_group_create>(*call).eventfd_sync_update, kNoDescriptor);
    EXPECT_EQ(args_of<drm_panthor_group_create>(*call).eventfd_group_state, kClosedDescriptor);
    EXPECT_FALSE(unmarshal_reply(out, EBADF, call->reply(false), {}, &create));
    EXPECT_EQ(create.eventfd_sync_update, -77);
    EXPECT_EQ(create.eventfd_group_state, 1'000'000);
}

TEST_F(DescriptorTest, WithoutAFlagAreAlwaysLookedAt) {
    drm_prime_handle prime{.handle = 0, .flags = 0, .fd = a.get()};
    ASSERT_TRUE(marshal(DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime, out));
    EXPECT_EQ(out.fds, std::vector{a.get()});
    prime.fd = 1'000'000;
    ASSERT_TRUE(marshal(DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime, out));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    EXPECT_EQ(args_of<drm_prime_handle>(*call).fd, kClosedDescriptor);
}

TEST_F(DescriptorTest, OfATargetTravelFirst) {
    sync_merge_data merge{};
    merge.fd2 = b.get();
    ASSERT_TRUE(marshal(SYNC_IOC_MERGE, &merge, out, kPlainMemory, a.get()));
    EXPECT_EQ(out.fds, (std::vector{a.get(), b.get()}));
    auto call = arrive(out);
    ASSERT_TRUE(call);
    EXPECT_EQ(args_of<sync_merge_data>(*call).fd2, 0);
    EXPECT_EQ(args_of<sync_merge_data>(*call).fence, kNoDescriptor);
    base::ring_eventfd(call->take_target().get());
    std::uint64_t count = 0;
    EXPECT_EQ(::read(a.get(), &count, sizeof count), 8);
    EXPECT_EQ(call->take_fds().size(), 1U);
}

TEST_F(DescriptorTest, OfATargetAreNeededAtBothEnds) {
    dma_buf_sync sync{.flags = DMA_BUF_SYNC_READ};
    EXPECT_EQ(marshal(DMA_BUF_IOCTL_SYNC, &sync, out).error(), Errno::bad_fd);
    EXPECT_EQ(marshal(DMA_BUF_IOCTL_SYNC, &sync, out, kPlainMemory, 1'000'000).error(), Errno::bad_fd);
    EXPECT_EQ(IncomingCall::parse(DMA_BUF_IOCTL_SYNC, std::as_bytes(std::span(&sync, 1)), {}).error(),
              Errno::protocol);
}

/// A driver's answer to PRIME_HANDLE_TO_FD that gives an eventfd.
struct GivenDescriptorTest : testing::Test {
    drm_prime_handle prime{.handle = 1, .flags = DRM_CLOEXEC, .fd = 77};
    Outgoing out;
    std::vector<base::Fd> fds;

    std::vector<std::byte> answer(std::int32_t index = 0) {
        EXPECT_TRUE(marshal(DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime, out));
        auto call = arrive(out);
        args_of<drm_prime_handle>(*call).fd = index;
        fds.push_back(base::make_eventfd().value());
        return call->reply(true);
    }
};

TEST_F(GivenDescriptorTest, IsTheProgramsAndClosedOnExecIfItSaysSo) {
    for (const std::uint32_t flags : {0U, DRM_CLOEXEC}) {
        prime.flags = flags;
        const auto reply = answer();
        const int number = fds.back().get();
        ASSERT_TRUE(unmarshal_reply(out, 0, reply, std::span(fds).last(1), &prime));
        EXPECT_EQ(prime.fd, number);
        EXPECT_EQ(::fcntl(prime.fd, F_GETFD), flags != 0 ? FD_CLOEXEC : 0);
        EXPECT_FALSE(fds.back()) << "not ours any more";
        ::close(prime.fd);
    }
}

TEST_F(GivenDescriptorTest, IsClosedIfTheProgramCannotBeToldItsNumber) {
    const UserMemory kReadOnly{.read = kPlainMemory.read,
                               .write = [](void*, const void*, std::size_t) { return false; }};
    const auto reply = answer();
    const int number = fds[0].get();
    EXPECT_EQ(unmarshal_reply(out, 0, reply, fds, &prime, kReadOnly).error(), Errno::fault);
    EXPECT_EQ(::fcntl(number, F_GETFD), -1);
    EXPECT_EQ(prime.fd, 77);
}

TEST_F(GivenDescriptorTest, ThatDidNotComeIsAProtocolError) {
    for (const std::int32_t index : {-1, 1, INT32_MAX}) {
        const auto reply = answer(index);
        EXPECT_EQ(unmarshal_reply(out, 0, reply, std::span(fds).last(1), &prime).error(), Errno::protocol);
        EXPECT_EQ(prime.fd, 77);
    }
}

TEST_F(GivenDescriptorTest, LeavesTheFieldAloneIfTheRequestFailed) {
    (void)answer();
    EXPECT_EQ(unmarshal_reply(out, ENOENT, arrive(out)->reply(false), {}, &prime).error(), Errno::no_entry);
    EXPECT_EQ(prime.fd, 77);
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
