/* SPDX-License-Identifier: MIT */
/*
 * entry_test: the whole DDI table. Every function's binding stub is run at every IRQL, one
 * instruction at a time, until it either arrives at the function (the call would be made) or at
 * vf_ddi_entry (it would be judged first); neither is executed. So the limits that are compiled
 * into the stubs are proven without calling anything (VER-24). Then the rows against the documents'
 * lists.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <cmocka.h>
#include "rtl/rtl.h"
#include "tests/vf/fake_processor.h"
#include "vf/vf_internal.h"

/* ---- One step after the other ---- */

static const struct ddi *stepped;
static sigjmp_buf arrived;
enum { STEPPING, CALLED, JUDGED, LOST };
static uint32_t judged_index;
static unsigned steps;

static void step(int number, siginfo_t *info, void *context)
{
	const greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	uint64_t rip = (uint64_t)registers[REG_RIP];
	(void)number, (void)info;
	if (rip == (uint64_t)stepped->function)
		siglongjmp(arrived, CALLED);
	if (rip == (uint64_t)vf_ddi_entry) {
		judged_index = (uint32_t)registers[REG_RDI];
		siglongjmp(arrived, JUDGED);
	}
	if (++steps > 500)
		siglongjmp(arrived, LOST);
}

__attribute__((noinline)) static int walk(const struct ddi *ddi, void *entry)
{
	stepped = ddi;
	steps = 0;
	fake_thread.records = NULL;
	int how = sigsetjmp(arrived, 1);
	if (how != STEPPING)
		return how;
	__asm__ volatile("leaq -0x400(%%rsp), %%rsp\n\t"
			 "pushfq\n\t"
			 "orq $0x100, (%%rsp)\n\t"
			 "popfq\n\t"
			 "call *%0\n\t"
			 :
			 : "r"(entry)
			 : "memory");
	return LOST;
}

static int setup(void **state)
{
	struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO | SA_NODEFER};
	(void)state;
	fake_processor_begin();
	return sigaction(SIGTRAP, &action, NULL);
}

static void ver24_every_stub(void **state)
{
	(void)state;
	uint32_t functions = 0;
	for (uint32_t index = 0; index < ddi_count; index++) {
		const struct ddi *ddi = &ddi_table[index];
		if (ddi->data)
			continue;
		functions++;
		for (KIRQL irql = 0; irql <= HIGH_LEVEL; irql++) {
			bool out = irql < ddi->irql_min || irql > ddi->irql_max;
			fake_processor.irql = irql;
			int how = walk(ddi, ddi->entry_checked);
			if (how != CALLED && how != JUDGED)
				fail_msg("%s at %u: the stub leads nowhere", ddi->name, irql);
			if (out && how != JUDGED)
				fail_msg("%s at %u: not judged", ddi->name, irql);
			/* A function for any IRQL that is not on the list for NMI callbacks may be
			 * looked at there. */
			bool may_look = irql == HIGH_LEVEL && !(ddi->flags & DDI_NMI);
			if (!out && how == JUDGED && !may_look)
				fail_msg("%s at %u: judged although legal", ddi->name, irql);
			if (how == JUDGED && judged_index != index)
				fail_msg("%s: judged as row %u, is %u", ddi->name, judged_index,
					 index);
			assert_int_equal(walk(ddi, ddi->entry), CALLED);
		}
	}
	print_message("%u functions at 16 IRQLs\n", functions);
	assert_true(functions > 500);
}

/* And what is judged is found to be right or wrong as the row says. */
static void ver24_every_judgement(void **state)
{
	(void)state;
	for (uint32_t index = 0; index < ddi_count; index++) {
		const struct ddi *ddi = &ddi_table[index];
		for (KIRQL irql = 0; irql <= HIGH_LEVEL; irql++) {
			enum vf_rule rule;
			bool out = irql < ddi->irql_min || irql > ddi->irql_max;
			bool judged = !ddi->data && !vf_rule_in_function((enum vf_rule)ddi->rule);
			assert_int_equal(vf_ddi_judge(ddi, irql, false, &rule), out && judged);
		}
	}
}

