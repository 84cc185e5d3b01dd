// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Syncobjs and fences: the kernel's, though the server signals them.
 *
 * Owns    promises, which are fences that the server is to signal, and watches, which are requests that tell
 *         it of fences that it waits for.
 * Called  by the server's ioctls on /dev/belfry, and by drm_uring for a program's entries: both on the
 *         caller's thread. Fences call back in any context; a worker ends all when the server is lost.
 * Locks   served_node.sync_lock for promises. served_node.lock for watches: it is what their callbacks may
 *         take, within a fence's.
 */
#include <linux/dma-fence-chain.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_syncobj.h>

#include "belfry.h"

/* How long a server may owe fences and not say that it lives. */
#define STALL (5 * BELFRY_NODE_ALIVE_SECONDS * HZ)

/* How many entries of a file may wait for the server to be told of them: others' calls wait behind them. */
#define ENTRIES_MAX 8192

/*
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

/* Under the fence's lock, maybe in an interrupt. At the node's end it is too late, and end_fences() frees. */
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

/* The id by which the server will be told; 0: it has signalled. Takes the request, which is a FENCE. Under
 * sync_lock, as long as the node lives. */
static u64 watch(struct served_node *node, struct request *request, struct dma_fence *fence)
{
	u64 id;

	request->node = node;
	request->fence = dma_fence_get(fence);
	spin_lock_irq(&node->lock);
	id = request->call.id = ++node->last_id;
	list_add_tail(&request->link, &node->watches);
	spin_unlock_irq(&node->lock);
	if (!dma_fence_add_callback(fence, &request->signalled, watch_signalled))
		return id;
	spin_lock_irq(&node->lock);
	list_del_init(&request->link);
	spin_unlock_irq(&node->lock);
	put_request(request);
	return 0;
}

