// SimRing: a submit ring of a program: what is written into it in small steps, and what must come back.
//
// Owns   the ring, a VM with a kernel-mode group, an XGS queue that nobody else uses, and the model of what
// becomes of
//        each entry. The model knows what a program knows: which entries were published, what their
//        completions, fences and results in memory say.
// Called by SimProgram: act() takes one small step (ring.cpp), watch() looks after every step of anybody
//        (ring_check.cpp).
//
// Entries of a schedule have a place each: a syncobj that they signal, a sync object that their job adds one
//        to, room for a stream and in the arena. They wait for entries before them, for a gate that the CPU
//        opens, and for fences of their program, so that no two wait for each other.
// Order  an entry has begun if its fence or its result can be seen. Then what it is linked to has succeeded,
//        and what a drain keeps apart from it is over.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/draw.hpp"
#include "sim/world.hpp"
#include "unit/panthor_rig.hpp"
#include "unit/submit_ring_client.hpp"

namespace belfry::panthor::sim {

class SimRing {
  public:
    SimRing(World& world, Client& client);

    /// A new schedule begins: all that was written is over.
    void begin();
    /// `fence`: which an entry may wait for.
    void act(std::optional<SomeFence> fence);
    /// All that was written is told, and the gate is open.
    void finish_telling();
    /// What a program does while it waits: reaps, if it does so at all, and perhaps keeps the ring full.
    void keep_up();
    void watch();
    [[nodiscard]] bool slow() const { return slow_; }
    /// All entries are over.
    [[nodiscard]] bool done() const;
    /// ... and nothing that the driver has accepted is pending.
    [[nodiscard]] bool settled() const;
    /// Says what is pending.
    void complain() const;
    void verify();

  private:
    enum class Kind { nop, timeout, linked_timeout, cancel, job, bind, xgs, bad };
    enum class Telling { nothing, publish, look };
    static constexpr int kNoFence = 2;
    static constexpr std::uint64_t kFloodName = 1ULL << 63;
    struct Entry {
        Kind kind = Kind::nop;
        std::uint8_t flags = 0;
        std::uint32_t at = 0;            // counter of the submission queue
        std::uint64_t due = 0;           // timeouts: not before
        std::uint64_t made = 0;          // when
        std::optional<unsigned> before;  // linked to
        std::optional<unsigned> whom;    // CANCEL and linked TIMEOUT: meant
        unsigned first_beside = 0;       // entries before this one are over when it begins
        bool broken_before = false;      // its chain is from an earlier schedule, and has failed
        bool may_cancel = false;         // somebody cancels it, or may
        bool may_be_refused = false;     // what it waits for may not have been there
        bool bounded = false;            // XGS
        bool ends_badly = false;         // its job does
        bool second = false;             // its count is in the second page, by the alias
        bool begun = false;
        bool died = false;                   // with its ring
        bool released = false;               // its sync object was set by the CPU
        std::optional<std::int32_t> result;  // as told
    };

    void open_ring();
    void open_group();
    void open_xgs_queue();
    [[nodiscard]] bool has(const Entry& entry, std::uint8_t flag) const { return (entry.flags & flag) != 0; }
    [[nodiscard]] static bool signals(const Entry& entry) {
        return entry.kind == Kind::nop || entry.kind == Kind::job || entry.kind == Kind::bind ||
               entry.kind == Kind::xgs;
    }
    [[nodiscard]] static bool failed(const Entry& entry) {
        return entry.result && *entry.result != 0 && *entry.result != -ETIME;
    }
    [[nodiscard]] belfry_sync_object64& sync(unsigned place) const;
    [[nodiscard]] std::uint32_t& count(unsigned place, bool second) const;
    [[nodiscard]] int fence(unsigned place) const;
    [[nodiscard]] bool taken(const Entry& entry) const;
    [[nodiscard]] bool surely_pending(unsigned place) const;
    [[nodiscard]] bool over(unsigned place) const;
    [[nodiscard]] bool may_be_over(unsigned place) const;
    [[nodiscard]] bool group_may_be_dead() const { return group_doomed_ || slow_ || world_.silenced; }

    void write(std::optional<SomeFence> fence);
    void write_any(std::optional<SomeFence> fence, std::uint8_t flags);
    void write_mapped_jobs();
    Entry& add(Kind kind, belfry_submit_entry entry, std::uint8_t flags);
    void add_nop(std::optional<SomeFence> fence, std::uint8_t flags);
    void add_timeout(std::uint8_t flags);
    void add_cancel(std::uint8_t flags);
    Entry& add_job(std::optional<SomeFence> fence, std::uint8_t flags, std::optional<bool> second = {});
    Entry& add_bind(std::uint64_t va, const Memory& memory, std::uint8_t flags);
    void add_xgs(std::uint8_t flags);
    void add_bad(std::uint8_t flags);
    std::optional<unsigned> older();
    void tell();
    void open_gate();
    void release();
    void destroy();
    void misbehave();
    void expect_may_begin(unsigned place);
    void hear(const drm::Told& told);
    void expect_legitimate(unsigned place, std::int32_t result);
    void verify_order() const;
    [[nodiscard]] bool tail_is_judged() const;

    World& world_;
    Client& client_;
    std::uint32_t vm_;
    Memory page_;
    Memory second_;
    Memory streams_;
    std::optional<drm::RingClient> ring_;
    KernelGroup* group_ = nullptr;
    unsigned groups_ = 0;
    std::uint32_t xgs_queue_ = 0;
    std::vector<std::uint32_t> syncobjs_;  // by place
    std::uint32_t gate_ = 0;
    std::uint64_t gate_opened_ = 0;
    std::uint64_t gate_wanted_ = 0;

    // Of the ring.
    bool reaps_ = true;
    bool floods_ = false;  // keeps the ring full while it waits
    bool destroyed_ = false;
    bool wild_tail_ = false;  // out of range
    bool wild_head_ = false;
    Telling telling_ = Telling::nothing;
    std::uint32_t published_ = 0;
    std::uint32_t seen_ = 0;  // of the completions
    std::uint32_t given_back_ = 0;
    std::uint32_t event_ = 0;
    std::uint64_t next_name_ = 1;
    bool link_open_ = false;
    std::optional<unsigned> chain_;  // what a link, if it is open, waits for
    bool chain_broken_ = false;      // ... if that is of an earlier schedule

    // Of the schedule.
    std::vector<Entry> entries_;
    std::uint64_t began_ = world_.rig.host.now;
    std::uint64_t first_name_ = 1;
    unsigned first_beside_ = 0;
    bool slow_ = false;
    bool group_doomed_ = false;
    std::vector<unsigned> to_release_;
    std::uint32_t jobs_before_ = 0;  // that the group has counted
    std::uint64_t floods_written_ = 0;
    std::uint64_t floods_told_ = 0;
};

}  // namespace belfry::panthor::sim
