// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * drm_uring: see drm_uring.h.
 *
 * A submission that must wait belongs to the callbacks on its fences. Who completes it is who takes it off
 * its file's list: the callback of the last fence, a CANCEL, or the end of its program; or the submitter, if
 * all fences had signalled before. Lock order: a fence's lock, then drm_uring_file.lock.
 */
#include <linux/dma-fence-chain.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_syncobj.h>

#include "drm_uring.h"

static const void *payload_of(struct io_uring_cmd *cmd)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	return io_uring_sqe_cmd(cmd->sqe);
#else
	return cmd->cmd;
#endif
}

/* In a command's own memory. */
struct command_state {
	struct drm_uring_submission *submission;
	bool waits; /* is on its file's list; under the file's lock */
};
static_assert(sizeof(struct command_state) <= sizeof_field(struct io_uring_cmd, pdu));

static struct command_state *state_of(struct io_uring_cmd *cmd)
{
	return (struct command_state *)cmd->pdu;
}

/* --- points -----------------------------------------------------------------------------------------------
 */

static int add_wait(struct drm_uring_submission *submission, struct drm_file *file, u32 handle, u64 value,
		    unsigned int issue_flags)
{
	struct drm_uring_point *point = &submission->points[submission->wait_count];
	int error = drm_syncobj_find_fence(file, handle, value, 0, &point->fence);

	/* Where the timeline has not come to the point, it leaves us a fence that it has put already. */
	if (error)
		point->fence = NULL;
	/* There is no fence yet. Only what publishes late may wait for one to come: a job that did would hold
	   back fences that others can see already. */
	if (error == -EINVAL && submission->publish_late) {
		if (issue_flags & IO_URING_F_NONBLOCK)
			return -EAGAIN; /* again from one of io_uring's workers, which may sleep */
		do {
			error = drm_syncobj_find_fence(file, handle, value,
						       DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT, &point->fence);
		} while (error == -ETIME && !signal_pending(current));
		/* Woken by io_uring, to end; or by a signal: a program is stopped once its workers return. */
		if (error == -ERESTARTSYS || error == -ETIME)
			error = test_thread_flag(TIF_NOTIFY_SIGNAL) ? -ECANCELED : -EINTR;
	}
	if (!error)
		submission->wait_count++;
	return error;
}

static int add_signal(struct drm_uring_submission *submission, struct drm_file *file, u32 handle, u64 value)
{
	unsigned int place = submission->point_count - submission->signal_count - 1;
	struct drm_uring_point *point = &submission->points[place];

	point->syncobj = drm_syncobj_find(file, handle);
	if (!point->syncobj)
		return -ENOENT;
	submission->signal_count++;
	point->value = value;
	if (value) {
		point->chain = dma_fence_chain_alloc();
		if (!point->chain)
			return -ENOMEM;
	}
	return 0;
}

/* The array in the arena: copied piece by piece, each once. */
static int add_more_points(struct drm_uring_submission *submission, struct drm_file *file,
			   unsigned int issue_flags)
{
	const struct belfry_uring_command *command = &submission->command;
	unsigned int i, count = command->entry.more_syncs;
	u32 offset = command->entry.more_syncs_offset;
	const struct belfry_submit_sync __user *syncs;
	int error = 0;

	if (offset % 8 || offset > command->arena_bytes ||
	    count > (command->arena_bytes - offset) / sizeof(*syncs))
		return -EINVAL;
	syncs = u64_to_user_ptr(command->arena + offset);
	for (i = 0; i < count && !error; i++) {
		struct belfry_submit_sync sync;

		if (copy_from_user(&sync, &syncs[i], sizeof(sync)))
			error = -EFAULT;
		else if (sync.flags & ~BELFRY_SUBMIT_SYNC_SIGNAL)
			error = -EINVAL;
		else if (sync.flags)
			error = add_signal(submission, file, sync.handle, sync.point);
		else
			error = add_wait(submission, file, sync.handle, sync.point, issue_flags);
	}
	return error;
}

/* Nothing here can fail: from the hook on, a job is accepted. */
static void publish(struct drm_uring_submission *submission, struct dma_fence *fence)
{
	unsigned int i;

	for (i = submission->point_count - submission->signal_count; i < submission->point_count; i++) {
		struct drm_uring_point *point = &submission->points[i];

		if (point->chain)
			drm_syncobj_add_point(point->syncobj, point->chain, fence, point->value);
		else
			drm_syncobj_replace_fence(point->syncobj, fence);
		point->chain = NULL; /* the syncobj's now */
	}
}

