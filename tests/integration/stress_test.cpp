// The thousand groups: many processes, each with many groups of both modes, on eight slots. Every job waits
// for another group, some of them another process's; a job that ran too early, twice, or with another one's
// registers leaves a wrong number. The suite runs a tenth of the jobs; BELFRY_STRESS=10 in the environment
// makes it whole.
//
// Kernel mode   The groups of a process make a line: job j of a group waits for job j of the one before it,
// and
//               that of the first for job j - kChunk of the last group of the process before. By timelines.
// User mode     Job j of a group waits for job j - kLead of the group before it, by sync objects in a buffer
// that
//               all processes share; that of a process's first group for the last groups of both modes of the
//               process before.
//
// Nothing of this can lock: each process publishes kChunk jobs of each group at a time, and a ring holds two
// chunks, so the jobs with the lowest number that is not done are published and wait for nobody.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "belfry/uapi/drm.h"
#include "daemon_rig.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language
using base::Fd;

constexpr std::uint32_t kProcesses = 50;
constexpr std::uint32_t kGroups = 10;  // of each mode, a process
constexpr std::uint64_t kChunk = 50;
constexpr std::uint64_t kLead = 20;
constexpr std::size_t kJobWords = 16;  // at most; so a ring of 16 KiB holds 128 jobs
static_assert(kLead <= kChunk && 2 * kChunk * kJobWords * sizeof(std::uint64_t) <= 16384);
/// Far from where libbelfry puts buffers by itself.
constexpr std::uint64_t kSharedVa = 0x40'0000'0000;
constexpr std::uint32_t kVm = 1;  // the first of a file
constexpr auto kSignal = static_cast<std::uint32_t>(uapi::DRM_PANTHOR_SYNC_OP_SIGNAL);
constexpr auto kTimeline = static_cast<std::uint32_t>(uapi::DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_TIMELINE_SYNCOBJ);

std::uint64_t jobs_of_a_group() {
    const char* const times = std::getenv("BELFRY_STRESS");
    return 100U * static_cast<unsigned>(std::max(1, times != nullptr ? std::atoi(times) : 1));
}

enum class Mode : std::uint32_t { kernel, user };

/// Another door to a device's file, for requests that libbelfry does not make.
class Requests {
  public:
    explicit Requests(const Device& device)
        : transport_(client::SocketTransport::adopt(Fd(::fcntl(device.fd(), F_DUPFD_CLOEXEC, 0)))) {}

    template <typename T>
    void make(std::uint32_t request, T& args) {
        must(transport_->ioctl(request, &args));
    }
    Fd export_buffer(std::uint32_t handle) {
        uapi::drm_prime_handle args{.handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR};
        make(DRM_IOCTL_PRIME_HANDLE_TO_FD, args);
        return Fd(args.fd);
    }
    std::uint32_t import_buffer(const Fd& fd) {
        uapi::drm_prime_handle args{.fd = fd.get()};
        make(DRM_IOCTL_PRIME_FD_TO_HANDLE, args);
        return args.handle;
    }
    std::uint32_t create_syncobj() {
        uapi::drm_syncobj_create args{};
        make(DRM_IOCTL_SYNCOBJ_CREATE, args);
        return args.handle;
    }
    Fd export_syncobj(std::uint32_t handle) {
        uapi::drm_syncobj_handle args{.handle = handle};
        make(DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, args);
        return Fd(args.fd);
    }
    std::uint32_t import_syncobj(const Fd& fd) {
        uapi::drm_syncobj_handle args{.fd = fd.get()};
        make(DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, args);
        return args.handle;
    }
    std::uint64_t last_submitted(std::uint32_t timeline) {
        std::uint64_t point = 0;
        uapi::drm_syncobj_timeline_array args{.handles = reinterpret_cast<std::uint64_t>(&timeline),
                                              .points = reinterpret_cast<std::uint64_t>(&point),
                                              .count_handles = 1,
                                              .flags = DRM_SYNCOBJ_QUERY_FLAGS_LAST_SUBMITTED};
        make(DRM_IOCTL_SYNCOBJ_QUERY, args);
        return point;
    }
    void await(std::uint32_t timeline, std::uint64_t point, std::uint32_t flags) {
        const auto until = base::monotonic_ns() +
                           5 * static_cast<std::uint64_t>(std::chrono::nanoseconds(kGenerous).count());
        uapi::drm_syncobj_timeline_wait args{.handles = reinterpret_cast<std::uint64_t>(&timeline),
                                             .points = reinterpret_cast<std::uint64_t>(&point),
                                             .timeout_nsec = static_cast<std::int64_t>(until),
                                             .count_handles = 1,
                                             .flags = flags | DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT};
        make(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, args);
    }

