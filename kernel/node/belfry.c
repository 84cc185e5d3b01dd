// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * belfry.ko: a render node named panthor whose calls a process answers.
 *
 * Who opens /dev/belfry is the server of a fresh node (include/belfry/uapi/node.h): belfryd --node. A call of
 * a program becomes a struct request. It waits in `pending` for one of the server's fetches, then in `served`
 * for the answer; its thread sleeps meanwhile, and copies from and to its own memory itself whatever the
 * server asks for. Syncobjs are the kernel's own.
 *
 * Nobody is trusted. A program can make the server wait for nothing, because only its own thread touches its
 * memory. The server can make a program wait for DEADLINE at most: then it has lost its node, as it has when
 * it dies. It can give programs nothing but pages of memfds that can't shrink.
 *
 * Who holds what: open files and the control file hold the drm_device, which holds the node. A request
 * belongs to its thread (RELEASE to itself); commands that carry it hold a reference. Lock order: node->lock
 * is innermost.
 */
#include <linux/capability.h>
#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/workqueue.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#include <linux/io_uring/cmd.h>
#endif
#include <uapi/linux/fcntl.h>

#include <drm/drm.h>
#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_ioctl.h>

#include "belfry/uapi/node.h"

/* How long a call may take from its first byte to its last. The driver's own bounds are half of it. */
#define DEADLINE (10 * HZ)

struct served_node {
	struct drm_device *drm;
	struct platform_device *parent;
	struct mm_struct *server_mm; /* only compared */
	const void *server_files; /* likewise */
	struct work_struct unplug;

	spinlock_t lock;
	bool dead; /* under the lock, as all below */
	u64 last_id;
	struct list_head fetches; /* struct fetch: no call for them yet */
	struct list_head pending; /* struct request: no fetch for them yet */
	struct list_head served; /* struct request */
};

struct open_file {
	u64 serial;
	u32 flags;
	s32 pid;
	u32 uid;
	struct request *release; /* made with the file: closing can't fail */
};

/* Bytes on their way between two processes. */
struct cargo {
	struct belfry_node_copy *copies;
	u32 count;
	void *data; /* of all copies, one behind the other */
};

struct segment {
	struct file *file;
	bool writable;
	u64 offset;
	u64 bytes;
};

enum request_state {
	REQUEST_PENDING,
	REQUEST_SERVED,
	REQUEST_ANSWERING, /* an answer is being copied from the server; on no list */
	REQUEST_READ, /* its thread's turn: to read */
	REQUEST_DONE, /* its thread's turn: to return */
	REQUEST_GONE, /* its thread has given up */
};

struct request {
	struct kref references;
	enum request_state state; /* under node->lock */
	struct list_head link; /* in `pending` or `served` */
	struct completion turn; /* its thread's */
	struct belfry_node_call call;
	struct cargo cargo;
	int result;
	u32 segment_count;
	struct segment segments[BELFRY_NODE_SEGMENTS_MAX];
};

/* In a command's own memory, while the kernel has its slot. */
struct fetch {
	struct list_head link;
	struct request *request; /* to be told */
	struct belfry_node_slot __user *slot;
};
static_assert(sizeof(struct fetch) <= sizeof_field(struct io_uring_cmd, pdu));

static struct fetch *fetch_of(struct io_uring_cmd *cmd)
{
	return (struct fetch *)cmd->pdu;
}

static struct io_uring_cmd *command_of(struct fetch *fetch)
{
	return container_of((void *)fetch, struct io_uring_cmd, pdu);
}

/* --- cargo ------------------------------------------------------------------------------------------------
 */

static void drop_cargo(struct cargo *cargo)
{
	kvfree(cargo->copies);
	kvfree(cargo->data);
	memset(cargo, 0, sizeof(*cargo));
}

