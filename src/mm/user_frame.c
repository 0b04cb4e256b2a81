/* SPDX-License-Identifier: MIT */
/*
 * user_frame.c: the page frames that hold copies of user processes' pages.
 *
 * A frame lies in kernel memory; the window shows it at the page's own address too. When a page may
 * have been changed by kernel code, a second copy holds what the program had: only bytes that
 * differ from it go back, so what the program's other threads write meanwhile to other bytes is
 * kept. A frame that an MDL has locked (pins) stays, and exchanges changes both ways.
 *
 * Contexts: the window lock is held (user.c), at HIGH_LEVEL or in a trap handler. Nothing here
 * touches a user address: pages come and go by the port's copies. user_frame_at: any context.
 *
 * Chosen: changed bytes that the program can no longer take (it unmapped the page) are lost, as
 * with the page. The host keeps the memory of a program that is killed until its threads have left
 * the kernel; should it be gone before, its pages read as zeros and take stores, as kernel code
 * must not fault on it. After that there is none.
 */
#include "mm/mm_internal.h"
#include "mm/user_internal.h"
#include "rtl/rtl.h"

#define BUCKETS 1024u

static struct user_frame frames[USER_FRAMES];
static uint32_t buckets[BUCKETS];  /* frame number + 1 */
static uint32_t used[USER_FRAMES]; /* frame numbers, in the order of coming in but for gaps filled
				      from the end */
static uint32_t used_count, loose_count, next_free, exchange_next;
static char *aliases;   /* where drivers see frames (mappings of MDLs) */
static char *contents;  /* the same for the core */
static char *originals; /* see struct user_frame */

bool user_frames_create(void)
{
	const size_t size = (size_t)USER_FRAMES * PAGE_SIZE;
	originals = port_pages_reserve(NULL, size);
	return originals && port_pages_protect(originals, size, PORT_READ | PORT_WRITE) &&
	       port_window_create(USER_FRAMES, &aliases, &contents);
}

static uint32_t number(const struct user_frame *frame)
{
	return (uint32_t)(frame - frames);
}

static char *content(const struct user_frame *frame)
{
	return contents + (size_t)number(frame) * PAGE_SIZE;
}

static char *original(const struct user_frame *frame)
{
	return originals + (size_t)number(frame) * PAGE_SIZE;
}

void *user_frame_address(const struct user_frame *frame)
{
	return aliases + (size_t)number(frame) * PAGE_SIZE;
}

struct user_frame *user_frame_at(uint64_t address)
{
	uint64_t offset = address - (uint64_t)aliases;
	return aliases && offset < (uint64_t)USER_FRAMES * PAGE_SIZE ? &frames[offset / PAGE_SIZE]
								     : NULL;
}

uint32_t user_frames_used(void)
{
	return used_count;
}

uint32_t user_frames_loose(void)
{
	return loose_count;
}

/* ---- The table ---- */

static uint32_t *bucket(const struct mm_space *space, uint64_t page)
{
	return &buckets[((page >> PAGE_SHIFT) + ((uint64_t)space >> 5)) % BUCKETS];
}

struct user_frame *user_frame_find(const struct mm_space *space, uint64_t page)
{
	for (uint32_t n = *bucket(space, page); n; n = frames[n - 1].chain) {
		struct user_frame *frame = &frames[n - 1];
		if (frame->space == space && frame->page == page)
			return frame;
	}
	return NULL;
}

static void table_chain(struct user_frame *frame, struct mm_space *space, uint64_t page)
{
	uint32_t *head = bucket(space, page);
	frame->space = space;
	frame->page = page;
	frame->chain = *head;
	*head = number(frame) + 1;
	space->frames++;
}

static void table_insert(struct user_frame *frame, struct mm_space *space, uint64_t page)
{
	table_chain(frame, space, page);
	frame->slot = used_count;
	used[used_count++] = number(frame);
	loose_count++;
}

static void table_unchain(struct user_frame *frame)
{
	uint32_t *link = bucket(frame->space, frame->page);
	while (*link != number(frame) + 1)
		link = &frames[*link - 1].chain;
	*link = frame->chain;
	frame->space->frames--;
}

static void frame_free(struct user_frame *frame)
{
	table_unchain(frame);
	loose_count--;
	uint32_t last = used[--used_count];
	used[frame->slot] = last;
	frames[last].slot = frame->slot;
	memset(frame, 0, sizeof(*frame));
	if (number(frame) < next_free)
		next_free = number(frame);
}

static bool is_free(uint32_t n)
{
	return !frames[n].space && !frames[n].reserved;
}

struct user_frame *user_frame_reserve(size_t count)
{
	size_t run = 0;
	uint32_t n = next_free;
	while (n < USER_FRAMES && run < count)
		run = is_free(n++) ? run + 1 : 0;
	if (run < count)
		return NULL;
	struct user_frame *first = &frames[n - count];
	for (size_t i = 0; i < count; i++)
		first[i].reserved = true;
	if (number(first) == next_free)
		next_free = n;
	return first;
}

void user_frame_unreserve(struct user_frame *frame)
{
	frame->reserved = false;
	if (number(frame) < next_free)
		next_free = number(frame);
}

/* ---- Coming in ---- */

