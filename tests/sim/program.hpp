// SimProgram: one program of a run: what it has, the small steps that it takes, and what it must see.
//
// Owns   its objects of the driver, by handle, and the model of what they promise. The model knows nothing of
//        the driver but what a program can observe: values, results, fences and their errors, the answers of
//        waits, eventfds, group states.
// Called by Schedule: act() takes one small step (program.cpp), watch() looks at everything after every step
// of
//        anybody (program_check.cpp).
//
// Lanes  are sequences of jobs: the queues of its groups, and its XGS queues. Each has a sync object that
//        each of its jobs adds one to. A job waits for jobs that were made before it, so that no two sound
//        ones wait for each other.
// Slow   is a lane that waits, directly or not, for what nothing but a timeout ends: it may be ended by one
//        itself, if it is of kernel mode. No other sound lane may.
// Dead   groups cannot do what others wait for. Their program, once it knows, says so as programs do: it puts
//        an error and a value beyond all others into their sync objects.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sim/compute.hpp"
#include "sim/draw.hpp"
#include "sim/ring.hpp"
#include "sim/world.hpp"
#include "unit/panthor_rig.hpp"

namespace belfry::panthor::sim {

inline constexpr unsigned kJobsMax = 12;  // of a lane, in a schedule
inline constexpr std::uint64_t kForEver = std::numeric_limits<std::int64_t>::max();

class SimProgram {
  public:
    explicit SimProgram(World& world);
    /// What it has on the GPU ends with its file.
    void close();

    /// A new schedule begins: all that was done is forgotten, and what has died is made anew.
    void begin();
    void act();
    /// Whatever was begun is told, and the CPU does its part: from here on the program only waits.
    void finish_telling();
    /// What it does while it waits.
    void keep_up();
    /// Ends what waits for groups that have died.
    void notice_deaths();
    /// What can be seen at any moment is right.
    void watch();
    /// All that must be done without anybody's timeout is done.
    [[nodiscard]] bool done() const;
    /// Nothing is pending.
    [[nodiscard]] bool settled() const;
    /// Says what is pending.
    void complain() const;
    /// How long timeouts may take altogether, in groups that end by one.
    [[nodiscard]] unsigned timeouts() const;
    [[nodiscard]] std::size_t groups() const { return groups_.size(); }
    /// All is as promised, at the end of a schedule.
    void verify();
    /// The store could not give back a buffer, which may be one of its VMs'.
    void lose(const drm::Buffer& buffer);
    /// The GPU has woken the sleepers of `bits` on `word`.
    void woken(const std::uint32_t& word, std::uint32_t bits);

  private:
    enum class Kind { sound, endless, faulty, stuck };
    /// What it does next to tell of a user-mode job.
    enum class Telling { nothing, publish, look, ring, kick };
    struct Group;

    /// A fence that somebody can see, or will.
    struct Promise {
        std::uint32_t syncobj = 0;
        std::uint64_t made = 0;  // when
        unsigned job = 0;        // of its lane: the value that says that it is done
        bool bounded = false;    // XGS: has a deadline of its own
    };
    struct Lane {
        unsigned index = 0;
        Group* group = nullptr;  // none: an XGS queue
        unsigned queue = 0;      // of the group; or the XGS queue's handle
        unsigned jobs = 0;
        unsigned first = 0;           // of this schedule
        std::optional<unsigned> bad;  // the job that does not end well
        bool slow = false;
        bool may_fail = false;  // XGS: its jobs may end with errors
        bool released = false;
        Telling telling = Telling::nothing;
        bool waits_for_cpu = false;
        unsigned elsewhere = 0;            // which jobs' results are in second_
        std::uint64_t seen = 0;            // its value
        SharedTimeline* shared = nullptr;  // also signalled
        std::uint32_t timeline = 0;
        std::deque<Promise> pending;  // in order
        std::vector<Promise> kept;    // in order too
    };
    struct Group {
        Kind kind = Kind::sound;
        std::uint32_t vm = 0;
        UserGroup* user = nullptr;
        KernelGroup* kernel = nullptr;
        std::vector<Lane*> lanes;
        bool destroyed = false;
        bool released = false;
        bool condemned = false;  // a page fault may have taken it along
        bool told = false;       // its eventfd was rung
        base::Fd updates, states;
    };
    /// A thread that sleeps until a lane has come so far.
    struct Sleeper {
        Lane* lane;
        std::uint64_t target;
        bool asleep;
    };
    /// A thread in SYNCOBJ_WAIT.
    struct FenceWait {
        std::shared_ptr<TestCall> call;
        std::unique_ptr<std::vector<std::uint32_t>> syncobjs;
        bool all;
        std::uint64_t deadline;
    };
    /// A page that jobs reach the program's memory by, while it is bound there.
    struct Alias {
        bool bound = false;
        bool second = false;  // it is second_
        bool slow = false;
        std::uint32_t ready = 0;
        std::vector<std::pair<const Lane*, std::uint32_t>> users;  // their fences
    };
    /// Another program's timeline.
    struct Import {
        SharedTimeline* of;
        std::uint32_t syncobj;
        std::size_t over = 0;  // so many of its points
    };
    struct Words {
        panthor::Program write;
        bool by_alias = false;
    };

