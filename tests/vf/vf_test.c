/* SPDX-License-Identifier: MIT */
/*
 * vf_test: findings, their line, their bug check, and the judgement of entry checks (VER-1..3,
 * VER-24, VER-36, VER-46, NMI-33).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <cmocka.h>
#include "ex/ex.h"
#include "ke/nmi.h"
#include "ldr/ldr.h"
#include "rtl/rtl.h"
#include "tests/vf/fake_processor.h"
#include "vf/vf_internal.h"

/* ---- What the verifier asks others ---- */

static struct ldr_image bad = {.base = 0x10000, .size = 0x4000, .name = "bad.sys"};
static struct ldr_image good = {.base = 0x20000, .size = 0x4000, .name = "Good.sys"};

struct ldr_image *ldr_image_from_address(uint64_t address)
{
	if (address >= bad.base && address < bad.base + bad.size)
		return &bad;
	return address >= good.base && address < good.base + good.size ? &good : NULL;
}

static uint64_t pool_caller;
static const void *pool_block = (void *)0x500000;

enum ex_pool_kind ex_pool_find(const void *address, struct ex_pool_block *block)
{
	if (address != pool_block)
		return EX_POOL_NOT;
	*block = (struct ex_pool_block){.base = (void *)address, .size = 16, .caller = pool_caller};
	return EX_POOL_NONPAGED;
}

static struct ex_pool_block left_block;

size_t ex_pool_each(const void *base, size_t size,
		    void (*each)(void *, const struct ex_pool_block *), void *context)
{
	if (!left_block.base || left_block.caller - (uint64_t)base >= size)
		return 0;
	each(context, &left_block);
	return 1;
}

size_t ex_live_each(enum ex_live_kind kind, const void *base, size_t size, bool remove,
		    void (*each)(void *, const struct ex_live *), void *context)
{
	(void)kind, (void)base, (void)size, (void)remove, (void)each, (void)context;
	return 0;
}

size_t ex_work_each(const void *base, size_t size, void (*each)(void *, uint64_t, bool),
		    void *context)
{
	(void)base, (void)size, (void)each, (void)context;
	return 0;
}

size_t ex_callback_each(const void *base, size_t size, void (*each)(void *, uint64_t, const void *),
			void *context)
{
	(void)base, (void)size, (void)each, (void)context;
	return 0;
}

/* Kernel objects: one timer, one DPC, one NMI callback, when they are there. */
static KTIMER *left_timer;
static KDPC *left_dpc;
static struct ke_registry_entry *left_callback;

void ke_timers_each(void (*each)(void *, KTIMER *), void *context)
{
	if (left_timer)
		each(context, left_timer);
}

void ke_dpcs_each(void (*each)(void *, KDPC *), void *context)
{
	if (left_dpc)
		each(context, left_dpc);
}

void ke_bound_callbacks_each(void (*each)(void *, const struct ke_registry_entry *), void *context)
{
	(void)each;
	(void)context;
}

void ke_change_callbacks_each(void (*each)(void *, const struct ke_registry_entry *), void *context)
{
	(void)each;
	(void)context;
}

void ke_nmi_callbacks_each(void (*each)(void *, const struct ke_registry_entry *), void *context)
{
	if (left_callback)
		each(context, left_callback);
}

BOOLEAN NTAPI KeCancelTimer(PKTIMER timer)
{
	assert_ptr_equal(timer, left_timer);
	left_timer = NULL;
	return TRUE;
}

BOOLEAN NTAPI KeRemoveQueueDpc(PRKDPC dpc)
{
	assert_ptr_equal(dpc, left_dpc);
	left_dpc = NULL;
	return TRUE;
}

/* The other parts' checks find nothing; the verifier's own take the place of these. */
#define CHECK(function)                                                                            \
	__attribute__((weak)) void function(const struct vf_unload *unload)                        \
	{                                                                                          \
		(void)unload;                                                                      \
	}
#include "vf/checks.def"
#undef CHECK

static uint64_t forgotten;

void ke_lock_order_forget(const void *base, size_t size)
{
	forgotten = (uint64_t)base + size;
}

static char output[65536];

void ke_print(enum port_stream stream, const char *format, ...)
{
	assert_int_equal(stream, PORT_STREAM_REPORT);
	size_t used = strlen(output);
	va_list arguments;
	va_start(arguments, format);
	rtl_vprint(output + used, sizeof output - used, format, arguments);
	va_end(arguments);
}

static jmp_buf stopped;
static uint64_t stop[5], stop_address;
static char stop_text[256];

