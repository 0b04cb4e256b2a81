/* SPDX-License-Identifier: MIT */
/* Privileged instructions: CR8, CLI and STI, software interrupts, and what is only named. */
#define _GNU_SOURCE
#include "machine.h"

#include <string.h>
#include <sys/mman.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "port/linux/shared_page.h"

#define INTERRUPT_FLAG 0x200u

/* Every register but `except` (-1: none) and the flags are as they were. */
static void assert_unchanged(const struct machine *m, int except)
{
	for (int i = 0; i < 16; i++) {
		if (i != except)
			assert_int_equal(m->after.gpr[i], m->before.gpr[i]);
	}
	assert_int_equal(m->after.flags, m->before.flags);
	assert_memory_equal(m->after.vector[0], m->before.vector[0], 16);
}

static void assert_stopped(const struct machine *m, enum emulate_result result)
{
	assert_true(m->stopped);
	assert_int_equal(m->result, result);
	assert_false(m->context_changed);
	assert_int_equal(m->emulated, 0);
}

/* mov reg, cr8 (to = 0) or mov cr8, reg (to = 2); extra is or'd to REX, mod replaces ModRM.mod */
static size_t encode_mov_cr8(unsigned char *at, unsigned reg, unsigned to, unsigned extra,
			     unsigned mod)
{
	at[0] = (unsigned char)(0x44 | extra | reg >> 3);
	at[1] = 0x0F;
	at[2] = (unsigned char)(0x20 | to);
	at[3] = (unsigned char)(mod << 6 | (reg & 7));
	return 4;
}

static const struct {
	unsigned extra, mod;
} cr8_forms[] = {{0, 3}, {8, 3}, {2, 3}, {0, 0}, {0, 1}, {0, 2}};

static void def40_plt5_cr8_read_into_each_register(void **state)
{
	struct machine *m = machine_create();
	unsigned char code[4];

	(void)state;
	for (unsigned form = 0; form < sizeof(cr8_forms) / sizeof(cr8_forms[0]); form++) {
		for (unsigned reg = 0; reg < 16; reg++) {
			m->cr8 = (reg + form) & 15;
			machine_run(m, code,
				    encode_mov_cr8(code, reg, 0, cr8_forms[form].extra,
						   cr8_forms[form].mod));
			assert_false(m->stopped);
			assert_int_equal(m->emulated, 1);
			assert_int_equal(m->cr8_reads, 1);
			assert_int_equal(m->cr8_writes, 0);
			assert_int_equal(m->after.gpr[reg], (reg + form) & 15);
			assert_int_equal(m->last_report_rip, machine_address(m, MACHINE_BODY));
			assert_unchanged(m, (int)reg);
		}
	}
	machine_destroy(m);
}

static void def40_plt5_cr8_write_from_each_register(void **state)
{
	struct machine *m = machine_create();
	unsigned char code[4];

	(void)state;
	for (unsigned form = 0; form < sizeof(cr8_forms) / sizeof(cr8_forms[0]); form++) {
		for (unsigned reg = 0; reg < 16; reg++) {
			for (uint64_t value = 0; value < 16; value++) {
				machine_reset(m);
				m->cr8 = value ^ 15;
				m->before.gpr[reg] = value;
				machine_run(m, code,
					    encode_mov_cr8(code, reg, 2, cr8_forms[form].extra,
							   cr8_forms[form].mod));
				assert_false(m->stopped);
				assert_int_equal(m->cr8_writes, 1);
				assert_int_equal(m->cr8, value);
				assert_unchanged(m, -1);
			}
		}
	}
	machine_destroy(m);
}

