#version 450
layout(local_size_x_id = 0, local_size_y_id = 1, local_size_z_id = 2) in;
struct Ids { uvec4 group; uvec4 local; uvec4 global; uvec4 sizes; };
layout(std430, binding = 0) writeonly buffer Result { Ids result[]; };
void main() {
    const uint group = gl_WorkGroupID.x + gl_NumWorkGroups.x * (gl_WorkGroupID.y + gl_NumWorkGroups.y * gl_WorkGroupID.z);
    const uint size = gl_WorkGroupSize.x * gl_WorkGroupSize.y * gl_WorkGroupSize.z;
    result[group * size + gl_LocalInvocationIndex] =
        Ids(uvec4(gl_WorkGroupID, group), uvec4(gl_LocalInvocationID, gl_LocalInvocationIndex),
            uvec4(gl_GlobalInvocationID, size), uvec4(gl_NumWorkGroups, 1));
}
