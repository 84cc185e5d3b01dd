#include "sim/program.hpp"

#include <algorithm>
#include <utility>

namespace belfry::panthor::sim {
namespace {

constexpr unsigned kGroupsMax = 3;
constexpr unsigned kLanesMax = 60;  // in a program's life
/// The same under a memory budget: what it maps of their queues stays in memory.
constexpr unsigned kLanesOfBudgetMax = 8;
constexpr unsigned kJobsBehindBad = 2;
constexpr unsigned kStreamLanes = 16;
constexpr std::uint64_t kStreamBytes = 320;  // of a kernel-mode job
constexpr std::uint64_t kHoardBytes = 64 * kPage;
constexpr Reg kCountRegister = r(20);
constexpr std::uint64_t kNever = 1ULL << 39;  // what stuck jobs wait for
constexpr std::uint32_t kReleaseError = 0x7e;

/// In a program's page: a sync object for each lane and two for its CPU, one of which counts down; then a
/// result for each job.
constexpr std::uint64_t sync_offset(unsigned lane) { return lane * sizeof(belfry_sync_object64); }
constexpr std::uint64_t kCpuUp = sync_offset(kLanesMax);
constexpr std::uint64_t kCpuDown = sync_offset(kLanesMax + 1);  // 32 bits
constexpr std::uint32_t kCpuDownFrom = 1'000'000;
constexpr std::uint64_t result_offset(unsigned lane, unsigned job) {
    return sync_offset(kLanesMax + 2) + (lane * kJobsMax + job % kJobsMax) * sizeof(std::uint32_t);
}
static_assert(result_offset(kLanesMax, 0) <= kPage);
/// In a VM's hoard: a count for each lane, in its first page or in its last.
constexpr std::uint64_t hoard_offset(unsigned lane) {
    return (lane % 2 != 0 ? kHoardBytes - kPage : 0) + lane * sizeof(std::uint32_t);
}
constexpr std::uint64_t kCounterInHoard = kPage / 2;  // behind the lane's other count
constexpr std::uint64_t kAliasVa = 0x4000'0000;
constexpr std::uint64_t kUnmapped = 0x5000'0000;

}  // namespace

SimProgram::SimProgram(World& world)
    : world_(world), client_(&world.rig.open({.may_nice = true})), number_(++world.programs) {
    page_ = client_->memory();
    page_.as<belfry_sync_object32>(kCpuDown).value = kCpuDownFrom;
    page_in_driver_ = reinterpret_cast<std::uint64_t>(client_->find_buffer(page_.handle)->data());
    if (world_.features.binds) second_ = client_->memory();
    streams_ = client_->memory(0, kStreamLanes * kPage);
    vms_.push_back(client_->vm());
    if (world_.features.compute)
        compute_.emplace(*client_, world_.draw, world_.features.memory ? kLanesOfBudgetMax : kLanesMax,
                         kJobsMax);
    if (world_.features.two_vms) {
        vms_.push_back(client_->create_vm());
        std::vector<const Memory*> all{&page_, &streams_};
        if (compute_) all.push_back(&compute_->memory());
        for (const Memory* memory : all)
            EXPECT_EQ(
                client_->bind(vms_[1], {Client::map_op(memory->handle, memory->va, memory->mapping.size())})
                    ->answer(),
                0);
    }
    if (world_.features.memory)
        for (const std::uint32_t vm : vms_) hoards_.emplace(vm, client_->gpu_memory(kHoardBytes, vm));
    for (unsigned i = 1 + world_.draw.below(kGroupsMax); i > 0; --i) open_group();
    if (world_.features.xgs)
        for (unsigned i = 1 + world_.draw.below(2); i > 0; --i) open_xgs();
    if (world_.features.rings)
        for (unsigned i = 1 + world_.draw.below(2); i > 0; --i) rings_.emplace_back(world_, *client_);
}

void SimProgram::close() {
    for (SharedTimeline& timeline : world_.timelines) timeline.orphaned |= timeline.owner == number_;
    world_.rig.close(*client_);
}

void SimProgram::lose(const drm::Buffer& buffer) {
    for (const auto& [vm, hoard] : hoards_)
        if (client_->find_buffer(hoard.handle).get() == &buffer) {
            world_.draw.say("loses the memory of VM", vm);
            lost_.insert(vm);
            errors_ = true;
        }
}

SimProgram::Group& SimProgram::open_group() {
    Draw& draw = world_.draw;
    Group& group = groups_.emplace_back();
    group.vm = draw.of(vms_);
    const auto kind = draw.below(4);
    if (kind == 1 && world_.features.endless) group.kind = Kind::endless;
    if (kind == 2 && world_.features.faulty) group.kind = Kind::faulty;
    if (kind == 3 && world_.features.stuck) group.kind = Kind::stuck;
    GroupSetup setup{.queues = world_.features.two_queues ? 1 + draw.below(2) : 1,
                     .priority = static_cast<std::uint8_t>(draw.below(4)),
                     .vm = group.vm};
    if (draw.one_in(2)) {
        if (world_.features.eventfds) {
            group.updates = base::make_eventfd().value();
            group.states = base::make_eventfd().value();
            setup.sync_update_eventfd = group.updates.get();
            setup.group_state_eventfd = group.states.get();
        }
        group.user = &client_->user_group(setup);
        if (draw.one_in(2)) group.updates = base::Fd();
        if (draw.one_in(2)) group.states = base::Fd();
    } else {
        group.kernel = &client_->kernel_group(setup);
    }
    for (unsigned queue = 0; queue < setup.queues; ++queue) group.lanes.push_back(&open_lane(&group, queue));
    draw.say(group.user != nullptr ? "user group, first lane, kind" : "kernel group, first lane, kind",
             group.lanes.front()->index, static_cast<unsigned>(group.kind));
    return group;
}

SimProgram::Lane& SimProgram::open_lane(Group* group, unsigned queue) {
    Lane& lane = lanes_.emplace_back();
    lane.index = static_cast<unsigned>(lanes_.size() - 1);
    lane.group = group;
    lane.queue = queue;
    active_.push_back(&lane);
    return lane;
}

void SimProgram::open_xgs() {
    drm_panthor_xgs_queue_create create{.vm_id = world_.draw.of(vms_), .eventfd_sync_update = -1};
    EXPECT_EQ(client_->ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, create), 0);
    world_.draw.say("xgs queue, lane", open_lane(nullptr, create.handle).index);
}

