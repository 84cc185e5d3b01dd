#version 450
layout(local_size_x = 64) in;
layout(std430, binding = 0) buffer Result { uint result[]; };
layout(push_constant) uniform Push { uint stride; };
void main() {
    // Each reads what its neighbour wrote in the dispatch before.
    const uint count = gl_NumWorkGroups.x * 64;
    const uint from = (gl_GlobalInvocationID.x + 1) % count;
    result[stride * count + gl_GlobalInvocationID.x] = result[(1 - stride) * count + from] + 1;
}
