// All of the 32 KiB, written by one invocation and read by another.
#version 450
layout(local_size_x = 128) in;
layout(std430, binding = 0) writeonly buffer Result { uint result[]; };
shared uint words[8192];
void main() {
    const uint i = gl_LocalInvocationIndex;
    for (uint n = i; n < 8192; n += 128) words[n] = n * n + gl_WorkGroupID.x;
    barrier();
    uint sum = 0;
    for (uint n = 0; n < 64; ++n) sum += words[8191 - (i * 64 + n)] * (n + 1);
    result[gl_GlobalInvocationID.x] = sum;
}
