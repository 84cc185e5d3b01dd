#include "gpu/shader_cores.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace belfry::gpu {
namespace {

/// So many tasks a core at least, if the job has that many workgroups: cores that come late find some left.
constexpr std::uint64_t kTasksPerCore = 8;

/// The page tables of an address space as they were when a slice began; walked by one core.
class Walker final : public shader::Translation {
  public:
    Walker(std::uint64_t root, ShaderCores::Listener& gpu) : root_(root), gpu_(gpu) {}
    [[nodiscard]] shader::Page page(std::uint64_t address) const override {
        const Walk walk = walk_tables(root_, address);
        if (walk.page == nullptr) return {.refusal = walk.refusal};
        std::uint8_t rights = 0;
        if (walk.allows(Access::read)) rights |= shader::kRead;
        if (walk.allows(Access::write)) rights |= shader::kWrite;
        if (walk.allows(Access::execute)) rights |= shader::kExecute;
        return {.host = walk.page, .rights = rights, .refusal = walk.refusal};
    }

    [[nodiscard]] std::uint64_t timestamp() const override { return gpu_.timestamp(); }

  private:
    std::uint64_t root_;
    ShaderCores::Listener& gpu_;
};

}  // namespace

ShaderCores::ShaderCores(unsigned cores, unsigned group_slots, unsigned streams_per_group, Listener& listener)
    : cores_(cores), listener_(listener), groups_(group_slots), runners_(cores + 1) {
    BELFRY_CHECK(cores >= 1 && cores <= 31);
    for (Group& group : groups_) {
        group.jobs.resize(std::size_t{streams_per_group} * kJobsPerStream);
        group.places.resize(cores);
        group.results.reserve(group.jobs.size());
    }
}

std::size_t ShaderCores::save_bytes(unsigned cores, unsigned streams_per_group) {
    return sizeof(SavedHeader) +
           std::size_t{streams_per_group} * kJobsPerStream * (sizeof(std::uint32_t) + sizeof(Job)) +
           std::size_t{cores} * (sizeof(SavedPlace) + sizeof(shader::Workgroup));
}

ShaderCores::Issue ShaderCores::submit(unsigned slot, unsigned stream, const AddressSpace& space,
                                       unsigned space_number, const ComputeJob& issued,
                                       shader::Fault& fault) {
    const auto started = shader::start_job(issued.registers, Walker(space.root(), listener_));
    if (!started) {
        fault = started.error();
        return Issue::faulted;
    }
    const std::uint64_t workgroups = started->workgroups();
    if (workgroups == 0) return Issue::done;

    const std::lock_guard lock(mutex_);
    Group& group = groups_[slot];
    const auto first = group.jobs.begin() + stream * kJobsPerStream;
    const auto free = std::find_if(first, first + kJobsPerStream,
                                   [](const Job& job) { return job.state == Job::State::none; });
    if (free == first + kJobsPerStream) return Issue::full;
    group.space = &space;
    group.space_number = space_number;
    const std::uint64_t balanced = workgroups / (cores_ * kTasksPerCore);
    *free = {.state = Job::State::running,
             .entry = issued.entry,
             .progress = issued.progress,
             .end = workgroups,
             .per_task = std::max<std::uint64_t>(1, std::min(issued.workgroups_per_task, balanced)),
             .serial = ++serials_,
             .place = issued.place,
             .job = *started};
    fresh_ = true;
    count_ready();
    return Issue::started;
}

std::vector<ComputeResult> ShaderCores::take_results(unsigned slot) {
    const std::lock_guard lock(mutex_);
    std::vector<ComputeResult> results = groups_[slot].results;
    groups_[slot].results.clear();  // which keeps its room: a result never allocates
    return results;
}

/// The job whose next task is due: streams take turns, a stream's jobs start in order.
ShaderCores::Job* ShaderCores::job_to_start(Group& group) {
    const auto streams = static_cast<unsigned>(group.jobs.size() / kJobsPerStream);
    for (unsigned n = 1; n <= streams; ++n) {
        const unsigned stream = (group.stream_turn + n) % streams;
        Job* oldest = nullptr;
        for (unsigned i = stream * kJobsPerStream; i < (stream + 1) * kJobsPerStream; ++i) {
            Job& job = group.jobs[i];
            if (job.state != Job::State::running || job.next == job.end) continue;
            if (oldest == nullptr || job.serial < oldest->serial) oldest = &job;
        }
        if (oldest == nullptr) continue;
        group.stream_turn = stream;
        return oldest;
    }
    return nullptr;
}

