#include "cli/vulkan_device.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <dlfcn.h>

namespace belfry::cli {
namespace {

void check(VkResult result, const char* call) {
    if (result < 0)
        throw VulkanError(std::string(call) + " failed with VkResult " + std::to_string(result), result);
}

constexpr std::array kExtensions = {
    VK_KHR_TIMELINE_SEMAPHORE_EXTENSION_NAME, VK_KHR_8BIT_STORAGE_EXTENSION_NAME,
    VK_KHR_BUFFER_DEVICE_ADDRESS_EXTENSION_NAME, VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME,
    VK_EXT_IMAGE_ROBUSTNESS_EXTENSION_NAME};

/// All levels and layers of a color image.
constexpr VkImageSubresourceRange kWhole = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT,
                                            .baseMipLevel = 0,
                                            .levelCount = VK_REMAINING_MIP_LEVELS,
                                            .baseArrayLayer = 0,
                                            .layerCount = VK_REMAINING_ARRAY_LAYERS};

}  // namespace

// ---- Loader, instance, device

void VulkanDevice::CloseLibrary::operator()(void* library) const { ::dlclose(library); }

VulkanDevice::VulkanDevice(const VulkanDeviceOptions& options) {
    library_.reset(::dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL));
    if (!library_)
        throw VulkanError("no Vulkan loader (libvulkan.so.1) on this machine",
                          VK_ERROR_INITIALIZATION_FAILED);
    look_up_ = reinterpret_cast<PFN_vkGetInstanceProcAddr>(::dlsym(library_.get(), "vkGetInstanceProcAddr"));
    if (look_up_ == nullptr)
        throw VulkanError("libvulkan.so.1 is no Vulkan loader", VK_ERROR_INITIALIZATION_FAILED);
    create_instance();
    choose_device(options.prefer_cpu);
    create_device(options.robust_access);
}

VulkanDevice::~VulkanDevice() {
    if (device_ != nullptr) {
        vk_.DeviceWaitIdle(device_);
        timeline_ = {};
        vk_.DestroyDevice(device_, nullptr);
    }
    if (instance_ != nullptr) vk_.DestroyInstance(instance_, nullptr);
}

void VulkanDevice::create_instance() {
    const auto create = reinterpret_cast<PFN_vkCreateInstance>(look_up_(nullptr, "vkCreateInstance"));
    const VkApplicationInfo application{.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                        .pApplicationName = "belfry",
                                        .apiVersion = VK_API_VERSION_1_1};
    const VkInstanceCreateInfo info{.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                    .pApplicationInfo = &application};
    check(create(&info, nullptr, &instance_), "vkCreateInstance");
#define BELFRY_VULKAN_LOOK_UP(name) \
    vk_.name = reinterpret_cast<PFN_vk##name>(look_up_(instance_, "vk" #name));
    BELFRY_VULKAN_INSTANCE_FUNCTIONS(BELFRY_VULKAN_LOOK_UP)
#undef BELFRY_VULKAN_LOOK_UP
}

