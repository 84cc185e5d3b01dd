#version 450
layout(local_size_x = 64) in;
layout(std430, binding = 0) writeonly buffer Result { uint result[]; };

uint depth3(uint x) {
    if ((x & 3) == 3) return x * 3;
    for (uint i = 0; i < 10; ++i) {
        if (i == x) continue;
        if (i * x > 40) return i + 100;
        x += i;
    }
    return x;
}
uint depth2(uint x) {
    uint sum = 0;
    for (uint outer = 0; outer < (x & 7) + 1; ++outer) {
        uint inner = 0;
        do {
            if (inner == 5 && (x & 16) != 0) break;
            sum += depth3(outer * 7 + inner + x);
            ++inner;
        } while (inner < (x & 15));
        if (sum > 5000) break;
    }
    return sum;
}
uint kind(uint x) {
    switch (x % 7) {
        case 0: return 11;
        case 1: x += 5;
        case 2: x *= 3; break;
        case 3:
            for (uint i = 0; i < x; ++i) {
                if (i > 20) return i;
                x -= 1;
            }
            break;
        case 5: return x ^ 0xff;
        default: x = ~x;
    }
    return x + 1;
}
void main() {
    const uint i = gl_GlobalInvocationID.x;
    if (i % 11 == 3) {
        result[i] = 0xdead0000 + i;
        return;
    }
    uint x = depth2(i);
    x ^= kind(i + x) << 8;
    result[i] = x;
}
