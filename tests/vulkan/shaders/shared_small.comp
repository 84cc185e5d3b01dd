// Bytes and shorts beside each other in shared memory, and a transposition of vectors.
#version 450
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : require
#extension GL_EXT_shader_16bit_storage : require
layout(local_size_x = 16, local_size_y = 16) in;
layout(std430, binding = 0) writeonly buffer Result { uvec4 result[]; };
shared uint16_t shorts[256];
shared uvec3 vectors[16][17];
void main() {
    const uint x = gl_LocalInvocationID.x;
    const uint y = gl_LocalInvocationID.y;
    shorts[gl_LocalInvocationIndex] = uint16_t(gl_LocalInvocationIndex * 257);
    vectors[y][x] = uvec3(x, y, x * y);
    barrier();
    result[gl_LocalInvocationIndex] = uvec4(vectors[x][y], uint(shorts[255 - gl_LocalInvocationIndex]));
}