/* Takes a list of copies from the server, with room for what they carry. */
static int load_list(struct cargo *cargo, u64 list, u32 count)
{
	u64 bytes = 0;
	u32 i;

	if (!count)
		return 0;
	if (count > BELFRY_NODE_COPIES_MAX)
		return -E2BIG;
	cargo->copies = kvmalloc_array(count, sizeof(*cargo->copies), GFP_KERNEL_ACCOUNT);
	if (!cargo->copies)
		return -ENOMEM;
	cargo->count = count;
	if (copy_from_user(cargo->copies, u64_to_user_ptr(list), count * sizeof(*cargo->copies)))
		return -EFAULT;
	for (i = 0; i < count; i++) {
		if (cargo->copies[i].bytes > BELFRY_NODE_COPY_BYTES_MAX - bytes)
			return -E2BIG;
		bytes += cargo->copies[i].bytes;
	}
	cargo->data = kvzalloc(bytes, GFP_KERNEL_ACCOUNT);
	return cargo->data || !bytes ? 0 : -ENOMEM;
}

enum side { CALLER, SERVER };

/* Between the cargo and the memory of one of the two, which must be the current process. */
static int move(struct cargo *cargo, enum side side, bool out)
{
	void *data = cargo->data;
	u32 i;

	for (i = 0; i < cargo->count; i++) {
		const struct belfry_node_copy *copy = &cargo->copies[i];
		void __user *user = u64_to_user_ptr(side == CALLER ? copy->caller : copy->server);

		if (out ? copy_to_user(user, data, copy->bytes) : copy_from_user(data, user, copy->bytes))
			return -EFAULT;
		data += copy->bytes;
	}
	return 0;
}

/* --- requests ---------------------------------------------------------------------------------------------
 */

static struct request *make_request(u32 kind, const struct open_file *file)
{
	struct request *request = kzalloc(sizeof(*request), GFP_KERNEL_ACCOUNT);

	if (!request)
		return NULL;
	kref_init(&request->references);
	INIT_LIST_HEAD(&request->link);
	init_completion(&request->turn);
	request->call.kind = kind;
	request->call.file = file->serial;
	request->call.opener_flags = file->flags;
	request->call.opener_pid = file->pid;
	request->call.opener_uid = file->uid;
	return request;
}

static void free_request(struct kref *references)
{
	struct request *request = container_of(references, struct request, references);

	drop_cargo(&request->cargo);
	while (request->segment_count)
		fput(request->segments[--request->segment_count].file);
	kfree(request);
}

static void put_request(struct request *request)
{
	kref_put(&request->references, free_request);
}

/* Its thread goes on; a RELEASE has none. Under the lock; the caller holds a reference, or takes no more
 * looks. */
static void give_turn(struct request *request, enum request_state state)
{
	list_del_init(&request->link);
	request->state = state;
	complete(&request->turn);
	if (request->call.kind == BELFRY_NODE_RELEASE)
		put_request(request);
}

static void pump(struct served_node *node);

/* In the server's task: tells the call, and completes the fetch. */
static void deliver(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct fetch *fetch = fetch_of(cmd);
	struct request *request = fetch->request;
	struct served_node *node = cmd->file->private_data;
	bool again = false;
	int result = -ENODEV;

	/* A call that was given up must not be told: its server may have forgotten where it wanted to read
	 * to. */
	spin_lock(&node->lock);
	if (request && request->state != REQUEST_SERVED && !node->dead) {
		again = true;
		fetch->request = NULL;
		list_add_tail(&fetch->link, &node->fetches);
		pump(node);
	}
	spin_unlock(&node->lock);
	if (again) {
		put_request(request);
		return;
	}

	/* In the end of the server this is a thread of the kernel's, which has no memory of the server. */
	if (request && current->mm == node->server_mm) {
		result = 0;
		if (copy_to_user(&fetch->slot->call, &request->call, sizeof(request->call)) ||
		    (!request->call.read_result && move(&request->cargo, SERVER, true)))
			result = -EFAULT;
		if (result) {
			spin_lock(&node->lock);
			if (request->state == REQUEST_SERVED) {
				request->result = -EIO;
				give_turn(request, REQUEST_DONE);
			}
			spin_unlock(&node->lock);
		}
	}
	if (request)
		put_request(request);
	io_uring_cmd_done(cmd, result, 0, issue_flags);
}

