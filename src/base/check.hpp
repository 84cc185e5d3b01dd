// Checks of what must hold by construction.
//
// On in every build: a broken invariant in the driver is a bug, and stopping beats corrupting. Data that a
// client supplied is never judged here; that gets an errno.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace belfry::base {

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
    std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
    std::abort();
}

}  // namespace belfry::base

#define BELFRY_CHECK(condition) \
    (static_cast<bool>(condition) ? void() : ::belfry::base::check_failed(#condition, __FILE__, __LINE__))