/* --- submissions ------------------------------------------------------------------------------------------
 */

static void free_submission(struct drm_uring_submission *submission)
{
	unsigned int i;

	for (i = 0; i < submission->point_count; i++) {
		struct drm_uring_point *point = &submission->points[i];

		dma_fence_put(point->fence);
		dma_fence_chain_free(point->chain);
		if (point->syncobj)
			drm_syncobj_put(point->syncobj);
	}
	dma_fence_put(submission->done.fence);
	kvfree(submission);
}

/* Judges the copy and finds what it names. */
static struct drm_uring_submission *
make_submission(struct drm_file *file, const struct belfry_uring_command *command, unsigned int issue_flags)
{
	const struct belfry_submit_entry *entry = &command->entry;
	unsigned int count = entry->more_syncs + !!entry->wait_handle + !!entry->signal_handle;
	struct drm_uring_submission *submission;
	int error = 0;

	if (entry->more_syncs > BELFRY_SUBMIT_ELEMENTS_PER_ENTRY_MAX ||
	    (!entry->wait_handle && entry->wait_point) || (!entry->signal_handle && entry->signal_point))
		return ERR_PTR(-EINVAL);
	submission = kvzalloc(struct_size(submission, points, count), GFP_KERNEL_ACCOUNT);
	if (!submission)
		return ERR_PTR(-ENOMEM);
	submission->command = *command;
	submission->point_count = count;
	submission->publish_late = entry->opcode == BELFRY_SUBMIT_NOP;

	if (entry->signal_handle)
		error = add_signal(submission, file, entry->signal_handle, entry->signal_point);
	if (!error && entry->wait_handle)
		error = add_wait(submission, file, entry->wait_handle, entry->wait_point, issue_flags);
	if (!error && entry->more_syncs)
		error = add_more_points(submission, file, issue_flags);
	if (error) {
		free_submission(submission);
		return ERR_PTR(error);
	}
	return submission;
}

/* Hands the job to the driver. Its fence is seen by others only once nothing can fail any more. */
static int accept(struct drm_uring_submission *submission, struct drm_file *file, drm_uring_submit_fn submit)
{
	struct dma_fence *fence = submit(file, submission);

	if (IS_ERR(fence))
		return PTR_ERR(fence);
	publish(submission, fence);
	submission->done.fence = fence;
	return 0;
}

/* --- completion -------------------------------------------------------------------------------------------
 */

/* The end of a submission that is on nobody's list. */
static int settle(struct drm_uring_submission *submission)
{
	int result = submission->result;

	if (submission->publish_late && !result) {
		struct dma_fence *signalled = dma_fence_get_stub();

		publish(submission, signalled);
		dma_fence_put(signalled);
	}
	free_submission(submission);
	return result;
}

/* In the submitter's context, or a worker's if that is gone. The file may be gone after the last line. */
static void finish(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	io_uring_cmd_done(cmd, settle(state_of(cmd)->submission), 0, issue_flags);
}

/* The right to complete a command that waits: who takes its submission off the list has it, once. */
static bool take_locked(struct io_uring_cmd *cmd)
{
	struct command_state *state = state_of(cmd);

	if (!state->waits)
		return false;
	state->waits = false;
	list_del(&state->submission->link);
	return true;
}

static bool take(struct drm_uring_file *uring, struct io_uring_cmd *cmd)
{
	unsigned long flags;
	bool taken;

	spin_lock_irqsave(&uring->lock, flags);
	taken = take_locked(cmd);
	spin_unlock_irqrestore(&uring->lock, flags);
	return taken;
}

/* Of a submission that was taken. */
static void let_go_of_fences(struct drm_uring_submission *submission)
{
	unsigned int i;

	/* Taking a callback off waits for one that runs: after this nobody else knows the submission. */
	if (submission->done.fence)
		dma_fence_remove_callback(submission->done.fence, &submission->done.callback);
	else
		for (i = 0; i < submission->wait_count; i++)
			dma_fence_remove_callback(submission->points[i].fence,
						  &submission->points[i].callback);
	submission->result = -ECANCELED;
}

/* Of one that was taken, from anywhere: it completes without its fences. */
static void give_up(struct drm_uring_submission *submission)
{
	let_go_of_fences(submission);
	io_uring_cmd_complete_in_task(submission->cmd, finish);
}