void ke_bugcheck(ULONG code, uint64_t p1, uint64_t p2, uint64_t p3, uint64_t p4,
		 const struct ke_bugcheck_detail *detail)
{
	uint64_t all[5] = {code, p1, p2, p3, p4};
	memcpy(stop, all, sizeof stop);
	stop_address = detail->address;
	snprintf(stop_text, sizeof stop_text, "%s", detail->text);
	longjmp(stopped, 1);
}

const struct ddi ddi_table[] = {
	{.name = "KeRegisterNmiCallback", .irql_max = APC_LEVEL, .rule = VF_IrqlKeApcLte2},
	{.name = "KeReleaseSpinLock",
	 .irql_min = DISPATCH_LEVEL,
	 .irql_max = DISPATCH_LEVEL,
	 .rule = VF_IrqlKeReleaseSpinLock},
	{.name = "KeIpiGenericCall", .irql_max = 13, .rule = VF_RtIrql},
	{.name = "KeInitializeEvent", .irql_max = HIGH_LEVEL, .rule = VF_RtIrql},
	{.name = "DbgPrint", .irql_max = 12, .rule = VF_NmiPrint},
	{.name = "KeWaitForSingleObject", .irql_max = DISPATCH_LEVEL, .rule = VF_WaitAboveDispatch},
	{.name = "NtBuildNumber", .data = true},
};
const uint32_t ddi_count = sizeof ddi_table / sizeof ddi_table[0];

/* ---- Tests ---- */

/* Each test begins with the findings there are: the table is not emptied, as in a machine. */
static uint32_t findings, violations;

static int setup(void **state)
{
	(void)state;
	fake_processor_begin();
	fake_processor.index = 3;
	vf_mode = VF_REPORT;
	vf_quiet = false;
	vf_drivers_select(NULL);
	output[0] = 0;
	pool_caller = 0;
	left_block.base = NULL;
	left_timer = NULL;
	left_dpc = NULL;
	left_callback = NULL;
	findings = vf_finding_count();
	violations = vf_violation_count();
	return 0;
}

static void line_of_a_finding(void **state)
{
	(void)state;
	fake_processor.irql = DISPATCH_LEVEL;
	vf_ddi_entry(0, 0x11a2c);
	assert_string_equal(output, "ketch: violation VER-5 IrqlKeApcLte2: KeRegisterNmiCallback "
				    "called at DISPATCH_LEVEL (2), "
				    "legal up to APC_LEVEL (1) by bad.sys+0x1a2c on processor 3; "
				    "call it at APC_LEVEL or below\n");
	assert_int_equal(vf_finding_count(), findings + 1);
	const struct vf_finding *finding = vf_finding_at(findings);
	assert_int_equal(finding->rule, VF_IrqlKeApcLte2);
	assert_string_equal(finding->ddi, "KeRegisterNmiCallback");
	assert_int_equal(finding->address, 0x11a2c);
	assert_int_equal(finding->processor, 3);
	assert_int_equal(finding->irql, DISPATCH_LEVEL);
	assert_null(vf_finding_at(findings + 1));
}

static void quiet_keeps_and_prints_nothing(void **state)
{
	(void)state;
	vf_quiet = true;
	vf_report(VF_NmiHandle, "KeDeregisterNmiCallback", 0x11002, 7, "quiet");
	assert_string_equal(output, "");
	assert_int_equal(vf_finding_count(), findings + 1);
}

static void ddi_name_stands_once(void **state)
{
	(void)state;
	vf_report(VF_NmiHandle, "KeDeregisterNmiCallback", 0x11000, 7,
		  "KeDeregisterNmiCallback with %u", 7);
	assert_non_null(
		strstr(output, "NmiHandle: KeDeregisterNmiCallback with 7 by bad.sys+0x1000"));
	output[0] = 0;
	vf_report(VF_NmiHandle, "KeDeregisterNmiCallback", 0x11001, 7, "no such handle");
	assert_non_null(strstr(
		output, "NmiHandle: KeDeregisterNmiCallback: no such handle by bad.sys+0x1001"));
}

static void same_place_counts(void **state)
{
	(void)state;
	for (uint64_t object = 0; object < 5; object++)
		vf_report(VF_SpinLock, "KeReleaseSpinLock", 0x12000, object, "once");
	vf_report(VF_SpinLock, "KeReleaseSpinLock", 0x12001, 0, "another place");
	vf_report(VF_MutexOwner, "KeReleaseMutex", 0x12000, 0, "another rule");
	assert_int_equal(vf_finding_count(), findings + 3);
	assert_int_equal(vf_violation_count(), violations + 7);
	assert_int_equal(vf_finding_at(findings)->count, 5);
	assert_int_equal(vf_finding_at(findings + 1)->count, 1);
	unsigned lines = 0;
	for (const char *at = output; (at = strchr(at, '\n')); at++)
		lines++;
	assert_int_equal(lines, 3);
}