  private:
    std::unique_ptr<client::SocketTransport> transport_;
};

/// What the processes share: a buffer with a sync object for each group, and a timeline a process.
class Stage {
  public:
    explicit Stage(const Daemon& daemon)
        : device(daemon.open()), requests(device), objects_(must(device.create_buffer(kBytes))) {
        buffer = requests.export_buffer(objects_.handle());
        for (std::uint32_t i = 0; i < kProcesses; ++i)
            timelines.push_back(requests.export_syncobj(requests.create_syncobj()));
    }

    static std::uint64_t offset(std::uint32_t process, Mode mode, std::uint32_t group) {
        return 16 * ((process * 2 + static_cast<std::uint32_t>(mode)) * kGroups + group);
    }
    static constexpr std::uint64_t kBytes = 16 * 2 * kProcesses * kGroups / 4096 * 4096 + 4096;

    /// How many jobs the group has done, in all its lives.
    [[nodiscard]] std::uint64_t& done(std::uint32_t process, Mode mode, std::uint32_t group) const {
        return reinterpret_cast<uapi::belfry_sync_object64*>(objects_.bytes().data() +
                                                             offset(process, mode, group))
            ->value;
    }
    [[nodiscard]] std::uint64_t done_by_all() const {
        std::uint64_t sum = 0;
        for (std::uint32_t process = 0; process < kProcesses; ++process)
            for (std::uint32_t group = 0; group < kGroups; ++group)
                for (const Mode mode : {Mode::kernel, Mode::user})
                    sum += base::load(done(process, mode, group), base::kRelaxed);
        return sum;
    }

    Device device;
    Requests requests;
    Fd buffer;
    std::vector<Fd> timelines;

  private:
    Buffer objects_;
};

/// One of the processes. Goes on where its last life ended.
class Program {
  public:
    Program(const std::string& socket, const Stage& stage, std::uint32_t number)
        : stage_(stage),
          number_(number),
          before_((number + kProcesses - 1) % kProcesses),
          device_(must(Device::open({.socket_path = socket}))),
          requests_(device_),
          vm_(must(device_.create_vm())),
          page_(must(device_.create_buffer(kPageBytes))),
          va_(must(vm_.map(page_))) {
        bind(requests_.import_buffer(stage.buffer));
        theirs_ = requests_.import_syncobj(stage.timelines[before_]);
        for (std::uint32_t i = 0; i < kGroups; ++i) {
            kernel_groups_.push_back(create_kernel_group());
            timelines_.push_back(i + 1 < kGroups ? requests_.create_syncobj()
                                                 : requests_.import_syncobj(stage.timelines[number]));
            user_groups_.push_back(must(vm_.create_group({.queues = {{.ring_bytes = 16384}}})));
            user_done_.push_back(base::load(stage.done(number, Mode::user, i), base::kAcquire));
            user_ends_.push_back(must(SyncObject::at(page_, end_offset(i), va_ + end_offset(i))));
        }
        kernel_done_ = requests_.last_submitted(timelines_.back());
        for (std::uint32_t i = 0; i < kGroups; ++i) {
            CommandWriter stream(page_.words().subspan(stream_offset(i) / 8, kJobWords));
            work(stream, i, Mode::kernel);
            stream.move48(d(80), shared_va(number, Mode::kernel, i))
                .move48(d(82), 1)
                .sync_add64(d(80), d(82));
            require(!stream.overflowed(), "the stream is too long");
            stream_bytes_ = static_cast<std::uint32_t>(stream.size_bytes());
        }
        if (kernel_done_ != 0) make_up_for_what_was_cancelled();
    }

