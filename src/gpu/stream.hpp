// Stream: one command stream, that is, the interpreter of CSF v10 instructions and the state it runs on.
//
// Owns   registers, call stack, scoreboards, operations in flight. All of it is StreamState, which SUSPEND
// saves
//        and RESUME restores as it is.
// Runs   in the GPU actor.
// Called by Firmware: start, run a slice, stop. Reaches out through StreamPort only.
//
// Asynchronous operations complete as late as they may: when their scoreboard entry is waited for, when the
// stream stops or uses up its slice, or when kInFlightMax are outstanding. A program that forgets a WAIT
// therefore fails here every time, not once a month on a board. facts/csf-isa.md 4; what that sheet leaves
// open (section 10) is decided in docs/architecture.md, "What the GPU does where the sources are silent".
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "belfry/uapi/csf.hpp"
#include "belfry/uapi/csf_exceptions.hpp"
#include "belfry/uapi/user_queue.h"
#include "gpu/address_space.hpp"
#include "gpu/compute_job.hpp"
#include "gpu/firmware_interface.hpp"
#include "gpu/shader_cores.hpp"

namespace belfry::gpu {

inline constexpr unsigned kRegisters = 96;
inline constexpr unsigned kScoreboards = 8;
inline constexpr unsigned kCallDepth = 8;  ///< the ring is the first frame
inline constexpr unsigned kInFlightMax = 32;
inline constexpr unsigned kRegistersPerAccess = 16;
inline constexpr std::uint64_t kInstructionBytes = 8;

/// What a stream is doing. One function, Stream::run(), moves between them; Firmware resets to `stopped`.
enum class StreamStatus : std::uint32_t {
    stopped,  ///< not started, or ended by STOP, SUSPEND or TERMINATE
    running,  ///< has instructions to execute
    empty,    ///< EXTRACT has reached the INSERT that it knows
    blocked,  ///< on what `blocked` says; goes on after a re-examination
    faulted,  ///< met an MMU fault; stands until the driver disables the address space or suspends it
    fatal,    ///< ended by an unrecoverable fault
};

/// An asynchronous operation between its issue and its completion, with all operands sampled at issue.
struct InFlight {
    enum class Kind : std::uint8_t { load, store, sync_add, sync_set, store_state, flush, trace };
    Kind kind;
    std::uint8_t wait;    // scoreboard entries that must be zero before it executes
    std::uint8_t signal;  // entry that it counts on
    std::uint8_t base;    // first register
    std::uint16_t mask;   // registers of a load or store
    std::uint8_t wide;    // sync: 64-bit object
    std::uint8_t propagate;
    std::uint8_t scope;
    std::uint8_t state;  // store_state: what
    std::uint8_t count;  // trace: registers
    std::uint8_t pad[5];
    std::uint64_t address;
    std::uint64_t value;  // sync: what is added or set
    Place place;
};
static_assert(sizeof(InFlight) == 48);

/// The registers that a store or a trace point sampled, packed.
using SampledRegisters = std::array<std::uint32_t, kRegistersPerAccess>;

/// A buffer of instructions. In frame 0, the ring, positions are byte counters; elsewhere GPU addresses.
struct Frame {
    std::uint64_t start;  // branches reach from here ...
    std::uint64_t next;   // next instruction
    std::uint64_t end;    // ... to here
};

struct Blocked {
    BlockedReason reason;         // stays when the stream is woken, until it has tried again; else none
    std::uint32_t scoreboards;    // reason scoreboard
    csf::Condition condition;     // reason sync
    std::uint8_t wide;            // reason sync
    std::uint8_t protected_mode;  // waits for a mode that this GPU does not have
    std::uint8_t pad;
    std::uint64_t sync_address;
    std::uint64_t reference;
};

struct StreamState {
    StreamStatus status;
    std::uint32_t depth;  // frames in use - 1
    std::array<std::uint32_t, kRegisters> registers;
    std::array<Frame, kCallDepth> frames;
    Blocked blocked;
    std::uint8_t endpoint_entry;
    std::uint8_t other_entry;
    std::uint8_t error;  // error state: 0, or 1 after a recoverable fault
    std::uint8_t resources;
    std::uint32_t in_flight_count;
    std::array<std::uint8_t, kScoreboards> jobs;  // of the shader cores, by the entry they count on
    std::uint64_t progress;
    std::uint64_t extract;  // as last published
    std::uint64_t handler_address;
    std::uint32_t handler_bytes;
    std::uint32_t handler_type;
    std::uint64_t trace_offset;
    Place culprit;                // of the MMU fault, while `faulted`
    std::uint64_t fault_address;  // likewise
    shader::Fault shader_fault;   // where in a shader it was, if pc is not 0
    std::array<InFlight, kInFlightMax> in_flight;
    std::array<SampledRegisters, kInFlightMax> sampled;  // of the operation with the same index
};
static_assert(std::is_trivially_copyable_v<StreamState>);

/// An exception of a stream: what goes into its FAULT or FATAL words.
struct StreamException {
    csf::Exception type;
    std::uint64_t info;
    Place place;
    const shader::Fault* shader = nullptr;  // if it was a shader's
};

/// What a stream needs of its group and of the GPU. Implemented by Firmware's group slot.
class StreamPort {
  public:
    virtual ~StreamPort() = default;
    /// The sync object at GPU address `address`, which is `host`, was updated.
    virtual void sync_updated(csf::Scope scope, std::uint64_t address, const std::byte* host) = 0;
    /// Wakes the CPU waiters of the 64-bit object at `word`.
    virtual void wake(std::uint32_t& word, std::uint32_t bitset) = 0;
    virtual void progress_changed() = 0;
    virtual std::uint64_t progress_of(std::uint32_t queue) = 0;
    virtual void report_fault(const StreamException& exception) = 0;
    virtual void report_fatal(const StreamException& exception) = 0;
    virtual void report_mmu_fault(const MmuFault& fault) = 0;
    virtual void protected_mode_wanted() = 0;
    virtual std::uint64_t timestamp() = 0;
    /// Instructions that the GPU has executed before this slice.
    virtual std::uint64_t cycles() = 0;
    virtual void flushed_caches() = 0;
    /// Starts a job on the shader cores; its end comes back by job_ended().
    virtual ShaderCores::Issue run_compute(const ComputeJob& job, shader::Fault& fault) = 0;
    /// The stream's jobs are nobody's any more.
    virtual void abandon_jobs() = 0;
};

/// Where the stream's memory lies, from the driver's input block; translated once, at start.
struct StreamConfig {
    AddressSpace* space;
    std::uint64_t ring_base;  // GPU address, page aligned
    std::uint32_t ring_bytes;
    uapi::belfry_user_input* input;  // client-writable
    uapi::belfry_user_output* output;
    std::uint64_t trace_base;
    std::uint32_t trace_bytes;  // 0 = no trace buffer
};

class Stream {
  public:
    void attach(StreamPort& port) { port_ = &port; }