static void def40_cr8_write_above_15_is_a_protection_fault(void **state)
{
	static const uint64_t values[] = {16, 0x100, 0x1000000000000000u, ~0ull, 1ull << 32};
	struct machine *m = machine_create();
	unsigned char code[4];

	(void)state;
	for (unsigned reg = 0; reg < 16; reg++) {
		for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			machine_reset(m);
			m->before.gpr[reg] = values[i];
			machine_run(m, code, encode_mov_cr8(code, reg, 2, 0, 3));
			assert_stopped(m, EMULATE_EXCEPTION);
			assert_int_equal(m->report.exception, EMULATE_GENERAL_PROTECTION);
			assert_int_equal(m->report.code, values[i]);
			assert_int_equal(m->report.length, 4);
			assert_int_equal(m->report.rip, machine_address(m, MACHINE_BODY));
			assert_int_equal(m->cr8_writes, 0);
		}
	}
	machine_destroy(m);
}

static void def40_cr8_across_pages_and_with_prefixes(void **state)
{
	static const unsigned char read[] = {0x66, 0x44, 0x0F, 0x20, 0xC1};
	struct machine *m = machine_create();

	(void)state;
	m->cr8 = 11;
	for (unsigned i = 0; i <= sizeof(read); i++) {
		machine_run_at(m, 0x2000 - i, read, sizeof(read));
		assert_false(m->stopped);
		assert_int_equal(m->after.gpr[RCX], 11);
		assert_unchanged(m, RCX);
	}
	machine_destroy(m);
}

static void def41_cli_and_sti_set_the_virtual_flag(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	MACHINE_RUN(m, 0xFA);
	assert_false(m->stopped);
	assert_false(m->interrupts);
	assert_int_equal(m->interrupt_writes, 1);
	assert_unchanged(m, -1);
	MACHINE_RUN(m, 0xFB);
	assert_false(m->stopped);
	assert_true(m->interrupts);
	assert_int_equal(m->interrupt_writes, 1);
	assert_unchanged(m, -1);
	machine_destroy(m);
}

/* The limit that the head of emulate.c states: should a host ever trap these, the comment is wrong.
 */
static void def41_pushf_and_popf_do_not_reach_the_virtual_flag(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	/* pushfq; cli; pushfq; pop rcx; popfq */
	MACHINE_RUN(m, 0x9C, 0xFA, 0x9C, 0x59, 0x9D);
	assert_false(m->stopped);
	assert_int_equal(m->after.gpr[RCX] & INTERRUPT_FLAG, INTERRUPT_FLAG);
	assert_int_equal(m->interrupt_writes, 1);
	assert_false(m->interrupts);
	machine_destroy(m);
}

static void def328_int_29_is_a_fast_fail(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	m->before.gpr[RCX] = 0xFFFFFFFF00000003; /* only ECX counts */
	MACHINE_RUN(m, 0xCD, 0x29);
	assert_stopped(m, EMULATE_EXCEPTION);
	assert_int_equal(m->fault.error_code, 0x14A);
	assert_int_equal(m->report.exception, EMULATE_FAST_FAIL);
	assert_int_equal(m->report.code, 3);
	assert_int_equal(m->report.rip, machine_address(m, MACHINE_BODY));
	assert_int_equal(m->report.length, 2);
	machine_destroy(m);
}

static void def338_assertions_breakpoints_and_debug_services(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	MACHINE_RUN(m, 0xCD, 0x2C);
	assert_stopped(m, EMULATE_EXCEPTION);
	assert_int_equal(m->report.exception, EMULATE_ASSERTION);
	assert_int_equal(m->report.rip, machine_address(m, MACHINE_BODY));

	m->before.gpr[RAX] = 0xABCD000000000001;
	MACHINE_RUN(m, 0xCD, 0x2D);
	assert_stopped(m, EMULATE_EXCEPTION);
	assert_int_equal(m->report.exception, EMULATE_DEBUG_SERVICE);
	assert_int_equal(m->report.code, 1);

	MACHINE_RUN(m, 0xCC);
	assert_stopped(m, EMULATE_EXCEPTION);
	assert_int_equal(m->report.exception, EMULATE_BREAKPOINT);
	assert_int_equal(m->report.rip, machine_address(m, MACHINE_BODY));
	assert_int_equal(m->report.length, 1);
	assert_int_equal(m->stop_rip, machine_address(m, MACHINE_BODY + 1));

	MACHINE_RUN(m, 0x90, 0xCD, 0x03);
	assert_stopped(m, EMULATE_EXCEPTION);
	assert_int_equal(m->report.exception, EMULATE_BREAKPOINT);
	assert_int_equal(m->report.rip, machine_address(m, MACHINE_BODY + 1));
	assert_int_equal(m->report.length, 2);
	machine_destroy(m);
}

