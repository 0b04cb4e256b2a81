/* SPDX-License-Identifier: MIT */
/*
 * memory.c: where the bytes of MDL chains and logical pages are.
 *
 * Pure reading at IRQL <= DISPATCH_LEVEL; no locks: the consumer leaves its MDLs alone during the
 * call. The common case is one MDL over consecutive frames: then one compare per frame is all, and
 * the memory is one piece. The addresses in an MDL are an index only (NDK-121); what is accessed
 * are the frames.
 *
 * Implements the memory half of NDK-121, NDK-125, NDK-134, DEF-90. Chosen: memory of user processes
 * is refused with STATUS_NOT_SUPPORTED, since it is there only in its process's context.
 */
#include "mm/mm.h"
#include "ndk/region.h"
#include "rtl/rtl.h"

/* A part (IoBuildPartialMdl) has its source's pages, which are locked. */
#define FLAGS_RESIDENT (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL)
#define EMPTY_MOST     4096u /* MDLs without bytes in a chain: more is a chain that bites its tail */

/* Is frames[i] == frames[0] + i for all? Four at a time: 1 GiB has 262144 of them. */
static bool consecutive(const PFN_NUMBER *frames, size_t count)
{
	PFN_NUMBER first = frames[0], wrong = 0;
	size_t i = 0;
	for (; i + 4 <= count; i += 4) {
		wrong |= (frames[i] ^ (first + i)) | (frames[i + 1] ^ (first + i + 1)) |
			 (frames[i + 2] ^ (first + i + 2)) | (frames[i + 3] ^ (first + i + 3));
		if (wrong)
			return false;
	}
	for (; i < count; i++)
		wrong |= frames[i] ^ (first + i);
	return !wrong;
}

static size_t pages_of(uint32_t offset, size_t length)
{
	return (offset + length + NDK_PAGE_SIZE - 1) / NDK_PAGE_SIZE;
}

/* The one piece that `length` bytes of an MDL are; 0: they are several. */
static char *piece_of(const MDL *mdl, size_t length)
{
	const PFN_NUMBER *frames = MmGetMdlPfnArray(mdl);
	size_t pages = pages_of(mdl->ByteOffset, length);
	if (!consecutive(frames, pages))
		return NULL;
	char *first = mm_virtual_of(frames[0] << PAGE_SHIFT);
	if (pages > 1 &&
	    mm_virtual_of(frames[pages - 1] << PAGE_SHIFT) != first + (pages - 1) * NDK_PAGE_SIZE)
		return NULL;
	return first ? first + mdl->ByteOffset : NULL;
}

/* The frames of one MDL, from page `at` of the table on. */
static NTSTATUS fill(const MDL *mdl, size_t length, char **table, size_t at)
{
	const PFN_NUMBER *frames = MmGetMdlPfnArray(mdl);
	size_t pages = pages_of(mdl->ByteOffset, length);
	for (size_t i = 0; i < pages; i++) {
		char *page = mm_virtual_of(frames[i] << PAGE_SHIFT);
		/* Two MDLs may meet in one page, which must then be the same. */
		if (!page || (table[at + i] && table[at + i] != page))
			return STATUS_INVALID_PARAMETER;
		table[at + i] = page;
	}
	return STATUS_SUCCESS;
}

static NTSTATUS fill_table(MDL *mdl, size_t length, struct ndk_backing *backing)
{
	backing->base = NULL;
	backing->offset = mdl->ByteOffset;
	backing->page_count = (uint32_t)pages_of(mdl->ByteOffset, length);
	/* One more, 0: what follows the last page is never together with it. */
	backing->pages = ex_allocate(((size_t)backing->page_count + 1) * sizeof(char *), NDK_TAG,
				     NonPagedPoolNx);
	if (!backing->pages)
		return STATUS_INSUFFICIENT_RESOURCES;
	size_t at = backing->offset;
	for (; length; mdl = mdl->Next) {
		size_t here = mdl->ByteCount < length ? mdl->ByteCount : length;
		if (!here)
			continue;
		NTSTATUS status = fill(mdl, here, backing->pages, at / NDK_PAGE_SIZE);
		if (!NT_SUCCESS(status)) {
			ndk_backing_free(backing);
			return status;
		}
		at += here;
		length -= here;
	}
	return STATUS_SUCCESS;
}

