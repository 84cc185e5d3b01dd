// Stands in until the arithmetic is there: no instruction of these units is known.
#include "gpu/shader/alu.hpp"

namespace belfry::gpu::shader {

AluHandler alu_handler(valhall::Op, std::uint64_t, FloatMode) { return nullptr; }

}  // namespace belfry::gpu::shader
