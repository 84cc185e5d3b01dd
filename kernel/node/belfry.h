/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * belfry.ko: a render node named panthor whose calls a process answers.
 *
 * Who opens /dev/belfry is the server of a fresh node (include/belfry/uapi/node.h): belfryd --node. A call of
 * a program becomes a struct request. It waits in `pending` for one of the server's fetches, then in `served`
 * for the answer; its thread sleeps meanwhile, and copies from and to its own memory itself whatever the
 * server asks for. Syncobjs are the kernel's own.
 *
 *	control.c   the server's side: /dev/belfry, and the life of the node
 *	files.c     the programs' side: the render node
 *	mappings.c  what programs map of it
 *	requests.c  the calls between the two sides
 *	fences.c    syncobjs, and the fences that either side owes the other
 *
 * Nobody is trusted. A program can make the server wait for nothing, because only its own thread touches its
 * memory. The server can make a program wait for DEADLINE at most, and owe fences without a sign of life for
 * STALL: then it has lost its node, as it has when it dies. It can give programs nothing but pages of memfds
 * that can't shrink.
 *
 * Who holds what: open files and the control file hold the drm_device, which holds the node. A request
 * belongs to its thread, or to itself if it has none; commands that carry it hold a reference. Lock order:
 * served_node.sync_lock, a fence's lock, served_node.lock.
 */
#ifndef BELFRY_H
#define BELFRY_H

#include <linux/completion.h>
#include <linux/dma-fence.h>
#include <linux/io_uring.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/version.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <uapi/linux/fcntl.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#include <linux/io_uring/cmd.h>
#endif

#include <drm/drm_device.h>
#include <drm/drm_file.h>

#include "../drm_uring.h"
#include "belfry/uapi/node.h"

struct drm_driver;
struct file;
struct mm_struct;
struct platform_device;
struct vm_area_struct;

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
	unsigned long alive; /* when the server began to owe some, or last said that it lives; in jiffies */
	struct delayed_work stalled; /* looks at `alive` while some are owed */

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
	struct entries *entries;
};

/* The entries of a file that the server has not been told of yet. Outlives the file. */
struct entries {
	struct kref references;
	atomic_t count;
};

/* Bytes on their way between two processes. */
struct cargo {
	struct belfry_node_copy *copies;
	u32 count;
	void *data; /* of all copies, one behind the other */
};

#define WRITE_SEALS (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

struct segment {
	struct file *file;
	bool writable;
	u64 offset;
	u64 bytes;
};

enum request_state {
	REQUEST_PENDING,
	REQUEST_SERVED, /* given to a fetch, which is telling it */
	REQUEST_TOLD, /* the server may answer */
	REQUEST_ANSWERING, /* an answer is being copied from the server; on no list */
	REQUEST_READ, /* its thread's turn: to read */
	REQUEST_DONE, /* its thread's turn: to take the answer, and return */
	REQUEST_LOST, /* its thread's turn: to return; there is no answer */
	REQUEST_GONE, /* its thread has given up */
};

struct request {
	struct kref references;
	enum request_state state; /* under node->lock */
	struct list_head link; /* in `pending` or `served` */
	struct completion turn; /* its thread's */
	unsigned long turned; /* when its thread got its turn; in jiffies */
	struct belfry_node_call call;
	struct cargo cargo;
	int result;

	/* ENTRY */
	struct entries *entries; /* it is one of them */

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

static inline struct fetch *fetch_of(struct io_uring_cmd *cmd)
{
	return (struct fetch *)cmd->pdu;
}

/* --- requests.c -------------------------------------------------------------------------------------------
 */

void drop_cargo(struct cargo *cargo);
int load_list(struct cargo *cargo, u64 list, u32 count);

enum side { CALLER, SERVER };

int move(struct cargo *cargo, enum side side, bool out);

struct request *make_request(u32 kind, const struct open_file *file);
void put_request(struct request *request);
void put_entries(struct entries *entries);
void give_turn(struct request *request, enum request_state state);
void pump(struct served_node *node);
int send(struct served_node *node, struct request *request);
int call_server(struct served_node *node, struct request *request);
void lose_server(struct served_node *node);

/* --- fences.c ---------------------------------------------------------------------------------------------
 */

long control_ioctl(struct file *filp, unsigned int command, unsigned long argument);
struct dma_fence *submit_entry(struct drm_file *file, const struct drm_uring_submission *submission);
void look_at_server(struct work_struct *work);
void end_fences(struct served_node *node);

/* --- files.c, mappings.c ----------------------------------------------------------------------------------
 */

extern const struct drm_driver driver;

int file_mmap(struct file *filp, struct vm_area_struct *vma);

static inline struct served_node *node_of(const struct drm_file *file)
{
	return file->minor->dev->dev_private;
}

#endif
