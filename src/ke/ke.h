/* SPDX-License-Identifier: MIT */
/*
 * ke.h: what the kernel's heart offers to the rest of the core.
 *
 * Lock order (outermost first): a part's own PASSIVE-level locks, then locks taken at
 * DISPATCH_LEVEL (struct ke_lock) of ex, mm, io, ob, then the dispatcher lock, then a processor's
 * DPC lock (HIGH_LEVEL). No lock is ever taken by an NMI, an interrupt above DISPATCH_LEVEL, or a
 * device thread.
 */
#pragma once

#include <ntifs.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "port/port.h"

/* ---- Interrupt request levels (x64) ---- */
#define KE_CLOCK_LEVEL  13
#define KE_IPI_LEVEL    14
#define KE_DEVICE_LEVEL 5 /* completions of host requests, commands from the host */

#define KE_MAXIMUM_PROCESSORS 1280 /* 20 groups of 64 (DEF-15) */
#define KE_MAXIMUM_GROUPS     20

struct ldr_image;
struct ke_call_record;

/* ---- Threads ---- */

enum ke_thread_state {
	KE_THREAD_READY = 1,
	KE_THREAD_RUNNING = 2,
	KE_THREAD_STANDBY = 3,
	KE_THREAD_TERMINATED = 4,
	KE_THREAD_WAITING = 5,
	KE_THREAD_USER = 6, /* in user mode: has no processor (6 is a state of threads that do not
			       run) */
};

/* Our use of the caller's or the thread's KWAIT_BLOCK (PLT-79: only its size is contract). */
struct ke_wait_block {
	LIST_ENTRY entry; /* in the object's WaitListHead */
	PKTHREAD thread;
	DISPATCHER_HEADER *object;
	NTSTATUS key; /* status when this object satisfies a WaitAny */
	uint8_t wait_all;
	uint8_t linked;
	uint8_t pad[2];
};
_Static_assert(sizeof(struct ke_wait_block) <= 0x30, "KWAIT_BLOCK is 0x30 bytes");

/*
 * KTHREAD and ETHREAD are one object (DEF-48). Offsets that drivers read without a call are
 * asserted in ke/thread.c (DEF-49). Fields below `own` are written by the thread itself or under
 * the dispatcher lock.
 */
struct _KTHREAD {
	DISPATCHER_HEADER Header; /* 000: signalled when the thread ends */
	uint8_t pad018[0x10];
	void *InitialStack; /* 028 */
	void *StackLimit;   /* 030 */
	void *StackBase;    /* 038 */
	uint8_t pad040[0x34];
	ULONG MiscFlags; /* 074 */
	uint8_t pad078[0x18];
	KTRAP_FRAME *TrapFrame; /* 090 (DEF-27) */
	LIST_ENTRY apc_list[2]; /* 098: kernel, user; dispatcher lock */
	PKPROCESS Process;      /* 0B8 */
	uint8_t pad0c0[0xc4];
	volatile UCHAR State; /* 184: enum ke_thread_state */
	uint8_t pad185;
	KIRQL WaitIrql; /* 186 */
	uint8_t pad187[0xab];
	CCHAR PreviousMode; /* 232 */
	uint8_t pad233[0xc5];
	LIST_ENTRY ThreadListEntry; /* 2F8: ps */
	uint8_t pad308[0x148];
	void *StartAddress; /* 450: the driver's start routine */

	/* own */
	struct ke_call_record
		*records; /* 458 (ldr/ddi_thunk.S): newest DDI call or callout; own thread only */
	struct port_thread *port;
	struct ke_processor *processor; /* where it runs or ran last */
	struct port_frame
		*interrupt_frame; /* what the innermost interrupt on this thread stopped */
	LIST_ENTRY ready_entry;
	GROUP_AFFINITY affinity;      /* where it may run */
	GROUP_AFFINITY user_affinity; /* what Revert returns to */
	bool affinity_is_system;
	int8_t priority, base_priority; /* 0..31 */
	int32_t quantum;                /* clock interrupts left */
	uint64_t cpu_time_ns, switched_in_ns;
	/* wait */
	struct ke_wait_block wait_blocks[4]; /* the last is the time-out's own */
	struct ke_wait_block *wait_list;
	uint32_t wait_count;
	NTSTATUS wait_status;
	bool alertable, alerted;
	bool wait_next; /* KeSetEvent(.., TRUE): the dispatcher lock is held for the next wait */
	KPROCESSOR_MODE wait_mode;
	uint8_t wait_reason;
	KTIMER wait_timer;
	LIST_ENTRY mutants; /* owned mutexes */
	/* APCs (dispatcher lock); `apc_pending` is also read without it */
	_Atomic bool apc_pending;
	bool apc_inserting_closed;
	bool in_special_apc, in_normal_apc;
	int32_t kernel_apc_disable;  /* critical regions: 0 or negative, as documented */
	int32_t special_apc_disable; /* guarded regions */
	/* start */
	void (*start)(void *context);
	void *start_context;
	struct ldr_image *image; /* the driver it belongs to, 0 for our own */
	NTSTATUS exit_status;
	CLIENT_ID client_id;
	PKPROCESS owner; /* the process that it is a thread of; referenced (Process: attached to) */
	bool interrupts_off; /* cli, while it does not run */
	bool system_thread;
	bool terminating;
	struct ke_registry_walk *walks; /* newest callback dispatch that it is in (ke/registry.h) */
	/* While checked: the number of processors that this thread asked for last, and how many
	 * allocations it may still be meant for (PRC-71); the addition whose Start it is told of
	 * (VER-53). */
	uint32_t counted_processors, counted_left, change_start;
	void *callback_depth; /* NDK: consumer callbacks that run on this thread */
	uint8_t tail[0x200];  /* stray reads of build-dependent fields stay inside (DEF-49) */
};

