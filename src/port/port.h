/* SPDX-License-Identifier: MIT */
/*
 * port.h: the one boundary between the core and the world.
 *
 * A port gives the core time, pages, host threads that take turns as virtual processors, signals
 * (maskable interrupts and nonmaskable ones), a console and host files. It knows nothing of the
 * core but the up-calls at the end. Everything here may be called by a thread that holds a baton,
 * at any IRQL, unless it says otherwise; nothing here calls libc on such a thread.
 *
 * Words: a *baton* is the right to run on one processor; a *device thread* is a host thread that
 * holds none. "NMI-safe" means: callable in an NMI handler and from a device thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORT_VERSION 1

/* ---- Time (NMI-safe) ------------------------------------------------------------------------ */

/* Nanoseconds since boot, never going back. */
uint64_t port_time_ns(void);
/* Nanoseconds of the host's processors that the calling thread has used so far. */
uint64_t port_time_thread_ns(void);
/* Wall clock: 100 ns units since 1601-01-01 UTC. */
uint64_t port_time_system(void);
/* One round of a busy wait. Yields to the host after about 1 us; a scheduling point. */
void port_spin(unsigned round);
/*
 * A busy wait for a condition that its author announces: return when *word differs from `value` (or
 * now and then before). The caller looks again. The author changes the word (seq_cst), then calls
 * port_wake if it finds somebody waiting. Both NMI-safe.
 */
void port_wait(_Atomic uint32_t *word, uint32_t value);
void port_wake(_Atomic uint32_t *word);
void port_wake_one(_Atomic uint32_t *word); /* of those that wait, one */
/* Have ke_port_clock called by the clock device at or after `deadline_ns`; an earlier one wins.
 * NMI-safe. */
void port_clock_arm(uint64_t deadline_ns);
/* Fill `bytes` with random data. */
void port_random(void *bytes, size_t size);

/* ---- Pages ---------------------------------------------------------------------------------- */

enum port_protection {
	PORT_NONE = 0,
	PORT_READ = 1,
	PORT_WRITE = 2,
	PORT_EXECUTE = 4,
};

#define PORT_PAGE_SIZE 4096u

/*
 * Reserve address space, inaccessible, costing no memory. `hint` 0 lets the port choose; kernel
 * memory lies above 0x400000000000 (DEF-325) whoever chooses. Returns 0 when the host has no room.
 */
void *port_pages_reserve(void *hint, size_t size);
/* Give reserved pages a protection; pages touched for the first time read as zeros. False: no
 * memory. */
bool port_pages_protect(void *base, size_t size, unsigned protection);
/* Drop the contents and make the pages inaccessible; the reservation stays. NMI-safe. */
void port_pages_decommit(void *base, size_t size);
void port_pages_release(void *base, size_t size);
/* True if one byte at `address` can be read (or written) now without a fault. NMI-safe. */
bool port_pages_accessible(const void *address, bool write);

/* The program's own segments in memory: code and data of the core and the port. */
struct port_segment {
	uint64_t start, end; /* page-aligned */
	unsigned protection; /* enum port_protection */
};
/* Ascending. Returns how many were written; 0: unknown. */
unsigned port_program_segments(struct port_segment *segments, unsigned room);

/* ---- Processors and threads ------------------------------------------------------------------ */

/*
 * The port's half of a processor; the first member of struct ke_processor's port part.
 *
 * holder   host thread id that holds the baton, 0 during a hand-off.
 *          Written by the holder only (release: 0, or the sleeper's id; take: own id). Read by
 *          senders and handlers.
 * nmi      the NMI latch. Set by senders (exchange), taken by the handler (exchange).
 * pending  bit L: a maskable interrupt is requested at IRQL L. Set by anyone, cleared by the
 *          holder.
 * asleep   enum port_cpu_sleep: what the idle thread in port_cpu_idle has of its baton.
 * sleeper  that idle thread's host thread. Written by it, before `asleep`.
 * frozen   what the holder did when port_cpu_freeze stopped it; written once by its handler.
 *
 * Order: a taker publishes holder, then tests nmi and pending; a sender sets nmi or pending, then
 * reads holder. Both seq_cst, so one of them sees the other.
 */