/* Brings calls and fetches together. Under the lock. */
static void pump(struct served_node *node)
{
	while (!list_empty(&node->pending) && !list_empty(&node->fetches)) {
		struct request *request = list_first_entry(&node->pending, struct request, link);
		struct fetch *fetch = list_first_entry(&node->fetches, struct fetch, link);

		list_move_tail(&request->link, &node->served);
		request->state = REQUEST_SERVED;
		kref_get(&request->references);
		list_del(&fetch->link);
		fetch->request = request;
		io_uring_cmd_complete_in_task(command_of(fetch), deliver);
	}
}

static int send(struct served_node *node, struct request *request)
{
	bool dead;

	spin_lock(&node->lock);
	dead = node->dead;
	if (!dead) {
		if (!request->call.id)
			request->call.id = ++node->last_id;
		request->state = REQUEST_PENDING;
		list_add_tail(&request->link, &node->pending);
		pump(node);
	}
	spin_unlock(&node->lock);
	return dead ? -ENODEV : 0;
}

/* The server is gone, or has not answered: all calls end, the fetches too, and the node goes. */
static void lose_server(struct served_node *node)
{
	struct request *request, *next;
	struct fetch *fetch, *next_fetch;

	spin_lock(&node->lock);
	if (!node->dead) {
		node->dead = true;
		list_splice_init(&node->pending, &node->served);
		list_for_each_entry_safe(request, next, &node->served, link)
		{
			request->result = -ENODEV;
			give_turn(request, REQUEST_DONE);
		}
		list_for_each_entry_safe(fetch, next_fetch, &node->fetches, link)
		{
			list_del(&fetch->link);
			io_uring_cmd_complete_in_task(command_of(fetch), deliver);
		}
		/* Not here: a caller that finds out may hold its memory's lock. */
		schedule_work(&node->unplug);
	}
	spin_unlock(&node->lock);
}

/* Sends the request and sleeps until it is answered; reads from the caller's memory meanwhile, as it is
 * asked. */
static int call_server(struct served_node *node, struct request *request)
{
	long left = DEADLINE;

	request->call.caller_pid = task_tgid_nr(current);
	for (;;) {
		int error = send(node, request);

		if (error)
			return error;
		left = wait_for_completion_killable_timeout(&request->turn, left);
		if (left <= 0) {
			spin_lock(&node->lock);
			list_del_init(&request->link);
			request->state = REQUEST_GONE;
			spin_unlock(&node->lock);
			if (left < 0)
				return -EINTR; /* nobody sees it: the thread ends */
			lose_server(node);
			return -ENODEV;
		}
		if (request->state == REQUEST_DONE)
			return request->result;
		request->call.read_result = move(&request->cargo, CALLER, false);
		request->call.reads++;
	}
}

/* --- the server's side: /dev/belfry -----------------------------------------------------------------------
 */

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
		if (!(file->f_mode & FMODE_READ) || (segment.writable && !(file->f_mode & FMODE_WRITE)))
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

	spin_lock(&node->lock);
	list_for_each_entry (each, &node->served, link) {
		if (each->call.id != answer.id)
			continue;
		request = each;
		list_del_init(&request->link);
		request->state = REQUEST_ANSWERING;
		kref_get(&request->references);
		break;
	}
	spin_unlock(&node->lock);
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

	spin_lock(&node->lock);
	if (request->state == REQUEST_ANSWERING)
		give_turn(request, reads ? REQUEST_READ : REQUEST_DONE);
	spin_unlock(&node->lock);
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
	spin_lock(&node->lock);
	dead = node->dead;
	if (!dead) {
		list_add_tail(&fetch->link, &node->fetches);
		pump(node);
	}
	spin_unlock(&node->lock);
	return dead ? -ENODEV : -EIOCBQUEUED;
}

static void unplug(struct work_struct *work)
{
	drm_dev_unplug(container_of(work, struct served_node, unplug)->drm);
}

static const struct drm_driver driver;

