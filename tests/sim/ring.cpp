#include "sim/ring.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace belfry::panthor::sim {
namespace {

constexpr unsigned kEntriesMax = 64;  // in a schedule
constexpr unsigned kGroupsMax = 6;    // in its life
constexpr unsigned kMappedJobs = 4;   // entries of write_mapped_jobs()
constexpr Reg kCountRegister = r(20);

constexpr std::uint64_t kStreamBytes = 128;
constexpr std::uint64_t sync_offset(unsigned place) { return place * sizeof(belfry_sync_object64); }
constexpr std::uint64_t count_offset(unsigned place) {
    return sync_offset(kEntriesMax) + place * sizeof(std::uint32_t);
}
static_assert(count_offset(kEntriesMax) <= kPage);
constexpr std::uint64_t kAliasVa = 0x4000'0000;
constexpr std::uint64_t kUnmapped = 0x5000'0000;
/// In the arena, for each place: points, then operations.
constexpr std::uint32_t kArenaBytes = 256;
constexpr std::uint32_t kOpsOffset = 64;
/// Behind them, points of an entry that costs its ring half a turn.
constexpr std::uint32_t kWideOffset = kEntriesMax * kArenaBytes;
constexpr std::uint16_t kWideSyncs = 1024;

template <typename Payload>
belfry_submit_entry entry_of(int opcode, const Payload& payload) {
    belfry_submit_entry entry{.opcode = static_cast<std::uint8_t>(opcode)};
    static_assert(sizeof payload == sizeof entry.payload);
    std::memcpy(entry.payload, &payload, sizeof payload);
    return entry;
}

}  // namespace

SimRing::SimRing(World& world, Client& client) : world_(world), client_(client), vm_(client.create_vm()) {
    page_ = client.memory(vm_);
    second_ = client.memory(vm_);
    streams_ = client.memory(vm_, kEntriesMax * kStreamBytes);
    for (unsigned place = 0; place < kEntriesMax; ++place) syncobjs_.push_back(client.syncobj());
    gate_ = client.syncobj();
    open_group();
    open_ring();
    open_xgs_queue();
}

void SimRing::open_xgs_queue() {
    if (!world_.features.xgs) return;
    drm_panthor_xgs_queue_create create{.vm_id = vm_, .eventfd_sync_update = -1};
    EXPECT_EQ(client_.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, create), 0);
    xgs_queue_ = create.handle;
}

void SimRing::open_ring() {
    Draw& draw = world_.draw;
    const std::uint32_t entries = 4U << draw.below(5);
    ring_.emplace(
        client_.file(),
        drm::RingSetup{.sq_entries = entries,
                       .cq_entries = draw.one_in(2) ? entries : 0,
                       .arena_bytes = kWideOffset + kWideSyncs * std::uint32_t{sizeof(belfry_submit_sync)}});
    ring_->put(kWideOffset,
               std::vector<belfry_submit_sync>(kWideSyncs, {.flags = 0, .handle = gate_, .point = 1}));
    reaps_ = !draw.one_in(5);
    floods_ = reaps_ && draw.one_in(4);
    destroyed_ = wild_tail_ = wild_head_ = link_open_ = chain_broken_ = false;
    chain_.reset();
    telling_ = Telling::nothing;
    published_ = seen_ = given_back_ = event_ = 0;
    draw.say("ring", ring_->made.handle, entries);
}

void SimRing::open_group() {
    group_doomed_ = false;
    jobs_before_ = 0;
    group_ =
        groups_++ < kGroupsMax
            ? &client_.kernel_group({.priority = static_cast<std::uint8_t>(world_.draw.below(4)), .vm = vm_})
            : nullptr;
}

belfry_sync_object64& SimRing::sync(unsigned place) const { return page_.sync(sync_offset(place)); }
std::uint32_t& SimRing::count(unsigned place, bool second) const {
    return (second ? second_ : page_).as<std::uint32_t>(count_offset(place));
}
int SimRing::fence(unsigned place) const {
    return client_.has_fence(syncobjs_[place]) ? client_.fence_status(syncobjs_[place]) : kNoFence;
}
bool SimRing::taken(const Entry& entry) const {
    return static_cast<std::int32_t>(base::load(ring_->consumer().sq_head, base::kAcquire) - entry.at) > 0;
}