    void run(std::uint64_t jobs) {
        const std::uint64_t first = std::min(kernel_done_, *std::ranges::min_element(user_done_));
        for (std::uint64_t chunk = first / kChunk * kChunk; chunk < jobs; chunk += kChunk) {
            submit_kernel_jobs(std::max(chunk, kernel_done_) + 1, chunk + kChunk);
            for (std::uint32_t i = 0; i < kGroups; ++i)
                submit_user_jobs(i, std::max(chunk, user_done_[i]) + 1, chunk + kChunk);
        }
        for (std::uint32_t i = 0; i < kGroups; ++i) {
            must(user_groups_[i].wait(user_ends_[i], user_jobs_[i], {.timeout = 5 * kGenerous}));
            require(count(i, Mode::user) == user_jobs_[i], "jobs of a user-mode group are missing");
        }
        requests_.await(timelines_.back(), jobs, 0);
        for (std::uint32_t i = 0; i < kGroups; ++i)
            require(count(i, Mode::kernel) >= kernel_jobs_, "jobs of a kernel-mode group are missing");
    }

  private:
    static constexpr std::uint64_t kPageBytes = 8192;
    static std::uint64_t count_offset(std::uint32_t group, Mode mode) {
        return 4 * (static_cast<std::uint64_t>(mode) * kGroups + group);
    }
    static std::uint64_t end_offset(std::uint32_t group) { return 1024 + 16 * group; }
    static std::uint64_t stream_offset(std::uint32_t group) { return 4096 + kJobWords * 8 * group; }
    static std::uint64_t shared_va(std::uint32_t process, Mode mode, std::uint32_t group) {
        return kSharedVa + Stage::offset(process, mode, group);
    }

    void bind(std::uint32_t buffer) {
        uapi::drm_panthor_vm_bind_op op{.bo_handle = buffer, .va = kSharedVa, .size = Stage::kBytes};
        uapi::drm_panthor_vm_bind args{
            .vm_id = kVm,
            .ops = {.stride = sizeof op, .count = 1, .array = reinterpret_cast<std::uint64_t>(&op)}};
        requests_.make(DRM_IOCTL_PANTHOR_VM_BIND, args);
    }
    std::uint32_t create_kernel_group() {
        uapi::drm_panthor_queue_create queue{.ringbuf_size = 16384};
        uapi::drm_panthor_group_create args{
            .queues = {.stride = sizeof queue, .count = 1, .array = reinterpret_cast<std::uint64_t>(&queue)},
            .priority = uapi::PANTHOR_GROUP_PRIORITY_MEDIUM,
            .vm_id = kVm};
        requests_.make(DRM_IOCTL_PANTHOR_GROUP_CREATE, args);
        return args.group_handle;
    }

    /// Counts in a register that is nobody else's, however often the group has left its slot, and shows it.
    void work(CommandWriter& job, std::uint32_t group, Mode mode) const {
        job.add_immediate64(d(10), d(10), 1)
            .move48(d(80), va_ + count_offset(group, mode))
            .store_multiple(r(10), 1, d(80))
            .wait(kAllSlots);
    }
    [[nodiscard]] std::uint64_t count(std::uint32_t group, Mode mode) const {
        return base::load(reinterpret_cast<std::uint32_t&>(page_.bytes()[count_offset(group, mode)]),
                          base::kAcquire);
    }

