/* SPDX-License-Identifier: MIT */
/*
 * ndk's requests as they are, over fakes of what they call: each way to complete, and a provider
 * that completes a request twice (NDK-76..79, VER-65).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <cmocka.h>
#include "ndk/internal.h"

enum vf_mode vf_mode = VF_REPORT;

static unsigned findings, callbacks, finished, freed;
static enum vf_rule last_rule;
static NTSTATUS last_status;
static enum ndk_how how_now;
static struct ndk_delivery *queued;
static bool no_memory;

void vf_report(enum vf_rule rule, const char *ddi, uint64_t caller, uint64_t object,
	       const char *format, ...)
{
	(void)ddi, (void)caller, (void)object, (void)format;
	findings++;
	last_rule = rule;
}

bool vf_address_where(uint64_t address, char *where, size_t size)
{
	(void)where, (void)size;
	return address != 0x666; /* in no driver */
}

const char *vf_routine_fault(uint64_t address)
{
	return address == 0x666 ? "lies in no driver" : NULL;
}

void *ex_allocate(size_t size, ULONG tag, POOL_TYPE type)
{
	(void)tag, (void)type;
	return no_memory ? NULL : calloc(1, size);
}

void ex_free(void *block)
{
	free(block);
}

enum ndk_how ndk_policy_how(bool close)
{
	(void)close;
	return how_now;
}

void ndk_delivery_initialize(struct ndk_delivery *delivery, void (*run)(struct ndk_delivery *))
{
	delivery->run = run;
}

void ndk_delivery_queue(struct ndk_delivery *delivery, enum ndk_level level)
{
	(void)level;
	assert_null(queued);
	queued = delivery;
}

void ndk_callout_begin(struct ndk_callout *callout, const void *routine, const void *context)
{
	(void)callout, (void)routine, (void)context;
}

void ndk_callout_end(struct ndk_callout *callout)
{
	(void)callout;
}

struct ke_lock ndk_lock;
static unsigned locked;

KIRQL ke_lock_raise(struct ke_lock *lock)
{
	assert_ptr_equal(lock, &ndk_lock);
	assert_int_equal(locked++, 0);
	return PASSIVE_LEVEL;
}

void ke_lock_lower(struct ke_lock *lock, KIRQL old)
{
	assert_ptr_equal(lock, &ndk_lock);
	assert_int_equal(old, PASSIVE_LEVEL);
	assert_int_equal(--locked, 0);
}

void ndk_busy_put(struct ndk_object *object)
{
	freed += atomic_fetch_sub(&object->busy, 1) == 1;
}

/* ---- */

static const struct ndk_class class = {.name = "object"};
static struct ndk_object object;

static VOID NTAPI completed(PVOID context, NTSTATUS status)
{
	assert_ptr_equal(context, &object);
	/* NDK-79: nothing of it is under way any more but the reference. */
	assert_true(IsListEmpty(&object.pending));
	assert_int_equal(object.busy, 2);
	callbacks++;
	last_status = status;
}

static VOID NTAPI closed(PVOID context, ULONG_PTR second)
{
	assert_ptr_equal(context, &object);
	assert_int_equal(second, 0); /* DEF-85 */
	callbacks++;
}

static void finish(struct ndk_request *request)
{
	assert_int_equal(callbacks, 0);
	finished++;
	if (request->argument)
		request->status = (NTSTATUS)request->argument;
}

static int fresh(void **unused)
{
	(void)unused;
	object = (struct ndk_object){.class = &class, .busy = 1};
	InitializeListHead(&object.pending);
	findings = callbacks = finished = freed = 0;
	last_status = 1;
	queued = NULL;
	no_memory = false;
	return 0;
}

static NTSTATUS done(NTSTATUS status)
{
	return ndk_request_done(&object, (const void *)completed, &object, status, 0);
}

static void run_queued(void)
{
	struct ndk_delivery *delivery = queued;
	assert_non_null(delivery);
	queued = NULL;
	delivery->run(delivery);
}

static void inline_calls_nothing_NDK_76(void **unused)
{
	(void)unused;
	how_now = NDK_INLINE;
	assert_int_equal(done(STATUS_SUCCESS), STATUS_SUCCESS);
	assert_int_equal(done(STATUS_INSUFFICIENT_RESOURCES), STATUS_INSUFFICIENT_RESOURCES);
	assert_int_equal(callbacks, 0);
	assert_null(queued);
	assert_int_equal(object.busy, 1);
}

