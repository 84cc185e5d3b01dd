// How often each of 256 values occurs: atomic additions in shared memory, then in the buffer.
#version 450
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer Result { uint bins[256]; };
layout(std430, binding = 1) readonly buffer Words { uint words[]; };
layout(push_constant) uniform Push { uint words_per_invocation; };

shared uint local_bins[256];

void main() {
    local_bins[gl_LocalInvocationIndex] = 0;
    barrier();
    const uint first = gl_WorkGroupID.x * 256 * words_per_invocation + gl_LocalInvocationIndex;
    for (uint i = 0; i < words_per_invocation; ++i) {
        const uint word = words[first + i * 256];
        atomicAdd(local_bins[word & 255], 1);
        atomicAdd(local_bins[(word >> 8) & 255], 1);
        atomicAdd(local_bins[(word >> 16) & 255], 1);
        atomicAdd(local_bins[word >> 24], 1);
    }
    barrier();
    atomicAdd(bins[gl_LocalInvocationIndex], local_bins[gl_LocalInvocationIndex]);
}
