// A Vulkan device, loaded at run time, and the objects that a compute program needs on it.
//
// VulkanDevice   loader, instance, device, one queue with a timeline; makes all others, which must go before
// it VulkanBuffer   memory that both sides see VulkanImage    an image with memory and a view of all of it
// VulkanKernel   a compute pipeline with its arguments bound
// VulkanCommands a command buffer
//
// What fails throws VulkanError. One thread a device. Used by the benchmarks, and by tests/vulkan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cli/vulkan_functions.hpp"

namespace belfry::cli {

struct VulkanError : std::runtime_error {
    VulkanError(const std::string& what, VkResult with) : std::runtime_error(what), result(with) {}
    VkResult result;
};

/// A handle of a device's object, destroyed with it.
template <typename T>
class VulkanHandle {
  public:
    using Destroy = void(VKAPI_PTR*)(VkDevice, T, const VkAllocationCallbacks*);
    VulkanHandle() = default;
    VulkanHandle(VkDevice device, T handle, Destroy destroy)
        : device_(device), handle_(handle), destroy_(destroy) {}
    VulkanHandle(VulkanHandle&& other) noexcept
        : device_(other.device_),
          handle_(std::exchange(other.handle_, T{VK_NULL_HANDLE})),
          destroy_(other.destroy_) {}
    VulkanHandle& operator=(VulkanHandle&& other) noexcept {
        std::swap(device_, other.device_);
        std::swap(handle_, other.handle_);
        std::swap(destroy_, other.destroy_);
        return *this;
    }
    VulkanHandle(const VulkanHandle&) = delete;
    VulkanHandle& operator=(const VulkanHandle&) = delete;
    ~VulkanHandle() {
        if (handle_ != VK_NULL_HANDLE) destroy_(device_, handle_, nullptr);
    }
    [[nodiscard]] T get() const { return handle_; }

  private:
    VkDevice device_ = nullptr;
    T handle_ = VK_NULL_HANDLE;
    Destroy destroy_ = nullptr;
};

struct VulkanBuffer {
    VulkanHandle<VkDeviceMemory> memory;
    VulkanHandle<VkBuffer> handle;
    std::span<std::byte> bytes;

    template <typename T>
    [[nodiscard]] std::span<T> as() const {
        return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
    }
};

struct VulkanImageOptions {
    VkFormat format = VK_FORMAT_R8G8B8A8_UNORM;
    VkImageType type = VK_IMAGE_TYPE_2D;
    VkImageViewType view = VK_IMAGE_VIEW_TYPE_2D;
    VkExtent3D extent = {1, 1, 1};
    std::uint32_t levels = 1;
    std::uint32_t layers = 1;
    VkImageUsageFlags usage = 0;  ///< besides copies
    VkImageTiling tiling = VK_IMAGE_TILING_OPTIMAL;
    VkImageCreateFlags flags = 0;
    VkComponentMapping swizzle = {};
};

struct VulkanImage {
    VulkanHandle<VkDeviceMemory> memory;
    VulkanHandle<VkImage> handle;
    VulkanHandle<VkImageView> view;
    VulkanImageOptions options;
};

/// One binding, in the order of a set's arguments; more than one element is an array.
struct VulkanArgument {
    VkDescriptorType type;
    std::vector<VkDescriptorBufferInfo> buffers;
    std::vector<VkDescriptorImageInfo> images;
    std::vector<VkBufferView> texels;
    std::uint32_t set = 0;

    [[nodiscard]] VulkanArgument in_set(std::uint32_t other) const {
        VulkanArgument argument = *this;
        argument.set = other;
        return argument;
    }
    static VulkanArgument storage(const VulkanBuffer& buffer, VkDeviceSize offset = 0,
                                  VkDeviceSize bytes = VK_WHOLE_SIZE) {
        return of_buffer(VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, buffer, offset, bytes);
    }
    static VulkanArgument uniform(const VulkanBuffer& buffer, VkDeviceSize offset = 0,
                                  VkDeviceSize bytes = VK_WHOLE_SIZE) {
        return of_buffer(VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, buffer, offset, bytes);
    }
    static VulkanArgument storage_dynamic(const VulkanBuffer& buffer, VkDeviceSize bytes) {
        return of_buffer(VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC, buffer, 0, bytes);
    }
    static VulkanArgument uniform_dynamic(const VulkanBuffer& buffer, VkDeviceSize bytes) {
        return of_buffer(VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, buffer, 0, bytes);
    }
    static VulkanArgument image(const VulkanImage& image) {
        return of_image(VK_DESCRIPTOR_TYPE_STORAGE_IMAGE, image.view.get(), VK_NULL_HANDLE);
    }
    static VulkanArgument sampled(const VulkanImage& image, const VulkanHandle<VkSampler>& sampler) {
        return of_image(VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, image.view.get(), sampler.get());
    }
    static VulkanArgument texture(const VulkanImage& image) {
        return of_image(VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE, image.view.get(), VK_NULL_HANDLE);
    }
    static VulkanArgument sampler(const VulkanHandle<VkSampler>& sampler) {
        return of_image(VK_DESCRIPTOR_TYPE_SAMPLER, VK_NULL_HANDLE, sampler.get());
    }
    static VulkanArgument storage_texels(const VulkanHandle<VkBufferView>& view) {
        return {VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER, {}, {}, {view.get()}, 0};
    }
    static VulkanArgument uniform_texels(const VulkanHandle<VkBufferView>& view) {
        return {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, {}, {}, {view.get()}, 0};
    }
    [[nodiscard]] std::uint32_t count() const {
        return static_cast<std::uint32_t>(buffers.size() + images.size() + texels.size());
    }