void VulkanDevice::choose_device(bool prefer_cpu) {
    std::uint32_t count = 0;
    check(vk_.EnumeratePhysicalDevices(instance_, &count, nullptr), "vkEnumeratePhysicalDevices");
    std::vector<VkPhysicalDevice> devices(count);
    check(vk_.EnumeratePhysicalDevices(instance_, &count, devices.data()), "vkEnumeratePhysicalDevices");
    devices.resize(count);

    properties_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    for (const VkPhysicalDevice device : devices) {
        VkPhysicalDeviceProperties2 properties{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
        vk_.GetPhysicalDeviceProperties2(device, &properties);
        const bool is_cpu = properties.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
        if (properties.properties.apiVersion < VK_API_VERSION_1_1 ||
            (physical_ != nullptr && is_cpu != prefer_cpu))
            continue;
        physical_ = device;
        if (is_cpu == prefer_cpu) break;
    }
    if (physical_ == nullptr) throw VulkanError("no Vulkan 1.1 device", VK_ERROR_INITIALIZATION_FAILED);

    subgroups_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
    properties_.pNext = &subgroups_;
    vk_.GetPhysicalDeviceProperties2(physical_, &properties_);

    vk_.GetPhysicalDeviceQueueFamilyProperties(physical_, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    vk_.GetPhysicalDeviceQueueFamilyProperties(physical_, &count, families.data());
    const auto found = std::ranges::find_if(
        families, [](const auto& family) { return (family.queueFlags & VK_QUEUE_COMPUTE_BIT) != 0; });
    if (found == families.end()) throw VulkanError("no queue that computes", VK_ERROR_INITIALIZATION_FAILED);
    family_ = static_cast<std::uint32_t>(found - families.begin());
}

bool VulkanDevice::has_extension(const char* name) const {
    std::uint32_t count = 0;
    vk_.EnumerateDeviceExtensionProperties(physical_, nullptr, &count, nullptr);
    std::vector<VkExtensionProperties> extensions(count);
    vk_.EnumerateDeviceExtensionProperties(physical_, nullptr, &count, extensions.data());
    return std::ranges::any_of(extensions, [name](const auto& extension) {
        return std::strcmp(extension.extensionName, name) == 0;
    });
}

void VulkanDevice::create_device(bool robust_access) {
    std::vector<const char*> extensions;
    std::ranges::copy_if(kExtensions, std::back_inserter(extensions),
                         [this](const char* name) { return has_extension(name); });

    VkPhysicalDeviceTimelineSemaphoreFeatures timelines{
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES};
    VkPhysicalDeviceImageRobustnessFeaturesEXT robust_images{
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_ROBUSTNESS_FEATURES_EXT, .pNext = &timelines};
    addresses_ = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES,
                  .pNext = &robust_images};
    small_ = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES, .pNext = &addresses_};
    storage8_ = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES, .pNext = &small_};
    storage16_ = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES, .pNext = &storage8_};
    features_ = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &storage16_};
    vk_.GetPhysicalDeviceFeatures2(physical_, &features_);
    if (timelines.timelineSemaphore == VK_FALSE)
        throw VulkanError("no timeline semaphores", VK_ERROR_FEATURE_NOT_PRESENT);
    if (!robust_access) {
        features_.features.robustBufferAccess = VK_FALSE;
        robust_images.robustImageAccess = VK_FALSE;
    }

    const float priority = 1;
    const VkDeviceQueueCreateInfo queue{.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                        .queueFamilyIndex = family_,
                                        .queueCount = 1,
                                        .pQueuePriorities = &priority};
    const VkDeviceCreateInfo info{.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                  .pNext = &features_,
                                  .queueCreateInfoCount = 1,
                                  .pQueueCreateInfos = &queue,
                                  .enabledExtensionCount = static_cast<std::uint32_t>(extensions.size()),
                                  .ppEnabledExtensionNames = extensions.data()};
    check(vk_.CreateDevice(physical_, &info, nullptr, &device_), "vkCreateDevice");
    // What is behind is gone with this call.
    addresses_.pNext = nullptr;
#define BELFRY_VULKAN_LOOK_UP(name) \
    vk_.name = reinterpret_cast<PFN_vk##name>(vk_.GetDeviceProcAddr(device_, "vk" #name));
    BELFRY_VULKAN_DEVICE_FUNCTIONS(BELFRY_VULKAN_LOOK_UP)
#undef BELFRY_VULKAN_LOOK_UP
    vk_.GetDeviceQueue(device_, family_, 0, &queue_);

    const VkSemaphoreTypeCreateInfo type{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                         .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    timeline_ = make(vk_.CreateSemaphore,
                     VkSemaphoreCreateInfo{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type},
                     vk_.DestroySemaphore, "vkCreateSemaphore");
}

VkFormatFeatureFlags VulkanDevice::format_features(VkFormat format, VkImageTiling tiling) const {
    VkFormatProperties properties{};
    vk_.GetPhysicalDeviceFormatProperties(physical_, format, &properties);
    return tiling == VK_IMAGE_TILING_OPTIMAL ? properties.optimalTilingFeatures
                                             : properties.linearTilingFeatures;
}