/// Of a ring that lives.
bool SimRing::over(unsigned place) const {
    const Entry& entry = entries_[place];
    if (entry.result) return true;
    if (!has(entry, BELFRY_SUBMIT_NO_SUCCESS_COMPLETION)) return false;
    const int status = fence(place);
    return status != kNoFence && (status != 0 || has(entry, BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE));
}

/// The acceptance of an XGS job without a bound, if nobody is to be told of it, cannot be seen.
bool SimRing::may_be_over(unsigned place) const {
    const Entry& entry = entries_[place];
    const bool silent = entry.kind == Kind::xgs && !entry.bounded &&
                        has(entry, BELFRY_SUBMIT_NO_SUCCESS_COMPLETION) &&
                        has(entry, BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE);
    return over(place) || (silent && taken(entry));
}

void SimRing::begin() {
    const auto ran = [&](unsigned place) {
        return entries_[place].kind == Kind::job && sync(place).value == 1;
    };
    for (unsigned place = 0; place < entries_.size(); ++place) jobs_before_ += ran(place) ? 1U : 0U;
    if (group_may_be_dead()) {
        if (group_ != nullptr) client_.group_destroy(group_->handle());
        open_group();
    }
    if (chain_) chain_broken_ = failed(entries_[*chain_]);
    chain_.reset();
    const bool stuck = std::ranges::any_of(entries_, [&](const Entry& entry) { return !taken(entry); });
    if (destroyed_ && xgs_queue_ != 0) {
        // A job that was accepted may wait for one of a group that has died, and nobody releases it.
        drm_panthor_xgs_queue_destroy destroy{.handle = std::exchange(xgs_queue_, 0)};
        EXPECT_EQ(client_.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_DESTROY, destroy), 0);
        open_xgs_queue();
    }
    if (destroyed_ || wild_tail_ || wild_head_ || stuck) {
        if (!destroyed_) {
            EXPECT_EQ(ring_->destroy(), 0);
        }
        open_ring();
    }
    drm_syncobj_array reset{.handles = reinterpret_cast<std::uint64_t>(syncobjs_.data()),
                            .count_handles = kEntriesMax};
    EXPECT_EQ(client_.ioctl(DRM_IOCTL_SYNCOBJ_RESET, reset), 0);
    std::memset(page_.mapping.data(), 0, kPage);
    std::memset(second_.mapping.data(), 0, kPage);
    entries_.clear();
    to_release_.clear();
    began_ = world_.rig.host.now;
    first_name_ = next_name_;
    first_beside_ = 0;
    slow_ = false;
}

// --- what it does

void SimRing::act(std::optional<SomeFence> fence) {
    Draw& draw = world_.draw;
    switch (draw.below(12)) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4: write(fence); break;
        case 5:
        case 6:
        case 7: tell(); break;
        case 8:
            if (!reaps_ || destroyed_ || wild_head_) break;
            given_back_ += draw.below(seen_ - given_back_ + 1);
            ring_->give_back(given_back_);
            break;
        case 9:  open_gate(); break;
        case 10: release(); break;
        case 11:
            if (world_.features.group_deaths && group_ != nullptr && !group_doomed_ && draw.one_in(8)) {
                draw.say("destroys the ring's group");
                group_doomed_ = true;
                client_.group_destroy(std::exchange(group_, nullptr)->handle());
            } else if (draw.one_in(16)) {
                destroy();
            } else if (world_.features.hostile && draw.one_in(8)) {
                misbehave();
            }
    }
}

