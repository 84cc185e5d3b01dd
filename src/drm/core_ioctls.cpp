#include "drm/core_ioctls.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <new>
#include <span>
#include <utility>

#include <linux/ioctl.h>

#include "belfry/uapi/dma_buf.h"
#include "belfry/uapi/drm.h"
#include "belfry/uapi/sync_file.h"
#include "drm/gem_ioctls.hpp"
#include "drm/prime.hpp"
#include "drm/sync_file_ioctls.hpp"

namespace belfry::drm {
namespace {

using namespace belfry::uapi;

constexpr auto kInvalid = std::unexpected(Errno::invalid);

/// The version of the interface between core and library that SET_VERSION negotiates.
constexpr std::int32_t kInterfaceMajor = 1;
constexpr std::int32_t kInterfaceMinor = 4;
constexpr std::uint64_t kClientNameBytesMax = 64;

Result<void> get_version(CoreFile& file, Call& call) {
    version(file.device().version, call);
    return {};
}

Result<void> get_cap_of(CoreFile&, Call& call) { return get_cap(call); }

// Those from here to AUTH_MAGIC come through the primary node only: there is a master().

Result<void> get_unique(CoreFile& file, Call& call) {
    auto& args = call.args<drm_unique>();
    const std::string& unique = file.master()->master().unique;
    if (args.unique_len >= unique.size() && !unique.empty() && args.unique != 0)
        std::memcpy(reinterpret_cast<char*>(args.unique), unique.data(), unique.size());
    args.unique_len = unique.size();
    return {};
}

Result<void> get_magic(CoreFile& file, Call& call) {
    const auto magic = file.master()->magic();
    if (!magic) return std::unexpected(magic.error());
    call.args<drm_auth>().magic = *magic;
    return {};
}

Result<void> auth_magic(CoreFile& file, Call& call) {
    return file.master()->authenticate(call.args<drm_auth>().magic);
}

Result<void> get_client(CoreFile& file, Call& call) {
    auto& args = call.args<drm_client>();
    if (args.idx != 0) return kInvalid;
    // The kernel tells who asks; we know who opened.
    args = {.auth = file.master()->authenticated(),
            .pid = static_cast<std::uint64_t>(file.opener().pid),
            .uid = file.opener().uid};
    return {};
}

Result<void> get_stats(CoreFile&, Call& call) {
    call.args<drm_stats>() = {};
    return {};
}

Result<void> set_version(CoreFile& file, Call& call) {
    auto& args = call.args<drm_set_version>();
    const VersionInfo& driver = file.device().version;
    const auto asked = args;
    // The versions that there are come back whatever was asked for.
    args = {.drm_di_major = kInterfaceMajor,
            .drm_di_minor = kInterfaceMinor,
            .drm_dd_major = driver.major,
            .drm_dd_minor = driver.minor};
    constexpr std::int32_t kNotAsked = -1;
    if (asked.drm_di_major != kNotAsked) {
        if (asked.drm_di_major != kInterfaceMajor || asked.drm_di_minor < 0 ||
            asked.drm_di_minor > kInterfaceMinor)
            return kInvalid;
        if (asked.drm_di_minor >= 1) file.master()->master().unique = file.device().unique;
    }
    if (asked.drm_dd_major != kNotAsked &&
        (asked.drm_dd_major != driver.major || asked.drm_dd_minor < 0 || asked.drm_dd_minor > driver.minor))
        return kInvalid;
    return {};
}

Result<void> set_master(CoreFile& file, Call&) { return file.master()->set_master(); }
Result<void> drop_master(CoreFile& file, Call&) { return file.master()->drop_master(); }

Result<void> not_supported(CoreFile&, Call&) { return std::unexpected(Errno::not_supported); }

/// For fdinfo and debugfs, which Belfry has not: checked, and not kept.
Result<void> set_client_name(CoreFile&, Call& call) {
    const auto& args = call.args<drm_set_client_name>();
    if (args.name_len > kClientNameBytesMax) return kInvalid;
    if (args.name_len == 0) return {};
    if (args.name == 0) return std::unexpected(Errno::fault);
    const std::span name(reinterpret_cast<const char*>(args.name), args.name_len);
    const bool graphic = std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
    return graphic ? Result<void>() : kInvalid;
}

/// Who may ask. What is not for render nodes is for the primary node alone.
enum Rule : unsigned { kRender = 1, kAuth = 2, kMaster = 4 };

/// Answers by its result.
using Handler = Result<void> (*)(CoreFile&, Call&);
/// Answers by itself, perhaps later.
using Deferring = void (*)(CoreFile&, const std::shared_ptr<Call>&);
struct Row {
    std::uint32_t request = 0;
    unsigned rules = 0;
    Handler handler = nullptr;
    Deferring deferring = nullptr;
};

// clang-format off
constexpr Row kRows[] = {
    {DRM_IOCTL_VERSION,             kRender,    get_version},
    {DRM_IOCTL_GET_UNIQUE,          0,          get_unique},
    {DRM_IOCTL_GET_MAGIC,           0,          get_magic},
    {DRM_IOCTL_GET_CLIENT,          0,          get_client},
    {DRM_IOCTL_GET_STATS,           0,          get_stats},
    {DRM_IOCTL_SET_VERSION,         kMaster,    set_version},
    {DRM_IOCTL_GEM_CLOSE,           kRender,    gem_close},
    {DRM_IOCTL_GEM_FLINK,           kAuth,      gem_flink},
    {DRM_IOCTL_GEM_OPEN,            kAuth,      gem_open},
    {DRM_IOCTL_GET_CAP,             kRender,    get_cap_of},
    {DRM_IOCTL_SET_CLIENT_CAP,      0,          not_supported},
    {DRM_IOCTL_AUTH_MAGIC,          kMaster,    auth_magic},
    {DRM_IOCTL_SET_MASTER,          0,          set_master},
    {DRM_IOCTL_DROP_MASTER,         0,          drop_master},
    {DRM_IOCTL_PRIME_HANDLE_TO_FD,  kRender,    nullptr,            prime_handle_to_fd},
    {DRM_IOCTL_PRIME_FD_TO_HANDLE,  kRender,    prime_fd_to_handle},
    {DRM_IOCTL_SET_CLIENT_NAME,     kRender,    set_client_name},
    {DRM_IOCTL_GEM_CHANGE_HANDLE,   kRender,    gem_change_handle},
};
// clang-format on
/// Stands for all requests that want modesetting: panthor has none.
constexpr Row kModesetting = {0, 0, not_supported};

/// WAIT_VBLANK and its successors, MODE_* and the leases between them: everything behind the drivers' numbers
/// but syncobjs.
bool is_modesetting(std::uint32_t request) {
    const unsigned nr = _IOC_NR(request);
    const bool syncobj = (nr >= 0xbf && nr <= 0xc5) || (nr >= 0xca && nr <= 0xcd) || nr == 0xcf;
    return (nr >= 0x3a && nr <= 0x3c) || (nr >= BELFRY_DRM_COMMAND_END && nr <= 0xd0 && !syncobj);
}

const Row* find_row(std::uint32_t request) {
    const auto* const row = std::ranges::find(kRows, request, &Row::request);
    if (row != std::end(kRows)) return row;
    return is_modesetting(request) ? &kModesetting : nullptr;
}

bool permitted(CoreFile& file, const Row& row) {
    MasterFile* const master = file.master();
    if (master == nullptr) return (row.rules & kRender) != 0;
    if ((row.rules & kAuth) != 0 && !master->authenticated()) return false;
    return (row.rules & kMaster) == 0 || master->is_current_master();
}

}  // namespace

/// Buffers that somebody waits for, each held from the moment that it is there.
class CoreFile::AwaitedBuffers {
  public:
    AwaitedBuffers(CoreFile& in, WhenResident go) : in_(in), go_(std::move(go)) {}