static void ver3_other_code_is_not_judged(void **state)
{
	(void)state;
	vf_report(VF_SpinLock, "KeReleaseSpinLock", 0x999999, 0, "not a driver");
	vf_drivers_select("other.sys,good.SYS");
	vf_report(VF_SpinLock, "KeReleaseSpinLock", 0x12345, 0, "not selected");
	assert_int_equal(vf_finding_count(), findings);
	vf_report(VF_SpinLock, "KeReleaseSpinLock", 0x22345, 0, "selected");
	assert_int_equal(vf_finding_count(), findings + 1);
	vf_mode = VF_OFF;
	vf_report(VF_SpinLock, "KeReleaseSpinLock", 0x22346, 0, "off");
	assert_int_equal(vf_finding_count(), findings + 1);
	assert_int_equal(vf_violation_count(), violations + 1);
}

static void ver1_bug_check(void **state)
{
	(void)state;
	vf_mode = VF_BUGCHECK;
	fake_processor.irql = HIGH_LEVEL;
	if (!setjmp(stopped)) {
		vf_ddi_entry(0, 0x13000);
		fail();
	}
	assert_int_equal(stop[0], 0xc4);
	assert_int_equal(stop[1], 0x20010);
	assert_true(stop[2] != 0);
	assert_int_equal(stop[3], 0);
	assert_int_equal(stop[4], 0);
	assert_int_equal(stop_address, 0x13000);
	assert_non_null(strstr(stop_text, "IrqlKeApcLte2"));
	/* The same place again: still fatal, although it is not listed again. */
	if (!setjmp(stopped)) {
		vf_ddi_entry(0, 0x13000);
		fail();
	}
	assert_int_equal(vf_finding_count(), findings + 1);
}

static void ver29_documented_parameters(void **state)
{
	(void)state;
	uint64_t parameters[3] = {1, 0xabc, 0};
	vf_mode = VF_BUGCHECK;
	if (!setjmp(stopped)) {
		vf_report_with(VF_AcquireSpinLockIrql, "KeAcquireSpinLockForDpc", 0x13100, 0xabc,
			       parameters, "x");
		fail();
	}
	assert_int_equal(stop[1], 0x42);
	assert_int_equal(stop[2], 1);
	assert_int_equal(stop[3], 0xabc);
}

static void ver39_other_bug_checks(void **state)
{
	(void)state;
	struct vf_unload unload = {.image = &bad, .base = bad.base, .end = bad.base + bad.size};
	vf_mode = VF_BUGCHECK;
	if (!setjmp(stopped)) {
		vf_unload_left(&unload, VF_TimerLeft, NULL, (void *)0x500000, "the timer %p set",
			       (void *)0x500000);
		fail();
	}
	assert_int_equal(stop[0], 0xc7);
	assert_int_equal(stop[1], 0);
	assert_int_equal(stop[2], 0x500000);
	assert_int_equal(stop[3], bad.base);
	assert_int_equal(stop[4], bad.base + bad.size);
}

static void advice_never_stops(void **state)
{
	(void)state;
	vf_mode = VF_BUGCHECK;
	vf_report(VF_NmiSlow, NULL, 0x13200, 0, "slow");
	assert_int_equal(vf_finding_count(), findings + 1);
	assert_int_equal(vf_violation_count(), violations);
	assert_memory_equal(output, "ketch: advice VER-49 NmiSlow: slow by", 37);
}

/* VER-24: the highest and the lowest legal IRQL pass, the next ones do not. */
static void ver24_limits(void **state)
{
	(void)state;
	for (uint32_t row = 0; row < ddi_count; row++) {
		const struct ddi *ddi = &ddi_table[row];
		for (KIRQL irql = 0; irql <= HIGH_LEVEL; irql++) {
			enum vf_rule rule;
			bool out = irql < ddi->irql_min || irql > ddi->irql_max;
			bool left_alone = ddi->data || ddi->rule == VF_WaitAboveDispatch;
			assert_int_equal(vf_ddi_judge(ddi, irql, false, &rule), out && !left_alone);
			assert_int_equal(rule, ddi->rule);
		}
	}
}

