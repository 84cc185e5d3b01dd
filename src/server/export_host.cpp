#include "server/export_host.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace belfry::server {

namespace {

constexpr std::chrono::nanoseconds kFirstDelay = std::chrono::milliseconds(1);

/// Whether a file of the memfd's inode is open anywhere, `memory` itself not counted. Takes and gives up a
/// lease on one that is opened for that, which is granted if it is the only one, readers included. It is
/// read-only, so that its own end is no event.
bool is_open_elsewhere(int memory) {
    const std::string path = "/proc/self/fd/" + std::to_string(memory);
    const base::Fd probe(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    return !probe || ::fcntl(probe.get(), F_SETLEASE, F_WRLCK) != 0;
}

/// Gives `descriptor` its owner and the event loop's attention. False if there is no memory for that.
bool watch(asio::posix::stream_descriptor& descriptor, base::Fd fd) {
    asio::error_code failed;
    descriptor.assign(fd.get(), failed);
    if (failed) return false;
    [[maybe_unused]] const int owned_by_asio = fd.release();
    return true;
}

}  // namespace

ExportHost::ExportHost(asio::io_context& io, Hooks hooks) : io_(io), hooks_(std::move(hooks)), inotify_(io) {
    // Without one (a user may have 128) there are tokens, but no dma-bufs.
    base::Fd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (inotify && watch(inotify_, std::move(inotify))) await_files_closed();
}

// ---- Tokens

drm::Result<ExportHost::Token> ExportHost::make_token() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return base::last_error();
    base::Fd read_end(ends[0]);
    base::Fd write_end(ends[1]);
    // One page instead of 16: all pipes of a user share a limit, and those beyond it are made by root alone.
    ::fcntl(write_end.get(), F_SETPIPE_SZ, 1);
    const auto inode = drm::inode_of(read_end.get());
    if (!inode) return std::unexpected(inode.error());
    // The kernel's counter of pipe inodes has 32 bits: it may come round.
    if (tokens_.contains(*inode)) return std::unexpected(drm::Errno::too_many_files);

    asio::posix::stream_descriptor watched(io_);
    if (!watch(watched, std::move(write_end))) return std::unexpected(drm::Errno::no_memory);
    auto& token = tokens_.emplace(*inode, std::move(watched)).first->second;
    token.async_wait(asio::posix::stream_descriptor::wait_error,
                     [this, inode = *inode](const asio::error_code& cancelled) {
                         if (cancelled) return;
                         hooks_.before_each();
                         token_closed(inode);
                         hooks_.after_each();
                     });
    return Token{.fd = std::move(read_end), .inode = *inode};
}

void ExportHost::signal_token(drm::Inode token) {
    const auto found = tokens_.find(token);
    if (found == tokens_.end()) return;
    // Does not block, should a client have found a way to fill the pipe: then it is readable already.
    const char byte = 0;
    [[maybe_unused]] const auto written = ::write(found->second.native_handle(), &byte, 1);
}

void ExportHost::token_closed(drm::Inode inode) {
    const auto gone = tokens_.extract(inode);  // its write end is closed after `closed_`
    closed_(inode);
}

// ---- Memory

drm::Result<base::Fd> ExportHost::open_memory(int memory) {
    if (!inotify_.is_open()) return std::unexpected(drm::Errno::too_many_files);
    const auto inode = drm::inode_of(memory);
    if (!inode) return std::unexpected(inode.error());
    const std::string path = "/proc/self/fd/" + std::to_string(memory);
    // Before the file is open: it may be closed at any time. The watch of an inode that has one is the same
    // again.
    const int watch = ::inotify_add_watch(inotify_.native_handle(), path.c_str(), IN_CLOSE_WRITE);
    if (watch < 0) return std::unexpected(drm::Errno::no_memory);
    const auto [entry, is_first] = memories_.try_emplace(
        watch, Memory{.inode = *inode, .fd = memory, .look_again = asio::steady_timer(io_)});
    // O_NONBLOCK, because open() waits for a minute if a client has a lease on the memory.
    base::Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!file) {
        const auto failed = base::last_error();
        if (is_first) forget(entry);
        return failed;
    }
    ::fcntl(file.get(), F_SETFL, 0);
    return file;
}

void ExportHost::forget(Memories::iterator memory) {
    ::inotify_rm_watch(inotify_.native_handle(), memory->first);
    memories_.erase(memory);
}

void ExportHost::await_files_closed() {
    inotify_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& cancelled) {
        if (cancelled) return;
        hooks_.before_each();
        read_files_closed();
        hooks_.after_each();
        await_files_closed();
    });
}

void ExportHost::read_files_closed() {
    alignas(inotify_event) std::array<char, 4096> events{};
    const auto bytes = ::read(inotify_.native_handle(), events.data(), events.size());
    // No name follows an event: what is watched is no directory.
    for (std::size_t at = 0; std::cmp_less(at, bytes); at += sizeof(inotify_event)) {
        inotify_event event{};
        std::memcpy(&event, &events[at], sizeof event);
        if ((event.mask & IN_CLOSE_WRITE) != 0) file_closed(event.wd);
        if ((event.mask & IN_Q_OVERFLOW) == 0) continue;
        // Events were lost, of whichever memory.
        std::vector<int> watches;
        watches.reserve(memories_.size());
        for (const auto& [watch, memory] : memories_) watches.push_back(watch);
        std::ranges::for_each(watches, [this](int watch) { file_closed(watch); });
    }
}

void ExportHost::file_closed(int watch) {
    const auto found = memories_.find(watch);
    if (found == memories_.end()) return;
    found->second.next_delay = kFirstDelay;
    look(watch);
}

void ExportHost::look(int watch) {
    const auto found = memories_.find(watch);
    if (found == memories_.end()) return;
    Memory& memory = found->second;
    if (!is_open_elsewhere(memory.fd)) {
        const drm::Inode inode = memory.inode;
        forget(found);
        closed_(inode);
        return;
    }
    // Others have it, or this file still counts: a file that is being closed says so first. Nothing tells
    // when it has ceased to count, so each look is followed by one after twice the time: the end is seen when
    // at most twice the time has passed, for few looks.
    memory.look_again.expires_after(memory.next_delay);
    memory.look_again.async_wait([this, watch](const asio::error_code& cancelled) {
        if (cancelled) return;
        hooks_.before_each();
        look(watch);
        hooks_.after_each();
    });
    memory.next_delay *= 2;
}

}  // namespace belfry::server
