#version 450
layout(local_size_x = 64) in;
layout(std430, binding = 0) buffer Result { uint result[]; };
void main() {
    // Nobody ever writes ~0 there.
    while (atomicAdd(result[gl_LocalInvocationIndex], 2) != 1) {}
}
