#version 450
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint kOperation = 0;
layout(std430, binding = 0) readonly buffer A { float a[]; };
layout(std430, binding = 1) readonly buffer B { float b[]; };
layout(std430, binding = 2) writeonly buffer Result { float result[]; };

float operation(float x, float y) {
    int exponent;
    switch (kOperation) {
        case 0: { precise float z = x + y; return z; }
        case 1: { precise float z = x - y; return z; }
        case 2: { precise float z = x * y; return z; }
        case 3: return x / y;
        case 4: return sqrt(x);
        case 5: return inversesqrt(x);
        case 6: return exp2(x);
        case 7: return log2(x);
        case 8: return exp(x);
        case 9: return log(x);
        case 10: return pow(x, y);
        case 11: return sin(x);
        case 12: return cos(x);
        case 13: return tan(x);
        case 14: return atan(x);
        case 15: return atan(x, y);
        case 16: return asin(x);
        case 17: return acos(x);
        case 18: return sinh(x);
        case 19: return tanh(x);
        case 20: return floor(x);
        case 21: return ceil(x);
        case 22: return trunc(x);
        case 23: return roundEven(x);
        case 24: return fract(x);
        case 25: return min(x, y);
        case 26: return max(x, y);
        case 27: return abs(x) - abs(y);
        case 28: return sign(x);
        case 29: return clamp(x, -1.0, 1.0);
        case 30: return x < y ? 1.0 : (x == y ? 2.0 : (x > y ? 3.0 : 4.0));
        case 31: return float(int(x));
        case 32: return float(uint(abs(x)));
        case 33: return ldexp(x, int(y));
        case 34: return frexp(x, exponent);
        case 35: frexp(x, exponent); return float(exponent);
        case 36: return float(isnan(x)) + 2.0 * float(isinf(x));
        case 37: return unpackHalf2x16(packHalf2x16(vec2(x, y))).x;
        case 38: return uintBitsToFloat(packUnorm4x8(vec4(x, y, 1.5, -1.0)) | 0x40000000);
        case 39: return uintBitsToFloat(packSnorm2x16(vec2(x, y)) & 0x3fffffff);
        case 40: return unpackUnorm4x8(floatBitsToUint(x)).y;
        case 41: return unpackSnorm2x16(floatBitsToUint(x)).x;
        case 42: return mod(x, 3.0);
        case 43: return -x * 0.5;
        case 44: return fma(x, y, 1.0);
    }
    return 12345.0;
}
void main() {
    const uint i = gl_GlobalInvocationID.x;
    result[i] = operation(a[i], b[i]);
}
