// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What programs map: pieces of the server's memfds.
 *
 * Owns    the files of a mapping of several pieces, whose pages are put in as they are touched. A mapping of
 *         all of one file is one of that: futexes and registered buffers work as on any shared memory.
 * Called  by the kernel, on threads of programs: file_mmap() with their memory's lock held, also while the
 *         server answers. take_segments() has judged the pieces before they come here.
 * Locks   none of ours.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

#include "belfry.h"

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

/*
 * A mapping of one piece is the program's mapping of its file, by which it comes to the rest of that and to
 * what the file's mode and seals allow (remap_file_pages(), mprotect()).
 */
static bool is_all_of_its_file(const struct segment *segment)
{
	struct inode *inode = file_inode(segment->file);

	return !segment->offset && segment->bytes >= i_size_read(inode) &&
	       (segment->writable || !(segment->file->f_mode & FMODE_WRITE) ||
		SHMEM_I(inode)->seals & WRITE_SEALS);
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

int file_mmap(struct file *filp, struct vm_area_struct *vma)
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
		result = request->segment_count == 1 && is_all_of_its_file(request->segments)
				 ? map_piece(vma, request->segments)
				 : map_pieces(vma, request);
	put_request(request);
	return result;
}