VkFormatFeatureFlags VulkanDevice::buffer_features(VkFormat format) const {
    VkFormatProperties properties{};
    vk_.GetPhysicalDeviceFormatProperties(physical_, format, &properties);
    return properties.bufferFeatures;
}

// ---- Objects

template <typename T, typename Info>
VulkanHandle<T> VulkanDevice::make(VkResult(VKAPI_PTR* create)(VkDevice, const Info*,
                                                               const VkAllocationCallbacks*, T*),
                                   const Info& info, typename VulkanHandle<T>::Destroy destroy,
                                   const char* what) const {
    T handle = VK_NULL_HANDLE;
    check(create(device_, &info, nullptr, &handle), what);
    return {device_, handle, destroy};
}

VulkanHandle<VkDeviceMemory> VulkanDevice::allocate(const VkMemoryRequirements& wanted,
                                                    VkMemoryPropertyFlags properties) const {
    VkPhysicalDeviceMemoryProperties memory{};
    vk_.GetPhysicalDeviceMemoryProperties(physical_, &memory);
    for (std::uint32_t type = 0; type < memory.memoryTypeCount; ++type) {
        if ((wanted.memoryTypeBits >> type & 1) == 0 ||
            (memory.memoryTypes[type].propertyFlags & properties) != properties)
            continue;
        const VkMemoryAllocateFlagsInfo with_address{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                                     .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
        return make(vk_.AllocateMemory,
                    VkMemoryAllocateInfo{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                         .pNext = has_addresses() ? &with_address : nullptr,
                                         .allocationSize = wanted.size,
                                         .memoryTypeIndex = type},
                    vk_.FreeMemory, "vkAllocateMemory");
    }
    throw VulkanError("no memory of the type that is wanted", VK_ERROR_FEATURE_NOT_PRESENT);
}

VulkanBuffer VulkanDevice::make_buffer(VkDeviceSize bytes) const {
    VkBufferUsageFlags usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
                               VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                               VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
                               VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT;
    if (has_addresses()) usage |= VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    VulkanBuffer buffer;
    buffer.handle = make(vk_.CreateBuffer,
                         VkBufferCreateInfo{.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                            .size = bytes,
                                            .usage = usage,
                                            .sharingMode = VK_SHARING_MODE_EXCLUSIVE},
                         vk_.DestroyBuffer, "vkCreateBuffer");
    VkMemoryRequirements wanted{};
    vk_.GetBufferMemoryRequirements(device_, buffer.handle.get(), &wanted);
    buffer.memory =
        allocate(wanted, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    check(vk_.BindBufferMemory(device_, buffer.handle.get(), buffer.memory.get(), 0), "vkBindBufferMemory");
    void* mapped = nullptr;
    check(vk_.MapMemory(device_, buffer.memory.get(), 0, VK_WHOLE_SIZE, 0, &mapped), "vkMapMemory");
    buffer.bytes = {static_cast<std::byte*>(mapped), static_cast<std::size_t>(bytes)};
    return buffer;
}

VkDeviceAddress VulkanDevice::address_of(const VulkanBuffer& buffer) const {
    const VkBufferDeviceAddressInfo info{.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                         .buffer = buffer.handle.get()};
    return vk_.GetBufferDeviceAddressKHR(device_, &info);
}

VulkanImage VulkanDevice::make_image(const VulkanImageOptions& options) const {
    VulkanImage image;
    image.options = options;
    image.handle = make(vk_.CreateImage,
                        VkImageCreateInfo{.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                                          .flags = options.flags,
                                          .imageType = options.type,
                                          .format = options.format,
                                          .extent = options.extent,
                                          .mipLevels = options.levels,
                                          .arrayLayers = options.layers,
                                          .samples = VK_SAMPLE_COUNT_1_BIT,
                                          .tiling = options.tiling,
                                          .usage = options.usage | VK_IMAGE_USAGE_TRANSFER_SRC_BIT |
                                                   VK_IMAGE_USAGE_TRANSFER_DST_BIT,
                                          .sharingMode = VK_SHARING_MODE_EXCLUSIVE,
                                          .initialLayout = VK_IMAGE_LAYOUT_UNDEFINED},
                        vk_.DestroyImage, "vkCreateImage");
    VkMemoryRequirements wanted{};
    vk_.GetImageMemoryRequirements(device_, image.handle.get(), &wanted);
    image.memory = allocate(wanted, 0);
    check(vk_.BindImageMemory(device_, image.handle.get(), image.memory.get(), 0), "vkBindImageMemory");
    constexpr VkImageUsageFlags kNeedsView = VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_STORAGE_BIT;
    if ((options.usage & kNeedsView) != 0) image.view = make_view(image, options.view, kWhole);
    return image;
}

VulkanHandle<VkImageView> VulkanDevice::make_view(const VulkanImage& image, VkImageViewType type,
                                                  const VkImageSubresourceRange& range) const {
    return make(vk_.CreateImageView,
                VkImageViewCreateInfo{.sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
                                      .image = image.handle.get(),
                                      .viewType = type,
                                      .format = image.options.format,
                                      .components = image.options.swizzle,
                                      .subresourceRange = range},
                vk_.DestroyImageView, "vkCreateImageView");
}

VulkanHandle<VkBufferView> VulkanDevice::make_view(const VulkanBuffer& buffer, VkFormat format,
                                                   VkDeviceSize offset, VkDeviceSize bytes) const {
    return make(vk_.CreateBufferView,
                VkBufferViewCreateInfo{.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
                                       .buffer = buffer.handle.get(),
                                       .format = format,
                                       .offset = offset,
                                       .range = bytes},
                vk_.DestroyBufferView, "vkCreateBufferView");
}

VulkanHandle<VkSampler> VulkanDevice::make_sampler(VkSamplerCreateInfo info) const {
    info.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO;
    return make(vk_.CreateSampler, info, vk_.DestroySampler, "vkCreateSampler");
}

VulkanKernel VulkanDevice::make_kernel(std::span<const std::uint32_t> spirv,
                                       std::span<const VulkanArgument> arguments,
                                       const VulkanKernelOptions& options) const {
    std::vector<std::vector<VkDescriptorSetLayoutBinding>> bindings(arguments.empty() ? 0 : 1);
    std::vector<VkDescriptorPoolSize> sizes;
    std::vector<VkWriteDescriptorSet> writes;
    for (const VulkanArgument& argument : arguments) {
        if (argument.set >= bindings.size()) bindings.resize(argument.set + 1);
        auto& of_set = bindings[argument.set];
        const auto binding = static_cast<std::uint32_t>(of_set.size());
        of_set.push_back({.binding = binding,
                          .descriptorType = argument.type,
                          .descriptorCount = argument.count(),
                          .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT});
        sizes.push_back({.type = argument.type, .descriptorCount = argument.count()});
        writes.push_back({.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                          .dstBinding = binding,
                          .descriptorCount = argument.count(),
                          .descriptorType = argument.type,
                          .pImageInfo = argument.images.data(),
                          .pBufferInfo = argument.buffers.data(),
                          .pTexelBufferView = argument.texels.data()});
    }
    VulkanKernel kernel;
    std::vector<VkDescriptorSetLayout> set_layouts;
    for (const auto& of_set : bindings) {
        kernel.set_layouts.push_back(
            make(vk_.CreateDescriptorSetLayout,
                 VkDescriptorSetLayoutCreateInfo{.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                                 .bindingCount = static_cast<std::uint32_t>(of_set.size()),
                                                 .pBindings = of_set.data()},
                 vk_.DestroyDescriptorSetLayout, "vkCreateDescriptorSetLayout"));
        set_layouts.push_back(kernel.set_layouts.back().get());
    }
    const auto sets = static_cast<std::uint32_t>(set_layouts.size());
    const VkPushConstantRange push{
        .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .offset = 0, .size = options.push_bytes};
    kernel.layout =
        make(vk_.CreatePipelineLayout,
             VkPipelineLayoutCreateInfo{.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                        .setLayoutCount = sets,
                                        .pSetLayouts = set_layouts.data(),
                                        .pushConstantRangeCount = options.push_bytes != 0 ? 1U : 0U,
                                        .pPushConstantRanges = &push},
             vk_.DestroyPipelineLayout, "vkCreatePipelineLayout");

    const auto module = make(vk_.CreateShaderModule,
                             VkShaderModuleCreateInfo{.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                                      .codeSize = spirv.size_bytes(),
                                                      .pCode = spirv.data()},
                             vk_.DestroyShaderModule, "vkCreateShaderModule");
    std::vector<VkSpecializationMapEntry> entries;
    for (std::uint32_t id = 0; id < options.constants.size(); ++id)
        entries.push_back({.constantID = id, .offset = id * 4, .size = 4});
    const VkSpecializationInfo constants{.mapEntryCount = static_cast<std::uint32_t>(entries.size()),
                                         .pMapEntries = entries.data(),
                                         .dataSize = options.constants.size() * 4,
                                         .pData = options.constants.data()};
    const VkComputePipelineCreateInfo pipeline{
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags = options.flags,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module.get(),
                  .pName = "main",
                  .pSpecializationInfo = &constants},
        .layout = kernel.layout.get()};
    VkPipeline made = VK_NULL_HANDLE;
    check(vk_.CreateComputePipelines(device_, VK_NULL_HANDLE, 1, &pipeline, nullptr, &made),
          "vkCreateComputePipelines");
    kernel.pipeline = {device_, made, vk_.DestroyPipeline};
    if (arguments.empty()) return kernel;

    kernel.pool = make(vk_.CreateDescriptorPool,
                       VkDescriptorPoolCreateInfo{.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                                  .maxSets = sets,
                                                  .poolSizeCount = static_cast<std::uint32_t>(sizes.size()),
                                                  .pPoolSizes = sizes.data()},
                       vk_.DestroyDescriptorPool, "vkCreateDescriptorPool");
    const VkDescriptorSetAllocateInfo allocation{.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                                 .descriptorPool = kernel.pool.get(),
                                                 .descriptorSetCount = sets,
                                                 .pSetLayouts = set_layouts.data()};
    kernel.sets.resize(sets);
    check(vk_.AllocateDescriptorSets(device_, &allocation, kernel.sets.data()), "vkAllocateDescriptorSets");
    for (std::size_t i = 0; i < writes.size(); ++i) writes[i].dstSet = kernel.sets[arguments[i].set];
    vk_.UpdateDescriptorSets(device_, static_cast<std::uint32_t>(writes.size()), writes.data(), 0, nullptr);
    return kernel;
}

// ---- Commands

VulkanCommands::VulkanCommands(const VulkanDevice& device) : vk_(device.functions()) {
    pool_ = device.make(vk_.CreateCommandPool,
                        VkCommandPoolCreateInfo{.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                                .queueFamilyIndex = device.family_},
                        vk_.DestroyCommandPool, "vkCreateCommandPool");
    const VkCommandBufferAllocateInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                           .commandPool = pool_.get(),
                                           .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                           .commandBufferCount = 1};
    check(vk_.AllocateCommandBuffers(device.get(), &info, &commands_), "vkAllocateCommandBuffers");
    const VkCommandBufferBeginInfo begin{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    check(vk_.BeginCommandBuffer(commands_, &begin), "vkBeginCommandBuffer");
}

VulkanCommands& VulkanCommands::bind(const VulkanKernel& kernel,
                                     std::initializer_list<std::uint32_t> dynamic_offsets) {
    vk_.CmdBindPipeline(commands_, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.pipeline.get());
    if (!kernel.sets.empty())
        vk_.CmdBindDescriptorSets(commands_, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.layout.get(), 0,
                                  static_cast<std::uint32_t>(kernel.sets.size()), kernel.sets.data(),
                                  static_cast<std::uint32_t>(dynamic_offsets.size()),
                                  std::data(dynamic_offsets));
    return *this;
}

VulkanCommands& VulkanCommands::push(const VulkanKernel& kernel, std::span<const std::byte> constants) {
    vk_.CmdPushConstants(commands_, kernel.layout.get(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                         static_cast<std::uint32_t>(constants.size()), constants.data());
    return *this;
}

VulkanCommands& VulkanCommands::dispatch(std::uint32_t x, std::uint32_t y, std::uint32_t z) {
    vk_.CmdDispatch(commands_, x, y, z);
    return *this;
}

VulkanCommands& VulkanCommands::barrier() {
    const VkMemoryBarrier all{.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                              .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
                              .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT};
    vk_.CmdPipelineBarrier(commands_, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                           VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &all, 0,
                           nullptr, 0, nullptr);
    return *this;
}

VulkanCommands& VulkanCommands::make_usable(const VulkanImage& image) {
    const VkImageMemoryBarrier made{.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER,
                                    .srcAccessMask = 0,
                                    .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
                                    .oldLayout = VK_IMAGE_LAYOUT_UNDEFINED,
                                    .newLayout = VK_IMAGE_LAYOUT_GENERAL,
                                    .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
                                    .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
                                    .image = image.handle.get(),
                                    .subresourceRange = kWhole};
    vk_.CmdPipelineBarrier(commands_, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                           0, 0, nullptr, 0, nullptr, 1, &made);
    return *this;
}

VulkanCommands& VulkanCommands::copy(const VulkanBuffer& from, const VulkanImage& to,
                                     std::span<const VkBufferImageCopy> regions) {
    vk_.CmdCopyBufferToImage(commands_, from.handle.get(), to.handle.get(), VK_IMAGE_LAYOUT_GENERAL,
                             static_cast<std::uint32_t>(regions.size()), regions.data());
    return *this;
}

VulkanCommands& VulkanCommands::copy(const VulkanImage& from, const VulkanBuffer& to,
                                     std::span<const VkBufferImageCopy> regions) {
    vk_.CmdCopyImageToBuffer(commands_, from.handle.get(), VK_IMAGE_LAYOUT_GENERAL, to.handle.get(),
                             static_cast<std::uint32_t>(regions.size()), regions.data());
    return *this;
}

// ---- Running them

void VulkanDevice::finish(const VulkanCommands& commands) const {
    check(vk_.EndCommandBuffer(commands.get()), "vkEndCommandBuffer");
}

VkResult VulkanDevice::submit_and_wait(const VulkanCommands* commands, std::uint64_t patience_ns) {
    const std::uint64_t value = ++submitted_;
    const VkSemaphore timeline = timeline_.get();
    const VkCommandBuffer buffer = commands != nullptr ? commands->get() : nullptr;
    const VkTimelineSemaphoreSubmitInfo values{.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                               .signalSemaphoreValueCount = 1,
                                               .pSignalSemaphoreValues = &value};
    const VkSubmitInfo submit{.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                              .pNext = &values,
                              .commandBufferCount = buffer != nullptr ? 1U : 0U,
                              .pCommandBuffers = &buffer,
                              .signalSemaphoreCount = 1,
                              .pSignalSemaphores = &timeline};
    const VkSemaphoreWaitInfo wait{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                   .semaphoreCount = 1,
                                   .pSemaphores = &timeline,
                                   .pValues = &value};
    if (const VkResult result = vk_.QueueSubmit(queue_, 1, &submit, VK_NULL_HANDLE); result != VK_SUCCESS)
        return result;
    return vk_.WaitSemaphoresKHR(device_, &wait, patience_ns);
}

void VulkanDevice::run(const VulkanCommands& commands) {
    finish(commands);
    const VkResult result = submit_and_wait(&commands);
    if (result == VK_TIMEOUT) throw VulkanError("submitted work took more than a minute", result);
    check(result, "submitted work");
}

}  // namespace belfry::cli