#define PRIVILEGED(name, group, operand, writes, ...)                                              \
	{                                                                                          \
		name, EMULATE_CLASS_##group, operand, writes,                                      \
			sizeof((unsigned char[]){__VA_ARGS__}),                                    \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}
#define NO_OPERAND (-1)

/* RCX = C0000101h, RDX = 64h, RBX = a readable address; instructions that fault in every process.
 */
static const struct {
	const char *name;
	enum emulate_class class;
	int64_t operand;
	bool write;
	unsigned size;
	unsigned char code[8];
} privileged[] = {
	PRIVILEGED("RDMSR", MSR, 0xC0000101, false, 0x0F, 0x32),
	PRIVILEGED("WRMSR", MSR, 0xC0000101, true, 0x0F, 0x30),
	PRIVILEGED("RDPMC", PERFORMANCE_COUNTER, 0xC0000101, false, 0x0F, 0x33),
	PRIVILEGED("XSETBV", EXTENDED_STATE, 0xC0000101, true, 0x0F, 0x01, 0xD1),
	PRIVILEGED("IN", PORT_IO, 0x64, false, 0xEC),
	PRIVILEGED("IN", PORT_IO, 0x64, false, 0x66, 0xED),
	PRIVILEGED("IN", PORT_IO, 0x64, false, 0xED),
	PRIVILEGED("IN", PORT_IO, 0x71, false, 0xE4, 0x71),
	PRIVILEGED("OUT", PORT_IO, 0x64, true, 0xEE),
	PRIVILEGED("OUT", PORT_IO, 0x64, true, 0xEF),
	PRIVILEGED("OUT", PORT_IO, 0x70, true, 0xE6, 0x70),
	PRIVILEGED("INSB", PORT_IO, 0x64, false, 0xF3, 0x6C),
	PRIVILEGED("INSD", PORT_IO, 0x64, false, 0x6D),
	PRIVILEGED("OUTSB", PORT_IO, 0x64, true, 0xF3, 0x6E),
	PRIVILEGED("OUTSW", PORT_IO, 0x64, true, 0x66, 0x6F),
	PRIVILEGED("LGDT", DESCRIPTOR_TABLE, NO_OPERAND, true, 0x0F, 0x01, 0x13),
	PRIVILEGED("LIDT", DESCRIPTOR_TABLE, NO_OPERAND, true, 0x0F, 0x01, 0x1B),
	PRIVILEGED("LLDT", DESCRIPTOR_TABLE, NO_OPERAND, true, 0x0F, 0x00, 0xD0),
	PRIVILEGED("LTR", DESCRIPTOR_TABLE, NO_OPERAND, true, 0x0F, 0x00, 0xD8),
	PRIVILEGED("LMSW", CONTROL_REGISTER, NO_OPERAND, true, 0x0F, 0x01, 0xF0),
	PRIVILEGED("CLTS", CONTROL_REGISTER, NO_OPERAND, true, 0x0F, 0x06),
	PRIVILEGED("MOV FROM CR0", CONTROL_REGISTER, 0, false, 0x0F, 0x20, 0xC0),
	PRIVILEGED("MOV FROM CR2", CONTROL_REGISTER, 2, false, 0x0F, 0x20, 0xD0),
	PRIVILEGED("MOV FROM CR3", CONTROL_REGISTER, 3, false, 0x41, 0x0F, 0x20, 0xD9),
	PRIVILEGED("MOV TO CR3", CONTROL_REGISTER, 3, true, 0x0F, 0x22, 0xD8),
	PRIVILEGED("MOV TO CR4", CONTROL_REGISTER, 4, true, 0x0F, 0x22, 0xE0),
	PRIVILEGED("MOV FROM DR7", DEBUG_REGISTER, 7, false, 0x0F, 0x21, 0xF8),
	PRIVILEGED("MOV TO DR0", DEBUG_REGISTER, 0, true, 0x0F, 0x23, 0xC0),
	PRIVILEGED("INVD", CACHE_TLB, NO_OPERAND, false, 0x0F, 0x08),
	PRIVILEGED("WBINVD", CACHE_TLB, NO_OPERAND, false, 0x0F, 0x09),
	PRIVILEGED("INVLPG", CACHE_TLB, NO_OPERAND, false, 0x0F, 0x01, 0x3B),
	PRIVILEGED("INVPCID", CACHE_TLB, NO_OPERAND, false, 0x66, 0x0F, 0x38, 0x82, 0x03),
	PRIVILEGED("VMXON", VIRTUALIZATION, NO_OPERAND, false, 0xF3, 0x0F, 0xC7, 0x33),
	PRIVILEGED("VMXOFF", VIRTUALIZATION, NO_OPERAND, false, 0x0F, 0x01, 0xC4),
	PRIVILEGED("VMLAUNCH", VIRTUALIZATION, NO_OPERAND, false, 0x0F, 0x01, 0xC2),
	PRIVILEGED("VMRESUME", VIRTUALIZATION, NO_OPERAND, false, 0x0F, 0x01, 0xC3),
	PRIVILEGED("VMPTRLD", VIRTUALIZATION, NO_OPERAND, false, 0x0F, 0xC7, 0x33),
	PRIVILEGED("VMREAD", VIRTUALIZATION, NO_OPERAND, false, 0x0F, 0x78, 0xC8),
	PRIVILEGED("VMWRITE", VIRTUALIZATION, NO_OPERAND, true, 0x0F, 0x79, 0xC8),
	PRIVILEGED("VMRUN", VIRTUALIZATION, NO_OPERAND, false, 0x0F, 0x01, 0xD8),
	PRIVILEGED("VMLOAD", VIRTUALIZATION, NO_OPERAND, false, 0x0F, 0x01, 0xDA),
	PRIVILEGED("STGI", VIRTUALIZATION, NO_OPERAND, false, 0x0F, 0x01, 0xDC),
	PRIVILEGED("CLGI", VIRTUALIZATION, NO_OPERAND, false, 0x0F, 0x01, 0xDD),
	PRIVILEGED("INVEPT", VIRTUALIZATION, NO_OPERAND, false, 0x66, 0x0F, 0x38, 0x80, 0x03),
	PRIVILEGED("HLT", SYSTEM, NO_OPERAND, false, 0xF4),
	PRIVILEGED("SWAPGS", SYSTEM, NO_OPERAND, false, 0x0F, 0x01, 0xF8),
	PRIVILEGED("SYSRET", SYSTEM, NO_OPERAND, false, 0x48, 0x0F, 0x07),
	PRIVILEGED("SYSEXIT", SYSTEM, NO_OPERAND, false, 0x0F, 0x35),
	PRIVILEGED("MONITOR", SYSTEM, NO_OPERAND, false, 0x0F, 0x01, 0xC8),
	PRIVILEGED("MWAIT", SYSTEM, NO_OPERAND, false, 0x0F, 0x01, 0xC9),
	PRIVILEGED("STAC", SYSTEM, NO_OPERAND, false, 0x0F, 0x01, 0xCB),
	PRIVILEGED("CLAC", SYSTEM, NO_OPERAND, false, 0x0F, 0x01, 0xCA),
	PRIVILEGED("RSM", SYSTEM, NO_OPERAND, false, 0x0F, 0xAA),
	PRIVILEGED("IRETQ", SYSTEM, NO_OPERAND, false, 0x48, 0xCF),
	PRIVILEGED("INT", INTERRUPT, 0x20, false, 0xCD, 0x20),
	PRIVILEGED("INT", INTERRUPT, 0x2E, false, 0xCD, 0x2E),
	PRIVILEGED("INT", INTERRUPT, 2, false, 0xCD, 0x02),
};

