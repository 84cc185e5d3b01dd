#version 450
layout(local_size_x = 8, local_size_y = 8) in;
layout(std430, binding = 0) writeonly buffer Result { uint result[]; };
void main() {
    // Multiples of 1/64 with few bits, so that most points need no rounding at first; the rest is rounded as IEEE says.
    const uvec2 at = gl_GlobalInvocationID.xy;
    precise const float cx = float(at.x) * 0.046875 - 2.25;
    precise const float cy = float(at.y) * 0.046875 - 1.5;
    precise float x = 0;
    precise float y = 0;
    uint n = 0;
    for (; n < 200; ++n) {
        precise const float xx = x * x;
        precise const float yy = y * y;
        if (xx + yy > 4) break;
        precise const float xy = x * y;
        x = (xx - yy) + cx;
        y = (xy + xy) + cy;
    }
    result[at.y * gl_NumWorkGroups.x * 8 + at.x] = n;
}
