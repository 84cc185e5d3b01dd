// The sum of all words: by invocation, by subgroup, by workgroup.
#version 450
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer Result { uint result; };
layout(std430, binding = 1) readonly buffer Words { uint words[]; };
layout(push_constant) uniform Push { uint words_per_invocation; };

shared uint sums[64];

void main() {
    const uint first = gl_WorkGroupID.x * 256 * words_per_invocation + gl_LocalInvocationIndex;
    uint sum = 0;
    for (uint i = 0; i < words_per_invocation; ++i) sum += words[first + i * 256];
    sum = subgroupAdd(sum);
    if (subgroupElect()) sums[gl_SubgroupID] = sum;
    barrier();
    if (gl_LocalInvocationIndex == 0) {
        uint total = 0;
        for (uint i = 0; i < gl_NumSubgroups; ++i) total += sums[i];
        atomicAdd(result, total);
    }
}