static inline PKTHREAD ke_thread(void)
{
	PKTHREAD thread;
	__asm__ volatile("movq %%gs:0x188, %0" : "=r"(thread));
	return thread;
}

/* ---- Processors ---- */

struct ke_dpc_queue {
	_Atomic(KDPC *) incoming; /* pushed without a lock, in any context; drained by the owner of
				     `lock` */
	_Atomic uint32_t lock;    /* HIGH_LEVEL */
	LIST_ENTRY list;          /* ready to run, in order; under `lock` */
	_Atomic bool listed;  /* `list` may hold something; set under `lock`, before `incoming` is
				 taken */
	_Atomic bool running; /* a routine runs; under `lock` */
};

/*
 * A virtual processor. GS points at it. Offsets up to 0x1A8 are those that headers and drivers read
 * (DEF-38). Unless a member says otherwise, only the holder of the baton touches it.
 */
struct ke_processor {
	void *gdt_base;            /* 000 */
	void *tss_base;            /* 008 */
	void *user_rsp;            /* 010 */
	struct ke_processor *self; /* 018 */
	void *current_prcb;        /* 020: self + 0x180 */
	uint8_t pad028[0x10];
	void *idt_base; /* 038 */
	uint8_t pad040[0x10];
	volatile uint8_t irql; /* 050: the IRQL itself */
	uint8_t pad051[0x12f];
	ULONG mxcsr;           /* 180 */
	uint8_t legacy_number; /* 184: number, read as a word */
	uint8_t pad185;        /* 185: 0 */
	uint8_t pad186[2];
	PKTHREAD current;       /* 188 */
	_Atomic(PKTHREAD) next; /* 190: standby; changes under the dispatcher lock */
	PKTHREAD idle;          /* 198 */
	uint8_t pad1a0[4];
	ULONG prcb_number; /* 1A4 */

	struct port_cpu port;         /* see port.h */
	uint32_t index;               /* system-wide, fixed */
	PROCESSOR_NUMBER number;      /* group and number, fixed */
	_Atomic uint32_t started;     /* ke_processor_start */
	volatile bool interrupts_off; /* cli */
	_Atomic bool resched;         /* look at the ready queues; set under the dispatcher lock */
	_Atomic bool tick;            /* set by the clock device: a quantum tick has passed */
	bool quantum_end;             /* own */
	PKTHREAD gone;                /* dispatcher lock: ended here, its object not yet released */
	bool in_dpc;                  /* DPC routines run below */
	_Atomic bool frozen;
	/* NMI: `nmi_sequence` is odd while a dispatch runs. Written by the own NMI handler, read by
	 * all (registry grace). */
	_Atomic uint32_t nmi_sequence;
	_Atomic uint32_t nmi_waiters; /* deregistrations that wait for the sequence to change */
	struct port_frame *nmi_frame; /* own: what the running NMI interrupted */
	_Atomic uint64_t nmi_sent, nmi_delivered, nmi_coalesced;
	_Atomic uint64_t nmi_wanted; /* NMIs up to this number may be a driver's own (VER-48) */
	/* Where the last NMI hit. Own; read by others once the dispatch is over (nmi_sequence). */
	_Atomic uint64_t nmi_rip;
	_Atomic uint64_t nmi_driver_address; /* if nmi_trace: innermost driver address on the
					interrupted stack */
	_Atomic(PKTHREAD) nmi_thread;
	_Atomic uint8_t nmi_irql;
	_Atomic bool nmi_trace;
	struct ke_dpc_queue dpcs;
	uint64_t dpc_started_ns;
	_Atomic uint32_t ipi_round; /* ke/ipi.c */
	void *barrier;
};