static void ver46_in_an_nmi_callback(void **state)
{
	(void)state;
	enum vf_rule rule;
	fake_processor.nmi_sequence = 1;
	assert_true(vf_ddi_judge(&ddi_table[0], HIGH_LEVEL, true, &rule));
	assert_int_equal(rule, VF_IrqlKeApcLte2);
	assert_true(vf_ddi_judge(&ddi_table[2], HIGH_LEVEL, true, &rule));
	assert_int_equal(rule, VF_NmiForbidden);
	assert_false(vf_ddi_judge(&ddi_table[3], HIGH_LEVEL, true, &rule));
	assert_true(vf_ddi_judge(&ddi_table[4], HIGH_LEVEL, true, &rule));
	assert_int_equal(rule, VF_NmiPrint);
	fake_processor.irql = HIGH_LEVEL;
	vf_ddi_entry(2, 0x13300);
	assert_non_null(strstr(
		output,
		"NmiForbidden: KeIpiGenericCall called at HIGH_LEVEL (15) in an NMI callback"));
	fake_processor.nmi_sequence = 2;
}

static void ver36_callout_irql(void **state)
{
	(void)state;
	fake_processor.irql = DISPATCH_LEVEL;
	vf_callout_irql((void *)0x11000, (void *)0x77, DISPATCH_LEVEL, 2);
	if (!setjmp(stopped)) {
		vf_callout_irql((void *)0x11000, (void *)0x77, HIGH_LEVEL, 2);
		fail();
	}
	assert_int_equal(stop[0], 0xc8);
	assert_int_equal(stop[1], 2 << 16 | 15 << 8 | 2);
	assert_int_equal(stop[2], 0x11000);
	assert_int_equal(stop[3], 0x77);
	assert_int_equal(stop[4], 0);
	assert_non_null(strstr(stop_text, "bad.sys+0x1000"));
}

static void caller_by_record(void **state)
{
	(void)state;
	struct ke_call_record record = {.kind = KE_RECORD_DDI, .rip = 0x11234};
	assert_int_equal(vf_caller((void *)0x11000), 0x11000);
	assert_int_equal(vf_caller((void *)0x999999), 0);
	fake_thread.records = &record;
	assert_int_equal(vf_caller((void *)0x999999), 0x11234);
	record.kind = KE_RECORD_BARRIER;
	assert_int_equal(vf_caller((void *)0x999999), 0);
}

static void ver38_what_is_owned(void **state)
{
	(void)state;
	struct vf_unload unload = {.image = &bad, .base = bad.base, .end = bad.base + bad.size};
	assert_true(vf_unload_owns(&unload, (void *)bad.base));
	assert_false(vf_unload_owns(&unload, (void *)(bad.base + bad.size)));
	assert_false(vf_unload_owns(&unload, (void *)0x500000));
	pool_caller = 0x11000;
	assert_true(vf_unload_owns(&unload, (void *)0x500000));
	pool_caller = 0x21000;
	assert_false(vf_unload_owns(&unload, (void *)0x500000));
}

/* VER-44: each block is told, although all come from one place of the driver. */
static void ver44_pool_left(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 3; i++) {
		left_block = (struct ex_pool_block){.base = (void *)(0x600000 + i * 64),
						    .size = 32,
						    .tag = 'tseT',
						    .caller = 0x11500};
		vf_driver_unload(&bad, i == 2);
	}
	assert_int_equal(vf_finding_count(), findings + 3);
	assert_non_null(
		strstr(output, "PoolLeft: bad.sys unloaded and left the nonpaged pool block"));
	assert_non_null(strstr(output, "(32 bytes, tag 'Test')"));
	assert_non_null(strstr(output, "bad.sys failed in DriverEntry and left"));
	left_block.caller = 0x21000;
	vf_driver_unload(&bad, false);
	assert_int_equal(vf_finding_count(), findings + 3);
}

static void ver39_timers_and_dpcs_left(void **state)
{
	(void)state;
	KDPC dpc = {.DeferredRoutine = (PKDEFERRED_ROUTINE)0x12600};
	KTIMER timer = {.Dpc = &dpc};
	left_timer = &timer;
	left_dpc = &dpc;
	vf_driver_unload(&good, false);
	assert_int_equal(vf_finding_count(), findings);
	assert_non_null(left_timer);
	vf_driver_unload(&bad, false);
	assert_int_equal(vf_finding_count(), findings + 2);
	assert_int_equal(vf_finding_at(findings)->rule, VF_TimerLeft);
	assert_int_equal(vf_finding_at(findings)->object, (uint64_t)&timer);
	assert_int_equal(vf_finding_at(findings + 1)->rule, VF_DpcRoutineLeft);
	assert_int_equal(vf_finding_at(findings + 1)->object, 0x12600);
	assert_null(left_timer);
	assert_null(left_dpc);
	assert_int_equal(forgotten, bad.base + bad.size);
}