void SimRing::write(std::optional<SomeFence> fence) {
    Draw& draw = world_.draw;
    if (destroyed_ || wild_tail_ || telling_ == Telling::look) return;
    const std::uint32_t before = ring_->tail();
    // Sometimes more than the group's queue takes at a time.
    const unsigned many = draw.one_in(8) ? 40 : 1 + draw.below(4);
    const bool jobs = many > 4;
    if (!jobs && draw.one_in(8)) {
        write_mapped_jobs();
    } else {
        for (unsigned i = 0; i < many && entries_.size() < kEntriesMax && ring_->has_room(); ++i)
            if (jobs && group_ != nullptr)
                add_job(fence, 0);
            else
                write_any(fence, static_cast<std::uint8_t>(
                                     (draw.one_in(3) ? BELFRY_SUBMIT_LINK : 0) |
                                     (draw.one_in(10) ? BELFRY_SUBMIT_DRAIN : 0) |
                                     (draw.one_in(6) ? BELFRY_SUBMIT_NO_SUCCESS_COMPLETION : 0) |
                                     (draw.one_in(6) ? BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE : 0)));
    }
    if (ring_->tail() != before) telling_ = Telling::publish;
}

void SimRing::write_any(std::optional<SomeFence> fence, std::uint8_t flags) {
    constexpr auto kOfDriver = std::uint8_t{BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE};
    constexpr auto kQuiet = std::uint8_t{BELFRY_SUBMIT_NO_SUCCESS_COMPLETION};
    switch (world_.draw.below(10)) {
        case 0:
        case 1:
        case 2: add_nop(fence, flags & ~kOfDriver); break;
        case 3: add_timeout(flags & ~kOfDriver & ~kQuiet); break;
        case 4: add_cancel(flags & ~kOfDriver & ~kQuiet); break;
        case 5:
            if (xgs_queue_ != 0) add_xgs(flags);
            break;
        case 6:
            if (world_.features.hostile) add_bad(flags & ~kOfDriver & ~kQuiet);
            break;
        default:
            if (group_ != nullptr) add_job(fence, flags);
    }
}

SimRing::Entry& SimRing::add(Kind kind, belfry_submit_entry entry, std::uint8_t flags) {
    const auto place = static_cast<unsigned>(entries_.size());
    Entry& added = entries_.emplace_back();
    added.kind = kind;
    added.flags = entry.flags = flags;
    added.at = ring_->tail();
    added.made = world_.rig.host.now;
    if (!link_open_) {
        chain_.reset();
        chain_broken_ = false;
    }
    added.before = chain_;
    added.broken_before = !chain_ && chain_broken_;
    if (kind != Kind::linked_timeout) chain_ = place;
    link_open_ = has(added, BELFRY_SUBMIT_LINK);
    if (has(added, BELFRY_SUBMIT_DRAIN)) first_beside_ = place;
    added.first_beside = first_beside_;
    if (has(added, BELFRY_SUBMIT_DRAIN)) ++first_beside_;

    entry.user_data = next_name_++;
    if (signals(added)) {
        if (entry.more_syncs == 0 && world_.draw.one_in(4)) {
            entry.more_syncs = 1;
            entry.more_syncs_offset = ring_->put(
                place * kArenaBytes,
                std::vector{belfry_submit_sync{.flags = static_cast<std::uint32_t>(BELFRY_SUBMIT_SYNC_SIGNAL),
                                               .handle = syncobjs_[place]}});
        } else {
            entry.signal_handle = syncobjs_[place];
        }
    }
    world_.draw.say("entry", ring_->made.handle * 1000 + place,
                    static_cast<std::uint64_t>(kind) * 256 + flags);
    ring_->write(entry);
    return added;
}

/// One that is written already.
std::optional<unsigned> SimRing::older() {
    if (entries_.empty()) return std::nullopt;
    return world_.draw.below(entries_.size());
}

void SimRing::add_nop(std::optional<SomeFence> fence, std::uint8_t flags) {
    belfry_submit_entry entry{.opcode = BELFRY_SUBMIT_NOP};
    switch (world_.draw.below(4)) {
        case 0:
            if (const auto whom = older(); whom && signals(entries_[*whom]))
                entry.wait_handle = syncobjs_[*whom];
            break;
        case 1:
            entry.wait_handle = gate_;
            entry.wait_point = ++gate_wanted_;
            break;
        case 2:
            if (!fence) break;
            entry.wait_handle = fence->syncobj;
            entry.wait_point = fence->point;
            slow_ |= fence->slow;
            break;
        default:
            if (!world_.draw.one_in(4)) break;
            entry.more_syncs = kWideSyncs;
            entry.more_syncs_offset = kWideOffset;
            gate_wanted_ = std::max<std::uint64_t>(gate_wanted_, 1);
    }
    add(Kind::nop, entry, flags);
}

