#version 450
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : require
layout(local_size_x = 64) in;
layout(std430, binding = 0) readonly buffer Bytes { int8_t bytes[]; };
layout(std430, binding = 1) readonly buffer Shorts { int16_t shorts[]; };
layout(std430, binding = 2) readonly buffer Halves { float16_t halves[]; };
layout(std430, binding = 3) writeonly buffer BytesOut { uint8_t bytes_out[]; };
layout(std430, binding = 4) writeonly buffer ShortsOut { uint16_t shorts_out[]; };
layout(std430, binding = 5) writeonly buffer HalvesOut { float16_t halves_out[]; };
layout(std430, binding = 6) writeonly buffer Words { int words[]; };
void main() {
    const uint i = gl_GlobalInvocationID.x;
    const int16_t s = shorts[i];
    const int16_t product = s * int16_t(bytes[i]);
    words[i] = int(bytes[i]) * 65536 + int(product & int16_t(0x7fff));
    bytes_out[i] = uint8_t(bytes[i] + int8_t(3));
    shorts_out[i] = uint16_t(s) / uint16_t(7) + uint16_t(s >> 3);
    halves_out[i] = float16_t(float(halves[i]) * 1.5);
}