/* A DPC in pool that the driver allocated, whatever its routine. */
static void ver39_dpc_in_pool_left(void **state)
{
	(void)state;
	KDPC dpc = {.DeferredRoutine = (PKDEFERRED_ROUTINE)0x21000};
	left_dpc = &dpc;
	pool_block = &dpc;
	pool_caller = 0x12900;
	vf_driver_unload(&bad, false);
	pool_block = (void *)0x500000;
	assert_int_equal(vf_finding_count(), findings + 1);
	assert_int_equal(vf_finding_at(findings)->rule, VF_DpcLeft);
	assert_int_equal(vf_finding_at(findings)->object, (uint64_t)&dpc);
	assert_int_equal(vf_finding_at(findings)->address, 0x12900);
	assert_null(left_dpc);
}

static void ver40_nmi_callback_left(void **state)
{
	(void)state;
	struct ke_registry_entry entry = {.routine = (void *)0x12700, .caller = 0x12800};
	left_callback = &entry;
	vf_driver_unload(&good, false);
	assert_int_equal(vf_finding_count(), findings);
	vf_driver_unload(&bad, false);
	assert_int_equal(vf_finding_count(), findings + 1);
	assert_int_equal(vf_finding_at(findings)->rule, VF_NmiLeft);
	assert_int_equal(vf_finding_at(findings)->address, 0x12800);
	assert_non_null(strstr(output, "bad.sys unloaded and left the NMI callback"));
	/* Another driver's routine with a context of this one: the same defect. */
	entry = (struct ke_registry_entry){
		.routine = (void *)0x21000, .context = (void *)0x13000, .caller = 0x21000};
	vf_driver_unload(&bad, false);
	assert_int_equal(vf_finding_count(), findings + 2);
}

static void *reporter(void *argument)
{
	(void)argument;
	fake_processor_hold();
	for (uint64_t round = 0; round < 2000; round++)
		vf_report(VF_SpinLock, "KeReleaseSpinLock", 0x20000 + round % 100, 0,
			  "from several threads");
	return NULL;
}

/* The test's ke_print is not for threads: every place is known before they begin. */
static void claims_are_exact(void **state)
{
	(void)state;
	pthread_t threads[4];
	for (uint64_t place = 0; place < 100; place++)
		vf_report(VF_SpinLock, "KeReleaseSpinLock", 0x20000 + place, 0, "known");
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reporter, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(vf_finding_count(), findings + 100);
	assert_int_equal(vf_violation_count(), violations + 100 + 4 * 2000);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(vf_finding_at(findings + i)->count, 1 + 4 * 20);
}

/* Last: it fills the table. */
static void a_full_table_only_counts(void **state)
{
	(void)state;
	for (uint64_t place = 0; place < 3000; place++)
		vf_report(VF_SpinLock, "KeReleaseSpinLock", 0x10000 + place, 0, "many");
	assert_int_equal(vf_violation_count(), violations + 3000);
	assert_int_equal(vf_finding_count(), 512);
	assert_non_null(
		strstr(output, "ketch: 512 findings are listed; further ones are only counted\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(line_of_a_finding, setup),
		cmocka_unit_test_setup(quiet_keeps_and_prints_nothing, setup),
		cmocka_unit_test_setup(ddi_name_stands_once, setup),
		cmocka_unit_test_setup(same_place_counts, setup),
		cmocka_unit_test_setup(ver3_other_code_is_not_judged, setup),
		cmocka_unit_test_setup(ver1_bug_check, setup),
		cmocka_unit_test_setup(ver29_documented_parameters, setup),
		cmocka_unit_test_setup(ver39_other_bug_checks, setup),
		cmocka_unit_test_setup(advice_never_stops, setup),
		cmocka_unit_test_setup(ver24_limits, setup),
		cmocka_unit_test_setup(ver46_in_an_nmi_callback, setup),
		cmocka_unit_test_setup(ver36_callout_irql, setup),
		cmocka_unit_test_setup(caller_by_record, setup),
		cmocka_unit_test_setup(ver38_what_is_owned, setup),
		cmocka_unit_test_setup(ver44_pool_left, setup),
		cmocka_unit_test_setup(ver39_timers_and_dpcs_left, setup),
		cmocka_unit_test_setup(ver39_dpc_in_pool_left, setup),
		cmocka_unit_test_setup(ver40_nmi_callback_left, setup),
		cmocka_unit_test_setup(claims_are_exact, setup),
		cmocka_unit_test_setup(a_full_table_only_counts, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
