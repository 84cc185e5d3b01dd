// Insertion sort in an array of its own: thread-local memory with indices that differ.
#version 450
layout(local_size_x = 32) in;
layout(std430, binding = 0) buffer Words { uint words[]; };
void main() {
    const uint first = gl_GlobalInvocationID.x * 48;
    uint mine[48];
    for (uint i = 0; i < 48; ++i) mine[i] = words[first + i];
    for (uint i = 1; i < 48; ++i) {
        const uint x = mine[i];
        uint at = i;
        for (; at > 0 && mine[at - 1] > x; --at) mine[at] = mine[at - 1];
        mine[at] = x;
    }
    for (uint i = 0; i < 48; ++i) words[first + i] = mine[i];
}
