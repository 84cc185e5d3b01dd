// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The programs' side: the render node.
 *
 * Owns    what is kept for each open file, and the list of them; frees the node with its drm_device.
 *         Judges no call: those of syncobjs are the DRM core's, all others the server's.
 * Called  by the DRM core and the kernel, on threads of programs.
 * Locks   served_node.sync_lock, for the list: fences.c looks files up in it.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm.h>
#include <drm/drm_drv.h>
#include <drm/drm_ioctl.h>

#include "belfry.h"

static int open_file(struct drm_device *dev, struct drm_file *file)
{
	static atomic64_t serials;
	struct served_node *node = dev->dev_private;
	struct open_file *opened = kzalloc(sizeof(*opened), GFP_KERNEL_ACCOUNT);

	if (!opened)
		return -ENOMEM;
	opened->serial = atomic64_inc_return(&serials);
	opened->pid = task_tgid_nr(current);
	opened->uid = from_kuid(&init_user_ns, current_euid());
	opened->flags = (capable(CAP_SYS_NICE) ? BELFRY_NODE_MAY_NICE : 0) |
			(capable(CAP_SYS_ADMIN) ? BELFRY_NODE_MAY_ADMIN : 0);
	opened->release = make_request(BELFRY_NODE_RELEASE, opened);
	opened->entries = kzalloc(sizeof(*opened->entries), GFP_KERNEL_ACCOUNT);
	if (!opened->release || !opened->entries) {
		if (opened->release)
			put_request(opened->release);
		kfree(opened->entries);
		kfree(opened);
		return -ENOMEM;
	}
	kref_init(&opened->entries->references);
	opened->file = file;
	drm_uring_file_init(&opened->uring);
	file->driver_priv = opened;
	mutex_lock(&node->sync_lock);
	list_add_tail(&opened->link, &node->files);
	mutex_unlock(&node->sync_lock);
	return 0;
}

static void forget_file(struct served_node *node, struct open_file *opened)
{
	mutex_lock(&node->sync_lock);
	list_del_init(&opened->link);
	mutex_unlock(&node->sync_lock);
}

/* Before the core takes the file's syncobjs apart. */
static int file_release(struct inode *inode, struct file *filp)
{
	struct drm_file *file = filp->private_data;
	struct open_file *opened = file->driver_priv;

	forget_file(node_of(file), opened);
	return drm_release(inode, filp);
}

static void close_file(struct drm_device *dev, struct drm_file *file)
{
	struct open_file *opened = file->driver_priv;

	forget_file(dev->dev_private, opened); /* of one whose open failed there was no release */
	if (send(dev->dev_private, opened->release))
		put_request(opened->release);
	put_entries(opened->entries);
	kfree(opened);
}

/* Syncobjs are the DRM core's. */
static bool is_of_core(unsigned int command)
{
	switch (_IOC_NR(command)) {
	case _IOC_NR(DRM_IOCTL_SYNCOBJ_CREATE)... _IOC_NR(DRM_IOCTL_SYNCOBJ_SIGNAL):
	case _IOC_NR(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT)... _IOC_NR(DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL):
	case 0xCF: /* SYNCOBJ_EVENTFD, which a core before Linux 6.6 does not know and refuses */
		return true;
	default:
		return false;
	}
}

static long file_ioctl(struct file *filp, unsigned int command, unsigned long argument)
{
	struct drm_file *file = filp->private_data;
	struct request *request;
	long result;

	if (_IOC_TYPE(command) != DRM_IOCTL_BASE)
		return -ENOTTY;
	if (is_of_core(command))
		return drm_ioctl(filp, command, argument);
	request = make_request(BELFRY_NODE_IOCTL, file->driver_priv);
	if (!request)
		return -ENOMEM;
	request->call.command = command;
	request->call.argument = argument;
	result = 0;
	if (_IOC_DIR(command) & _IOC_WRITE) {
		request->call.argument_bytes =
			min_t(u32, _IOC_SIZE(command), sizeof(request->call.arguments));
		if (copy_from_user(request->call.arguments, (void __user *)argument,
				   request->call.argument_bytes))
			result = -EFAULT;
	}
	if (!result) {
		result = call_server(node_of(file), request);
		if (request->state == REQUEST_DONE && move(&request->cargo, CALLER, true))
			result = -EFAULT;
	}
	put_request(request);
	return result;
}

static int file_command(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct drm_file *file = cmd->file->private_data;
	struct open_file *opened = file->driver_priv;

	return drm_uring_command(cmd, issue_flags, &opened->uring, submit_entry);
}

static int file_flush(struct file *filp, fl_owner_t files)
{
	struct drm_file *file = filp->private_data;
	struct open_file *opened = file->driver_priv;

	drm_uring_flush(&opened->uring, files);
	return 0;
}

static void release(struct drm_device *dev)
{
	struct served_node *node = dev->dev_private;

	mmdrop(node->server_mm);
	xa_destroy(&node->promises);
	kfree(node);
}

static const struct file_operations file_operations = {
	.owner = THIS_MODULE,
	.open = drm_open,
	.flush = file_flush,
	.release = file_release,
	.unlocked_ioctl = file_ioctl,
	.uring_cmd = file_command,
	.mmap = file_mmap,
	.poll = drm_poll,
	.read = drm_read,
#ifdef FOP_UNSIGNED_OFFSET
	.fop_flags = FOP_UNSIGNED_OFFSET,
#endif
};

const struct drm_driver driver = {
	.driver_features = DRIVER_RENDER | DRIVER_SYNCOBJ | DRIVER_SYNCOBJ_TIMELINE,
	.name = "panthor",
	.desc = "Belfry",
	.date = "20261129",
	.major = 1,
	.fops = &file_operations,
	.open = open_file,
	.postclose = close_file,
	.release = release,
};
