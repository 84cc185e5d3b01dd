// Masters: who is master of a primary node, and whom a master vouches for.
//
// Owns    a Master is shared by the files that were opened while it was current; Masters knows the current
//         one. A MasterFile is part of an open file of the primary node.
// Runs    in the driver actor.
// Called  by the core requests (drm/core_ioctls.cpp).
// Why so  masters decide over display, of which there is none. But they also authenticate, and may have high
//         priorities, and programs test for all of it. The rules are the kernel's (facts/uapi.md 4.1).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "drm/handles.hpp"
#include "drm/node.hpp"

namespace belfry::drm {

class MasterFile;

struct Master {
    /// Who has a magic; null for one that was used up. A magic stays taken as long as its file is open.
    HandleTable<MasterFile*> magics;
    /// GET_UNIQUE's answer; empty until SET_VERSION.
    std::string unique;
};

/// One for a device; outlives its files.
class Masters {
  private:
    friend class MasterFile;
    std::shared_ptr<Master> current_;
};

class MasterFile {
  public:
    /// The first to open becomes master.
    MasterFile(Masters& masters, const Opener& opener);
    MasterFile(const MasterFile&) = delete;
    MasterFile& operator=(const MasterFile&) = delete;
    /// A master that closes leaves nobody in its place.
    ~MasterFile();

    [[nodiscard]] bool authenticated() const { return authenticated_; }
    [[nodiscard]] bool is_current_master() const { return is_master_ && master_ == masters_.current_; }

    /// EACCES: neither root nor ever a master; EBUSY: there is one.
    [[nodiscard]] Result<void> set_master();
    /// EACCES as above; EINVAL: not the master.
    [[nodiscard]] Result<void> drop_master();

    /// The same for each call. ENOMEM.
    [[nodiscard]] Result<std::uint32_t> magic();
    /// Vouches for the file with this magic. EINVAL: there is none, or somebody has already.
    [[nodiscard]] Result<void> authenticate(std::uint32_t magic);

    [[nodiscard]] Master& master() const { return *master_; }

  private:
    void become_new_master();
    void forget_magic();
    [[nodiscard]] bool may_change_master() const { return was_master_ || may_admin_; }

    Masters& masters_;
    std::shared_ptr<Master> master_;
    bool may_admin_;
    bool authenticated_;
    bool is_master_ = false;   // master_ is this file's own
    bool was_master_ = false;  // at any time
    std::uint32_t magic_ = 0;
};

}  // namespace belfry::drm
