#include "uapi/trace.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string_view>
#include <tuple>

#include <linux/ioctl.h>

#include "base/check.hpp"
#include "belfry/uapi/panthor_drm.h"

namespace belfry::uapi {
namespace {

/// Elements of an array, and characters of a string, that are printed.
constexpr std::uint64_t kElementsShown = 8;
constexpr std::uint64_t kCharactersShown = 64;

std::string hex(std::uint64_t value) {
    std::array<char, 16> digits{};
    const auto* const end = std::to_chars(digits.begin(), digits.end(), value, 16).ptr;
    std::string text = "0x";
    return text.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

std::uint64_t unsigned_at(std::span<const std::byte> object, std::size_t offset, std::size_t width) {
    std::uint64_t value = 0;
    std::memcpy(&value, object.data() + offset, std::min(width, sizeof value));
    return value;
}

std::string quoted(std::string_view characters, bool cut_off) {
    std::string text = "\"";
    for (const char c : characters) {
        const bool plain = c >= ' ' && c <= '~';
        if (c == '"' || c == '\\') text += '\\';
        if (plain) {
            text += c;
        } else {
            constexpr std::string_view kDigits = "0123456789abcdef";
            const auto code = static_cast<unsigned char>(c);
            text.append("\\x") += kDigits[code >> 4U];
            text += kDigits[code & 15U];
        }
    }
    return text += cut_off ? "\"..." : "\"";
}

/// A value that is no pointer.
std::string scalar(FieldKind kind, std::span<const std::byte> bytes) {
    const std::uint64_t value = unsigned_at(bytes, 0, bytes.size());
    switch (kind) {
        case FieldKind::signed_number:
        case FieldKind::descriptor:
            return std::to_string(bytes.size() == 4 ? static_cast<std::int32_t>(value)
                                                    : static_cast<std::int64_t>(value));
        case FieldKind::hex:
        case FieldKind::flags:
        case FieldKind::pointer: return hex(value);
        case FieldKind::text:    {
            const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
            return quoted(all.substr(0, all.find('\0')), false);
        }
        case FieldKind::padding:
            return bytes.size() <= sizeof value ? hex(value) : "<" + std::to_string(bytes.size()) + " bytes>";
        case FieldKind::number:
        case FieldKind::handle:
        case FieldKind::count:
        case FieldKind::obj_array: break;
    }
    return std::to_string(value);
}

bool is_zero(std::span<const std::byte> bytes) {
    return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{}; });
}

/// name=value, name=value
class List {
  public:
    explicit List(std::string& text) : text_(text) {}
    void add(std::string_view name, std::string_view value) {
        if (!empty_) text_ += ", ";
        empty_ = false;
        text_.append(name) += '=';
        text_.append(value);
    }
    [[nodiscard]] bool empty() const { return empty_; }

  private:
    std::string& text_;
    bool empty_ = true;
};

const Attachment* attachment_of(const StructLayout& layout, const Field& field) {
    if (field.kind != FieldKind::pointer && field.kind != FieldKind::obj_array) return nullptr;
    const auto found = std::ranges::find(layout.attachments, field.offset, &Attachment::pointer_offset);
    return found != layout.attachments.end() ? &*found : nullptr;
}

/// Prints what structs point to, one way: what goes in, or what comes out.
class Pointed {
  public:
    Pointed(const UserMemory& memory, Direction way) : memory_(memory), way_(way) {}

    /// `object`: the struct that has the attachment, at our length.
    [[nodiscard]] std::string text(const Attachment& attachment, std::span<const std::byte> object) const {
        const auto extent = extent_of(attachment, object);
        const bool array = attachment.kind == AttachmentKind::obj_array;
        const std::uint64_t pointer = unsigned_at(
            object, attachment.pointer_offset + (array ? offsetof(drm_panthor_obj_array, array) : 0), 8);
        if (extent && extent->present) {
            std::string text;
            const bool readable = attachment.element_kind == FieldKind::text
                                      ? characters(attachment, *extent, text)
                                      : elements(attachment, *extent, text);
            if (readable) return text;
        } else if (array && unsigned_at(object, attachment.count_offset, 4) == 0) {
            return "[]";
        }
        return pointer == 0 ? "NULL" : hex(pointer);
    }

    /// The fields of an element that go this way.
    [[nodiscard]] std::string fields(const StructLayout& layout, std::span<const std::byte> object) const {
        std::string text = "{";
        List list(text);
        for (const Field& field : layout.fields) {
            const auto bytes = object.subspan(field.offset, field.width);
            if (field.kind == FieldKind::padding && is_zero(bytes)) continue;
            if (const Attachment* const attachment = attachment_of(layout, field))
                list.add(field.name, this->text(*attachment, object));
            else if ((field.direction == Direction::out) == (way_ == Direction::out))
                list.add(field.name, scalar(field.kind, bytes));
        }
        return text += "}";
    }

  private:
    bool read(void* to, std::uint64_t from, std::size_t bytes) const {
        return bytes == 0 || (from != 0 && memory_.read(to, reinterpret_cast<const void*>(from), bytes));
    }

    bool characters(const Attachment& attachment, const Extent& extent, std::string& text) const {
        std::array<char, kCharactersShown> shown{};
        const std::uint64_t most = std::min(extent.count, kCharactersShown);
        std::uint64_t length = 0;
        if (attachment.kind == AttachmentKind::c_string) {
            for (; length < most; ++length) {
                if (!read(&shown[length], extent.pointer + length, 1)) return false;
                if (shown[length] == '\0') break;
            }
        } else {
            if (!read(shown.data(), extent.pointer, most)) return false;
            length = most;
        }
        const bool cut_off = length == kCharactersShown && extent.count > kCharactersShown;
        text = quoted({shown.data(), length}, cut_off);
        return true;
    }