static int find_point(struct served_node *node, struct drm_file *file, struct belfry_node_sync *sync)
{
	struct request *request;
	struct dma_fence *fence;
	int error = drm_syncobj_find_fence(file, sync->handle, sync->point, 0, &fence);

	if (error)
		return error;
	request = make_request(BELFRY_NODE_FENCE, file->driver_priv);
	if (request) {
		sync->id = watch(node, request, fence);
		if (!sync->id)
			sync->error = fence->error;
	} else {
		error = -ENOMEM;
	}
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

/* The work looks at the time by itself: a job that comes and goes moves no timer. */
static void owe(struct served_node *node)
{
	if (node->owed++)
		return;
	node->alive = jiffies;
	queue_delayed_work(system_wq, &node->stalled, STALL);
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

/* An entry for the server, and the FENCE of each thing that it waits for: what needs memory, which the
 * program waits for without the lock that the server needs. */
struct told_entry {
	struct request *request;
	struct promise *promise;
	u32 id; /* reserved for the promise; 0: none */
	struct request *waits[BELFRY_NODE_ENTRY_WAITS_MAX];
	unsigned int wait_count;
};

static void free_entry(struct served_node *node, struct told_entry *entry)
{
	while (entry->wait_count)
		put_request(entry->waits[--entry->wait_count]);
	if (entry->id)
		xa_release(&node->promises, entry->id);
	if (entry->promise)
		dma_fence_put(&entry->promise->fence);
	if (entry->request)
		put_request(entry->request);
}

static int make_entry(struct served_node *node, struct told_entry *entry, struct open_file *opened,
		      const struct drm_uring_submission *submission)
{
	if (submission->wait_count > BELFRY_NODE_ENTRY_WAITS_MAX)
		return -E2BIG;
	entry->request = make_request(BELFRY_NODE_ENTRY, opened);
	if (!entry->request)
		return -ENOMEM;
	kref_get(&opened->entries->references);
	entry->request->entries = opened->entries;
	if (atomic_inc_return(&opened->entries->count) > ENTRIES_MAX)
		return -EBUSY;
	entry->promise = make_promise();
	if (!entry->promise)
		return -ENOMEM;
	while (entry->wait_count < submission->wait_count) {
		struct request *request = make_request(BELFRY_NODE_FENCE, opened);

		if (!request)
			return -ENOMEM;
		entry->waits[entry->wait_count++] = request;
	}
	return xa_alloc(&node->promises, &entry->id, NULL, xa_limit_31b, GFP_KERNEL_ACCOUNT);
}

/* Nothing fails any more. Under sync_lock. */
static void tell_entry(struct served_node *node, struct told_entry *entry,
		       const struct drm_uring_submission *submission)
{
	struct belfry_node_call *call = &entry->request->call;
	const size_t entry_bytes = sizeof(submission->command.entry);
	unsigned int i;

	memcpy(call->arguments, &submission->command.entry, entry_bytes);
	for (i = 0; i < entry->wait_count; i++) {
		u64 id = watch(node, entry->waits[i], submission->points[i].fence);

		if (id)
			memcpy(call->arguments + entry_bytes + call->bytes++ * sizeof(id), &id, sizeof(id));
	}
	call->argument_bytes = entry_bytes + call->bytes * sizeof(u64);
	call->argument = entry->id;
	xa_store(&node->promises, entry->id, entry->promise, GFP_NOWAIT); /* the place is reserved */
	owe(node);
	/* If the node has died meanwhile, its end signals the fence. */
	if (send(node, entry->request))
		put_request(entry->request);
}

/*
 * drm_uring's hook. The server judges the job when it is told: a job that it refuses is one whose fence
 * signals with an error.
 */
struct dma_fence *submit_entry(struct drm_file *file, const struct drm_uring_submission *submission)
{
	struct served_node *node = file->minor->dev->dev_private;
	struct told_entry entry = {};
	struct dma_fence *fence = NULL;
	int error = make_entry(node, &entry, file->driver_priv, submission);

	if (!error) {
		mutex_lock(&node->sync_lock);
		if (node->dead) {
			error = -ENODEV;
		} else {
			fence = dma_fence_get(&entry.promise->fence); /* the submission's */
			tell_entry(node, &entry, submission);
		}
		mutex_unlock(&node->sync_lock);
	}
	if (!error)
		return fence;
	free_entry(node, &entry);
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
		node->owed--;
	}
	dma_fence_put(&promise->fence);
}

/* All in one go, as an interrupt that finds several jobs done: who waits for them all is woken once. */
static int signal_points(struct served_node *node, unsigned long argument)
{
	struct belfry_node_signal *signals;
	struct belfry_node_signals list;
	int error = 0;
	u32 i;

	if (copy_from_user(&list, (void __user *)argument, sizeof(list)))
		return -EFAULT;
	if (list.pad || list.count > BELFRY_NODE_SIGNALS_MAX)
		return -EINVAL;
	signals = vmemdup_user(u64_to_user_ptr(list.signals), list.count * sizeof(*signals));
	if (IS_ERR(signals))
		return PTR_ERR(signals);
	for (i = 0; i < list.count; i++)
		if (signals[i].pad || signals[i].error > 0 || signals[i].error < -MAX_ERRNO)
			error = -EINVAL;

	mutex_lock(&node->sync_lock);
	if (node->dead)
		error = -ENODEV; /* end_fences() has been, or is about to be, and ends what there is */
	for (i = 0; i < list.count && (!error || error == -ENOENT); i++) {
		struct promise *promise = xa_erase(&node->promises, signals[i].id);

		if (promise)
			end_promise(node, promise, signals[i].error);
		else
			error = -ENOENT;
	}
	mutex_unlock(&node->sync_lock);
	kvfree(signals);
	return error;
}

long control_ioctl(struct file *filp, unsigned int command, unsigned long argument)
{
	struct served_node *node = filp->private_data;
	struct belfry_node_sync sync = {};
	struct promise *promise;
	struct drm_file *file;
	int error = -ENOENT;

	if (current->mm != node->server_mm)
		return -EPERM;
	if (command == BELFRY_NODE_SYNC_SIGNAL)
		return signal_points(node, argument);
	if (_IOC_SIZE(command) && copy_from_user(&sync, (void __user *)argument, sizeof(sync)))
		return -EFAULT;

	mutex_lock(&node->sync_lock);
	if (node->dead) {
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
	case BELFRY_NODE_ALIVE:
		node->alive = jiffies;
		error = 0;
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

void look_at_server(struct work_struct *work)
{
	struct served_node *node = container_of(to_delayed_work(work), struct served_node, stalled);
	long left;
	bool owes;

	mutex_lock(&node->sync_lock);
	owes = node->owed != 0;
	left = (long)(node->alive + STALL - jiffies);
	if (owes && left > 0)
		queue_delayed_work(system_wq, &node->stalled, left);
	mutex_unlock(&node->sync_lock);
	if (owes && left <= 0)
		lose_server(node);
}

/* The node is dead: what the server owed signals, and what it waited for is let go. */
void end_fences(struct served_node *node)
{
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
}