static void def26_privileged_instructions_are_named(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	m->before.gpr[RCX] = 0xC0000101;
	m->before.gpr[RDX] = 0x64;
	m->before.gpr[RBX] = (uint64_t)m->stack;
	memset(m->stack, 0, sizeof(m->stack)); /* IRETQ to selector 0 */
	for (unsigned i = 0; i < sizeof(privileged) / sizeof(privileged[0]); i++) {
		machine_run(m, privileged[i].code, privileged[i].size);
		if (!m->stopped || m->result != EMULATE_UNSUPPORTED)
			print_error("%s\n", privileged[i].name);
		assert_stopped(m, EMULATE_UNSUPPORTED);
		assert_string_equal(m->report.what, privileged[i].name);
		assert_int_equal(m->report.class, privileged[i].class);
		assert_int_equal(m->report.write, privileged[i].write);
		assert_int_equal(m->report.length, privileged[i].size);
		assert_int_equal(m->report.rip, machine_address(m, MACHINE_BODY));
		assert_int_equal(m->report.has_operand, privileged[i].operand != NO_OPERAND);
		if (m->report.has_operand)
			assert_int_equal(m->report.operand, privileged[i].operand);
		assert_string_not_equal(emulate_class_name(m->report.class), "none");
	}
	machine_destroy(m);
}

