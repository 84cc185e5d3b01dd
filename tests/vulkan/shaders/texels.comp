// Texel buffers: fetched, loaded, stored, and counted in. SAMPLER, BITS, IMAGE and FORMAT are the variant's.
#version 450
layout(local_size_x = 64) in;
layout(binding = 0) uniform SAMPLER fetched;
layout(binding = 1, FORMAT) uniform IMAGE loaded;
layout(binding = 2, FORMAT) writeonly uniform IMAGE stored;
layout(std430, binding = 3) writeonly buffer Result { uvec4 result[]; };
void main() {
    const int i = int(gl_GlobalInvocationID.x);
    if (i >= textureSize(fetched)) return;
    result[i] = BITS(texelFetch(fetched, i));
    imageStore(stored, imageSize(loaded) - 1 - i, imageLoad(loaded, i));
}