    /// Jobs that were in flight when the last life ended have signalled, and have not counted themselves.
    void make_up_for_what_was_cancelled() {
        const std::uint32_t end = requests_.create_syncobj();
        const uapi::drm_panthor_sync_op signal{.flags = kSignal, .handle = end};
        for (std::uint32_t i = 0; i < kGroups; ++i) {
            std::uint64_t& done = stage_.done(number_, Mode::kernel, i);
            if (base::load(done, base::kRelaxed) < kernel_done_)
                base::store(done, kernel_done_, base::kSeqCst);
            // A job whose update has others look at that.
            submit(i, {{.stream_size = stream_bytes_,
                        .stream_addr = va_ + stream_offset(i),
                        .syncs = {.stride = sizeof signal,
                                  .count = 1,
                                  .array = reinterpret_cast<std::uint64_t>(&signal)}}});
            requests_.await(end, 0, 0);
        }
        kernel_jobs_ = 1;
    }
    void submit_kernel_jobs(std::uint64_t first, std::uint64_t last) {
        if (first > last) return;
        kernel_jobs_ += last - first + 1;
        // What is not submitted cannot be waited for.
        if (last > kChunk) requests_.await(theirs_, last - kChunk, DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE);
        std::vector<std::array<uapi::drm_panthor_sync_op, 2>> syncs(last - first + 1);
        for (std::uint32_t i = 0; i < kGroups; ++i) {
            std::vector<uapi::drm_panthor_queue_submit> jobs;
            for (std::uint64_t job = first; job <= last; ++job) {
                const bool line_begins = i == 0 && job <= kChunk;
                auto& ops = syncs[job - first];
                ops[0] = {.flags = kSignal | kTimeline, .handle = timelines_[i], .timeline_value = job};
                ops[1] = {.flags = kTimeline,
                          .handle = i == 0 ? theirs_ : timelines_[i - 1],
                          .timeline_value = i == 0 ? job - kChunk : job};
                jobs.push_back({.stream_size = stream_bytes_,
                                .stream_addr = va_ + stream_offset(i),
                                .syncs = {.stride = sizeof ops[0],
                                          .count = line_begins ? 1U : 2U,
                                          .array = reinterpret_cast<std::uint64_t>(ops.data())}});
            }
            submit(i, jobs);
        }
    }
    void submit(std::uint32_t group, const std::vector<uapi::drm_panthor_queue_submit>& jobs) {
        uapi::drm_panthor_group_submit args{
            .group_handle = kernel_groups_[group],
            .queue_submits = {.stride = sizeof jobs[0],
                              .count = static_cast<std::uint32_t>(jobs.size()),
                              .array = reinterpret_cast<std::uint64_t>(jobs.data())}};
        requests_.make(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, args);
    }

    void submit_user_jobs(std::uint32_t group, std::uint64_t first, std::uint64_t last) {
        Queue& queue = user_groups_[group].queue();
        const auto wait = [](CommandWriter& job, std::uint64_t va, std::uint64_t at_least) {
            job.move48(d(80), va).move48(d(82), at_least - 1).sync_wait64(d(80), csf::Condition::gt, d(82));
        };
        for (std::uint64_t number = first; number <= last; ++number) {
            CommandWriter job = must(queue.begin(kJobWords, 5 * kGenerous));
            if (number > kLead) {
                const std::uint64_t at_least = number - kLead;
                if (group != 0) {
                    wait(job, shared_va(number_, Mode::user, group - 1), at_least);
                } else {
                    wait(job, shared_va(before_, Mode::user, kGroups - 1), at_least);
                    // One chunk more: jobs of a chunk are published kernel mode first, but not everywhere at
                    // once.
                    if (number > kLead + kChunk)
                        wait(job, shared_va(before_, Mode::kernel, kGroups - 1), at_least - kChunk);
                }
            }
            work(job, group, Mode::user);
            job.move48(d(80), shared_va(number_, Mode::user, group))
                .move48(d(82), number)
                .sync_set64(d(80), d(82));
            job.move48(d(80), va_ + end_offset(group))
                .move48(d(82), 1)
                .sync_add64(d(80), d(82), {.scope = csf::Scope::csg});
            must(queue.submit(job));
            ++user_jobs_[group];
        }
    }