enum port_cpu_sleep {
	PORT_CPU_AWAKE,  /* not in port_cpu_idle, or about to leave it: the baton is where it is */
	PORT_CPU_ASLEEP, /* asleep with the baton, which anyone may take (port_cpu_claim) */
	PORT_CPU_LENT,   /* asleep without: it was taken, and the sleeper must not be woken */
};

struct port_cpu {
	_Atomic uint32_t holder;
	_Atomic uint32_t nmi;
	_Atomic uint32_t pending;
	_Atomic uint32_t asleep;
	struct port_thread *sleeper;
	struct port_frame *_Atomic frozen;
	void *gs_base; /* what GS points at on this processor */
};

/* Once, by the program that boots the machine, before anything else here. False: *why says what the
 * host lacks. */
bool port_initialize(const char **why);

struct port_thread; /* a host thread that runs kernel threads */

/*
 * At DISPATCH_LEVEL or above, or before the machine runs: a host thread that will call
 * entry(argument) when it is first given a baton by port_thread_switch.
 * `*stack_limit` and `*stack_base` get its stack (base is the high end). Returns 0 when the host
 * has no more threads.
 */
struct port_thread *port_thread_create(void (*entry)(void *argument), void *argument,
				       void **stack_limit, void **stack_base);
/*
 * Release the baton of `cpu` that `from` (the caller) holds, hand it to `to`, and sleep until some
 * processor's baton is handed to `from`. On return the caller holds that baton: GS set, holder
 * published, latch and pending tested (and signalled to itself if set). Caller at IRQL >=
 * DISPATCH_LEVEL.
 */
void port_thread_switch(struct port_cpu *cpu, struct port_thread *from, struct port_thread *to);
/* The same, but `from` ends: its host thread goes back to the pool. */
_Noreturn void port_thread_exit(struct port_cpu *cpu, struct port_thread *from,
				struct port_thread *to);
/* Give the baton of a processor that nobody holds yet to `first`, from a thread without a baton or
 * on another processor. */
void port_cpu_start(struct port_cpu *cpu, struct port_thread *first);

/*
 * A thread without a baton, whose GS base is then `gs_base` (memory in the form of a processor's,
 * that no processor has). All but port_cpu_claim are called with the caller's own port_thread.
 *
 * release  let the baton go without giving it to anyone; then port_cpu_return.
 * give     hand it to `to` and stay without one.
 * wait     sleep until some processor's baton is handed to `self`; on return as port_thread_switch.
 * end      as port_thread_exit, after a release or a give.
 */
void port_cpu_release(struct port_cpu *cpu, struct port_thread *self, void *gs_base);
void port_thread_give(struct port_cpu *cpu, struct port_thread *self, struct port_thread *to,
		      void *gs_base);
void port_thread_wait(struct port_thread *self);
_Noreturn void port_thread_end(struct port_thread *self);

/*
 * Borrowing the baton of a processor whose idle thread sleeps, without waking that.
 *
 * claim   true: the sleeper has lost its baton to the caller, who then takes it. Any host thread.
 * take    publish the caller as the holder; on return as port_thread_switch. What handlers read of
 *         the processor must be right before.
 * lent    true if the idle thread sleeps without this baton. The holder of `cpu` asks.
 * return  after a release: the sleeper has its baton again, and is woken if something waits for it.
 */
bool port_cpu_claim(struct port_cpu *cpu);
void port_cpu_take(struct port_cpu *cpu, struct port_thread *self);
bool port_cpu_lent(const struct port_cpu *cpu);
void port_cpu_return(struct port_cpu *cpu);