static inline struct ke_processor *ke_this(void)
{
	struct ke_processor *self;
	__asm__ volatile("movq %%gs:0x18, %0" : "=r"(self));
	return self;
}

static inline KIRQL ke_irql(void)
{
	uint8_t irql;
	__asm__ volatile("movb %%gs:0x50, %0" : "=q"(irql));
	return irql;
}

static inline void ke_irql_set(KIRQL irql)
{
	__asm__ volatile("movb %0, %%gs:0x50" : : "q"(irql) : "memory");
}

/* True while the calling processor is inside an NMI dispatch. */
static inline bool ke_in_nmi(void)
{
	return atomic_load_explicit(&ke_this()->nmi_sequence, memory_order_relaxed) & 1;
}

/* All processors that the partition can hold, by index; those that are not active yet exist too. */
extern struct ke_processor *ke_processors[KE_MAXIMUM_PROCESSORS];
extern uint32_t ke_processor_maximum;       /* constant after boot */
extern _Atomic uint32_t ke_processor_count; /* active ones have the lowest indices */
extern uint32_t ke_group_size;              /* processors per group, at most */
#define KE_NO_PROCESSOR UINT32_MAX
/* The index of the processor that is being added: its number is known already (PRC-9, PRC-64). */
extern _Atomic uint32_t ke_processor_joining;

/* Counts and masks include it. Any context. */
static inline bool ke_processor_is_active(struct ke_processor *processor)
{
	return __atomic_load_n(&processor->self, __ATOMIC_ACQUIRE) &&
	       processor->index < atomic_load(&ke_processor_count);
}

/* Which number an index has, fixed at boot; the inverse, KE_NO_PROCESSOR when none can have it. Any
 * context. */
PROCESSOR_NUMBER ke_processor_number(uint32_t index);
uint32_t ke_processor_index(uint32_t group, uint32_t number);
struct ke_processor *ke_processor_find(USHORT group, UCHAR number); /* 0: none such possible */
/* Of the first `count` processors: how many are in the group, their mask, how many groups they
 * make. */
uint32_t ke_group_count(uint32_t count, uint32_t group);
KAFFINITY ke_group_mask(uint32_t count, uint32_t group);
uint32_t ke_groups_of(uint32_t count);

/* What a block that the calling thread allocates now may be meant for; IRQL <= DISPATCH_LEVEL,
 * while checked. */
struct ke_meaning {
	uint32_t processors; /* an array with an element for each of so many; 0: not so */
	uint32_t addition;   /* taken at the start of this addition; 0: not so */
};
struct ke_meaning ke_meaning_of(size_t size);

/* ---- IRQL ---- */

/* Raise to `irql` (not below the current one) and lower back; lowering delivers what became
 * deliverable. */
static inline KIRQL ke_irql_raise(KIRQL irql)
{
	KIRQL old = ke_irql();
	ke_irql_set(irql);
	return old;
}
void ke_irql_lower(KIRQL irql);
/* Request an interrupt at `level` on a processor. NMI-safe, also without a baton. */
void ke_interrupt_request(struct ke_processor *processor, KIRQL level);
/* On a baton, for its own processor: taken before the return, or when the IRQL drops below `level`.
 */
void ke_interrupt_request_self(KIRQL level);

/* ---- The core's own spin locks: at DISPATCH_LEVEL or above, never in an NMI ---- */

struct ke_lock {
	_Atomic uint32_t
		held; /* 0, or the holder's processor index + 1; top bit: somebody sleeps */
};
void ke_lock_acquire(struct ke_lock *lock);
void ke_lock_release(struct ke_lock *lock);
KIRQL ke_lock_raise(struct ke_lock *lock);           /* raise to DISPATCH_LEVEL, acquire */
void ke_lock_lower(struct ke_lock *lock, KIRQL old); /* release, lower */

/*
 * The processor's thread, or its process, changes: from now on user addresses mean those of `to`.
 * The dispatcher calls it at a context switch; so does whoever else makes a thread current on a
 * processor
 * (`to`: that thread's process), and attaching. 0: nobody cares (no user processes). Caller: on the
 * processor, IRQL >= DISPATCH_LEVEL. Takes a lock inside all others.
 */
extern void (*_Atomic ke_process_switched)(PKPROCESS to);
/* ke_port_hold's: set before it. Both are stored with release order, while processors run. */
extern bool (*_Atomic ke_processor_hold)(void);
/* While ke_refresh_wanted, each busy processor (or one) calls ke_refresh at CLOCK_LEVEL every
 * KE_REFRESH_NS. Whoever sets it arms the clock. */
