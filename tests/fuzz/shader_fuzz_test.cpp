// Hostile shaders: random programs on random descriptors with random uniforms, grids and local memory, of
// several groups at once, beside a group that behaves well and must get its results every time.
//
// All memory of a hostile group lies in pages of the CPU's between others that nobody may touch; what the GPU
// may only read the CPU may only read; and what the driver has taken away is gone for the CPU too, once the
// GPU says that it has let go. So an access that is out of bounds, or late, ends the process.
//
// $BELFRY_FUZZ_SHADERS says how many jobs (default 20,000), $BELFRY_FUZZ_SEED where they begin. What fails
// prints the seed of its round; with that as $BELFRY_FUZZ_SEED the same round runs first.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compute_job.hpp"
#include "fuzz/hostile_shader.hpp"
#include "uapi/shader_assembler.hpp"
#include "unit/gpu_rig.hpp"

namespace belfry::gpu {
namespace {

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

volatile std::uint64_t current_seed = 0;
struct sigaction former_actions[NSIG];

/// The process is lost anyhow; whoever had the signal before goes on with it.
void tell_seed(int signal) {
    std::fprintf(stderr, "BELFRY_FUZZ_SEED=%llu\n", static_cast<unsigned long long>(current_seed));
    ::sigaction(signal, &former_actions[signal], nullptr);
    ::raise(signal);
}

/// A round takes milliseconds: one that takes minutes hangs.
constexpr unsigned kHangSeconds = 120;

void tell_seed_of_crashes() {
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM}) {
        struct sigaction action{};
        action.sa_handler = tell_seed;
        // Not while an access is repeated: the sanitizers want to see it.
        action.sa_flags = SA_NODEFER;
        ::sigaction(signal, &action, &former_actions[signal]);
    }
}