/* Bits were set in cpu->pending: make its holder notice. NMI-safe. */
void port_cpu_kick(struct port_cpu *cpu);
/* The latch was set: interrupt the holder, whatever it does. NMI-safe. */
void port_cpu_nmi(struct port_cpu *cpu);
/* Sleep until cpu->pending is not 0 (or an NMI came). Called by the holder of `cpu` at
 * PASSIVE_LEVEL: its idle thread, always the same. The baton may be borrowed meanwhile; on return
 * it is back. */
void port_cpu_idle(struct port_cpu *cpu);
/*
 * Stop whoever holds `cpu` for ever, at any instruction, NMI callbacks too; true when it stands
 * still (cpu->frozen is set), false after `wait_ns` or when the caller holds it. NMI-safe.
 */
bool port_cpu_freeze(struct port_cpu *cpu, uint64_t wait_ns);
/* Sleep for ever: the machine has stopped. */
_Noreturn void port_park(void);

/* ---- The window on user processes (mm/user.c) --------------------------------------------------
 */

struct port_process; /* a user program */

/*
 * Once, at boot: page frames in kernel memory, one behind the other from *alias, for drivers, and
 * from *own, for the core. What lies in a frame can be shown at user addresses as well. False: the
 * host has no room.
 */
bool port_window_create(size_t frames, char **alias, char **own);
/*
 * Show a frame at the page `address`, below 0x400000000000, read-only or writable. False: something
 * lies there, or the host refused. In handlers too, as the next two.
 */
bool port_window_map(uint64_t address, size_t frame, bool writable);
/* Change how it is shown. False: the host refused. */
bool port_window_protect(uint64_t address, bool writable);
void port_window_unmap(uint64_t address, size_t size);
/* One more address for frames; `pages`: the numbers of their pages in *alias, in order. Ends with
 * port_pages_release. 0: no room. */
void *port_window_view(const uint64_t *pages, size_t count);
/* Copy the page at `address` out of the program. In handlers too. */
enum port_page {
	PORT_PAGE_READ,
	PORT_PAGE_BAD,  /* it has none there that it may read */
	PORT_PAGE_GONE, /* it has ended */
};
enum port_page port_process_page(struct port_process *process, uint64_t address, void *to);
/* Write some bytes of a page: where they differ between `now` and `before`, which takes them over.
 * What the program cannot take is lost. In handlers too. */
void port_process_page_update(struct port_process *process, uint64_t address, const void *now,
			      void *before);
/* What the program itself may do at `address`: enum port_protection; everything when it has ended.
 * In handlers too. */
unsigned port_process_protection(struct port_process *process, uint64_t address);
/*
 * Ask whoever holds `cpu` to stand still, at whatever IRQL: ke_port_hold is called there again and
 * again until it returns false. NMIs come in meanwhile. NMI-safe.
 */
void port_cpu_hold(struct port_cpu *cpu);

/* ---- Interrupted contexts ----------------------------------------------------------------------
 */

struct port_frame; /* what an interrupt or trap stopped; valid during the up-call */

struct port_regs {
	uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip;
	uint64_t rflags;
};

void port_frame_read(const struct port_frame *frame, struct port_regs *regs);
uint64_t port_frame_rip(const struct port_frame *frame);
void port_frame_write(struct port_frame *frame, const struct port_regs *regs);
/* The 512-byte FXSAVE area of the interrupted code (XMM at +160, MXCSR at +24); changes take
 * effect. */
void *port_frame_fxsave(struct port_frame *frame);
/* A stack walk has come to these: the frame that was interrupted, if `rip` is where a handler of
 * the port's returns to, else 0. Not read yet. NMI-safe. */
const struct port_frame *port_frame_at(uint64_t rip, uint64_t rsp);
/* When the interrupted code goes on, NMIs come in again although it is an NMI callback (NMI-39). */
void port_frame_nmi_unblock(struct port_frame *frame);
/* True if `address` lies in an emulation stub; *original gets the driver's instruction that it
 * stands for. */