    bool elements(const Attachment& attachment, const Extent& extent, std::string& text) const {
        // Of an object only the driver knows what it is: words.
        const bool words = attachment.kind == AttachmentKind::object;
        const std::uint64_t stride = words ? 4 : extent.stride;
        const std::size_t bytes = words ? 4 : attachment.element_bytes;
        const FieldKind kind = words ? FieldKind::hex : attachment.element_kind;
        const std::uint64_t count = words ? extent.bytes / 4 : extent.count;
        text = "[";
        for (std::uint64_t i = 0; i < count; ++i) {
            if (i != 0) text += ", ";
            if (i == kElementsShown) {
                text += "...";
                break;
            }
            std::array<std::byte, 128> element{};
            BELFRY_CHECK(bytes <= element.size());
            const std::size_t there = std::min<std::size_t>(bytes, stride);
            if (!read(element.data(), extent.pointer + i * stride, there)) return false;
            const auto object = std::span(element).first(bytes);
            text +=
                attachment.element != nullptr ? fields(*attachment.element, object) : scalar(kind, object);
        }
        text += "]";
        return true;
    }

    const UserMemory& memory_;
    Direction way_;
};

/// What the driver fills in, as far as the table says.
bool is_filled_in(const Ioctl& ioctl, const Field& field) {
    if (field.direction == Direction::out || (_IOC_DIR(ioctl.request) & _IOC_WRITE) == 0) return true;
    return std::ranges::any_of(ioctl.descriptors, [&](const DescriptorField& descriptor) {
        return descriptor.direction == Direction::out && descriptor.offset == field.offset;
    });
}

}  // namespace

RequestText::RequestText(std::uint32_t request, const void* args, const UserMemory& memory)
    : request_(request), args_(reinterpret_cast<std::uint64_t>(args)), memory_(memory) {
    const auto row = find_ioctl(request);
    if (!row) {
        text_ = "ioctl(" + hex(request) + ", " + hex(args_) + ")";
        return;
    }
    ioctl_ = *row;
    const StructLayout& layout = *ioctl_->layout;
    BELFRY_CHECK(layout.bytes <= before_.size());
    text_ = ioctl_->name;
    if (layout.bytes == 0) return;
    bytes_ = ioctl_->by_value ? layout.bytes : std::min(layout.bytes, _IOC_SIZE(request));
    if (!read_struct(before_)) {
        text_ += " " + (args_ == 0 ? "NULL" : hex(args_));
        ioctl_ = nullptr;  // nothing comes back to where there is no memory
        return;
    }
    text_ += " {";
    List list(text_);
    const auto object = std::span(before_).first(layout.bytes);
    const Pointed in(memory_, Direction::in);
    for (const Field& field : layout.fields) {
        const auto bytes = object.subspan(field.offset, field.width);
        if (std::size_t{field.offset} + field.width > bytes_) break;
        if (field.kind == FieldKind::padding && is_zero(bytes)) continue;
        const Attachment* const attachment = attachment_of(layout, field);
        if (attachment != nullptr && goes_in(attachment->direction))
            list.add(field.name, in.text(*attachment, object));
        else if (attachment == nullptr && !is_filled_in(*ioctl_, field))
            list.add(field.name, scalar(field.kind, bytes));
    }
    text_ += "}";
}

bool RequestText::read_struct(std::span<std::byte> to) const {
    if (ioctl_->by_value) {
        std::memcpy(to.data(), &args_, sizeof args_);
        return true;
    }
    return bytes_ == 0 ||
           (args_ != 0 && memory_.read(to.data(), reinterpret_cast<const void*>(args_), bytes_));
}

std::string RequestText::finish(bool succeeded) const {
    if (ioctl_ == nullptr) return text_;
    const StructLayout& layout = *ioctl_->layout;
    std::array<std::byte, std::tuple_size_v<decltype(before_)>> memory{};
    if (!read_struct(memory)) return text_;
    const auto object = std::span<const std::byte>(memory).first(layout.bytes);

    std::string back;
    List list(back);
    const Pointed out(memory_, Direction::out);
    for (const Field& field : layout.fields) {
        if (std::size_t{field.offset} + field.width > bytes_) break;
        const auto now = object.subspan(field.offset, field.width);
        const auto then = std::span(before_).subspan(field.offset, field.width);
        const bool changed = !std::ranges::equal(now, then);
        const Attachment* const attachment = attachment_of(layout, field);
        if (attachment != nullptr && goes_out(attachment->direction))
            list.add(field.name, succeeded ? out.text(*attachment, object)
                                           : hex(unsigned_at(now, 0, sizeof(std::uint64_t))));
        else if (attachment != nullptr && attachment->kind == AttachmentKind::obj_array && changed)
            // How far it came.
            list.add(std::string(field.name) + ".count",
                     std::to_string(unsigned_at(object, attachment->count_offset, 4)));
        else if (attachment == nullptr && (changed || (succeeded && is_filled_in(*ioctl_, field))) &&
                 field.kind != FieldKind::padding)
            list.add(field.name, scalar(field.kind, now));
    }
    return list.empty() ? text_ : text_ + " => {" + back + "}";
}

}  // namespace belfry::uapi
