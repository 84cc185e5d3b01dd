// Recycled: memory for objects that come and go with each job, given from those that have gone to those that
// come. The allocator's own cache holds seven of a size; a batch is more.
//
// Not in builds that check allocations (sanitizers, debug): there each is one, and its memory is not reused.
#pragma once

#include <cstddef>
#include <new>

namespace belfry::base {

/// A base of `T`: `class Job : Recycled<Job>`. What is derived from T and of another size is not recycled.
/// What a thread keeps, at most kKept objects, is never given back.
template <typename T>
class Recycled {
    friend T;  // nobody else derives from it
    Recycled() = default;

#if !defined(BELFRY_SANITIZED) && !defined(BELFRY_CHECK_ALLOCATIONS)
  public:
    static void* operator new(std::size_t bytes) {
        if (bytes != sizeof(T) || first_ == nullptr) return ::operator new(bytes);
        Free* const memory = first_;
        first_ = memory->next;
        --kept_;
        return memory;
    }
    static void operator delete(void* memory, std::size_t bytes) {
        // The analyzer takes what `new` above gave for no result of a `new`.
        // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDelete)
        if (bytes != sizeof(T) || kept_ == kKept) return ::operator delete(memory);
        first_ = new (memory) Free{first_};
        ++kept_;
    }

  private:
    struct Free {
        Free* next;
    };
    static constexpr std::size_t kKept = 1024;
    static inline constinit thread_local Free* first_ = nullptr;
    static inline constinit thread_local std::size_t kept_ = 0;
#endif
};

}  // namespace belfry::base
