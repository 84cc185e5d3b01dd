#version 450
layout(local_size_x = 8, local_size_y = 8) in;
layout(binding = 0, r32ui) uniform uimage2D words;
layout(binding = 1, r32i) uniform iimage2D numbers;
layout(binding = 2, r32ui) uniform uimageBuffer counts;
layout(binding = 3) buffer Tickets { uint tickets[]; };
void main() {
    const uvec2 at = gl_GlobalInvocationID.xy;
    const uint i = at.y * gl_NumWorkGroups.x * 8 + at.x;
    const ivec2 spot = ivec2(i % 3, i % 2);
    tickets[i] = imageAtomicAdd(words, spot, 1);
    imageAtomicMax(numbers, ivec2(0, 0), int(i) - 7);
    imageAtomicMin(numbers, ivec2(1, 0), int(i) - 7);
    imageAtomicXor(words, ivec2(4, 4), i * 2654435761u);
    imageAtomicOr(words, ivec2(5, 4), 1u << (i & 31));
    imageAtomicAdd(words, ivec2(6, 4), imageAtomicExchange(words, ivec2(7, 4), i + 1));
    imageAtomicAdd(counts, int(i % 5), 2);
    imageAtomicCompSwap(counts, 6, 0, i + 1);
}
