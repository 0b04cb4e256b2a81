/* SPDX-License-Identifier: MIT */
/*
 * Loads from the shared page that have no displacement to patch (strings, XLAT), absolute ones, bit
 * strings, and what must end in an access violation or a refusal (DEF-43).
 */
#define _GNU_SOURCE
#include "machine.h"

#include <string.h>
#include <sys/mman.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "port/linux/shared_page.h"

#define KERNEL         SHARED_PAGE_KERNEL
#define ALIAS          SHARED_PAGE_USER
#define DIRECTION_FLAG 0x400u
#define BUFFER_SIZE    0x1000

static unsigned char *buffer; /* a page, with unmapped ones around it */

static void fill(void)
{
	uint64_t random = 1;
	unsigned char *bytes = shared_page_bytes();

	for (unsigned i = 0; i < SHARED_PAGE_SIZE; i++)
		bytes[i] = (unsigned char)(machine_random(&random) &
					   3); /* so that compares match at times */
	memset(buffer, 1, BUFFER_SIZE);
	memcpy(buffer + 0x3F0, bytes + 0x3F0, 0x20); /* around where the strings start */
}

#define CODE(...)                                                                                  \
	sizeof((unsigned char[]){__VA_ARGS__}),                                                    \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

/* Which registers point into the page. */
enum { FROM_RSI = 1, FROM_RDI = 2, FROM_RBX = 4 };

static const struct string_form {
	const char *name;
	unsigned pointers;
	unsigned size;
	unsigned char code[8];
} forms[] = {
	{"movsb", FROM_RSI, CODE(0xA4)},
	{"movsw", FROM_RSI, CODE(0x66, 0xA5)},
	{"movsd", FROM_RSI, CODE(0xA5)},
	{"movsq", FROM_RSI, CODE(0x48, 0xA5)},
	{"rep movsb", FROM_RSI, CODE(0xF3, 0xA4)},
	{"rep movsw", FROM_RSI, CODE(0xF3, 0x66, 0xA5)},
	{"rep movsd", FROM_RSI, CODE(0xF3, 0xA5)},
	{"rep movsq", FROM_RSI, CODE(0xF3, 0x48, 0xA5)},
	{"lodsb", FROM_RSI, CODE(0xAC)},
	{"lodsw", FROM_RSI, CODE(0x66, 0xAD)},
	{"lodsd", FROM_RSI, CODE(0xAD)},
	{"lodsq", FROM_RSI, CODE(0x48, 0xAD)},
	{"rep lodsb", FROM_RSI, CODE(0xF3, 0xAC)},
	{"scasb", FROM_RDI, CODE(0xAE)},
	{"scasw", FROM_RDI, CODE(0x66, 0xAF)},
	{"scasd", FROM_RDI, CODE(0xAF)},
	{"scasq", FROM_RDI, CODE(0x48, 0xAF)},
	{"repne scasb", FROM_RDI, CODE(0xF2, 0xAE)},
	{"repe scasb", FROM_RDI, CODE(0xF3, 0xAE)},
	{"cmpsb from rsi", FROM_RSI, CODE(0xA6)},
	{"cmpsq from rsi", FROM_RSI, CODE(0x48, 0xA7)},
	{"cmpsd from rdi", FROM_RDI, CODE(0xA7)},
	{"cmpsw from both", FROM_RSI | FROM_RDI, CODE(0x66, 0xA7)},
	{"repe cmpsb from rsi", FROM_RSI, CODE(0xF3, 0xA6)},
	{"repe cmpsb from rdi", FROM_RDI, CODE(0xF3, 0xA6)},
	{"repe cmpsb from both", FROM_RSI | FROM_RDI, CODE(0xF3, 0xA6)},
	{"repne cmpsb from both", FROM_RSI | FROM_RDI, CODE(0xF2, 0xA6)},
	{"xlat", FROM_RBX, CODE(0xD7)},
};

