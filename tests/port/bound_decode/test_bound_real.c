/* SPDX-License-Identifier: MIT */
/*
 * bound_decode against the processor (BND-27..29): random BOUND instructions with random prefixes,
 * registers, segments and bounds are executed for real, in 32-bit and 16-bit code segments of this
 * process; a handler sees the vector. The decoder, which does not, must say #BR exactly when it was
 * vector 5. Segments other than the flat ones need modify_ldt; a host without it tests the flat
 * ones.
 *
 *     test_bound_real [SEED [CASES]]
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <cmocka.h>
#include "port/linux/bound_decode.h"

/* As enter.S knows it. */
struct entry {
	uint32_t registers[8]; /* EAX ECX EDX EBX ESP EBP ESI EDI */
	uint16_t cs, ds, es, gs, ss, pad;
	uint32_t eip;
};

void bound_enter(const struct entry *entry);
extern char bound_left[];
extern uint64_t bound_saved_rsp;

#define CODE    0x10000000u
#define DATA    0x10010000u
#define PAGES   2
#define INSIDE  (PAGES * 4096u)
#define LDT(n)  ((n) << 3 | 7)
#define TESTED  8000
#define LONGEST 15

enum {
	LIMITED,
	DOWN_32,
	DOWN_16,
	READ_ONLY,
	CODE_16,
	CODE_SECRET,
	CODE_READABLE,
	CODE_SHORT,
	DESCRIPTORS
};

/* limit in bytes; contents: 0 data, 1 expand-down data, 2 code. */
static const struct {
	uint32_t base, limit;
	unsigned contents;
	bool big, readable, writable;
} descriptors[DESCRIPTORS] = {
	[LIMITED] = {DATA, 0x807, 0, true, true, true},
	[DOWN_32] = {DATA, 0x3ff, 1, true, true, true},
	[DOWN_16] = {DATA, 0x3ff, 1, false, true, true},
	[READ_ONLY] = {DATA - 0x100, 0x1fff, 0, true, true, false},
	[CODE_16] = {CODE, 0xffff, 2, false, true, false},
	[CODE_SECRET] = {0, 0xffffffff, 2, true, false, false},
	[CODE_READABLE] = {CODE, 0x1ffff, 2, true, true, false},
	[CODE_SHORT] = {CODE, 0x105, 2, true, true, false},
};

static bool have_ldt;

static void ldt_install(void)
{
	have_ldt = true;
	for (unsigned i = 0; i < DESCRIPTORS; i++) {
		bool pages = descriptors[i].limit > 0xfffff;
		struct user_desc desc = {
			.entry_number = i,
			.base_addr = descriptors[i].base,
			.limit = pages ? descriptors[i].limit >> 12 : descriptors[i].limit,
			.limit_in_pages = pages,
			.seg_32bit = descriptors[i].big,
			.contents = descriptors[i].contents,
			.read_exec_only = descriptors[i].contents == 2 ? !descriptors[i].readable
								       : !descriptors[i].writable,
		};
		if (syscall(SYS_modify_ldt, 0x11, &desc, sizeof desc) != 0)
			have_ldt = false;
	}
}

static bool read_segment(void *context, uint16_t selector, struct user_segment *segment)
{
	(void)context;
	*segment = (struct user_segment){.present = true, .readable = true, .limit = UINT32_MAX};
	switch (selector) {
	case 0x23:
		segment->code = segment->big = true;
		return true;
	case 0x2b:
		segment->writable = segment->big = true;
		return true;
	case 0x33:
		segment->code = segment->long_mode = true;
		return true;
	}
	unsigned n = selector >> 3;
	if ((selector & 7) != 7 || n >= DESCRIPTORS)
		return false;
	*segment = (struct user_segment){.base = descriptors[n].base,
					 .limit = descriptors[n].limit,
					 .present = true,
					 .code = descriptors[n].contents == 2,
					 .readable = descriptors[n].readable,
					 .writable = descriptors[n].writable,
					 .expand_down = descriptors[n].contents == 1,
					 .big = descriptors[n].big};
	return true;
}

static size_t read_memory(void *context, uint64_t address, void *buffer, size_t size)
{
	size_t n = 0;
	(void)context;
	/* Byte by byte, so that what lies before a hole counts. */
	for (; n < size; n++) {
		struct iovec to = {(char *)buffer + n, 1}, from = {(void *)(address + n), 1};
		if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != 1)
			break;
	}
	return n;
}

/* ---- Executing ---- */

static struct {
	int signal;
	siginfo_t info;
	uint64_t vector;
	struct port_user_regs regs;
} seen;