/* SGDT and its like run without UMIP, and with it most kernels answer for them: so the fault is
 * made up. */
static void def26_umip_instructions_are_named_if_they_fault(void **state)
{
	static const struct {
		const char *name;
		unsigned char code[16];
	} forms[] = {
		{"SGDT", {0x0F, 0x01, 0x03}}, {"SIDT", {0x0F, 0x01, 0x0B}},
		{"SLDT", {0x0F, 0x00, 0xC0}}, {"STR", {0x0F, 0x00, 0xC8}},
		{"SMSW", {0x0F, 0x01, 0xE0}},
	};
	static const struct emulate_fault fault = {.vector = 13};
	struct emulate_report report;
	ucontext_t uc = {0};

	(void)state;
	uc.uc_mcontext.gregs[REG_CSGSFS] = 0x33;
	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		uc.uc_mcontext.gregs[REG_RIP] = (greg_t)forms[i].code;
		assert_int_equal(emulate_instruction(&uc, &fault, NULL, NULL, &report),
				 EMULATE_UNSUPPORTED);
		assert_string_equal(report.what, forms[i].name);
		assert_int_equal(report.length, 3);
	}
}

static void plt6_other_faults_are_not_ours(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	m->before.gpr[RAX] = 0x8000000000000000; /* mov rcx, [rax], not canonical: #GP */
	MACHINE_RUN(m, 0x48, 0x8B, 0x08);
	assert_stopped(m, EMULATE_NOT_OURS);
	m->before.gpr[RAX] = 16; /* the same, page 0 */
	MACHINE_RUN(m, 0x48, 0x8B, 0x08);
	assert_stopped(m, EMULATE_NOT_OURS);
	m->before.gpr[RAX] = SHARED_PAGE_KERNEL - 8; /* and around the shared page */
	MACHINE_RUN(m, 0x48, 0x8B, 0x08);
	assert_stopped(m, EMULATE_NOT_OURS);
	m->before.gpr[RAX] = SHARED_PAGE_KERNEL + SHARED_PAGE_SIZE;
	MACHINE_RUN(m, 0x48, 0x8B, 0x08);
	assert_stopped(m, EMULATE_NOT_OURS);
	MACHINE_RUN(m, 0x0F, 0x0B); /* ud2 */
	assert_stopped(m, EMULATE_NOT_OURS);
	m->before.gpr[RAX] = 0x8000000000000000; /* jmp rax */
	MACHINE_RUN(m, 0xFF, 0xE0);
	assert_stopped(m, EMULATE_NOT_OURS);
	m->before.gpr[RAX] = SHARED_PAGE_KERNEL;
	MACHINE_RUN(m, 0xFF, 0xE0);
	assert_stopped(m, EMULATE_NOT_OURS);
	m->before.gpr[RAX] = SHARED_PAGE_USER; /* mapped, not executable */
	MACHINE_RUN(m, 0xFF, 0xE0);
	assert_stopped(m, EMULATE_NOT_OURS);
	MACHINE_RUN(m, 0x31, 0xC9, 0x31, 0xD2, 0xF7, 0xF1); /* xor ecx,ecx; xor edx,edx; div ecx */
	assert_stopped(m, EMULATE_NOT_OURS);
	machine_destroy(m);
}

