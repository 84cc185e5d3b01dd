// VaSpace: which piece of which buffer lies at which GPU virtual address.
//
// Owns    the mappings of one VM, each with a reference to its buffer. Page tables are the caller's.
// Runs    in the driver actor.
// Called  by a driver's VM. Each change tells, in order, what to do to the page tables, through a callable
// that was
//         handed to that call.
// Why so  the kernel's drm_gpuvm: binding over something replaces exactly the overlap and keeps the rest, and
//         unbinding a hole is fine, so programs need not remember what they bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>

#include "base/owning_list.hpp"
#include "base/result.hpp"
#include "drm/buffer.hpp"

namespace belfry::drm {

struct VaRange {
    std::uint64_t va = 0;
    std::uint64_t bytes = 0;

    [[nodiscard]] std::uint64_t end() const { return va + bytes; }
    friend bool operator==(const VaRange&, const VaRange&) = default;
};

struct VaMapping {
    VaRange range;
    BufferPtr buffer;
    std::uint64_t buffer_offset = 0;
    std::uint32_t flags = 0;  ///< the driver's
};

/// One change of the page tables. Unmapping: `mapping` is the piece that goes, and all of its range was
/// mapped.
struct VaStep {
    enum class Kind { unmap, map };
    Kind kind;
    const VaMapping& mapping;
};

/// A mapping as a VaSpace keeps it, or what was one.
struct VaPiece : VaMapping, boost::intrusive::set_base_hook<>, boost::intrusive::list_base_hook<> {};

class VaSpace {
  public:
    /// Called for each step, in the order in which they must be done. Cannot fail: what it needs is reserved
    /// before.
    using Apply = std::function<void(const VaStep&)>;
    /// What the GPU may still use by its TLB: the caller drops it after the flush.
    using Removed = base::OwningList<VaPiece>;
    /// What a change needs whatever lies there by then, so that it allocates nothing. What is left of it may
    /// go.
    using Reserve = base::OwningList<VaPiece>;

    /// Addresses of `space` only.
    explicit VaSpace(VaRange space);
    ~VaSpace();
    VaSpace(const VaSpace&) = delete;
    VaSpace& operator=(const VaSpace&) = delete;

    /// For one map() or unmap(). ENOMEM.
    [[nodiscard]] static base::Result<Reserve> reserve(VaStep::Kind kind);

    /// Whether it can be mapped or unmapped: neither empty, nor in part outside of the space.
    [[nodiscard]] bool contains(VaRange range) const;
    /// Maps, instead of whatever lay there: unmaps the overlapped pieces in rising order, then maps. The
    /// buffer piece must lie in the buffer (the caller's check). EINVAL: the space does not contain it; then
    /// nothing has changed.
    [[nodiscard]] base::Result<void> map(VaMapping mapping, Reserve& reserve, const Apply& apply,
                                         Removed& removed);
    /// Unmaps what lies in `range`, in rising order. Errors as map().
    [[nodiscard]] base::Result<void> unmap(VaRange range, Reserve& reserve, const Apply& apply,
                                           Removed& removed);

    /// The mapping that `va` lies in, until the next change; null if there is none.
    [[nodiscard]] const VaMapping* find(std::uint64_t va) const;
    [[nodiscard]] std::size_t size() const { return mappings_.size(); }
    /// Calls `visit(const VaMapping&)` in rising order. `visit` must not change the space.
    template <typename Visit>
    void for_each(Visit visit) const {
        for (const VaMapping& mapping : mappings_) visit(mapping);
    }

    /// How many addresses were compared so far: what an operation cost, whatever the machine.
    [[nodiscard]] std::uint64_t comparisons() const { return comparisons_; }
    void check_invariants() const;

  private:
    struct CountingLess {
        std::uint64_t* comparisons;
        bool operator()(std::uint64_t a, std::uint64_t b) const {
            ++*comparisons;
            return a < b;
        }
    };
    struct VaOf {
        using type = std::uint64_t;
        const type& operator()(const VaPiece& piece) const { return piece.range.va; }
    };
    using Mappings = boost::intrusive::set<VaPiece, boost::intrusive::key_of_value<VaOf>,
                                           boost::intrusive::compare<CountingLess>>;

    [[nodiscard]] Mappings::iterator first_ending_after(std::uint64_t va);
    void carve(VaRange range, Reserve& reserve, const Apply& apply, Removed& removed);

    VaRange space_;
    mutable std::uint64_t comparisons_ = 0;
    Mappings mappings_{CountingLess{&comparisons_}};  // owned
};

}  // namespace belfry::drm