static void handler(int number, siginfo_t *info, void *raw)
{
	ucontext_t *context = raw;
	greg_t *g = context->uc_mcontext.gregs;
	seen.signal = number;
	seen.info = *info;
	seen.vector = (uint64_t)g[REG_TRAPNO];
	seen.regs.general = (struct port_regs){.rax = (uint64_t)g[REG_RAX],
					       .rcx = (uint64_t)g[REG_RCX],
					       .rdx = (uint64_t)g[REG_RDX],
					       .rbx = (uint64_t)g[REG_RBX],
					       .rsp = (uint64_t)g[REG_RSP],
					       .rbp = (uint64_t)g[REG_RBP],
					       .rsi = (uint64_t)g[REG_RSI],
					       .rdi = (uint64_t)g[REG_RDI],
					       .rip = (uint64_t)g[REG_RIP]};
	g[REG_RIP] = (greg_t)(uintptr_t)bound_left;
	g[REG_RSP] = (greg_t)bound_saved_rsp;
	g[REG_CSGSFS] = 0x33 | (greg_t)0x2b << 48;
	g[REG_EFL] = 0x202;
}

static void execute(const struct entry *entry)
{
	memset(&seen, 0, sizeof seen);
	bound_enter(entry);
	seen.regs.cs = entry->cs;
	seen.regs.ds = entry->ds;
	seen.regs.es = entry->es;
	seen.regs.ss = entry->ss;
	seen.regs.gs = entry->gs;
	struct user_segment gs;
	if (read_segment(NULL, entry->gs, &gs))
		seen.regs.gs_base = gs.base;
}

/* ---- Making cases ---- */

static unsigned seed, cases = TESTED;

static uint32_t below(uint32_t limit)
{
	return (uint32_t)rand() % limit;
}

static uint16_t data_selector(void)
{
	static const uint16_t some[] = {LDT(LIMITED),
					LDT(DOWN_32),
					LDT(DOWN_16),
					LDT(READ_ONLY),
					LDT(CODE_READABLE),
					LDT(CODE_SHORT),
					0,
					3};
	if (!have_ldt)
		return below(8) ? 0x2b : 0;
	return below(2) ? 0x2b : some[below(sizeof some / sizeof *some)];
}

static uint32_t interesting(void)
{
	switch (below(8)) {
	case 0:
		return below(16);
	case 1:
		return 0xfffffff0u + below(16);
	case 2:
		return 0xfff0 + below(32);
	case 3:
		return (uint32_t)rand() << 1;
	case 4:
		return below(0x1000);
	default:
		return DATA + below(INSIDE);
	}
}

/* A place where the bounds may be, as an offset in some segment. */
static uint32_t target(void)
{
	switch (below(6)) {
	case 0:
		return below(0x1000);
	case 1:
		return 0x3f8 + below(16); /* at the limits of the small segments */
	case 2:
		return 0x7f8 + below(16);
	case 3:
		return DATA + INSIDE - 8 + below(8);
	default:
		return DATA + below(INSIDE - 8);
	}
}

static size_t make_code(uint8_t *code, struct entry *entry)
{
	static const uint8_t prefixes[] = {0x66, 0x67, 0x26, 0x2e, 0x36, 0x3e,
					   0x65, 0x64, 0xf2, 0xf3, 0xf0};
	size_t n = 0;
	unsigned count = below(4) ? below(4) : below(15);
	bool narrow = entry->cs == LDT(CODE_16);
	for (unsigned i = 0; i < count; i++) {
		code[n] = prefixes[below(below(8) ? 10 : 11)];
		if (code[n] == 0x67 && narrow == (entry->cs == LDT(CODE_16)))
			narrow = !narrow;
		n++;
	}
	code[n++] = below(40) ? 0x62 : 0x8b;
	unsigned mod = below(3), reg = below(8), rm = below(8);
	code[n++] = (uint8_t)(mod << 6 | reg << 3 | rm);
	unsigned base = rm, index = 4, scale = 0;
	if (!narrow && rm == 4) {
		base = below(8);
		index = below(8);
		scale = below(4);
		code[n++] = (uint8_t)(scale << 6 | index << 3 | base);
	}
	uint32_t wanted = target(), displacement = interesting();
	unsigned bytes = mod == 1                           ? 1
			 : mod == 2                         ? (narrow ? 2 : 4)
			 : narrow && rm == 6                ? 2
			 : !narrow && base == 5 && mod == 0 ? 4
							    : 0;
	if (mod == 0 && bytes)
		displacement = wanted; /* no base: only the displacement leads there */
	else if (!narrow) {
		uint32_t rest = bytes == 1   ? (uint32_t)(int8_t)displacement
				: bytes == 4 ? displacement
					     : 0;
		if (index != 4)
			rest += entry->registers[index] << scale;
		entry->registers[base] = wanted - rest;
	} else if (below(2)) {
		/* 16-bit forms: BX and SI are enough to come by. */
		entry->registers[3] = below(0x800);
		entry->registers[6] = entry->registers[7] = below(16);
	}
	memcpy(code + n, &displacement, bytes);
	n += bytes;
	for (unsigned i = 0; i < 4; i++) {
		code[n + 2 * i] = 0x0f; /* UD2: it passed */
		code[n + 2 * i + 1] = 0x0b;
	}
	return n;
}

