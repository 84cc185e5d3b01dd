// The arithmetic of shader cores for any CPU of the architecture.
//
// alu_select.hpp and what it includes are compiled once for each kind of CPU, into a namespace of its own,
// with the instructions that it has; alu.cpp takes the best that the machine has. The compiler makes vector
// code of plain loops over 16 lanes: about 200 instructions with exact integer, half and rounding semantics
// want more than a library of vector types offers, and loops serve arm64 too. CMakeLists.txt has the options
// that this rests on. They are also what makes results the same everywhere: no contraction, and every NaN is
// the one NaN.
#define BELFRY_SIMD baseline
#include "gpu/shader/alu_select.hpp"
