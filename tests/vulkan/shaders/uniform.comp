#version 450
layout(local_size_x = 4) in;
struct Pair { float x; ivec2 y; };
layout(std140, binding = 0) uniform Uniform {
    uint scalars[4];   // 16 bytes apart
    vec3 vector;       // at 64
    float behind;      // at 76
    mat3 matrix;       // at 80, columns 16 bytes apart
    Pair pairs[2];     // at 128, 16 bytes each
};
layout(std430, binding = 1) writeonly buffer Result { float result[]; };
void main() {
    const uint i = gl_LocalInvocationIndex;
    result[i] = float(scalars[i]);
    if (i < 3) {
        result[4 + i] = vector[i] + behind;
        result[8 + i] = (matrix * vector)[i];
    }
    if (i < 2) {
        result[12 + 2 * i] = pairs[i].x;
        result[13 + 2 * i] = float(pairs[i].y.x - pairs[i].y.y);
    }
}