/// Pages of which no two are neighbours.
class GuardedPages {
  public:
    explicit GuardedPages(std::size_t count)
        : bytes_((2 * count + 1) * kPage),
          start_(static_cast<std::byte*>(
              ::mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
        if (start_ == MAP_FAILED) throw std::bad_alloc();
        for (std::size_t i = 0; i < count; ++i) protect(i, PROT_READ | PROT_WRITE);
    }
    ~GuardedPages() { ::munmap(start_, bytes_); }
    GuardedPages(const GuardedPages&) = delete;
    GuardedPages& operator=(const GuardedPages&) = delete;

    [[nodiscard]] std::byte* page(std::size_t index) const { return start_ + (2 * index + 1) * kPage; }
    void protect(std::size_t index, int how) const { ::mprotect(page(index), kPage, how); }

  private:
    std::size_t bytes_;
    std::byte* start_;
};

// A hostile group's pages.
constexpr unsigned kCodePages = 2;
constexpr unsigned kDataPages = 8;
constexpr unsigned kConstantPages = 2;
constexpr unsigned kData = kCodePages;
constexpr unsigned kConstants = kData + kDataPages;
constexpr unsigned kDescriptorPage = kConstants + kConstantPages;
constexpr unsigned kSetupPage = kDescriptorPage + 1;  // what RUN_COMPUTE names
constexpr unsigned kPages = kSetupPage + 1;
constexpr HostileMap kMap{.code = 0x7f'0000'0000,
                          .code_bytes = kCodePages * kPage,
                          .data = 0x1'0000'0000 - kPage * kDataPages / 2,
                          .data_bytes = kDataPages * kPage,
                          .constants = 0x3000'0000,
                          .constant_bytes = kConstantPages * kPage,
                          .descriptors = 0x4000'0000};
constexpr std::uint64_t kSetup = 0x5000'0000;
struct Setup {
    alignas(64) std::array<std::array<std::uint32_t, 4>, kTables> tables;
    alignas(64) std::array<std::uint32_t, 8> program;
    alignas(64) std::array<std::uint32_t, 8> local_storage;
    alignas(64) std::array<std::uint32_t, kUniforms> uniforms;
};
constexpr unsigned kJobsMax = 3;  // of a round; each has its own
static_assert(kJobsMax * sizeof(Setup) <= kPage && kDescriptors * 32 <= kPage);
constexpr std::size_t kCodeWords = kCodePages * kPage / 8 / kJobsMax;

struct Count {
    std::uint64_t jobs = 0;
    std::uint64_t done = 0;
    std::uint64_t faulted = 0;
    std::uint64_t endless = 0;
};

class HostileGroup {
  public:
    HostileGroup(Rig& rig, unsigned slot, Chance& chance)
        : rig_(rig),
          chance_(chance),
          vm_(rig.new_vm()),
          group_(rig.group({.queues = 2, .vm = &vm_, .start = false})),
          slot_(slot) {
        for (unsigned i = 0; i < kPages; ++i) map(i);
        restart();
    }

    void submit(Count& count) {
        HostileShader shader(chance_, kMap);
        if (tables_are_old_ || chance_.one_in(4)) write_tables(shader);
        for (unsigned job = 1 + chance_.below(kJobsMax); job-- != 0; ++count.jobs) write_job(shader, job);
        for (unsigned i = 0; i < 2; ++i) {
            group_.queue(i).publish();
            group_.queue(i).ring();
        }
        submitted_ = true;
    }
    void disturb() {
        switch (chance_.below(6)) {
            case 0:
                group_.suspend();
                if (chance_.one_in(2)) write_some_data();
                group_.resume_on(slot_);
                break;
            case 1:
                group_.terminate();
                restart();
                break;
            case 2:  take_a_page_away(); break;
            case 3:  write_some_data(); break;
            default: break;
        }
    }
    [[nodiscard]] bool is_idle() {
        for (unsigned i = 0; i < 2; ++i) {
            const Stream& stream = group_.queue(i).stream();
            if (stream.status() == StreamStatus::running || stream.busy_scoreboards() != 0) return false;
        }
        return true;
    }
    /// Ends what has not ended.
    void finish(Count& count) {
        if (!submitted_) return;
        submitted_ = false;
        bool ended = false;
        for (unsigned i = 0; i < 2; ++i) {
            const StreamStatus status = group_.queue(i).status();
            ended |= status == StreamStatus::fatal || status == StreamStatus::faulted;
        }
        if (ended)
            ++count.faulted;
        else if (is_idle())
            ++count.done;
        else
            ++count.endless;
        if (ended || !is_idle()) {
            group_.terminate();
            restart();
        }
        rig_.take_mmu_interrupts();
    }

  private:
    void restart() {
        for (unsigned i = 0; i < 2; ++i) {
            Queue& queue = group_.queue(i);
            queue.written = queue.input().insert = queue.input().extract_init = 0;
        }
        group_.start_on(slot_);
    }
    [[nodiscard]] static std::uint64_t address_of(unsigned page) {
        if (page < kData) return kMap.code + page * kPage;
        if (page < kConstants) return kMap.data + (page - kData) * kPage;
        if (page < kDescriptorPage) return kMap.constants + (page - kConstants) * kPage;
        return page == kDescriptorPage ? kMap.descriptors : kSetup;
    }
    [[nodiscard]] static bool is_writable(unsigned page) { return page >= kData && page < kConstants; }
    /// Neighbours of the GPU's are far apart for the CPU.
    void map(unsigned page) {
        const Rights rights{.read_only = !is_writable(page), .no_exec = page >= kData};
        vm_.map(address_of(page), host(page), 1, rights);
        pages_.protect(index_of(page), is_writable(page) ? PROT_READ | PROT_WRITE : PROT_READ);
    }
    [[nodiscard]] static unsigned index_of(unsigned page) {
        static_assert(kPages % 5 != 0);
        return page * 5 % kPages;
    }
    [[nodiscard]] std::byte* host(unsigned page) const { return pages_.page(index_of(page)); }
    /// Only while nothing of the group runs, which has one thread with the GPU.
    template <typename Write>
    void write(unsigned page, Write change) {
        pages_.protect(index_of(page), PROT_READ | PROT_WRITE);
        change(host(page));
        if (!is_writable(page)) pages_.protect(index_of(page), PROT_READ);
    }
    void put(unsigned page, std::size_t offset, const void* from, std::size_t bytes) {
        write(page, [&](std::byte* to) { std::memcpy(to + offset, from, bytes); });
    }
    void write_some_data() {
        const unsigned page = kData + chance_.below(kDataPages + kConstantPages);
        write(page, [&](std::byte* to) {
            for (unsigned i = 0; i < 64; ++i) {
                const std::uint64_t bits = chance_.bits();
                std::memcpy(to + 8 * chance_.below(kPage / 8), &bits, 8);
            }
        });
    }
    void take_a_page_away() {
        const unsigned page = chance_.below(kPages);
        vm_.unmap(address_of(page));
        rig_.flush(vm_);
        pages_.protect(index_of(page), PROT_NONE);
        for (unsigned steps = chance_.below(4); steps != 0; --steps) rig_.step();
        map(page);
        rig_.flush(vm_);
    }

    void write_tables(HostileShader& shader) {
        tables_are_old_ = false;
        write(kDescriptorPage, [&](std::byte* to) {
            for (std::uint32_t i = 0; i < kDescriptors; ++i) {
                const auto words = shader.descriptor(i);
                std::memcpy(to + 32 * i, words.data(), 32);
            }
        });
    }
    void write_job(HostileShader& shader, unsigned job) {
        std::array<std::uint64_t, kCodeWords> code{};
        const unsigned page = chance_.below(kCodePages);
        const std::size_t words = std::min<std::size_t>(kCodeWords, 1 + chance_.below(200));
        // Some run over the end of their page.
        const std::size_t first = chance_.one_in(8) ? kPage / 8 - words : job * (kPage / 8 / kJobsMax);
        HostileMap map = kMap;
        map.code += page * kPage + 8 * first;
        map.code_bytes = 8 * words;
        HostileShader own(chance_, map);
        own.write_code(std::span(code).first(std::min(words, kPage / 8 - first)));
        put(page, 8 * first, code.data(), 8 * std::min(words, kPage / 8 - first));

        Setup setup{};
        for (auto& table : setup.tables) table = shader.table();
        setup.program = own.program();
        setup.local_storage = shader.local_storage();
        own.write_uniforms(setup.uniforms);
        put(kSetupPage, job * sizeof setup, &setup, sizeof setup);

        const std::uint64_t base = kSetup + job * sizeof(Setup);
        const auto mostly = [&](std::uint64_t address) {
            return chance_.one_in(100) ? shader.some_address() : address;
        };
        const std::uint64_t uniforms = mostly(base + offsetof(Setup, uniforms)) |
                                       std::uint64_t{chance_.one_in(50) ? chance_.below(256) : kUniforms / 2}
                                           << 56;
        const std::array<std::pair<std::uint8_t, std::uint64_t>, 4> pairs{
            {{0, mostly(base + offsetof(Setup, tables)) | chance_.below(kTables + 2)},
             {8, uniforms},
             {16, mostly(base + offsetof(Setup, program))},
             {24, mostly(base + offsetof(Setup, local_storage))}}};
        group_.queue(chance_.below(2)).write([&](W& w) {
            for (const auto& [index, value] : pairs)
                w.move32(r(index), static_cast<std::uint32_t>(value))
                    .move32(r(static_cast<std::uint8_t>(index + 1)), static_cast<std::uint32_t>(value >> 32));
            w.move32(r(32), shader.some_number()).move32(r(33), workgroup_size());
            for (std::uint8_t i = 34; i < 37; ++i)
                w.move32(r(i), chance_.one_in(4) ? shader.some_number() : 0);
            for (std::uint8_t i = 37; i < 40; ++i) w.move32(r(i), grid());
            w.word(csf::encode<csf::Op::run_compute>(
                csf::Operand<csf::Arg::task_increment>{chance_.below(4)},
                csf::Operand<csf::Arg::task_axis>{chance_.below(chance_.one_in(40) ? 4 : 3)}));
            if (chance_.one_in(2)) w.wait(slots(0));
        });
    }
    std::uint32_t workgroup_size() {
        if (chance_.one_in(30)) return chance_.word();
        if (chance_.one_in(60)) return 31 | 31U << 10;
        return chance_.below(24) | (chance_.one_in(4) ? chance_.below(4) : 0) << 10 |
               (chance_.one_in(8) ? chance_.below(3) : 0) << 20;
    }
    std::uint32_t grid() {
        if (chance_.one_in(200)) return chance_.word();
        return chance_.one_in(80) ? 0 : 1 + (chance_.one_in(3) ? chance_.below(3) : 0);
    }

    Rig& rig_;
    Chance& chance_;
    Vm& vm_;
    Group& group_;
    unsigned slot_;
    GuardedPages pages_{kPages};
    bool tables_are_old_ = true;
    bool submitted_ = false;
};

/// Stores its global id plus u2 at u0, counts at u4 by atomics, and has all threads of a workgroup meet.
constexpr std::string_view kWellBehaved = R"(
    IADD.u32 r0, r60, u2
    SHADDX.u64 r2, u0, r60.w0, shift:0x2
    STORE.i32.slot0.wait0 @r0, ^r2, offset:0
    IADD.u32 r4, u4, 0x0
    IADD.u32 r5, u5, 0x0
    IADD_IMM.i32 r6, 0x0, #0x1
    ATOM.i32.slot0.aadd.wait0 @r6, r4, offset:0x0
    NOP.end
)";
constexpr std::uint32_t kGroups = 3;
constexpr std::uint32_t kThreads = 40;

class WellBehavedGroup {
  public:
    explicit WellBehavedGroup(Rig& rig)
        : rig_(rig), code_(rig.memory()), data_(rig.memory()), group_(rig.group()) {
        const auto words = valhall::assemble(kWellBehaved);
        if (!words) throw std::invalid_argument(words.error());
        std::ranges::copy(*words, &code_.u64());
    }
    void submit() {
        ++round_;
        const auto low = [](std::uint64_t va) { return static_cast<std::uint32_t>(va); };
        const auto high = [](std::uint64_t va) { return static_cast<std::uint32_t>(va >> 32); };
        data_.as<ComputeDescriptors>() = describe_compute(
            code_.va,
            {low(out_.va), high(out_.va), round_, 0, low(out_.va + kCounter), high(out_.va + kCounter)});
        group_.queue(0).submit([&](W& w) {
            run_compute(w, data_.va, kGroups, kThreads);
            w.wait(slots(0)).move32(r(90), round_);
        });
        group_.queue(0).ring();
    }
    [[nodiscard]] bool done() { return group_.queue(0).reg(90) == round_; }
    void check() {
        for (std::uint32_t i = 0; i < kGroups * kThreads; ++i) ASSERT_EQ(out_.u32(4 * i), i + round_);
        ASSERT_EQ(out_.u32(kCounter), round_ * kGroups * kThreads);
    }

