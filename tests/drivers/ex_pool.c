/* SPDX-License-Identifier: MIT */
/* The pool: CASE 0 uses it as allowed; the others break one rule each (VER-13, VER-27, VER-28,
 * VER-31, VER-44, PLT-45, PLT-48). */
#include "check.h"

#define TAG 'tseT'

static PVOID take(SIZE_T size)
{
	return ExAllocatePoolWithTag(NonPagedPoolNx, size, TAG);
}

CHECK_HELPER void blocks(void)
{
	BOOLEAN aligned = TRUE, inside = TRUE;
	for (SIZE_T size = 1; size < 3 * PAGE_SIZE; size += 61) {
		PUCHAR block = take(size);
		aligned = aligned && block &&
			  !((ULONG_PTR)block & (size < PAGE_SIZE ? 15 : PAGE_SIZE - 1));
		inside = inside &&
			 (size >= PAGE_SIZE || PAGE_ALIGN(block) == PAGE_ALIGN(block + size - 1));
		RtlFillMemory(block, size, 0x77);
		ExFreePoolWithTag(block, TAG);
	}
	CHECK(aligned, "PLT-47 alignment");
	CHECK(inside, "PLT-47 small blocks cross no page");

	PUCHAR zeroed = ExAllocatePool2(POOL_FLAG_NON_PAGED, 500, TAG);
	BOOLEAN zero = TRUE;
	for (int i = 0; i < 500; i++)
		zero = zero && !zeroed[i];
	CHECK(zero, "PLT-45 ExAllocatePool2 zeroes");
	ExFreePool(zeroed);
	PUCHAR paged = ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_CACHE_ALIGNED, 500, TAG);
	CHECK(paged && !((ULONG_PTR)paged & 63), "PLT-45 cache aligned");
	ExFreePoolWithTag(paged, 0);
	CHECK((ULONG_PTR)zeroed >= (ULONG_PTR)MM_SYSTEM_RANGE_START,
	      "DEF-325 pool lies in the system range");

	KIRQL old;
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	PVOID high = take(100);
	ExFreePool(high);
	KeLowerIrql(old);
	CHECK(high, "PLT-46 nonpaged pool at DISPATCH_LEVEL");
	PVOID none = take(0x7fffffffffffull);
	CHECK(!none, "PLT-46 no memory gives NULL");
}

CHECK_HELPER void raising(void)
{
	NTSTATUS volatile status = 0;
	__try {
		ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_RAISE_ON_FAILURE, 1ull << 45, TAG);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		status = GetExceptionCode();
	}
	CHECK(status == STATUS_INSUFFICIENT_RESOURCES, "PLT-45 RAISE_ON_FAILURE");
	status = 0;
	__try {
		ExAllocatePoolWithQuotaTag(NonPagedPoolNx, 1ull << 45, TAG);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		status = GetExceptionCode();
	}
	CHECK(status == STATUS_INSUFFICIENT_RESOURCES, "ExAllocatePoolWithQuotaTag raises");
	CHECK(!ExAllocatePoolWithQuotaTag(NonPagedPoolNx | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE,
					  1ull << 45, TAG),
	      "POOL_QUOTA_FAIL_INSTEAD_OF_RAISE");
}

/* In a function of its own: the compiler's __try covers calls. */
static __attribute__((noinline, unused)) void poke(volatile UCHAR *address)
{
	*address = 2;
}

/* Freed runs of pages are gone at once. */
CHECK_HELPER void freed_pages(void)
{
	NTSTATUS volatile status = 0;
	volatile UCHAR *run = take(3 * PAGE_SIZE);
	run[0] = 1;
	ExFreePool((PVOID)run);
	__try {
		poke(run);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		status = GetExceptionCode();
	}
	CHECK(status == STATUS_ACCESS_VIOLATION, "use of a freed run of pages faults");
	CHECK(!MmIsAddressValid((PVOID)run), "DEF-167 MmIsAddressValid after the free");
}

typedef int code(void);

CHECK_HELPER void executable(void)
{
	static const UCHAR answer[] = {0xb8, 42, 0, 0, 0, 0xc3};
	PVOID block = ExAllocatePoolWithTag(NonPagedPoolExecute, sizeof(answer), TAG);
	RtlCopyMemory(block, answer, sizeof(answer));
	CHECK(((code *)block)() == 42, "NonPagedPoolExecute can run code");
	ExFreePool(block);
}

static ULONG volatile shared_failures;

