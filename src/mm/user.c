/* SPDX-License-Identifier: MIT */
/*
 * user.c: the window: kernel code in a user process's context sees the program's memory at the
 * program's own addresses (DESIGN.md section 2, DEF-33).
 *
 * The program is another process of the host. Its pages come in on demand: an access faults,
 * mm_user_fault copies the page into a frame (user_frame.c) and shows it at that address,
 * read-only; a store faults again, and from then on changes are noticed. Pages leave the window,
 * and changed bytes go back, when the processor leaves the process (a context switch, detaching),
 * before a thread of the program resumes, at each clock tick meanwhile (10 ms), when USER_RESIDENT
 * pages are in, and under the verifier at each raise to DISPATCH_LEVEL.
 *
 * Coherence. Kernel threads of one process share the frames, so among them memory is as coherent as
 * ever. The program's own threads that run on meanwhile see kernel code's stores when pages leave,
 * and kernel code sees theirs when a page comes in again: after any wait or preemption, else within
 * a tick below CLOCK_LEVEL. Bytes that both change: kernel code's win. So an interlocked operation
 * is atomic among kernel threads, not against a program's thread that runs at that moment.
 *
 * Turns. The window shows one process at a time: `owner`. The rule that keeps memory apart: while
 * any page of a process is shown, no processor whose thread sees another user process executes
 * kernel code. A thread that begins to see a process (mm_user_switched) takes another process's
 * pages out first; so nobody has the window, and both run. The first that faults claims it: it asks
 * the others' processors to stand still (port_cpu_hold), for which IRQL does not matter: to the
 * driver it is as if the host ran something else. When all of them do, the window is the
 * claimant's, for TURN_NS or until its threads have left the process. Then those that stand still
 * go on by themselves, and take the pages out first; they run undisturbed for FREE_NS. So nobody
 * waits for another process without an end, whatever driver code does. A fault that has to wait
 * returns, and faults again: interrupts and the hold come in between. An access that another
 * process interrupts half-way is an instruction that faults again. Pages are hidden (which the host
 * does on all its processors) before changes are searched for, so no store is lost.
 *
 * An exec replaces the memory before the kernel hears of it. What is exchanged in between goes to,
 * or comes from, the new program, which has not run yet.
 *
 * Threads of the system process see no user memory of their own; while a page is shown they are not
 * kept from it (a caveat).
 *
 * Contexts and locks. One lock, `window`, at HIGH_LEVEL or in a trap handler or hold handler (which
 * interrupts do not interrupt); inside all other locks. Under it no user address is touched. An NMI
 * takes it only by trying. The lock's holder calls the host (to copy, to map), so the others may
 * wait some microseconds for each page.
 *
 * Faults: below DISPATCH_LEVEL. At or above it only pages that an MDL has locked come in: any other
 * is 0xD1, as documented, unless it happens to be shown; under the verifier it never is. In an NMI
 * none. Kernel code cannot execute user pages.
 */
#include "mm/mm_internal.h"
#include "mm/user_internal.h"
#include "ex/pool.h"
#include "ps/ps.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define TURN_NS   1000000u /* a process keeps the window */
#define FREE_NS   500000u  /* a processor runs between two holds */
#define CLAIM_NS  20000000u
#define TAG_SPACE 'psUM'

/* What a processor's thread sees. Window lock. */
struct view {
	struct mm_space *space;
	bool wanted;       /* it was asked to stand still */
	bool held;         /* and does */
	uint64_t since_ns; /* runs freely */
};

static struct ke_lock window;
static struct view views[KE_MAXIMUM_PROCESSORS];
static uint32_t running; /* views that have a space */
static struct mm_space *owner;
static uint64_t owner_until_ns;
static struct mm_space
	*claimant; /* waits for the others to stand still; 0 when there is an owner */
static uint64_t claim_until_ns;
static bool created;

KIRQL user_lock(void)
{
	KIRQL old = ke_irql_raise(HIGH_LEVEL);
	ke_lock_acquire(&window);
	return old;
}

void user_unlock(KIRQL old)
{
	ke_lock_release(&window);
	ke_irql_lower(old);
}

/* Where no kernel code may run: in handlers. What became deliverable comes after the handler. */
static void unlock_quietly(KIRQL old)
{
	struct ke_processor *self = ke_this();
	ke_lock_release(&window);
	bool due = atomic_load(&self->port.pending) >> (old + 1);
	ke_irql_set(old);
	if (due)
		port_cpu_kick(&self->port);
}

