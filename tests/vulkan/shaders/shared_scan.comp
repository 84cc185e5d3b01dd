// Inclusive prefix sum of a workgroup, by a barrier a step.
#version 450
layout(local_size_x_id = 0) in;
layout(std430, binding = 0) buffer Words { uint words[]; };
shared uint sums[2][1024];
void main() {
    const uint i = gl_LocalInvocationIndex;
    uint from = 0;
    sums[0][i] = words[gl_GlobalInvocationID.x];
    barrier();
    for (uint step = 1; step < gl_WorkGroupSize.x; step *= 2) {
        sums[1 - from][i] = sums[from][i] + (i >= step ? sums[from][i - step] : 0);
        from = 1 - from;
        barrier();
    }
    words[gl_GlobalInvocationID.x] = sums[from][i];
}
