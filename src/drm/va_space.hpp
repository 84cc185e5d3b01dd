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
#include <map>
#include <vector>

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

class VaSpace {
  public:
    /// Called for each step, in the order in which they must be done. Cannot fail: what it needs is reserved
    /// before.
    using Apply = std::function<void(const VaStep&)>;
    /// What the GPU may still use by its TLB: the caller drops it after the flush.
    struct RemovedPiece {
        BufferPtr buffer;
        std::uint64_t bytes;
    };
    using Removed = std::vector<RemovedPiece>;

    /// Addresses of `space` only.
    explicit VaSpace(VaRange space);
    VaSpace(const VaSpace&) = delete;
    VaSpace& operator=(const VaSpace&) = delete;

    [[nodiscard]] VaRange space() const { return space_; }

    /// Maps, instead of whatever lay there: unmaps the overlapped pieces in rising order, then maps. The
    /// buffer piece must lie in the buffer (the caller's check). EINVAL: empty, overflows, or not inside the
    /// space; ENOMEM. On an error nothing has changed.
    [[nodiscard]] base::Result<void> map(VaMapping mapping, const Apply& apply, Removed& removed);
    /// Unmaps what lies in `range`, in rising order. Errors as map().
    [[nodiscard]] base::Result<void> unmap(VaRange range, const Apply& apply, Removed& removed);

    /// The mapping that `va` lies in, until the next change; null if there is none.
    [[nodiscard]] const VaMapping* find(std::uint64_t va) const;
    [[nodiscard]] std::size_t size() const { return mappings_.size(); }
    /// Calls `visit(const VaMapping&)` in rising order. `visit` must not change the space.
    template <typename Visit>
    void for_each(Visit visit) const {
        for (const auto& [va, mapping] : mappings_) visit(mapping);
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
    using Mappings = std::map<std::uint64_t, VaMapping, CountingLess>;

    /// What a change needs so that it cannot fail half-way: room in `removed`, nodes for what is added.
    struct Reserve {
        Mappings::node_type mapping;  // for the new mapping
        Mappings::node_type tail;     // for what stays behind the range, if one mapping spans all of it
    };

    [[nodiscard]] base::Result<Reserve> reserve(VaRange range, Removed& removed);
    [[nodiscard]] Mappings::iterator first_ending_after(std::uint64_t va);
    void carve(VaRange range, Mappings::node_type tail, const Apply& apply, Removed& removed);

    VaRange space_;
    mutable std::uint64_t comparisons_ = 0;
    Mappings mappings_{CountingLess{&comparisons_}};  // by va
};

}  // namespace belfry::drm
