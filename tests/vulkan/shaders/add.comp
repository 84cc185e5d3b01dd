#version 450
layout(local_size_x = 64) in;
layout(std430, binding = 0) readonly buffer A { float a[]; };
layout(std430, binding = 1) readonly buffer B { float b[]; };
layout(std430, binding = 2) writeonly buffer C { float c[]; };
layout(push_constant) uniform Push { uint count; };
void main() {
    const uint i = gl_GlobalInvocationID.x;
    if (i < count) c[i] = a[i] + b[i];
}
