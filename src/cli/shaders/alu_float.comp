// Multiplications and additions of floats, four chains of them; each converges, so rounding does not add up.
#version 450
layout(local_size_x = 64) in;
layout(std430, binding = 0) buffer Result { vec4 result[]; };
layout(push_constant) uniform Push { uint rounds; };

void main() {
    const uint i = gl_GlobalInvocationID.x;
    vec4 x = vec4(i, i + 1, i + 2, i + 3) * (1.0 / 65536.0);
    for (uint n = 0; n < rounds; ++n) {
        x = x * 0.75 + 0.5;
        x = x * 0.5 + 0.125;
        x = x * 0.875 + 0.25;
        x = x * 0.625 + 0.375;
    }
    result[i] = x;
}