static void point(struct machine *m, const struct string_form *form, uint64_t page,
		  unsigned direction)
{
	unsigned other = form->pointers == (FROM_RSI | FROM_RDI) ? 0x800 : 0x400;

	machine_reset(m);
	m->before.flags |= direction;
	m->before.gpr[RAX] = 0x0102030405060703;
	m->before.gpr[RCX] = 0x48;
	m->before.gpr[RSI] = form->pointers & FROM_RSI ? page + 0x400 : (uint64_t)buffer + 0x400;
	m->before.gpr[RDI] = form->pointers & FROM_RDI ? page + other : (uint64_t)buffer + 0x400;
	if (form->pointers & FROM_RBX)
		m->before.gpr[RBX] = page + 0x77;
	fill();
}

static void def43_string_instructions_from_the_page(void **state)
{
	static const unsigned directions[] = {0, DIRECTION_FLAG};
	static const int pointers[] = {RSI, RDI, RBX};
	struct machine *m = machine_create();
	unsigned char expected_buffer[BUFFER_SIZE];
	struct machine_state expected;

	(void)state;
	for (unsigned i = 0; i < 2 * sizeof(forms) / sizeof(forms[0]); i++) {
		const struct string_form *form = &forms[i / 2];

		point(m, form, ALIAS, directions[i % 2]);
		machine_run(m, form->code, form->size);
		assert_false(m->stopped);
		assert_int_equal(m->emulated, 0);
		expected = m->after;
		memcpy(expected_buffer, buffer, BUFFER_SIZE);
		for (unsigned r = 0; r < 3; r++) {
			if (form->pointers >> r & 1)
				expected.gpr[pointers[r]] += KERNEL - ALIAS;
		}

		point(m, form, KERNEL, directions[i % 2]);
		machine_run(m, form->code, form->size);
		if (m->stopped || memcmp(expected.gpr, m->after.gpr, sizeof(expected.gpr)) != 0)
			print_error("%s, %s\n", form->name, i % 2 ? "down" : "up");
		assert_false(m->stopped);
		assert_int_equal(m->emulated, 2); /* into the stub and out of it */
		assert_int_equal(m->page_updates, 1);
		assert_int_equal(m->last_report_rip, machine_address(m, MACHINE_BODY + form->size));
		assert_memory_equal(expected.gpr, m->after.gpr, sizeof(expected.gpr));
		assert_int_equal(expected.flags, m->after.flags);
		assert_memory_equal(expected_buffer, buffer, BUFFER_SIZE);
	}
	machine_destroy(m);
}

/* The alias may be the driver's other pointer: only what pointed to the kernel's address goes back
 * there. */
static void def43_alias_beside_the_kernel_address(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	fill();
	m->before.gpr[RSI] = ALIAS + 0x200;
	m->before.gpr[RDI] = KERNEL + 0x200;
	m->before.gpr[RCX] = 0x20;
	MACHINE_RUN(m, 0xF3, 0xA6); /* repe cmpsb */
	assert_false(m->stopped);
	assert_int_equal(m->after.gpr[RCX], 0);
	assert_int_equal(m->after.gpr[RSI], ALIAS + 0x220);
	assert_int_equal(m->after.gpr[RDI], KERNEL + 0x220);
	m->before.gpr[RSI] = KERNEL + 0x200; /* the same instruction, the other way round */
	m->before.gpr[RDI] = ALIAS + 0x200;
	MACHINE_RUN(m, 0xF3, 0xA6);
	assert_false(m->stopped);
	assert_int_equal(m->after.gpr[RSI], KERNEL + 0x220);
	assert_int_equal(m->after.gpr[RDI], ALIAS + 0x220);
	machine_destroy(m);
}

static void assert_violation(const struct machine *m, uint64_t address, bool write)
{
	assert_true(m->stopped);
	assert_int_equal(m->result, EMULATE_EXCEPTION);
	assert_int_equal(m->report.exception, EMULATE_ACCESS_VIOLATION);
	assert_int_equal(m->report.address, address);
	assert_int_equal(m->report.write, write);
	assert_int_equal(m->report.rip, machine_address(m, MACHINE_BODY));
	assert_int_equal(m->stop_rip, machine_address(m, MACHINE_BODY));
}