static void nested_completes_before_the_return_NDK_77(void **unused)
{
	(void)unused;
	how_now = NDK_NESTED;
	assert_int_equal(done(STATUS_ACCESS_VIOLATION), STATUS_PENDING);
	assert_int_equal(callbacks, 1);
	assert_int_equal(last_status, STATUS_ACCESS_VIOLATION);
	assert_int_equal(object.busy, 1);
}

static void later_completes_once_NDK_76(void **unused)
{
	(void)unused;
	how_now = NDK_LATER;
	assert_int_equal(done(STATUS_SUCCESS), STATUS_PENDING);
	assert_int_equal(callbacks, 0);
	assert_false(IsListEmpty(&object.pending));
	assert_int_equal(object.busy, 2);
	run_queued();
	assert_int_equal(callbacks, 1);
	assert_int_equal(object.busy, 1);
	/* without memory for the request the answer is inline */
	no_memory = true;
	assert_int_equal(done(STATUS_SUCCESS), STATUS_SUCCESS);
	assert_int_equal(callbacks, 1);
}

static void the_state_is_entered_before_the_callback(void **unused)
{
	(void)unused;
	struct ndk_request *request =
		ndk_request_pend(&object, (const void *)completed, &object, 0);
	request->finish = finish;
	request->argument = (uint32_t)STATUS_CANCELLED;
	ndk_request_complete(request, STATUS_SUCCESS);
	assert_int_equal(finished, 0);
	run_queued();
	assert_int_equal(finished, 1);
	assert_int_equal(last_status, STATUS_CANCELLED);
	/* never to be completed */
	request = ndk_request_pend(&object, (const void *)completed, &object, 0);
	ndk_request_discard(request);
	assert_int_equal(object.busy, 1);
	assert_true(IsListEmpty(&object.pending));
	assert_int_equal(callbacks, 1);
}

static void a_second_completion_is_reported_VER_65(void **unused)
{
	(void)unused;
	struct ndk_request *request =
		ndk_request_pend(&object, (const void *)completed, &object, 0);
	ndk_request_complete(request, STATUS_SUCCESS);
	assert_int_equal(findings, 0);
	ndk_request_complete(request, STATUS_CANCELLED);
	assert_int_equal(findings, 1);
	assert_int_equal(last_rule, VF_NdkProvider);
	run_queued();
	assert_null(queued);
	assert_int_equal(callbacks, 1);
	assert_int_equal(last_status, STATUS_SUCCESS);
}

static void the_routine_is_looked_at_NDK_76(void **unused)
{
	(void)unused;
	how_now = NDK_LATER;
	ndk_request_done(&object, NULL, &object, STATUS_SUCCESS, 0);
	assert_int_equal(findings, 1);
	assert_int_equal(last_rule, VF_NdkCompletion);
	run_queued(); /* completes silently */
	assert_int_equal(object.busy, 1);
	struct ndk_request *request = ndk_request_pend(&object, (const void *)0x666, &object, 0);
	assert_int_equal(findings, 2);
	ndk_request_discard(request);
}

static void a_close_completion_finds_no_status_DEF_85(void **unused)
{
	(void)unused;
	struct ndk_request request = {.object = &object, .kind = NDK_CLOSE, .context = &object};
	request.routine = (const void *)closed;
	request.status = 5;
	ndk_request_run(&request);
	assert_int_equal(callbacks, 1);
	assert_int_equal(object.busy, 1); /* object.c lets it go */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(inline_calls_nothing_NDK_76, fresh),
		cmocka_unit_test_setup(nested_completes_before_the_return_NDK_77, fresh),
		cmocka_unit_test_setup(later_completes_once_NDK_76, fresh),
		cmocka_unit_test_setup(the_state_is_entered_before_the_callback, fresh),
		cmocka_unit_test_setup(a_second_completion_is_reported_VER_65, fresh),
		cmocka_unit_test_setup(the_routine_is_looked_at_NDK_76, fresh),
		cmocka_unit_test_setup(a_close_completion_finds_no_status_DEF_85, fresh),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
