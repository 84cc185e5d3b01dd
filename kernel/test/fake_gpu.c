// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A render node without a GPU: the smallest driver that uses drm_uring, for its tests.
 *
 * A job is a fence. It owns itself through the fence's references; the list of jobs and the callbacks on what
 * it waits for hold one each. Jobs are in no order but that of their waits, so each is a fence context of its
 * own. One work item ends all that are due, as an interrupt does that finds several done. Lock order: a
 * fence's lock, jobs_lock.
 */
#include <linux/dma-fence.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_ioctl.h>

#include "../drm_uring.h"
#include "fake_gpu.h"

struct fake_gpu_wait {
	struct dma_fence_cb callback;
	struct fake_job *job;
};

struct fake_job {
	struct dma_fence fence; /* first: the fence is what others hold */
	spinlock_t lock;
	struct fake_gpu_job args;
	struct list_head link; /* in `jobs`, until it ends; under jobs_lock, as the next two */
	unsigned long due; /* the deadline, then the end of the job's work if that comes before */
	int result; /* when it is due */
	atomic_t remaining; /* unsignalled waits, and one for who still adds some */
	struct fake_gpu_wait waits[];
};

static struct platform_device *platform;
static struct drm_device *device;
static atomic64_t jobs_submitted, jobs_alive;

static void end_due_jobs(struct work_struct *work);

static DEFINE_SPINLOCK(jobs_lock);
static LIST_HEAD(jobs);
static DECLARE_DELAYED_WORK(interrupt, end_due_jobs);
static unsigned long interrupt_at; /* while it is pending */

static const char *name(struct dma_fence *fence)
{
	return FAKE_GPU_NAME;
}

static void release_job(struct dma_fence *fence)
{
	atomic64_dec(&jobs_alive);
	dma_fence_free(fence); /* after a grace period: the job begins with its fence */
}

static const struct dma_fence_ops job_ops = {
	.get_driver_name = name,
	.get_timeline_name = name,
	.release = release_job,
};

static void end_job(struct fake_job *job)
{
	if (job->result)
		dma_fence_set_error(&job->fence, job->result);
	dma_fence_signal(&job->fence);
}

/* Under jobs_lock. */
static void interrupt_by(unsigned long due)
{
	if (delayed_work_pending(&interrupt) && !time_before(due, interrupt_at))
		return;
	interrupt_at = due;
	mod_delayed_work(system_unbound_wq, &interrupt, time_after(due, jiffies) ? due - jiffies : 0);
}

/* Without one: the work comes again when one is due. */
static struct fake_job *take_due_job(void)
{
	struct fake_job *job;

	spin_lock_irq(&jobs_lock);
	list_for_each_entry (job, &jobs, link) {
		if (!time_after(job->due, jiffies)) {
			list_del_init(&job->link);
			spin_unlock_irq(&jobs_lock);
			return job;
		}
		interrupt_by(job->due);
	}
	spin_unlock_irq(&jobs_lock);
	return NULL;
}

static void end_due_jobs(struct work_struct *work)
{
	struct fake_job *job;

	while ((job = take_due_job())) {
		end_job(job);
		dma_fence_put(&job->fence);
	}
}

/* All waits have signalled, maybe too late. The reference is theirs. */
static void start_job(struct fake_job *job)
{
	unsigned long flags, end = jiffies + msecs_to_jiffies(job->args.delay_ms);

	spin_lock_irqsave(&jobs_lock, flags);
	if (!list_empty(&job->link) && time_before(end, job->due)) {
		job->due = end;
		job->result = -(int)job->args.error;
		interrupt_by(end);
	}
	spin_unlock_irqrestore(&jobs_lock, flags);
	dma_fence_put(&job->fence);
}

static void wait_signalled(struct dma_fence *fence, struct dma_fence_cb *callback)
{
	struct fake_job *job = container_of(callback, struct fake_gpu_wait, callback)->job;

	if (atomic_dec_and_test(&job->remaining))
		start_job(job);
}

static struct dma_fence *submit(struct drm_file *file, const struct drm_uring_submission *submission)
{
	const struct belfry_submit_entry *entry = &submission->command.entry;
	struct fake_gpu_job args;
	struct fake_job *job;
	unsigned int i;

