// The belfry command, as users run it.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <random>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "daemon_rig.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language

class Command : public DaemonTest {
  protected:
    /// With this test's daemon.
    [[nodiscard]] Outcome belfry(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), bin("belfry"));
        arguments.insert(arguments.end(), {"--socket", daemon.socket()});
        return run(arguments);
    }
    [[nodiscard]] std::string random_file(std::size_t bytes) const {
        std::mt19937 random(5);
        std::string content(bytes, '\0');
        for (char& byte : content) byte = static_cast<char>(random());
        write_file(directory / "input", content);
        return directory / "input";
    }
    /// Runs the demo over a file of so many bytes, and returns its report.
    nlohmann::json expect_copied(std::size_t bytes, const std::vector<std::string>& options = {}) {
        const std::string input = random_file(bytes);
        std::vector<std::string> arguments = {"demo", "--json", input, "--output", directory / "output"};
        arguments.insert(arguments.end(), options.begin(), options.end());
        const Outcome outcome = belfry(arguments);
        EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS) << outcome.err;
        EXPECT_TRUE(read_file(directory / "output") == read_file(input)) << "the copy differs";
        auto report = nlohmann::json::parse(outcome.out, nullptr, false);
        EXPECT_TRUE(report.value("verified", false)) << outcome.out;
        EXPECT_EQ(report.value("bytes", 0U), bytes);
        return report;
    }
};

constexpr std::uint64_t kJobBytes = 16384;  // the demo's

std::uint64_t jobs_of(const nlohmann::json& report) {
    std::uint64_t jobs = 0;
    for (const auto& process : report.at("processes")) jobs += process.at("jobs").get<std::uint64_t>();
    return jobs;
}

// ---- demo

TEST_F(Command, DemoCopiesAFileOfOddSizeInFourProcessesOfWhichEverySecondIsInUserMode) {
    constexpr std::uint64_t kBytes = 100'003;
    const auto report = expect_copied(kBytes);
    ASSERT_EQ(report.at("processes").size(), 4U);
    EXPECT_EQ(report.at("processes")[0].at("mode"), "kernel");
    EXPECT_EQ(report.at("processes")[1].at("mode"), "user");
    EXPECT_EQ(report.at("processes")[2].at("mode"), "kernel");
    EXPECT_EQ(report.at("processes")[3].at("mode"), "user");
    EXPECT_EQ(jobs_of(report), (kBytes + kJobBytes - 1) / kJobBytes);
}

TEST_F(Command, DemoCopiesAFileThatIsLargerThanItsBuffers) {
    expect_copied((9U << 20) + 17, {"--processes", "2"});
}

TEST_F(Command, DemoCopiesASingleByte) { EXPECT_EQ(jobs_of(expect_copied(1)), 1U); }

