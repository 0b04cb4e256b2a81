/* SPDX-License-Identifier: MIT */
/*
 * ketch.h: boot a machine in this process and stage events for drivers.
 *
 * One process is one machine; it boots once. All functions are called by host threads of the
 * program (not by drivers), and block until the machine has done what they ask, a bug check stopped
 * it, or the time limit passed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which group and number a processor has, in the order in which they come. */
enum ketch_layout {
	KETCH_LAYOUT_PACKED, /* a group is full before the next one begins; numbers ascend */
	KETCH_LAYOUT_HOLES, /* the same, but the even numbers of a group come before the odd ones */
	KETCH_LAYOUT_SPREAD, /* one to each group in turn */
};

enum ketch_verify { KETCH_VERIFY_OFF, KETCH_VERIFY_REPORT, KETCH_VERIFY_BUGCHECK };

/* How NDK functions that may complete later do it. */
enum ketch_ndk_complete {
	KETCH_NDK_DEFAULT, /* closes later, all else as soon as it is done */
	KETCH_NDK_INLINE,
	KETCH_NDK_PENDING,
	KETCH_NDK_RANDOM, /* as ndk_seed draws */
};

struct ketch_options {
	uint32_t processors;         /* at boot */
	uint32_t maximum_processors; /* most the partition can hold */
	uint32_t group_size;         /* processors per group, 1..64 */
	enum ketch_layout layout;
	enum ketch_verify verify;
	const char *verify_drivers; /* file names joined with commas, whose rules count (VER-3); 0:
				       all */
	bool quiet_findings; /* do not print findings as they come: ketch_finding() has them */
	bool ignore_unhandled_nmi;
	bool allow_missing;           /* imports */
	bool relax_bound_routine;     /* it may lie outside of every driver (DEF-37) */
	bool strict_signed_callbacks; /* DEF-51 */
	bool strict_processor_veto; /* after a veto only callbacks that succeeded are told (PRC-35)
				     */
	bool strict_group_aware;    /* functions without a group act on the highest one (PRC-66) */
	/*
	 * RNICs: texts as --adapter has them: loopback, loopback:INDEX=ADDRESS,... or verbs:DEVICE.
	 * None: interface index 2 with 192.0.2.1 and fd00::1, index 3 with 192.0.2.2 and fd00::2.
	 */
	const char *const *adapters;
	uint32_t adapter_count;
	enum ketch_ndk_complete ndk_complete;
	uint64_t ndk_seed;
	/* NAME or NAME:N: the N-th call (1) of this NDK function fails. */
	const char *const *ndk_failures;
	uint32_t ndk_failure_count;
	bool ndk_flags_set;        /* loopback adapters have `ndk_flags` for their AdapterFlags */
	uint32_t ndk_flags;        /* NDK_ADAPTER_FLAG_* (NDK-18) */
	uint32_t ndk_handshake_ms; /* a loopback connection's handshake may take so long; 0: 30 s */
	bool strict_ndk_arm;    /* NdkArmCq is satisfied by what was there at the last notification
				   (NDK-93) */
	bool strict_ndk_tokens; /* a region's token changes with each NdkFastRegister (NDK-124) */
	uint32_t wsk_delay_ms;  /* Winsock Kernel's provider is there so long after boot */
	/* A wait for what a driver has not given back is reported then; 0: 5 s. */
	uint32_t wsk_patience_ms;
	uint32_t timeout_ms; /* for the whole run; 0: none */
};

enum ketch_outcome {
	KETCH_OK,
	KETCH_REFUSED,     /* status tells why; see ketch_message for an image error */
	KETCH_BUGCHECK,    /* the machine is stopped for good: ketch_bugcheck() */
	KETCH_TIMEOUT,     /* the machine hangs: ketch_hang() */
	KETCH_INTERRUPTED, /* ketch_interrupt() was called; what was under way goes on */
};

/* Boot. Once per process. False: the host lacks what is needed; ketch_message says what. */
bool ketch_boot(const struct ketch_options *options);
/* The last refusal in words: one or more lines of printable ASCII (DESIGN.md section 5). */
const char *ketch_message(void);

/* Before drivers are loaded: a value of the service's key; what \??\C:\ is. */
bool ketch_registry_set(const char *service, const char *name, const char *value);
bool ketch_files_set(const char *folder);