void SimRing::add_timeout(std::uint8_t flags) {
    Draw& draw = world_.draw;
    const bool linked =
        link_open_ && chain_ && draw.one_in(2) && std::ranges::none_of(entries_, [&](const Entry& other) {
            return other.kind == Kind::linked_timeout && other.whom == chain_;
        });
    const std::uint64_t ns = draw.below(draw.one_in(8) ? 1'500'000'000 : 20'000'000);
    const bool absolute = draw.one_in(2);
    const std::uint64_t due = world_.rig.host.now + ns;
    const auto whom = chain_;
    Entry& added = add(linked ? Kind::linked_timeout : Kind::timeout,
                       drm::timeout(0, absolute ? due : ns,
                                    (absolute ? std::uint32_t{BELFRY_SUBMIT_TIMEOUT_ABSOLUTE} : 0U) |
                                        (linked ? std::uint32_t{BELFRY_SUBMIT_TIMEOUT_LINKED} : 0U)),
                       flags);
    added.due = due;
    if (!linked) return;
    added.whom = whom;
    entries_[*whom].may_cancel = true;
}

void SimRing::add_cancel(std::uint8_t flags) {
    const auto whom = older();
    if (!whom || entries_[*whom].kind == Kind::cancel) return;
    entries_[*whom].may_cancel = true;
    add(Kind::cancel, drm::cancel(0, first_name_ + *whom), flags).whom = whom;
}

SimRing::Entry& SimRing::add_job(std::optional<SomeFence> fence, std::uint8_t flags,
                                 std::optional<bool> second) {
    Draw& draw = world_.draw;
    const Features& features = world_.features;
    const auto place = static_cast<unsigned>(entries_.size());
    const bool endless = !second && features.endless && draw.one_in(32);
    const bool faulty = !second && features.faulty && draw.one_in(16);
    const std::uint64_t stream = place * kStreamBytes;
    W w(std::span(&streams_.u64(stream), kStreamBytes / sizeof(std::uint64_t)));
    w.add_immediate32(kCountRegister, kCountRegister, 1);
    // Mapped jobs count by the alias, whose page is that of the first of the four.
    const std::uint64_t results = second ? kAliasVa + place / kMappedJobs * kPage : page_.va;
    w.move48(d(60), results + count_offset(place)).store_multiple(kCountRegister, 1, d(60)).wait(kAllSlots);
    if (endless) loop_for_ever(w);
    if (faulty && draw.one_in(2)) load(w, kUnmapped);
    if (faulty) w.word(kBadWord);
    add_one(w, page_.va + sync_offset(place));
    EXPECT_FALSE(w.overflowed());
    auto entry =
        entry_of(BELFRY_PANTHOR_SUBMIT_JOB,
                 belfry_panthor_submit_job{.group_handle = group_->handle(),
                                           .stream_addr = streams_.va + stream,
                                           .stream_size = static_cast<std::uint32_t>(w.size_bytes())});
    bool may_be_refused = false;
    if (!second && draw.one_in(4)) {
        if (const auto whom = older(); whom && signals(entries_[*whom]) && draw.one_in(2)) {
            entry.wait_handle = syncobjs_[*whom];
            may_be_refused = this->fence(*whom) == kNoFence;
        } else if (fence && client_.has_fence(fence->syncobj, fence->point)) {
            entry.wait_handle = fence->syncobj;
            entry.wait_point = fence->point;
            slow_ |= fence->slow;
        }
    }
    Entry& added = add(Kind::job, entry, flags);
    added.may_be_refused = may_be_refused;
    added.ends_badly = endless || faulty;
    added.second = second.value_or(false);
    slow_ |= endless;
    group_doomed_ |= added.ends_badly;
    return added;
}

SimRing::Entry& SimRing::add_bind(std::uint64_t va, const Memory& memory, std::uint8_t flags) {
    const auto place = static_cast<unsigned>(entries_.size());
    const std::uint32_t offset =
        ring_->put(place * kArenaBytes + kOpsOffset, std::vector{Client::map_op(memory.handle, va, kPage)});
    return add(Kind::bind,
               entry_of(BELFRY_PANTHOR_SUBMIT_VM_BIND,
                        belfry_panthor_submit_vm_bind{.vm_id = vm_, .op_count = 1, .ops_offset = offset}),
               flags);
}

/// One page is bound, a job counts there, the other is bound in its place, and a job counts there.
void SimRing::write_mapped_jobs() {
    while (entries_.size() % kMappedJobs != 0 && ring_->has_room()) add_nop({}, 0);
    if (group_ == nullptr || entries_.size() + kMappedJobs > kEntriesMax) return;
    const std::uint64_t va = kAliasVa + entries_.size() / kMappedJobs * kPage;
    bool second = world_.draw.one_in(2);
    for (unsigned i = 0; i < kMappedJobs && ring_->has_room(); ++i) {
        const std::uint8_t flags = i + 1 < kMappedJobs ? BELFRY_SUBMIT_LINK : 0;
        if (i % 2 != 0) {
            add_job({}, flags, second);
            continue;
        }
        second = !second;
        add_bind(va, second ? second_ : page_, flags);
    }
}

void SimRing::add_xgs(std::uint8_t flags) {
    Draw& draw = world_.draw;
    const auto place = static_cast<unsigned>(entries_.size());
    std::vector<drm_panthor_xgs_op> ops;
    const auto whom = older();
    if (whom && entries_[*whom].kind == Kind::job && entries_[*whom].begun && !entries_[*whom].ends_badly)
        ops.push_back({.addr = page_.va + sync_offset(*whom),
                       .op = DRM_PANTHOR_XGS_OP_WAIT_GT,
                       .format = DRM_PANTHOR_XGS_OP_FORMAT_U64});
    ops.push_back({.addr = page_.va + sync_offset(place),
                   .value = 1,
                   .op = DRM_PANTHOR_XGS_OP_SIGNAL_ADD,
                   .format = DRM_PANTHOR_XGS_OP_FORMAT_U64});
    const bool bounded = draw.one_in(2);
    const std::uint32_t offset = ring_->put(place * kArenaBytes + kOpsOffset, ops);
    Entry& added =
        add(Kind::xgs,
            entry_of(BELFRY_PANTHOR_SUBMIT_XGS,
                     belfry_panthor_submit_xgs{
                         .handle = xgs_queue_,
                         .flags = std::uint32_t{DRM_PANTHOR_XGS_QUEUE_SUBMIT_ERROR_BARRIER_PRE} |
                                  (bounded ? std::uint32_t{DRM_PANTHOR_XGS_QUEUE_SUBMIT_BOUNDED} : 0U),
                         .op_count = static_cast<std::uint32_t>(ops.size()),
                         .ops_offset = offset}),
            flags);
    added.bounded = bounded;
}

/// One that must be refused, whatever it is.
void SimRing::add_bad(std::uint8_t flags) {
    Draw& draw = world_.draw;
    const std::uint32_t nonsense = 1'000'000 + draw.below(1'000'000);
    belfry_submit_entry entry{.opcode = BELFRY_SUBMIT_NOP};
    switch (draw.below(8)) {
        case 0: entry.opcode = static_cast<std::uint8_t>(3 + draw.below(0x3d)); break;
        case 1: entry.opcode = static_cast<std::uint8_t>(0x43 + draw.below(0xbd)); break;
        case 2: flags |= static_cast<std::uint8_t>(0x10U << draw.below(4)); break;
        case 3: entry.payload[draw.below(3)] = nonsense; break;
        case 4: entry.wait_handle = nonsense; break;
        case 5:
            entry.more_syncs = static_cast<std::uint16_t>(1 + draw.below(0xffff));
            entry.more_syncs_offset = draw.one_in(2) ? nonsense : 4;
            break;
        case 6: entry.wait_point = nonsense; break;
        default:
            entry = entry_of(BELFRY_PANTHOR_SUBMIT_XGS,
                             belfry_panthor_submit_xgs{.handle = nonsense, .op_count = nonsense});
    }
    add(Kind::bad, entry, flags);
}

/// The next small step of telling of what was written.
void SimRing::tell() {
    if (destroyed_ || telling_ == Telling::nothing) return;
    world_.draw.say("tells of entries", ring_->made.handle * 1000 + static_cast<unsigned>(telling_),
                    ring_->tail());
    if (telling_ == Telling::publish) {
        ring_->publish_quietly();
        published_ = ring_->tail();
        telling_ = Telling::look;
    } else {
        ring_->tell();
        telling_ = Telling::nothing;
    }
}

void SimRing::open_gate() {
    if (gate_opened_ == gate_wanted_) return;
    drm_syncobj_timeline_array signal{.handles = reinterpret_cast<std::uint64_t>(&gate_),
                                      .points = reinterpret_cast<std::uint64_t>(&++gate_opened_),
                                      .count_handles = 1};
    EXPECT_EQ(client_.ioctl(DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, signal), 0);
}

/// Who waits for entries that have failed need not wait any more.
void SimRing::release() {
    for (const unsigned place : std::exchange(to_release_, {})) {
        if (fence(place) == kNoFence) {
            drm_syncobj_array signal{.handles = reinterpret_cast<std::uint64_t>(&syncobjs_[place]),
                                     .count_handles = 1};
            EXPECT_EQ(client_.ioctl(DRM_IOCTL_SYNCOBJ_SIGNAL, signal), 0);
        }
        if (entries_[place].kind != Kind::job) continue;
        entries_[place].released = true;
        base::store(sync(place).value, kReleased, base::kSeqCst);
        drm_panthor_sync_update update{};
        EXPECT_EQ(client_.ioctl(DRM_IOCTL_PANTHOR_SYNC_UPDATE, update), 0);
    }
}

void SimRing::destroy() {
    if (destroyed_) return;
    world_.draw.say("destroys the ring");
    EXPECT_EQ(ring_->destroy(), 0);
    destroyed_ = true;
    for (unsigned place = 0; place < entries_.size(); ++place) {
        Entry& entry = entries_[place];
        // An XGS job that was accepted goes on, and without a bound it shows that only when it is done.
        const bool may_go_on = entry.kind == Kind::xgs && !entry.bounded;
        entry.died = !entry.result && fence(place) == kNoFence && !may_go_on;
    }
    link_open_ = false;
}

/// One of its counters says what cannot be.
void SimRing::misbehave() {
    if (destroyed_ || wild_tail_ || wild_head_) return;
    world_.draw.say("misbehaves");
    const std::uint32_t far = 1U << 30 | world_.draw.below(1U << 30);
    if (world_.draw.one_in(2)) {
        wild_head_ = true;
        ring_->give_back(given_back_ + far);
    } else {
        wild_tail_ = true;
        base::store(ring_->client().sq_tail, published_ + far, base::kRelease);
        telling_ = Telling::look;
    }
}

void SimRing::finish_telling() {
    while (!destroyed_ && telling_ != Telling::nothing) tell();
    while (gate_opened_ != gate_wanted_) open_gate();
}

void SimRing::keep_up() {
    if (base::load(ring_->consumer().cq_tail, base::kAcquire) != seen_) watch();
    release();
    if (!reaps_ || destroyed_ || wild_tail_ || wild_head_) return;
    if (given_back_ != seen_) ring_->give_back(given_back_ = seen_);
    if (!floods_ || link_open_ || !ring_->has_room()) return;
    for (; ring_->has_room(); ++floods_written_) ring_->write(drm::nop(kFloodName));
    ring_->publish();
    published_ = ring_->tail();
}

}  // namespace belfry::panthor::sim
