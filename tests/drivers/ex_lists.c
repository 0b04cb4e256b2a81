/* SPDX-License-Identifier: MIT */
/* SLISTs, lookaside lists, interlocked lists (DEF-224..236): CASE 0 as allowed; 1 to 3 break a rule
 * (VER-15, VER-39). */
#include "check.h"

#define THREADS 4
#define ROUNDS  3000
#define ENTRIES 64
#define TAG     'tsiL'

struct DECLSPEC_ALIGN(16) item {
	SLIST_ENTRY link;
	LONG volatile owners;
	LIST_ENTRY list;
};

static SLIST_HEADER DECLSPEC_ALIGN(16) stack;
static struct item items[ENTRIES];
static LIST_ENTRY queue;
static KSPIN_LOCK queue_lock;
static LONG volatile wrong;

/* Every entry that was popped belongs to one thread alone. */
static VOID NTAPI shuffle(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	for (int i = 0; i < ROUNDS; i++) {
		struct item *item = (struct item *)InterlockedPopEntrySList(&stack);
		if (!item)
			continue;
		if (InterlockedIncrement(&item->owners) != 1)
			InterlockedIncrement(&wrong);
		if (i % 64 == 0)
			YieldProcessor();
		InterlockedDecrement(&item->owners);
		InterlockedPushEntrySList(&stack, &item->link);
	}
}

static VOID NTAPI shuffle_list(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	for (int i = 0; i < ROUNDS; i++) {
		PLIST_ENTRY entry = ExInterlockedRemoveHeadList(&queue, &queue_lock);
		if (!entry)
			continue;
		struct item *item = CONTAINING_RECORD(entry, struct item, list);
		if (InterlockedIncrement(&item->owners) != 1)
			InterlockedIncrement(&wrong);
		InterlockedDecrement(&item->owners);
		if (i % 2)
			ExInterlockedInsertTailList(&queue, entry, &queue_lock);
		else
			ExInterlockedInsertHeadList(&queue, entry, &queue_lock);
	}
}

CHECK_HELPER void storm(PKSTART_ROUTINE routine)
{
	PVOID threads[THREADS];
	wrong = 0;
	for (int i = 0; i < THREADS; i++)
		threads[i] = check_thread(routine, NULL);
	for (int i = 0; i < THREADS; i++)
		check_join(threads[i]);
}

CHECK_HELPER void slists(void)
{
	InitializeSListHead(&stack);
	CHECK(!InterlockedPopEntrySList(&stack) && !ExQueryDepthSList(&stack), "an empty SLIST");
	CHECK(!InterlockedPushEntrySList(&stack, &items[0].link), "the first push returns NULL");
	CHECK(InterlockedPushEntrySList(&stack, &items[1].link) == &items[0].link,
	      "the next one the entry before");
	CHECK(ExQueryDepthSList(&stack) == 2 && InterlockedPopEntrySList(&stack) == &items[1].link,
	      "last in, first out");
	for (int i = 1; i < ENTRIES; i++)
		InterlockedPushEntrySList(&stack, &items[i].link);
	storm(shuffle);
	CHECK(!wrong && ExQueryDepthSList(&stack) == ENTRIES, "four threads pop and push");
	int count = 0;
	for (PSLIST_ENTRY entry = InterlockedFlushSList(&stack); entry; entry = entry->Next)
		count++;
	CHECK(count == ENTRIES && !ExQueryDepthSList(&stack), "InterlockedFlushSList");
}

CHECK_HELPER void lists(void)
{
	InitializeListHead(&queue);
	KeInitializeSpinLock(&queue_lock);
	CHECK(!ExInterlockedRemoveHeadList(&queue, &queue_lock), "DEF-236 an empty list");
	CHECK(!ExInterlockedInsertTailList(&queue, &items[0].list, &queue_lock),
	      "DEF-235 the first insertion returns NULL");
	CHECK(ExInterlockedInsertTailList(&queue, &items[1].list, &queue_lock) == &items[0].list,
	      "DEF-235 the next one the tail before");
	for (int i = 2; i < ENTRIES; i++)
		ExInterlockedInsertTailList(&queue, &items[i].list, &queue_lock);
	storm(shuffle_list);
	int count = 0;
	while (ExInterlockedRemoveHeadList(&queue, &queue_lock))
		count++;
	CHECK(!wrong && count == ENTRIES, "DEF-235 DEF-236 four threads");
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL && !queue_lock,
	      "the lock is free, the IRQL is back");
}

