#version 450
layout(local_size_x = 16) in;
layout(std140, binding = 0) uniform U { uint factor; } u[1];
layout(std140, binding = 1) uniform V { uint summand; };
layout(std430, binding = 2) readonly buffer From { uint from[]; };
layout(std430, binding = 3) buffer To { uint to[]; };
void main() {
    const uint i = gl_LocalInvocationIndex;
    to[i] = from[i] * u[0].factor + summand + from.length() * 1000000 + to.length() * 100000000;
}
