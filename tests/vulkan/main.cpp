// vulkan_tests: the tests of compute programs, on Belfry through Mesa's panvk.
//
//   vulkan_tests [GTEST OPTIONS]              under `belfry run`, with the panvk that BELFRY_PANVK_ICD names
//   or
//                                             ./dev mesa has built; 77 if there is none
//   vulkan_tests --any-device [GTEST OPTIONS] on the device that the Vulkan loader finds

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "vulkan/rig.hpp"

namespace belfry::vulkan_test {

namespace {

constexpr int kSkipped = 77;
std::unique_ptr<VulkanDevice> the_device;  // NOLINT: gone before main returns, as the loader wants it

/// Starts this program again where it finds Belfry. Returns only if it cannot.
int run_on_belfry(char** argv) {
    std::string manifest;
    if (const char* const told = std::getenv("BELFRY_PANVK_ICD"); told != nullptr && told[0] != '\0') {
        manifest = told;
    } else {
        const char* const directory = std::getenv("BELFRY_MESA_DIR");
        manifest = std::string(directory != nullptr ? directory : BELFRY_MESA_DIR) + "/panfrost_icd.json";
    }
    if (::access(manifest.c_str(), R_OK) != 0) {
        std::fprintf(stderr, "SKIPPED: no %s, so no Vulkan program was run on Belfry; ./dev mesa builds it\n",
                     manifest.c_str());
        return kSkipped;
    }
    ::setenv("VK_DRIVER_FILES", manifest.c_str(), 1);
    ::setenv("VK_ICD_FILENAMES", manifest.c_str(), 1);
    std::vector<const char*> words{BELFRY_BIN_DIR "/belfry", "run", "--", argv[0], "--any-device"};
    for (char** word = argv + 1; *word != nullptr; ++word) words.push_back(*word);
    words.push_back(nullptr);
    ::execv(words[0], const_cast<char**>(words.data()));
    std::perror(words[0]);
    return EXIT_FAILURE;
}

/// A device may be lost with a test that fails; the next one gets another.
class FreshDevices : public testing::EmptyTestEventListener {
    void OnTestEnd(const testing::TestInfo& test) override {
        if (test.result()->Failed()) the_device.reset();
    }
};

}  // namespace

VulkanDevice& device() {
    if (!the_device) the_device = std::make_unique<VulkanDevice>();
    return *the_device;
}

bool on_cpu() { return device().properties().deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU; }

}  // namespace belfry::vulkan_test

int main(int argc, char** argv) {
    using namespace belfry::vulkan_test;
    if (argc < 2 || std::strcmp(argv[1], "--any-device") != 0) return run_on_belfry(argv);
    testing::InitGoogleTest(&argc, argv);
    testing::UnitTest::GetInstance()->listeners().Append(new FreshDevices);
    const int verdict = RUN_ALL_TESTS();
    the_device.reset();
    return verdict;
}
