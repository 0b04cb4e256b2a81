/* SPDX-License-Identifier: MIT */
/*
 * lookaside.c: lookaside lists: caches of blocks of one size in front of the pool.
 *
 * Initialising and deleting at IRQL <= DISPATCH_LEVEL (paged lists APC_LEVEL); no locks: the blocks
 * wait in an SLIST. The members are public: drivers allocate from and free to these lists inline
 * (DEF-234), with the functions that are written here into Allocate and Free.
 *
 * Implements DEF-224..228, DEF-233, DEF-234, VER-15. Chosen: the depth is constant, DEPTH; with the
 * verifier on it is 0, so that every free reaches the pool and is judged there.
 */
#include "ex/ex_internal.h"
#include "vf/vf.h"

#define DEPTH         256u
#define SMALLEST      sizeof(SLIST_ENTRY) /* LOOKASIDE_MINIMUM_BLOCK_SIZE */
#define TYPES_ALLOWED (PagedPool | NonPagedPoolCacheAligned | 32 /* session */ | NonPagedPoolNx)

/* A list in any of its three forms: they begin alike. */
static void initialize(GENERAL_LOOKASIDE_POOL *list, PALLOCATE_FUNCTION allocate,
		       PFREE_FUNCTION free, ULONG type, SIZE_T size, ULONG tag)
{
	*list = (GENERAL_LOOKASIDE_POOL){0};
	InitializeSListHead(&list->ListHead);
	list->Depth = vf_on() ? 0 : DEPTH;
	list->MaximumDepth = DEPTH;
	list->Type = (POOL_TYPE)type;
	list->Tag = tag;
	list->Size = (ULONG)(size < SMALLEST ? SMALLEST : size);
	list->Allocate = allocate ? allocate : ExAllocatePoolWithTag;
	list->Free = free ? free : ExFreePool;
	InitializeListHead(&list->ListEntry);
}

/* `extended`: the free function takes the list too. */
static void drain(GENERAL_LOOKASIDE_POOL *list, bool extended)
{
	for (;;) {
		void *block = ex_slist_pop(&list->ListHead);
		if (!block)
			return;
		if (extended)
			list->FreeEx(block, (PLOOKASIDE_LIST_EX)list);
		else
			list->Free(block);
	}
}

static void note_live(const void *list, size_t size, uint64_t caller, const char *ddi)
{
	if (!ex_live_add(EX_LIVE_LOOKASIDE, list, size, caller))
		vf_report(VF_LookasideLeft, ddi, caller, (uint64_t)list,
			  "initializes the lookaside list %p, which is in use", list);
}

/* IRQL <= DISPATCH_LEVEL. Flags: POOL_RAISE_IF_ALLOCATION_FAILURE, POOL_NX_ALLOCATION. The depth is
 * not looked at. (DEF-234) */
VOID NTAPI ExInitializeNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside,
					   PALLOCATE_FUNCTION Allocate, PFREE_FUNCTION Free,
					   ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth)
{
	(void)Depth;
	ULONG flags = Flags & (POOL_RAISE_IF_ALLOCATION_FAILURE | POOL_NX_ALLOCATION);
	note_live(Lookaside, sizeof(*Lookaside), EX_CALLER(), __func__);
	initialize((GENERAL_LOOKASIDE_POOL *)Lookaside, Allocate, Free, NonPagedPool | flags, Size,
		   Tag);
}

/* IRQL <= APC_LEVEL. (VER-15) */
VOID NTAPI ExInitializePagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside,
					  PALLOCATE_FUNCTION Allocate, PFREE_FUNCTION Free,
					  ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth)
{
	(void)Depth;
	ULONG flags = Flags & POOL_RAISE_IF_ALLOCATION_FAILURE;
	note_live(Lookaside, sizeof(*Lookaside), EX_CALLER(), __func__);
	initialize((GENERAL_LOOKASIDE_POOL *)Lookaside, Allocate, Free, PagedPool | flags, Size,
		   Tag);
}

/* Frees the blocks that wait in it. IRQL <= DISPATCH_LEVEL; the paged form APC_LEVEL. */
VOID NTAPI ExDeleteNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside)
{
	ex_live_remove(EX_LIVE_LOOKASIDE, Lookaside);
	drain((GENERAL_LOOKASIDE_POOL *)Lookaside, false);
}

VOID NTAPI ExDeletePagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside)
{
	ex_live_remove(EX_LIVE_LOOKASIDE, Lookaside);
	drain((GENERAL_LOOKASIDE_POOL *)Lookaside, false);
}

/*
 * IRQL <= DISPATCH_LEVEL. STATUS_INVALID_PARAMETER_4: no such pool; _5: both flags, or unknown
 * ones; _6: Size below 16. (DEF-233)
 */
NTSTATUS NTAPI ExInitializeLookasideListEx(PLOOKASIDE_LIST_EX Lookaside,
					   PALLOCATE_FUNCTION_EX Allocate, PFREE_FUNCTION_EX Free,
					   POOL_TYPE PoolType, ULONG Flags, SIZE_T Size, ULONG Tag,
					   USHORT Depth)
{
	(void)Depth;
	ULONG type = PoolType;
	if (type & ~(ULONG)TYPES_ALLOWED)
		return STATUS_INVALID_PARAMETER_4;
	switch (Flags) {
	case 0:
		break;
	case EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL:
		type |= POOL_RAISE_IF_ALLOCATION_FAILURE;
		break;
	case EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE:
		type |= POOL_QUOTA_FAIL_INSTEAD_OF_RAISE;
		break;
	default:
		return STATUS_INVALID_PARAMETER_5;
	}
	if (Size < SMALLEST)
		return STATUS_INVALID_PARAMETER_6;
	note_live(Lookaside, sizeof(*Lookaside), EX_CALLER(), __func__);
	initialize(&Lookaside->L, NULL, NULL, type, Size, Tag);
	if (Allocate)
		Lookaside->L.AllocateEx = Allocate;
	if (Free)
		Lookaside->L.FreeEx = Free;
	return STATUS_SUCCESS;
}

VOID NTAPI ExDeleteLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
{
	ex_live_remove(EX_LIVE_LOOKASIDE, Lookaside);
	drain(&Lookaside->L, true);
}

/* Frees the blocks that wait in it; the list stays. */
VOID NTAPI ExFlushLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
{
	drain(&Lookaside->L, true);
}

/* IRQL as for the list's pool. 0: no memory (or raises, as the list was initialised). (DEF-224) */
PVOID NTAPI ExAllocateFromLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
{
	GENERAL_LOOKASIDE_POOL *list = &Lookaside->L;
	list->TotalAllocates++;
	void *block = ex_slist_pop(&list->ListHead);
	if (block)
		return block;
	list->AllocateMisses++;
	return list->AllocateEx(list->Type, list->Size, list->Tag, Lookaside);
}

/* (DEF-228) */
VOID NTAPI ExFreeToLookasideListEx(PLOOKASIDE_LIST_EX Lookaside, PVOID Entry)
{
	GENERAL_LOOKASIDE_POOL *list = &Lookaside->L;
	list->TotalFrees++;
	if (ExQueryDepthSList(&list->ListHead) < list->Depth) {
		ex_slist_push(&list->ListHead, Entry);
		return;
	}
	list->FreeMisses++;
	list->FreeEx(Entry, Lookaside);
}
