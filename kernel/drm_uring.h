/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * drm_uring: submission through io_uring, for any DRM driver.
 *
 * A driver embeds a struct drm_uring_file in what it keeps for each open file, and gives its file_operations
 * an
 * ->uring_cmd that calls drm_uring_command() with one hook of its own. All else is done here: the entry
 * (include/belfry/uapi/uring_cmd.h) is copied once and judged, wait points become fences, signal points get
 * the job's fence, and the completion comes when the job is accepted or when its fence signals.
 *
 * A command pins its file, and waits for nothing but fences. A fence signals within a bound, so whatever goes
 * away first - the ring, the descriptor, the process - the rest goes when the fences have signalled. It goes
 * at once, and the file with it, when the program ends: from 6.7 on in any case, before that if the driver's
 * ->flush calls drm_uring_flush() and a descriptor of the program's is still open then. A command that waits
 * for a point which nobody has submitted sleeps in one of io_uring's workers, which io_uring ends with the
 * ring.
 */
#ifndef DRM_URING_H
#define DRM_URING_H

#include <linux/atomic.h>
#include <linux/dma-fence.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#include <linux/io_uring/cmd.h>
#endif

#include "belfry/uapi/uring_cmd.h"

struct dma_fence_chain;
struct drm_file;
struct drm_syncobj;
struct drm_uring_submission;

/* What a driver keeps for each open file. Goes with the file: commands in flight hold that. */
struct drm_uring_file {
	spinlock_t lock;
	struct list_head waiting; /* submissions whose fences have not all signalled; under the lock */
};

void drm_uring_file_init(struct drm_uring_file *uring);

/* For ->flush, with what that is given: of a program that ends nobody wants to know what became of its
   commands. */
void drm_uring_flush(struct drm_uring_file *uring, fl_owner_t files);

/* A point of an entry: a fence to wait for, or a syncobj that gets one. */
struct drm_uring_point {
	struct dma_fence *fence;
	struct dma_fence_cb callback;
	struct drm_uring_submission *submission;

	struct drm_syncobj *syncobj;
	struct dma_fence_chain *chain; /* for a timeline's point, until it is published */
	u64 value;
};

/* An entry that was found sound. What comes before "private" is for the driver's hook to read. */
struct drm_uring_submission {
	struct belfry_uring_command command; /* the one copy */
	unsigned int wait_count; /* points[0 ... wait_count).fence is what the job waits for */

	/* private: */
	unsigned int point_count;
	unsigned int
		signal_count; /* points[point_count - signal_count ... point_count) are to be signalled */
	bool publish_late; /* signal points get their fence at the completion */
	struct io_uring_cmd *cmd;
	struct drm_uring_file *uring;
	fl_owner_t files; /* the submitter's descriptors */
	struct list_head link; /* in `waiting`; who takes it off completes it */
	atomic_t remaining; /* fences that have not signalled, and one for who still adds some */
	int result;
	struct drm_uring_point done; /* the job's fence */

	struct drm_uring_point points[];
};

/*
 * The driver's one hook: takes the job and returns a reference to the fence that signals when it is done, or
 * an ERR_PTR() and has done nothing. It may sleep for memory, as an ioctl may. It takes references of its own
 * to the fences it waits for. The opcode is BELFRY_SUBMIT_DRIVER or above; others are never seen here.
 */
typedef struct dma_fence *(*drm_uring_submit_fn)(struct drm_file *file,
						 const struct drm_uring_submission *submission);

/* For ->uring_cmd: returns what that returns. */
int drm_uring_command(struct io_uring_cmd *cmd, unsigned int issue_flags, struct drm_uring_file *uring,
		      drm_uring_submit_fn submit);

/* The same job by an ioctl whose argument is the command, already copied: returns when it is accepted. */
int drm_uring_submit(struct drm_file *file, const struct belfry_uring_command *command,
		     drm_uring_submit_fn submit);

#endif
