#version 450
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
layout(local_size_x = 16) in;
layout(std430, buffer_reference, buffer_reference_align = 4) buffer Word { uint word; };
layout(std430, binding = 0) writeonly buffer Result { uint result[]; };
layout(push_constant) uniform Push { uvec2 address; };
void main() { result[gl_LocalInvocationIndex] = Word(address).word; }