belfry_sync_object64& SimProgram::sync(const Lane& lane) const { return page_.sync(sync_offset(lane.index)); }
std::uint32_t& SimProgram::result(const Lane& lane, unsigned job) const {
    const Memory& memory = (lane.elsewhere >> job % kJobsMax & 1U) != 0 ? second_ : page_;
    return memory.as<std::uint32_t>(result_offset(lane.index, job));
}

/// Whether something has happened that ends a group.
bool SimProgram::may_be_dead(const Group& group) const {
    const auto ends = [&](const Lane* lane) {
        return lane->bad && (group.kind == Kind::faulty || group.kernel != nullptr);
    };
    return group.destroyed || group.condemned || world_.silenced || lost_.contains(group.vm) ||
           std::ranges::any_of(group.lanes, ends) ||
           (group.kernel != nullptr &&
            std::ranges::any_of(group.lanes, [](const Lane* lane) { return lane->slow; }));
}

/// Whether all that `lane` has to do comes, be it by a timeout.
bool SimProgram::waitable(const Lane& lane, const Lane& by) const {
    if (&lane == &by || lane.jobs == 0) return false;
    const bool for_ever = lane.bad && lane.group->user != nullptr && lane.group->kind != Kind::faulty;
    return !for_ever;
}

/// The lane now waits for what only a timeout ends.
void SimProgram::taint(Lane& lane) {
    if (lane.group == nullptr || lane.group->user != nullptr)
        lane.slow = true;
    else
        for (Lane* const sibling : lane.group->lanes) sibling->slow = true;
}

