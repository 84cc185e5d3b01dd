#include "drm/residency.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"

namespace belfry::drm {

using base::Errno;
using base::Result;
using enum ResidencyEvent;

// ---- Residence and its transfers

Residence::Residence(Buffer& buffer) : buffer_(buffer), transfer_(*this) {}

Residence::~Residence() {
    BELFRY_CHECK(uses_.empty() && waiting_.empty() && holds_ == 0);
    if (residency_ != nullptr) residency_->forget(*this);
}

Result<void> Residence::check_open() const {
    if (residency_ == nullptr || pinned()) return {};
    if (residency_->pinned_bytes_ + buffer_.size() > residency_->budget_)
        return std::unexpected(Errno::no_memory);
    return {};
}

void Residence::set_open(bool open) {
    if (residency_ != nullptr && !wired_ && open != open_) {
        if (open)
            residency_->pinned_bytes_ += buffer_.size();
        else
            residency_->pinned_bytes_ -= buffer_.size();
        residency_->changed();
    }
    open_ = open;
}

Buffer& Transfer::buffer() const { return of_.buffer_; }

void Transfer::done(Result<void> result) { of_.residency_->transferred(of_, result); }

// ---- LongRunningContext

LongRunningContext::LongRunningContext(Residency& residency) : residency_(residency) {
    last_scheduled_ = ++residency_.schedulings_;
    residency_.contexts_.push_back(*this);
}

LongRunningContext::~LongRunningContext() {
    BELFRY_CHECK(parts_on_hardware_ == 0);
    if (residency_.claimant_ == this) residency_.claimant_ = nullptr;
    while (!uses_.empty()) {
        const BufferUse& use = *uses_.begin();
        detach(use.buffer_, use.bytes_);
    }
    residency_.contexts_.erase(residency_.contexts_.iterator_to(*this));
}

std::unique_ptr<BufferUse> LongRunningContext::reserve(Buffer& buffer) {
    return buffer.residence.managed() ? std::make_unique<BufferUse>(*this, buffer) : nullptr;
}

void LongRunningContext::attach(Buffer& buffer, std::uint64_t bytes, std::unique_ptr<BufferUse>& reserve) {
    Residence& residence = buffer.residence;
    if (!residence.managed()) return;
    BELFRY_CHECK(residence.resident() || !preempt_fence_pending());
    auto found = uses_.find(&buffer);
    if (found == uses_.end()) {
        BELFRY_CHECK(reserve != nullptr && &reserve->buffer_ == &buffer);
        BufferUse& use = *reserve.release();
        found = uses_.insert(use).first;
        if (residence.uses_.empty())
            residency_.unattached_.erase(residency_.unattached_.iterator_to(residence));
        residence.uses_.push_back(use);
        (residence.resident() ? resident_ : absent_).push_back(use);
    }
    found->bytes_ += bytes;
}

void LongRunningContext::detach(Buffer& buffer, std::uint64_t bytes) {
    Residence& residence = buffer.residence;
    const auto found = uses_.find(&buffer);
    if (found == uses_.end()) return;  // not managed
    BufferUse& use = *found;
    BELFRY_CHECK(use.bytes_ >= bytes);
    use.bytes_ -= bytes;
    if (use.bytes_ != 0) return;
    (residence.resident() ? resident_ : absent_).erase(Uses::s_iterator_to(use));
    residence.uses_.erase(decltype(residence.uses_)::s_iterator_to(use));
    if (residence.uses_.empty()) residency_.unattached_.push_back(residence);
    uses_.erase_and_dispose(found, std::default_delete<BufferUse>());
}

void LongRunningContext::arm_preempt_fence() {
    // Armed after all is there and before anything runs: who wants this memory from here on sees the fence.
    BELFRY_CHECK(complete());
    ++parts_on_hardware_;
    if (residency_.claimant_ == this) residency_.claimant_ = nullptr;
}

void LongRunningContext::signal_preempt_fence() {
    BELFRY_CHECK(parts_on_hardware_ > 0);
    if (--parts_on_hardware_ != 0) return;
    last_scheduled_ = ++residency_.schedulings_;
    auto& contexts = residency_.contexts_;
    contexts.splice(contexts.end(), contexts, contexts.iterator_to(*this));
    if (residency_.resident_bytes() > residency_.budget_) residency_.changed();
}

// ---- Hold

bool Hold::take(const BufferPtr& buffer) {
    if (buffer != buffer_) {
        release();
        buffer_ = buffer;
        Residence& residence = buffer->residence;
        ++residence.holds_;
        if (residence.managed()) residence.residency_->restore(*buffer);
        if (!residence.resident()) residence.waiting_.push_back(*this);
    }
    return !waits();
}

void Hold::release() {
    unlink();
    failed_ = false;
    if (buffer_ == nullptr) return;
    Residence& residence = buffer_->residence;
    --residence.holds_;
    if (residence.managed()) {
        Residency& residency = *residence.residency_;
        if (residency.resident_bytes() > residency.budget_) residency.changed();
    }
    buffer_.reset();
}

// ---- Residency

Residency::Residency(const Timers& timers, const MemoryOptions& options, Hooks hooks)
    : timers_(timers), budget_(options.budget_bytes), store_(options.store), hooks_(std::move(hooks)) {
    BELFRY_CHECK(budget_ == 0 || store_ != nullptr);
}

Residency::~Residency() {
    hooks_.changed = [] {};
    for (bool found = true; std::exchange(found, false);)
        for (Residence& residence : unattached_) {
            if (residence.moving_ == nullptr) continue;
            const BufferPtr gone = std::move(residence.moving_);  // nobody else has it
            step(residence, residence.state_ == ResidencyState::evicting ? evict_failed : restore_failed);
            found = true;
            break;
        }
    BELFRY_CHECK(unattached_.empty() && contexts_.empty());
}

Result<void> Residency::manage(Buffer& buffer, Use use) {
    if (!bounded()) return {};
    if (pinned_bytes_ + buffer.size() > budget_) return std::unexpected(Errno::no_memory);
    Residence& residence = buffer.residence;
    BELFRY_CHECK(!residence.managed());
    residence.residency_ = this;
    residence.state_ = ResidencyState::evicted;
    bytes_[index(residence.state_)] += buffer.size();
    unattached_.push_back(residence);
    if (use == Use::wired) {
        residence.wired_ = true;
        pinned_bytes_ += buffer.size();
        commit(buffer);
    }
    return {};
}

void Residency::forget(Residence& residence) {
    if (residence.stored_) {
        stored_bytes_ -= residence.buffer_.size();
        store_full_ = false;
        store_->forget(residence.buffer_);
    }
    if (residence.pinned()) pinned_bytes_ -= residence.buffer_.size();
    bytes_[index(residence.state_)] -= residence.buffer_.size();
    unattached_.erase(unattached_.iterator_to(residence));
}

void Residency::step(Residence& residence, ResidencyEvent event) {
    const auto to = next(residence.state_, event);
    BELFRY_CHECK(to.has_value());
    const bool was_resident = residence.resident();
    bytes_[index(residence.state_)] -= residence.buffer_.size();
    bytes_[index(*to)] += residence.buffer_.size();
    residence.state_ = *to;
    if (was_resident == residence.resident()) return;
    for (BufferUse& use : residence.uses_) {
        LongRunningContext& context = use.context_;
        BELFRY_CHECK(!was_resident || !context.preempt_fence_pending());
        auto& from = was_resident ? context.resident_ : context.absent_;
        auto& into = was_resident ? context.absent_ : context.resident_;
        into.splice(into.end(), from, LongRunningContext::Uses::s_iterator_to(use));
    }
}

void Residency::commit(Buffer& buffer) {
    Residence& residence = buffer.residence;
    if (residence.state_ != ResidencyState::evicted) return;
    BELFRY_CHECK(!residence.stored_);
    start_restore(residence);
}

void Residency::restore(Buffer& buffer) {
    Residence& residence = buffer.residence;
    if (residence.resident() || residence.state_ == ResidencyState::restoring || residence.wanted()) return;
    const bool fits = resident_bytes() + buffer.size() <= budget_;
    if (residence.state_ == ResidencyState::evicted && fits && wanted_.empty())
        return start_restore(residence);
    wanted_.push_back(residence);
    changed();
}

void Residency::start_restore(Residence& residence) {
    residence.WantedHook::unlink();
    step(residence, restore_asked);
    if (resident_bytes() > budget_) changed();
    if (!residence.stored_) {
        step(residence, restore_done);
        settle(residence, false);
        return;
    }
    residence.moving_ = &residence.buffer_;
    residence.asked_ns_ = timers_.now();
    store_->restore(residence.transfer_);
}

void Residency::evict(Residence& residence) {
    step(residence, evict_asked);
    residence.moving_ = &residence.buffer_;
    residence.asked_ns_ = timers_.now();
    store_->evict(residence.transfer_);
}

void Residency::transferred(Residence& residence, const Result<void>& result) {
    const BufferPtr alive = std::move(residence.moving_);
    const std::uint64_t took_ns = timers_.now() - residence.asked_ns_;
    if (residence.state_ == ResidencyState::evicting) {
        step(residence, result ? evict_done : evict_failed);
        if (result) {
            residence.stored_ = true;
            stored_bytes_ += residence.buffer_.size();
            ++evictions_;
            evict_ns_ += took_ns;
        } else {
            store_full_ = true;
            residence.WantedHook::unlink();
            settle(residence, false);
        }
    } else {
        step(residence, result ? restore_done : restore_failed);
        if (result) {
            residence.stored_ = false;
            stored_bytes_ -= residence.buffer_.size();
            store_full_ = false;
            ++restores_;
            restore_ns_ += took_ns;
        } else {
            for (BufferUse& use : residence.uses_) use.context_.failed_ = true;
        }
        settle(residence, !result);
    }
    changed();
}

/// Calls those who wait for the buffer.
void Residency::settle(Residence& residence, bool failed) {
    // Whoever asks again meanwhile waits for the next time.
    decltype(residence.waiting_) waiting;
    waiting.swap(residence.waiting_);
    while (!waiting.empty()) {
        auto& hold = static_cast<Hold&>(waiting.front());
        hold.unlink();
        hold.failed_ = failed;
        const auto ready = hold.ready_;  // the callback may destroy its holder
        ready();
    }
}

std::uint64_t Residency::resident_bytes() const {
    return bytes_[index(ResidencyState::resident)] + bytes_[index(ResidencyState::evicting)] +
           bytes_[index(ResidencyState::restoring)];
}

bool Residency::evictable(const Residence& residence) const {
    if (!residence.resident() || residence.pinned() || residence.holds_ != 0) return false;
    for (const BufferUse& use : residence.uses_)
        if (use.context_.preempt_fence_pending() || &use.context_ == claimant_) return false;
    return true;
}

bool Residency::would_yield(const LongRunningContext& context) const {
    if (store_full_ || &context == claimant_) return false;
    for (const BufferUse& use : context.resident_) {
        const Residence& residence = use.buffer_.residence;
        bool claimed = false;
        for (const BufferUse& other : residence.uses_) claimed |= &other.context_ == claimant_;
        if (!claimed && !residence.pinned() && residence.holds_ == 0) return true;
    }
    return false;
}

/// Evicts until `bytes` more fit once what is on its way out is out. False if they do not.
bool Residency::make_room(std::uint64_t bytes) {
    const auto fits = [&] {
        return resident_bytes() - bytes_[index(ResidencyState::evicting)] + bytes <= budget_;
    };
    if (fits()) return true;
    if (store_full_) return false;
    bool told = false;
    const auto evict_one = [&](Residence& residence) {
        if (!std::exchange(told, true)) hooks_.about_to_evict();
        evict(residence);
    };
    for (Residence& residence : unattached_) {
        if (evictable(residence)) evict_one(residence);
        if (fits()) return true;
    }
    for (LongRunningContext& context : contexts_) {
        if (context.preempt_fence_pending() || &context == claimant_) continue;
        for (auto at = context.resident_.begin(); at != context.resident_.end();) {
            Residence& residence = (at++)->buffer_.residence;  // which leaves the list when it is evicted
            bool newer = false;
            for (const BufferUse& use : residence.uses_)
                newer |= use.context_.last_scheduled_ > context.last_scheduled_;
            if (newer || !evictable(residence)) continue;
            evict_one(residence);
            if (fits()) return true;
        }
    }
    return false;
}

Residency::Claim Residency::claim(LongRunningContext* context, Beyond beyond) {
    const auto* const before = std::exchange(claimant_, context);
    // What was brought beyond the budget for that one may go again.
    if (before != nullptr && before != context && resident_bytes() > budget_) changed();
    if (context == nullptr || context->complete()) return Claim::ready;
    if (std::exchange(context->failed_, false)) return Claim::failed;
    std::uint64_t missing = 0;
    for (const BufferUse& use : context->absent_)
        if (use.buffer_.residence.state_ != ResidencyState::restoring) missing += use.buffer_.size();
    if (!make_room(missing) && beyond == Beyond::wait) return Claim::no_room;
    for (auto at = context->absent_.begin(); at != context->absent_.end();) {
        Residence& residence = (at++)->buffer_.residence;  // which leaves the list if it is fresh
        if (residence.state_ != ResidencyState::evicted) continue;
        if (beyond == Beyond::wait && resident_bytes() + residence.buffer_.size() > budget_) break;
        start_restore(residence);
    }
    return context->complete() ? Claim::ready : Claim::restoring;
}

void Residency::trim() {
    std::uint64_t missing = 0;
    for (const Residence& residence : wanted_) missing += residence.buffer_.size();
    static_cast<void>(make_room(missing));
    const auto out = [](const Residence& residence) { return residence.state_ == ResidencyState::evicted; };
    // Begun anew each time: whoever is told may ask for more.
    for (auto at = std::ranges::find_if(wanted_, out); at != wanted_.end();
         at = std::ranges::find_if(wanted_, out)) {
        const bool fits = resident_bytes() + at->buffer_.size() <= budget_;
        // Those who come later do not take the room that is being made for this one.
        if (!fits && bytes_[index(ResidencyState::evicting)] != 0) return;
        start_restore(*at);
    }
}

bool Residency::exceeds_in_vain() const {
    if (store_full_ || resident_bytes() - bytes_[index(ResidencyState::evicting)] <= budget_) return false;
    const auto goes = [this](const BufferUse& use) { return evictable(use.buffer_.residence); };
    return std::ranges::any_of(unattached_, [this](const Residence& each) { return evictable(each); }) ||
           std::ranges::any_of(contexts_, [&](const LongRunningContext& context) {
               return std::ranges::any_of(context.resident_, goes);
           });
}

void Residency::check_invariants() const {
    std::array<std::uint64_t, 4> bytes{};
    std::uint64_t pinned = 0;
    std::uint64_t stored = 0;
    const auto count = [&](const Residence& residence) {
        const std::uint64_t size = residence.buffer_.size();
        const bool moving =
            residence.state_ == ResidencyState::evicting || residence.state_ == ResidencyState::restoring;
        bytes[index(residence.state_)] += size;
        pinned += residence.pinned() ? size : 0;
        stored += residence.stored_ ? size : 0;
        BELFRY_CHECK(moving == (residence.moving_ != nullptr));
        BELFRY_CHECK(residence.resident() || !residence.pinned());
        BELFRY_CHECK(!residence.resident() || (!residence.stored_ && residence.waiting_.empty()));
        BELFRY_CHECK(!residence.wanted() || residence.state_ == ResidencyState::evicting ||
                     residence.state_ == ResidencyState::evicted);
    };
    for (const Residence& residence : unattached_) {
        BELFRY_CHECK(residence.uses_.empty());
        count(residence);
    }
    std::uint64_t last_scheduled = 0;
    for (const LongRunningContext& context : contexts_) {
        BELFRY_CHECK(context.last_scheduled_ > last_scheduled);
        last_scheduled = context.last_scheduled_;
        BELFRY_CHECK(context.complete() || !context.preempt_fence_pending());
        for (const auto* const uses : {&context.resident_, &context.absent_})
            for (const BufferUse& use : *uses) {
                const Residence& residence = use.buffer_.residence;
                BELFRY_CHECK(residence.resident() == (uses == &context.resident_));
                if (&residence.uses_.front() == &use) count(residence);
            }
    }
    BELFRY_CHECK(bytes == bytes_ && pinned == pinned_bytes_ && stored == stored_bytes_);
}

}  // namespace belfry::drm
