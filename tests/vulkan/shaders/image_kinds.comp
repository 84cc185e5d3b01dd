// Stores in layers, slices and faces of images, and reads them back. KIND, AT and DIMENSIONS are the variant's.
#version 450
layout(local_size_x = 4, local_size_y = 4, local_size_z = 2) in;
layout(binding = 0, r32ui) uniform KIND image;
layout(std430, binding = 1) writeonly buffer Result { uint result[]; };
void main() {
    const ivec3 at = ivec3(gl_GlobalInvocationID);
    if ((DIMENSIONS < 3 && at.z > 0) || (DIMENSIONS < 2 && at.y > 0)) return;
    const ivec3 size = ivec3(gl_NumWorkGroups) * ivec3(4, 4, 2);
    const int i = at.x + size.x * (at.y + size.y * at.z);
    result[i] = imageLoad(image, AT).x;
    imageStore(image, AT, uvec4(i * 3 + 1));
}
