// Each operation of a part, PART, so that no shader is of them all: those take long to compile.
#version 450
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_vote : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_KHR_shader_subgroup_shuffle_relative : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_quad : require
#if PART == 5
#extension GL_KHR_shader_subgroup_clustered : require
#endif
layout(local_size_x_id = 0) in;
layout(std430, binding = 0) readonly buffer Words { uint words[]; };
layout(std430, binding = 1) writeonly buffer Places { uvec4 places[]; };
layout(std430, binding = 2) writeonly buffer Result { uint result[]; };
layout(push_constant) uniform Push { uint chosen; uint some_only; };

uint operation(uint w) {
    const uint lane = gl_SubgroupInvocationID;
    const bool odd = (w & 1) != 0;
    const uvec4 ballot = subgroupBallot(odd);
    switch (chosen) {
#if PART == 0
        case 0: return ballot.x;
        case 1: return uint(subgroupAll((w & 0xfff0) != 0));
        case 2: return uint(subgroupAny((w & 0xffff) < 3000));
        case 3: return uint(subgroupAllEqual(w & (gl_WorkGroupID.x == 0 ? 0 : 0x30)));
        case 4: return uint(subgroupElect());
        case 5: return subgroupBroadcastFirst(w);
        case 6: return subgroupBroadcast(w, 3);
        case 7: return subgroupBallotBitCount(ballot);
        case 8: return subgroupBallotInclusiveBitCount(ballot);
        case 9: return subgroupBallotExclusiveBitCount(ballot);
        case 10: return subgroupBallotFindLSB(ballot);
        case 11: return subgroupBallotFindMSB(ballot);
        case 12: return uint(subgroupInverseBallot(uvec4(0x0f35a, 0, 0, 0))) + 2 * uint(subgroupBallotBitExtract(uvec4(0x8a31, 0, 0, 0), w & 7));
#elif PART == 1
        case 13: return subgroupShuffle(w, (w >> 8) % gl_SubgroupSize);
        case 14: return subgroupShuffleXor(w, 5 & (gl_SubgroupSize - 1));
        case 15: { const uint up = subgroupShuffleUp(w, 3); return lane >= 3 ? up : w; }
        case 16: return subgroupShuffleDown(w, 2);
#elif PART == 2
        case 17: return subgroupAdd(w);
        case 18: return subgroupMul(w | 1);
        case 19: return subgroupMin(w);
        case 20: return subgroupMax(w);
        case 21: return subgroupAnd(w | 0xffff);
        case 22: return subgroupOr(w & 0x01010101);
        case 23: return subgroupXor(w);
        case 24: return subgroupInclusiveAdd(w);
        case 25: return subgroupExclusiveAdd(w);
        case 26: return subgroupInclusiveMax(w);
        case 27: return subgroupExclusiveMin(w);
        case 28: return uint(subgroupMin(int(w)));
        case 29: return floatBitsToUint(subgroupAdd(float(w & 0xff)));
        case 30: return floatBitsToUint(subgroupMax(float(int(w) >> 8)));
        case 31: return subgroupInclusiveXor(w);
        case 32: return uint(subgroupExclusiveMax(int(w)));
        case 33: { const uvec3 v = subgroupAdd(uvec3(w, w >> 1, w >> 2)); return v.x ^ v.y ^ v.z; }
#elif PART == 3
        case 34: return subgroupQuadBroadcast(w, 2);
        case 35: return subgroupQuadSwapHorizontal(w);
        case 36: return subgroupQuadSwapVertical(w);
        case 37: return subgroupQuadSwapDiagonal(w);
#elif PART == 4
        case 38: return gl_SubgroupEqMask.x;
        case 39: return gl_SubgroupGeMask.x;
        case 40: return gl_SubgroupGtMask.x;
        case 41: return gl_SubgroupLeMask.x;
        case 42: return gl_SubgroupLtMask.x;
#elif PART == 5
        case 0: return subgroupClusteredAdd(w, 2);
        case 1: return subgroupClusteredXor(w, 4);
        case 2: return subgroupClusteredMax(w, 8);
        case 3: return uint(subgroupClusteredMin(int(w), 16));
#endif
    }
    return 0xbad;
}

void main() {
    const uint i = gl_GlobalInvocationID.x;
    const uint w = words[i];
    places[i] = uvec4(gl_SubgroupID, gl_SubgroupInvocationID, gl_SubgroupSize, gl_NumSubgroups);
    uint got = 0x900d;
    if (some_only == 0 || (w & 0x700) != 0) got = operation(w);
    result[i] = got;
}