static bool try_lock(void)
{
	uint32_t nobody = 0;
	return atomic_compare_exchange_strong_explicit(&window.held, &nobody, ke_this()->index + 1,
						       memory_order_acquire, memory_order_relaxed);
}

static bool locked_here(void)
{
	return atomic_load_explicit(&window.held, memory_order_relaxed) == ke_this()->index + 1;
}

static struct mm_space *space_of(PKPROCESS process)
{
	return process ? process->address_space : NULL;
}

struct mm_space *user_space(void)
{
	return space_of(ke_thread()->Process);
}

bool mm_user_current(void)
{
	return user_space() != NULL;
}

/* ---- Turns; window lock held ---- */

static void disown(void)
{
	struct mm_space *old = owner;
	owner = NULL;
	if (old)
		user_frames_out(old);
}

static bool turn_is_over(uint64_t now)
{
	return now >= owner_until_ns;
}

static bool claimed_by_another(const struct mm_space *space, uint64_t now)
{
	return claimant && claimant != space && now < claim_until_ns;
}

/* Ask the processors that see another process to stand still. True: all do. */
static bool hold_others(const struct mm_space *space, uint64_t now)
{
	uint32_t count = atomic_load_explicit(&ke_processor_count, memory_order_acquire);
	bool all = true;
	for (uint32_t i = 0; i < count; i++) {
		struct view *view = &views[i];
		if (!view->space || view->space == space || view->held)
			continue;
		all = false;
		if (now - view->since_ns < FREE_NS)
			continue;
		view->wanted = true;
		port_cpu_hold(&ke_processors[i]->port);
	}
	return all;
}

/* Get the window. False: not yet. */
static bool take_turn(struct mm_space *space)
{
	if (owner == space)
		return true;
	uint64_t now = port_time_ns();
	if ((owner && !turn_is_over(now)) || claimed_by_another(space, now))
		return false;
	disown();
	if (running > space->running) {
		claimant = space;
		claim_until_ns = now + CLAIM_NS;
		if (!hold_others(space, now))
			return false;
	}
	claimant = NULL;
	owner = space;
	owner_until_ns = now + TURN_NS;
	return true;
}

/* The hold handler's question. On the alternate stack; interrupts wait. */
static bool stand_still(void)
{
	struct view *view = &views[ke_this()->index];
	if (locked_here())
		return false; /* the lock's holder; it is asked again */
	KIRQL old = ke_irql_raise(HIGH_LEVEL);
	if (!try_lock()) {
		ke_irql_set(old);
		return true;
	}
	uint64_t now = port_time_ns();
	bool stay = view->space && (view->wanted || view->held) &&
		    ((owner && owner != view->space && !turn_is_over(now)) ||
		     claimed_by_another(view->space, now));
	if (!stay && (view->wanted || view->held)) {
		if (view->space && owner && owner != view->space)
			disown();
		view->since_ns = now;
		view->wanted = false;
	}
	view->held = stay;
	unlock_quietly(old);
	return stay;
}

/* ke_process_switched (ke/ke.h). */
static void switched(PKPROCESS to)
{
	struct mm_space *enter = space_of(to);
	struct view *view = &views[ke_this()->index];
	if (view->space == enter)
		return; /* its own processor's: nobody else changes it */
	KIRQL old = user_lock();
	struct mm_space *leave = view->space;
	if (leave && --leave->running == 0) {
		if (owner == leave)
			disown();
		if (claimant == leave)
			claimant = NULL;
	}
	running += (enter ? 1u : 0u) - (leave ? 1u : 0u);
	view->space = enter;
	view->wanted = false;
	view->since_ns = 0; /* it may be held at once */
	if (enter) {
		enter->running++;
		if (owner != enter)
			disown();
	}
	user_unlock(old);
}

/* ---- Faults ---- */

static bool fault(struct mm_space *space, uint64_t page, bool write, KIRQL irql)
{
	struct user_frame *frame = user_frame_find(space, page);
	if (irql >= DISPATCH_LEVEL && !(frame && (frame->pins || frame->shown)))
		return false;
	if (!frame && user_frames_loose() >= USER_RESIDENT)
		user_frames_out(space);
	if (user_frame_in(space, page, write, NULL, &frame) != USER_IN ||
	    !user_frame_show(frame, write))
		return false;
	if (!atomic_load_explicit(&ke_refresh_wanted, memory_order_relaxed)) {
		atomic_store_explicit(&ke_refresh_wanted, 1, memory_order_relaxed);
		port_clock_arm(port_time_ns() + KE_REFRESH_NS);
	}
	if (vf_on())
		atomic_store_explicit(&mm_pageable_present, 1, memory_order_release);
	return true;
}

