// Loads each texel, tells it, and stores it in another image. FORMAT, IMAGE and BITS are the variant's.
#version 450
layout(local_size_x = 8, local_size_y = 8) in;
layout(binding = 0, FORMAT) readonly uniform IMAGE from;
layout(binding = 1, FORMAT) writeonly uniform IMAGE to;
layout(std430, binding = 2) writeonly buffer Result { uvec4 result[]; };
void main() {
    const ivec2 at = ivec2(gl_GlobalInvocationID.xy);
    const ivec2 size = imageSize(from);
    if (at.x >= size.x || at.y >= size.y) return;
    result[at.y * size.x + at.x] = BITS(imageLoad(from, at));
    imageStore(to, at, imageLoad(from, at));
}
