/* SPDX-License-Identifier: MIT */
/*
 * Processors join while threads on all of them register, deregister and enumerate, ask, move about,
 * and send NMIs, IPIs and DPCs (PRC-14, 16, 19, 28, 29, 31, 32, 38, 40, 41, 52, 58, 59, NMI-13).
 * Each registration has a model of its own: each processor is seen exactly once, as an existing one
 * or as one that joins; every start has its second call; nothing comes after deregistration. The
 * additions are the run's actions, and `ketch add` from outside; additions that fail are among
 * them.
 */
#include "torture.h"

#define WORKERS    5
#define PROCESSORS 128 /* of the partition, at most */

struct model {
	volatile LONG alive; /* registered, or about to be */
	ULONG veto_at;
	LONG starts[PROCESSORS], completes[PROCESSORS], failures[PROCESSORS];
	LONG highest; /* index seen complete, -1 */
};

static struct model models[WORKERS];
static PVOID threads[WORKERS], nmi;
static volatile LONG stop, faults[16], work, nmis, ipis, dpcs, registrations, vetoes;
static BOOLEAN
	told; /* worker 0's own: that EXPECTED processors are there, and everything happened */
static LONG seen_count[PROCESSORS]; /* by the NMI callback of each: the highest count so far */

static const char *const what[16] = {
	"PRC-29 a second call without a start, or a second start",
	"PRC-40, 41 a call after deregistration",
	"PRC-28 an existing processor or one that joined was not seen exactly once",
	"PRC-29, 41 a start without its second call",
	"PRC-14, 16 the calls of an enumeration",
	"PRC-19, 22 a veto",
	"PRC-38 a count fell",
	"PRC-58, 59, 62 an index and its number",
	"PRC-56, 52 the current processor is not among the active ones",
	"PRC-31, 69 affinity to an active processor",
	"PRC-31 a DPC ran elsewhere",
	"PRC-31 an IPI missed an active processor",
	"PRC-52, 61 counts and masks of groups do not add up",
	"NMI-13 an NMI callback was called after deregistration",
	"PRC-28 a registration without enumeration saw a hole",
	"PRC-30, 31 the counts during a call",
};

static VOID fault(ULONG number)
{
	InterlockedIncrement(&faults[number]);
}

static ULONG active(VOID)
{
	return KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
}

/* ---- The callback and its model ---- */

static VOID NTAPI OnChange(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT now, PNTSTATUS status)
{
	struct model *model = context;
	ULONG i = now->NtNumber, count = active();
	if (!model->alive)
		fault(1);
	if (i >= PROCESSORS)
		return;
	LONG open = model->starts[i] - model->completes[i] - model->failures[i];
	switch (now->State) {
	case KeProcessorAddStartNotify:
		if (open || model->completes[i] || i > count)
			fault(0);
		model->starts[i]++;
		if (i == model->veto_at && i < count)
			*status = STATUS_DEVICE_BUSY;
		break;
	case KeProcessorAddCompleteNotify:
		if (open != 1)
			fault(0);
		if (i >= count)
			fault(15);
		model->completes[i]++;
		if ((LONG)i > model->highest)
			model->highest = (LONG)i;
		break;
	case KeProcessorAddFailureNotify:
		if (open != 1)
			fault(0);
		model->failures[i]++;
		break;
	}
}

static VOID reset(struct model *model)
{
	RtlZeroMemory(model, sizeof *model);
	model->veto_at = MAXULONG;
	model->highest = -1;
}

/* After deregistration: `low` processors were there before, `high` are there now at least. */
static VOID judge(const struct model *model, BOOLEAN existing, ULONG low, ULONG high)
{
	LONG first = -1;
	for (ULONG i = 0; i < PROCESSORS; i++) {
		if (model->starts[i] != model->completes[i] + model->failures[i])
			fault(3);
		if (model->completes[i] && first < 0)
			first = (LONG)i;
		if (existing && i < high && model->completes[i] != 1)
			fault(2);
		if (first >= 0 && (LONG)i <= model->highest && model->completes[i] != 1)
			fault(14);
		if (!existing && i < low && model->completes[i])
			fault(14);
	}
	/* What joined after the registration was over and before deregistration began. */
	if (!existing && high > low && model->highest + 1 < (LONG)high)
		fault(2);
}