bool ShaderCores::give_task(Group& group, PlaceState& place) {
    Job* const job = job_to_start(group);
    if (job == nullptr) return false;
    if (place.workgroup == nullptr) place.workgroup = std::make_unique<shader::Workgroup>();
    place.workgroup->warp_count = 0;
    place.job = static_cast<std::uint32_t>(job - group.jobs.data());
    const std::uint64_t end = job->next + std::min(job->per_task, job->end - job->next);
    place.task = {.job = &job->job,
                  .serial = job->serial,
                  .next = job->next,
                  .end = end,
                  .core = static_cast<std::uint32_t>(&place - group.places.data()),
                  .workgroup = place.workgroup.get()};
    job->next = end;
    ++job->in_flight;
    return true;
}

/// The place whose turn it is, with a task; null: there is none.
ShaderCores::PlaceState* ShaderCores::choose(Group*& chosen) {
    const auto slots = static_cast<unsigned>(groups_.size());
    for (unsigned n = 1; n <= slots; ++n) {
        const unsigned slot = (turn_ + n) % slots;
        Group& group = groups_[slot];
        if (group.held || group.space == nullptr) continue;
        bool tasks_left = true;
        for (unsigned m = 1; m <= cores_; ++m) {
            const unsigned index = (group.turn + m) % cores_;
            PlaceState& place = group.places[index];
            if (place.state == PlaceState::State::running) continue;
            if (place.state == PlaceState::State::free) {
                tasks_left = tasks_left && give_task(group, place);
                if (!tasks_left) continue;
            }
            turn_ = slot;
            group.turn = index;
            chosen = &group;
            return &place;
        }
    }
    return nullptr;
}

bool ShaderCores::run(unsigned runner_index, std::uint32_t steps) {
    Runner& runner = runners_[runner_index];
    std::unique_lock lock(mutex_);
    Group* group = nullptr;
    PlaceState* const place = choose(group);
    if (place == nullptr) return false;
    place->state = PlaceState::State::running;
    place->runner = runner_index;
    ++group->running;
    runner.leave.store(false, std::memory_order_relaxed);
    const Walker walker(group->space->root(), listener_);
    // Of all address spaces together: the number in the low bits.
    const std::uint64_t generation = group->space->generation() * leaving_space_.size() + group->space_number;
    count_ready();
    lock.unlock();

    const shader::Outcome outcome = runner.core->run(place->task, walker, generation, steps, runner.leave);

    lock.lock();
    for (unsigned number = 0; number < leaving_space_.size(); ++number) {
        std::uint32_t& leaving = leaving_space_[number];
        if ((leaving >> runner_index & 1U) == 0) continue;
        leaving &= ~(1U << runner_index);
        if (leaving == 0) told_ = true;
    }
    left(*group, *place, outcome, runner.core->fault());
    if (group->held && group->running == 0) told_ = true;
    count_ready();
    const bool told = std::exchange(told_, false);
    lock.unlock();
    if (told) tell();
    return true;
}

void ShaderCores::tell() {
    // Release: pairs with take_news(), after which the results are looked for.
    news_.store(true, std::memory_order_release);
    listener_.shader_news();
}

void ShaderCores::left(Group& group, PlaceState& place, shader::Outcome outcome, const shader::Fault& fault) {
    --group.running;
    Job& job = group.jobs[place.job];
    if (outcome == shader::Outcome::paused && job.state == Job::State::running) {
        place.state = PlaceState::State::paused;
        return;
    }
    place.state = PlaceState::State::free;
    --job.in_flight;
    if (outcome == shader::Outcome::faulted && job.state == Job::State::running) {
        job.state = Job::State::faulted;  // the first cause stays
        job.fault = fault;
        drop(group, place.job);
    }
    finish_if_over(group, place.job);
}

/// No more tasks of a job: those that no core is in go at once, the others with their slice.
void ShaderCores::drop(Group& group, std::uint32_t index) {
    Job& job = group.jobs[index];
    job.next = job.end;
    for (PlaceState& place : group.places) {
        if (place.state == PlaceState::State::free || place.job != index) continue;
        if (place.state == PlaceState::State::running) {
            runners_[place.runner].leave.store(true, std::memory_order_relaxed);
            continue;
        }
        place.state = PlaceState::State::free;
        --job.in_flight;
    }
}

