#include "server/backing_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <asio/post.hpp>

#include "base/file.hpp"
#include "base/signalling.hpp"

namespace belfry::server {
namespace {

using base::Errno;
using base::Result;

/// Gives back what a file takes from `from` on.
Result<void> punch(int file, std::uint64_t from, std::uint64_t bytes) {
    if (::fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from),
                    static_cast<off_t>(bytes)) != 0)
        return base::last_error();
    return {};
}

/// Calls `copy(offset, bytes)` for each piece of [from, from + bytes) that was written; offsets from `from`
/// on.
template <typename Copy>
Result<void> for_each_piece(int file, std::uint64_t from, std::uint64_t bytes, Copy copy) {
    const std::uint64_t end = from + bytes;
    for (std::uint64_t at = from; at < end;) {
        const off_t data = ::lseek(file, static_cast<off_t>(at), SEEK_DATA);
        if (data < 0 && errno == ENXIO) break;  // nothing up to its end
        if (data < 0) return base::last_error();
        const off_t hole = ::lseek(file, data, SEEK_HOLE);
        if (hole < 0) return base::last_error();
        const auto begin = static_cast<std::uint64_t>(data);
        if (begin >= end) break;
        at = std::min(end, static_cast<std::uint64_t>(hole));
        if (const auto copied = copy(begin - from, at - begin); !copied) return copied;
    }
    return {};
}

}  // namespace

std::expected<base::Fd, std::string> BackingFile::make_file() {
    const std::string directory = base::large_file_directory();
    base::Fd file = base::make_unnamed_file(directory);
    if (!file)
        return std::unexpected("cannot make the file for evicted memory in '" + directory +
                               "': " + std::strerror(errno));
    return file;
}

BackingFile::BackingFile(asio::io_context& io, base::Fd file, Hooks hooks)
    : io_(io), file_(std::move(file)), hooks_(std::move(hooks)), thread_([this] { run(); }) {}

void BackingFile::stop() {
    if (!thread_.joinable()) return;
    {
        const std::scoped_lock lock(mutex_);
        stops_ = true;
    }
    more_.notify_one();
    thread_.join();
    asked_.clear();
    done_.clear();
}

/// May be on a signalling path: allocates nothing, and waits only for the thread to take its next piece of
/// work.
void BackingFile::ask(drm::Transfer& transfer) {
    {
        const std::scoped_lock lock(mutex_);
        asked_.push_back(transfer);
    }
    more_.notify_one();
}

void BackingFile::forget(const drm::Buffer& buffer) {
    const base::OffSignallingPath giving_back;  // for which nobody waits
    {
        const std::scoped_lock lock(mutex_);
        forgotten_.push_back({.place = buffer.mmap_offset(), .bytes = buffer.size()});
    }
    more_.notify_one();
}

void BackingFile::tell() {
    for (;;) {
        std::unique_lock lock(mutex_);
        if (done_.empty()) return;
        const Done done = done_.front();
        done_.pop_front();
        lock.unlock();
        if (!done.result) say_why(done.transfer, done.result.error());
        hooks_.before_each();
        done.transfer.done(done.result);
        hooks_.after_each();
    }
}

void BackingFile::say_why(const drm::Transfer& transfer, Errno why) {
    const char* const text = std::strerror(static_cast<int>(why));
    if (transfer.buffer().residence.state() == drm::ResidencyState::restoring)
        spdlog::error("{} bytes of evicted memory cannot be read back: {}", transfer.buffer().size(), text);
    else if (!std::exchange(said_full_, true))
        spdlog::warn("memory cannot be evicted: {}; --memory is exceeded instead", text);
}

void BackingFile::run() {
    ::pthread_setname_np(::pthread_self(), "backing file");
    std::unique_lock lock(mutex_);
    for (;;) {
        more_.wait(lock, [this] { return stops_ || !asked_.empty() || !forgotten_.empty(); });
        if (stops_) return;
        if (!forgotten_.empty()) {
            const Range range = forgotten_.front();
            forgotten_.pop_front();
            lock.unlock();
            static_cast<void>(punch(file_.get(), range.place, range.bytes));
            lock.lock();
            continue;
        }
        drm::Transfer& transfer = asked_.front();
        asked_.pop_front();
        lock.unlock();
        const drm::Buffer& buffer = transfer.buffer();
        const bool out = buffer.residence.state() == drm::ResidencyState::evicting;
        const auto result = out ? move_out(buffer) : move_in(buffer);
        lock.lock();
        done_.push_back({.transfer = transfer, .result = result});
        asio::post(io_, [this] { tell(); });
    }
}

Result<void> BackingFile::move_out(const drm::Buffer& buffer) const {
    const std::uint64_t place = buffer.mmap_offset();
    auto moved = for_each_piece(buffer.fd(), 0, buffer.size(), [&](std::uint64_t at, std::uint64_t bytes) {
        return base::write_all(file_.get(), buffer.data() + at, bytes, place + at);
    });
    if (moved) moved = punch(buffer.fd(), 0, buffer.size());
    if (!moved) static_cast<void>(punch(file_.get(), place, buffer.size()));
    return moved;
}

Result<void> BackingFile::move_in(const drm::Buffer& buffer) const {
    const std::uint64_t place = buffer.mmap_offset();
    auto moved =
        for_each_piece(file_.get(), place, buffer.size(), [&](std::uint64_t at, std::uint64_t bytes) {
            return base::read_all(file_.get(), buffer.data() + at, bytes, place + at);
        });
    if (moved)
        static_cast<void>(punch(file_.get(), place, buffer.size()));
    else
        static_cast<void>(punch(buffer.fd(), 0, buffer.size()));
    return moved;
}

}  // namespace belfry::server
