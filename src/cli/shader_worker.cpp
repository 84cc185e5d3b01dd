#include "cli/shader_worker.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/failure.hpp"
#include "cli/measure.hpp"

namespace belfry::cli {
namespace {

void run_once(VulkanDevice& device, const PreparedWork& work) {
    if (const VkResult result = device.submit_and_wait(&*work.commands); result != VK_SUCCESS)
        throw VulkanError(fmt::format("a dispatch on {} ended with VkResult {}",
                                      device.properties().deviceName, static_cast<int>(result)),
                          result);
}

[[noreturn]] void execute(const std::vector<std::string>& command,
                          const std::vector<std::pair<std::string, std::string>>& variables) {
    for (const auto& [name, value] : variables) {
        if (value.empty())
            ::unsetenv(name.c_str());
        else
            ::setenv(name.c_str(), value.c_str(), 1);
    }
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    ::execv(words[0], words.data());
    ::_exit(EXIT_FAILURE);
}

}  // namespace

int work_on_shaders(bool cpu) {
    VulkanDevice device({.prefer_cpu = cpu});
    std::optional<PreparedWork> work;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string verb;
        std::string argument;
        words >> verb >> argument;
        if (verb == "device") {
            std::cout << device.properties().deviceName << '\n';
        } else if (verb == "prepare") {
            work.reset();
            for (const ShaderWork& each : shader_works())
                if (argument == each.name) work.emplace(each.prepare(device));
            if (!work) throw Failure{fmt::format("no work '{}'", argument)};
            device.finish(*work->commands);
            run_once(device, *work);
            const auto result = work->buffers.front().bytes;
            std::cout << result.size() << '\n';
            std::cout.write(reinterpret_cast<const char*>(result.data()),
                            static_cast<std::streamsize>(result.size()));
        } else if (verb == "run" && work) {
            const unsigned long count = std::stoul(argument);
            const Stopwatch watch;
            for (unsigned long i = 0; i < count; ++i) run_once(device, *work);
            std::cout << static_cast<std::uint64_t>(watch.elapsed_ns()) << '\n';
        } else {
            throw Failure{fmt::format("not understood: {}", line)};
        }
        std::cout.flush();
    }
    return EXIT_SUCCESS;
}

ShaderWorker::ShaderWorker(std::vector<std::string> command,
                           std::vector<std::pair<std::string, std::string>> variables) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        throw Failure{fmt::format("cannot make a socket: {}", std::strerror(errno))};
    socket_ = base::Fd(ends[0]);
    const base::Fd theirs(ends[1]);
    process_ = ::fork();
    if (process_ < 0) throw Failure{fmt::format("cannot start a process: {}", std::strerror(errno))};
    if (process_ == 0) {
        ::dup2(theirs.get(), STDIN_FILENO);
        ::dup2(theirs.get(), STDOUT_FILENO);
        execute(command, variables);
    }
}

ShaderWorker::~ShaderWorker() {
    socket_ = {};  // it reads an end of file, and leaves
    if (process_ > 0) ::waitpid(process_, nullptr, 0);
}

std::string ShaderWorker::device() { return ask("device"); }

std::vector<std::byte> ShaderWorker::prepare(const ShaderWork& work) {
    std::vector<std::byte> result(std::stoul(ask(fmt::format("prepare {}", work.name))));
    receive(result);
    return result;
}

double ShaderWorker::run_ns(unsigned count) { return std::stod(ask(fmt::format("run {}", count))); }

std::string ShaderWorker::ask(const std::string& line) {
    const std::string sent = line + "\n";
    // One who has ended is found by the missing answer.
    [[maybe_unused]] const auto ignored = ::send(socket_.get(), sent.data(), sent.size(), MSG_NOSIGNAL);
    std::string answer;
    for (std::byte byte{};;) {
        receive({&byte, 1});
        if (byte == std::byte{'\n'}) return answer;
        answer += static_cast<char>(byte);
    }
}

void ShaderWorker::receive(std::span<std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) throw Failure{"a device's process has ended; see above"};
        bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
}

}  // namespace belfry::cli
