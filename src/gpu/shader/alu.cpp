#include "gpu/shader/alu.hpp"

#include <array>

namespace belfry::gpu::shader {

namespace baseline {
AluHandler handler(valhall::Op name, std::uint64_t word, FloatMode mode);
}
namespace avx2 {
AluHandler handler(valhall::Op name, std::uint64_t word, FloatMode mode);
}

std::span<const AluImplementation> alu_implementations() {
#if defined(__x86_64__)
    static constexpr std::array kAll = {AluImplementation{"baseline", baseline::handler},
                                        AluImplementation{"avx2", avx2::handler}};
    static const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return std::span(kAll).first(has_avx2 ? 2 : 1);
#else
    static constexpr std::array kAll = {AluImplementation{"baseline", baseline::handler}};
    return kAll;
#endif
}

AluHandler alu_handler(valhall::Op name, std::uint64_t word, FloatMode mode) {
    return alu_implementations().back().handler(name, word, mode);
}

}  // namespace belfry::gpu::shader