static VOID NTAPI storm(PVOID context)
{
	ULONG seed = (ULONG)(ULONG_PTR)context;
	PULONG blocks[64] = {0};
	for (int i = 0; i < 20000; i++) {
		seed = seed * 1103515245 + 12345;
		ULONG slot = seed >> 16 & 63, size = 8 + (seed >> 8 & 1023);
		if (!blocks[slot]) {
			blocks[slot] = take(size);
			blocks[slot][0] = slot + (ULONG)(ULONG_PTR)context;
			continue;
		}
		if (blocks[slot][0] != slot + (ULONG)(ULONG_PTR)context)
			InterlockedIncrement((LONG volatile *)&shared_failures);
		ExFreePoolWithTag(blocks[slot], TAG);
		blocks[slot] = NULL;
	}
	for (int i = 0; i < 64; i++)
		if (blocks[i])
			ExFreePoolWithTag(blocks[i], TAG);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

CHECK_HELPER void many(void)
{
	PVOID threads[4];
	for (ULONG i = 0; i < 4; i++)
		threads[i] = check_thread(storm, (PVOID)(ULONG_PTR)(i * 1000 + 1));
	for (ULONG i = 0; i < 4; i++)
		check_join(threads[i]);
	CHECK(!shared_failures, "blocks of four threads do not overlap");
}

#if CASE > 0
static void broken(void)
{
	KIRQL old;
	volatile UCHAR *block;
	switch (CASE) {
	case 1: /* VER-27 */
		ExFreePool(take(0));
		break;
	case 2: /* VER-13 */
	case 3: /* VER-27 */
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		block = CASE == 2 ? ExAllocatePoolWithTag(PagedPool, 10, TAG)
				  : ExAllocatePool2(POOL_FLAG_PAGED, 10, TAG);
		KeLowerIrql(old);
		ExFreePool((PVOID)block);
		break;
	case 4: /* VER-13 */
	case 5: /* VER-27 */
		KeRaiseIrql(HIGH_LEVEL, &old);
		block = CASE == 4 ? take(10) : ExAllocatePool2(POOL_FLAG_NON_PAGED, 10, TAG);
		KeLowerIrql(old);
		CHECK(block, "DEF-22 an allocation at HIGH_LEVEL is answered");
		ExFreePool((PVOID)block);
		break;
	case 6: /* VER-28 */
		block = take(100);
		ExFreePool((PVOID)(block + 16));
		ExFreePool((PVOID)block);
		break;
	case 7:
		block = take(100);
		KeRaiseIrql(HIGH_LEVEL, &old);
		ExFreePool((PVOID)block);
		KeLowerIrql(old);
		break;
	case 8:
		block = ExAllocatePool2(POOL_FLAG_PAGED, 100, TAG);
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		ExFreePool((PVOID)block);
		KeLowerIrql(old);
		break;
	case 9:
		block = take(5000);
		ExFreePool((PVOID)block);
		ExFreePool((PVOID)block);
		break;
	case 10: { /* VER-28 */
		PERESOURCE resource = take(sizeof(*resource));
		ExInitializeResourceLite(resource);
		ExFreePool(resource);
		break;
	}
	case 11: /* VER-31 */
		block = take(100);
		block[100] = 1;
		ExFreePool((PVOID)block);
		break;
	case 12:
		block = take(200);
		ExFreePool((PVOID)block);
		block[5] = 1;
		for (int i = 0; i < 64; i++) {
			PVOID other = take(200);
			ExFreePool(other);
		}
		break;
	case 13: /* PLT-48 */
		ExFreePoolWithTag(take(10), 'rehO');
		break;
	case 14: /* PLT-45 */
		CHECK(!ExAllocatePool2(POOL_FLAG_NON_PAGED, 10, 0), "PLT-45 tag 0 fails");
		break;
	case 15: /* VER-44 */
		take(10);
		break;
	case 16: { /* a PTE to nothing: data execution */
		static const UCHAR answer[] = {0xb8, 42, 0, 0, 0, 0xc3};
		PVOID code_block = take(sizeof(answer));
		RtlCopyMemory(code_block, answer, sizeof(answer));
		((code *)code_block)();
		break;
	}
	}
}
#endif

#if CASE == 17 /* VER-31: a thread that is still there after DriverUnload */
static LONG volatile unloaded;

static VOID NTAPI stay(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	while (!unloaded)
		check_sleep(1);
	for (int i = 0; i < 50; i++) {
		check_sleep(1);
		ExFreePool(take(10));
	}
}
#endif

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
#if CASE == 17
	unloaded = 1;
#endif
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
#if CASE == 17
	ObDereferenceObject(check_thread(stay, NULL));
#elif CASE > 0
	broken();
#else
	blocks();
	raising();
	freed_pages();
	executable();
	many();
#endif
	return check_result();
}