/* Some processors report such a jump at its target: nothing is to be read there. Nor in 32-bit
 * code. */
static void plt6_contexts_that_are_not_looked_into(void **state)
{
	static const struct emulate_fault fault = {.vector = 13};
	struct emulate_report report;
	ucontext_t uc = {0};

	(void)state;
	uc.uc_mcontext.gregs[REG_CSGSFS] = 0x33;
	uc.uc_mcontext.gregs[REG_RIP] = (greg_t)0x8000000000000000;
	assert_int_equal(emulate_instruction(&uc, &fault, NULL, NULL, &report), EMULATE_NOT_OURS);
	uc.uc_mcontext.gregs[REG_CSGSFS] = 0x23;
	uc.uc_mcontext.gregs[REG_RIP] = 0x1000;
	assert_int_equal(emulate_instruction(&uc, &fault, NULL, NULL, &report), EMULATE_NOT_OURS);
}

/* An illegal instruction at the end of a page is not read past it. */
static void plt5_illegal_instruction_before_an_unmapped_page(void **state)
{
	struct machine *m = machine_create();
	static const unsigned char illegal[] = {0x0F, 0xFF}; /* UD0: may have a ModRM byte */

	(void)state;
	assert_int_equal(mprotect(m->code + 0x2000, 0x1000, PROT_NONE), 0);
	memcpy(m->code + 0x1FFE, illegal, sizeof(illegal));
	m->before.gpr[RAX] = machine_address(m, 0x1FFE);
	MACHINE_RUN(m, 0xFF, 0xE0);
	assert_stopped(m, EMULATE_NOT_OURS);
	machine_destroy(m);
}

static void def26_hard_coded_addresses_have_names(void **state)
{
	(void)state;
	assert_string_equal(emulate_address_name(0xFFFFFFFFFFFE00B0), "the local APIC");
	assert_string_equal(emulate_address_name(0xFFFFF6FB7DBED000), "the page tables' self-map");
	assert_string_equal(emulate_address_name(0xFEE00020),
			    "the physical address of the local APIC");
	assert_string_equal(emulate_address_name(0xFFFFF80000001000),
			    "the Windows kernel's image range");
	assert_null(emulate_address_name(0x7FFE0000));
	assert_null(emulate_address_name(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def40_plt5_cr8_read_into_each_register),
		cmocka_unit_test(def40_plt5_cr8_write_from_each_register),
		cmocka_unit_test(def40_cr8_write_above_15_is_a_protection_fault),
		cmocka_unit_test(def40_cr8_across_pages_and_with_prefixes),
		cmocka_unit_test(def41_cli_and_sti_set_the_virtual_flag),
		cmocka_unit_test(def41_pushf_and_popf_do_not_reach_the_virtual_flag),
		cmocka_unit_test(def328_int_29_is_a_fast_fail),
		cmocka_unit_test(def338_assertions_breakpoints_and_debug_services),
		cmocka_unit_test(def26_privileged_instructions_are_named),
		cmocka_unit_test(def26_umip_instructions_are_named_if_they_fault),
		cmocka_unit_test(plt6_other_faults_are_not_ours),
		cmocka_unit_test(plt6_contexts_that_are_not_looked_into),
		cmocka_unit_test(plt5_illegal_instruction_before_an_unmapped_page),
		cmocka_unit_test(def26_hard_coded_addresses_have_names),
	};

	return cmocka_run_group_tests(tests, machine_setup, machine_teardown);
}
