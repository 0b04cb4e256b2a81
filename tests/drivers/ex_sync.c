/* SPDX-License-Identifier: MIT */
/*
 * Fast and guarded mutexes, push locks, resources, rundown protection: CASE 0 uses them as allowed,
 * from several threads; the others break one rule each (VER-6, VER-14, VER-16, VER-34, DEF-181).
 */
#include "check.h"

#define THREADS 4
#define ROUNDS  300

static FAST_MUTEX fast;
static KGUARDED_MUTEX guarded;
static EX_PUSH_LOCK push;
static ERESOURCE resource;

/* What all locks protect: never seen in the middle of a change. */
static struct {
	ULONG volatile one, two;
} shared;
static LONG volatile torn;

/* Now and then the thread sleeps in the middle: whoever the lock lets in sees it. */
static void change(void)
{
	ULONG one = shared.one;
	shared.one = one + 1;
	if (one % 32 == 0)
		check_sleep(1);
	if (shared.two != one)
		InterlockedIncrement(&torn);
	shared.two = one + 1;
}

static void look(int round)
{
	ULONG one = shared.one;
	if (round % 32 == 1)
		check_sleep(1);
	if (shared.two != one)
		InterlockedIncrement(&torn);
}

static VOID NTAPI with_fast(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	for (int i = 0; i < ROUNDS; i++) {
		ExAcquireFastMutex(&fast);
		if (KeGetCurrentIrql() != APC_LEVEL)
			InterlockedIncrement(&torn);
		change();
		ExReleaseFastMutex(&fast);
	}
}

static VOID NTAPI with_guarded(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	for (int i = 0; i < ROUNDS; i++) {
		KeAcquireGuardedMutex(&guarded);
		if (!KeAreAllApcsDisabled())
			InterlockedIncrement(&torn);
		change();
		KeReleaseGuardedMutex(&guarded);
	}
}

static VOID NTAPI with_push(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	KeEnterCriticalRegion();
	for (int i = 0; i < ROUNDS; i++) {
		if (i % 4) {
			ExAcquirePushLockSharedEx(&push, 0);
			look(i);
			ExReleasePushLockSharedEx(&push, 0);
		} else {
			ExAcquirePushLockExclusiveEx(&push, 0);
			change();
			ExReleasePushLockExclusiveEx(&push, 0);
		}
	}
	KeLeaveCriticalRegion();
}

static VOID NTAPI with_resource(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	KeEnterCriticalRegion();
	for (int i = 0; i < ROUNDS; i++) {
		if (i % 4) {
			ExAcquireResourceSharedLite(&resource, TRUE);
			look(i);
			if (i % 8 == 1) {
				ExAcquireResourceSharedLite(&resource, TRUE);
				ExReleaseResourceLite(&resource);
			}
		} else {
			ExAcquireResourceExclusiveLite(&resource, TRUE);
			ExAcquireResourceExclusiveLite(&resource, TRUE);
			change();
			ExReleaseResourceLite(&resource);
		}
		ExReleaseResourceLite(&resource);
	}
	KeLeaveCriticalRegion();
}

CHECK_HELPER void storm(PKSTART_ROUTINE routine, const char *text)
{
	PVOID threads[THREADS];
	torn = 0;
	shared.one = shared.two = 0;
	for (int i = 0; i < THREADS; i++)
		threads[i] = check_thread(routine, NULL);
	for (int i = 0; i < THREADS; i++)
		check_join(threads[i]);
	CHECK(!torn && shared.one == shared.two && shared.one, text);
}