void ShaderCores::finish_if_over(Group& group, std::uint32_t index) {
    Job& job = group.jobs[index];
    if (job.state == Job::State::none || job.in_flight != 0 || job.next != job.end) return;
    if (job.state != Job::State::abandoned)
        group.results.push_back({.stream = index / kJobsPerStream,
                                 .entry = job.entry,
                                 .progress = job.progress,
                                 .faulted = job.state == Job::State::faulted,
                                 .fault = job.fault,
                                 .place = job.place});
    job.state = Job::State::none;
    told_ = true;
}

void ShaderCores::hold(unsigned slot) {
    const std::lock_guard lock(mutex_);
    Group& group = groups_[slot];
    group.held = true;
    for (const PlaceState& place : group.places)
        if (place.state == PlaceState::State::running)
            runners_[place.runner].leave.store(true, std::memory_order_relaxed);
    count_ready();
}

bool ShaderCores::busy(unsigned slot) const {
    const std::lock_guard lock(mutex_);
    return groups_[slot].running != 0;
}

bool ShaderCores::busy(unsigned slot, unsigned stream) const {
    const std::lock_guard lock(mutex_);
    return std::ranges::any_of(groups_[slot].places, [stream](const PlaceState& place) {
        return place.state == PlaceState::State::running && place.job / kJobsPerStream == stream;
    });
}

void ShaderCores::abandon(unsigned slot) {
    for (unsigned stream = 0; stream < groups_[slot].jobs.size() / kJobsPerStream; ++stream)
        abandon(slot, stream);
}

void ShaderCores::abandon(unsigned slot, unsigned stream) {
    const std::lock_guard lock(mutex_);
    Group& group = groups_[slot];
    std::erase_if(group.results, [&](const ComputeResult& result) { return result.stream == stream; });
    for (std::uint32_t i = stream * kJobsPerStream; i < (stream + 1) * kJobsPerStream; ++i) {
        if (group.jobs[i].state == Job::State::none) continue;
        group.jobs[i].state = Job::State::abandoned;
        drop(group, i);
        finish_if_over(group, i);
    }
    told_ = false;  // who abandons looks for itself
    count_ready();
}

void ShaderCores::release(unsigned slot) {
    const std::lock_guard lock(mutex_);
    Group& group = groups_[slot];
    BELFRY_CHECK(group.running == 0);
    for (Job& job : group.jobs) job.state = Job::State::none;
    for (PlaceState& place : group.places) place.state = PlaceState::State::free;
    group.results.clear();
    group.space = nullptr;
    group.held = false;
    count_ready();
}

/// Gives the jobs of a group that was away new serials, for code may have changed meanwhile; in the old
/// order.
void ShaderCores::renumber(Group& group) {
    std::vector<Job*> jobs;
    for (Job& job : group.jobs)
        if (job.state != Job::State::none) jobs.push_back(&job);
    std::ranges::sort(jobs, {}, &Job::serial);
    for (Job* const job : jobs) job->serial = ++serials_;
    for (PlaceState& place : group.places)
        if (place.state != PlaceState::State::free) place.task.serial = group.jobs[place.job].serial;
}

void ShaderCores::go_on(unsigned slot) {
    const std::lock_guard lock(mutex_);
    groups_[slot].held = false;
    fresh_ = true;
    count_ready();
}

bool ShaderCores::flushed(unsigned number) const {
    const std::lock_guard lock(mutex_);
    return leaving_space_[number] == 0;
}

void ShaderCores::count_ready() {
    unsigned ready = 0;
    for (const Group& group : groups_) {
        if (group.held || group.space == nullptr) continue;
        unsigned free = 0;
        for (const PlaceState& place : group.places) {
            ready += place.state == PlaceState::State::paused;
            free += place.state == PlaceState::State::free;
        }
        std::uint64_t tasks = 0;
        for (const Job& job : group.jobs)
            if (job.state == Job::State::running && job.next != job.end)
                tasks += std::min<std::uint64_t>(free, (job.end - job.next - 1) / job.per_task + 1);
        ready += static_cast<unsigned>(std::min<std::uint64_t>(tasks, free));
    }
    ready_.store(ready, std::memory_order_relaxed);
}

}  // namespace belfry::gpu
