#version 450
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
layout(local_size_x = 64) in;
layout(std430, binding = 0) readonly buffer A { int64_t a[]; };
layout(std430, binding = 1) readonly buffer B { int64_t b[]; };
layout(std430, binding = 2) writeonly buffer C { int64_t c[]; };
layout(constant_id = 0) const uint kOperation = 0;
void main() {
    const uint i = gl_GlobalInvocationID.x;
    const int64_t x = a[i];
    const int64_t y = b[i];
    const int by = int(y) & 63;
    int64_t z = 0;
    switch (kOperation) {
        case 0: z = x + y; break;
        case 1: z = x - y; break;
        case 2: z = x * y; break;
        case 3: z = y == 0 ? 0 : x / y; break;
        case 4: z = y == 0 ? 0 : int64_t(uint64_t(x) % uint64_t(y)); break;
        case 5: z = x << by; break;
        case 6: z = x >> by; break;
        case 7: z = int64_t(uint64_t(x) >> by); break;
        case 8: z = min(x, y); break;
        case 9: z = int64_t(max(uint64_t(x), uint64_t(y))); break;
        case 10: z = (x < y ? 1 : 0) + (uint64_t(x) < uint64_t(y) ? 2 : 0) + (x == y ? 4 : 0); break;
        case 11: z = abs(x); break;
        case 12: z = (x & y) ^ ~(x | y); break;
        case 13: z = int64_t(float(x)); break;
        case 14: z = int64_t(int(x)) + int64_t(uint(y)); break;
    }
    c[i] = z;
}
