#version 450
layout(local_size_x_id = 0) in;
layout(std430, binding = 0) buffer Result { uint result[]; };
void main() {
    atomicAdd(result[0], 1);
    atomicMax(result[1], gl_GlobalInvocationID.x);
    atomicMax(result[2], gl_GlobalInvocationID.y);
    atomicMax(result[3], gl_GlobalInvocationID.z);
    atomicAdd(result[4], gl_NumWorkGroups.x + 1000 * gl_NumWorkGroups.y + 1000000 * gl_NumWorkGroups.z);
}