/* Read the program's page. False: it has none there. */
static bool page_read(struct mm_space *space, uint64_t page, char *to)
{
	enum port_page result =
		space->gone ? PORT_PAGE_GONE : port_process_page(space->process, page, to);
	if (result == PORT_PAGE_GONE)
		memset(to, 0, PAGE_SIZE);
	return result != PORT_PAGE_BAD;
}

static bool page_writable(struct mm_space *space, uint64_t page)
{
	return !space->gone && (port_process_protection(space->process, page) & PORT_WRITE);
}

enum user_in user_frame_in(struct mm_space *space, uint64_t page, bool write,
			   struct user_frame *reserved, struct user_frame **result)
{
	struct user_frame *frame = user_frame_find(space, page);
	if (write && !(frame && frame->kept && !frame->pins) && !page_writable(space, page))
		return USER_IN_BAD;
	if (!frame) {
		frame = reserved ? reserved : user_frame_reserve(1);
		if (!frame)
			return USER_IN_FULL;
		if (!page_read(space, page, content(frame))) {
			if (!reserved)
				user_frame_unreserve(frame);
			return USER_IN_BAD;
		}
		frame->reserved = false;
		table_insert(frame, space, page);
	}
	if (write && !frame->kept) {
		memcpy(original(frame), content(frame), PAGE_SIZE);
		frame->kept = true;
	}
	*result = frame;
	return USER_IN;
}

/*
 * A frame that is kept is shown writable only when the program may write the page: a pinned one is
 * kept because of what may come through its MDL.
 */
bool user_frame_show(struct user_frame *frame, bool write)
{
	uint8_t access = write ? PORT_READ | PORT_WRITE : PORT_READ;
	if ((frame->shown & access) == access)
		return true;
	if (!(frame->shown ? port_window_protect(frame->page, write)
			   : port_window_map(frame->page, number(frame), write)))
		return false;
	frame->shown = access;
	return true;
}

/* ---- Going out ---- */

/* Give the program the bytes that kernel code changed. */
static void write_back(struct user_frame *frame)
{
	if (frame->kept && !frame->space->gone)
		port_process_page_update(frame->space->process, frame->page, content(frame),
					 original(frame));
}

/* Take the program's changes into a frame that stays. Bytes that kernel code changes meanwhile win.
 */
static void read_again(struct user_frame *frame)
{
	char fresh[PAGE_SIZE];
	char *now = content(frame), *before = original(frame);
	if (frame->space->gone ||
	    port_process_page(frame->space->process, frame->page, fresh) != PORT_PAGE_READ ||
	    !memcmp(fresh, before, PAGE_SIZE))
		return;
	for (size_t i = 0; i < PAGE_SIZE; i++) {
		if (fresh[i] == before[i])
			continue;
		if (now[i] == before[i])
			now[i] = fresh[i];
		before[i] = fresh[i];
	}
}

static void settle(struct user_frame *frame)
{
	frame->shown = 0;
	write_back(frame);
	if (frame->pins)
		read_again(frame);
	else
		frame_free(frame);
}

void user_frame_pin(struct user_frame *frame)
{
	if (frame->pins++ == 0)
		loose_count--;
	if (!frame->kept) {
		memcpy(original(frame), content(frame), PAGE_SIZE);
		frame->kept = true;
	}
}

void user_frame_unpin(struct user_frame *frame)
{
	if (--frame->pins)
		return;
	loose_count++;
	user_frame_out(frame);
}

void user_frame_out(struct user_frame *frame)
{
	if (frame->shown)
		port_window_unmap(frame->page, PAGE_SIZE);
	settle(frame);
}

/* First all pages go, neighbours at once: then nobody writes to them any more. */
static void hide_all(const struct mm_space *space)
{
	uint64_t start = 0, end = 0;
	for (uint32_t i = 0; i < used_count; i++) {
		const struct user_frame *frame = &frames[used[i]];
		if (frame->space != space || !frame->shown)
			continue;
		if (frame->page != end) {
			if (end)
				port_window_unmap(start, end - start);
			start = frame->page;
		}
		end = frame->page + PAGE_SIZE;
	}
	if (end)
		port_window_unmap(start, end - start);
}

void user_frames_out(struct mm_space *space)
{
	if (!space->frames)
		return;
	hide_all(space);
	/* Backwards: a frame that is freed leaves its place to the last. */
	for (uint32_t i = used_count; i-- > 0;) {
		if (frames[used[i]].space == space)
			settle(&frames[used[i]]);
	}
}

void user_frames_orphan(struct mm_space *space)
{
	static struct mm_space nobody = {.gone = true};
	hide_all(space);
	for (uint32_t i = used_count; i-- > 0;) {
		struct user_frame *frame = &frames[used[i]];
		if (frame->space != space)
			continue;
		frame->shown = 0;
		if (!frame->pins) {
			frame_free(frame);
			continue;
		}
		table_unchain(frame);
		table_chain(frame, &nobody, frame->page);
	}
}

void user_frames_exchange(size_t limit)
{
	for (uint32_t i = 0; i < used_count && limit; i++) {
		struct user_frame *frame = &frames[used[exchange_next++ % used_count]];
		if (!frame->pins)
			continue;
		write_back(frame);
		read_again(frame);
		limit--;
	}
}
