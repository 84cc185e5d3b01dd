#version 450
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
layout(local_size_x = 64) in;
layout(std430, buffer_reference, buffer_reference_align = 16) buffer Node { uvec2 next; uint word; uint seen; };
layout(std430, binding = 0) writeonly buffer Result { uint result[]; };
layout(push_constant) uniform Push { uvec2 first; };
void main() {
    const uint i = gl_LocalInvocationIndex;
    // The nodes lie within a page or two, so no carry is lost.
    const uint low = first.x + i * 16;
    Node own = Node(uvec2(low, first.y + uint(low < first.x)));
    own.seen = i + 1;
    Node node = own;
    uint sum = 0;
    for (uint n = 0; n <= i; ++n) {
        sum += node.word;
        node = Node(node.next);
    }
    result[i] = sum;
}