/*
 * Load an image (file name without folder, contents) and run its DriverEntry in a system thread.
 * KETCH_REFUSED: *status is the loader's (message set) or DriverEntry's.
 */
enum ketch_outcome ketch_driver_load(const char *name, const void *image, size_t size,
				     uint32_t *status);
/* Run DriverUnload and take the image away. KETCH_REFUSED: no such driver, or it cannot be unloaded
 * (*status). */
enum ketch_outcome ketch_driver_unload(const char *name, uint32_t *status);

/* Where and how an NMI ended. */
struct ketch_nmi {
	bool delivered; /* false: coalesced */
	bool idle;      /* the processor had nothing to run */
	uint32_t processor;
	uint8_t irql;            /* of the interrupted code */
	uint64_t rip;            /* interrupted instruction */
	uint64_t driver_address; /* the innermost address in a driver on the interrupted stack; 0:
				    none */
};
/* Raise one NMI and wait until it was delivered or coalesced. */
enum ketch_outcome ketch_nmi(uint32_t processor, struct ketch_nmi *nmi);
/* Raise one and do not wait; async-signal-safe. False: no such active processor. */
bool ketch_nmi_raise(uint32_t processor);
struct ketch_nmi_counts {
	uint64_t sent, delivered, coalesced, latched;
};
bool ketch_nmi_counts(uint32_t processor, struct ketch_nmi_counts *counts);
uint32_t ketch_processor_count(void);

/* How an addition is to go. */
enum ketch_add {
	KETCH_ADD,
	KETCH_ADD_FAIL,     /* the processor does not start, after drivers were told of the start */
	KETCH_ADD_MISMATCH, /* it is of another kind: bug check 0x130 */
};
struct ketch_added {
	uint32_t processor; /* index: told in any case */
	uint32_t group, number;
	uint32_t status; /* 0: it runs */
	bool vetoed;     /* the status is a driver's */
};
/*
 * Add a processor, with all notifications of drivers; the machine's own thread does it. KETCH_OK:
 * it runs, or for KETCH_ADD_FAIL it failed in that way. KETCH_REFUSED: a driver vetoed it
 * (added->vetoed), or the machine cannot have one more (ketch_message).
 */
enum ketch_outcome ketch_processor_add(enum ketch_add how, struct ketch_added *added);
/* The same from another thread of the program, while the first one does other things; leaves
 * ketch_message alone. Not interrupted by ketch_interrupt. */
enum ketch_outcome ketch_processor_add_aside(enum ketch_add how, struct ketch_added *added);

/* ---- User programs ---- */

/*
 * Start a program of the host (i386 or x86-64 ELF) as a user process of the machine: arguments[0]
 * is its file, NULL ends them; they must stay. *index is for ketch_user and ketch_user_wait.
 * KETCH_REFUSED: it cannot be started; ketch_message says why.
 *
 * The first one makes this process a subreaper that buries its orphans (SA_NOCLDWAIT): a program
 * that waits for children of its own sets SIGCHLD back before it makes them.
 */
enum ketch_outcome ketch_user_start(const char *const *arguments, uint32_t *index);
/* Wait until that program has ended; UINT32_MAX: until all have, and all that they made. */
enum ketch_outcome ketch_user_wait(uint32_t index);
/* End all, as SIGKILL does. Does not wait. */
enum ketch_outcome ketch_user_kill(void);

enum ketch_user_state {
	KETCH_USER_RUNNING,
	KETCH_USER_EXITED, /* with `code` */
	KETCH_USER_KILLED, /* by signal `code` */
	KETCH_USER_FAILED, /* it could not be started */
};

struct ketch_user {
	const char *name;
	uint32_t pid;
	enum ketch_user_state state;
	int code;
	uint32_t status; /* of its process object */
	bool child;   /* a program made it; such are told only when one of the next three is set */
	bool refused; /* a driver's process notify routine refused it */
	bool bound_error;   /* a bound callback ended it (BoundExceptionError) */
	bool bound_fatal;   /* it died of a bound exception that no callback handled */
	uint64_t handled;   /* bound exceptions after which it went on */
	uint64_t delivered; /* bound exceptions that became its own SIGSEGV */
	uint64_t address;   /* of the last that was not handled */
	const char *file,
		*path; /* what lies there: file without and with its folder; "": nothing */
	uint64_t offset, linked; /* from the file's first mapping; in the file's own terms */
};
/* The programs, in the order of their start, and what is to be told of processes that they made. */
bool ketch_user(uint32_t index, struct ketch_user *user);

