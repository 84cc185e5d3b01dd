#version 450
layout(local_size_x = 64) in;
layout(std430, binding = 0) writeonly buffer Result { uint result[]; };
void main() {
    const uint i = gl_GlobalInvocationID.x;
    uint x = i + 1;
    uint steps = 0;
    while (x != 1) {
        x = (x & 1) == 0 ? x / 2 : 3 * x + 1;
        ++steps;
    }
    result[i] = steps;
}