static int control_open(struct inode *inode, struct file *file)
{
	struct served_node *node = kzalloc(sizeof(*node), GFP_KERNEL);
	int error;

	if (!node)
		return -ENOMEM;
	node->server_mm = current->mm;
	node->server_files = current->files;
	INIT_WORK(&node->unplug, unplug);
	spin_lock_init(&node->lock);
	INIT_LIST_HEAD(&node->fetches);
	INIT_LIST_HEAD(&node->pending);
	INIT_LIST_HEAD(&node->served);

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
	/* The node's memory goes with the drm_device from here on: release(). */
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
	flush_work(&node->unplug);
	platform_device_unregister(node->parent);
	drm_dev_put(node->drm);
	return 0;
}

static const struct file_operations control_operations = {
	.owner = THIS_MODULE,
	.open = control_open,
	.flush = control_flush,
	.release = control_release,
	.uring_cmd = control_command,
};

/* --- the programs' side: the render node ------------------------------------------------------------------
 */

static struct served_node *node_of(const struct drm_file *file)
{
	return file->minor->dev->dev_private;
}

static int open_file(struct drm_device *dev, struct drm_file *file)
{
	static atomic64_t serials;
	struct open_file *opened = kzalloc(sizeof(*opened), GFP_KERNEL_ACCOUNT);

	if (!opened)
		return -ENOMEM;
	opened->serial = atomic64_inc_return(&serials);
	opened->pid = task_tgid_nr(current);
	opened->uid = from_kuid(&init_user_ns, current_euid());
	opened->flags = (capable(CAP_SYS_NICE) ? BELFRY_NODE_MAY_NICE : 0) |
			(capable(CAP_SYS_ADMIN) ? BELFRY_NODE_MAY_ADMIN : 0);
	opened->release = make_request(BELFRY_NODE_RELEASE, opened);
	if (!opened->release) {
		kfree(opened);
		return -ENOMEM;
	}
	file->driver_priv = opened;
	return 0;
}

static void close_file(struct drm_device *dev, struct drm_file *file)
{
	struct open_file *opened = file->driver_priv;

	if (send(dev->dev_private, opened->release))
		put_request(opened->release);
	kfree(opened);
}