	memcpy(&args, entry->payload, sizeof(args));
	if (entry->opcode != FAKE_GPU_JOB || args.flags & ~FAKE_GPU_AT_ONCE || args.pad || args.pad1 ||
	    args.error >= MAX_ERRNO || (args.flags & FAKE_GPU_AT_ONCE && args.delay_ms))
		return ERR_PTR(-EINVAL);
	job = kzalloc(struct_size(job, waits, submission->wait_count), GFP_KERNEL);
	if (!job)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&job->lock);
	dma_fence_init(&job->fence, &job_ops, &job->lock, dma_fence_context_alloc(1), 1);
	job->args = args;
	atomic64_inc(&jobs_submitted);
	atomic64_inc(&jobs_alive);

	if (args.flags & FAKE_GPU_AT_ONCE && !submission->wait_count) {
		job->result = -(int)args.error;
		end_job(job);
		return &job->fence;
	}
	job->due = jiffies + msecs_to_jiffies(FAKE_GPU_DEADLINE_MS);
	job->result = -ETIMEDOUT;
	dma_fence_get(&job->fence); /* the list's */
	dma_fence_get(&job->fence); /* the waits', until the last has signalled */
	spin_lock_irq(&jobs_lock);
	list_add_tail(&job->link, &jobs);
	interrupt_by(job->due);
	spin_unlock_irq(&jobs_lock);
	atomic_set(&job->remaining, 1);
	for (i = 0; i < submission->wait_count; i++) {
		job->waits[i].job = job;
		atomic_inc(&job->remaining);
		if (dma_fence_add_callback(submission->points[i].fence, &job->waits[i].callback,
					   wait_signalled))
			atomic_dec(&job->remaining);
	}
	if (atomic_dec_and_test(&job->remaining))
		start_job(job);
	return &job->fence;
}

static int submit_ioctl(struct drm_device *dev, void *data, struct drm_file *file)
{
	return drm_uring_submit(file, data, submit);
}

static int counts_ioctl(struct drm_device *dev, void *data, struct drm_file *file)
{
	struct fake_gpu_counts *counts = data;

	counts->submitted = atomic64_read(&jobs_submitted);
	counts->alive = atomic64_read(&jobs_alive);
	return 0;
}

static const struct drm_ioctl_desc ioctls[] = {
	[FAKE_GPU_IOCTL_SUBMIT] = {.cmd = DRM_IOW(DRM_COMMAND_BASE + FAKE_GPU_IOCTL_SUBMIT,
						  struct belfry_uring_command),
				   .flags = DRM_RENDER_ALLOW,
				   .func = submit_ioctl,
				   .name = "SUBMIT"},
	[FAKE_GPU_IOCTL_COUNTS] = {.cmd = DRM_IOR(DRM_COMMAND_BASE + FAKE_GPU_IOCTL_COUNTS,
						  struct fake_gpu_counts),
				   .flags = DRM_RENDER_ALLOW,
				   .func = counts_ioctl,
				   .name = "COUNTS"},
};

static int open_file(struct drm_device *dev, struct drm_file *file)
{
	struct drm_uring_file *uring = kzalloc(sizeof(*uring), GFP_KERNEL);

	if (!uring)
		return -ENOMEM;
	drm_uring_file_init(uring);
	file->driver_priv = uring;
	return 0;
}

static void close_file(struct drm_device *dev, struct drm_file *file)
{
	kfree(file->driver_priv);
}

static int flush(struct file *filp, fl_owner_t files)
{
	struct drm_file *file = filp->private_data;

	drm_uring_flush(file->driver_priv, files);
	return 0;
}

static int uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct drm_file *file = cmd->file->private_data;

	return drm_uring_command(cmd, issue_flags, file->driver_priv, submit);
}

static const struct file_operations file_operations = {
	.owner = THIS_MODULE,
	.open = drm_open,
	.flush = flush,
	.release = drm_release,
	.unlocked_ioctl = drm_ioctl,
	.compat_ioctl = drm_compat_ioctl,
	.poll = drm_poll,
	.read = drm_read,
	.uring_cmd = uring_cmd,
#ifdef FOP_UNSIGNED_OFFSET
	.fop_flags = FOP_UNSIGNED_OFFSET,
#endif
};

static const struct drm_driver driver = {
	.driver_features = DRIVER_RENDER | DRIVER_SYNCOBJ | DRIVER_SYNCOBJ_TIMELINE,
	.name = FAKE_GPU_NAME,
	.desc = "drm_uring's test driver",
	.date = "20250101",
	.major = 1,
	.fops = &file_operations,
	.ioctls = ioctls,
	.num_ioctls = ARRAY_SIZE(ioctls),
	.open = open_file,
	.postclose = close_file,
};

static int __init load(void)
{
	int error;

	platform = platform_device_register_simple(FAKE_GPU_NAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(platform))
		return PTR_ERR(platform);
	device = drm_dev_alloc(&driver, &platform->dev);
	error = PTR_ERR_OR_ZERO(device);
	if (!error)
		error = drm_dev_register(device, 0);
	if (!error)
		return 0;
	if (!IS_ERR(device))
		drm_dev_put(device);
	platform_device_unregister(platform);
	return error;
}

/* No file is open, so all that is left of jobs are the references of the list and of waits. */
static void __exit unload(void)
{
	drm_dev_unregister(device);
	while (atomic64_read(&jobs_alive))
		schedule_timeout_uninterruptible(1);
	cancel_delayed_work_sync(&interrupt);
	drm_dev_put(device);
	platform_device_unregister(platform);
}

module_init(load);
module_exit(unload);
MODULE_DESCRIPTION("A render node without a GPU, which tests drm_uring");
MODULE_LICENSE("Dual MIT/GPL");
