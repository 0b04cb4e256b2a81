/* SPDX-License-Identifier: MIT */
/* user_internal.h: what the files of the window on user processes share; the theory is in user.c.
 */
#pragma once

#include "ke/ke.h"
#include "mm/user.h"

#define USER_LOWEST   0x10000u        /* below lies the null pointer's 64 KiB */
#define USER_END      0x3fffffff0000u /* MmUserProbeAddress */
#define USER_RESIDENT 256u            /* pages in the window at a time that no MDL has locked */
#define USER_FRAMES   16384u          /* 64 MiB that can be seen or locked at a time */

struct mm_space {
	struct port_process *process;
	bool gone;        /* the program has ended */
	uint32_t running; /* processors whose thread sees it */
	uint32_t frames;  /* that hold its pages */
};

/*
 * A page frame. Window lock.
 * original  the bytes as the program had them when they were read last (user_frame.c keeps the
 * array); only bytes that differ go back. Valid while `kept`.
 */
struct user_frame {
	struct mm_space *space; /* 0: free */
	uint64_t page;          /* user address */
	uint32_t chain;         /* next of the same hash, + 1 */
	uint32_t slot;          /* its place in the list of used frames */
	uint32_t pins;          /* MDLs that hold it */
	uint8_t shown;          /* in the window: 0 no, PORT_READ, PORT_READ | PORT_WRITE */
	bool kept;
	bool reserved; /* for a lock that is under way; not used yet */
};

/* ---- user.c: the lock of everything here, and turns ---- */

/* Raise to HIGH_LEVEL and take the lock; the lock is inside all others, and no user address is
 * touched under it. */
KIRQL user_lock(void);
void user_unlock(KIRQL old);
/* The space that the calling thread sees; 0: none. */
struct mm_space *user_space(void);
static inline bool user_range(uint64_t address)
{
	return address >= USER_LOWEST && address < USER_END;
}

/* ---- user_frame.c; window lock held ---- */

bool user_frames_create(void);
struct user_frame *user_frame_find(const struct mm_space *space, uint64_t page);
/* The first of `count` free frames one behind the other, reserved; 0: none. */
struct user_frame *user_frame_reserve(size_t count);
void user_frame_unreserve(struct user_frame *frame);
enum user_in {
	USER_IN,      /* it is there */
	USER_IN_BAD,  /* the program has no such page, or may not write it */
	USER_IN_FULL, /* no frame is free */
};
/* Have the page in a frame; `write`: the program may write it, and changes are noticed from now on.
 * `reserved`: use this one; 0: any. */
enum user_in user_frame_in(struct mm_space *space, uint64_t page, bool write,
			   struct user_frame *reserved, struct user_frame **frame);
/* Show it in the window, at least so. False: the host cannot. */
bool user_frame_show(struct user_frame *frame, bool write);
/* Not in the window any more, changes written back, and free unless it is pinned. */
void user_frame_out(struct user_frame *frame);
/* The same for all frames of a space. */
void user_frames_out(struct mm_space *space);
/* All frames of a space lose it: changes go nowhere; those that are pinned stay as they are. */
void user_frames_orphan(struct mm_space *space);
/* Exchange changes of pinned frames with their programs, some of them each time. */
void user_frames_exchange(size_t limit);
/* Frames in use; those that no MDL has locked. */
uint32_t user_frames_used(void);
uint32_t user_frames_loose(void);
/* An MDL locks the frame, or no longer. */
void user_frame_pin(struct user_frame *frame);
void user_frame_unpin(struct user_frame *frame);
/* Where a frame is seen by drivers, and by the core, which protection does not hinder. */
void *user_frame_address(const struct user_frame *frame);
/* The frame at an address that user_frame_address gave; 0: it is none. Any context. */
struct user_frame *user_frame_at(uint64_t address);
