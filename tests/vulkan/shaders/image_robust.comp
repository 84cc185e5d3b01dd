#version 450
layout(local_size_x = 64) in;
layout(binding = 0, rgba8) uniform image2D image;
layout(binding = 1) uniform sampler2D fetched;
layout(std430, binding = 2) writeonly buffer Result { vec4 result[]; };
void main() {
    const int i = int(gl_LocalInvocationIndex);
    const ivec2 at = ivec2(i * 3 - 20, i / 2);  // of an image of 10 x 7
    vec4 sum = imageLoad(image, at);
    if (any(lessThan(at, ivec2(0))) || any(greaterThanEqual(at, ivec2(10, 7)))) imageStore(image, at, vec4(1));
    result[i] = sum;
    result[64 + i] = texelFetch(fetched, at, 0);
}
