#version 450
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint kOperation = 0;
layout(std430, binding = 0) readonly buffer A { uint a[]; };
layout(std430, binding = 1) readonly buffer B { uint b[]; };
layout(std430, binding = 2) writeonly buffer Result { uint result[]; };

uint operation(uint x, uint y) {
    const int sx = int(x);
    const int sy = int(y);
    const int by = int(y & 31);
    const int offset = int(y & 15);
    const int bits = int((y >> 4) & 15);
    uint high, low;
    int shigh, slow;
    switch (kOperation) {
        case 0: return x + y;
        case 1: return x - y;
        case 2: return x * y;
        case 3: return y == 0 ? 0 : x / y;
        case 4: return y == 0 ? 0 : x % y;
        case 5: return y == 0 || y == ~0 ? 0 : uint(sx / sy);
        case 6: return sx < 0 || sy <= 0 ? 0 : uint(sx % sy);
        case 7: return x << by;
        case 8: return x >> by;
        case 9: return uint(sx >> by);
        case 10: return x & y;
        case 11: return x | y;
        case 12: return x ^ y;
        case 13: return ~x;
        case 14: return uint(-sx);
        case 15: return min(x, y);
        case 16: return max(x, y);
        case 17: return uint(min(sx, sy));
        case 18: return uint(max(sx, sy));
        case 19: return uint(abs(sx));
        case 20: return uint(sign(sx));
        case 21: return uint(bitCount(x));
        case 22: return uint(findLSB(x));
        case 23: return uint(findMSB(x));
        case 24: return uint(findMSB(sx));
        case 25: return bitfieldReverse(x);
        case 26: return bitfieldExtract(x, offset, bits);
        case 27: return uint(bitfieldExtract(sx, offset, bits));
        case 28: return bitfieldInsert(x, y, offset, bits);
        case 29: umulExtended(x, y, high, low); return high;
        case 30: imulExtended(sx, sy, shigh, slow); return uint(shigh);
        case 31: low = uaddCarry(x, y, high); return high * 2 + (low & 1);
        case 32: low = usubBorrow(x, y, high); return high * 2 + (low & 1);
        case 33: return uint(x < y) + 2 * uint(x <= y) + 4 * uint(x == y) + 8 * uint(sx < sy) + 16 * uint(sx >= sy);
        case 34: return clamp(x, 100, max(y, 100));
        case 35: return sx < sy ? x * 3 : y * 5;
        case 36: return (x & 0xffff) * (y & 0xffff) + (x >> 16);
        case 37: return x / 7 + x % 10 + x / 641 + (x % 65537);
        case 38: return uint(sx / -3) + uint(sx / 16) + uint(sx >> 1);
        case 39: return floatBitsToUint(float(x));
        case 40: return floatBitsToUint(float(sx));
        case 41: return x * 5 + (y << 3) - (x << 4);
        case 42: return ((x >> 8) & 0xff) + uint((sx << 8) >> 24) + ((y & 0xff00) | (x >> 24));
    }
    return 0xbad;
}
void main() {
    const uint i = gl_GlobalInvocationID.x;
    result[i] = operation(a[i], b[i]);
}