void SimProgram::begin() {
    Draw& draw = world_.draw;
    began_ = now();
    for (SimRing& ring : rings_) ring.begin();
    for (Import& import : imports_) import.over = 0;
    for (Lane* const lane : active_) {
        for (const Promise& promise : lane->kept) {
            drm_syncobj_destroy destroy{.handle = promise.syncobj};
            EXPECT_EQ(client_->ioctl(DRM_IOCTL_SYNCOBJ_DESTROY, destroy), 0);
        }
        lane->kept.clear();
        lane->first = lane->jobs;
        if (!lane->bad) lane->slow = false;
    }
    sleepers_.clear();
    fence_waits_.clear();
    alias_.users.clear();
    alias_.slow = false;
    // Those that have died, and some that would be in the way for ever.
    std::erase_if(groups_, [&](Group& group) {
        const bool gone = group.released || std::ranges::any_of(group.lanes, [&](const Lane* lane) {
                              return lane->bad && draw.one_in(3);
                          });
        if (!gone) return false;
        if (!group.destroyed)
            client_->group_destroy(group.user != nullptr ? group.user->handle() : group.kernel->handle());
        for (Lane* const lane : group.lanes) release(*lane), std::erase(active_, lane);
        return true;
    });
    std::erase_if(active_, [](const Lane* lane) { return lane->group == nullptr && lane->released; });
    while (groups_.empty() || (groups_.size() < kGroupsMax && draw.one_in(6))) {
        if (lanes_.size() + 2 > (world_.features.memory ? kLanesOfBudgetMax : kLanesMax)) break;
        open_group();
    }
}

// --- what it does

void SimProgram::act() {
    Draw& draw = world_.draw;
    const Features& features = world_.features;
    if (!rings_.empty() && draw.one_in(2)) return draw.of(rings_).act(some_fence());
    if (active_.empty()) return;
    Lane& lane = *draw.of(active_);
    if (lane.telling != Telling::nothing) {
        tell(lane);
        return;
    }
    switch (draw.below(16)) {
        case 0:
        case 1: update_by_cpu(); break;
        case 2:
            if (lane.group != nullptr && lane.group->user != nullptr) {
                EXPECT_EQ(lane.group->user->kick(draw.below(4)), 0);
            }
            break;
        case 3:
            if (features.odd_kicks) kick_oddly();
            break;
        case 4:
            if (features.binds) bind();
            break;
        case 5:
            if (features.binds) rebind();
            break;
        case 6:
            if (features.sleepers) wait_for_a_value();
            break;
        case 7:
            if (features.sleepers) wait_for_fences();
            break;
        case 8:
            if (features.group_deaths && draw.one_in(6)) destroy_something();
            break;
        case 9: notice_deaths(); break;
        case 10:
            if (features.shared) share();
            break;
        default: submit(lane); break;
    }
}