TEST_F(Command, DemoCopiesWithMoreProcessesThanThereAreJobs) {
    const auto report = expect_copied(100'003, {"--processes", "16"});
    EXPECT_EQ(report.at("processes").size(), 16U);
    EXPECT_EQ(jobs_of(report), 7U);
}

TEST_F(Command, DemoInUserModeMakesFarFewerRequestsThanJobs) {
    const auto report = expect_copied(4U << 20, {"--processes", "2"});
    const auto& kernel = report.at("processes")[0];
    const auto& user = report.at("processes")[1];
    EXPECT_GE(kernel.at("requests"), 2 * kernel.at("jobs").get<std::uint64_t>());
    EXPECT_LT(user.at("requests"), user.at("jobs").get<std::uint64_t>() / 2);
}

TEST_F(Command, DemoLeavesNothingBehind) {
    expect_copied(100'003);
    const Device observer = daemon.open();
    EXPECT_TRUE(eventually([&] {
        const DeviceLoad load = must(observer.load());
        return load.groups == 0 && load.vms == 0 && load.files == 1;
    }));
}

TEST_F(Command, DemoPrintsATableOfItsProcesses) {
    const Outcome outcome = belfry({"demo", random_file(20'000)});
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS) << outcome.err;
    expect_mentions(outcome.out, {"copying", "20000 bytes", "kernel", "user", "SHA-256", "verified"});
}

TEST_F(Command, DemoOfAnEmptyFileSaysThatThereIsNothingToCopy) {
    const std::string input = random_file(0);
    const Outcome outcome = belfry({"demo", input});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {input, "is empty", "nothing to copy"});
}

TEST_F(Command, DemoOfAFileThatDoesNotExistNamesIt) {
    const Outcome outcome = belfry({"demo", "/no/such/file"});
    EXPECT_NE(outcome.exit_code, EXIT_SUCCESS);
    expect_mentions(outcome.err, {"/no/such/file"});
}

TEST_F(Command, DemoWithAnOutputThatCannotBeWrittenNamesIt) {
    const Outcome outcome = belfry({"demo", random_file(10), "--output", "/no/such/directory/file"});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {"/no/such/directory/file"});
}

TEST_F(Command, DemoOverItsOwnInputKeepsTheContent) {
    const std::string input = random_file(50'000);
    const std::string before = read_file(input);
    const Outcome outcome = belfry({"demo", input, "--output", input});
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS) << outcome.err;
    EXPECT_TRUE(read_file(input) == before);
}

// ---- info

TEST_F(Command, InfoAsJsonHasTheDeviceAndItsLoad) {
    const Outcome outcome = belfry({"info", "--json"});
    ASSERT_EQ(outcome.exit_code, EXIT_SUCCESS) << outcome.err;
    const auto info = nlohmann::json::parse(outcome.out);
    EXPECT_EQ(info.at("socket"), daemon.socket());
    EXPECT_EQ(info.at("driver").at("name"), "panthor");
    EXPECT_EQ(info.at("gpu").at("group_slots"), 8);
    EXPECT_EQ(info.at("gpu").at("registers"), 96);
    EXPECT_EQ(info.at("load").at("files"), 1);
    EXPECT_EQ(info.at("load").at("groups"), 0);
}

TEST_F(Command, InfoPrintsANameAndAFigureALine) {
    const Outcome outcome = belfry({"info"});
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS) << outcome.err;
    std::istringstream lines(outcome.out);
    std::map<std::string, std::string> figures;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string name;
        words >> name >> figures[name];
        EXPECT_FALSE(figures[name].empty()) << line;
    }
    EXPECT_EQ(figures["gpu.group_slots"], "8");
    EXPECT_EQ(figures["driver.name"], "panthor");
    EXPECT_EQ(figures["gpu.unpreserved_registers"], "4") << "the longest name";
}

TEST(CommandAlone, InfoOfASocketThatNobodyAnswersNamesIt) {
    const Outcome outcome = run({bin("belfry"), "info", "--socket", "/tmp/belfry-nobody/socket"});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {"no belfryd answers at '/tmp/belfry-nobody/socket'"});
}

// ---- disasm

/// One of each kind of operand, with what it must print as.
struct Line {
    std::uint64_t word;
    const char* text;
};
constexpr Line kStream[] = {
    {0x0144000001001000, "MOVE48 d68, #0x1001000"},
    {0x02460000deadbeef, "MOVE32 r70, #0xdeadbeef"},
    {0x1546440000010000, "STORE_MULTIPLE {r70}, [d68]"},
    {0x154644000003fff8, "STORE_MULTIPLE {r70, r71}, [d68 - 8]"},
    {0x1600010050000003, "BRANCH ge r1, +3"},
    {0x3301424600080005, "SYNC_ADD64 [d66], d70, propagate, csg, after {3}, signal 1"},
    {0x0a00000000000000, ".word 0x0a00000000000000"},
};

std::string stream_bytes() {
    std::string bytes;
    for (const Line& line : kStream)
        bytes.append(reinterpret_cast<const char*>(&line.word), sizeof line.word);
    return bytes;
}

void expect_stream_lines(const Outcome& outcome) {
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS) << outcome.err;
    std::istringstream lines(outcome.out);
    for (const Line& expected : kStream) {
        std::string line;
        std::getline(lines, line);
        expect_mentions(line, {hex(expected.word).substr(2), expected.text});
    }
    EXPECT_EQ(lines.peek(), std::char_traits<char>::eof());
}

TEST(Disasm, PrintsAStreamFromAFile) {
    const Directory directory;
    write_file(directory / "stream", stream_bytes());
    expect_stream_lines(run({bin("belfry"), "disasm", directory / "stream"}));
}

TEST(Disasm, PrintsAStreamFromStandardInput) {
    const Directory directory;
    write_file(directory / "stream", stream_bytes());
    expect_stream_lines(run({bin("belfry"), "disasm", "-"}, {.input = directory / "stream"}));
}

