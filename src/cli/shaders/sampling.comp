// Four bilinear samples an invocation, between the texels and over the edges.
#version 450
layout(local_size_x = 16, local_size_y = 16) in;
layout(std430, binding = 0) writeonly buffer Result { vec4 result[]; };
layout(binding = 1) uniform sampler2D image;

void main() {
    const uvec2 at = gl_GlobalInvocationID.xy;
    const uvec2 size = gl_NumWorkGroups.xy * 16;
    const vec2 place = (vec2(at) + 0.25) / vec2(size);
    vec4 sum = textureLod(image, place, 0);
    sum += textureLod(image, place * 1.25 + 0.125, 0);
    sum += textureLod(image, place.yx - 0.25, 0);
    sum += textureLod(image, place * 0.5, 0);
    result[at.y * size.x + at.x] = sum * 0.25;
}
