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
 * memory. The server can make a program wait for DEADLINE at most, and owe fences without getting on for
 * STALL: then it has lost its node, as it has when it dies. It can give programs nothing but pages of memfds
 * that can't shrink.
 *
 * Who holds what: open files and the control file hold the drm_device, which holds the node. A request
 * belongs to its thread, or to itself if it has none; commands that carry it hold a reference. Lock order:
 * served_node.sync_lock, a fence's lock, served_node.lock.
 */
#include <linux/capability.h>
#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/dma-fence.h>
#include <linux/dma-fence-chain.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#include <linux/io_uring/cmd.h>
#endif
#include <uapi/linux/fcntl.h>

#include <drm/drm.h>
#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_syncobj.h>

#include "../drm_uring.h"
#include "belfry/uapi/node.h"

/* How long a call may take from its first byte to its last. The driver's own bounds are half of it. */
#define DEADLINE (10 * HZ)

/* How long a server may owe fences and get nowhere. Each step that a job can wait for takes the driver less.
 */
#define STALL (20 * HZ)

struct served_node {
	struct drm_device *drm;
	struct platform_device *parent;
	struct mm_struct *server_mm; /* only compared */
	const void *server_files; /* likewise */
	struct work_struct end;

	/* Of syncobjs; outside the spinlock. */
	struct mutex sync_lock;
	struct list_head files; /* struct open_file */
	struct xarray promises; /* struct promise, by their ids */
	u32 owed; /* of them are published */
	struct delayed_work stalled;

	spinlock_t lock;
	bool dead; /* under the lock, as all below */
	u64 last_id;
	struct list_head fetches; /* struct fetch: no call for them yet */
	struct list_head pending; /* struct request: no fetch for them yet */
	struct list_head served; /* struct request */
	struct list_head watches; /* struct request: fences that the server waits for */
};

struct open_file {
	struct list_head link; /* in node->files */
	struct drm_file *file;
	u64 serial;
	u32 flags;
	s32 pid;
	u32 uid;
	struct request *release; /* made with the file: closing can't fail */
	struct drm_uring_file uring;
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

	/* FENCE: what is waited for */
	struct served_node *node;
	struct dma_fence *fence;
	struct dma_fence_cb signalled;

	/* MMAP */
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
	dma_fence_put(request->fence);
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
	if (request->call.kind != BELFRY_NODE_IOCTL && request->call.kind != BELFRY_NODE_MMAP)
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
	spin_lock_irq(&node->lock);
	if (request && request->state != REQUEST_SERVED && !node->dead) {
		again = true;
		fetch->request = NULL;
		list_add_tail(&fetch->link, &node->fetches);
		pump(node);
	}
	spin_unlock_irq(&node->lock);
	if (again) {
		put_request(request);
		return;
	}

	/* In the end of the server this is a thread of the kernel's, which has no memory of the server. */
	if (request && current->mm == node->server_mm) {
		result = 0;
		if (copy_to_user(&fetch->slot->call, &request->call, sizeof(request->call)) ||
		    (!request->call.result && move(&request->cargo, SERVER, true)))
			result = -EFAULT;
		if (result) {
			spin_lock_irq(&node->lock);
			if (request->state == REQUEST_SERVED && !list_empty(&request->link)) {
				request->result = -EIO;
				give_turn(request, REQUEST_DONE);
			}
			spin_unlock_irq(&node->lock);
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

		request->state = REQUEST_SERVED;
		if (request->call.kind == BELFRY_NODE_FENCE || request->call.kind == BELFRY_NODE_ENTRY) {
			list_del_init(&request->link); /* not answered: the list's reference goes along */
		} else {
			list_move_tail(&request->link, &node->served);
			kref_get(&request->references);
		}
		list_del(&fetch->link);
		fetch->request = request;
		io_uring_cmd_complete_in_task(command_of(fetch), deliver);
	}
}

static int send(struct served_node *node, struct request *request)
{
	bool dead;

	spin_lock_irq(&node->lock);
	dead = node->dead;
	if (!dead) {
		if (!request->call.id)
			request->call.id = ++node->last_id;
		request->state = REQUEST_PENDING;
		list_add_tail(&request->link, &node->pending);
		pump(node);
	}
	spin_unlock_irq(&node->lock);
	return dead ? -ENODEV : 0;
}

/* The server is gone, or has not answered: all calls end, the fetches too, and the node goes. */
static void lose_server(struct served_node *node)
{
	struct request *request, *next;
	struct fetch *fetch, *next_fetch;

	spin_lock_irq(&node->lock);
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
		schedule_work(&node->end);
	}
	spin_unlock_irq(&node->lock);
}

