// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The server's side: /dev/belfry.
 *
 * Owns    the control file, and the node from its open to the loss of its server. Takes what the server
 *         fetches and answers, and judges it.
 * Called  by the kernel, on threads of the server; end_node() in a worker, when the server is lost.
 * Locks   served_node.lock, to take out the request that an answer is for. What the server answers is copied
 *         without it.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>

#include "belfry.h"

static int take_segments(struct request *request, u64 list, u32 count)
{
	struct belfry_node_segment segment;
	u32 i;

	if (count > BELFRY_NODE_SEGMENTS_MAX)
		return -E2BIG;
	for (i = 0; i < count; i++) {
		struct inode *inode;
		struct file *file;

		if (copy_from_user(&segment, u64_to_user_ptr(list + i * sizeof(segment)), sizeof(segment)))
			return -EFAULT;
		file = fget(segment.fd);
		if (!file)
			return -EBADF;
		request->segments[request->segment_count++] =
			(struct segment){file, segment.writable != 0, segment.offset, segment.bytes};
		inode = file_inode(file);
		/* Only what stays as long as it is: a page that vanishes is a signal that kills programs. */
		if (!shmem_mapping(file->f_mapping) || !(SHMEM_I(inode)->seals & F_SEAL_SHRINK))
			return -EPERM;
		if (!(file->f_mode & FMODE_READ) ||
		    (segment.writable &&
		     (!(file->f_mode & FMODE_WRITE) || SHMEM_I(inode)->seals & WRITE_SEALS)))
			return -EACCES;
		if (!segment.bytes || !PAGE_ALIGNED(segment.bytes) || !PAGE_ALIGNED(segment.offset) ||
		    segment.offset > i_size_read(inode) ||
		    segment.bytes > PAGE_ALIGN(i_size_read(inode)) - segment.offset)
			return -EINVAL;
	}
	return 0;
}

/* What is wrong with an answer is the server's fault: the caller gets EIO, the server the reason. */
static int take_answer(struct served_node *node, struct belfry_node_slot __user *slot)
{
	struct belfry_node_answer answer;
	struct request *request = NULL, *each;
	bool reads;
	int error;

	if (copy_from_user(&answer, &slot->answer, sizeof(answer)))
		return -EFAULT;
	if ((answer.what != BELFRY_NODE_DONE && answer.what != BELFRY_NODE_READ) || answer.result > 0 ||
	    answer.result < -MAX_ERRNO)
		return -EINVAL;

	spin_lock_irq(&node->lock);
	list_for_each_entry (each, &node->served, link) {
		/* While it is being told, what it carries is read. */
		if (each->call.id != answer.id || each->state != REQUEST_TOLD)
			continue;
		request = each;
		list_del_init(&request->link);
		request->state = REQUEST_ANSWERING;
		kref_get(&request->references);
		break;
	}
	spin_unlock_irq(&node->lock);
	if (!request)
		return 0;

	reads = answer.what == BELFRY_NODE_READ && request->call.kind == BELFRY_NODE_IOCTL;
	drop_cargo(&request->cargo);
	error = 0;
	if (request->call.kind == BELFRY_NODE_IOCTL) {
		error = load_list(&request->cargo, answer.copies, answer.copy_count);
		if (!error && !reads)
			error = move(&request->cargo, SERVER, false);
	} else if (request->call.kind == BELFRY_NODE_MMAP) {
		error = take_segments(request, answer.segments, answer.segment_count);
	}
	if (error) {
		drop_cargo(&request->cargo);
		reads = false;
	}
	request->result = error ? -EIO : answer.result;

	spin_lock_irq(&node->lock);
	if (request->state == REQUEST_ANSWERING)
		give_turn(request, reads ? REQUEST_READ : REQUEST_DONE);
	spin_unlock_irq(&node->lock);
	put_request(request);
	return error;
}

