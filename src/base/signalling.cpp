#include "base/signalling.hpp"

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

namespace belfry::base {
namespace {

constinit thread_local int depth = 0;

#ifdef BELFRY_CHECK_ALLOCATIONS
void allocating(std::size_t bytes) {
    if (depth == 0) return;
    depth = 0;  // telling allocates too
    std::fprintf(stderr,
                 "check failed: %zu bytes are allocated between publishing a fence and signalling it\n",
                 bytes);
    std::abort();
}
#endif

}  // namespace

SignallingPath::SignallingPath() { ++depth; }
SignallingPath::~SignallingPath() { --depth; }

OffSignallingPath::OffSignallingPath() : depth_(std::exchange(depth, 0)) {}
OffSignallingPath::~OffSignallingPath() { depth = depth_; }

}  // namespace belfry::base

// Sanitizers bring an allocator of their own and tell of each allocation; without one operator new is ours.
#ifdef BELFRY_CHECK_ALLOCATIONS
#ifdef BELFRY_SANITIZED
extern "C" void __sanitizer_malloc_hook(const volatile void* /*memory*/, std::size_t bytes) {
    belfry::base::allocating(bytes);
}
#else
void* operator new(std::size_t bytes) {
    belfry::base::allocating(bytes);
    if (void* const memory = std::malloc(bytes != 0 ? bytes : 1)) return memory;
    throw std::bad_alloc();
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    belfry::base::allocating(bytes);
    // Asked for in whole alignments, as its contract is.
    const auto align = static_cast<std::size_t>(alignment);
    if (void* const memory = std::aligned_alloc(align, (bytes + align - 1) / align * align)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*bytes*/) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*bytes*/, std::align_val_t /*alignment*/) noexcept {
    std::free(memory);
}
#endif
#endif