/* Syncobjs are the DRM core's. */
static bool is_of_core(unsigned int command)
{
	switch (_IOC_NR(command)) {
	case _IOC_NR(DRM_IOCTL_SYNCOBJ_CREATE)... _IOC_NR(DRM_IOCTL_SYNCOBJ_SIGNAL):
	case _IOC_NR(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT)... _IOC_NR(DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL):
#ifdef DRM_IOCTL_SYNCOBJ_EVENTFD
	case _IOC_NR(DRM_IOCTL_SYNCOBJ_EVENTFD):
#endif
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

/* --- mappings ---------------------------------------------------------------------------------------------
 *
 * A mapping of one piece is one of its file: futexes and registered buffers work as on any shared memory. One
 * of several has its pages put in as they are touched.
 */

struct pieces {
	struct kref references; /* of mappings: a fork or a hole makes more */
	pgoff_t first; /* where in the device's offsets the mapping begins */
	u32 count;
	struct segment segments[BELFRY_NODE_SEGMENTS_MAX];
};

static void free_pieces(struct kref *references)
{
	struct pieces *pieces = container_of(references, struct pieces, references);

	while (pieces->count)
		fput(pieces->segments[--pieces->count].file);
	kfree(pieces);
}

static void open_pieces(struct vm_area_struct *vma)
{
	kref_get(&((struct pieces *)vma->vm_private_data)->references);
}

static void close_pieces(struct vm_area_struct *vma)
{
	kref_put(&((struct pieces *)vma->vm_private_data)->references, free_pieces);
}

static const struct segment *segment_at(const struct vm_fault *fault, u64 *offset)
{
	const struct pieces *pieces = fault->vma->vm_private_data;
	u32 i;

	*offset = (u64)(fault->pgoff - pieces->first) << PAGE_SHIFT;
	for (i = 0; i < pieces->count; i++) {
		if (*offset < pieces->segments[i].bytes)
			return &pieces->segments[i];
		*offset -= pieces->segments[i].bytes;
	}
	return NULL;
}

static vm_fault_t touch_page(struct vm_fault *fault)
{
	u64 offset;
	const struct segment *segment = segment_at(fault, &offset);
	struct page *page;

	if (!segment)
		return VM_FAULT_SIGBUS;
	page = shmem_read_mapping_page(segment->file->f_mapping, (segment->offset + offset) >> PAGE_SHIFT);
	if (IS_ERR(page))
		return PTR_ERR(page) == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	fault->page = page;
	return 0;
}

/* That there is this function makes the kernel map each page read-only at first. */
static vm_fault_t write_page(struct vm_fault *fault)
{
	u64 offset;
	const struct segment *segment = segment_at(fault, &offset);

	return segment && segment->writable ? 0 : VM_FAULT_SIGBUS;
}

static const struct vm_operations_struct pieces_operations = {
	.open = open_pieces,
	.close = close_pieces,
	.fault = touch_page,
	.page_mkwrite = write_page,
};

static void change_flags(struct vm_area_struct *vma, unsigned long set, unsigned long clear)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

static int map_piece(struct vm_area_struct *vma, const struct segment *segment)
{
	int error;

	if (!segment->writable) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		change_flags(vma, 0, VM_MAYWRITE);
	}
	vma->vm_pgoff = segment->offset >> PAGE_SHIFT;
	vma_set_file(vma, segment->file);
	error = call_mmap(vma->vm_file, vma);
	/* Growing it would show more of the file than was given. */
	change_flags(vma, VM_DONTEXPAND, 0);
	return error;
}

static int map_pieces(struct vm_area_struct *vma, struct request *request)
{
	struct pieces *pieces = kzalloc(sizeof(*pieces), GFP_KERNEL_ACCOUNT);

	if (!pieces)
		return -ENOMEM;
	kref_init(&pieces->references);
	pieces->first = vma->vm_pgoff;
	pieces->count = request->segment_count;
	memcpy(pieces->segments, request->segments, sizeof(pieces->segments));
	request->segment_count = 0; /* the files are the mapping's now */
	vma->vm_private_data = pieces;
	vma->vm_ops = &pieces_operations;
	change_flags(vma, VM_DONTEXPAND | VM_DONTDUMP, 0);
	return 0;
}

static int file_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct drm_file *file = filp->private_data;
	struct request *request;
	u64 bytes = 0;
	int result;
	u32 i;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	request = make_request(BELFRY_NODE_MMAP, file->driver_priv);
	if (!request)
		return -ENOMEM;
	request->call.argument = (u64)vma->vm_pgoff << PAGE_SHIFT;
	request->call.bytes = vma->vm_end - vma->vm_start;
	request->call.protection = (vma->vm_flags & VM_READ ? PROT_READ : 0) |
				   (vma->vm_flags & VM_WRITE ? PROT_WRITE : 0) |
				   (vma->vm_flags & VM_EXEC ? PROT_EXEC : 0);
	result = call_server(node_of(file), request);
	for (i = 0; i < request->segment_count; i++)
		bytes += request->segments[i].bytes;
	if (!result && bytes != request->call.bytes)
		result = -EIO;
	if (!result)
		result = request->segment_count == 1 ? map_piece(vma, request->segments)
						     : map_pieces(vma, request);
	put_request(request);
	return result;
}

static void release(struct drm_device *dev)
{
	struct served_node *node = dev->dev_private;

	mmdrop(node->server_mm);
	kfree(node);
}

static const struct file_operations file_operations = {
	.owner = THIS_MODULE,
	.open = drm_open,
	.release = drm_release,
	.unlocked_ioctl = file_ioctl,
	.mmap = file_mmap,
	.poll = drm_poll,
	.read = drm_read,
#ifdef FOP_UNSIGNED_OFFSET
	.fop_flags = FOP_UNSIGNED_OFFSET,
#endif
};

static const struct drm_driver driver = {
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

static struct miscdevice control = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "belfry",
	.fops = &control_operations,
	.mode = 0600,
};
module_misc_device(control);
MODULE_DESCRIPTION("A render node whose calls a process answers");
MODULE_LICENSE("Dual MIT/GPL");
