/* SPDX-License-Identifier: MIT */
/*
 * slist.c: sequenced lists, and lists under a spin lock.
 *
 * Any IRQL. SLISTs take no lock: the header is replaced as a whole (cmpxchg16b), and its sequence
 * number grows with each change, so an entry that left and came back is not taken for the old one.
 * A pop reads the first entry's link before it owns the entry; if another processor has popped and
 * freed it meanwhile the read may find no memory: it is guarded, and the pop starts over. The
 * ExInterlocked*List functions hold the caller's lock at HIGH_LEVEL.
 *
 * Implements DEF-224..236 (the list half). The header's layout is the documented one of x64.
 */
#include <bugcodes.h>
#include "ex/ex_internal.h"
#include "ke/guard.h"
#include "ke/ke.h"
#include "vf/vf.h"

#define DEPTH_MASK   UINT64_C(0xffff)
#define SEQUENCE_ONE UINT64_C(0x10000)
#define ENTRY_MASK   (~UINT64_C(15))

struct header {
	uint64_t low;  /* depth, sequence */
	uint64_t high; /* first entry */
};

/* The halves may belong to different states: the exchange finds out. */
static struct header read_header(const SLIST_HEADER *list)
{
	struct header header;
	header.low = __atomic_load_n(&list->Alignment, __ATOMIC_RELAXED);
	header.high = __atomic_load_n(&list->Region, __ATOMIC_ACQUIRE);
	return header;
}

/* A full barrier, as the processor has it. */
static bool exchange_if(PSLIST_HEADER list, struct header expected, struct header wanted)
{
	bool done;
	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(done), "+m"(*list), "+a"(expected.low), "+d"(expected.high)
			 : "b"(wanted.low), "c"(wanted.high)
			 : "memory");
	return done;
}

VOID NTAPI InitializeSListHead(PSLIST_HEADER SListHead)
{
	SListHead->Alignment = 0;
	SListHead->Region = 0;
}

USHORT NTAPI ExQueryDepthSList(PSLIST_HEADER ListHead)
{
	return (USHORT)__atomic_load_n(&ListHead->Alignment, __ATOMIC_RELAXED);
}

/* The exported names begin with Exp; see the DDI table. Returns the entry that was the first
 * before; 0: it was empty. */
PSLIST_ENTRY NTAPI ex_slist_push(PSLIST_HEADER ListHead, PSLIST_ENTRY ListEntry)
{
	if ((uint64_t)ListEntry & ~ENTRY_MASK)
		ExRaiseStatus(STATUS_DATATYPE_MISALIGNMENT);
	for (;;) {
		struct header old = read_header(ListHead);
		ListEntry->Next = (PSLIST_ENTRY)(old.high & ENTRY_MASK);
		uint64_t depth = (old.low + 1) & DEPTH_MASK;
		struct header new = {((old.low & ~DEPTH_MASK) + SEQUENCE_ONE) | depth,
				     (uint64_t)ListEntry};
		if (exchange_if(ListHead, old, new))
			return ListEntry->Next;
	}
}

/* 0: empty. */
PSLIST_ENTRY NTAPI ex_slist_pop(PSLIST_HEADER ListHead)
{
	uint64_t unreadable = 0;
	for (;;) {
		struct header old = read_header(ListHead);
		uint64_t first = old.high & ENTRY_MASK;
		uint64_t next;
		if (!first)
			return NULL;
		if (!ke_guard_read64(first, &next)) {
			/* The list still says so: it is corrupt, and the access tells where. */
			if (unreadable == first)
				next = *(volatile uint64_t *)first;
			unreadable = first;
			continue;
		}
		uint64_t depth = (old.low - 1) & DEPTH_MASK;
		struct header new = {((old.low & ~DEPTH_MASK) + SEQUENCE_ONE) | depth, next};
		if (exchange_if(ListHead, old, new))
			return (PSLIST_ENTRY)first;
	}
}

/* The whole chain; the list is empty. */
PSLIST_ENTRY NTAPI ex_slist_flush(PSLIST_HEADER ListHead)
{
	for (;;) {
		struct header old = read_header(ListHead);
		struct header new = {(old.low & ~DEPTH_MASK) + SEQUENCE_ONE, 0};
		if (!(old.high & ENTRY_MASK))
			return NULL;
		if (exchange_if(ListHead, old, new))
			return (PSLIST_ENTRY)(old.high & ENTRY_MASK);
	}
}