TEST(Disasm, PrintsAShaderWithTheTargetsOfItsBranches) {
    const Directory directory;
    const std::uint64_t words[] = {0x00b2c10400c08841, 0x501fc03000000500, 0x501fc007fffffe40,
                                   0x01ff000000000000};
    write_file(directory / "shader", {reinterpret_cast<const char*>(words), sizeof words});
    const Outcome outcome = run({bin("belfry"), "disasm", "--shader", directory / "shader"});
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS) << outcome.err;
    expect_mentions(outcome.out,
                    {"0  00b2c10400c08841  FMA.f32 r1, ^r1, u8, 0x0.neg\n",
                     "8  501fc03000000500  BRANCHZ.eq.reconverge r0.h0, offset:5  ; to 0x38\n",
                     "BRANCHZ.reconverge ^r0, offset:-2  ; to 0x8\n",
                     "18  01ff000000000000  .word 0x01FF000000000000  ; unassigned opcode 0x1FF\n"});
}

TEST(Disasm, SaysWhereATruncatedStreamEnds) {
    const Directory directory;
    write_file(directory / "stream", stream_bytes().substr(0, 2 * 8 + 3));
    const Outcome outcome = run({bin("belfry"), "disasm", directory / "stream"});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {directory / "stream", "3 bytes", "offset 0x10"});
    expect_mentions(outcome.out, {kStream[0].text, kStream[1].text});
}

TEST(Disasm, NamesAFileThatDoesNotExist) {
    const Outcome outcome = run({bin("belfry"), "disasm", "/no/such/file"});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {"cannot open /no/such/file", "No such file"});
}

TEST(Disasm, WhoseOutputCannotBeWrittenSaysSo) {
    const Directory directory;
    write_file(directory / "stream", stream_bytes());
    const Outcome outcome = run({bin("belfry"), "disasm", directory / "stream"}, {.output = "/dev/full"});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {"cannot write the output", "No space"});
}

TEST(Disasm, OfADirectoryIsAnError) {
    const Outcome outcome = run({bin("belfry"), "disasm", "/"});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {"/", "irectory"});
}

TEST(CliBench, OfAnUnknownNameNamesThoseThatThereAre) {
    const Outcome outcome = run({bin("belfry"), "bench", "speed"});
    EXPECT_NE(outcome.exit_code, EXIT_SUCCESS);
    expect_mentions(outcome.err, {"speed", "all", "latency", "memory", "waits"});
}

TEST(CliBench, OfMemoryHasGroupsEvictedAndBroughtBack) {
    const Outcome outcome = run({bin("belfry"), "bench", "memory", "--json"});
    ASSERT_EQ(outcome.exit_code, EXIT_SUCCESS) << outcome.err;
    const auto memory = nlohmann::json::parse(outcome.out).at("memory");
    EXPECT_EQ(memory.at("bytes"), 64U << 20);
    for (const char* const figure : {"write_ns", "read_ns", "evict_ns", "restore_ns", "turn_ns"})
        EXPECT_GT(memory.at(figure).at("median").get<double>(), 0) << figure;
}

TEST(CliBench, OfMemoryThatFindsNoBelfrydSaysSo) {
    const Outcome outcome =
        run({"/usr/bin/env", "BELFRYD=/no/such/belfryd", bin("belfry"), "bench", "memory"});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {"cannot start '/no/such/belfryd'", "No such file"});
}

// ---- help

class Help : public testing::TestWithParam<const char*> {};

TEST_P(Help, OfASubcommandSaysWhatItDoes) {
    const Outcome outcome = run({bin("belfry"), GetParam(), "--help"});
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS);
    expect_mentions(outcome.out, {GetParam(), "--help"});
    EXPECT_TRUE(outcome.err.empty()) << outcome.err;
}
INSTANTIATE_TEST_SUITE_P(Of, Help, testing::Values("info", "demo", "bench", "disasm"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST(HelpOfAll, NamesEachSubcommand) {
    const Outcome outcome = run({bin("belfry"), "--help"});
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS);
    expect_mentions(outcome.out, {"info", "demo", "bench", "disasm", "--version"});
}

TEST(HelpOfAll, IsOfferedWhenTheSubcommandIsMissingOrUnknown) {
    for (const std::vector<std::string>& command : {std::vector{bin("belfry")}, {bin("belfry"), "dmeo"}}) {
        const Outcome outcome = run(command);
        EXPECT_NE(outcome.exit_code, EXIT_SUCCESS);
        expect_mentions(outcome.err, {"--help"});
    }
}

}  // namespace
}  // namespace belfry