static VOID registration(struct model *model, RANDOM *random)
{
	BOOLEAN existing = random_below(random, 3) != 0;
	reset(model);
	model->alive = TRUE;
	ULONG before = active();
	PVOID handle = KeRegisterProcessorChangeCallback(
		OnChange, model, existing ? KE_PROCESSOR_CHANGE_ADD_EXISTING : 0);
	ULONG low = before, after = active();
	if (!handle)
		fault(4);
	if (existing) {
		for (ULONG i = 0; i < before && i < PROCESSORS; i++) {
			if (model->completes[i] != 1)
				fault(4);
		}
	}
	LARGE_INTEGER pause = torture_us((LONG)random_below(random, 3000));
	KeDelayExecutionThread(KernelMode, FALSE, &pause);
	ULONG high = active();
	KeDeregisterProcessorChangeCallback(handle);
	model->alive = FALSE;
	InterlockedIncrement(&registrations);
	/* Of those between `before` and `after` it is open, without enumeration, who saw them. */
	judge(model, existing, low, existing || high > after ? high : low);
}

static VOID vetoed(struct model *model, RANDOM *random)
{
	reset(model);
	model->alive = TRUE;
	model->veto_at = random_below(random, active());
	ULONG at = model->veto_at;
	PVOID handle = KeRegisterProcessorChangeCallback(OnChange, model,
							 KE_PROCESSOR_CHANGE_ADD_EXISTING);
	model->alive = FALSE;
	if (handle) {
		fault(5);
		KeDeregisterProcessorChangeCallback(handle);
	}
	for (ULONG i = 0; i < PROCESSORS; i++) {
		if (model->starts[i] != (i <= at) || model->failures[i] != (i < at) ||
		    model->completes[i])
			fault(5);
	}
	InterlockedIncrement(&vetoes);
}

/* ---- Questions, also in NMI callbacks ---- */

static VOID ask(volatile LONG *last)
{
	PROCESSOR_NUMBER own, number;
	ULONG low = active();
	ULONG index = KeGetCurrentProcessorNumberEx(&own);
	ULONG sum = 0;
	if ((LONG)low < *last)
		fault(6);
	*last = (LONG)low;
	if (index >= active() || KeGetProcessorIndexFromNumber(&own) == INVALID_PROCESSOR_INDEX)
		fault(8);
	for (ULONG i = 0; i < low; i++) {
		if (!NT_SUCCESS(KeGetProcessorNumberFromIndex(i, &number)) ||
		    KeGetProcessorIndexFromNumber(&number) != i)
			fault(7);
	}
	for (USHORT group = 0; group < KeQueryMaximumGroupCount(); group++) {
		KAFFINITY mask = KeQueryGroupAffinity(group);
		for (; mask; mask &= mask - 1)
			sum++;
	}
	if (sum < low || sum > active())
		fault(12);
}

static BOOLEAN NTAPI OnNmi(PVOID context, BOOLEAN handled)
{
	ULONG index = KeGetCurrentProcessorNumberEx(NULL);
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	if (index < PROCESSORS)
		ask(&seen_count[index]);
	InterlockedIncrement(&nmis);
	return TRUE;
}

static BOOLEAN NTAPI OnShortNmi(PVOID context, BOOLEAN handled)
{
	if (*(volatile LONG *)context != 'live')
		fault(13);
	return handled;
}

/* ---- On the newest processors ---- */

static VOID move(RANDOM *random)
{
	GROUP_AFFINITY there = {0}, previous;
	PROCESSOR_NUMBER number;
	ULONG count = active();
	ULONG index = random_below(random, 2) ? count - 1 : random_below(random, count);
	if (!NT_SUCCESS(KeGetProcessorNumberFromIndex(index, &number))) {
		fault(7);
		return;
	}
	there.Group = number.Group;
	there.Mask = (KAFFINITY)1 << number.Number;
	KeSetSystemGroupAffinityThread(&there, &previous);
	if (KeGetCurrentProcessorNumberEx(NULL) != index)
		fault(9);
	KeRevertToUserGroupAffinityThread(&previous);
}