static void def43_reads_past_the_page_are_access_violations(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	fill();
	m->before.gpr[RBX] = KERNEL + 0xFFC; /* mov rax, [rbx] */
	MACHINE_RUN(m, 0x48, 0x8B, 0x03);
	assert_violation(m, KERNEL + 0x1000, false);
	assert_memory_equal(m->after.gpr, m->before.gpr, sizeof(m->after.gpr));

	m->before.gpr[RBX] = KERNEL + 0xFF1; /* movdqu xmm0, [rbx] */
	MACHINE_RUN(m, 0xF3, 0x0F, 0x6F, 0x03);
	assert_violation(m, KERNEL + 0x1000, false);

	m->before.gpr[RSI] = KERNEL + 0xFF8; /* rep movsb: done as far as it goes */
	m->before.gpr[RDI] = (uint64_t)buffer;
	m->before.gpr[RCX] = 0x20;
	MACHINE_RUN(m, 0xF3, 0xA4);
	assert_violation(m, KERNEL + 0x1000, false);
	assert_int_equal(m->after.gpr[RSI], KERNEL + 0x1000);
	assert_int_equal(m->after.gpr[RDI], (uint64_t)buffer + 8);
	assert_int_equal(m->after.gpr[RCX], 0x18);
	assert_memory_equal(buffer, (void *)(ALIAS + 0xFF8), 8);

	m->before.gpr[RSI] = KERNEL + 8; /* std; rep lodsq: the other end */
	m->before.gpr[RCX] = 4;
	m->before.flags = MACHINE_FLAGS | DIRECTION_FLAG;
	MACHINE_RUN(m, 0xF3, 0x48, 0xAD);
	assert_violation(m, KERNEL - 8, false);
	assert_int_equal(m->after.gpr[RSI], KERNEL - 8);
	assert_int_equal(m->after.gpr[RCX], 2);
	machine_destroy(m);
}

/* A fault on the other operand, inside the stub: not ours, and after the restore the driver's own
 * registers. */
static void def43_fault_on_the_other_operand(void **state)
{
	struct machine *m = machine_create();
	ucontext_t uc = {0};
	uint64_t original;

	(void)state;
	fill();
	m->before.gpr[RSI] = KERNEL + 0x10;
	m->before.gpr[RDI] = (uint64_t)buffer + BUFFER_SIZE - 4;
	m->before.gpr[RCX] = 0x10;
	MACHINE_RUN(m, 0xF3, 0xA4);
	assert_true(m->stopped);
	assert_int_equal(m->result, EMULATE_NOT_OURS);
	assert_false(m->context_changed);
	assert_int_equal(m->fault.address, buffer + BUFFER_SIZE);
	assert_true(emulate_stub_lookup(m->stop_rip, &original));
	assert_int_equal(original, machine_address(m, MACHINE_BODY));
	uc.uc_mcontext.gregs[REG_RIP] = (greg_t)m->stop_rip;
	uc.uc_mcontext.gregs[REG_RSI] = (greg_t)m->after.gpr[RSI];
	uc.uc_mcontext.gregs[REG_RDI] = (greg_t)m->after.gpr[RDI];
	assert_true(emulate_stub_restore(&uc));
	assert_int_equal(uc.uc_mcontext.gregs[REG_RIP], original);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RSI], KERNEL + 0x14);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RDI], buffer + BUFFER_SIZE);
	assert_false(emulate_stub_restore(&uc));
	machine_destroy(m);
}

static const struct {
	const char *name;
	unsigned size;
	unsigned char code[12];
} stores[] = {
	/* RBX = RDI = the page */
	{"mov [rbx], eax", CODE(0x89, 0x03)},
	{"mov [rbx], al", CODE(0x88, 0x03)},
	{"mov qword [rbx], 1", CODE(0x48, 0xC7, 0x03, 1, 0, 0, 0)},
	{"add [rbx], rax", CODE(0x48, 0x01, 0x03)},
	{"inc dword [rbx]", CODE(0xFF, 0x03)},
	{"lock or dword [rbx], 1", CODE(0xF0, 0x83, 0x0B, 0x01)},
	{"xchg [rbx], rax", CODE(0x48, 0x87, 0x03)},
	{"lock cmpxchg [rbx], rcx", CODE(0xF0, 0x48, 0x0F, 0xB1, 0x0B)},
	{"lock xadd [rbx], rcx", CODE(0xF0, 0x48, 0x0F, 0xC1, 0x0B)},
	{"bts dword [rbx], 1", CODE(0x0F, 0xBA, 0x2B, 0x01)},
	{"sete [rbx]", CODE(0x0F, 0x94, 0x03)},
	{"pop qword [rbx]", CODE(0x8F, 0x03)},
	{"movdqu [rbx], xmm0", CODE(0xF3, 0x0F, 0x7F, 0x03)},
	{"movnti [rbx], eax", CODE(0x0F, 0xC3, 0x03)},
	{"stosd", CODE(0xAB)},
	{"rep stosb", CODE(0xF3, 0xAA)},
	{"mov [moffs], eax", CODE(0xA3, 0, 0, 0, 0, 0x80, 0xF7, 0xFF, 0xFF)},
	{"mov [moffs], al", CODE(0xA2, 0, 0, 0, 0, 0x80, 0xF7, 0xFF, 0xFF)},
	{"movsb from the stack", CODE(0xA4)},
};

