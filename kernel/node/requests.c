// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The calls of programs, on their way between their threads and the server.
 *
 * Owns    requests, the lists that they and the server's fetches wait in, and the end of both when the server
 *         is lost.
 * Called  by files.c and mappings.c on the threads of programs, which send and sleep; by control.c on those
 *         of the server, which fetch and answer; by fences.c, also under a fence's lock.
 * Locks   served_node.lock, which is innermost and disables interrupts. Memory of either side is copied
 *         without it, by the task whose memory it is.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "belfry.h"

/* How long a call may take the server from its first byte to its last. The driver's own bounds are half of
 * it. */
#define DEADLINE (10 * HZ)

static struct io_uring_cmd *command_of(struct fetch *fetch)
{
	return container_of((void *)fetch, struct io_uring_cmd, pdu);
}

/* --- cargo ------------------------------------------------------------------------------------------------
 */

void drop_cargo(struct cargo *cargo)
{
	kvfree(cargo->copies);
	kvfree(cargo->data);
	memset(cargo, 0, sizeof(*cargo));
}

/* Takes a list of copies from the server, with room for what they carry. */
int load_list(struct cargo *cargo, u64 list, u32 count)
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

/* Between the cargo and the memory of one of the two, which must be the current process. */
int move(struct cargo *cargo, enum side side, bool out)
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

struct request *make_request(u32 kind, const struct open_file *file)
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
	if (request->entries) {
		atomic_dec(&request->entries->count);
		put_entries(request->entries);
	}
	while (request->segment_count)
		fput(request->segments[--request->segment_count].file);
	kfree(request);
}

static void free_entries(struct kref *references)
{
	kfree(container_of(references, struct entries, references));
}

void put_entries(struct entries *entries)
{
	kref_put(&entries->references, free_entries);
}

void put_request(struct request *request)
{
	kref_put(&request->references, free_request);
}

static bool has_thread(const struct request *request)
{
	return request->call.kind == BELFRY_NODE_IOCTL || request->call.kind == BELFRY_NODE_MMAP;
}

/* Its thread goes on, and may free it at once; a RELEASE has none. Under the lock. */
void give_turn(struct request *request, enum request_state state)
{
	const bool nobodys = !has_thread(request);

	list_del_init(&request->link);
	request->state = state;
	request->turned = jiffies;
	complete(&request->turn);
	if (nobodys)
		put_request(request);
}

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
		spin_lock_irq(&node->lock);
		/* Of what is not to be answered only this reference is left. */
		if (request->state == REQUEST_SERVED && !list_empty(&request->link)) {
			request->state = REQUEST_TOLD;
			if (result) {
				request->result = -EIO;
				give_turn(request, REQUEST_LOST);
			}
		}
		spin_unlock_irq(&node->lock);
	}
	if (request)
		put_request(request);
	io_uring_cmd_done(cmd, result, 0, issue_flags);
}

/* Brings calls and fetches together. Under the lock. */
void pump(struct served_node *node)
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

int send(struct served_node *node, struct request *request)
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
void lose_server(struct served_node *node)
{
	struct request *request, *next;
	struct fetch *fetch, *next_fetch;
	LIST_HEAD(nobodys);

	spin_lock_irq(&node->lock);
	if (!node->dead) {
		node->dead = true;
		list_splice_init(&node->pending, &node->served);
		list_for_each_entry_safe(request, next, &node->served, link)
		{
			if (!has_thread(request)) {
				list_move_tail(&request->link, &nobodys);
				continue;
			}
			request->result = -ENODEV;
			give_turn(request, REQUEST_LOST);
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
	/* Not under the lock: the last reference to a fence takes its own. */
	list_for_each_entry_safe(request, next, &nobodys, link)
	{
		list_del_init(&request->link);
		put_request(request);
	}
}

/* Sends the request and sleeps until it is answered; reads from the caller's memory meanwhile, as it is
 * asked. */
int call_server(struct served_node *node, struct request *request)
{
	/* Of all steps of the server's: many short ones must not add up to more. The program's own are not
	   counted, for it can make them as long as it likes. */
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
		if (request->state != REQUEST_READ)
			return request->result;
		request->call.result = move(&request->cargo, CALLER, false);
		request->call.reads++;
		end += jiffies - request->turned;
	}
}
