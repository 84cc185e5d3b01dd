// Sixteen bytes an invocation.
#version 450
layout(local_size_x = 64) in;
layout(std430, binding = 0) writeonly buffer To { uvec4 to[]; };
layout(std430, binding = 1) readonly buffer From { uvec4 from[]; };

void main() { to[gl_GlobalInvocationID.x] = from[gl_GlobalInvocationID.x]; }