static VOID NTAPI OnDpc(PKDPC dpc, PVOID context, PVOID index, PVOID event)
{
	UNREFERENCED_PARAMETER(dpc);
	UNREFERENCED_PARAMETER(context);
	if (KeGetCurrentProcessorNumberEx(NULL) != (ULONG)(ULONG_PTR)index)
		fault(10);
	InterlockedIncrement(&dpcs);
	KeSetEvent(event, IO_NO_INCREMENT, FALSE);
}

static VOID target(VOID)
{
	KDPC dpc;
	KEVENT ran;
	PROCESSOR_NUMBER number;
	ULONG index = active() - 1;
	KeInitializeDpc(&dpc, OnDpc, NULL);
	KeInitializeEvent(&ran, NotificationEvent, FALSE);
	if (!NT_SUCCESS(KeGetProcessorNumberFromIndex(index, &number)) ||
	    !NT_SUCCESS(KeSetTargetProcessorDpcEx(&dpc, &number))) {
		fault(10);
		return;
	}
	KeInsertQueueDpc(&dpc, (PVOID)(ULONG_PTR)index, &ran);
	KeWaitForSingleObject(&ran, Executive, KernelMode, FALSE, NULL);
}

static ULONG_PTR NTAPI OnIpi(ULONG_PTR argument)
{
	InterlockedIncrement((volatile LONG *)argument);
	InterlockedIncrement(&ipis);
	return 0;
}

static VOID everywhere(VOID)
{
	volatile LONG reached = 0;
	ULONG low = active();
	KeIpiGenericCall(OnIpi, (ULONG_PTR)&reached);
	if (reached < (LONG)low || reached > (LONG)active())
		fault(11);
}

static VOID nonmaskable(RANDOM *random)
{
	volatile LONG context = 'live';
	KAFFINITY_EX set;
	PVOID handle = KeRegisterNmiCallback(OnShortNmi, (PVOID)&context);
	KeInitializeAffinityEx(&set);
	KeAddProcessorAffinityEx(&set, active() - 1);
	KeAddProcessorAffinityEx(&set, random_below(random, active()));
	HalSendNMI(&set);
	KeDeregisterNmiCallback(handle);
	context = 'gone';
}

static BOOLEAN everything(VOID)
{
	return registrations && vetoes && dpcs && ipis && nmis;
}

static VOID NTAPI worker(PVOID context)
{
	ULONG number = (ULONG)(ULONG_PTR)context;
	volatile LONG last = 0;
	RANDOM random;
	random_start(&random, number);
	while (!stop) {
		if (number == 0 && !told && active() == EXPECTED && everything()) {
			told = TRUE;
			DbgPrint("all %u processors are here, everything happened\n", EXPECTED);
		}
		switch (random_below(&random, 12)) {
		case 0:
		case 1:
		case 2:
			registration(&models[number], &random);
			break;
		case 3:
			vetoed(&models[number], &random);
			break;
		case 4:
		case 5:
			ask(&last);
			break;
		case 6:
		case 7:
			move(&random);
			break;
		case 8:
			target();
			break;
		case 9:
			everywhere();
			break;
		default:
			nonmaskable(&random);
			break;
		}
		InterlockedIncrement(&work);
		if (random_below(&random, 4) == 0)
			check_sleep(1);
	}
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	stop = TRUE;
	for (ULONG i = 0; i < WORKERS; i++)
		check_join(threads[i]);
	KeDeregisterNmiCallback(nmi);
	for (ULONG i = 0; i < RTL_NUMBER_OF(what); i++)
		CHECK(faults[i] == 0, what[i]);
	CHECK(everything(), "everything happened");
	DbgPrint("processors: %u active; %d rounds, %d registrations, %d vetoes, %d NMIs\n",
		 active(), work, registrations, vetoes, nmis);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	nmi = KeRegisterNmiCallback(OnNmi, NULL);
	for (ULONG i = 0; i < WORKERS; i++)
		threads[i] = check_thread(worker, (PVOID)(ULONG_PTR)i);
	DbgPrint("seed %u\n", SEED);
	return STATUS_SUCCESS;
}

DRIVER_INITIALIZE DriverEntry;
