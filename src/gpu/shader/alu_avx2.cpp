// The arithmetic of shader cores for x86-64 CPUs with AVX2 and FMA: alu_baseline.cpp says how.
//
// What is compiled here with these instructions must not end up in others' hands: everything is in our
// namespace or inlined.
#if defined(__x86_64__)
#define BELFRY_SIMD avx2
#include "gpu/shader/alu_select.hpp"
#endif