bool port_stub_lookup(uint64_t address, uint64_t *original);
/* True if `address` lies in the program's own code (the core and the port). */
bool port_own_code(uint64_t address);
/* Continue with these registers and this FXSAVE area (may be 0: left as is). */
_Noreturn void port_context_resume(const struct port_regs *regs, const void *fxsave);

enum port_trap_kind {
	PORT_TRAP_PAGE_FAULT, /* address, access */
	PORT_TRAP_PROTECTION, /* #GP: noncanonical address or the like */
	PORT_TRAP_DIVIDE,
	PORT_TRAP_OVERFLOW_INTEGER, /* INT_MIN / -1 */
	PORT_TRAP_BREAKPOINT,       /* int 3, RIP behind it */
	PORT_TRAP_DEBUG_SERVICE,    /* int 0x2d, RIP behind it; code = EAX */
	PORT_TRAP_SINGLE_STEP,
	PORT_TRAP_ILLEGAL, /* #UD */
	PORT_TRAP_FLOAT,   /* #XM, #MF; code = the MXCSR or FSW exception bits */
	PORT_TRAP_ALIGNMENT,
	PORT_TRAP_FAST_FAIL,  /* int 0x29; code = ECX */
	PORT_TRAP_ASSERT,     /* int 0x2c */
	PORT_TRAP_BOUND,      /* #BR, or int 5, in code of the machine itself */
	PORT_TRAP_PRIVILEGED, /* an instruction that a process cannot do; text names it */
};

struct port_trap {
	enum port_trap_kind kind;
	uint64_t address; /* page fault: what was accessed */
	unsigned access;  /* page fault: PORT_READ, PORT_WRITE or PORT_EXECUTE */
	uint64_t code;
	const char *text;
};

/* ---- Console and host ---------------------------------------------------------------------------
 */

enum port_stream {
	PORT_STREAM_DEBUG,  /* DbgPrint: standard output */
	PORT_STREAM_REPORT, /* findings and diagnostics: standard error */
};

/*
 * Queue text for a device thread to write; order is kept. `wait`: wait for room when the ring is
 * full (else the text is dropped, counted, and the loss reported). The caller is at HIGH_LEVEL or
 * holds no baton. NMI-safe with wait false.
 */
bool port_console_write(enum port_stream stream, const char *text, size_t size, bool wait);
/* Wait until all that was queued is written (for at most 1 s). */
void port_console_flush(void);

/* Work that may block in the host, done by a device thread; ke_port_request_done is called there at
 * the end. */
enum port_operation {
	PORT_FILE_OPEN,  /* path, flags -> handle, information = 0 opened, 1 created, 2 truncated */
	PORT_FILE_CLOSE, /* handle */
	PORT_FILE_READ,  /* handle, buffer, size, offset -> information = bytes */
	PORT_FILE_WRITE, /* handle, buffer, size, offset (-1: append) -> information = bytes */
	PORT_FILE_SIZE,  /* handle -> information = bytes */
	PORT_FILE_RESIZE, /* handle, offset = new size */
	PORT_FILE_FLUSH,  /* handle */
	PORT_FILE_DELETE, /* path */
};

enum port_open {
	PORT_OPEN_READ = 1,
	PORT_OPEN_WRITE = 2,
	PORT_OPEN_CREATE = 4,    /* create when absent */
	PORT_OPEN_EXCLUSIVE = 8, /* with CREATE: fail when present */
	PORT_OPEN_TRUNCATE = 16,
	PORT_OPEN_DIRECTORY = 32,
};

struct port_request {
	enum port_operation operation;
	const char *path; /* UTF-8, below the files folder, '/' separated; cannot lead out of it */
	unsigned flags;   /* enum port_open */
	int64_t handle;
	void *buffer;
	size_t size;
	int64_t offset;
	int error; /* 0 or errno of the host */
	uint64_t information;
	struct port_request *next; /* the port's while submitted, then the core's */
};

void port_request_submit(struct port_request *request);
/* The folder that paths are below. False: cannot be opened (errno in *error). No baton. */
bool port_files_set(const char *folder, int *error);

