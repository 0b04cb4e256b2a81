// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include "ex/ex.h"
#include "fake_machine.h"

#include <asm/prctl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "ke/guard.h"
#include "ke/machine.h"
#include "ldr/ddi.h"
#include "ldr/pe.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define STACK 0x200000

struct ke_processor fake_processor;
struct _KTHREAD fake_thread;
char fake_printed[65536];
char fake_report[4096];
unsigned fake_pass, fake_fail;
unsigned fake_entry_count;
uint32_t fake_entry_row;
uint64_t fake_entry_caller;
void (*fake_step)(const struct port_regs *regs, const uint8_t *fxsave);
void (*fake_nmi)(struct port_frame *frame);
bool fake_pageable_once;
struct ldr_section *fake_section;
enum vf_mode vf_mode; /* off: no rule is judged here */

void vf_report(enum vf_rule rule, const char *ddi, uint64_t caller, uint64_t object,
	       const char *format, ...)
{
	(void)rule, (void)ddi, (void)caller, (void)object, (void)format;
	abort();
}

const char *vf_irql_name(KIRQL irql)
{
	return irql == HIGH_LEVEL ? "HIGH_LEVEL" : "DISPATCH_LEVEL";
}
_Atomic uint32_t ke_machine_stopped;

static void require(bool condition, const char *what)
{
	if (!condition) {
		fprintf(stderr, "%sfake machine: %s\n", fake_printed, what);
		abort();
	}
}

/* ---- Images ---- */

static struct ldr_image *images[16];

struct ldr_image *ldr_image_from_address(uint64_t address)
{
	for (unsigned i = 0; i < 16; i++) {
		if (images[i] && address >= images[i]->base &&
		    address - images[i]->base < images[i]->size) {
			return images[i];
		}
	}
	return NULL;
}

struct ldr_section *ldr_image_section_at(const struct ldr_image *image, uint64_t address)
{
	(void)image;
	(void)address;
	return fake_section;
}

size_t ldr_address_format(uint64_t address, char *buffer, size_t size)
{
	const struct ldr_image *image = ldr_image_from_address(address);

	buffer[0] = 0;
	return image ? (size_t)snprintf(buffer, size, "%s+0x%lx", image->name,
					(unsigned long)(address - image->base))
		     : 0;
}

static struct ldr_image *image_new(const char *name, uint32_t size)
{
	static uint64_t next = 0x500000000000;
	struct ldr_image *image = calloc(1, sizeof(*image));
	unsigned slot = 0;

	require(image, "memory");
	while (images[slot]) {
		slot++;
		require(slot < 16, "too many images");
	}
	size = (size + 4095) & ~4095u;
	image->base = next;
	image->size = size;
	next += size + 0x100000;
	require(mmap((void *)image->base, size, PROT_READ | PROT_WRITE | PROT_EXEC,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		     0) == (void *)image->base,
		"mmap of an image");
	snprintf(image->name, sizeof(image->name), "%s", name);
	atomic_store(&image->state, LDR_LOADED);
	images[slot] = image;
	fake_machine_handle();
	return image;
}

void fake_image_forget(struct ldr_image *image)
{
	for (unsigned i = 0; i < 16; i++) {
		if (images[i] == image) {
			images[i] = NULL;
		}
	}
	munmap((void *)image->base, image->size);
	free(image);
}

struct ldr_image *fake_image_raw(const void *bytes, uint32_t size, uint32_t functions,
				 uint32_t count)
{
	struct ldr_image *image = image_new("raw.sys", size);

	memcpy((void *)image->base, bytes, size);
	image->functions = (void *)(image->base + functions);
	image->function_count = count;
	return image;
}

static void *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	void *bytes = malloc(1 << 20);

	require(file && bytes, path);
	*size = fread(bytes, 1, 1 << 20, file);
	fclose(file);
	return bytes;
}

static void bind(struct ldr_image *image, const struct ldr_pe *pe, bool checked)
{
	struct ldr_pe_import_iter iter;
	struct ldr_pe_import import;
	struct ldr_pe_error error;
	char name[128];

	ldr_pe_imports(pe, false, &iter);
	while (ldr_pe_import_next(&iter, &import, &error) == LDR_PE_ITEM) {
		const struct ddi *ddi;

		snprintf(name, sizeof(name), "%.*s", (int)import.name.length, import.name.bytes);
		ddi = ddi_find(DDI_NTOSKRNL, name);
		require(ddi, name);
		*(void **)(image->base + import.slot) = ddi->data ? ddi->function
							: checked ? ddi->entry_checked
								  : ddi->entry;
	}
}

