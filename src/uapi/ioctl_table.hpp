// The table of ioctls: for each request its struct, and where in it arrays, strings and descriptors are.
//
// Read by marshalling on both ends of the pipe (wire.hpp), by dispatch, by whoever prints a request, and by
// the fuzzers. One table, because each of these would otherwise keep its own idea of what a struct points to.
//
// What follows from the kernel's dispatch: a request is found by its number alone; the size bits that a
// program was compiled with say how much of its struct it has, not which request it means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "base/result.hpp"

namespace belfry::uapi {

/// Which way a field, or the bytes behind a pointer, go, as the program sees it.
enum class Direction : std::uint8_t { in, out, in_out };

constexpr bool goes_in(Direction direction) { return direction != Direction::out; }
constexpr bool goes_out(Direction direction) { return direction != Direction::in; }

/// How a field is printed, and what a fuzzer may sensibly put into it.
enum class FieldKind : std::uint8_t {
    number,
    signed_number,
    hex,         ///< addresses of the GPU, masks
    flags,       ///< bits; in hexadecimal
    handle,      ///< names an object of the file
    count,       ///< of elements or bytes of what a pointer field points to
    pointer,     ///< of the program
    obj_array,   ///< drm_panthor_obj_array, 16 bytes
    descriptor,  ///< s32 file descriptor, -1 for none
    text,        ///< characters, up to a NUL if there is one
    padding,     ///< any width
};

struct Field {
    std::string_view name;
    std::uint16_t offset;
    std::uint16_t width;  ///< bytes
    FieldKind kind;
    Direction direction = Direction::in;  ///< out: the driver fills it in, and does not look at it
};

enum class AttachmentKind : std::uint8_t {
    obj_array,  ///< drm_panthor_obj_array: elements may be longer or shorter than ours
    array,      ///< elements of fixed size
    object,     ///< bytes whose number the program gives; a null pointer is a question for that number
    string,     ///< bytes out; the length comes back as the full length, whatever the room
    text,       ///< bytes in; more than count_max are not looked at, as the handler refuses the count
    c_string,   ///< bytes in up to a NUL or count_max; without a count in the struct
};

struct StructLayout;

/// Something that a struct points to.
struct Attachment {
    std::string_view name;  ///< of the field that points
    AttachmentKind kind;
    Direction direction;
    std::uint16_t pointer_offset;  ///< of the u64 user pointer (obj_array: of the obj_array)
    std::uint16_t count_offset;    ///< of the number of elements
    std::uint8_t count_width;      ///< 4 or 8 bytes; 0: there is none
    bool optional;                 ///< a null pointer means "none" to the handler, and is kept
    std::uint32_t element_bytes;   ///< ours; 1 for objects, strings and text
    std::uint32_t stride_min;      ///< obj_array: EINVAL below
    std::uint64_t count_max;       ///< obj_array: EINVAL above; array out: room beyond it is not carried
    FieldKind element_kind;        ///< what one element is, if it is no struct
    const StructLayout* element;   ///< what one element is, if it is a struct
};

struct StructLayout {
    std::string_view name;
    std::uint32_t bytes;
    std::span<const Field> fields;            ///< in order, without gaps
    std::span<const Attachment> attachments;  ///< in the order in which they travel
};

/// A field that holds a file descriptor: of the program (in), or one that it gets (out). If `flag` is not 0,
/// an in field counts only if `flag` is set in the u32 at `flags_offset`; an out field is kept across exec
/// unless it is set there. Out fields without a flag are close-on-exec.
struct DescriptorField {
    std::uint16_t offset = 0;
    std::uint16_t flags_offset = 0;
    std::uint32_t flag = 0;
    Direction direction = Direction::in;
};

struct Ioctl {
    std::string_view name;  ///< "SYNCOBJ_WAIT"
    const StructLayout* layout;
    std::span<const DescriptorField> descriptors;  ///< in the order in which they travel
    std::uint32_t request;                         ///< with our struct's size
    /// A request to a sync file or a dma-buf: the descriptor that it is made on travels first.
    bool target = false;
    /// The request's argument is not the address of the struct, but the struct itself: one pointer.
    bool by_value = false;
};

/// All rows, ordered by type and number.
std::span<const Ioctl> ioctls();

/// The row for a request: to a DRM file of any size and direction, to others exactly. ENOTTY: not a request
/// to a DRM file, sync file, dma-buf or sw_sync timeline at all, or one that a file which is not a DRM file
/// does not know; EINVAL: no such DRM request.
base::Result<const Ioctl*> find_ioctl(std::uint32_t request);

/// The bytes of the program's struct that are read before, and written after, a request: what its own size
/// bits say, or nothing where either side's direction bits deny it. Both may exceed our struct.
std::uint32_t bytes_in(std::uint32_t user_request, const Ioctl& ioctl);
std::uint32_t bytes_out(std::uint32_t user_request, const Ioctl& ioctl);

/// One attachment as a struct describes it.
struct Extent {
    bool present = false;         ///< false: nothing there to be looked at
    std::uint64_t pointer = 0;    ///< as in the struct
    std::uint64_t count = 0;      ///< elements
    std::uint32_t stride = 0;     ///< from one element to the next in the program's memory
    std::uint64_t bytes = 0;      ///< count * stride: in the program's memory and on the wire
    std::uint64_t our_bytes = 0;  ///< count * element_bytes: as handlers see it
    std::uint64_t tail = 0;  ///< bytes of an object's room that are not carried, but zeroed by the client
};

/// No more than this travels with one request, either way; nor is more allocated for it. ENOMEM beyond.
inline constexpr std::uint64_t kPayloadBytesMax = 16U << 20;
/// Room for an out string or object that is worth carrying; all of the ABI are far shorter. So a program that
/// names a gigabyte gets its answer, and neither end allocates one.
inline constexpr std::uint64_t kOutRoomMax = 4096;

/// Judges what `object` (whose layout has `attachment`) says about it. EINVAL: stride or count out of bounds;
/// ENOMEM: beyond kPayloadBytesMax. `object` must be as long as that layout.
base::Result<Extent> extent_of(const Attachment& attachment, std::span<const std::byte> object);

/// Whether a request with the argument struct `object` looks at the in field `field`, whatever is there.
bool descriptor_meant(const DescriptorField& field, std::span<const std::byte> object);

}  // namespace belfry::uapi