/* The same where io_uring has the command completed, and at once; of one that still waits. */
static void give_up_now(struct io_uring_cmd *cmd, unsigned int issue_flags, struct drm_uring_file *uring)
{
	if (!take(uring, cmd))
		return;
	let_go_of_fences(state_of(cmd)->submission);
	finish(cmd, issue_flags);
}

/* A job's error is its completion's result; a wait is over whatever became of what it waited for. */
static void note(struct drm_uring_submission *submission, struct dma_fence *fence)
{
	if (fence == submission->done.fence)
		submission->result = fence->error;
}

static void fence_signalled(struct dma_fence *fence, struct dma_fence_cb *callback)
{
	struct drm_uring_submission *submission =
		container_of(callback, struct drm_uring_point, callback)->submission;

	note(submission, fence);
	/* Full order: the last one sees all notes. It alone may touch the submission after this. */
	if (!atomic_dec_and_test(&submission->remaining))
		return;
	/* Under the fence's lock, maybe in an interrupt: the rest is for the submitter's task. */
	if (take(submission->uring, submission->cmd))
		io_uring_cmd_complete_in_task(submission->cmd, finish);
}

static void watch(struct drm_uring_submission *submission, struct drm_uring_point *point)
{
	point->submission = submission;
	atomic_inc(&submission->remaining);
	if (dma_fence_add_callback(point->fence, &point->callback, fence_signalled)) {
		note(submission, point->fence); /* it had signalled before */
		atomic_dec(&submission->remaining);
	}
}

/* From 6.7 on a program that ends, or lets its ring go, cancels what has been marked, however it holds the
 * file.
 */
static void mark_cancelable(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	io_uring_cmd_mark_cancelable(cmd, issue_flags);
#endif
}

static bool is_cancellation(unsigned int issue_flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	return issue_flags & IO_URING_F_CANCEL;
#else
	return false;
#endif
}

/* Completes now if all that it waits for has signalled, else later. */
static int complete_when_signalled(struct drm_uring_submission *submission, struct io_uring_cmd *cmd,
				   unsigned int issue_flags, struct drm_uring_file *uring)
{
	struct command_state *state = state_of(cmd);
	unsigned long flags;
	unsigned int i;
	bool waits, cancelled;

	submission->cmd = cmd;
	submission->uring = uring;
	submission->files = current->files;
	*state = (struct command_state){submission};
	atomic_set(&submission->remaining, 1);
	if (submission->done.fence)
		watch(submission, &submission->done);
	else
		for (i = 0; i < submission->wait_count; i++)
			watch(submission, &submission->points[i]);
	if (atomic_read(&submission->remaining) == 1)
		return settle(submission);

	/* Before anybody finds it on the list. A command that is marked has only this way to complete. */
	mark_cancelable(cmd, issue_flags);
	/* Given up and put on the list in one: a last callback that comes between finds it there. */
	spin_lock_irqsave(&uring->lock, flags);
	waits = !atomic_dec_and_test(&submission->remaining);
	state->waits = waits;
	if (waits)
		list_add_tail(&submission->link, &uring->waiting);
	cancelled = submission->publish_late && current->flags & PF_IO_WORKER &&
		    test_thread_flag(TIF_NOTIFY_SIGNAL);
	spin_unlock_irqrestore(&uring->lock, flags);
	if (!waits)
		finish(cmd, issue_flags);
	/* io_uring's cancellation of a worker, which had got its fence already. A CANCEL that came behind it
	   did not find the submission on the list yet; one that comes later does. */
	else if (cancelled)
		give_up_now(cmd, issue_flags, uring);
	return -EIOCBQUEUED;
}

/* Jobs are the driver's once it has accepted them: only what just waits can be cancelled. */
static int cancel(struct drm_uring_file *uring, const struct belfry_submit_cancel *request)
{
	struct drm_uring_submission *submission;
	unsigned long flags;
	int error = -ENOENT;

	if (request->pad[0] || request->pad[1])
		return -EINVAL;
	spin_lock_irqsave(&uring->lock, flags);
	list_for_each_entry (submission, &uring->waiting, link) {
		if (submission->command.entry.user_data != request->user_data)
			continue;
		error = submission->publish_late ? 0 : -EALREADY;
		if (!error)
			take_locked(submission->cmd);
		break;
	}
	spin_unlock_irqrestore(&uring->lock, flags);
	if (!error)
		give_up(submission);
	return error;
}

