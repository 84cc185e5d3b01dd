// Programs that look up textures: a ShaderRig with an image and a sampler in its descriptors.
//
// Each of 16 threads has 12 words of input in r4 ... r15 (u0 u1 point to the first thread's, 64 bytes apart)
// and stores r16 ... r19 over its first four.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "gpu_texture_rig.hpp"
#include "shader_rig.hpp"

namespace belfry::gpu::shader {

using texture::Dimension;
using texture::ImageLayout;
using texture::SamplerWords;
using texture::TestImage;
using texture::TestMemory;

inline constexpr std::uint32_t kNoDescriptor = 0;
inline constexpr std::uint32_t kTexture = 1;
inline constexpr std::uint32_t kSampler = 2;
inline constexpr std::uint32_t kBufferDescriptor = 3;
inline constexpr std::uint32_t kAttribute = 4;
inline constexpr unsigned kThreadWords = 16;

class TextureRig : public ShaderRig {
  public:
    TextureRig() { handles(kTexture, kSampler); }

    /// u2 u3: a narrow handle.
    void handles(std::uint32_t of_texture, std::uint32_t of_sampler) {
        uniform(2, of_texture << 16 | of_sampler);
        uniform(3, 0);
    }
    void wide_handles(std::uint32_t of_texture, std::uint32_t of_sampler) {
        uniform(2, of_sampler);
        uniform(3, of_texture);
    }
    void descriptor(std::uint32_t index, const texture::DescriptorWords& words) {
        memory.put(kTable0 + 32 * index, words);
    }
    void sampler(const SamplerWords& words) { descriptor(kSampler, words.words()); }
    /// Maps the image as it is now.
    void image(TestImage& image, std::uint32_t index = kTexture) {
        memory.map(TestMemory::kBase, image.memory().bytes().size());
        memory.write(TestMemory::kBase, image.memory().bytes());
        descriptor(index, image.descriptor());
    }
    template <typename T>
    void input(unsigned thread, unsigned word, T value) {
        set_out(thread * kThreadWords + word, std::bit_cast<std::uint32_t>(value));
    }
    [[nodiscard]] std::uint32_t result(unsigned thread, unsigned word) const {
        return out(thread * kThreadWords + 12 + word);
    }
    [[nodiscard]] float result_float(unsigned thread, unsigned word) const {
        return std::bit_cast<float>(result(thread, word));
    }
    /// Runs `text` in 16 threads.
    Outcome run_threads(std::string_view text) {
        std::string whole =
            "SHADDX.u64 r0, u0, r60.w0, shift:0x6\n"
            "LOAD.i128.unsigned.slot0.wait0 @r4:r5:r6:r7, r0, offset:0\n"
            "LOAD.i128.unsigned.slot0.wait0 @r8:r9:r10:r11, r0, offset:16\n"
            "LOAD.i128.unsigned.slot0.wait0 @r12:r13:r14:r15, r0, offset:32\n";
        whole += text;
        whole +=
            "\nSTORE.i128.slot0.wait0 @r16:r17:r18:r19, r0, offset:48\n"
            "NOP.end\n";
        program(whole);
        return run();
    }
};

}  // namespace belfry::gpu::shader
