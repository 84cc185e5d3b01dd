/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What tests ask of kernel/test/fake_gpu.c, a render node without a GPU. Usable from C and C++. */
#ifndef FAKE_GPU_H
#define FAKE_GPU_H

#include "belfry/uapi/uring_cmd.h"

#ifdef __cplusplus
namespace belfry::uapi
{
#endif

#define FAKE_GPU_NAME "fake_gpu"

/* The only driver opcode. A job whose waits have signalled takes `delay_ms`, and ends with `error`. One that
 * has not ended FAKE_GPU_DEADLINE_MS after its submission ends with ETIMEDOUT, whatever it waits for. */
#define FAKE_GPU_JOB 0x40
#define FAKE_GPU_DEADLINE_MS 1000

enum fake_gpu_job_flags {
	FAKE_GPU_AT_ONCE =
		1 << 0, /* signals before the submission returns if it waits for nothing; no delay */
};

struct fake_gpu_job {
	uint32_t flags;
	uint32_t delay_ms;
	uint32_t error; /* an errno */
	uint32_t pad;
	uint64_t pad1;
};
BELFRY_UAPI_ASSERT_SIZE(fake_gpu_job, 24);

struct fake_gpu_counts {
	uint64_t submitted; /* jobs since the module was loaded */
	uint64_t alive; /* fences that somebody still holds */
};
BELFRY_UAPI_ASSERT_SIZE(fake_gpu_counts, 16);

#define FAKE_GPU_IOCTL_SUBMIT 0x00 /* belfry_uring_command, in */
#define FAKE_GPU_IOCTL_COUNTS 0x01 /* fake_gpu_counts, out */

#ifdef __cplusplus
} /* namespace belfry::uapi */
#endif
#endif