  private:
    static constexpr std::uint64_t kCounter = 4000;
    Rig& rig_;
    Memory code_;
    Memory data_;
    Memory out_ = rig_.memory();
    Group& group_;
    std::uint32_t round_ = 0;
};

std::uint64_t cpu_ns() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

TEST(HostileShaders, CrashNothingTouchNothingElseAndDisturbNobody) {
    const std::uint64_t jobs = number_from_environment("BELFRY_FUZZ_SHADERS", 20'000);
    const bool aloud = std::getenv("BELFRY_FUZZ_SHADERS") != nullptr;
    std::uint64_t seed = number_from_environment("BELFRY_FUZZ_SEED", 1);
    constexpr unsigned kHostile = 3;
    /// Turns of 1 ms at most, of which everybody has a fourth.
    constexpr unsigned kStepsOfGood = 64;
    constexpr unsigned kStepsOfRound = 4;
    constexpr std::uint64_t kRoundsOfRig = 256;

    tell_seed_of_crashes();
    Count count;
    std::uint64_t longest_ns = 0;
    std::uint64_t longest_seed = 0;
    while (count.jobs < jobs && !testing::Test::HasFailure()) {
        SCOPED_TRACE("BELFRY_FUZZ_SEED=" + std::to_string(seed));
        current_seed = seed;
        ::alarm(kHangSeconds);
        Chance chance(seed);
        Rig rig{{.group_slots = kHostile + 1,
                 .streams_per_group = 2,
                 .shader_cores = 1 + chance.below(3),
                 .task_steps = chance.one_in(2) ? 512 : kTaskSteps}};
        WellBehavedGroup good(rig);
        std::deque<HostileGroup> hostile;
        for (unsigned i = 0; i < kHostile; ++i) hostile.emplace_back(rig, i + 1, chance);
        for (unsigned round = 0; round < kRoundsOfRig && !testing::Test::HasFailure(); ++round) {
            for (HostileGroup& group : hostile)
                if (!chance.one_in(4)) group.submit(count);
            if (chance.one_in(2)) hostile[chance.below(kHostile)].disturb();
            good.submit();
            const auto step = [&] {
                const std::uint64_t began = cpu_ns();
                const bool more = rig.step();
                if (const std::uint64_t took = cpu_ns() - began; took > longest_ns) {
                    longest_ns = took;
                    longest_seed = seed;
                }
                return more;
            };
            unsigned steps = 0;
            for (; !good.done() && steps < kStepsOfGood; ++steps) {
                step();
                if (chance.one_in(8)) hostile[chance.below(kHostile)].disturb();
            }
            EXPECT_TRUE(good.done()) << "somebody keeps it from working";
            good.check();
            for (steps = 0; steps < kStepsOfRound && step(); ++steps) {
            }
            for (HostileGroup& group : hostile) group.finish(count);
            rig.take_job_interrupts();
        }
        ++seed;
        if (aloud && seed % 64 == 0) {
            std::printf(
                "%llu jobs to seed %llu; rounds of a group: %llu done, %llu with a fault, %llu endless; "
                "longest step "
                "%llu us, of seed %llu\n",
                static_cast<unsigned long long>(count.jobs), static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(count.done), static_cast<unsigned long long>(count.faulted),
                static_cast<unsigned long long>(count.endless),
                static_cast<unsigned long long>(longest_ns / 1000),
                static_cast<unsigned long long>(longest_seed));
            std::fflush(stdout);
        }
    }
    ::alarm(0);
    EXPECT_GT(count.done, count.jobs / 100) << "of what runs to its end there is too little";
}

}  // namespace
}  // namespace belfry::gpu