static LONG allocated, freed;

static PVOID NTAPI allocate(POOL_TYPE type, SIZE_T size, ULONG tag)
{
	allocated++;
	return ExAllocatePoolWithTag(type, size, tag);
}

static VOID NTAPI release(PVOID block)
{
	freed++;
	ExFreePool(block);
}

static PVOID NTAPI allocate_ex(POOL_TYPE type, SIZE_T size, ULONG tag, PLOOKASIDE_LIST_EX list)
{
	UNREFERENCED_PARAMETER(list);
	return allocate(type, size, tag);
}

static VOID NTAPI release_ex(PVOID block, PLOOKASIDE_LIST_EX list)
{
	UNREFERENCED_PARAMETER(list);
	release(block);
}

static NPAGED_LOOKASIDE_LIST nonpaged;
static PAGED_LOOKASIDE_LIST paged;
static LOOKASIDE_LIST_EX extended;

CHECK_HELPER void lookasides(void)
{
	PVOID blocks[8];

	ExInitializeNPagedLookasideList(&nonpaged, NULL, NULL, POOL_NX_ALLOCATION, 100, TAG, 0);
	for (int i = 0; i < 8; i++) {
		blocks[i] = ExAllocateFromNPagedLookasideList(&nonpaged);
		RtlFillMemory(blocks[i], 100, i);
	}
	for (int i = 0; i < 8; i++)
		ExFreeToNPagedLookasideList(&nonpaged, blocks[i]);
	CHECK(nonpaged.L.TotalAllocates == 8 && nonpaged.L.TotalFrees == 8,
	      "DEF-234 the inline functions count");
	ExDeleteNPagedLookasideList(&nonpaged);

	ExInitializePagedLookasideList(&paged, allocate, release, 0, 50, TAG, 0);
	blocks[0] = ExAllocateFromPagedLookasideList(&paged);
	CHECK(blocks[0] && allocated == 1, "DEF-234 the driver's allocator is called");
	ExFreeToPagedLookasideList(&paged, blocks[0]);
	ExDeletePagedLookasideList(&paged);
	CHECK(freed == 1, "DEF-226 a delete frees what waits, by the driver's function");

	allocated = freed = 0;
	CHECK(ExInitializeLookasideListEx(&extended, allocate_ex, release_ex, NonPagedPoolNx, 0,
					  200, TAG, 0) == STATUS_SUCCESS,
	      "DEF-233 ExInitializeLookasideListEx");
	blocks[0] = ExAllocateFromLookasideListEx(&extended);
	blocks[1] = ExAllocateFromLookasideListEx(&extended);
	ExFreeToLookasideListEx(&extended, blocks[0]);
	ExFreeToLookasideListEx(&extended, blocks[1]);
	ExDeleteLookasideListEx(&extended);
	CHECK(allocated == 2 && freed == 2, "DEF-224 DEF-225 DEF-228 allocate, free, delete");
	CHECK(ExInitializeLookasideListEx(&extended, NULL, NULL, NonPagedPoolNx, 3, 200, TAG, 0) ==
		      STATUS_INVALID_PARAMETER_5,
	      "DEF-233 both flags");
	CHECK(ExInitializeLookasideListEx(&extended, NULL, NULL, NonPagedPoolNx, 0, 200, TAG, 0) ==
		      STATUS_SUCCESS,
	      "DEF-233 without functions of its own");
	blocks[0] = ExAllocateFromLookasideListEx(&extended);
	CHECK(blocks[0], "DEF-224 from the pool");
	ExFreeToLookasideListEx(&extended, blocks[0]);
	ExDeleteLookasideListEx(&extended);
}

#if CASE > 0
static void broken(void)
{
	KIRQL old;
	switch (CASE) {
	case 1: /* VER-15 */
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		ExInitializePagedLookasideList(&paged, NULL, NULL, 0, 50, TAG, 0);
		KeLowerIrql(old);
		ExDeletePagedLookasideList(&paged);
		break;
	case 2: /* VER-39 */
		ExInitializeNPagedLookasideList(&nonpaged, NULL, NULL, 0, 100, TAG, 0);
		break;
	case 3:
		ExInitializeNPagedLookasideList(&nonpaged, NULL, NULL, 0, 100, TAG, 0);
		ExInitializeNPagedLookasideList(&nonpaged, NULL, NULL, 0, 100, TAG, 0);
		ExDeleteNPagedLookasideList(&nonpaged);
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
	slists();
	lists();
	lookasides();
#endif
	return check_result();
}