  private:
    static VulkanArgument of_buffer(VkDescriptorType type, const VulkanBuffer& buffer, VkDeviceSize offset,
                                    VkDeviceSize bytes) {
        return {type, {{buffer.handle.get(), offset, bytes}}, {}, {}, 0};
    }
    static VulkanArgument of_image(VkDescriptorType type, VkImageView view, VkSampler sampler) {
        return {type, {}, {{sampler, view, VK_IMAGE_LAYOUT_GENERAL}}, {}, 0};
    }
};

struct VulkanKernel {
    std::vector<VulkanHandle<VkDescriptorSetLayout>> set_layouts;
    VulkanHandle<VkPipelineLayout> layout;
    VulkanHandle<VkPipeline> pipeline;
    VulkanHandle<VkDescriptorPool> pool;
    std::vector<VkDescriptorSet> sets;
};

struct VulkanKernelOptions {
    std::uint32_t push_bytes = 0;
    std::vector<std::uint32_t> constants;  ///< specialization constants 0, 1, …
    VkPipelineCreateFlags flags = 0;
};

/// What a device is chosen by, and made with.
struct VulkanDeviceOptions {
    bool prefer_cpu = false;     ///< else a device that is none is taken before one that is
    bool robust_access = false;  ///< accesses outside of buffers and images are defined
};

class VulkanDevice;

/// A command buffer that is being recorded from its construction on, and can be run once it is submitted, any
/// number of times. Buffers and images are used in the layout GENERAL.
class VulkanCommands {
  public:
    explicit VulkanCommands(const VulkanDevice& device);

    VulkanCommands& bind(const VulkanKernel& kernel,
                         std::initializer_list<std::uint32_t> dynamic_offsets = {});
    VulkanCommands& push(const VulkanKernel& kernel, std::span<const std::byte> constants);
    template <typename T>
    VulkanCommands& push(const VulkanKernel& kernel, const T& constants) {
        return push(kernel, std::as_bytes(std::span(&constants, 1)));
    }
    VulkanCommands& dispatch(std::uint32_t x, std::uint32_t y = 1, std::uint32_t z = 1);
    /// All that comes after it sees all that was done before it.
    VulkanCommands& barrier();
    /// From no layout to GENERAL; what was in the image is gone.
    VulkanCommands& make_usable(const VulkanImage& image);
    VulkanCommands& copy(const VulkanBuffer& from, const VulkanImage& to,
                         std::span<const VkBufferImageCopy> regions);
    VulkanCommands& copy(const VulkanImage& from, const VulkanBuffer& to,
                         std::span<const VkBufferImageCopy> regions);
    /// For what has no function here.
    [[nodiscard]] VkCommandBuffer get() const { return commands_; }

  private:
    const VulkanFunctions& vk_;
    VulkanHandle<VkCommandPool> pool_;
    VkCommandBuffer commands_ = nullptr;
};

class VulkanDevice {
  public:
    static constexpr std::uint64_t kPatienceNs = 60'000'000'000;

    explicit VulkanDevice(const VulkanDeviceOptions& options = {});
    VulkanDevice(const VulkanDevice&) = delete;
    VulkanDevice& operator=(const VulkanDevice&) = delete;
    ~VulkanDevice();