static bool is_user(const MDL *mdl)
{
	return (mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_PARTIAL)) && mdl->Process;
}

/* Is the chain resident, virtually contiguous and long enough? */
static NTSTATUS check_chain(const MDL *mdl, size_t length, bool *unlocked)
{
	unsigned empty = 0;
	for (;;) {
		if (!mdl->ByteCount && ++empty > EMPTY_MOST)
			return STATUS_INVALID_PARAMETER;
		if (!(mdl->MdlFlags & FLAGS_RESIDENT)) {
			*unlocked = true;
			return STATUS_INVALID_PARAMETER;
		}
		if (is_user(mdl))
			return STATUS_NOT_SUPPORTED;
		if (length <= mdl->ByteCount)
			return STATUS_SUCCESS;
		const MDL *next = mdl->Next;
		if (!next || (char *)MmGetMdlVirtualAddress(next) !=
				     (char *)MmGetMdlVirtualAddress(mdl) + mdl->ByteCount)
			return STATUS_INVALID_PARAMETER;
		length -= mdl->ByteCount;
		mdl = next;
	}
}

NTSTATUS ndk_backing_of_mdl(MDL *mdl, SIZE_T length, struct ndk_backing *backing, bool *unlocked)
{
	*backing = (struct ndk_backing){0};
	*unlocked = false;
	if (!mdl || !length)
		return STATUS_INVALID_PARAMETER;
	NTSTATUS status = check_chain(mdl, length, unlocked);
	if (!NT_SUCCESS(status))
		return status;
	char *end = NULL;
	size_t left = length;
	for (const MDL *part = mdl;; part = part->Next) {
		size_t here = part->ByteCount < left ? part->ByteCount : left;
		if (!here)
			continue;
		char *piece = piece_of(part, here);
		if (!piece || (end && piece != end))
			return fill_table(mdl, length, backing);
		if (!end)
			backing->base = piece;
		end = piece + here;
		left -= here;
		if (!left)
			return STATUS_SUCCESS;
	}
}

NTSTATUS ndk_backing_of_pages(const NDK_LOGICAL_ADDRESS *pages, uint32_t count, uint32_t offset,
			      struct ndk_backing *backing)
{
	*backing = (struct ndk_backing){.page_count = count, .offset = offset};
	backing->pages = ex_allocate(((size_t)count + 1) * sizeof(char *), NDK_TAG, NonPagedPoolNx);
	if (!backing->pages)
		return STATUS_INSUFFICIENT_RESOURCES;
	bool together = true;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t logical = (uint64_t)pages[i].QuadPart;
		char *page = logical % NDK_PAGE_SIZE ? NULL : mm_virtual_of(logical);
		if (!page) {
			ndk_backing_free(backing);
			return STATUS_INVALID_PARAMETER;
		}
		backing->pages[i] = page;
		together &= page == backing->pages[0] + (size_t)i * NDK_PAGE_SIZE;
	}
	if (together && count)
		backing->base = backing->pages[0] + offset;
	return STATUS_SUCCESS;
}

void ndk_backing_free(struct ndk_backing *backing)
{
	ex_free(backing->pages);
	*backing = (struct ndk_backing){0};
}

unsigned ndk_backing_runs(const struct ndk_backing *backing, uint64_t offset, uint64_t length,
			  struct ndk_run *runs, unsigned room)
{
	if (backing->base) {
		if (room)
			runs[0] = (struct ndk_run){backing->base + offset, length};
		return 1;
	}
	unsigned count = 0;
	char *end = NULL;
	for (uint64_t at = backing->offset + offset; length;) {
		size_t inside = at % NDK_PAGE_SIZE;
		char *data = backing->pages[at / NDK_PAGE_SIZE] + inside;
		size_t here = NDK_PAGE_SIZE - inside < length ? NDK_PAGE_SIZE - inside : length;
		if (data != end && count++ < room)
			runs[count - 1] = (struct ndk_run){data, 0};
		if (count <= room)
			runs[count - 1].size += here;
		end = data + here;
		at += here;
		length -= here;
	}
	return count;
}