struct ldr_image *fake_image_load(const char *path, bool checked)
{
	struct ldr_pe_error error = {0};
	const char *name = strrchr(path, '/');
	struct ldr_image *image;
	struct ldr_pe pe;
	size_t size;
	uint32_t rva, count;
	void *file = read_file(path, &size);

	require(ldr_pe_open(&pe, file, size, &error), path);
	image = image_new(name ? name + 1 : path, ldr_pe_span(&pe));
	require(ldr_pe_map(&pe, (void *)image->base, image->size, image->base, &error), path);
	if (ldr_pe_functions(&pe, &rva, &count, &error) == LDR_PE_ITEM) {
		image->functions = (void *)(image->base + rva);
		image->function_count = count;
	}
	image->entry_point = image->base + pe.entry;
	bind(image, &pe, checked);
	free(file);
	return image;
}

/* Fields of an image have no alignment. */
static uint32_t field(const uint8_t *at, unsigned index)
{
	uint32_t value;

	memcpy(&value, at + 4 * index, sizeof(value));
	return value;
}

void *fake_image_symbol(struct ldr_image *image, const char *name)
{
	/* The export directory of the mapped image: data directory 0 of the optional header. */
	const uint8_t *base = (const uint8_t *)image->base;
	const uint8_t *header = base + field(base + 0x3c, 0);
	const uint8_t *exports = base + field(header + 0x88, 0);

	for (uint32_t i = 0; i < field(exports, 6); i++) {
		const char *found = (const char *)base + field(base + field(exports, 8), i);
		uint16_t index;

		if (strcmp(found, name) == 0) {
			memcpy(&index, base + field(exports, 9) + 2 * i, sizeof(index));
			return (void *)(base + field(base + field(exports, 7), index));
		}
	}
	require(false, name);
	return NULL;
}

/* ---- port ---- */

void port_frame_read(const struct port_frame *frame, struct port_regs *regs)
{
	const greg_t *g = ((const ucontext_t *)frame)->uc_mcontext.gregs;

	*regs = (struct port_regs){
		.rax = (uint64_t)g[REG_RAX],
		.rcx = (uint64_t)g[REG_RCX],
		.rdx = (uint64_t)g[REG_RDX],
		.rbx = (uint64_t)g[REG_RBX],
		.rsp = (uint64_t)g[REG_RSP],
		.rbp = (uint64_t)g[REG_RBP],
		.rsi = (uint64_t)g[REG_RSI],
		.rdi = (uint64_t)g[REG_RDI],
		.r8 = (uint64_t)g[REG_R8],
		.r9 = (uint64_t)g[REG_R9],
		.r10 = (uint64_t)g[REG_R10],
		.r11 = (uint64_t)g[REG_R11],
		.r12 = (uint64_t)g[REG_R12],
		.r13 = (uint64_t)g[REG_R13],
		.r14 = (uint64_t)g[REG_R14],
		.r15 = (uint64_t)g[REG_R15],
		.rip = (uint64_t)g[REG_RIP],
		.rflags = (uint64_t)g[REG_EFL],
	};
}

void port_frame_write(struct port_frame *frame, const struct port_regs *regs)
{
	greg_t *g = ((ucontext_t *)frame)->uc_mcontext.gregs;

	g[REG_RAX] = (greg_t)regs->rax;
	g[REG_RCX] = (greg_t)regs->rcx;
	g[REG_RDX] = (greg_t)regs->rdx;
	g[REG_RBX] = (greg_t)regs->rbx;
	g[REG_RSP] = (greg_t)regs->rsp;
	g[REG_RBP] = (greg_t)regs->rbp;
	g[REG_RSI] = (greg_t)regs->rsi;
	g[REG_RDI] = (greg_t)regs->rdi;
	g[REG_R8] = (greg_t)regs->r8;
	g[REG_R9] = (greg_t)regs->r9;
	g[REG_R10] = (greg_t)regs->r10;
	g[REG_R11] = (greg_t)regs->r11;
	g[REG_R12] = (greg_t)regs->r12;
	g[REG_R13] = (greg_t)regs->r13;
	g[REG_R14] = (greg_t)regs->r14;
	g[REG_R15] = (greg_t)regs->r15;
	g[REG_RIP] = (greg_t)regs->rip;
	g[REG_EFL] = (greg_t)regs->rflags;
}

void port_frame_nmi_unblock(struct port_frame *frame)
{
	(void)frame; /* this machine has no NMI signal to let in */
}

/* The fake NMI's callouts bring their record. */
const struct port_frame *port_frame_at(uint64_t rip, uint64_t rsp)
{
	(void)rip;
	(void)rsp;
	return NULL;
}

