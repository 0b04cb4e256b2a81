/* SPDX-License-Identifier: MIT */
/* Work items and callback objects (DEF-297, PLT-61..64, PRC-43, PRC-46): CASE 0 as allowed; the
 * others break one rule each. */
#include "check.h"

static KEVENT done, release_all;
static LONG volatile ran, inside;
static BOOLEAN volatile passive = TRUE;

struct job {
	WORK_QUEUE_ITEM item;
	ULONG left;
};

static VOID NTAPI again(PVOID context)
{
	struct job *job = context;
	if (KeGetCurrentIrql() != PASSIVE_LEVEL || !PsIsSystemThread(PsGetCurrentThread()))
		passive = FALSE;
	if (--job->left) {
		ExQueueWorkItem(&job->item, DelayedWorkQueue); /* legal inside its own routine */
		return;
	}
	KeSetEvent(&done, 0, FALSE);
}

/* Blocks until all of its kind are inside: the engine must grow. */
static VOID NTAPI gather(PVOID context)
{
	ULONG wanted = (ULONG)(ULONG_PTR)context;
	if ((ULONG)InterlockedIncrement(&inside) == wanted)
		KeSetEvent(&release_all, 0, FALSE);
	KeWaitForSingleObject(&release_all, Executive, KernelMode, FALSE, NULL);
	if ((ULONG)InterlockedIncrement(&ran) == wanted)
		KeSetEvent(&done, 0, FALSE);
}

/* The item may be freed by its routine. */
static VOID NTAPI free_itself(PVOID context)
{
	ExFreePool(context);
	KeSetEvent(&done, 0, FALSE);
}

CHECK_HELPER BOOLEAN wait_done(void)
{
	LARGE_INTEGER limit = check_ms(10000);
	return KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, &limit) == STATUS_SUCCESS;
}

CHECK_HELPER void work(void)
{
	static struct job job;
	static WORK_QUEUE_ITEM many[8];
	KIRQL old;

	KeInitializeEvent(&done, SynchronizationEvent, FALSE);
	KeInitializeEvent(&release_all, NotificationEvent, FALSE);
	job.left = 50;
	ExInitializeWorkItem(&job.item, again, &job);
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	ExQueueWorkItem(&job.item, CriticalWorkQueue);
	KeLowerIrql(old);
	CHECK(wait_done() && passive, "DEF-297 fifty runs at PASSIVE_LEVEL in a system thread");
	for (ULONG i = 0; i < 8; i++) {
		ExInitializeWorkItem(&many[i], gather, (PVOID)8);
		ExQueueWorkItem(&many[i], DelayedWorkQueue);
	}
	CHECK(wait_done() && ran == 8, "eight items that wait for each other all run");
	PWORK_QUEUE_ITEM own = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*own), 'krow');
	ExInitializeWorkItem(own, free_itself, own);
	ExQueueWorkItem(own, HyperCriticalWorkQueue);
	CHECK(wait_done(), "DEF-297 an item that frees itself");
}

/* ---- Callback objects ---- */

static ULONG calls[4], count;
static KIRQL call_irql;

static VOID NTAPI function(PVOID context, PVOID one, PVOID two)
{
	call_irql = KeGetCurrentIrql();
	if (one == (PVOID)1 && two == (PVOID)2)
		calls[count++ & 3] = (ULONG)(ULONG_PTR)context;
}

static NTSTATUS open(PCWSTR name, BOOLEAN create, BOOLEAN multiple, PCALLBACK_OBJECT *object)
{
	UNICODE_STRING string;
	OBJECT_ATTRIBUTES attributes;
	RtlInitUnicodeString(&string, name);
	InitializeObjectAttributes(&attributes, &string, OBJ_CASE_INSENSITIVE, NULL, NULL);
	return ExCreateCallback(object, &attributes, create, multiple);
}

static KEVENT entered, leave;
static LONG volatile left_slow;

static VOID NTAPI slow(PVOID context, PVOID one, PVOID two)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(one);
	UNREFERENCED_PARAMETER(two);
	KeSetEvent(&entered, 0, FALSE);
	KeWaitForSingleObject(&leave, Executive, KernelMode, FALSE, NULL);
	check_sleep(20);
	left_slow = 1;
}

static VOID NTAPI notifier(PVOID object)
{
	ExNotifyCallback(object, NULL, NULL);
}

static PVOID own_handle;

static VOID NTAPI suicide(PVOID context, PVOID one, PVOID two)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(one);
	UNREFERENCED_PARAMETER(two);
	count++;
	ExUnregisterCallback(own_handle);
}

