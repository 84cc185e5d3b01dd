#version 450
layout(local_size_x = 16) in;
layout(std430, set = 0, binding = 0) buffer Result { uint result[]; };
layout(std430, set = 1, binding = 0) readonly buffer A { uint a[]; };
layout(std140, set = 2, binding = 0) uniform B { uint b; };
layout(std430, set = 3, binding = 0) readonly buffer Unused { uint unused[]; };
layout(std430, set = 3, binding = 1) readonly buffer Array { uint word[]; } array[4];
layout(push_constant) uniform Push { uint first; };
void main() {
    const uint i = gl_LocalInvocationIndex;
    uint sum = a[i] + b;
    for (uint n = first; n < 4; ++n) sum += array[n].word[i];
    result[i] = sum;
}