static void rows_are_sane(void **state)
{
	(void)state;
	for (uint32_t index = 0; index < ddi_count; index++) {
		const struct ddi *ddi = &ddi_table[index];
		assert_true(ddi->irql_min <= ddi->irql_max && ddi->irql_max <= HIGH_LEVEL);
		assert_true(ddi->rule < VF_RULE_COUNT);
		assert_non_null(ddi->function);
		for (uint32_t other = index + 1; other < ddi_count; other++) {
			if (!strcmp(ddi->name, ddi_table[other].name) &&
			    ddi->module == ddi_table[other].module)
				fail_msg("%s has two rows", ddi->name);
		}
		/* NMI-32 and NMI-33: what is allowed in an NMI callback is legal at HIGH_LEVEL. */
		if ((ddi->flags & DDI_NMI) && ddi->irql_max != HIGH_LEVEL)
			fail_msg("%s is allowed in NMI callbacks but limited to %u", ddi->name,
				 ddi->irql_max);
	}
}

/* ---- The documents' lists (section 2 of verifier.md) ---- */

static const struct {
	const char *name;
	enum vf_rule rule;
	KIRQL min, max;
} documented[] = {
#define ROW(name, rule, min, max) {#name, VF_##rule, min, max},
#include "tests/vf/rules.inc"
#undef ROW
};

static const struct ddi *find(const char *name)
{
	const struct ddi *ddi = ddi_find(DDI_NTOSKRNL, name);
	return ddi ? ddi : ddi_find(DDI_HAL, name);
}

static void ver5_to_ver21_rows(void **state)
{
	(void)state;
	unsigned present = 0;
	bool wrong = false;
	for (size_t i = 0; i < sizeof documented / sizeof documented[0]; i++) {
		const struct ddi *ddi = find(documented[i].name);
		if (!ddi)
			continue;
		present++;
		if (ddi->rule == documented[i].rule && ddi->irql_min == documented[i].min &&
		    ddi->irql_max == documented[i].max)
			continue;
		wrong = true;
		print_error("%s: row says %s [%u, %u], the rule's page %s [%u, %u]\n", ddi->name,
			    vf_rule_name((enum vf_rule)ddi->rule), ddi->irql_min, ddi->irql_max,
			    vf_rule_name(documented[i].rule), documented[i].min, documented[i].max);
	}
	assert_false(wrong);
	print_message("%u of %zu documented rows are present\n", present,
		      sizeof documented / sizeof documented[0]);
	assert_true(present >= 90);
}

static const char *const storport[] = {
#include "tests/vf/storport.inc"
};

/* The import's name of a routine that the list knows by its macro. */
static const char *documented_name(const char *import)
{
	static const char *const macros[][2] = {
		{"IofCallDriver", "IoCallDriver"},
		{"IofCompleteRequest", "IoCompleteRequest"},
		{"ObfDereferenceObject", "ObDereferenceObject"},
		{"ObfReferenceObject", "ObReferenceObject"},
		{"ObfDereferenceObjectWithTag", "ObDereferenceObjectWithTag"},
		{"ObfReferenceObjectWithTag", "ObReferenceObjectWithTag"},
		{"KfRaiseIrql", "KeRaiseIrql"},
		{"WdmlibIoCreateDeviceSecure", "IoCreateDeviceSecure"},
	};
	for (size_t i = 0; i < sizeof macros / sizeof macros[0]; i++) {
		if (!strcmp(import, macros[i][0]))
			return macros[i][1];
	}
	return import;
}

static void ver74_storport_flags(void **state)
{
	(void)state;
	bool wrong = false;
	assert_int_equal(sizeof storport / sizeof storport[0], 352);
	for (uint32_t index = 0; index < ddi_count; index++) {
		const struct ddi *ddi = &ddi_table[index];
		const char *name = documented_name(ddi->name);
		bool listed = false;
		for (size_t i = 0; i < sizeof storport / sizeof storport[0]; i++)
			listed = listed || !strcmp(name, storport[i]);
		if (ddi->data || listed == !!(ddi->flags & DDI_STORPORT))
			continue;
		wrong = true;
		print_error("%s: %s on the list\n", ddi->name,
			    listed ? "not flagged, but" : "flagged, but not");
	}
	assert_false(wrong);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ver24_every_stub),     cmocka_unit_test(ver24_every_judgement),
		cmocka_unit_test(rows_are_sane),        cmocka_unit_test(ver5_to_ver21_rows),
		cmocka_unit_test(ver74_storport_flags),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
