/* SPDX-License-Identifier: MIT */
/*
 * Processor change callbacks over a fake core: what cannot be staged in a machine: no memory for a
 * registration (PRC-23), a host that has no thread for the processor (PRC-37).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "ke/internal.h"
#include "ke/processor_change.h"
#include "ke/walk.h"
#include "tests/ke/fake_core.h"

/* ---- The core around it ---- */

struct ke_processor *ke_processors[KE_MAXIMUM_PROCESSORS];
uint32_t ke_processor_maximum = 4;
_Atomic uint32_t ke_processor_count = 2;
_Atomic uint32_t ke_processor_joining = KE_NO_PROCESSOR;
enum vf_mode vf_mode = VF_OFF;
bool vf_strict_processor_veto;
static struct ke_processor processors[4];
static bool has_thread;
static uint32_t prepared;

PROCESSOR_NUMBER ke_processor_number(uint32_t index)
{
	return (PROCESSOR_NUMBER){.Number = (UCHAR)index};
}

void ke_processor_prepare(struct ke_processor *processor, uint32_t index)
{
	processor->index = index;
	prepared++;
}

bool ke_processor_start(struct ke_processor *processor, PKTHREAD idle)
{
	processor->idle = idle;
	return has_thread;
}

void ke_processor_activate(struct ke_processor *processor)
{
	atomic_store(&ke_processor_count, processor->index + 1);
}

void ke_irql_lower(KIRQL irql)
{
	fake_irql_set(irql);
}

void ke_bugcheck(ULONG code, uint64_t p1, uint64_t p2, uint64_t p3, uint64_t p4,
		 const struct ke_bugcheck_detail *detail)
{
	(void)p1, (void)p2, (void)p3, (void)p4, (void)detail;
	fail_msg("bug check 0x%x", code);
	abort();
}

const char *ke_where_driver(uint64_t address)
{
	(void)address;
	return "driver.sys";
}

uint64_t vf_caller(void *return_address)
{
	return (uint64_t)return_address;
}

void vf_report(enum vf_rule rule, const char *ddi, uint64_t caller, uint64_t object,
	       const char *format, ...)
{
	(void)rule, (void)ddi, (void)caller, (void)object, (void)format;
}

void vf_callout_irql(const void *routine, const void *context, KIRQL expected, unsigned id)
{
	(void)routine, (void)context, (void)expected, (void)id;
}

void vf_processor_failed(uint32_t addition, uint32_t processor)
{
	(void)addition, (void)processor;
}

/* ---- The tests ---- */

struct log {
	unsigned count;
	KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT calls[16];
};

static VOID NTAPI on_change(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change,
			    PNTSTATUS status)
{
	struct log *log = context;
	assert_true(log->count < 16);
	assert_int_equal(*status, STATUS_SUCCESS);
	log->calls[log->count++] = *change;
}

static void no_memory_no_call_PRC_23(void **state)
{
	struct log log = {0};
	(void)state;
	fake_no_memory = true;
	assert_null(KeRegisterProcessorChangeCallback(on_change, &log,
						      KE_PROCESSOR_CHANGE_ADD_EXISTING));
	assert_int_equal(log.count, 0);
	fake_no_memory = false;
	void *handle = KeRegisterProcessorChangeCallback(on_change, &log,
							 KE_PROCESSOR_CHANGE_ADD_EXISTING);
	assert_non_null(handle);
	assert_int_equal(log.count, 4);
	KeDeregisterProcessorChangeCallback(handle);
}

static void no_thread_is_a_failure_PRC_37(void **state)
{
	struct log log = {0};
	struct ke_added added;
	KTHREAD *idle = calloc(1, sizeof *idle);
	(void)state;
	void *handle = KeRegisterProcessorChangeCallback(on_change, &log, 0);
	has_thread = false;
	assert_int_equal(ke_processor_add(KE_ADD, idle, &added), STATUS_INSUFFICIENT_RESOURCES);
	assert_false(added.vetoed);
	assert_int_equal(added.index, 2);
	assert_int_equal(log.count, 2);
	assert_int_equal(log.calls[0].State, KeProcessorAddStartNotify);
	assert_int_equal(log.calls[1].State, KeProcessorAddFailureNotify);
	assert_int_equal(log.calls[1].Status, STATUS_INSUFFICIENT_RESOURCES);
	assert_int_equal(ke_processor_count, 2);
	assert_int_equal(ke_processor_joining, KE_NO_PROCESSOR);

	/* The same processor, once there is a thread. */
	has_thread = true;
	assert_int_equal(ke_processor_add(KE_ADD, idle, &added), STATUS_SUCCESS);
	assert_int_equal(added.index, 2);
	assert_int_equal(log.count, 4);
	assert_int_equal(log.calls[3].State, KeProcessorAddCompleteNotify);
	assert_int_equal(ke_processor_count, 3);
	assert_ptr_equal(processors[2].idle, idle);
	KeDeregisterProcessorChangeCallback(handle);
}

static void a_full_partition_calls_nobody(void **state)
{
	struct log log = {0};
	struct ke_added added;
	KTHREAD *idle = calloc(1, sizeof *idle);
	(void)state;
	void *handle = KeRegisterProcessorChangeCallback(on_change, &log, 0);
	unsigned before = prepared;
	atomic_store(&ke_processor_count, ke_processor_maximum);
	assert_int_equal(ke_processor_add(KE_ADD, idle, &added), STATUS_NO_MORE_ENTRIES);
	assert_int_equal(log.count, 0);
	assert_int_equal(prepared, before);
	KeDeregisterProcessorChangeCallback(handle);
	free(idle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_memory_no_call_PRC_23),
		cmocka_unit_test(no_thread_is_a_failure_PRC_37),
		cmocka_unit_test(a_full_partition_calls_nobody),
	};
	fake_thread_begin();
	for (unsigned i = 0; i < 4; i++)
		ke_processors[i] = &processors[i];
	ke_processor_change_initialize();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