/// The words of one more job of the lane.
SimProgram::Words SimProgram::words_of(Lane& lane) {
    Draw& draw = world_.draw;
    Group& group = *lane.group;
    const unsigned job = lane.jobs++;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> waits;  // address, value
    if (!lane.bad && draw.one_in(2)) {
        const Lane& other = *draw.of(active_);
        if (waitable(other, lane)) {
            waits.emplace_back(page_.va + sync_offset(other.index), 1 + draw.below(other.jobs));
            if (other.slow) taint(lane);
        }
    }
    if (world_.features.cpu && !lane.bad && draw.one_in(8)) {
        waits.emplace_back(page_.va + kCpuUp, ++cpu_wanted_);
        lane.waits_for_cpu = true;
    }
    const bool bad = !lane.bad && group.kind != Kind::sound && draw.one_in(3);
    bool page_fault = false;
    if (bad) {
        lane.bad = job;
        errors_ = true;
        if (group.kind == Kind::stuck) {
            // Whoever it is, it is stuck too, or gets there.
            std::vector<const Lane*> circle;
            for (const Lane* const other : active_)
                if (other->group != nullptr && other->group->kind == Kind::stuck) circle.push_back(other);
            waits.emplace_back(page_.va + sync_offset(draw.of(circle)->index), kNever);
        }
        if (group.kind != Kind::faulty) taint(lane);
        page_fault = group.kind == Kind::faulty && draw.one_in(3);
        for (Group& other : groups_)
            if (page_fault && other.vm == group.vm) other.condemned = true;
    }
    Words words;
    lane.elsewhere &= ~(1U << job % kJobsMax);
    words.by_alias = group.kernel != nullptr && alias_.bound && group.vm == vms_[0] && draw.one_in(2);
    if (words.by_alias && alias_.second) lane.elsewhere |= 1U << job % kJobsMax;
    const std::uint64_t results = words.by_alias ? kAliasVa : page_.va;
    draw.say("job", lane.index, job);
    const std::uint64_t hoard =
        world_.features.memory ? hoards_.at(group.vm).va + hoard_offset(lane.index) : 0;
    // Work for shader cores, where it may be what does not end well. An endless shader keeps those of its
    // group from whatever its other streams have for them, until a timeout.
    Program compute;
    const bool keeps_cores =
        bad && group.kind == Kind::endless && group.user != nullptr && group.lanes.size() > 1;
    if (compute_ && !(bad && group.kind == Kind::stuck) && !keeps_cores && draw.one_in(2))
        compute = this->compute(lane, job, bad, page_fault);
    // What tells of it waits for it, be it that the stream goes on meanwhile.
    const bool deferred = compute_ && !bad && draw.one_in(2);
    words.write = [=, page = page_.va, kind = group.kind, index = lane.index](W& w) {
        for (const auto& [va, value] : waits) wait_for(w, va, value);
        w.add_immediate32(kCountRegister, kCountRegister, 1);
        Reg count = kCountRegister;
        if (hoard != 0) {
            load(w, hoard);
            count = r(64);
            w.add_immediate32(count, count, 1).store_multiple(count, 1, d(60));
        }
        w.move48(d(60), results + result_offset(index, job)).store_multiple(count, 1, d(60)).wait(kAllSlots);
        if (compute) {
            compute(w);
            if (!deferred) w.wait(kAllSlots);
        } else {
            if (bad && kind == Kind::endless) loop_for_ever(w);
            if (page_fault) load(w, kUnmapped);
            if (bad && kind == Kind::faulty) w.word(kBadWord);
        }
        w.move48(d(60), page + sync_offset(index)).move48(d(62), 1);
        w.sync_add64(d(60), d(62), {.after = deferred ? slots(0) : Slots{}, .signal = 1});
    };
    return words;
}

Program SimProgram::compute(const Lane& lane, unsigned job, bool bad, bool page_fault) {
    auto end = SimCompute::End::sound;
    if (bad) end = lane.group->kind == Kind::faulty ? SimCompute::End::fault : SimCompute::End::endless;
    if (page_fault) end = SimCompute::End::page_fault;
    const std::uint64_t counter =
        world_.features.memory ? hoards_.at(lane.group->vm).va + hoard_offset(lane.index) + kCounterInHoard
                               : 0;
    return compute_->run(lane.index, job, counter, end);
}

void SimProgram::submit(Lane& lane) {
    if (lane.jobs - lane.first == kJobsMax || lane.released) return;
    if (lane.bad && lane.jobs - *lane.bad > kJobsBehindBad) return;
    if (lane.group == nullptr) {
        submit_xgs(lane);
    } else if (lane.group->kernel != nullptr) {
        submit_kernel(lane);
    } else {
        lane.group->user->queue(lane.queue).write(words_of(lane).write);
        lane.telling = Telling::publish;
    }
}

