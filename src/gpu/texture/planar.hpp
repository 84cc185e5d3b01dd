// PlanarLookup: lookups of two dimensions and one level, of which many follow that differ in nothing but the
// place.
//
// What sample() decides for each lookup is decided once. Most lookups of most programs are like that; the
// others go to sample(), and both give the same bits (TextureSample.PlanarLookupsAreNoOthers).
#pragma once

#include <cstdint>
#include <optional>

#include "gpu/texture/descriptor.hpp"
#include "gpu/texture/view.hpp"

namespace belfry::gpu::texture {

class PlanarLookup {
  public:
    /// For lookups of layer 0 with this LOD, biased and not yet clamped, without comparison, offset or more
    /// than one tap. Nothing if there is more to them than is done here. `view` and `sampler` must stay.
    static std::optional<PlanarLookup> prepare(View& view, const Sampler& sampler, std::int32_t lod_256);

    /// The colour at (s, t), swizzled.
    [[nodiscard]] Texel at(float s, float t) const;

  private:
    /// words: bytes, four of them in a plain element.
    enum class Way : std::uint8_t { nearest, words, bytes, floats };

    template <Ordering kOrdering>
    [[nodiscard]] std::uint64_t mixed_words(float u, float v) const;

    View* view_ = nullptr;
    const Sampler* sampler_ = nullptr;
    const Plane* plane_ = nullptr;
    int width_ = 1, height_ = 1;
    float s_scale_ = 1, t_scale_ = 1;
    Way way_{};
};

}  // namespace belfry::gpu::texture