static void def43_stores_are_access_violations(void **state)
{
	struct machine *m = machine_create();
	unsigned char before[SHARED_PAGE_SIZE];

	(void)state;
	fill();
	memcpy(before, shared_page_bytes(), sizeof(before));
	m->before.gpr[RBX] = KERNEL;
	m->before.gpr[RDI] = KERNEL;
	m->before.gpr[RSI] = (uint64_t)m->stack;
	m->before.gpr[RCX] = 5;
	for (unsigned i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
		machine_run(m, stores[i].code, stores[i].size);
		if (!m->stopped || m->result != EMULATE_EXCEPTION)
			print_error("%s\n", stores[i].name);
		assert_violation(m, KERNEL, true);
		assert_false(m->context_changed);
		assert_memory_equal(m->after.gpr, m->before.gpr, sizeof(m->after.gpr));
	}
	m->before.gpr[RSP] = KERNEL + 8; /* push rax */
	MACHINE_RUN(m, 0x50);
	assert_violation(m, KERNEL, true);
	m->before.gpr[RSI] = KERNEL + 0x40; /* movsb, page to page: the store is what fails */
	m->before.gpr[RDI] = KERNEL + 0x80;
	MACHINE_RUN(m, 0xA4);
	assert_violation(m, KERNEL + 0x80, true);
	assert_memory_equal(before, shared_page_bytes(), sizeof(before));
	machine_destroy(m);
}

static void def43_absolute_loads(void **state)
{
	static const struct {
		unsigned size, bytes;
		unsigned char code[12];
	} loads[] = {
		{1, CODE(0xA0, 0x60, 2, 0, 0, 0x80, 0xF7, 0xFF, 0xFF)},
		{2, CODE(0x66, 0xA1, 0x60, 2, 0, 0, 0x80, 0xF7, 0xFF, 0xFF)},
		{4, CODE(0xA1, 0x60, 2, 0, 0, 0x80, 0xF7, 0xFF, 0xFF)},
		{8, CODE(0x48, 0xA1, 0x60, 2, 0, 0, 0x80, 0xF7, 0xFF, 0xFF)},
	};
	struct machine *m = machine_create();

	(void)state;
	fill();
	for (unsigned i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
		uint64_t expected = loads[i].size >= 4 ? 0 : m->before.gpr[RAX];

		memcpy(&expected, shared_page_bytes() + 0x260, loads[i].size);
		machine_run(m, loads[i].code, loads[i].bytes);
		assert_false(m->stopped);
		assert_int_equal(m->emulated, 1);
		assert_int_equal(m->after.gpr[RAX], expected);
	}
	machine_destroy(m);
}

/* BT with a register reaches bits far from its operand: the address is not the one in the
 * instruction. */
static void def43_bit_strings(void **state)
{
	static const int64_t bits[] = {0, 63, 64, 1000, 0x3FFF, -1, -64, -1000};
	struct machine *m = machine_create();

	(void)state;
	fill();
	for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		uint64_t flags;

		m->before.gpr[RCX] = (uint64_t)bits[i];
		m->before.gpr[RBX] = ALIAS + 0x800;
		MACHINE_RUN(m, 0x48, 0x0F, 0xA3, 0x0B); /* bt [rbx], rcx */
		assert_int_equal(m->emulated, 0);
		flags = m->after.flags;
		m->before.gpr[RBX] = KERNEL + 0x800;
		MACHINE_RUN(m, 0x48, 0x0F, 0xA3, 0x0B);
		assert_false(m->stopped);
		assert_int_equal(m->emulated, 1);
		assert_int_equal(m->after.flags, flags);
	}
	m->before.gpr[RCX] = 0x800 * 8; /* from the middle to just behind the page */
	MACHINE_RUN(m, 0x48, 0x0F, 0xA3, 0x0B);
	assert_true(m->stopped);
	assert_int_equal(m->result, EMULATE_NOT_OURS);
	machine_destroy(m);
}