/// Perhaps a fence that is older than what waits for it. One of an XGS queue may come late.
std::optional<SomeFence> SimProgram::some_fence() const {
    Draw& draw = world_.draw;
    if (!imports_.empty() && draw.one_in(2)) {
        const Import& import = draw.of(imports_);
        if (import.of->points.empty()) return std::nullopt;
        return SomeFence{
            .syncobj = import.syncobj, .point = draw.of(import.of->points), .slow = import.of->slow};
    }
    if (active_.empty()) return std::nullopt;
    const Lane& lane = *draw.of(active_);
    if (lane.kept.empty() && lane.pending.empty()) return std::nullopt;
    const std::size_t which = draw.below(lane.kept.size() + lane.pending.size());
    const Promise& promise =
        which < lane.kept.size() ? lane.kept[which] : lane.pending[which - lane.kept.size()];
    return SomeFence{.syncobj = promise.syncobj, .slow = lane.slow};
}

void SimProgram::wait_for_some_fence(Lane& lane, std::vector<drm_panthor_sync_op>& syncs) {
    const auto fence = some_fence();
    if (!fence || !client_->has_fence(fence->syncobj, fence->point)) return;
    syncs.push_back(wait_op(fence->syncobj, fence->point));
    if (fence->slow) taint(lane);
}

/// Gives others a timeline of a lane's fences, or takes one of theirs.
void SimProgram::share() {
    Lane& lane = *world_.draw.of(active_);
    if (lane.group != nullptr && lane.group->kernel != nullptr && lane.shared == nullptr && !lane.released) {
        world_.draw.say("shares lane", lane.index);
        lane.timeline = client_->syncobj();
        const auto call = client_->start(DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD,
                                         drm_syncobj_handle{.handle = lane.timeline, .fd = -1});
        EXPECT_EQ(call->answer(), 0);
        lane.shared = &world_.timelines.emplace_back(number_, *call->given_fds().front().duplicate());
        return;
    }
    for (SharedTimeline& timeline : world_.timelines) {
        if (timeline.owner == number_ || !timeline.fd ||
            std::ranges::find(imports_, &timeline, &Import::of) != imports_.end())
            continue;
        world_.draw.say("imports a timeline of program", timeline.owner);
        std::vector<base::Fd> fds;
        fds.push_back(*timeline.fd.duplicate());
        drm_syncobj_handle args{.fd = 0};
        EXPECT_EQ(client_->ioctl(DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, args, std::move(fds)), 0);
        imports_.push_back({.of = &timeline, .syncobj = args.handle});
        // Whoever has imported it needs no descriptor any more.
        if (world_.draw.one_in(2)) timeline.close(world_.rig);
        return;
    }
}

void SimProgram::submit_kernel(Lane& lane) {
    const std::uint64_t offset = lane.index % kStreamLanes * kPage + lane.jobs % kJobsMax * kStreamBytes;
    W writer(std::span(&streams_.u64(offset), kStreamBytes / sizeof(std::uint64_t)));
    const Words words = words_of(lane);
    words.write(writer);
    EXPECT_FALSE(writer.overflowed());
    JobSpec job{.queue = lane.queue,
                .stream = Stream{.va = streams_.va + offset,
                                 .bytes = static_cast<std::uint32_t>(writer.size_bytes())}};
    if (world_.draw.one_in(2)) wait_for_some_fence(lane, job.syncs);
    if (words.by_alias) job.syncs.push_back(wait_op(alias_.ready));
    if (words.by_alias && alias_.slow) taint(lane);
    const Promise promise{.syncobj = client_->syncobj(), .made = now(), .job = lane.jobs};
    job.syncs.push_back(signal_op(promise.syncobj));
    if (lane.shared != nullptr) job.syncs.push_back(signal_op(lane.timeline, promise.job));
    // Whatever was said about a job that is refused says no more than that its group may be dead.
    if (lane.group->kernel->submit({job}) != 0) {
        EXPECT_TRUE(may_be_dead(*lane.group)) << "lane " << lane.index;
        --lane.jobs;
        if (compute_) compute_->take_back(lane.index, lane.jobs);
        return;
    }
    if (lane.shared != nullptr) lane.shared->points.push_back(promise.job);
    if (words.by_alias) alias_.users.emplace_back(&lane, promise.syncobj);
    lane.pending.push_back(promise);
}

