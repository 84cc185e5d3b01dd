// RingClient: a submit ring as its program has it, in a few words.
//
// Owns    the mappings. Requests go through the file that it is given, entries through memory.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomic.hpp"
#include "base/memory.hpp"
#include "belfry/uapi/submit_ring.h"
#include "drm/node.hpp"
#include "unit/test_call.hpp"

namespace belfry::drm {

struct RingSetup {
    std::uint32_t sq_entries = 8;
    std::uint32_t cq_entries = 0;
    std::uint32_t arena_bytes = 65536;
    int eventfd = -1;
};

/// As EXPECT_EQ compares and prints it.
struct Told {
    std::uint64_t user_data;
    std::int32_t result;
    friend bool operator==(const Told&, const Told&) = default;
    friend void PrintTo(const Told& told, std::ostream* out) {
        *out << "{" << told.user_data << ", " << told.result << "}";
    }
};

/// Of memory that is there at once.
inline base::Result<std::vector<MapSegment>> mmap_now(File& file, const MapRequest& request) {
    std::optional<base::Result<std::vector<MapSegment>>> answer;
    file.mmap(request, [&answer](const auto& segments) { answer = segments; });
    return answer.value();
}

class RingClient {
  public:
    explicit RingClient(File& file, const RingSetup& setup = {}) : file_(file) {
        uapi::belfry_submit_ring_create args{.sq_entries = setup.sq_entries,
                                             .cq_entries = setup.cq_entries,
                                             .arena_bytes = setup.arena_bytes,
                                             .eventfd_completions = -1};
        std::vector<base::Fd> fds;
        if (setup.eventfd >= 0) {
            args.eventfd_completions = 0;
            fds.emplace_back(::dup(setup.eventfd));
        }
        EXPECT_EQ(ioctl(DRM_IOCTL_BELFRY_SUBMIT_RING_CREATE, args, std::move(fds)), 0);
        made = args;
        const auto segments = *mmap_now(
            file,
            {.offset = args.mmap_offset, .bytes = args.mmap_bytes, .protection = PROT_READ | PROT_WRITE});
        client_ = *base::map_shared(segments[0].fd, 0, segments[0].bytes, segments[0].access);
        consumer_ = *base::map_shared(segments[1].fd, 0, segments[1].bytes, segments[1].access);
    }

    template <typename Args>
    int ioctl(std::uint64_t request, Args& args, std::vector<base::Fd> fds = {}) {
        const auto call = TestCall::make(static_cast<std::uint32_t>(request), args, std::move(fds));
        file_.ioctl(call);
        args = call->template args<Args>();
        return call->answer().value_or(-1);
    }
    int enter() {
        uapi::belfry_submit_ring_enter args{.handle = made.handle};
        return ioctl(DRM_IOCTL_BELFRY_SUBMIT_RING_ENTER, args);
    }
    int destroy() {
        uapi::belfry_submit_ring_destroy args{.handle = made.handle};
        return ioctl(DRM_IOCTL_BELFRY_SUBMIT_RING_DESTROY, args);
    }

    [[nodiscard]] uapi::belfry_submit_client& client() const {
        return *reinterpret_cast<uapi::belfry_submit_client*>(client_.data());
    }
    [[nodiscard]] const uapi::belfry_submit_consumer& consumer() const {
        return *reinterpret_cast<const uapi::belfry_submit_consumer*>(consumer_.data());
    }
    [[nodiscard]] std::byte* arena() const { return client_.data() + made.arena_offset; }
    template <typename T>
    std::uint32_t put(std::uint32_t offset, const std::vector<T>& elements) {
        std::memcpy(arena() + offset, elements.data(), elements.size() * sizeof(T));
        return offset;
    }
    [[nodiscard]] bool needs_wakeup() const {
        return (consumer().flags & uapi::BELFRY_SUBMIT_NEED_WAKEUP) != 0;
    }

    [[nodiscard]] uapi::belfry_submit_entry& at(std::uint32_t counter) const {
        auto* const entries =
            reinterpret_cast<uapi::belfry_submit_entry*>(client_.data() + made.entries_offset);
        return entries[counter & (made.sq_entries - 1)];
    }
    /// Writes an entry, and does not publish it.
    void write(const uapi::belfry_submit_entry& entry) { at(tail_++) = entry; }
    [[nodiscard]] bool has_room() const {
        return tail_ - base::load(consumer().sq_head, base::kAcquire) < made.sq_entries;
    }
    /// Publishes what was written; makes the request if it is needed.
    void publish() {
        publish_quietly();
        tell();
    }
    /// Its two halves.
    void publish_quietly() { base::store(client().sq_tail, tail_, base::kRelease); }
    void tell() {
        base::full_fence();
        if (needs_wakeup() && consumer().error == 0) {
            EXPECT_EQ(enter(), 0);
        }
    }
    void submit(std::initializer_list<uapi::belfry_submit_entry> entries) {
        for (const auto& entry : entries) write(entry);
        publish();
    }
    /// All completions there are.
    std::vector<Told> reap() {
        std::vector<Told> all;
        const std::uint32_t tail = base::load(consumer().cq_tail, base::kAcquire);
        for (; head_ != tail; ++head_) all.push_back(completion(head_));
        give_back(head_);
        return all;
    }
    [[nodiscard]] Told completion(std::uint32_t counter) const {
        const auto* const completions = reinterpret_cast<const uapi::belfry_submit_completion*>(
            consumer_.data() + sizeof(uapi::belfry_submit_consumer));
        const auto& completion = completions[counter & (made.cq_entries - 1)];
        return {.user_data = completion.user_data, .result = completion.result};
    }
    /// What was read before `head` may be written anew; makes the request if it is needed.
    void give_back(std::uint32_t head) {
        base::store(client().cq_head, head, base::kRelease);
        base::full_fence();
        constexpr auto kBoth = std::uint32_t{uapi::BELFRY_SUBMIT_NEED_WAKEUP | uapi::BELFRY_SUBMIT_CQ_FULL};
        if ((consumer().flags & kBoth) == kBoth) enter();
    }
    /// Counts what was written.
    [[nodiscard]] std::uint32_t tail() const { return tail_; }

    uapi::belfry_submit_ring_create made{};

  private:
    File& file_;
    base::Mapping client_;
    base::Mapping consumer_;
    std::uint32_t tail_ = 0;
    std::uint32_t head_ = 0;
};

inline uapi::belfry_submit_entry nop(std::uint64_t user_data, std::uint8_t flags = 0) {
    return {.opcode = uapi::BELFRY_SUBMIT_NOP, .flags = flags, .user_data = user_data};
}
inline uapi::belfry_submit_entry timeout(std::uint64_t user_data, std::uint64_t ns, std::uint32_t how = 0,
                                         std::uint8_t flags = 0) {
    return {.opcode = uapi::BELFRY_SUBMIT_TIMEOUT,
            .flags = flags,
            .user_data = user_data,
            .payload = {ns, how, 0}};
}
inline uapi::belfry_submit_entry cancel(std::uint64_t user_data, std::uint64_t whom, std::uint8_t flags = 0) {
    return {.opcode = uapi::BELFRY_SUBMIT_CANCEL,
            .flags = flags,
            .user_data = user_data,
            .payload = {whom, 0, 0}};
}

}  // namespace belfry::drm