static int control_command(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct served_node *node = cmd->file->private_data;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	const struct belfry_node_command *sqe = io_uring_sqe_cmd(cmd->sqe);
#else
	const struct belfry_node_command *sqe = cmd->cmd;
#endif
	struct fetch *fetch = fetch_of(cmd);
	u64 slot = READ_ONCE(sqe->slot);
	bool dead;
	int error;

	/* An io_uring that another process was given. */
	if (current->mm != node->server_mm)
		return -EPERM;
	if (READ_ONCE(sqe->pad))
		return -EINVAL;
	switch (cmd->cmd_op) {
	case BELFRY_NODE_ANSWER:
		return take_answer(node, u64_to_user_ptr(slot));
	case BELFRY_NODE_ANSWER_AND_FETCH:
		error = take_answer(node, u64_to_user_ptr(slot));
		if (error)
			return error;
		break;
	case BELFRY_NODE_FETCH:
		break;
	default:
		return -EINVAL;
	}

	fetch->request = NULL;
	fetch->slot = u64_to_user_ptr(slot);
	spin_lock_irq(&node->lock);
	dead = node->dead;
	if (!dead) {
		list_add_tail(&fetch->link, &node->fetches);
		pump(node);
	}
	spin_unlock_irq(&node->lock);
	return dead ? -ENODEV : -EIOCBQUEUED;
}

/* The node is dead: its fences end, and programs see the device go. */
static void end_node(struct work_struct *work)
{
	struct served_node *node = container_of(work, struct served_node, end);

	end_fences(node);
	drm_dev_unplug(node->drm);
}

static int control_open(struct inode *inode, struct file *file)
{
	struct served_node *node = kzalloc(sizeof(*node), GFP_KERNEL);
	int error;

	if (!node)
		return -ENOMEM;
	node->server_mm = current->mm;
	node->server_files = current->files;
	INIT_WORK(&node->end, end_node);
	INIT_DELAYED_WORK(&node->stalled, look_at_server);
	mutex_init(&node->sync_lock);
	INIT_LIST_HEAD(&node->files);
	xa_init_flags(&node->promises, XA_FLAGS_ALLOC1);
	spin_lock_init(&node->lock);
	INIT_LIST_HEAD(&node->fetches);
	INIT_LIST_HEAD(&node->pending);
	INIT_LIST_HEAD(&node->served);
	INIT_LIST_HEAD(&node->watches);

	node->parent = platform_device_register_simple("belfry", PLATFORM_DEVID_AUTO, NULL, 0);
	if (IS_ERR(node->parent)) {
		error = PTR_ERR(node->parent);
		kfree(node);
		return error;
	}
	node->drm = drm_dev_alloc(&driver, &node->parent->dev);
	if (IS_ERR(node->drm)) {
		error = PTR_ERR(node->drm);
		platform_device_unregister(node->parent);
		kfree(node);
		return error;
	}
	/* The node's memory goes with the drm_device from here on: release() in files.c. */
	node->drm->dev_private = node;
	mmgrab(node->server_mm);
	error = drm_dev_register(node->drm, 0);
	if (error) {
		platform_device_unregister(node->parent);
		drm_dev_put(node->drm);
		return error;
	}
	file->private_data = node;
	return nonseekable_open(inode, file);
}

/*
 * Fetches hold this file open, and 6.1 cancels none of them when their process ends. But the process closes
 * its descriptors then, of which this is told.
 */
static int control_flush(struct file *file, fl_owner_t files)
{
	struct served_node *node = file->private_data;

	if (files == node->server_files)
		lose_server(node);
	return 0;
}

static int control_release(struct inode *inode, struct file *file)
{
	struct served_node *node = file->private_data;

	lose_server(node);
	flush_work(&node->end);
	cancel_delayed_work_sync(&node->stalled);
	platform_device_unregister(node->parent);
	drm_dev_put(node->drm);
	return 0;
}

static const struct file_operations control_operations = {
	.owner = THIS_MODULE,
	.open = control_open,
	.flush = control_flush,
	.release = control_release,
	.unlocked_ioctl = control_ioctl,
	.uring_cmd = control_command,
};

static struct miscdevice control = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "belfry",
	.fops = &control_operations,
	.mode = 0600,
};
module_misc_device(control);
MODULE_DESCRIPTION("A render node whose calls a process answers");
MODULE_LICENSE("Dual MIT/GPL");
