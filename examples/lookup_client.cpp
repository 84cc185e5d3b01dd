// Asks a lookup server (uring_server.cpp, asio_server.cpp) from many connections at once, and checks each
// reply.
//
//   lookup_client SOCKET [REQUESTS [CONNECTIONS [BAD [HANGUPS]]]]
//
// BAD: every so manieth request names an index that does not exist; its reply must be an error, and no other
// one. HANGUPS: after every so manieth request its connection hangs up and is replaced; the request does not
// count. 0: none.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lookup.hpp"

namespace {

using lookup::Reply;
using lookup::Request;

struct Load {
    std::uint32_t requests = 100'000;
    std::uint32_t connections = 64;
    std::uint32_t bad = 0;
    std::uint32_t hangups = 0;
};

int connect_to(const char* path) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    std::fprintf(stderr, "lookup_client: %s: %s\n", path, std::strerror(errno));
    std::exit(EXIT_FAILURE);
}

bool every(std::uint32_t period, std::uint32_t count) { return period != 0 && count % period == period - 1; }

class Client {
  public:
    Client(const char* path, const Load& load) : path_(path), load_(load), asked_(load.connections) {
        for (std::uint32_t i = 0; i < load.connections; ++i)
            polls_.push_back({.fd = connect_to(path), .events = POLLIN, .revents = 0});
    }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client() = default;

    /// True if each request has had its one right reply.
    bool run() {
        for (std::size_t i = 0; i < polls_.size(); ++i) ask(i);
        while (pending_ != 0 && ::poll(polls_.data(), polls_.size(), -1) > 0)
            for (std::size_t i = 0; i < polls_.size(); ++i)
                if (polls_[i].revents != 0) answered(i);
        const std::uint32_t counted = sent_ - hung_up_;
        std::printf("%u requests, %u right replies, %u of them errors, %u wrong, %u lost, %u hung up\n",
                    counted, right_, errors_, wrong_, counted - right_ - wrong_, hung_up_);
        return right_ == counted;
    }

  private:
    /// Sends the next request, if there is one.
    void ask(std::size_t i) {
        while (sent_ < load_.requests) {
            const std::uint32_t id = sent_++;
            const bool bad = every(load_.bad, id);
            asked_[i] = {.id = id, .index = bad ? lookup::kEntries + id : id % lookup::kEntries};
            const bool out = ::send(polls_[i].fd, &asked_[i], sizeof(Request), MSG_NOSIGNAL) ==
                             static_cast<ssize_t>(sizeof(Request));
            if (out && !every(load_.hangups, id)) {
                ++pending_;
                return;
            }
            if (out) ++hung_up_;
            ::close(polls_[i].fd);
            polls_[i].fd = connect_to(path_);
        }
        ::close(polls_[i].fd);
        polls_[i].fd = -1;  // poll leaves it out
    }

    void answered(std::size_t i) {
        Reply reply{};
        const auto got = ::recv(polls_[i].fd, &reply, sizeof reply, MSG_WAITALL);
        --pending_;
        if (got != static_cast<ssize_t>(sizeof reply)) {  // the server has closed it: lost
            ::close(polls_[i].fd);
            polls_[i].fd = connect_to(path_);
            return ask(i);
        }
        const Request& request = asked_[i];
        const bool bad = request.index >= lookup::kEntries;
        const bool as_it_should =
            bad ? reply.error == EFAULT : reply.error == 0 && reply.value == lookup::entry(request.index);
        if (reply.id == request.id && as_it_should) {
            ++right_;
            if (bad) ++errors_;
        } else {
            ++wrong_;
        }
        ask(i);
    }

    const char* path_;
    Load load_;
    std::vector<pollfd> polls_;
    std::vector<Request> asked_;  // by connection: the request that it waits for
    std::uint32_t sent_ = 0;
    std::uint32_t pending_ = 0;
    std::uint32_t hung_up_ = 0;
    std::uint32_t right_ = 0;
    std::uint32_t errors_ = 0;
    std::uint32_t wrong_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: lookup_client SOCKET [REQUESTS [CONNECTIONS [BAD [HANGUPS]]]]\n");
        return EXIT_FAILURE;
    }
    Load load;
    const std::array<std::uint32_t*, 4> numbers{&load.requests, &load.connections, &load.bad, &load.hangups};
    for (std::size_t i = 0; i < numbers.size() && i + 2 < static_cast<std::size_t>(argc); ++i)
        *numbers[i] = static_cast<std::uint32_t>(std::strtoul(argv[i + 2], nullptr, 10));
    return Client(argv[1], load).run() ? EXIT_SUCCESS : EXIT_FAILURE;
}