/* Sends the request and sleeps until it is answered; reads from the caller's memory meanwhile, as it is
 * asked. */
static int call_server(struct served_node *node, struct request *request)
{
	/* Of all steps: many short ones must not add up to more. */
	unsigned long end = jiffies + DEADLINE;

	request->call.caller_pid = task_tgid_nr(current);
	for (;;) {
		int error = send(node, request);
		long left = end - jiffies;

		if (error)
			return error;
		if (left > 0)
			left = wait_for_completion_killable_timeout(&request->turn, left);
		if (left <= 0) {
			spin_lock_irq(&node->lock);
			list_del_init(&request->link);
			request->state = REQUEST_GONE;
			spin_unlock_irq(&node->lock);
			if (fatal_signal_pending(current))
				return -EINTR; /* nobody sees it: the thread ends */
			lose_server(node);
			return -ENODEV;
		}
		if (request->state == REQUEST_DONE)
			return request->result;
		request->call.result = move(&request->cargo, CALLER, false);
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

	spin_lock_irq(&node->lock);
	list_for_each_entry (each, &node->served, link) {
		if (each->call.id != answer.id)
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

/* --- fences -----------------------------------------------------------------------------------------------
 *
 * A promise is a point of a syncobj and the fence that it gets. The server wants it, and so it is the node's
 * until it is ended by whoever takes it out of `promises`: the server, or the end of the node.
 */

struct promise {
	struct dma_fence fence; /* first: the fence is what others hold */
	spinlock_t lock;
	struct drm_syncobj *syncobj; /* until the publication */
	struct dma_fence_chain *chain; /* likewise; for a timeline's point */
	u64 point;
};

static const char *name_of(struct dma_fence *fence)
{
	return "belfry";
}

static void release_promise(struct dma_fence *fence)
{
	dma_fence_free(fence);
	module_put(THIS_MODULE); /* whose operations it had */
}

static const struct dma_fence_ops promise_operations = {
	.get_driver_name = name_of,
	.get_timeline_name = name_of,
	.release = release_promise,
};

static struct drm_file *find_file(struct served_node *node, u64 serial)
{
	struct open_file *opened;

	list_for_each_entry (opened, &node->files, link)
		if (opened->serial == serial)
			return opened->file;
	return NULL;
}

/* Under the fence's lock, maybe in an interrupt. At the node's end it is too late, and end_node() frees. */
static void watch_signalled(struct dma_fence *fence, struct dma_fence_cb *callback)
{
	struct request *request = container_of(callback, struct request, signalled);
	struct served_node *node = request->node;
	unsigned long flags;

	spin_lock_irqsave(&node->lock, flags);
	if (!node->dead) {
		request->call.result = fence->error;
		request->state = REQUEST_PENDING;
		list_move_tail(&request->link, &node->pending);
		pump(node);
	}
	spin_unlock_irqrestore(&node->lock, flags);
}

/* The id by which the server will be told; 0: it has signalled. */
static int watch(struct served_node *node, const struct open_file *opened, struct dma_fence *fence, u64 *id)
{
	struct request *request = make_request(BELFRY_NODE_FENCE, opened);

	if (!request)
		return -ENOMEM;
	request->node = node;
	request->fence = dma_fence_get(fence);
	spin_lock_irq(&node->lock);
	*id = request->call.id = ++node->last_id;
	list_add_tail(&request->link, &node->watches);
	spin_unlock_irq(&node->lock);
	if (!dma_fence_add_callback(fence, &request->signalled, watch_signalled))
		return 0;
	*id = 0;
	spin_lock_irq(&node->lock);
	list_del_init(&request->link);
	spin_unlock_irq(&node->lock);
	put_request(request);
	return 0;
}

static int find_point(struct served_node *node, struct drm_file *file, struct belfry_node_sync *sync)
{
	struct dma_fence *fence;
	int error = drm_syncobj_find_fence(file, sync->handle, sync->point, 0, &fence);

	if (error)
		return error;
	error = watch(node, file->driver_priv, fence, &sync->id);
	if (!error && !sync->id)
		sync->error = fence->error;
	dma_fence_put(fence);
	return error;
}

static struct promise *make_promise(void)
{
	struct promise *promise = kzalloc(sizeof(*promise), GFP_KERNEL_ACCOUNT);

	if (!promise)
		return NULL;
	__module_get(THIS_MODULE);
	spin_lock_init(&promise->lock);
	dma_fence_init(&promise->fence, &promise_operations, &promise->lock, dma_fence_context_alloc(1), 1);
	return promise;
}

static void owe(struct served_node *node)
{
	if (!node->owed++)
		mod_delayed_work(system_wq, &node->stalled, STALL);
}

static int prepare_point(struct served_node *node, struct drm_file *file, struct belfry_node_sync *sync)
{
	struct promise *promise = make_promise();
	int error = -ENOENT;
	u32 id;

	if (!promise)
		return -ENOMEM;
	promise->point = sync->point;
	promise->syncobj = drm_syncobj_find(file, sync->handle);
	if (promise->syncobj) {
		error = -ENOMEM;
		promise->chain = sync->point ? dma_fence_chain_alloc() : NULL;
		if (promise->chain || !sync->point)
			error = xa_alloc(&node->promises, &id, promise, xa_limit_31b, GFP_KERNEL_ACCOUNT);
	}
	if (error) {
		dma_fence_chain_free(promise->chain);
		if (promise->syncobj)
			drm_syncobj_put(promise->syncobj);
		dma_fence_put(&promise->fence);
		return error;
	}
	sync->id = id;
	return 0;
}

static int publish_point(struct served_node *node, struct promise *promise)
{
	if (!promise->syncobj)
		return -EINVAL;
	owe(node);
	if (promise->chain)
		drm_syncobj_add_point(promise->syncobj, promise->chain, &promise->fence, promise->point);
	else
		drm_syncobj_replace_fence(promise->syncobj, &promise->fence);
	promise->chain = NULL; /* the syncobj's now */
	drm_syncobj_put(promise->syncobj);
	promise->syncobj = NULL;
	return 0;
}

/* What of an entry is for the server: itself, and what it waits for. */
static int fill_entry(struct served_node *node, struct request *request, const struct open_file *opened,
		      const struct drm_uring_submission *submission)
{
	struct belfry_node_call *call = &request->call;
	const size_t entry_bytes = sizeof(submission->command.entry);
	unsigned int i;

	if (submission->wait_count > BELFRY_NODE_ENTRY_WAITS_MAX)
		return -E2BIG;
	memcpy(call->arguments, &submission->command.entry, entry_bytes);
	for (i = 0; i < submission->wait_count; i++) {
		u64 id;
		int error = watch(node, opened, submission->points[i].fence, &id);

		if (error)
			return error; /* the server will be told of fences that it does not know, and that is
					 all */
		if (id)
			memcpy(call->arguments + entry_bytes + call->bytes++ * sizeof(id), &id, sizeof(id));
	}
	call->argument_bytes = entry_bytes + call->bytes * sizeof(u64);
	return 0;
}

/*
 * drm_uring's hook. The server judges the job when it is told: a job that it refuses is one whose fence
 * signals with an error.
 */
static struct dma_fence *submit_entry(struct drm_file *file, const struct drm_uring_submission *submission)
{
	struct served_node *node = file->minor->dev->dev_private;
	struct open_file *opened = file->driver_priv;
	struct request *request = make_request(BELFRY_NODE_ENTRY, opened);
	struct promise *promise = make_promise();
	int error = -ENOMEM;
	u32 id;

	mutex_lock(&node->sync_lock);
	if (request && promise && !node->dead)
		error = fill_entry(node, request, opened, submission);
	if (!error)
		error = xa_alloc(&node->promises, &id, promise, xa_limit_31b, GFP_KERNEL_ACCOUNT);
	if (!error) {
		request->call.argument = id;
		owe(node);
		dma_fence_get(&promise->fence); /* the submission's */
		/* If the node has died meanwhile, its end signals the fence. */
		if (send(node, request))
			put_request(request);
	}
	mutex_unlock(&node->sync_lock);
	if (!error)
		return &promise->fence;
	if (promise)
		dma_fence_put(&promise->fence);
	if (request)
		put_request(request);
	return ERR_PTR(error);
}

/* Of a promise that was taken out. */
static void end_promise(struct served_node *node, struct promise *promise, int error)
{
	if (promise->syncobj) {
		dma_fence_chain_free(promise->chain);
		drm_syncobj_put(promise->syncobj);
	} else {
		if (error)
			dma_fence_set_error(&promise->fence, error);
		dma_fence_signal(&promise->fence);
		if (--node->owed)
			mod_delayed_work(system_wq, &node->stalled, STALL);
		else
			cancel_delayed_work(&node->stalled);
	}
	dma_fence_put(&promise->fence);
}

static long control_ioctl(struct file *filp, unsigned int command, unsigned long argument)
{
	struct served_node *node = filp->private_data;
	struct belfry_node_sync sync;
	struct promise *promise;
	struct drm_file *file;
	int error = -ENOENT;

	if (current->mm != node->server_mm)
		return -EPERM;
	if (copy_from_user(&sync, (void __user *)argument, sizeof(sync)))
		return -EFAULT;
	if (sync.error > 0 || sync.error < -MAX_ERRNO)
		return -EINVAL;

	mutex_lock(&node->sync_lock);
	if (node->dead) {
		/* end_node() has been, or is about to be, and ends what there is. */
		mutex_unlock(&node->sync_lock);
		return -ENODEV;
	}
	switch (command) {
	case BELFRY_NODE_SYNC_FIND:
		file = find_file(node, sync.file);
		if (file)
			error = find_point(node, file, &sync);
		break;
	case BELFRY_NODE_SYNC_PREPARE:
		file = find_file(node, sync.file);
		if (file)
			error = prepare_point(node, file, &sync);
		break;
	case BELFRY_NODE_SYNC_PUBLISH:
		promise = xa_load(&node->promises, sync.id);
		if (promise)
			error = publish_point(node, promise);
		break;
	case BELFRY_NODE_SYNC_SIGNAL:
		promise = xa_erase(&node->promises, sync.id);
		if (promise) {
			end_promise(node, promise, sync.error);
			error = 0;
		}
		break;
	default:
		error = -ENOTTY;
	}
	mutex_unlock(&node->sync_lock);
	if (!error && _IOC_DIR(command) & _IOC_READ &&
	    copy_to_user((void __user *)argument, &sync, sizeof(sync)))
		error = -EFAULT;
	return error;
}

static void server_stalled(struct work_struct *work)
{
	lose_server(container_of(to_delayed_work(work), struct served_node, stalled));
}

/* The node is dead: what the server owed signals, what it waited for is let go, and programs see the device
 * go. */
static void end_node(struct work_struct *work)
{
	struct served_node *node = container_of(work, struct served_node, end);
	struct request *request, *next;
	struct promise *promise;
	unsigned long id;
	LIST_HEAD(watches);

	mutex_lock(&node->sync_lock);
	xa_for_each(&node->promises, id, promise)
	{
		xa_erase(&node->promises, id);
		end_promise(node, promise, -ENODEV);
	}
	mutex_unlock(&node->sync_lock);

	spin_lock_irq(&node->lock);
	list_splice_init(&node->watches, &watches);
	spin_unlock_irq(&node->lock);
	/* Taking a callback off waits for one that runs, which does nothing now. */
	list_for_each_entry_safe(request, next, &watches, link)
	{
		dma_fence_remove_callback(request->fence, &request->signalled);
		put_request(request);
	}
	drm_dev_unplug(node->drm);
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
	INIT_WORK(&node->end, end_node);
	INIT_DELAYED_WORK(&node->stalled, server_stalled);
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

/* --- the programs' side: the render node ------------------------------------------------------------------
 */

static struct served_node *node_of(const struct drm_file *file)
{
	return file->minor->dev->dev_private;
}

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
	if (!opened->release) {
		kfree(opened);
		return -ENOMEM;
	}
	opened->file = file;
	drm_uring_file_init(&opened->uring);
	file->driver_priv = opened;
	mutex_lock(&node->sync_lock);
	list_add_tail(&opened->link, &node->files);
	mutex_unlock(&node->sync_lock);
	return 0;
}

/* Before the core takes the file's syncobjs apart. */
static int file_release(struct inode *inode, struct file *filp)
{
	struct drm_file *file = filp->private_data;
	struct open_file *opened = file->driver_priv;
	struct served_node *node = node_of(file);

	mutex_lock(&node->sync_lock);
	list_del(&opened->link);
	mutex_unlock(&node->sync_lock);
	return drm_release(inode, filp);
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

static int file_command(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct drm_file *file = cmd->file->private_data;
	struct open_file *opened = file->driver_priv;

	return drm_uring_command(cmd, issue_flags, &opened->uring, submit_entry);
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
	xa_destroy(&node->promises);
	kfree(node);
}

static const struct file_operations file_operations = {
	.owner = THIS_MODULE,
	.open = drm_open,
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