void *port_frame_fxsave(struct port_frame *frame)
{
	return ((ucontext_t *)frame)->uc_mcontext.fpregs;
}

bool port_stub_lookup(uint64_t address, uint64_t *original)
{
	(void)address;
	(void)original;
	return false;
}

bool port_pages_accessible(const void *address, bool write)
{
	char byte;

	(void)write;
	return ke_guard_copy(&byte, address, 1);
}

/* Loads the frame that iretq takes, and the registers, from below a stack of its own. */
static uint64_t resume_frame[32] __attribute__((aligned(16)));

void port_context_resume(const struct port_regs *regs, const void *fxsave)
{
	const uint64_t values[] = {
		regs->rax, regs->rcx, regs->rdx, regs->rbx,        regs->rbp, regs->rsi, regs->rdi,
		regs->r8,  regs->r9,  regs->r10, regs->r11,        regs->r12, regs->r13, regs->r14,
		regs->r15, regs->rip, 0x33,      regs->rflags | 2, regs->rsp, 0x2b,
	};

	memcpy(resume_frame, values, sizeof(values));
	if (fxsave) {
		__asm__ volatile("fxrstor64 (%0)" : : "r"(fxsave) : "memory");
	}
	__asm__ volatile(
		"movq %0, %%rsp\n\tpopq %%rax\n\tpopq %%rcx\n\tpopq %%rdx\n\tpopq %%rbx\n\t"
		"popq %%rbp\n\tpopq %%rsi\n\tpopq %%rdi\n\tpopq %%r8\n\tpopq %%r9\n\t"
		"popq %%r10\n\tpopq %%r11\n\tpopq %%r12\n\tpopq %%r13\n\tpopq %%r14\n\t"
		"popq %%r15\n\tiretq"
		:
		: "r"(resume_frame)
		: "memory");
	__builtin_unreachable();
}

void port_spin(unsigned round)
{
	(void)round;
}

/* ---- Traps ---- */

static void describe(int signal, const siginfo_t *info, const ucontext_t *context,
		     struct port_trap *trap)
{
	const uint8_t *code = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
	greg_t error = context->uc_mcontext.gregs[REG_ERR];

	switch (signal) {
	case SIGFPE:
		trap->kind = PORT_TRAP_DIVIDE;
		return;
	case SIGILL:
		trap->kind = PORT_TRAP_ILLEGAL;
		return;
	case SIGTRAP:
		trap->kind = PORT_TRAP_BREAKPOINT;
		return;
	}
	if (context->uc_mcontext.gregs[REG_TRAPNO] == 14) {
		trap->kind = PORT_TRAP_PAGE_FAULT;
		trap->address = (uint64_t)info->si_addr;
		trap->access = error & 16 ? PORT_EXECUTE : error & 2 ? PORT_WRITE : PORT_READ;
	} else if (code[0] == 0xcd && code[1] == 0x29) {
		trap->kind = PORT_TRAP_FAST_FAIL;
		trap->code = (uint32_t)context->uc_mcontext.gregs[REG_RCX];
	} else if (code[0] == 0x0f && code[1] == 0x32) {
		trap->kind = PORT_TRAP_PRIVILEGED;
		trap->text = "rdmsr is not there";
	} else {
		trap->kind = PORT_TRAP_PROTECTION;
	}
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
	struct port_trap trap = {0};

	describe(signal, info, context, &trap);
	if (!ke_port_trap(&fake_processor.port, &trap, context)) {
		abort();
	}
}

static void on_step(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	struct port_regs regs;

	if (info->si_code != TRAP_TRACE) {
		on_trap(signal, info, context);
	} else if (fake_step) {
		port_frame_read(context, &regs);
		fake_step(&regs, (const uint8_t *)u->uc_mcontext.fpregs);
	}
}

void __attribute__((noinline)) fake_step_on(void)
{
	__asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc");
}

void __attribute__((noinline)) fake_step_off(void)
{
	__asm__ volatile("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc");
}