CHECK_HELPER void callbacks(void)
{
	PCALLBACK_OBJECT object, same;
	OBJECT_ATTRIBUTES nameless;
	KIRQL old;

	InitializeObjectAttributes(&nameless, NULL, 0, NULL, NULL);
	CHECK(ExCreateCallback(&object, &nameless, TRUE, TRUE) == STATUS_UNSUCCESSFUL,
	      "PLT-61 without a name");
	CHECK(open(L"\\Callback\\KetchTest", FALSE, TRUE, &object) == STATUS_OBJECT_NAME_NOT_FOUND,
	      "PLT-61 absent");
	CHECK(open(L"\\Device", FALSE, TRUE, &object) == STATUS_OBJECT_TYPE_MISMATCH,
	      "PLT-61 another type");
	CHECK(open(L"\\Callback\\KetchTest", TRUE, TRUE, &object) == STATUS_SUCCESS,
	      "PLT-61 created");
	CHECK(open(L"\\callback\\KETCHTEST", TRUE, FALSE, &same) == STATUS_SUCCESS &&
		      same == object,
	      "PLT-61 opened");
	ObDereferenceObject(same);

	PVOID one = ExRegisterCallback(object, function, (PVOID)11);
	PVOID two = ExRegisterCallback(object, function, (PVOID)22);
	CHECK(one && two, "PLT-62 two registrations");
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	ExNotifyCallback(object, (PVOID)1, (PVOID)2);
	KeLowerIrql(old);
	CHECK(count == 2 && calls[0] == 11 && calls[1] == 22,
	      "PLT-64 in registration order, with both arguments");
	CHECK(call_irql == DISPATCH_LEVEL, "PLT-64 at the caller's IRQL");
	ExUnregisterCallback(one);
	ExNotifyCallback(object, (PVOID)1, (PVOID)2);
	CHECK(count == 3 && calls[2] == 22, "PLT-63 gone");
	ExUnregisterCallback(two);

	KeInitializeEvent(&entered, SynchronizationEvent, FALSE);
	KeInitializeEvent(&leave, SynchronizationEvent, FALSE);
	one = ExRegisterCallback(object, slow, NULL);
	PVOID thread = check_thread(notifier, object);
	KeWaitForSingleObject(&entered, Executive, KernelMode, FALSE, NULL);
	KeSetEvent(&leave, 0, FALSE);
	ExUnregisterCallback(one);
	CHECK(left_slow, "PLT-63 waits for the running call");
	check_join(thread);

	count = 0;
	own_handle = ExRegisterCallback(object, suicide, NULL);
	ExNotifyCallback(object, NULL, NULL);
	ExNotifyCallback(object, NULL, NULL);
	CHECK(count == 1, "PLT-63 from inside its own function");
	ObDereferenceObject(object);
	CHECK(open(L"\\Callback\\KetchTest", FALSE, TRUE, &object) == STATUS_OBJECT_NAME_NOT_FOUND,
	      "PLT-61 deleted");

	CHECK(open(L"\\Callback\\KetchOne", TRUE, FALSE, &object) == STATUS_SUCCESS,
	      "an object for one");
	one = ExRegisterCallback(object, function, NULL);
	CHECK(one && !ExRegisterCallback(object, function, NULL), "PLT-62 allows one registration");
	ExUnregisterCallback(one);
	ObDereferenceObject(object);

	PCWSTR system[] = {L"\\Callback\\SetSystemTime", L"\\Callback\\PowerState",
			   L"\\Callback\\ProcessorAdd"};
	for (int i = 0; i < 3; i++) {
		CHECK(open(system[i], FALSE, FALSE, &object) == STATUS_SUCCESS,
		      "PLT-64 an object of the system");
		ObDereferenceObject(object);
	}
}

#if CASE > 0
static VOID NTAPI high(PVOID context)
{
	KIRQL old;
	KeSetEvent(context, 0, FALSE);
	KeRaiseIrql(APC_LEVEL, &old);
}

static VOID NTAPI stay(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	KeSetEvent(&entered, 0, FALSE);
	check_sleep(300);
}

static void broken(void)
{
	static WORK_QUEUE_ITEM item;
	PCALLBACK_OBJECT object;
	KIRQL old;
	KeInitializeEvent(&done, SynchronizationEvent, FALSE);
	KeInitializeEvent(&entered, SynchronizationEvent, FALSE);
	open(L"\\Callback\\KetchTest", TRUE, TRUE, &object);
	switch (CASE) {
	case 1: /* PLT-4: bug check 0xE1 */
		ExInitializeWorkItem(&item, high, &done);
		ExQueueWorkItem(&item, DelayedWorkQueue);
		wait_done();
		check_sleep(200);
		break;
	case 2: /* VER-38 */
		ExInitializeWorkItem(&item, stay, NULL);
		ExQueueWorkItem(&item, DelayedWorkQueue);
		KeWaitForSingleObject(&entered, Executive, KernelMode, FALSE, NULL);
		break;
	case 3: /* VER-42 */
		ExRegisterCallback(object, function, NULL);
		break;
	case 4: /* PLT-63 */
		ExUnregisterCallback(&object);
		break;
	case 5: /* PRC-46, VER-54 */
		ObDereferenceObject(object);
		open(L"\\Callback\\PowerState", FALSE, TRUE, &object);
		ExNotifyCallback(object, NULL, NULL);
		break;
	case 6: /* VER-15 */
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		PVOID handle = ExRegisterCallback(object, function, NULL);
		KeLowerIrql(old);
		ExUnregisterCallback(handle);
		break;
	case 7: { /* VER-17 */
		PCALLBACK_OBJECT other;
		KeRaiseIrql(APC_LEVEL, &old);
		if (NT_SUCCESS(open(L"\\Callback\\KetchTest", FALSE, TRUE, &other)))
			ObDereferenceObject(other);
		KeLowerIrql(old);
		break;
	}
	case 8: /* an item that is queued already */
		ExInitializeWorkItem(&item, stay, NULL);
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		ExQueueWorkItem(&item, DelayedWorkQueue);
		ExQueueWorkItem(&item, DelayedWorkQueue);
		KeLowerIrql(old);
		break;
	}
	ObDereferenceObject(object);
}
#endif

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
#if CASE > 0
	broken();
#else
	work();
	callbacks();
#endif
	return check_result();
}