CHECK_HELPER void mutexes(void)
{
	ExInitializeFastMutex(&fast);
	KeInitializeGuardedMutex(&guarded);
	storm(with_fast, "PLT-80 fast mutex: four threads");
	storm(with_guarded, "DEF-303 guarded mutex: four threads");
	CHECK(ExTryToAcquireFastMutex(&fast) && KeGetCurrentIrql() == APC_LEVEL,
	      "ExTryToAcquireFastMutex of a free one");
	ExReleaseFastMutex(&fast);
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL && fast.Count == 1 && !fast.Owner,
	      "PLT-80 free again");
	KeEnterCriticalRegion();
	ExAcquireFastMutexUnsafe(&fast);
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL && fast.Owner == KeGetCurrentThread(),
	      "ExAcquireFastMutexUnsafe");
	ExReleaseFastMutexUnsafe(&fast);
	KeLeaveCriticalRegion();
}

/* ---- Resources ---- */

static LONG volatile order, writer_came, reader_came;
static KEVENT go;

static VOID NTAPI writer(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	KeEnterCriticalRegion();
	ExAcquireResourceExclusiveLite(&resource, TRUE);
	writer_came = InterlockedIncrement(&order);
	ExReleaseResourceLite(&resource);
	KeLeaveCriticalRegion();
}

static VOID NTAPI late_reader(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	KeEnterCriticalRegion();
	ExAcquireResourceSharedLite(&resource, TRUE);
	reader_came = InterlockedIncrement(&order);
	ExReleaseResourceLite(&resource);
	KeLeaveCriticalRegion();
}

static BOOLEAN soon(ULONG(NTAPI *count)(PERESOURCE))
{
	for (int i = 0; i < 1000 && !count(&resource); i++)
		check_sleep(1);
	return count(&resource) == 1;
}

CHECK_HELPER void resources(void)
{
	CHECK(ExInitializeResourceLite(&resource) == STATUS_SUCCESS,
	      "DEF-172 ExInitializeResourceLite");
	storm(with_resource, "DEF-181 DEF-221 resource: four threads, recursion");

	KeEnterCriticalRegion();
	ExAcquireResourceSharedLite(&resource, TRUE);
	CHECK(ExIsResourceAcquiredSharedLite(&resource) == 1 &&
		      !ExIsResourceAcquiredExclusiveLite(&resource),
	      "DEF-238 shared once");
	PVOID one = check_thread(writer, NULL);
	CHECK(soon(ExGetExclusiveWaiterCount), "DEF-229 a writer waits");
	PVOID two = check_thread(late_reader, NULL);
	CHECK(soon(ExGetSharedWaiterCount), "DEF-221 DEF-231 a new reader waits behind the writer");
	CHECK(ExAcquireResourceSharedLite(&resource, FALSE), "DEF-221 an owner need not");
	CHECK(ExAcquireSharedStarveExclusive(&resource, FALSE), "DEF-222 nor who starves writers");
	CHECK(!ExAcquireSharedWaitForExclusive(&resource, FALSE), "DEF-223 this one must");
	CHECK(ExIsResourceAcquiredSharedLite(&resource) == 3, "DEF-238 three times");
	for (int i = 0; i < 3; i++)
		ExReleaseResourceLite(&resource);
	check_join(one);
	check_join(two);
	CHECK(writer_came == 1 && reader_came == 2, "the writer came first");

	ExAcquireResourceExclusiveLite(&resource, TRUE);
	CHECK(ExIsResourceAcquiredExclusiveLite(&resource), "DEF-237 exclusive");
	ExConvertExclusiveToSharedLite(&resource);
	CHECK(!ExIsResourceAcquiredExclusiveLite(&resource) &&
		      ExIsResourceAcquiredSharedLite(&resource) == 1,
	      "ExConvertExclusiveToSharedLite");
	ExReleaseResourceForThreadLite(&resource, ExGetCurrentResourceThread());
	CHECK(!ExIsResourceAcquiredSharedLite(&resource), "DEF-241 released by thread");
	KeLeaveCriticalRegion();

	ExEnterCriticalRegionAndAcquireResourceExclusive(&resource);
	CHECK(KeAreApcsDisabled() && ExIsResourceAcquiredExclusiveLite(&resource),
	      "DEF-227 region and resource");
	ExReleaseResourceAndLeaveCriticalRegion(&resource);
	CHECK(!ExIsResourceAcquiredExclusiveLite(&resource), "DEF-240 left both");
	CHECK(ExDeleteResourceLite(&resource) == STATUS_SUCCESS, "DEF-171 ExDeleteResourceLite");
}