static void on_nmi(int signal, siginfo_t *info, void *context)
{
	KIRQL old = fake_processor.irql;

	(void)signal;
	(void)info;
	atomic_fetch_add(&fake_processor.nmi_sequence, 1);
	fake_processor.irql = HIGH_LEVEL;
	if (fake_nmi) {
		fake_nmi(context);
	}
	fake_processor.irql = old;
	atomic_fetch_add(&fake_processor.nmi_sequence, 1);
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = {.sa_sigaction = handler,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	require(sigaction(signal, &action, NULL) == 0, "sigaction");
}

void fake_machine_handle(void)
{
	handle(SIGSEGV, on_trap);
	handle(SIGBUS, on_trap);
	handle(SIGFPE, on_trap);
	handle(SIGILL, on_trap);
	handle(SIGTRAP, on_step);
	handle(SIGUSR1, on_nmi);
}

static void *thread_main(void *argument)
{
	static char alternate[0x20000];
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
	int result;

	fake_processor.self = &fake_processor;
	fake_processor.current = &fake_thread;
	require(syscall(SYS_arch_prctl, ARCH_SET_GS, &fake_processor) == 0, "GS");
	require(sigaltstack(&stack, NULL) == 0, "sigaltstack");
	result = (*(int (**)(void))argument)();
	stack.ss_flags = SS_DISABLE; /* before sanitizers take theirs back */
	require(sigaltstack(&stack, NULL) == 0, "sigaltstack");
	return (void *)(intptr_t)result;
}

int fake_machine_run(int (*main_)(void))
{
	char *memory = mmap(NULL, STACK + 0x10000, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_attr_t attributes;
	pthread_t thread;
	void *result;

	require(memory != MAP_FAILED, "stack");
	require(mprotect(memory + 0x10000, STACK, PROT_READ | PROT_WRITE) == 0, "stack");
	fake_thread.StackLimit = memory + 0x10000;
	fake_thread.StackBase = memory + 0x10000 + STACK;
	fake_thread.system_thread = true;
	pthread_attr_init(&attributes);
	require(pthread_attr_setstack(&attributes, memory + 0x10000, STACK) == 0, "stack");
	require(pthread_create(&thread, &attributes, thread_main, &main_) == 0, "thread");
	pthread_join(thread, &result);
	return (int)(intptr_t)result;
}

/* ---- ke, mm, vf ---- */

void ke_print(enum port_stream stream, const char *format, ...)
{
	va_list arguments;

	(void)stream;
	va_start(arguments, format);
	rtl_vprint(fake_report, sizeof(fake_report), format, arguments);
	va_end(arguments);
}

void ke_irql_lower(KIRQL irql)
{
	fake_processor.irql = irql;
}

void ke_lock_acquire(struct ke_lock *lock)
{
	require(!atomic_exchange(&lock->held, 1), "lock");
}

void ke_lock_release(struct ke_lock *lock)
{
	atomic_store(&lock->held, 0);
}

void ke_machine_freeze(uint64_t wait_ns)
{
	(void)wait_ns;
}

/* Where a crashing process leaves its report. */
static struct ketch_bugcheck *crash_report;

void ke_machine_stop(enum ke_stop_reason reason)
{
	require(reason == KE_STOP_BUGCHECK && crash_report, ke_bugcheck_report()->text);
	*crash_report = *ke_bugcheck_report();
	_exit(fake_fail ? 99 : 42);
}

const struct ketch_bugcheck *fake_crash(void (*scenario)(void))
{
	static struct ketch_bugcheck copy;
	int status;
	pid_t child;

	crash_report = mmap(NULL, sizeof(*crash_report), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	require(crash_report != MAP_FAILED, "report");
	fflush(NULL);
	fake_fail = 0;
	child = fork();
	require(child >= 0, "fork");
	if (child == 0) {
		scenario();
		_exit(0);
	}
	require(waitpid(child, &status, 0) == child, "waitpid");
	copy = *crash_report;
	munmap(crash_report, sizeof(*crash_report));
	crash_report = NULL;
	return WIFEXITED(status) && WEXITSTATUS(status) == 42 ? &copy : NULL;
}

void ex_pool_describe(const void *address, char *text, size_t size)
{
	(void)address;
	rtl_copy(text, size, "");
}

/* No user processes. */
bool mm_user_fault(uint64_t address, unsigned access, KIRQL irql)
{
	(void)address;
	(void)access;
	(void)irql;
	return false;
}

bool mm_user_current(void)
{
	return false;
}

bool mm_user_accessible(uint64_t address, bool write)
{
	(void)address;
	(void)write;
	return false;
}

bool mm_pageable_fault(uint64_t address, unsigned access, KIRQL irql)
{
	(void)access;
	if (!fake_pageable_once || irql >= DISPATCH_LEVEL) {
		return false;
	}
	fake_pageable_once = false;
	return mprotect((void *)(address & ~4095ull), 4096, PROT_READ | PROT_WRITE) == 0;
}

void vf_ddi_entry(uint32_t ddi, uint64_t caller)
{
	fake_entry_count++;
	fake_entry_row = ddi;
	fake_entry_caller = caller;
	/* Everything that SysV lets a function change. */
	__asm__ volatile(
		"xorps %%xmm6, %%xmm6\n\txorps %%xmm15, %%xmm15\n\txorps %%xmm0, %%xmm0\n\t"
		"xorps %%xmm3, %%xmm3\n\tmovq $-1, %%rcx\n\tmovq $-1, %%rdx\n\t"
		"movq $-1, %%r8\n\tmovq $-1, %%r9\n\tmovq $-1, %%rsi\n\tmovq $-1, %%rdi"
		:
		:
		: "rcx", "rdx", "r8", "r9", "rsi", "rdi", "xmm0", "xmm3", "xmm6", "xmm15");
}

bool vf_unload_owns(const struct vf_unload *unload, const void *address)
{
	return (uint64_t)address >= unload->base && (uint64_t)address < unload->end;
}

void vf_unload_left(const struct vf_unload *unload, enum vf_rule rule, const void *address,
		    const void *object, const char *format, ...)
{
	(void)unload;
	(void)rule;
	(void)address;
	(void)object;
	(void)format;
	fake_fail++;
}

/* ---- DDIs ---- */

ULONG NtBuildNumber = 19045;

void fake_printed_clear(void)
{
	fake_printed[0] = 0;
	fake_pass = fake_fail = 0;
}

ULONG NTAPI fake_DbgPrint(PCSTR format, ...)
{
	size_t used = strlen(fake_printed);
	struct rtl_arguments arguments = {.microsoft = true};

	__builtin_ms_va_start(arguments.ms, format);
	rtl_format(fake_printed + used, sizeof(fake_printed) - used, format, &arguments);
	__builtin_ms_va_end(arguments.ms);
	fake_pass += strncmp(fake_printed + used, "PASS", 4) == 0;
	fake_fail += strncmp(fake_printed + used, "FAIL", 4) == 0;
	return 0;
}

static PCALLBACK_FUNCTION callback_function;
static PVOID callback_context;

NTSTATUS NTAPI fake_ExCreateCallback(PCALLBACK_OBJECT *object, POBJECT_ATTRIBUTES attributes,
				     BOOLEAN create, BOOLEAN multiple)
{
	(void)attributes;
	(void)create;
	(void)multiple;
	*object = (PCALLBACK_OBJECT)&callback_function;
	return STATUS_SUCCESS;
}

PVOID NTAPI fake_ExRegisterCallback(PCALLBACK_OBJECT object, PCALLBACK_FUNCTION function,
				    PVOID context)
{
	(void)object;
	callback_function = function;
	callback_context = context;
	return &callback_function;
}

VOID NTAPI fake_ExUnregisterCallback(PVOID handle)
{
	(void)handle;
	callback_function = NULL;
}

VOID NTAPI fake_ExNotifyCallback(PVOID object, PVOID first, PVOID second)
{
	(void)object;
	callback_function(callback_context, first, second);
}

LONG_PTR NTAPI fake_ObfDereferenceObject(PVOID object)
{
	(void)object;
	return 0;
}

LONG NTAPI fake_KeSetEvent(PRKEVENT event, KPRIORITY increment, BOOLEAN wait)
{
	(void)increment;
	(void)wait;
	return *(volatile LONG *)&event->Header.SignalState = 1;
}

ULONG NTAPI fake_HalSendNMI(ULONG a)
{
	return a + 1;
}

ULONG NTAPI fake_NdisSum(ULONG a)
{
	return a + 2;
}

/* Raises after it has used what SysV lets a C function use. */
VOID NTAPI fake_TestRaise(NTSTATUS status)
{
	/* not told to the compiler, which would save them */
	__asm__ volatile("xorps %%xmm6, %%xmm6\n\txorps %%xmm7, %%xmm7\n\txorps %%xmm8, %%xmm8\n\t"
			 "xorps %%xmm9, %%xmm9\n\txorps %%xmm15, %%xmm15"
			 :
			 :
			 : "memory");
	ExRaiseStatus(status);
}

/* All sixteen arguments, with different weights. */
uint64_t NTAPI fake_TestSum(uint64_t a, uint64_t b, double c, uint64_t d, uint64_t e, uint64_t f,
			    uint64_t g, uint64_t h, uint64_t i, uint64_t j, uint64_t k, uint64_t l,
			    uint64_t m, uint64_t n, uint64_t o, uint64_t p)
{
	return a + 2 * b + 3 * (uint64_t)c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i +
	       10 * j + 11 * k + 12 * l + 13 * m + 14 * n + 15 * o + 16 * p;
}

PVOID NTAPI fake_memcpy(PVOID to, const void *from, SIZE_T size)
{
	volatile uint8_t *a = to;
	const volatile uint8_t *b = from;

	while (size--) {
		*a++ = *b++;
	}
	return to;
}
