// GroupSlot: one group slot of the firmware; what sits on it, and its CSG and CS blocks.
//
// Owns   its streams. Runs in the GPU actor. Called by Firmware only.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gpu/firmware.hpp"

namespace belfry::gpu {

class GroupSlot final : public StreamPort {
  public:
    struct StreamBlocks {
        StreamInput* input;
        StreamOutput* output;
    };

    GroupSlot(Firmware& firmware, unsigned index, unsigned streams);

    void bind_blocks(GroupInput& input, GroupOutput& output, GroupReports& reports,
                     std::vector<StreamBlocks> streams);
    void reset();

    /// Looks at the group's request word and at the streams that its doorbell word names.
    void look();
    bool user_doorbell(std::uint32_t id);
    void prefetch(std::uint32_t id) const;
    bool wake_waiting(const std::byte* host);
    void address_space_changed(std::uint32_t number);
    void address_space_disabled(std::uint32_t number);
    std::uint32_t run_slice();
    void shader_news();
    bool abandon_all_jobs();

    [[nodiscard]] bool running() const { return running_; }
    [[nodiscard]] bool idle() const { return idle_; }
    [[nodiscard]] const Stream& stream(unsigned index) const { return streams_[index]; }

    void sync_updated(csf::Scope scope, std::uint64_t address, const std::byte* host) override;
    void wake(std::uint32_t& word, std::uint32_t bitset) override;
    void progress_changed() override;
    std::uint64_t progress_of(std::uint32_t queue) override;
    void report_fault(const StreamException& exception) override;
    void report_fatal(const StreamException& exception) override;
    void report_mmu_fault(const MmuFault& fault) override;
    void protected_mode_wanted() override;
    std::uint64_t timestamp() override;
    std::uint64_t cycles() override;
    void flushed_caches() override;
    ShaderCores::Issue run_compute(const ComputeJob& job, shader::Fault& fault) override;
    void abandon_jobs() override;

  private:
    void start(bool resume);
    bool leave(GroupRequest how);
    void suspend();
    void terminate();
    void take_results();
    void stop_streams();
    [[nodiscard]] std::uint64_t jobs_buffer() const;
    void look_at_stream(unsigned index);
    void start_stream(unsigned index, const StreamState* saved);
    void acknowledge_stream(unsigned index, std::uint32_t state);
    void stopped();
    void note(unsigned index);
    void check_idle();
    void raise_group_event(std::uint32_t bit);
    void raise_stream_event(unsigned index, std::uint32_t bit);
    void write_exception(unsigned index, const StreamException& exception, bool fatal);
    void write_status();
    [[nodiscard]] bool counts_as_idle(unsigned index) const;
    [[nodiscard]] bool all_count_as_idle() const;

    Firmware& firmware_;
    unsigned index_;
    GroupInput* input_ = nullptr;
    GroupOutput* output_ = nullptr;
    GroupReports* reports_ = nullptr;
    std::vector<StreamBlocks> blocks_;
    std::vector<Stream> streams_;
    std::vector<std::uint32_t> doorbell_ids_;
    std::uint32_t address_space_ = 0;
    std::uint32_t started_ = 0;            // bit a stream
    std::uint32_t runnable_ = 0;           // bit a stream
    std::uint32_t waiting_ = 0;            // bit a stream: waits for a sync object
    unsigned turn_ = 0;                    // stream that ran last
    unsigned current_ = 0;                 // stream whose call into the port this is
    std::uint32_t stopping_ = 0;           // bit a stream: ends when the cores have left it
    std::optional<GroupRequest> leaving_;  // what it does when the cores have left it
    bool running_ = false;
    bool idle_ = false;
};

}  // namespace belfry::gpu
