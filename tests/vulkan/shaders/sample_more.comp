// Gathers, offsets, gradients, sizes, and textures apart from their samplers.
#version 450
layout(local_size_x = 16) in;
layout(binding = 0) uniform texture2D images[3];
layout(binding = 1) uniform sampler how;
layout(std430, binding = 2) writeonly buffer Result { vec4 result[]; };
layout(push_constant) uniform Push { uint first; };
void main() {
    const uint i = gl_LocalInvocationIndex;
    const vec2 place = (vec2(i % 4, i / 4) + 1.0) / 8.0;  // where four texels of 8 x 8 meet
    const vec2 middle = (vec2(i % 4, i / 4) + 0.5) / 8.0;
    result[i] = textureGather(sampler2D(images[0], how), place, 1);
    result[16 + i] = textureLodOffset(sampler2D(images[0], how), middle, 0.0, ivec2(3, -2));
    // Four texels of the first level apart in one direction: level 2.
    result[32 + i] = textureGrad(sampler2D(images[0], how), vec2(i) / 16.0, vec2(0.5, 0), vec2(0, 0.125));
    vec4 sum = vec4(0);
    for (uint n = first; n < 3; ++n) sum += textureLod(sampler2D(images[n], how), middle, 0.0);
    result[48 + i] = sum;
    result[64 + i] = vec4(textureSize(sampler2D(images[2], how), int(first)), textureQueryLevels(sampler2D(images[1], how)),
                          textureGatherOffset(sampler2D(images[0], how), place, ivec2(1, 1), 2).y);
}