    Group& open_group();
    Lane& open_lane(Group* group, unsigned queue);
    void open_xgs();
    [[nodiscard]] belfry_sync_object64& sync(const Lane& lane) const;
    [[nodiscard]] std::uint32_t& result(const Lane& lane, unsigned job) const;
    [[nodiscard]] bool may_be_dead(const Group& group) const;
    [[nodiscard]] bool waitable(const Lane& lane, const Lane& by) const;
    [[nodiscard]] std::uint64_t now() const { return world_.rig.host.now; }
    [[nodiscard]] int status(const Promise& promise) const {
        return client_->has_fence(promise.syncobj) ? client_->fence_status(promise.syncobj) : 0;
    }
    void taint(Lane& lane);
    Words words_of(Lane& lane);
    Program compute(const Lane& lane, unsigned job, bool bad, bool page_fault);
    [[nodiscard]] std::optional<SomeFence> some_fence() const;
    void wait_for_some_fence(Lane& lane, std::vector<drm_panthor_sync_op>& syncs);
    void share();
    void submit(Lane& lane);
    void submit_kernel(Lane& lane);
    void submit_xgs(Lane& lane);
    bool tell(Lane& lane);
    void update_by_cpu();
    void sync_update();
    void release(Lane& lane);
    void bind();
    void rebind();
    void wait_for_a_value();
    void wait_for_fences();
    void destroy_something();
    void kick_oddly();
    void watch_lane(Lane& lane);
    void watch_import(Import& import);
    [[nodiscard]] bool is_done(const Lane& lane) const;
    void expect_legitimate(Lane& lane, const Promise& promise, int status);
    void verify_group(Group& group);

    World& world_;
    Client* client_;
    unsigned number_;
    std::vector<std::uint32_t> vms_;
    Memory page_;
    Memory streams_;
    Memory second_;                                     // for results of jobs that write through the alias
    std::unordered_map<std::uint32_t, Memory> hoards_;  // by VM: what no CPU maps, so that it can be evicted
    std::unordered_set<std::uint32_t> lost_;            // VMs whose hoard could not be brought back once
    std::uint64_t page_in_driver_;
    std::deque<Lane> lanes_;     // all that there ever were
    std::list<Group> groups_;    // that live, or lived in this schedule
    std::vector<Lane*> active_;  // lanes of groups_, and XGS queues
    std::vector<Sleeper> sleepers_;
    std::vector<FenceWait> fence_waits_;
    std::vector<Promise> binds_;
    Alias alias_;
    std::optional<SimCompute> compute_;
    std::deque<SimRing> rings_;
    std::vector<Import> imports_;
    bool errors_ = false;          // some may have happened: groups may be dead, and waits may inherit them
    std::uint64_t began_ = now();  // the schedule
    std::uint64_t cpu_value_ = 0;
    std::uint64_t cpu_wanted_ = 0;
};

}  // namespace belfry::panthor::sim