/* ---- Lists under a lock
 * ------------------------------------------------------------------------------ */

static KIRQL lock(PKSPIN_LOCK word, uint64_t caller)
{
	KIRQL old = ke_irql_raise(HIGH_LEVEL);
	KSPIN_LOCK own = 1 | (KSPIN_LOCK)ke_this()->index << 1; /* as ke/spinlock.c writes it */
	for (unsigned round = 0;; round++) {
		KSPIN_LOCK expected = 0;
		if (__atomic_compare_exchange_n(word, &expected, own, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return old;
		if (expected == own) {
			struct ke_bugcheck_detail detail = {
				.address = caller,
				.text = "the processor waits for a spin lock that it holds"};
			ke_bugcheck(SPIN_LOCK_ALREADY_OWNED, (uint64_t)word, 0, 0, 0, &detail);
		}
		port_spin(round);
	}
}

static void unlock(PKSPIN_LOCK word, KIRQL old)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
	ke_irql_lower(old);
}

/* Returns the entry that was the first before; 0: the list was empty. (DEF-235) */
PLIST_ENTRY FASTCALL ExInterlockedInsertHeadList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry,
						 PKSPIN_LOCK Lock)
{
	KIRQL old = lock(Lock, EX_CALLER());
	PLIST_ENTRY first = IsListEmpty(ListHead) ? NULL : ListHead->Flink;
	InsertHeadList(ListHead, ListEntry);
	unlock(Lock, old);
	return first;
}

PLIST_ENTRY FASTCALL ExInterlockedInsertTailList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry,
						 PKSPIN_LOCK Lock)
{
	KIRQL old = lock(Lock, EX_CALLER());
	PLIST_ENTRY last = IsListEmpty(ListHead) ? NULL : ListHead->Blink;
	InsertTailList(ListHead, ListEntry);
	unlock(Lock, old);
	return last;
}

/* 0: empty. (DEF-236) */
PLIST_ENTRY FASTCALL ExInterlockedRemoveHeadList(PLIST_ENTRY ListHead, PKSPIN_LOCK Lock)
{
	KIRQL old = lock(Lock, EX_CALLER());
	PLIST_ENTRY first = IsListEmpty(ListHead) ? NULL : RemoveHeadList(ListHead);
	unlock(Lock, old);
	return first;
}

PSINGLE_LIST_ENTRY FASTCALL ExInterlockedPopEntryList(PSINGLE_LIST_ENTRY ListHead, PKSPIN_LOCK Lock)
{
	KIRQL old = lock(Lock, EX_CALLER());
	PSINGLE_LIST_ENTRY first = PopEntryList(ListHead);
	unlock(Lock, old);
	return first;
}

PSINGLE_LIST_ENTRY FASTCALL ExInterlockedPushEntryList(PSINGLE_LIST_ENTRY ListHead,
						       PSINGLE_LIST_ENTRY ListEntry,
						       PKSPIN_LOCK Lock)
{
	KIRQL old = lock(Lock, EX_CALLER());
	PSINGLE_LIST_ENTRY first = ListHead->Next;
	PushEntryList(ListHead, ListEntry);
	unlock(Lock, old);
	return first;
}

/* Add under a lock, as one operation. Returns the value before. */
ULONG FASTCALL ExInterlockedAddUlong(PULONG Addend, ULONG Increment, PKSPIN_LOCK Lock)
{
	KIRQL old = lock(Lock, EX_CALLER());
	ULONG before = *Addend;
	*Addend = before + Increment;
	unlock(Lock, old);
	return before;
}

LARGE_INTEGER NTAPI ExInterlockedAddLargeInteger(PLARGE_INTEGER Addend, LARGE_INTEGER Increment,
						 PKSPIN_LOCK Lock)
{
	KIRQL old = lock(Lock, EX_CALLER());
	LARGE_INTEGER before = *Addend;
	Addend->QuadPart = before.QuadPart + Increment.QuadPart;
	unlock(Lock, old);
	return before;
}