void SimProgram::submit_xgs(Lane& lane) {
    Draw& draw = world_.draw;
    std::vector<drm_panthor_xgs_op> ops;
    for (unsigned i = draw.below(3); i > 0; --i) {
        const Lane& other = *draw.of(active_);
        if (!waitable(other, lane)) continue;
        const bool inherits = draw.one_in(3);
        ops.push_back(
            {.addr = page_.va + sync_offset(other.index),
             .value = draw.below(other.jobs),
             .op = DRM_PANTHOR_XGS_OP_WAIT_GT,
             .format = DRM_PANTHOR_XGS_OP_FORMAT_U64,
             .flags = inherits ? std::uint16_t{DRM_PANTHOR_XGS_OP_INHERIT_ERROR_WAIT} : std::uint16_t{}});
        lane.may_fail |= inherits;
        lane.slow |= other.slow;
    }
    if (world_.features.cpu && draw.one_in(4))
        ops.push_back({.addr = page_.va + kCpuDown,
                       .value = kCpuDownFrom - ++cpu_wanted_,
                       .op = DRM_PANTHOR_XGS_OP_WAIT_LE,
                       .format = DRM_PANTHOR_XGS_OP_FORMAT_U32});
    if (world_.features.faulty && draw.one_in(8)) {
        ops.push_back({.addr = kUnmapped, .op = DRM_PANTHOR_XGS_OP_SIGNAL_ADD});
        lane.may_fail = errors_ = true;
    }
    const unsigned job = lane.jobs++;
    const bool adds = draw.one_in(2);
    ops.push_back({.addr = page_.va + sync_offset(lane.index),
                   .value = adds ? 1U : job + 1U,
                   .op = adds ? std::uint8_t{DRM_PANTHOR_XGS_OP_SIGNAL_ADD}
                              : std::uint8_t{DRM_PANTHOR_XGS_OP_SIGNAL_SET},
                   .format = DRM_PANTHOR_XGS_OP_FORMAT_U64});
    std::vector<drm_panthor_sync_op> syncs;
    if (draw.one_in(3)) wait_for_some_fence(lane, syncs);
    const Promise promise{
        .syncobj = client_->syncobj(), .made = now(), .job = lane.jobs, .bounded = draw.one_in(2)};
    syncs.push_back(signal_op(promise.syncobj));
    draw.say(promise.bounded ? "bounded xgs job" : "xgs job", lane.index, job);
    drm_panthor_xgs_queue_submit submit{
        .handle = lane.queue,
        .flags = draw.below(4) | (promise.bounded ? std::uint32_t{DRM_PANTHOR_XGS_QUEUE_SUBMIT_BOUNDED} : 0U),
        .ops = obj_array(ops),
        .syncs = obj_array(syncs)};
    EXPECT_EQ(client_->ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_SUBMIT, submit), 0);
    lane.pending.push_back(promise);
}

/// The next small step of telling of what was written; true if there is a further one.
bool SimProgram::tell(Lane& lane) {
    if (lane.telling == Telling::nothing) return false;
    UserQueue& queue = lane.group->user->queue(lane.queue);
    world_.draw.say("tell", lane.index, static_cast<std::uint64_t>(lane.telling));
    switch (lane.telling) {
        case Telling::nothing: return false;
        case Telling::publish:
            queue.publish();
            lane.telling = Telling::look;
            return true;
        case Telling::look:
            base::full_fence();
            lane.telling = queue.output().active != 0 ? Telling::ring : Telling::kick;
            return true;
        case Telling::ring: queue.ring(); break;
        case Telling::kick: EXPECT_EQ(lane.group->user->kick(1U << lane.queue), 0); break;
    }
    lane.telling = Telling::nothing;
    return false;
}

