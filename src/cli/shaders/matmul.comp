// A product of two square matrices by tiles of 16 x 16 in shared memory.
#version 450
layout(local_size_x = 16, local_size_y = 16) in;
layout(std430, binding = 0) buffer Result { float result[]; };
layout(std430, binding = 1) readonly buffer Left { float left[]; };
layout(std430, binding = 2) readonly buffer Right { float right[]; };
layout(push_constant) uniform Push { uint size; };

shared float left_tile[16][16];
shared float right_tile[16][16];

void main() {
    const uint column = gl_GlobalInvocationID.x;
    const uint row = gl_GlobalInvocationID.y;
    const uint x = gl_LocalInvocationID.x;
    const uint y = gl_LocalInvocationID.y;
    float sum = 0;
    for (uint tile = 0; tile < size; tile += 16) {
        left_tile[y][x] = left[row * size + tile + x];
        right_tile[y][x] = right[(tile + y) * size + column];
        barrier();
        for (uint k = 0; k < 16; ++k) sum += left_tile[y][k] * right_tile[k][x];
        barrier();
    }
    result[row * size + column] = sum;
}
