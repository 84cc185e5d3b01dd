#include "drm/exports.hpp"

#include <algorithm>
#include <utility>

#include <sys/stat.h>

#include "base/check.hpp"

namespace belfry::drm {

Result<Inode> inode_of(int fd) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) return base::last_error();
    return Inode{.device = status.st_dev, .number = status.st_ino};
}

SyncFile::SyncFile(ExportHost& host, Inode inode, FencePtr fence, std::string name)
    : fence_(std::move(fence)),
      name_(std::move(name)),
      signalled_([this] { host_.signal_token(inode_); }),
      host_(host),
      inode_(inode) {
    if (!fence_->add_callback(signalled_)) host_.signal_token(inode_);
}

Exports::Exports(ExportHost& host) : host_(host) {
    host_.on_last_closed([this](Inode inode) {
        const auto gone = objects_.extract(inode);  // dies when the table no longer knows it
        if (const auto* const buffer = gone ? std::get_if<BufferPtr>(&gone.mapped()) : nullptr)
            (*buffer)->residence.set_open(false);
    });
}

Result<base::Fd> Exports::export_fence(FencePtr fence, std::string name) {
    auto token = host_.make_token();
    if (!token) return std::unexpected(token.error());
    if (name.empty()) {
        const FenceNames names = fence->names();
        name.append(names.driver).append("-").append(names.timeline);
        name += std::to_string(fence->context()) + "-" + std::to_string(fence->seqno());
    }
    name.resize(std::min<std::size_t>(name.size(), 31));
    objects_.insert_or_assign(
        token->inode, std::make_unique<SyncFile>(host_, token->inode, std::move(fence), std::move(name)));
    return std::move(token->fd);
}

Result<base::Fd> Exports::export_syncobj(SyncobjPtr syncobj) {
    auto token = host_.make_token();
    if (!token) return std::unexpected(token.error());
    objects_.insert_or_assign(token->inode, std::move(syncobj));
    return std::move(token->fd);
}

Result<base::Fd> Exports::open_buffer(BufferPtr buffer) {
    BELFRY_CHECK(buffer->residence.resident());
    if (const auto may = buffer->residence.check_open(); !may) return std::unexpected(may.error());
    auto file = host_.open_memory(buffer->fd());
    if (!file) return std::unexpected(file.error());
    const auto inode = inode_of(file->get());
    if (!inode) return std::unexpected(inode.error());
    buffer->residence.set_open(true);
    objects_.insert_or_assign(*inode, std::move(buffer));
    return std::move(*file);
}

template <typename Kind>
const Kind* Exports::find(const base::Fd& fd) const {
    const auto inode = inode_of(fd.get());
    const auto found = inode ? objects_.find(*inode) : objects_.end();
    return found != objects_.end() ? std::get_if<Kind>(&found->second) : nullptr;
}

SyncFile* Exports::find_sync_file(const base::Fd& fd) const {
    const auto* const file = find<std::unique_ptr<SyncFile>>(fd);
    return file != nullptr ? file->get() : nullptr;
}

SyncobjPtr Exports::find_syncobj(const base::Fd& fd) const {
    const auto* const syncobj = find<SyncobjPtr>(fd);
    return syncobj != nullptr ? *syncobj : nullptr;
}

BufferPtr Exports::find_buffer(const base::Fd& fd) const {
    const auto* const buffer = find<BufferPtr>(fd);
    return buffer != nullptr ? *buffer : nullptr;
}

}  // namespace belfry::drm
