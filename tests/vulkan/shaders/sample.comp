// Samples at places that are told: KIND is the sampler's kind, PLACE what it takes of a place.
#version 450
layout(local_size_x = 64) in;
layout(binding = 0) uniform KIND image;
layout(std430, binding = 1) readonly buffer Places { vec4 places[]; };
layout(std430, binding = 2) readonly buffer Levels { float levels[]; };
layout(std430, binding = 3) writeonly buffer Result { vec4 result[]; };
layout(push_constant) uniform Push { uint count; };
void main() {
    const uint i = gl_GlobalInvocationID.x;
    if (i >= count) return;
    const vec4 place = places[i];
    result[i] = textureLod(image, PLACE, levels[i]);
}