static void make_case(struct entry *entry)
{
	uint8_t *page = (uint8_t *)(uintptr_t)CODE;
	static const uint16_t codes[] = {LDT(CODE_16), LDT(CODE_SECRET), LDT(CODE_READABLE),
					 LDT(CODE_SHORT)};
	entry->cs = have_ldt && below(2) ? codes[below(4)] : 0x23;
	entry->ds = data_selector();
	entry->es = data_selector();
	entry->gs = data_selector();
	entry->ss = have_ldt && below(4) == 0 ? LDT(DOWN_32) : 0x2b;
	for (unsigned i = 0; i < 8; i++)
		entry->registers[i] = interesting();
	uint32_t at = 0x100 - below(8); /* CODE_SHORT ends behind */
	memset(page, 0xcc, 4096);
	make_code(page + at, entry);
	entry->eip = (entry->cs == 0x23 || entry->cs == LDT(CODE_SECRET) ? CODE : 0) + at;
	/* Bounds of which about every other index is out. */
	int32_t *data = (int32_t *)(uintptr_t)DATA;
	for (unsigned i = 0; i < INSIDE / 4; i++)
		data[i] = (int32_t)((uint32_t)rand() << 1 ^ (uint32_t)rand());
}

static const char *hex(const uint8_t *bytes)
{
	static char text[64];
	for (unsigned i = 0; i < LONGEST + 1; i++)
		sprintf(text + 3 * i, "%02x ", bytes[i]);
	return text;
}

/* cmocka has handlers of its own, so not before the test. */
static void listen(void)
{
	static char stack[65536];
	const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	const struct sigaction action = {.sa_sigaction = handler,
					 .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};
	sigaltstack(&alternate, NULL);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &action, NULL);
}

static void the_decoder_agrees_with_the_processor_BND_29(void **state)
{
	(void)state;
	listen();
	const struct bound_ops ops = {NULL, read_memory, read_segment};
	const siginfo_t fault = {.si_signo = SIGSEGV, .si_code = SI_KERNEL};
	unsigned raised = 0, wrong = 0, signals = 0;
	for (unsigned i = 0; i < cases; i++) {
		struct entry entry = {0};
		struct port_bound bound;
		make_case(&entry);
		execute(&entry);
		bool real = seen.vector == 5;
		/* As a tracer sees it, and whatever the signal was. */
		enum bound_verdict told = bound_decode(&seen.regs, &seen.info, &ops, &bound);
		struct port_user_regs before = seen.regs;
		before.general.rip = entry.eip;
		enum bound_verdict judged = seen.regs.general.rip == entry.eip
						    ? bound_decode(&before, &fault, &ops, &bound)
						    : BOUND_IN_RANGE;
		raised += real;
		signals += told != BOUND_NOT_EXCEPTION;
		if (real == (told == BOUND_RAISED) && real == (judged == BOUND_RAISED))
			continue;
		wrong++;
		if (wrong <= 5)
			print_error("case %u: vector %llu, signal %d code %d, judged %d (%d)\n"
				    "  code %s at %x:%x; ds %x es %x gs %x ss %x\n"
				    "  eax %x ecx %x edx %x ebx %x esp %x ebp %x esi %x edi %x\n",
				    i, (unsigned long long)seen.vector, seen.signal,
				    seen.info.si_code, judged, told,
				    hex((uint8_t *)(uintptr_t)CODE + (entry.eip & 0xfff)), entry.cs,
				    entry.eip, entry.ds, entry.es, entry.gs, entry.ss,
				    entry.registers[0], entry.registers[1], entry.registers[2],
				    entry.registers[3], entry.registers[4], entry.registers[5],
				    entry.registers[6], entry.registers[7]);
	}
	printf("%u cases: %u bound exceptions, %u general protection\n", cases, raised,
	       signals - raised);
	assert_int_equal(wrong, 0);
	assert_true(raised > cases / 20);
	assert_true(signals - raised > cases / 100);
}

int main(int argc, char **argv)
{
	seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : (unsigned)time(NULL);
	cases = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : TESTED;
	srand(seed);
	void *code = mmap((void *)(uintptr_t)CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	void *data = mmap((void *)(uintptr_t)DATA, INSIDE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (code == MAP_FAILED || data == MAP_FAILED) {
		printf("SKIP: no memory below 4 GiB\n");
		return 77;
	}
	ldt_install();
	printf("seed %u%s\n", seed,
	       have_ldt ? "" : "; the host has no modify_ldt: flat segments only");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_decoder_agrees_with_the_processor_BND_29),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
