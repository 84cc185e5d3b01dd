// Every kind of atomic on one word for all invocations: in a buffer and in shared memory.
#version 450
layout(local_size_x = 128) in;
layout(std430, binding = 0) buffer Words { uint words[16]; int signed_words[16]; };
layout(std430, binding = 1) writeonly buffer Tickets { uint tickets[]; };
layout(std430, binding = 2) buffer Shared { uint of_group[][16]; };
shared uint local_words[16];
shared int local_signed[2];
void main() {
    const uint i = gl_GlobalInvocationID.x;
    const uint hash = i * 2654435761u;
    if (gl_LocalInvocationIndex < 16) local_words[gl_LocalInvocationIndex] = gl_LocalInvocationIndex == 3 ? ~0u : 0;
    if (gl_LocalInvocationIndex < 2) local_signed[gl_LocalInvocationIndex] = 0;
    barrier();
    tickets[i] = atomicAdd(words[0], 1);
    atomicAdd(words[1], hash);
    atomicMax(words[2], hash);
    atomicMin(words[3], hash);
    atomicOr(words[4], 1u << (i & 31));
    atomicAnd(words[5], ~(1u << (i % 31)));
    atomicXor(words[6], hash);
    atomicMax(signed_words[0], int(hash));
    atomicMin(signed_words[1], int(hash));
    // A lock-free count in floats by compare and exchange.
    uint seen = words[7];
    for (;;) {
        const uint next = floatBitsToUint(uintBitsToFloat(seen) + 1.0);
        const uint was = atomicCompSwap(words[7], seen, next);
        if (was == seen) break;
        seen = was;
    }
    // What all take out and put in cancels, but for one who is last.
    atomicAdd(words[8], atomicExchange(words[9], i + 1));

    atomicAdd(local_words[0], 1);
    atomicAdd(local_words[1], hash);
    atomicMax(local_words[2], hash);
    atomicMin(local_words[3], hash);
    atomicOr(local_words[4], 1u << (i & 31));
    atomicXor(local_words[6], hash);
    atomicMax(local_signed[0], int(hash));
    atomicMin(local_signed[1], int(hash));
    atomicAdd(local_words[8], atomicExchange(local_words[9], i + 1));
    atomicCompSwap(local_words[10], 0, gl_LocalInvocationIndex + 1);
    barrier();
    if (gl_LocalInvocationIndex < 11) of_group[gl_WorkGroupID.x][gl_LocalInvocationIndex] = local_words[gl_LocalInvocationIndex];
    if (gl_LocalInvocationIndex < 2)
        of_group[gl_WorkGroupID.x][11 + gl_LocalInvocationIndex] = uint(local_signed[gl_LocalInvocationIndex]);
}