    const Stage& stage_;
    std::uint32_t number_;
    std::uint32_t before_;  // whom it waits for
    Device device_;
    Requests requests_;
    Vm vm_;
    Buffer page_;
    std::uint64_t va_;
    std::uint32_t theirs_ = 0;
    std::uint32_t stream_bytes_ = 0;
    std::vector<std::uint32_t> kernel_groups_;
    std::vector<std::uint32_t> timelines_;
    std::uint64_t kernel_done_ = 0;  // in earlier lives
    std::uint64_t kernel_jobs_ = 0;  // of each group, in this one
    std::vector<Group> user_groups_;
    std::vector<std::uint64_t> user_done_;
    std::array<std::uint64_t, kGroups> user_jobs_{};
    std::vector<SyncObject> user_ends_;
};

class Thousand : public DaemonTest {
  protected:
    Child start(std::uint32_t number) {
        return Child([this, number] { Program(daemon.socket(), stage, number).run(jobs); });
    }
    void expect_all_done() const {
        for (std::uint32_t process = 0; process < kProcesses; ++process)
            for (std::uint32_t group = 0; group < kGroups; ++group) {
                EXPECT_EQ(stage.done(process, Mode::user, group), jobs);
                EXPECT_GE(stage.done(process, Mode::kernel, group), jobs);
            }
    }
    void expect_nothing_left() {
        // A group of a file that has closed ends once the firmware has answered, its memory goes with the
        // flush behind that. One buffer stays: the one that all shared.
        EXPECT_TRUE(eventually([this] {
            const DeviceLoad load = must(stage.device.load());
            return load.files == 1 && load.groups == 0 && load.buffers == 1;
        }));
        const DeviceLoad load = must(stage.device.load());
        EXPECT_EQ(load.groups_on_slot, 0U);
        EXPECT_EQ(load.groups_waiting, 0U);
        EXPECT_EQ(load.vms, 0U);
    }

    const std::uint64_t jobs = jobs_of_a_group();
    Stage stage{daemon};
};

TEST_F(Thousand, GroupsThatWaitForEachOtherAllGetTheirWorkDone) {
    std::vector<Child> processes;
    for (std::uint32_t i = 0; i < kProcesses; ++i) processes.push_back(start(i));
    for (Child& process : processes) process.finish();
    expect_all_done();
    for (std::uint32_t process = 0; process < kProcesses; ++process)
        for (std::uint32_t group = 0; group < kGroups; ++group)
            EXPECT_EQ(stage.done(process, Mode::kernel, group), jobs);
    expect_nothing_left();
}

TEST_F(Thousand, GroupsGetTheirWorkDoneThoughEachProcessIsKilledOnce) {
    Bystander user(daemon.socket(), Bystander::Mode::user);
    Bystander kernel(daemon.socket(), Bystander::Mode::kernel);
    std::vector<std::unique_ptr<Child>> processes;
    std::vector<std::uint32_t> victims;
    for (std::uint32_t i = 0; i < kProcesses; ++i) {
        processes.push_back(std::make_unique<Child>(start(i)));
        victims.push_back(i);
    }
    std::mt19937 random(20'24);
    std::ranges::shuffle(victims, random);
    const std::uint64_t all = 2 * kProcesses * kGroups * jobs;
    std::vector<std::uint64_t> moments;
    for (std::uint32_t i = 0; i < kProcesses; ++i) moments.push_back(random() % all);
    std::ranges::sort(moments);
    for (std::uint32_t i = 0; i < kProcesses; ++i) {
        ASSERT_TRUE(eventually([&] { return stage.done_by_all() >= moments[i] / 10 * 9; }));
        std::unique_ptr<Child>& victim = processes[victims[i]];
        victim->signal(SIGKILL);
        victim->wait();
        victim = std::make_unique<Child>(start(victims[i]));
    }
    for (const auto& process : processes) process->finish();
    expect_all_done();
    user.await_more();
    kernel.await_more();
    user.finish();
    kernel.finish();
    expect_nothing_left();
}

}  // namespace
}  // namespace belfry
