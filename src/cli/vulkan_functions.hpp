// The functions of Vulkan that this program calls. All come from the loader, at run time.
//
// Looked up by VulkanDevice; those of the device come from the device itself, because the loader's own would
// add a jump to each call.
#pragma once

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

// clang-format off: one table, several a line
#define BELFRY_VULKAN_INSTANCE_FUNCTIONS(X) \
    X(CreateDevice) X(DestroyInstance) X(EnumerateDeviceExtensionProperties) X(EnumeratePhysicalDevices) \
    X(GetDeviceProcAddr) X(GetPhysicalDeviceFeatures2) X(GetPhysicalDeviceFormatProperties) \
    X(GetPhysicalDeviceMemoryProperties) X(GetPhysicalDeviceProperties2) \
    X(GetPhysicalDeviceQueueFamilyProperties)

#define BELFRY_VULKAN_DEVICE_FUNCTIONS(X) \
    X(AllocateCommandBuffers) X(AllocateDescriptorSets) X(AllocateMemory) X(BeginCommandBuffer) \
    X(BindBufferMemory) X(BindImageMemory) X(CmdBindDescriptorSets) X(CmdBindPipeline) X(CmdCopyBuffer) \
    X(CmdCopyBufferToImage) X(CmdCopyImage) X(CmdCopyImageToBuffer) X(CmdDispatch) X(CmdDispatchBase) \
    X(CmdDispatchIndirect) X(CmdFillBuffer) X(CmdPipelineBarrier) X(CmdPushConstants) X(CmdUpdateBuffer) \
    X(CreateBuffer) X(CreateBufferView) X(CreateCommandPool) X(CreateComputePipelines) \
    X(CreateDescriptorPool) X(CreateDescriptorSetLayout) X(CreateImage) X(CreateImageView) \
    X(CreatePipelineLayout) X(CreateSampler) X(CreateSemaphore) X(CreateShaderModule) X(DestroyBuffer) \
    X(DestroyBufferView) X(DestroyCommandPool) X(DestroyDescriptorPool) X(DestroyDescriptorSetLayout) \
    X(DestroyDevice) X(DestroyImage) X(DestroyImageView) X(DestroyPipeline) X(DestroyPipelineLayout) \
    X(DestroySampler) X(DestroySemaphore) X(DestroyShaderModule) X(DeviceWaitIdle) X(EndCommandBuffer) \
    X(FreeMemory) X(GetBufferDeviceAddressKHR) X(GetBufferMemoryRequirements) X(GetDeviceQueue) X(GetImageMemoryRequirements) \
    X(MapMemory) X(QueueSubmit) X(UpdateDescriptorSets) X(WaitSemaphoresKHR)
// clang-format on

namespace belfry::cli {

struct VulkanFunctions {
#define BELFRY_VULKAN_FUNCTION(name) PFN_vk##name name = nullptr;
    BELFRY_VULKAN_INSTANCE_FUNCTIONS(BELFRY_VULKAN_FUNCTION)
    BELFRY_VULKAN_DEVICE_FUNCTIONS(BELFRY_VULKAN_FUNCTION)
#undef BELFRY_VULKAN_FUNCTION
};

}  // namespace belfry::cli