/* --- the doors --------------------------------------------------------------------------------------------
 */

void drm_uring_file_init(struct drm_uring_file *uring)
{
	spin_lock_init(&uring->lock);
	INIT_LIST_HEAD(&uring->waiting);
}
EXPORT_SYMBOL_GPL(drm_uring_file_init);

void drm_uring_flush(struct drm_uring_file *uring, fl_owner_t files)
{
	struct drm_uring_submission *submission, *next;
	unsigned long flags;
	LIST_HEAD(theirs);

	if (!(current->flags & PF_EXITING))
		return;
	spin_lock_irqsave(&uring->lock, flags);
	list_for_each_entry_safe(submission, next, &uring->waiting, link)
	{
		if (submission->files != files)
			continue;
		take_locked(submission->cmd);
		list_add_tail(&submission->link, &theirs);
	}
	spin_unlock_irqrestore(&uring->lock, flags);
	list_for_each_entry_safe(submission, next, &theirs, link) give_up(submission);
}
EXPORT_SYMBOL_GPL(drm_uring_flush);

/* What an ioctl would be refused for. */
static int judge_file(struct drm_file *file)
{
	if (drm_dev_is_unplugged(file->minor->dev))
		return -ENODEV;
	return drm_is_render_client(file) || file->authenticated ? 0 : -EACCES;
}

int drm_uring_command(struct io_uring_cmd *cmd, unsigned int issue_flags, struct drm_uring_file *uring,
		      drm_uring_submit_fn submit)
{
	struct drm_file *file = cmd->file->private_data;
	struct drm_uring_submission *submission;
	struct belfry_uring_command command;
	int error;

	if (is_cancellation(issue_flags)) {
		/* At once: the submitter's task may be stopped, and io_uring asks until it is done. */
		give_up_now(cmd, issue_flags, uring);
		return 0;
	}
	error = judge_file(file);
	if (error)
		return error;
	if (cmd->cmd_op != BELFRY_URING_CMD_SUBMIT || !(issue_flags & IO_URING_F_SQE128))
		return -EINVAL;
	/* The program may write to the entry meanwhile: judged and used is this copy, and the barrier keeps
	   the compiler from reading the original again. */
	memcpy(&command, payload_of(cmd), sizeof(command));
	barrier();
	if (command.pad || command.entry.flags & ~BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE)
		return -EINVAL;
	if (command.entry.opcode < BELFRY_SUBMIT_DRIVER && command.entry.flags)
		return -EINVAL;

	switch (command.entry.opcode) {
	case BELFRY_SUBMIT_NOP:
		if (command.entry.payload[0] || command.entry.payload[1] || command.entry.payload[2])
			return -EINVAL;
		submission = make_submission(file, &command, issue_flags);
		if (IS_ERR(submission))
			return PTR_ERR(submission);
		return complete_when_signalled(submission, cmd, issue_flags, uring);
	case BELFRY_SUBMIT_CANCEL:
		if (command.entry.more_syncs || command.entry.wait_handle || command.entry.signal_handle)
			return -EINVAL;
		return cancel(uring, (const struct belfry_submit_cancel *)command.entry.payload);
	case BELFRY_SUBMIT_DRIVER ... U8_MAX:
		break;
	default:
		return -EINVAL;
	}

	submission = make_submission(file, &command, issue_flags);
	if (IS_ERR(submission))
		return PTR_ERR(submission);
	error = accept(submission, file, submit);
	if (error || command.entry.flags & BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE) {
		free_submission(submission);
		return error;
	}
	return complete_when_signalled(submission, cmd, issue_flags, uring);
}
EXPORT_SYMBOL_GPL(drm_uring_command);

int drm_uring_submit(struct drm_file *file, const struct belfry_uring_command *command,
		     drm_uring_submit_fn submit)
{
	struct drm_uring_submission *submission;
	int error;

	if (command->pad || command->entry.flags || command->entry.opcode < BELFRY_SUBMIT_DRIVER)
		return -EINVAL;
	submission = make_submission(file, command, 0);
	if (IS_ERR(submission))
		return PTR_ERR(submission);
	error = accept(submission, file, submit);
	free_submission(submission);
	return error;
}
EXPORT_SYMBOL_GPL(drm_uring_submit);

MODULE_DESCRIPTION("Submission through io_uring for DRM drivers");
MODULE_LICENSE("Dual MIT/GPL");