void SimProgram::keep_up() {
    for (SimRing& ring : rings_) ring.keep_up();
}

void SimProgram::finish_telling() {
    for (SimRing& ring : rings_) ring.finish_telling();
    for (Lane* const lane : active_)
        while (tell(*lane)) {
        }
    while (cpu_value_ != cpu_wanted_) update_by_cpu();
}

void SimProgram::sync_update() {
    drm_panthor_sync_update update{};
    EXPECT_EQ(client_->ioctl(DRM_IOCTL_PANTHOR_SYNC_UPDATE, update), 0);
}

/// The CPU's part: a value, then a kick of whoever may wait for it, or a word to all.
void SimProgram::update_by_cpu() {
    if (cpu_value_ == cpu_wanted_) return;
    world_.draw.say("cpu", ++cpu_value_);
    base::store(page_.sync(kCpuUp).value, cpu_value_, base::kSeqCst);
    base::store(page_.as<belfry_sync_object32>(kCpuDown).value,
                kCpuDownFrom - static_cast<std::uint32_t>(cpu_value_), base::kSeqCst);
    const bool all_user = std::ranges::all_of(
        active_, [](const Lane* lane) { return !lane->waits_for_cpu || lane->group->user != nullptr; });
    if (world_.features.xgs || !all_user || world_.draw.one_in(2)) return sync_update();
    for (Lane* const lane : active_)
        if (lane->waits_for_cpu) {
            EXPECT_EQ(lane->group->user->kick(), 0);
        }
}

void SimProgram::release(Lane& lane) {
    if (std::exchange(lane.released, true)) return;
    base::store(sync(lane).error, kReleaseError, base::kRelaxed);
    base::store(sync(lane).value, kReleased, base::kSeqCst);
    sync_update();
}

void SimProgram::notice_deaths() {
    errors_ |= world_.silenced;
    if (!errors_) return;
    for (Group& group : groups_) {
        if (group.released || !may_be_dead(group)) continue;
        if (!group.destroyed &&
            (group.user != nullptr ? group.user->state() : group.kernel->state()).state == 0)
            continue;
        world_.draw.say("notices the death of lane", group.lanes.front()->index);
        group.released = true;
        for (Lane* const lane : group.lanes) release(*lane);
    }
}

/// In the background: binds one of two pages where jobs reach it, or takes it from there once its users are
/// done. With the fence of the next bind it is the other that they reach, whatever the GPU remembers.
void SimProgram::bind() {
    std::vector<drm_panthor_sync_op> syncs;
    const Promise promise{.syncobj = client_->syncobj(), .made = now()};
    Lane bound;  // for what it waits for
    if (!alias_.bound) {
        alias_.second = world_.draw.one_in(2);
        if (world_.draw.one_in(2)) wait_for_some_fence(bound, syncs);
    } else {
        for (const auto& [lane, syncobj] : alias_.users) {
            syncs.push_back(wait_op(syncobj));
            bound.slow |= lane->slow;
        }
        alias_.users.clear();
    }
    alias_.slow |= bound.slow;
    world_.draw.say(alias_.bound ? "unbind" : "bind", alias_.second);
    syncs.push_back(signal_op(promise.syncobj));
    auto op = alias_.bound ? Client::unmap_op(kAliasVa, kPage)
                           : Client::map_op((alias_.second ? second_ : page_).handle, kAliasVa, kPage);
    op.syncs = obj_array(syncs);
    EXPECT_EQ(client_->bind(vms_[0], {op}, DRM_PANTHOR_VM_BIND_ASYNC)->answer(), 0);
    alias_.bound = !alias_.bound;
    alias_.ready = promise.syncobj;
    binds_.push_back(promise);
}