extern void (*ke_refresh)(void);
extern _Atomic uint32_t ke_refresh_wanted;
#define KE_REFRESH_NS 10000000u

/* ---- The dispatcher ---- */

KIRQL ke_dispatcher_lock(void);
void ke_dispatcher_unlock(KIRQL old);
/* With the dispatcher lock held: the object's SignalState was raised; satisfy waiters. */
void ke_object_signal(DISPATCHER_HEADER *object, KPRIORITY increment);
/* With the dispatcher lock held: give a wait that is under way this result (APC, alert). */
void ke_thread_unwait(PKTHREAD thread, NTSTATUS status, KPRIORITY increment);
/*
 * With the dispatcher lock held: the thread's priority or affinity changed; move it where it
 * belongs. When it is the running thread the switch comes with the unlock, if the IRQL drops below
 * DISPATCH_LEVEL.
 */
void ke_thread_requeue(PKTHREAD thread);
void ke_object_initialize(DISPATCHER_HEADER *object, UCHAR type, LONG state);

/* Types in DISPATCHER_HEADER.Type. */
enum {
	KE_EVENT_NOTIFICATION = 0,
	KE_EVENT_SYNCHRONIZATION = 1,
	KE_MUTANT = 2,
	KE_SEMAPHORE = 5,
	KE_THREAD = 6,
	KE_TIMER_NOTIFICATION = 8,
	KE_TIMER_SYNCHRONIZATION = 9,
};

/*
 * Make a thread that runs start(context) at PASSIVE_LEVEL; the object (allocated by ps) has been
 * zeroed. It becomes ready by ke_thread_ready. Returns STATUS_INSUFFICIENT_RESOURCES when the host
 * has no more threads.
 */
NTSTATUS ke_thread_initialize(PKTHREAD thread, void (*start)(void *), void *context);
void ke_thread_ready(PKTHREAD thread);
/* End the calling thread: signals the object. ps has done its part before. */
_Noreturn void ke_thread_exit(NTSTATUS status);
/*
 * A kernel thread whose user thread runs in user mode holds no baton; its host thread does what it
 * likes there, and nothing of the core but the port's up-calls.
 *
 * leave  the calling thread goes to user mode: its processor runs somebody else. PASSIVE_LEVEL. On
 *        return: no baton; ke_thread(), ke_irql() and the like have no meaning.
 * enter  `thread`, the caller's own, is in the kernel again: at once on an idle processor of its
 *        affinity, else when it is its turn. On return: PASSIVE_LEVEL; kernel APCs were delivered.
 */
void ke_thread_user_leave(void);
void ke_thread_user_enter(PKTHREAD thread);
/* Called on the exiting processor after the thread has left its stack for good (ps: drop the
 * reference). */
extern void (*ke_thread_gone)(PKTHREAD thread);

/* Verifier on: memory that may hold spin locks goes away (VER-34). */
void ke_lock_order_forget(const void *base, size_t size);

/* ---- What is alive, for unload checks: each set timer, each queued DPC, under the list's lock
 * ---- */
void ke_timers_each(void (*each)(void *context, KTIMER *timer), void *context);
void ke_dpcs_each(void (*each)(void *context, KDPC *dpc), void *context);

/* ---- Callback registry (DESIGN.md decision 3): see ke/registry.h ---- */

/* ---- NMI ---- */

enum ke_nmi_outcome { KE_NMI_SENT, KE_NMI_COALESCED, KE_NMI_NO_PROCESSOR };
/* Raise an NMI on a processor. NMI-safe, from any host thread. */
enum ke_nmi_outcome ke_nmi_send(struct ke_processor *processor);

/* ---- Bug check ---- */

/* What a bug check knows beyond its code; members that do not apply are 0. */
struct ke_bugcheck_detail {
	const struct port_regs *regs; /* of the fault */
	const char *text;             /* one line: what broke and what to do */
	uint64_t address;             /* code that is to blame; 0: the caller */
};
_Noreturn void ke_bugcheck(ULONG code, uint64_t p1, uint64_t p2, uint64_t p3, uint64_t p4,
			   const struct ke_bugcheck_detail *detail);

/* ---- Host requests: run one and wait for it at PASSIVE_LEVEL ---- */
void ke_request_run(struct port_request *request);

/* ---- Debug output ---- */
/* Format (rtl_format's language) and queue a line; any IRQL, NMI too. */
void ke_print(enum port_stream stream, const char *format, ...);
void ke_write(enum port_stream stream, const char *text, size_t size);
