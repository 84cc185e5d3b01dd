// BackingFile: where the buffers are that belfryd's memory budget has no room for.
//
// Owns    an unlinked temporary file, in which a buffer lies at its mmap offset (the device gives each place
// to
//         one buffer at a time), and the thread that copies.
// Runs    called in the driver actor. The copying is done on a thread of its own, in the order in which it
// was
//         asked, and its end is told on the thread of the io_context, which outlives this.
// Called  by drm::Residency.
//
// Only what was ever written is copied: a memfd knows its holes. On disk the file takes what is evicted at
// the moment.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include <asio/io_context.hpp>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "drm/residency.hpp"

namespace belfry::server {

class BackingFile final : public drm::BackingStore {
  public:
    struct Hooks {
        std::function<void()> before_each;  ///< before each end that is told
        std::function<void()> after_each;   ///< after it
    };
    /// A file without a name, in $TMPDIR or else in /var/tmp. The error is a sentence.
    static std::expected<base::Fd, std::string> make_file();
    BackingFile(asio::io_context& io, base::Fd file, Hooks hooks);
    ~BackingFile() override { stop(); }
    BackingFile(const BackingFile&) = delete;
    BackingFile& operator=(const BackingFile&) = delete;

    void evict(drm::Transfer& transfer) override { ask(transfer); }
    void restore(drm::Transfer& transfer) override { ask(transfer); }
    void forget(const drm::Buffer& buffer) override;
    /// Drops what it was asked. Nothing is told from here on.
    void stop();

  private:
    struct Done {
        drm::Transfer& transfer;
        base::Result<void> result;
    };
    struct Range {
        std::uint64_t place;
        std::uint64_t bytes;
    };

    void ask(drm::Transfer& transfer);
    void tell();
    void say_why(const drm::Transfer& transfer, base::Errno why);
    // The thread's. A buffer on its way is nobody else's.
    void run();
    [[nodiscard]] base::Result<void> move_out(const drm::Buffer& buffer) const;
    [[nodiscard]] base::Result<void> move_in(const drm::Buffer& buffer) const;

    asio::io_context& io_;
    base::Fd file_;
    Hooks hooks_;
    bool said_full_ = false;
    std::mutex mutex_;
    std::condition_variable more_;
    // Under the mutex:
    boost::intrusive::list<drm::Transfer> asked_;
    std::deque<Range> forgotten_;  // done first: a place is given to another buffer once it is forgotten
    std::deque<Done> done_;
    bool stops_ = false;
    std::thread thread_;  // last: it uses all of the above
};

}  // namespace belfry::server