bool mm_user_fault(uint64_t address, unsigned access, KIRQL irql)
{
	if (!user_range(address) || access == PORT_EXECUTE || ke_in_nmi())
		return false;
	struct mm_space *space = user_space();
	if (!space)
		return false;
	KIRQL old = user_lock();
	bool mine = take_turn(space);
	bool done = !mine ||
		    fault(space, address & ~(uint64_t)(PAGE_SIZE - 1), access == PORT_WRITE, irql);
	unlock_quietly(old);
	if (!mine)
		port_spin(1000); /* let the host run the others */
	return done;
}

bool mm_user_accessible(uint64_t address, bool write)
{
	struct mm_space *space = user_space();
	if (!space || !user_range(address) || ke_irql() > DISPATCH_LEVEL || ke_in_nmi())
		return port_pages_accessible((const void *)address, write);
	uint64_t page = address & ~(uint64_t)(PAGE_SIZE - 1);
	bool may = true;
	if (ke_irql() == DISPATCH_LEVEL) {
		KIRQL old = user_lock();
		const struct user_frame *frame = user_frame_find(space, page);
		may = frame && (frame->pins || frame->shown);
		unlock_quietly(old);
	}
	unsigned protection =
		may && !space->gone ? port_process_protection(space->process, page) : PORT_NONE;
	return protection & (write ? PORT_WRITE : PORT_READ);
}

/* ---- Coherence ---- */

void mm_user_trim(void)
{
	if (!running)
		return;
	KIRQL old = ke_irql_raise(HIGH_LEVEL);
	struct view *view = &views[ke_this()->index];
	/* An NMI comes here while what it interrupted holds the lock: then the pages stay. */
	if (!view->space || locked_here() || !try_lock()) {
		ke_irql_set(old);
		return;
	}
	if (owner == view->space)
		disown();
	unlock_quietly(old);
}

/* ke_refresh (ke/ke.h): CLOCK_LEVEL. */
static void refresh(void)
{
	KIRQL old = user_lock();
	if (owner && views[ke_this()->index].space == owner)
		disown();
	user_frames_exchange(USER_RESIDENT);
	if (!user_frames_used())
		atomic_store_explicit(&ke_refresh_wanted, 0, memory_order_relaxed);
	user_unlock(old);
}

void mm_space_flush(struct mm_space *space)
{
	/* What another thread has brought in, and this one must have written back, it knows of. */
	if (!__atomic_load_n(&space->frames, __ATOMIC_ACQUIRE))
		return;
	KIRQL old = user_lock();
	if (owner == space)
		disown();
	else
		user_frames_out(space);
	user_unlock(old);
}

/* ---- Life ---- */

static bool create_window(void)
{
	static _Atomic uint32_t state; /* 1: under way, 2: there, 3: no room */
	uint32_t none = 0;
	if (atomic_compare_exchange_strong(&state, &none, 1)) {
		created = user_frames_create();
		if (created) {
			ke_refresh = refresh;
			atomic_store_explicit(&ke_processor_hold, stand_still,
					      memory_order_release);
			ps_space_free = mm_space_free;
			atomic_store_explicit(&ke_process_switched, switched, memory_order_release);
		}
		atomic_store(&state, created ? 2 : 3);
	}
	for (unsigned round = 0; atomic_load(&state) == 1; round++)
		port_spin(round);
	return created;
}

struct mm_space *mm_space_create(struct port_process *process)
{
	struct mm_space *space;
	if (!create_window())
		return NULL;
	space = ex_allocate(sizeof(*space), TAG_SPACE, NonPagedPoolNx);
	if (!space)
		return NULL;
	memset(space, 0, sizeof(*space));
	space->process = process;
	return space;
}

void mm_space_replaced(struct mm_space *space)
{
	KIRQL old = user_lock();
	if (owner == space)
		owner = NULL;
	user_frames_orphan(space);
	user_unlock(old);
}

void mm_space_close(struct mm_space *space)
{
	KIRQL old = user_lock();
	if (owner == space)
		disown();
	else
		user_frames_out(space);
	space->gone = true;
	user_unlock(old);
}

void mm_space_free(struct mm_space *space)
{
	KIRQL old = user_lock();
	user_frames_orphan(space);
	if (owner == space)
		owner = NULL;
	if (claimant == space)
		claimant = NULL;
	bool in_use =
		space->running != 0; /* a thread is attached that has no reference: it stays */
	space->gone = true;
	user_unlock(old);
	if (!in_use)
		ex_free(space);
}
