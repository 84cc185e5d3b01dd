// SignallingPath: marks the way from a published fence to its signal.
//
// Whoever waits for the fence may hold what an allocation would wait for: so nothing on that way allocates
// (docs/forward-progress.md, rule 3; the kernel's dma_fence_begin_signalling). In debug and sanitizer builds
// an allocation while a thread is on it aborts, with what was asked for; in others the mark costs a counter.
#pragma once

namespace belfry::base {

class SignallingPath {
  public:
    SignallingPath();
    ~SignallingPath();
    SignallingPath(const SignallingPath&) = delete;
    SignallingPath& operator=(const SignallingPath&) = delete;
};

/// Steps aside for what a signal leads to and no fence waits for: telling a client.
class OffSignallingPath {
  public:
    OffSignallingPath();
    ~OffSignallingPath();
    OffSignallingPath(const OffSignallingPath&) = delete;
    OffSignallingPath& operator=(const OffSignallingPath&) = delete;

  private:
    int depth_;
};

}  // namespace belfry::base
