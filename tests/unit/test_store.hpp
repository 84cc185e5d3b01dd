// TestStore: where evicted buffers go in tests. Finishes what it was asked when told, in order. Memory that
// was evicted is filled with nonsense, so that whoever looks at it shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <vector>

#include <boost/intrusive/list.hpp>

#include "base/check.hpp"
#include "base/result.hpp"
#include "drm/residency.hpp"

namespace belfry::drm {

class TestStore final : public BackingStore {
  public:
    static constexpr int kNonsense = 0xdb;

    void evict(Transfer& transfer) override { asked_.push_back(transfer); }
    void restore(Transfer& transfer) override { asked_.push_back(transfer); }
    void forget(const Buffer& buffer) override { BELFRY_CHECK(kept_.erase(&buffer) == 1); }

    /// Does what it was asked first, or fails at it. False if there is nothing.
    bool finish_one() {
        if (asked_.empty()) return false;
        Transfer& transfer = asked_.front();
        asked_.pop_front();
        const bool evicts = transfer.buffer().residence.state() == ResidencyState::evicting;
        if (const auto error = evicts ? evicting_fails : restoring_fails)
            fail(transfer, *error, evicts);
        else
            evicts ? finish_evicting(transfer) : finish_restoring(transfer);
        return true;
    }
    /// Whatever it was asked is dropped.
    void stop() { asked_.clear(); }

    [[nodiscard]] std::size_t pending() const { return asked_.size(); }
    [[nodiscard]] std::size_t kept() const { return kept_.size(); }

    bool held = false;  ///< finishes nothing by itself
    std::optional<base::Errno> evicting_fails;
    std::optional<base::Errno> restoring_fails;

    const Buffer* lost = nullptr;  ///< could not be restored, at last

  private:
    void fail(Transfer& transfer, base::Errno error, bool evicts) {
        if (!evicts) lost = &transfer.buffer();
        transfer.done(std::unexpected(error));
    }
    void finish_evicting(Transfer& transfer) {
        const Buffer& buffer = transfer.buffer();
        BELFRY_CHECK(kept_.try_emplace(&buffer, buffer.data(), buffer.data() + buffer.size()).second);
        std::memset(buffer.data(), kNonsense, buffer.size());
        transfer.done({});
    }
    void finish_restoring(Transfer& transfer) {
        const auto kept = kept_.extract(&transfer.buffer());
        BELFRY_CHECK(!kept.empty());
        std::memcpy(transfer.buffer().data(), kept.mapped().data(), kept.mapped().size());
        transfer.done({});
    }

    boost::intrusive::list<Transfer> asked_;
    std::unordered_map<const Buffer*, std::vector<std::byte>> kept_;
};

}  // namespace belfry::drm
