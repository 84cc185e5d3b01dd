#version 450
layout(local_size_x = 32) in;
layout(std430, binding = 0) writeonly buffer Result { uint result[]; };
layout(push_constant) uniform Push { uint words[32]; };
void main() {
    // One word chosen by each invocation, and one that is the same for all.
    result[gl_LocalInvocationIndex] = words[gl_LocalInvocationIndex] + 3 * words[31];
}