    /// Starts from nothing, fetching at EXTRACT_INIT; or goes on with what state() gave.
    void start(const StreamConfig& config);
    void resume(const StreamConfig& config, const StreamState& saved);
    /// Ends before it has started; the caller has told the driver why.
    void refuse() { state_ = {.status = StreamStatus::fatal}; }
    /// Stops, and clears ACTIVE. All writes on behalf of the stream are done then: what can complete has, at
    /// the end of its slice.
    void stop();

    /// Reads INSERT again. True if there is something to run.
    bool look();
    /// Has the CPU fetch what look() and the instructions behind it will read.
    void prefetch() const;
    /// Makes a stream that waits for `host` (null: for anything) run again, to try its wait once more.
    /// True if it did.
    bool wake_if_waiting(const std::byte* host);
    bool wake_if_waiting_for_progress();
    /// A job of the shader cores has ended: what waits for its scoreboard entry goes on.
    void job_ended(const ComputeResult& result);
    /// What it had on the shader cores could not be restored.
    void lose_jobs();
    /// The address space was disabled under it.
    void end_by_bus_fault();

    /// Executes at most `budget` instructions; returns how many it did.
    std::uint32_t run(std::uint32_t budget);

    [[nodiscard]] StreamStatus status() const { return state_.status; }
    [[nodiscard]] bool started() const { return state_.status != StreamStatus::stopped; }
    /// What SUSPEND saves.
    [[nodiscard]] const StreamState& state() const { return state_; }
    [[nodiscard]] const Blocked& blocked() const { return state_.blocked; }
    [[nodiscard]] std::uint32_t busy_scoreboards() const;
    /// GPU address of the current instruction.
    [[nodiscard]] std::uint64_t cmd_ptr() const { return address_of(top()); }
    [[nodiscard]] std::uint64_t progress() const { return state_.progress; }
    void raise_recoverable(const StreamException& exception);