    [[nodiscard]] const VulkanFunctions& functions() const { return vk_; }
    [[nodiscard]] VkDevice get() const { return device_; }
    [[nodiscard]] const VkPhysicalDeviceProperties& properties() const { return properties_.properties; }
    [[nodiscard]] const VkPhysicalDeviceSubgroupProperties& subgroups() const { return subgroups_; }
    /// What is on: all that the device offers of it, but for robust access, for which one must ask.
    [[nodiscard]] const VkPhysicalDeviceFeatures& features() const { return features_.features; }
    [[nodiscard]] const VkPhysicalDevice16BitStorageFeatures& storage16() const { return storage16_; }
    [[nodiscard]] const VkPhysicalDevice8BitStorageFeatures& storage8() const { return storage8_; }
    [[nodiscard]] const VkPhysicalDeviceShaderFloat16Int8Features& small_types() const { return small_; }
    /// Whether buffers have addresses that shaders follow.
    [[nodiscard]] bool has_addresses() const { return addresses_.bufferDeviceAddress == VK_TRUE; }
    [[nodiscard]] VkFormatFeatureFlags format_features(VkFormat format, VkImageTiling tiling) const;
    [[nodiscard]] VkFormatFeatureFlags buffer_features(VkFormat format) const;

    [[nodiscard]] VulkanBuffer make_buffer(VkDeviceSize bytes) const;
    [[nodiscard]] VkDeviceAddress address_of(const VulkanBuffer& buffer) const;
    [[nodiscard]] VulkanImage make_image(const VulkanImageOptions& options) const;
    [[nodiscard]] VulkanHandle<VkImageView> make_view(const VulkanImage& image, VkImageViewType type,
                                                      const VkImageSubresourceRange& range) const;
    [[nodiscard]] VulkanHandle<VkBufferView> make_view(const VulkanBuffer& buffer, VkFormat format,
                                                       VkDeviceSize offset = 0,
                                                       VkDeviceSize bytes = VK_WHOLE_SIZE) const;
    [[nodiscard]] VulkanHandle<VkSampler> make_sampler(VkSamplerCreateInfo info) const;
    [[nodiscard]] VulkanKernel make_kernel(std::span<const std::uint32_t> spirv,
                                           std::span<const VulkanArgument> arguments,
                                           const VulkanKernelOptions& options = {}) const;
    [[nodiscard]] VulkanKernel make_kernel(std::span<const std::uint32_t> spirv,
                                           std::initializer_list<VulkanArgument> arguments,
                                           const VulkanKernelOptions& options = {}) const {
        return make_kernel(spirv, std::span(arguments.begin(), arguments.size()), options);
    }

    /// Ends the recording. Once for each VulkanCommands, before its first submission.
    void finish(const VulkanCommands& commands) const;
    /// Submits finished commands, or none at all, and sleeps until they are done.
    [[nodiscard]] VkResult submit_and_wait(const VulkanCommands* commands,
                                           std::uint64_t patience_ns = kPatienceNs);
    /// finish() and submit_and_wait(), of which an error is thrown.
    void run(const VulkanCommands& commands);

  private:
    friend class VulkanCommands;
    struct CloseLibrary {
        void operator()(void* library) const;
    };

    void create_instance();
    void choose_device(bool prefer_cpu);
    void create_device(bool robust_access);
    [[nodiscard]] bool has_extension(const char* name) const;
    [[nodiscard]] VulkanHandle<VkDeviceMemory> allocate(const VkMemoryRequirements& wanted,
                                                        VkMemoryPropertyFlags properties) const;
    template <typename T, typename Info>
    VulkanHandle<T> make(VkResult(VKAPI_PTR* create)(VkDevice, const Info*, const VkAllocationCallbacks*, T*),
                         const Info& info, typename VulkanHandle<T>::Destroy destroy, const char* what) const;

    std::unique_ptr<void, CloseLibrary> library_;
    PFN_vkGetInstanceProcAddr look_up_ = nullptr;
    VulkanFunctions vk_;
    VkInstance instance_ = nullptr;
    VkPhysicalDevice physical_ = nullptr;
    std::uint32_t family_ = 0;
    VkPhysicalDeviceProperties2 properties_{};
    VkPhysicalDeviceSubgroupProperties subgroups_{};
    VkPhysicalDeviceFeatures2 features_{};
    VkPhysicalDevice16BitStorageFeatures storage16_{};
    VkPhysicalDevice8BitStorageFeatures storage8_{};
    VkPhysicalDeviceShaderFloat16Int8Features small_{};
    VkPhysicalDeviceBufferDeviceAddressFeatures addresses_{};
    VkDevice device_ = nullptr;
    VkQueue queue_ = nullptr;
    VulkanHandle<VkSemaphore> timeline_;
    std::uint64_t submitted_ = 0;
};

}  // namespace belfry::cli