static void def43_jump_x87_and_mmx_through_the_page(void **state)
{
	struct machine *m = machine_create();
	uint64_t target = machine_address(m, MACHINE_BODY + 4),
		 value = 0x3FF8000000000000; /* 1.5 */

	(void)state;
	fill();
	memcpy(shared_page_bytes() + 0x400, &target, sizeof(target));
	memcpy(shared_page_bytes() + 0x408, &value, sizeof(value));
	m->before.gpr[RBX] = KERNEL + 0x400;
	MACHINE_RUN(m, 0xFF, 0x23, 0xF4, 0xF4, 0x90); /* jmp [rbx]; hlt; hlt; nop */
	assert_false(m->stopped);
	assert_int_equal(m->emulated, 1);
	/* fld qword [rbx + 8]; fstp qword [rsp] */
	MACHINE_RUN(m, 0xDD, 0x43, 0x08, 0xDD, 0x1C, 0x24);
	assert_false(m->stopped);
	assert_memory_equal((void *)m->before.gpr[RSP], &value, sizeof(value));
	/* movq mm3, [rbx + 8]; movq rax, mm3; emms */
	MACHINE_RUN(m, 0x0F, 0x6F, 0x5B, 0x08, 0x48, 0x0F, 0x7E, 0xD8, 0x0F, 0x77);
	assert_false(m->stopped);
	assert_int_equal(m->after.gpr[RAX], value);
	machine_destroy(m);
}

static void def43_unsupported_forms_are_refused(void **state)
{
	static const struct {
		unsigned size;
		unsigned char code[16];
	} refused[] = {
		{CODE(0xFF, 0x13)},                         /* call [rbx] */
		{CODE(0xC4, 0xE2, 0x69, 0x90, 0x04, 0x0B)}, /* vpgatherdd xmm0, [rbx+xmm1], xmm2 */
		{CODE(0x66, 0x0F, 0x38, 0xF8, 0x33)},       /* movdir64b rsi, [rbx] */
		{CODE(0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x8B, 0x43, 0x08)},
	};
	struct machine *m = machine_create();

	(void)state;
	m->before.gpr[RBX] = KERNEL + 0x400;
	m->before.gpr[RSI] = (uint64_t)buffer;
	memset(m->before.vector[1], 0, sizeof(m->before.vector[1]));
	memset(m->before.vector[2], 0xFF, sizeof(m->before.vector[2]));
	for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		machine_run(m, refused[i].code, refused[i].size);
		if (m->stopped && m->fault.vector == 6)
			continue; /* not on this processor */
		assert_true(m->stopped);
		assert_int_equal(m->result, EMULATE_UNSUPPORTED);
		assert_int_equal(m->report.class, EMULATE_CLASS_SHARED_PAGE);
		assert_non_null(m->report.what);
		assert_false(m->context_changed);
	}
	machine_destroy(m);
}

static int setup(void **state)
{
	unsigned char *pages =
		mmap(NULL, 3 * BUFFER_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	buffer = pages + BUFFER_SIZE;
	return pages == MAP_FAILED || mprotect(buffer, BUFFER_SIZE, PROT_READ | PROT_WRITE) ||
	       machine_setup(state);
}

static int teardown(void **state)
{
	return machine_teardown(state) || munmap(buffer - BUFFER_SIZE, 3 * BUFFER_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def43_string_instructions_from_the_page),
		cmocka_unit_test(def43_alias_beside_the_kernel_address),
		cmocka_unit_test(def43_reads_past_the_page_are_access_violations),
		cmocka_unit_test(def43_fault_on_the_other_operand),
		cmocka_unit_test(def43_stores_are_access_violations),
		cmocka_unit_test(def43_absolute_loads),
		cmocka_unit_test(def43_bit_strings),
		cmocka_unit_test(def43_jump_x87_and_mmx_through_the_page),
		cmocka_unit_test(def43_unsupported_forms_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