  private:
    enum class Step { next, reenter, stop };

    Frame& top() { return state_.frames[state_.depth]; }
    [[nodiscard]] const Frame& top() const { return state_.frames[state_.depth]; }
    [[nodiscard]] std::uint64_t address_of(const Frame& frame) const;
    const std::uint64_t* fetch(std::uint64_t address);
    bool next_window();
    bool judge_insert();

    Step execute(std::uint64_t word);
    Step execute_load_store(std::uint64_t word, bool store);
    Step execute_sync_update(std::uint64_t word);
    Step execute_sync_wait(std::uint64_t word);
    Step execute_wait(std::uint64_t word);
    Step execute_call(std::uint64_t word, bool tail);
    Step execute_branch(std::uint64_t word);
    Step execute_progress_wait(std::uint64_t word);
    Step execute_exception_handler(std::uint64_t word);
    Step execute_run_compute(std::uint64_t word);

    Step issue(const InFlight& op, const SampledRegisters* sampled = nullptr);
    Step defer(const InFlight& op, const SampledRegisters* sampled = nullptr);
    bool complete(std::uint32_t slots);
    bool perform(const InFlight& op, const SampledRegisters* sampled);
    bool perform_access(const InFlight& op, const SampledRegisters* sampled);
    bool perform_sync(const InFlight& op);
    bool perform_store_state(const InFlight& op);
    bool perform_trace(const InFlight& op, const SampledRegisters& sampled);
    std::byte* sync_object(std::uint64_t address, bool wide, Access access, const Place& place);

    Step block(const Blocked& blocked);
    Step invalid(std::uint64_t word);
    Step fail(csf::Exception type, std::uint64_t info, const Place& place);
    Step mmu_fault(const Place& place);
    Step mmu_fault(const MmuFault& fault, const Place& place);
    Step shader_fault(const shader::Fault& fault, const Place& place);
    void abandon_work();
    void bump_progress() {
        ++state_.progress;
        port_->progress_changed();
    }
    void publish_extract(std::uint64_t extract);

    [[nodiscard]] Place here(std::uint64_t word) const { return {.cmd_ptr = cmd_ptr(), .instruction = word}; }
    [[nodiscard]] std::uint64_t pair(std::uint64_t index) const {
        return state_.registers[index] | std::uint64_t{state_.registers[index + 1]} << 32;
    }
    void set_pair(std::uint64_t index, std::uint64_t value) {
        state_.registers[index] = static_cast<std::uint32_t>(value);
        state_.registers[index + 1] = static_cast<std::uint32_t>(value >> 32);
    }

    StreamPort* port_ = nullptr;
    StreamConfig config_{};
    StreamState state_{};
    // The page that instructions come from; void when the address space's generation moves on.
    std::uint64_t fetch_page_ = ~0ULL;
    std::uint64_t fetch_generation_ = 0;
    const std::byte* fetch_host_ = nullptr;
    // The sync object that the stream waits for, while it does; void as above.
    const std::byte* waiting_on_ = nullptr;
    std::uint64_t executed_ = 0;  // in this slice
};

}  // namespace belfry::gpu