/* ---- IOCTLs ---- */

/* Open \\.\NAME, send one IOCTL (buffered, direct or neither), close. */
enum ketch_outcome ketch_ioctl(const char *device, uint32_t code, const void *in, size_t in_size,
			       void *out, size_t out_size, size_t *returned, uint32_t *status);
/*
 * Make the function that waits now, or the next one, return KETCH_INTERRUPTED, once; all that is
 * asked of the machine afterwards (unloading, which waits for what was under way) has
 * KETCH_INTERRUPT_MS left. Async-signal-safe.
 */
#define KETCH_INTERRUPT_MS 5000u
void ketch_interrupt(void);
/* Let the machine run for a while. */
enum ketch_outcome ketch_wait(uint32_t ms);
/* Flush output, stop every processor. Afterwards only the query functions below may be called. */
void ketch_halt(void);

/* ---- What happened ---- */

struct ketch_frame {
	uint64_t address;
	char where[64]; /* `nmi.sys+0x1a2c`, or empty when it lies in no driver */
};

struct ketch_bugcheck {
	uint32_t code;
	uint64_t parameters[4];
	char name[48]; /* NMI_HARDWARE_FAILURE */
	char text[256];
	uint32_t processor;
	uint8_t irql;
	char driver[32];
	uint64_t address; /* to blame; 0: none */
	bool registers_valid;
	uint64_t registers[18]; /* rax rcx rdx rbx rsp rbp rsi rdi r8..r15 rip rflags */
	uint32_t frame_count;
	struct ketch_frame frames[64];
};
const struct ketch_bugcheck *ketch_bugcheck(void); /* 0: none */

struct ketch_hang {
	uint32_t processor;
	uint8_t irql;
	bool idle;
	uint32_t frame_count;
	struct ketch_frame frames[32];
};
/* After KETCH_TIMEOUT: the stack of each processor, frozen. Returns how many processors were
 * written. */
uint32_t ketch_hang(struct ketch_hang *processors, uint32_t room);

struct ketch_pending {
	char text[120];
	uint64_t address; /* of the caller */
	char where[64];
};
/* After KETCH_TIMEOUT: an NDK call of a driver that has not completed. False: no more. */
bool ketch_pending(uint32_t index, struct ketch_pending *pending);

struct ketch_finding {
	const char *rule, *number; /* IrqlKeApcLte2, VER-5 */
	bool advice;
	uint32_t count; /* how often, at this address */
	const char *ddi;
	uint64_t address, object;
	char where[64];
	uint32_t processor;
	uint8_t irql;
	const char *text, *remedy;
};
uint32_t ketch_finding_count(void);
uint32_t ketch_violation_count(void);
bool ketch_finding(uint32_t index, struct ketch_finding *finding);

/* True if a rule has this name (IrqlKeApcLte2) or number (VER-5). */
bool ketch_rule_known(const char *name);

/* `driver.sys+0x12` for an address; false when it lies in no driver. */
bool ketch_where(uint64_t address, char *where, size_t size);
/* For symbolizers: the loaded (or unloaded) image that holds the address, its preferred base +
 * offset. */
bool ketch_image_of(uint64_t address, const char **name, uint64_t *offset);

/* ---- The table of functions ---- */

struct ketch_ddi {
	const char *name, *module, *rule;
	uint8_t irql_min, irql_max;
	uint16_t version;
	bool may_call_driver, nmi_allowed, storport_prohibited, data;
};
uint32_t ketch_ddi_count(void);
bool ketch_ddi(uint32_t index, struct ketch_ddi *ddi);

struct ketch_import {
	const char *module, *name; /* name 0: by ordinal */
	uint16_t ordinal;
	bool supported;
	const struct ketch_ddi *ddi;
};
/* Call back for each import of an image, without booting. False: not an image; ketch_message says
 * why. */
bool ketch_imports(const char *name, const void *image, size_t size,
		   void (*each)(void *context, const struct ketch_import *import), void *context);