/* ---- Rundown protection ---- */

static EX_RUNDOWN_REF rundown;
static LONG volatile released;

static VOID NTAPI user(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	KeWaitForSingleObject(&go, Executive, KernelMode, FALSE, NULL);
	check_sleep(20);
	released = 1;
	ExReleaseRundownProtectionEx(&rundown, 3);
}

CHECK_HELPER void rundowns(void)
{
	ExInitializeRundownProtection(&rundown);
	KeInitializeEvent(&go, NotificationEvent, FALSE);
	CHECK(ExAcquireRundownProtection(&rundown) && ExAcquireRundownProtectionEx(&rundown, 2),
	      "DEF-293 acquired");
	PVOID thread = check_thread(user, NULL);
	KeSetEvent(&go, 0, FALSE);
	ExWaitForRundownProtectionRelease(&rundown);
	CHECK(released, "DEF-299 the wait ended after the last release");
	CHECK(!ExAcquireRundownProtection(&rundown), "DEF-293 refused afterwards");
	check_join(thread);
	ExReInitializeRundownProtection(&rundown);
	CHECK(ExAcquireRundownProtection(&rundown), "ExReInitializeRundownProtection");
	ExReleaseRundownProtection(&rundown);
	ExWaitForRundownProtectionRelease(&rundown);
	CHECK(rundown.Count == 1, "a wait without users ends at once");
}

#if CASE > 0
static void broken(void)
{
	KIRQL old;
	ExInitializeFastMutex(&fast);
	KeInitializeGuardedMutex(&guarded);
	switch (CASE) {
	case 1: /* VER-14 */
	case 2: /* VER-6 */
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		if (CASE == 1 ? ExTryToAcquireFastMutex(&fast)
			      : KeTryToAcquireGuardedMutex(&guarded)) {
			KeLowerIrql(APC_LEVEL);
			if (CASE == 1)
				ExReleaseFastMutex(&fast);
			else
				KeReleaseGuardedMutex(&guarded);
		}
		KeLowerIrql(old);
		break;
	case 3: /* VER-34 */
		KeRaiseIrql(APC_LEVEL, &old);
		ExReleaseFastMutex(&fast);
		KeLowerIrql(old);
		break;
	case 4: /* VER-16 */
		ExInitializeResourceLite(&resource);
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		ExAcquireResourceSharedLite(&resource, FALSE);
		KeLowerIrql(old);
		ExReleaseResourceLite(&resource);
		ExDeleteResourceLite(&resource);
		break;
	case 5: /* DEF-181: DriverEntry runs outside every region */
		ExInitializeResourceLite(&resource);
		ExAcquireResourceSharedLite(&resource, TRUE);
		ExReleaseResourceLite(&resource);
		ExDeleteResourceLite(&resource);
		break;
	case 6: /* DEF-242 */
		ExInitializeResourceLite(&resource);
		ExReleaseResourceLite(&resource);
		ExDeleteResourceLite(&resource);
		break;
	case 7: /* VER-38 */
		ExInitializeResourceLite(&resource);
		break;
	case 8:
		KeEnterCriticalRegion();
		ExAcquireResourceSharedLite(&resource, FALSE); /* never initialized */
		ExReleaseResourceLite(&resource);
		KeLeaveCriticalRegion();
		break;
	case 9:
		KeEnterCriticalRegion();
		ExReleasePushLockExclusiveEx(&push, 0);
		KeLeaveCriticalRegion();
		break;
	}
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
	mutexes();
	storm(with_push, "DEF-220 DEF-239 push lock: four threads");
	CHECK(!push, "DEF-220 a free push lock is 0");
	resources();
	rundowns();
#endif
	return check_result();
}
