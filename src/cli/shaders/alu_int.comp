// A pseudo-random sequence: shifts, exclusive ors, a multiplication and an addition.
#version 450
layout(local_size_x = 64) in;
layout(std430, binding = 0) buffer Result { uint result[]; };
layout(push_constant) uniform Push { uint rounds; };

void main() {
    const uint i = gl_GlobalInvocationID.x;
    uint x = i + 1;
    uint y = ~i;
    for (uint n = 0; n < rounds; ++n) {
        x ^= x << 13;
        y ^= y << 13;
        x ^= x >> 17;
        y ^= y >> 17;
        x ^= x << 5;
        y ^= y << 5;
        x = x * 1664525 + 1013904223;
        y = y * 22695477 + 12345;
    }
    result[i] = x ^ y;
}
