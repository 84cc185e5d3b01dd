#include "cli/vulkan_peer.hpp"

#if __has_include(<vulkan/vulkan.h>)

#define VK_NO_PROTOTYPES  // every function comes from the loader, at run time
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <dlfcn.h>
#include <vulkan/vulkan.h>

namespace belfry::cli {
namespace {

constexpr std::uint32_t kRounds = 5'000;
constexpr std::uint32_t kWarmUpRounds = 100;
constexpr std::uint64_t kPatienceNs = 5'000'000'000;

std::unexpected<std::string> failed(const char* call, VkResult result) {
    return std::unexpected(std::string(call) + " failed with VkResult " + std::to_string(result));
}

struct CloseLibrary {
    void operator()(void* library) const { ::dlclose(library); }
};

/// The Vulkan objects of one measurement, filled from the top down and destroyed from the bottom up.
/// Functions are looked up by name where they are used; only those of the measured loop are kept.
class Peer {
  public:
    Peer() = default;
    ~Peer() {
        if (device_ != nullptr) {
            call<PFN_vkDeviceWaitIdle>("vkDeviceWaitIdle")(device_);
            call<PFN_vkDestroySemaphore>("vkDestroySemaphore")(device_, timeline_, nullptr);
            call<PFN_vkDestroyDevice>("vkDestroyDevice")(device_, nullptr);
        }
        if (instance_ != nullptr) call<PFN_vkDestroyInstance>("vkDestroyInstance")(instance_, nullptr);
    }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    std::expected<void, std::string> open() {
        library_.reset(::dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL));
        if (!library_)
            return std::unexpected(std::string("no Vulkan loader (libvulkan.so.1) on this machine"));
        look_up_ =
            reinterpret_cast<PFN_vkGetInstanceProcAddr>(::dlsym(library_.get(), "vkGetInstanceProcAddr"));
        if (look_up_ == nullptr) return std::unexpected(std::string("libvulkan.so.1 is no Vulkan loader"));
        if (auto made = create_instance(); !made) return made;
        if (auto chosen = choose_device(); !chosen) return chosen;
        if (auto made = create_device(); !made) return made;
        return create_timeline();
    }

    [[nodiscard]] const std::string& device_name() const { return name_; }

    /// Submits nothing but the signal of `value` and sleeps until it is there.
    [[nodiscard]] VkResult round_trip(std::uint64_t value) const {
        const VkTimelineSemaphoreSubmitInfo values{
            .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
            .pNext = nullptr,
            .waitSemaphoreValueCount = 0,
            .pWaitSemaphoreValues = nullptr,
            .signalSemaphoreValueCount = 1,
            .pSignalSemaphoreValues = &value,
        };
        const VkSubmitInfo submit{
            .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
            .pNext = &values,
            .waitSemaphoreCount = 0,
            .pWaitSemaphores = nullptr,
            .pWaitDstStageMask = nullptr,
            .commandBufferCount = 0,
            .pCommandBuffers = nullptr,
            .signalSemaphoreCount = 1,
            .pSignalSemaphores = &timeline_,
        };
        const VkSemaphoreWaitInfo wait{
            .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
            .pNext = nullptr,
            .flags = 0,
            .semaphoreCount = 1,
            .pSemaphores = &timeline_,
            .pValues = &value,
        };
        if (const VkResult result = queue_submit_(queue_, 1, &submit, VK_NULL_HANDLE); result != VK_SUCCESS)
            return result;
        return wait_semaphores_(device_, &wait, kPatienceNs);
    }

  private:
    template <typename Function>
    Function call(const char* name) const {
        return reinterpret_cast<Function>(look_up_(instance_, name));
    }

    std::expected<void, std::string> create_instance() {
        const VkApplicationInfo application{
            .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
            .pNext = nullptr,
            .pApplicationName = "belfry bench",
            .applicationVersion = 0,
            .pEngineName = nullptr,
            .engineVersion = 0,
            .apiVersion = VK_API_VERSION_1_2,
        };
        VkInstanceCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
        info.pApplicationInfo = &application;
        const auto result = call<PFN_vkCreateInstance>("vkCreateInstance")(&info, nullptr, &instance_);
        if (result == VK_SUCCESS) return {};
        instance_ = nullptr;
        return failed("vkCreateInstance", result);
    }

    std::expected<void, std::string> choose_device() {
        const auto enumerate = call<PFN_vkEnumeratePhysicalDevices>("vkEnumeratePhysicalDevices");
        std::uint32_t count = 0;
        if (const auto result = enumerate(instance_, &count, nullptr); result != VK_SUCCESS)
            return failed("vkEnumeratePhysicalDevices", result);
        std::vector<VkPhysicalDevice> devices(count);
        const auto result = enumerate(instance_, &count, devices.data());
        if (result != VK_SUCCESS && result != VK_INCOMPLETE)
            return failed("vkEnumeratePhysicalDevices", result);
        devices.resize(count);
        for (const auto device : devices) {
            VkPhysicalDeviceProperties properties{};
            call<PFN_vkGetPhysicalDeviceProperties>("vkGetPhysicalDeviceProperties")(device, &properties);
            const bool is_cpu = properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
            if ((chosen_ != nullptr && !is_cpu) || properties.apiVersion < VK_API_VERSION_1_2) continue;
            if (!has_timelines(device) || !queue_family(device)) continue;
            chosen_ = device;
            name_ = properties.deviceName;
            if (is_cpu) return {};
        }
        if (chosen_ != nullptr) return {};
        return std::unexpected(std::string("no Vulkan 1.2 device with timeline semaphores"));
    }

