#version 450
layout(local_size_x = 64) in;
layout(std430, binding = 0) readonly buffer From { uint from[]; };
layout(std430, binding = 1) buffer To { uint to[]; };
layout(std140, binding = 2) uniform Constants { uvec4 constants[64]; };
layout(std430, binding = 3) writeonly buffer Result { uint result[]; };
layout(push_constant) uniform Push { uint scale; };
void main() {
    // Most of it is outside; the last ones are some GiB away.
    const uint at = gl_LocalInvocationIndex * scale;
    result[gl_LocalInvocationIndex] = from[at] + constants[gl_LocalInvocationIndex & 63].x;
    to[at] = 7;
    atomicAdd(to[at + 8], 1);
}
