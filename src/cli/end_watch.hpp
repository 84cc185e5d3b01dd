// EndWatch: hears from belfryd which groups of the programs that this process runs have ended, and why.
//
// Owns   a connection to the door beside belfryd's socket (src/server/end_reports.hpp says its rules).
// Called by `belfry run`.
#pragma once

#include <string>

#include "base/fd.hpp"

namespace belfry::cli {

class EndWatch {
  public:
    /// Watches what is started from now on. A belfryd without such a door, as one behind a kernel's node, is
    /// not watched.
    explicit EndWatch(const std::string& socket_path);
    /// Readable when there is something to say; -1: never.
    [[nodiscard]] int fd() const { return connection_.get(); }
    /// Says what has come, on standard error.
    void say_what_came();
    /// No program runs any more: says what is left.
    void finish();

  private:
    /// False: nothing more comes for now, or ever.
    bool say_one(int flags);
    base::Fd connection_;
};

}  // namespace belfry::cli
