// What one workgroup can do at least.
#version 450
layout(local_size_x = 64) in;
layout(std430, binding = 0) buffer Result { uint result[]; };

void main() { result[gl_LocalInvocationIndex] = gl_LocalInvocationIndex; }