/*
 * An RNIC of the host for the `verbs` provider: "rxe0", or "" for the first one. Fills name,
 * addresses, limits, provider and data of `device` (ndk/provider.h). False: `why` says what is
 * missing and what to do. No baton, before the machine boots.
 */
struct ndk_device;
bool port_verbs_open(struct ndk_device *device, const char *name, char *why, size_t size);

/* Threads that hold no baton (the program that booted the machine) wait and are woken here. */
void port_host_wait(_Atomic uint32_t *word, uint32_t while_value, int64_t timeout_ns);
void port_host_wake(_Atomic uint32_t *word); /* NMI-safe */

/* ---- User programs ------------------------------------------------------------------------------
 *
 * A user program is a process of the host. Each of its threads is traced by a host thread of its
 * own, which is also the kernel thread of that user thread: a kernel thread that has left the
 * kernel holds no baton and sits in port_user_run, which comes back when the kernel must act.
 * "No baton" functions are called there; they block and may call libc. All functions that take a
 * struct port_user are called by its own host thread alone.
 */

struct port_process; /* an address space: one host process, from its start or fork to its end */
struct port_user;    /* one traced thread of it */

/*
 * Move bytes between the process's memory and `buffer`, as far as it is mapped so that user mode
 * could read (write) it; user pages are brought in. Returns how many bytes were moved, counted from
 * `address`: less than `size` where a page is missing or protected, 0 also when the process is
 * gone. Any IRQL (NMI-safe), any thread; never faults on `address`.
 */
size_t port_process_read(struct port_process *process, uint64_t address, void *buffer, size_t size);
size_t port_process_write(struct port_process *process, uint64_t address, const void *buffer,
			  size_t size);
/* Ended: its memory is no more. Any IRQL. */
bool port_process_gone(struct port_process *process);
/* The host's process id. */
uint32_t port_process_id(struct port_process *process);
/* The file of its program, as the host names it. */
const char *port_process_image(struct port_process *process);
/* What is mapped of that file; base and size 0: unknown. */
void port_process_image_range(struct port_process *process, uint64_t *base, uint64_t *size);
/* Where an address of the program lies. */
struct port_place {
	char file[256];  /* the mapped file, without its folder; empty: in none */
	char path[1024]; /* with it */
	uint64_t offset; /* from the file's first mapping */
	uint64_t linked; /* the address in the file's own terms, for its symbols */
};
/* No baton. */
void port_process_locate(struct port_process *process, uint64_t address, struct port_place *place);
/* Nobody uses it any more. */
void port_process_release(struct port_process *process);

/* Registers of a stopped user thread, in 64-bit form for 32-bit programs too. */
struct port_user_regs {
	struct port_regs general;
	uint64_t fs_base, gs_base;
	uint16_t cs, ss, ds, es, fs, gs;
};

enum port_user_event_kind {
	PORT_USER_BOUND,   /* #BR, recognised for certain; registers as of the fault */
	PORT_USER_CHILD,   /* it made a thread or a process: `child`, `same_process` */
	PORT_USER_EXEC,    /* its process runs another program; the other threads are gone */
	PORT_USER_CALLED,  /* port_thread_kick; to be run again as before */
	PORT_USER_EXITING, /* it ends, and goes on ending when run again; memory is still there */
	PORT_USER_ENDED,   /* it is gone; `status` when that was the end of its process, too */
};

/* What a BOUND instruction compared. */
struct port_bound {
	uint64_t address; /* of the lower bound; the upper one follows */
	unsigned size;    /* of each, 2 or 4 bytes */
	int32_t index, lower, upper;
};

struct port_user_event {
	enum port_user_event_kind kind;
	struct port_bound bound;            /* BOUND */
	struct port_user *child;            /* CHILD: to be adopted by a kernel thread of its own */
	bool same_process;                  /* CHILD: a thread */
	struct port_process *child_process; /* CHILD, not same_process: its address space */
	bool status_valid;                  /* ENDED: this was the end of its process, too */
	bool by_fault; /* EXITING: of the fault that was delivered to it (PORT_USER_DELIVER) */
	bool killed;   /* ENDED, EXITING: by signal `code`; else it exited with `code` */
	int code;
};