    /// True if all are there.
    bool take(const std::vector<BufferPtr>& buffers) {
        bool all = true;
        for (const BufferPtr& buffer : buffers) all &= holds_.emplace_back([this] { look(); }).take(buffer);
        return all;
    }
    void go() { go_({}); }

  private:
    void look() {
        if (std::ranges::any_of(holds_, &Hold::waits)) return;
        const bool failed = std::ranges::any_of(holds_, &Hold::failed);
        const auto here = std::ranges::find(in_.awaited_, this, &std::unique_ptr<AwaitedBuffers>::get);
        const auto self = std::move(*here);  // last of all the holds go
        in_.awaited_.erase(here);
        go_(failed ? std::unexpected(Errno::io) : Result<void>());
    }

    CoreFile& in_;
    WhenResident go_;
    std::list<Hold> holds_;
};

CoreFile::~CoreFile() = default;

void CoreFile::when_resident(const std::vector<BufferPtr>& buffers, WhenResident go) {
    auto awaited = std::make_unique<AwaitedBuffers>(*this, std::move(go));
    if (awaited->take(buffers))
        awaited->go();
    else
        awaited_.push_back(std::move(awaited));
}

CoreFile::CoreFile(Device& device, NodeKind kind, const Opener& opener)
    : device_(device), opener_(opener), buffers_(device.buffer_names) {
    if (kind == NodeKind::primary) master_.emplace(device.masters, opener);
}

bool core_ioctl(CoreFile& file, const std::shared_ptr<Call>& call) {
    if (_IOC_TYPE(call->request()) == BELFRY_DMA_BUF_IOCTL_BASE) {
        dma_buf_ioctl(file, call);
        return true;
    }
    if (_IOC_TYPE(call->request()) == BELFRY_SYNC_FILE_IOCTL_BASE) {
        sync_file_ioctl(file.device().exports, file.device().fence_contexts, call);
        return true;
    }
    if (_IOC_TYPE(call->request()) != BELFRY_DRM_IOCTL_BASE) return false;
    const Row* const row = find_row(call->request());
    if (row == nullptr) return false;
    Result<void> result = std::unexpected(Errno::access);
    try {
        const bool may = permitted(file, *row);
        if (may && row->deferring != nullptr) {
            row->deferring(file, call);
            return true;
        }
        if (may) result = row->handler(file, *call);
    } catch (const std::bad_alloc&) {
        result = std::unexpected(Errno::no_memory);
    }
    call->complete(result);
    return true;
}

}  // namespace belfry::drm
