/* SPDX-License-Identifier: MIT */
/*
 * user_lock.c: user memory that MDLs lock and map, and copies to and from processes that are not
 * the current one.
 *
 * A locked page is a frame that stays (user_frame.c). Its page frame number is that of the frame's
 * address in kernel memory, which is also where the MDL is mapped when its frames lie one behind
 * the other, as they do unless another MDL has locked some of the pages before; else the mapping is
 * a view of its own. So the system address and the user address are the same memory, for kernel
 * code. The program sees what was written through either when the pages are unlocked, and otherwise
 * as user.c says (within a clock tick); what it writes meanwhile appears in the same way.
 *
 * Contexts: IRQL <= DISPATCH_LEVEL; the window lock is taken for a page at a time.
 * Implements PLT-52, PLT-53 for user memory.
 */
#include "mm/mm_internal.h"
#include "mm/user_internal.h"
#include "rtl/rtl.h"

#define LOCKABLE (USER_FRAMES - USER_RESIDENT) /* frames that locks may take */

static struct user_frame *frame_of(const MDL *mdl, size_t i)
{
	return user_frame_at(MmGetMdlPfnArray(mdl)[i] << PAGE_SHIFT);
}

static void release_frames(PMDL mdl, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mm_user_page_unlock(mdl, i);
}

static NTSTATUS pin(struct mm_space *space, uint64_t page, bool write, struct user_frame *reserved,
		    struct user_frame **result)
{
	KIRQL old = user_lock();
	struct user_frame *frame = user_frame_find(space, page);
	if (frame && !frame->pins)
		user_frame_out(frame); /* to come in again where the others are */
	enum user_in in = user_frame_in(space, page, write, reserved, result);
	if (in == USER_IN)
		user_frame_pin(*result);
	if (reserved && reserved->reserved)
		user_frame_unreserve(reserved);
	user_unlock(old);
	return in == USER_IN       ? STATUS_SUCCESS
	       : in == USER_IN_BAD ? STATUS_ACCESS_VIOLATION
				   : STATUS_INSUFFICIENT_RESOURCES;
}

NTSTATUS mm_user_lock(PMDL mdl, bool write)
{
	struct mm_space *space = user_space();
	uint64_t page = (uint64_t)mdl->StartVa;
	size_t pages = mm_mdl_pages(mdl), i;
	NTSTATUS status = STATUS_SUCCESS;
	if (page < USER_LOWEST)
		return STATUS_ACCESS_VIOLATION;
	KIRQL old = user_lock();
	struct user_frame *reserved =
		user_frames_used() + pages <= LOCKABLE ? user_frame_reserve(pages) : NULL;
	user_unlock(old);
	if (!reserved)
		return STATUS_INSUFFICIENT_RESOURCES;
	for (i = 0; i < pages && NT_SUCCESS(status); i++) {
		struct user_frame *frame;
		status = pin(space, page + i * PAGE_SIZE, write, reserved + i, &frame);
		if (NT_SUCCESS(status))
			MmGetMdlPfnArray(mdl)[i] =
				(PFN_NUMBER)user_frame_address(frame) >> PAGE_SHIFT;
	}
	if (NT_SUCCESS(status))
		return STATUS_SUCCESS;
	release_frames(mdl, i - 1);
	old = user_lock();
	for (; i < pages; i++)
		user_frame_unreserve(reserved + i);
	user_unlock(old);
	return status;
}

bool mm_user_page_unlock(const MDL *mdl, size_t i)
{
	struct user_frame *frame = frame_of(mdl, i);
	if (!frame)
		return false;
	KIRQL old = user_lock();
	/* Never below 0: the driver may have changed the MDL meanwhile. */
	if (frame->pins)
		user_frame_unpin(frame);
	user_unlock(old);
	return true;
}

void *mm_user_locked(uint64_t address)
{
	struct mm_space *space = user_space();
	if (!space || !user_range(address) || ke_in_nmi())
		return NULL;
	KIRQL old = user_lock();
	const struct user_frame *frame =
		user_frame_find(space, address & ~(uint64_t)(PAGE_SIZE - 1));
	char *at = frame && frame->pins ? user_frame_address(frame) : NULL;
	user_unlock(old);
	return at ? at + (address & (PAGE_SIZE - 1)) : NULL;
}

/* ---- Mappings ---- */

void *mm_user_view(const MDL *mdl)
{
	size_t pages = mm_mdl_pages(mdl);
	if (!pages || !frame_of(mdl, 0))
		return NULL;
	return port_window_view((const uint64_t *)MmGetMdlPfnArray(mdl), pages);
}

void mm_user_view_release(const MDL *mdl, void *base)
{
	if (frame_of(mdl, 0) && !user_frame_at((uint64_t)base))
		port_pages_release(base, mm_mdl_pages(mdl) << PAGE_SHIFT);
}