/// The program's memory is bound where it is already, while it is used.
void SimProgram::rebind() {
    world_.draw.say("rebind");
    client_->bind(world_.draw.of(vms_), {Client::map_op(page_.handle, page_.va, kPage)});
}

/// A thread counts itself, looks, and sleeps; or one that has counted itself does the rest.
void SimProgram::wait_for_a_value() {
    for (Sleeper& sleeper : sleepers_)
        if (!sleeper.asleep) {
            if (base::load(sync(*sleeper.lane).value, base::kSeqCst) < sleeper.target) sleeper.asleep = true;
            if (sleeper.asleep) return;
        }
    Lane& lane = *world_.draw.of(active_);
    if (lane.group == nullptr || lane.jobs == 0) return;
    base::fetch_add(sync(lane).waiters, 1U, base::kSeqCst);
    sleepers_.push_back({.lane = &lane, .target = 1 + world_.draw.below(lane.jobs + 2U), .asleep = false});
}

void SimProgram::woken(const std::uint32_t& word, std::uint32_t bits) {
    for (Sleeper& sleeper : sleepers_) {
        const auto place = page_in_driver_ + sync_offset(sleeper.lane->index);
        if (!sleeper.asleep || reinterpret_cast<std::uint64_t>(&word) != place) continue;
        if ((bits >> sleeper.target % 32 & 1U) == 0) continue;
        const std::uint64_t value = base::load(sync(*sleeper.lane).value, base::kAcquire);
        // It is due, or shares its bit with one that is.
        EXPECT_TRUE(value >= sleeper.target || (sleeper.target - value) % 32 == 0)
            << "value " << value << ", target " << sleeper.target;
        if (value >= sleeper.target) sleeper.asleep = false;
    }
}

void SimProgram::wait_for_fences() {
    auto syncobjs = std::make_unique<std::vector<std::uint32_t>>();
    for (unsigned i = 1 + world_.draw.below(3); i > 0; --i) {
        const Lane& lane = *world_.draw.of(active_);
        if (!lane.pending.empty() && client_->has_fence(lane.pending.back().syncobj))
            syncobjs->push_back(lane.pending.back().syncobj);
    }
    if (syncobjs->empty()) return;
    const bool all = world_.draw.one_in(2);
    const std::uint64_t deadline = world_.draw.one_in(2) ? kForEver : now() + world_.draw.below(20'000'000);
    auto call = client_->start(DRM_IOCTL_SYNCOBJ_WAIT,
                               drm_syncobj_wait{.handles = reinterpret_cast<std::uint64_t>(syncobjs->data()),
                                                .timeout_nsec = static_cast<std::int64_t>(deadline),
                                                .count_handles = static_cast<std::uint32_t>(syncobjs->size()),
                                                .flags = all ? DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL : 0U});
    fence_waits_.push_back(
        {.call = std::move(call), .syncobjs = std::move(syncobjs), .all = all, .deadline = deadline});
}

void SimProgram::destroy_something() {
    Lane& lane = *world_.draw.of(active_);
    if (lane.released) return;
    world_.draw.say("destroy", lane.index);
    errors_ = true;
    if (lane.group == nullptr) {
        drm_panthor_xgs_queue_destroy destroy{.handle = lane.queue};
        EXPECT_EQ(client_->ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_DESTROY, destroy), 0);
        lane.may_fail = true;
        release(lane);
        return;
    }
    Group& group = *lane.group;
    if (group.destroyed) return;
    group.destroyed = true;
    EXPECT_EQ(group.user != nullptr ? group.user->destroy() : group.kernel->destroy(), 0);
}

void SimProgram::kick_oddly() {
    const std::uint32_t mask = world_.draw.one_in(2) ? ~0U : 0;
    EXPECT_EQ(client_->kick(world_.draw.below(8), mask), 0);
}

}  // namespace belfry::panthor::sim