/* How a stopped user thread goes on. */
enum port_user_resume {
	PORT_USER_CONTINUE, /* with the registers as they are now */
	PORT_USER_DELIVER,  /* the same, and the fault becomes the program's own SIGSEGV */
};

struct port_user_start {
	const char *const *arguments; /* NULL-terminated; [0] names the file, relative to the cwd */
	char what[160];               /* in words, what failed */
};
/*
 * Start a program, traced by the calling host thread, stopped before its first instruction. 0: it
 * cannot be started (start->what). No baton.
 */
struct port_user *port_user_spawn(struct port_user_start *start, struct port_process **process);
/* Take over a user thread that PORT_USER_CHILD announced. False: it ended meanwhile. No baton. */
bool port_user_adopt(struct port_user *child);
/* Nobody will adopt it (no memory for a kernel thread): end it. No baton. */
void port_user_abandon(struct port_user *child);
/* Let it run until the kernel must act. No baton. */
void port_user_run(struct port_user *user, enum port_user_resume resume,
		   struct port_user_event *event);
/* Have port_user_run on this thread come back, now or the next time. Any IRQL. */
void port_thread_kick(struct port_thread *thread);
/* After PORT_USER_ENDED. */
void port_user_release(struct port_user *user);
/* The host's thread id. */
uint32_t port_user_id(const struct port_user *user);

/* The registers of the stopped thread; live until port_user_run. After a change say so. */
struct port_user_regs *port_user_regs(struct port_user *user);
void port_user_regs_changed(struct port_user *user);
/* Its FXSAVE area (XMM at +160, MXCSR at +24); 0: the thread is gone. After a change say so. */
void *port_user_fxsave(struct port_user *user);
void port_user_fxsave_changed(struct port_user *user);
/* Set debug register 0..3, 6 or 7 of the stopped thread. False: the host refuses the value. */
bool port_user_debug_write(struct port_user *user, unsigned number, uint64_t value);
/* End the process (SIGKILL). Any IRQL, any thread. */
void port_process_kill(struct port_process *process);

/* ---- Up-calls: the core provides these ----------------------------------------------------------
 */

/* Maskable interrupts are pending on `cpu`, which the caller holds; on the interrupted stack. */
void ke_port_interrupt(struct port_cpu *cpu, struct port_frame *frame);
/* A latched NMI was taken on `cpu`, which the caller holds; on the alternate stack; further NMIs
 * blocked. */
void ke_port_nmi(struct port_cpu *cpu, struct port_frame *frame);
/* After port_cpu_hold, on `cpu`, which the caller holds; on the alternate stack. True: stand still.
 */
bool ke_port_hold(struct port_cpu *cpu);
/*
 * The holder of `cpu` trapped; on the alternate stack. Returns true when the frame was made fit to
 * continue; does not return from a bug check. False: the trap is not the machine's (the port lets
 * the process die of it).
 */
bool ke_port_trap(struct port_cpu *cpu, const struct port_trap *trap, struct port_frame *frame);
/* CR8 and the interrupt flag, for emulated instructions of the calling holder. The write never
 * delivers by itself: it returns true when an interrupt became deliverable, and the port then kicks
 * the caller. */
unsigned ke_port_cr8_read(void);
bool ke_port_cr8_write(unsigned irql, uint64_t rip);
bool ke_port_interrupt_flag(bool enable); /* returns as ke_port_cr8_write */
/* Something is pending on the calling holder's processor, and nothing of it deliverable. */
bool ke_port_interrupts_masked(void);
/* On the clock device's thread: time is at or past the armed deadline. Returns the next deadline
 * (ns) or UINT64_MAX. */
uint64_t ke_port_clock(uint64_t now_ns);
/* On a device thread: the request is complete. */
void ke_port_request_done(struct port_request *request);
