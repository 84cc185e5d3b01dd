// Fetches each texel of each level. SAMPLER and BITS are the variant's.
#version 450
layout(local_size_x = 8, local_size_y = 8) in;
layout(binding = 0) uniform SAMPLER from;
layout(std430, binding = 1) writeonly buffer Result { uvec4 result[]; };
layout(push_constant) uniform Push { int level; int first; };
void main() {
    const ivec2 at = ivec2(gl_GlobalInvocationID.xy);
    const ivec2 size = textureSize(from, level);
    if (at.x >= size.x || at.y >= size.y) return;
    result[first + at.y * size.x + at.x] = BITS(texelFetch(from, at, level));
}
