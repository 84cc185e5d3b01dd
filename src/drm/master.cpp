#include "drm/master.hpp"

#include <utility>

namespace belfry::drm {

MasterFile::MasterFile(Masters& masters, const Opener& opener)
    : masters_(masters),
      master_(masters.current_),
      may_admin_(opener.may_admin),
      authenticated_(opener.may_admin) {
    if (master_ == nullptr) become_new_master();
}

MasterFile::~MasterFile() {
    forget_magic();
    if (is_current_master()) masters_.current_ = nullptr;
}

void MasterFile::become_new_master() {
    auto master = std::make_shared<Master>();
    if (master_ != nullptr) forget_magic();
    master_ = std::move(master);
    is_master_ = true;
    was_master_ = true;
    authenticated_ = true;
    masters_.current_ = master_;
}

void MasterFile::forget_magic() {
    if (magic_ != 0) master_->magics.remove(std::exchange(magic_, 0));
}

Result<void> MasterFile::set_master() {
    if (!may_change_master()) return std::unexpected(Errno::access);
    if (is_current_master()) return {};
    if (masters_.current_ != nullptr) return std::unexpected(Errno::busy);
    if (is_master_)
        masters_.current_ = master_;
    else
        become_new_master();
    return {};
}

Result<void> MasterFile::drop_master() {
    if (!may_change_master()) return std::unexpected(Errno::access);
    if (!is_current_master()) return std::unexpected(Errno::invalid);
    masters_.current_ = nullptr;
    return {};
}

Result<std::uint32_t> MasterFile::magic() {
    if (magic_ == 0) {
        const auto magic = master_->magics.insert(this);
        if (!magic) return magic;
        magic_ = *magic;
    }
    return magic_;
}

Result<void> MasterFile::authenticate(std::uint32_t magic) {
    MasterFile** const file = master_->magics.find(magic);
    if (file == nullptr || *file == nullptr) return std::unexpected(Errno::invalid);
    std::exchange(*file, nullptr)->authenticated_ = true;
    return {};
}

}  // namespace belfry::drm