    [[nodiscard]] bool has_timelines(VkPhysicalDevice device) const {
        VkPhysicalDeviceTimelineSemaphoreFeatures timelines{};
        timelines.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
        VkPhysicalDeviceFeatures2 features{};
        features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
        features.pNext = &timelines;
        call<PFN_vkGetPhysicalDeviceFeatures2>("vkGetPhysicalDeviceFeatures2")(device, &features);
        return timelines.timelineSemaphore == VK_TRUE;
    }

    /// The first queue family that takes work.
    [[nodiscard]] std::optional<std::uint32_t> queue_family(VkPhysicalDevice device) const {
        const auto get =
            call<PFN_vkGetPhysicalDeviceQueueFamilyProperties>("vkGetPhysicalDeviceQueueFamilyProperties");
        std::uint32_t count = 0;
        get(device, &count, nullptr);
        std::vector<VkQueueFamilyProperties> families(count);
        get(device, &count, families.data());
        constexpr VkQueueFlags kWork = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT;
        const auto found = std::ranges::find_if(
            families, [](const auto& family) { return (family.queueFlags & kWork) != 0; });
        if (found == families.end()) return std::nullopt;
        return static_cast<std::uint32_t>(found - families.begin());
    }

    std::expected<void, std::string> create_device() {
        const float priority = 1;
        VkDeviceQueueCreateInfo queue{};
        queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
        queue.queueFamilyIndex = queue_family(chosen_).value_or(0);
        queue.queueCount = 1;
        queue.pQueuePriorities = &priority;
        VkPhysicalDeviceTimelineSemaphoreFeatures timelines{};
        timelines.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
        timelines.timelineSemaphore = VK_TRUE;
        VkDeviceCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
        info.pNext = &timelines;
        info.queueCreateInfoCount = 1;
        info.pQueueCreateInfos = &queue;
        const auto result = call<PFN_vkCreateDevice>("vkCreateDevice")(chosen_, &info, nullptr, &device_);
        if (result != VK_SUCCESS) {
            device_ = nullptr;
            return failed("vkCreateDevice", result);
        }
        call<PFN_vkGetDeviceQueue>("vkGetDeviceQueue")(device_, queue.queueFamilyIndex, 0, &queue_);
        // The measured calls come from the device itself: the loader's own would add a jump to each.
        const auto of_device = call<PFN_vkGetDeviceProcAddr>("vkGetDeviceProcAddr");
        queue_submit_ = reinterpret_cast<PFN_vkQueueSubmit>(of_device(device_, "vkQueueSubmit"));
        wait_semaphores_ = reinterpret_cast<PFN_vkWaitSemaphores>(of_device(device_, "vkWaitSemaphores"));
        return {};
    }

    std::expected<void, std::string> create_timeline() {
        VkSemaphoreTypeCreateInfo type{};
        type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
        type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
        VkSemaphoreCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
        info.pNext = &type;
        const auto result =
            call<PFN_vkCreateSemaphore>("vkCreateSemaphore")(device_, &info, nullptr, &timeline_);
        if (result != VK_SUCCESS) return failed("vkCreateSemaphore", result);
        return {};
    }

    std::unique_ptr<void, CloseLibrary> library_;
    PFN_vkGetInstanceProcAddr look_up_ = nullptr;
    VkInstance instance_ = nullptr;
    VkPhysicalDevice chosen_ = nullptr;
    std::string name_;
    VkDevice device_ = nullptr;
    VkQueue queue_ = nullptr;
    VkSemaphore timeline_ = VK_NULL_HANDLE;
    PFN_vkQueueSubmit queue_submit_ = nullptr;
    PFN_vkWaitSemaphores wait_semaphores_ = nullptr;
};

}  // namespace

std::expected<PeerFigures, std::string> vulkan_peer() {
    Peer peer;
    if (auto opened = peer.open(); !opened) return std::unexpected(opened.error());
    Samples samples;
    samples.reserve(kRounds);
    Stopwatch watch;
    for (std::uint32_t round = 1; round <= kWarmUpRounds + kRounds; ++round) {
        watch.restart();
        const VkResult result = peer.round_trip(round);
        const double sample_ns = watch.elapsed_ns();
        if (result != VK_SUCCESS) return failed("an empty submit", result);
        if (round > kWarmUpRounds) samples.add(sample_ns);
    }
    return PeerFigures{.device = peer.device_name(), .submit_to_woken = samples.figure()};
}

}  // namespace belfry::cli

#else

namespace belfry::cli {

std::expected<PeerFigures, std::string> vulkan_peer() {
    return std::unexpected(std::string("built without Vulkan's headers (Debian: libvulkan-dev)"));
}

}  // namespace belfry::cli

#endif
