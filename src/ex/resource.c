/* SPDX-License-Identifier: MIT */
/*
 * resource.c: ERESOURCE: reader-writer locks with recursion, owners by thread.
 *
 * Acquire at IRQL <= APC_LEVEL with normal kernel APCs off, release and query at IRQL <=
 * DISPATCH_LEVEL. The structure is the driver's, non-paged; its members are used like this, all
 * under the lock in SpinLock (DISPATCH_LEVEL, before ex_pool_lock and the dispatcher's lock):
 *   OwnerEntry          the exclusive owner, or the first of the shared ones
 *   OwnerTable          further shared owners: a struct owner_table
 *   ActiveEntries       owners; Flag says whether the one is exclusive
 *   Reserved2           the first waiter; waiters stand in one queue, on their own stacks
 *   Address             the resource's own address while it is initialised
 * The one who releases gives the ownership to the waiters whose turn it is, then wakes them.
 *
 * Implements DEF-171, DEF-172, DEF-181, DEF-221..223, DEF-227, DEF-229, DEF-231, DEF-237..242,
 * VER-16; VER-28 by ex/live.c. Chosen: waiters are served in the order of their coming,
 * neighbouring readers together; priorities are not boosted.
 */
#include <bugcodes.h>
#include "ex/ex_internal.h"
#include "ke/ke.h"
#include "vf/vf.h"

#define FLAG_EXCLUSIVE 0x80 /* ResourceOwnedExclusive */
#define TAG_OWNERS     'TseR'

struct owner_table {
	uint32_t capacity;
	uint32_t pad;
	OWNER_ENTRY entries[];
};

struct resource_wait {
	struct resource_wait *next;
	ERESOURCE_THREAD thread;
	bool exclusive;
	KEVENT granted;
};

enum acquire_kind {
	ACQUIRE_EXCLUSIVE,
	ACQUIRE_SHARED,                /* behind exclusive waiters, unless it owns already */
	ACQUIRE_SHARED_STARVE,         /* past exclusive waiters */
	ACQUIRE_SHARED_WAIT_EXCLUSIVE, /* behind exclusive waiters, always */
};

static ERESOURCE_THREAD self(void)
{
	return (ERESOURCE_THREAD)ke_thread();
}

static struct ke_lock *lock_of(PERESOURCE resource)
{
	return (struct ke_lock *)&resource->SpinLock;
}

/* ---- Owners (the lock is held)
 * -------------------------------------------------------------------- */

static struct owner_table *table_of(PERESOURCE resource)
{
	return (struct owner_table *)resource->OwnerTable;
}

static OWNER_ENTRY *find_owner(PERESOURCE resource, ERESOURCE_THREAD thread)
{
	if (resource->OwnerEntry.OwnerThread == thread && resource->OwnerEntry.OwnerCount)
		return &resource->OwnerEntry;
	struct owner_table *table = table_of(resource);
	for (uint32_t i = 0; table && i < table->capacity; i++) {
		if (table->entries[i].OwnerThread == thread && table->entries[i].OwnerCount)
			return &table->entries[i];
	}
	return NULL;
}

/* A free place; 0: the table is full. */
static OWNER_ENTRY *find_place(PERESOURCE resource)
{
	if (!resource->OwnerEntry.OwnerCount)
		return &resource->OwnerEntry;
	struct owner_table *table = table_of(resource);
	for (uint32_t i = 0; table && i < table->capacity; i++) {
		if (!table->entries[i].OwnerCount)
			return &table->entries[i];
	}
	return NULL;
}

/* Room for all owners and all who wait, and one more, so that granting never needs memory. False:
 * no memory. */
static bool reserve_place(PERESOURCE resource)
{
	struct owner_table *old = table_of(resource);
	uint32_t have = old ? old->capacity : 0;
	uint32_t waiters = resource->NumberOfSharedWaiters + resource->NumberOfExclusiveWaiters;
	uint32_t need = resource->ActiveEntries + waiters; /* one more fits into OwnerEntry */
	if (need <= have)
		return true;
	uint32_t capacity = need < 4 ? 4 : need * 2;
	struct owner_table *new = ex_allocate(sizeof(*new) + capacity * sizeof(OWNER_ENTRY),
					      TAG_OWNERS, NonPagedPoolNx);
	if (!new)
		return false;
	new->capacity = capacity;
	for (uint32_t i = 0; i < have; i++)
		new->entries[i] = old->entries[i];
	resource->OwnerTable = (POWNER_ENTRY) new;
	ex_free(old);
	return true;
}

static void own(PERESOURCE resource, ERESOURCE_THREAD thread, bool exclusive)
{
	OWNER_ENTRY *entry = find_owner(resource, thread);
	if (!entry) {
		entry = find_place(resource);
		entry->OwnerThread = thread;
		resource->ActiveEntries++;
	}
	entry->OwnerCount++;
	resource->ActiveCount = (SHORT)resource->ActiveEntries;
	if (exclusive)
		resource->Flag |= FLAG_EXCLUSIVE;
}

static bool is_exclusive(const ERESOURCE *resource)
{
	return resource->Flag & FLAG_EXCLUSIVE;
}

/* Whether the request can be granted now. */
static bool grantable(PERESOURCE resource, enum acquire_kind kind, ERESOURCE_THREAD thread)
{
	if (!resource->ActiveEntries)
		return true;
	bool owner = find_owner(resource, thread);
	if (kind == ACQUIRE_EXCLUSIVE || is_exclusive(resource))
		return is_exclusive(resource) && owner;
	if (kind == ACQUIRE_SHARED_STARVE || !resource->NumberOfExclusiveWaiters)
		return true;
	return kind == ACQUIRE_SHARED && owner;
}

/* ---- Waiting (the lock is held)
 * ---------------------------------------------------------------------- */

static void enqueue(PERESOURCE resource, struct resource_wait *wait)
{
	struct resource_wait **link = (struct resource_wait **)&resource->Reserved2;
	while (*link)
		link = &(*link)->next;
	*link = wait;
	wait->next = NULL;
	if (wait->exclusive)
		resource->NumberOfExclusiveWaiters++;
	else
		resource->NumberOfSharedWaiters++;
	resource->ContentionCount++;
}

/* Give the resource to those at the head of the queue whose turn it is. */
static void grant(PERESOURCE resource)
{
	for (;;) {
		struct resource_wait *wait = resource->Reserved2;
		if (!wait ||
		    (resource->ActiveEntries && (wait->exclusive || is_exclusive(resource))))
			return;
		resource->Reserved2 = wait->next;
		if (wait->exclusive)
			resource->NumberOfExclusiveWaiters--;
		else
			resource->NumberOfSharedWaiters--;
		own(resource, wait->thread, wait->exclusive);
		KeSetEvent(&wait->granted, 0, FALSE); /* the waiter's stack goes on */
	}
}

/* ---- Checks
 * --------------------------------------------------------------------------------------------- */

static void check_use(PERESOURCE resource, uint64_t caller, const char *ddi)
{
	if (resource->Address != resource)
		vf_report(VF_LockUninitialized, ddi, caller, (uint64_t)resource,
			  "uses %p, which is not an initialized ERESOURCE", resource);
}

static void check_acquire(PERESOURCE resource, uint64_t caller, const char *ddi)
{
	PKTHREAD thread = ke_thread();
	check_use(resource, caller, ddi);
	if (ke_irql() < APC_LEVEL && !thread->kernel_apc_disable && !thread->special_apc_disable)
		vf_report(VF_ResourceMisuse, ddi, caller, (uint64_t)resource,
			  "acquires the ERESOURCE %p outside a critical region", resource);
}

/* ---- Acquiring
 * -------------------------------------------------------------------------------------------- */

static bool acquire(PERESOURCE resource, enum acquire_kind kind, bool may_wait, uint64_t caller,
		    const char *ddi)
{
	struct resource_wait wait = {.thread = self(), .exclusive = kind == ACQUIRE_EXCLUSIVE};
	if (vf_on())
		check_acquire(resource, caller, ddi);
	for (;;) {
		KIRQL old = ke_lock_raise(lock_of(resource));
		bool room = reserve_place(resource);
		bool granted = room && grantable(resource, kind, wait.thread);
		bool waits = room && !granted && may_wait;
		if (granted)
			own(resource, wait.thread, wait.exclusive);
		if (waits) {
			KeInitializeEvent(&wait.granted, SynchronizationEvent, FALSE);
			enqueue(resource, &wait);
		}
		ke_lock_lower(lock_of(resource), old);
		if (granted)
			return true;
		if (waits) {
			KeWaitForSingleObject(&wait.granted, WrResource, KernelMode, FALSE, NULL);
			return true;
		}
		if (!may_wait)
			return false;
		LARGE_INTEGER pause = {
			.QuadPart = -100000}; /* no memory for the owner: try again in 10 ms */
		KeDelayExecutionThread(KernelMode, FALSE, &pause);
	}
}

/* IRQL <= APC_LEVEL, in a critical region. Recursive. FALSE: not now, and Wait is FALSE. (DEF-181)
 */
BOOLEAN NTAPI ExAcquireResourceExclusiveLite(PERESOURCE Resource, BOOLEAN Wait)
{
	return acquire(Resource, ACQUIRE_EXCLUSIVE, Wait, EX_CALLER(), __func__);
}

BOOLEAN NTAPI ExTryToAcquireResourceExclusiveLite(PERESOURCE Resource)
{
	return acquire(Resource, ACQUIRE_EXCLUSIVE, false, EX_CALLER(), __func__);
}

/* Behind exclusive waiters, unless the thread owns it already. An exclusive owner gets one more
 * level. (DEF-221) */
BOOLEAN NTAPI ExAcquireResourceSharedLite(PERESOURCE Resource, BOOLEAN Wait)
{
	return acquire(Resource, ACQUIRE_SHARED, Wait, EX_CALLER(), __func__);
}

/* Past exclusive waiters. (DEF-222) */
BOOLEAN NTAPI ExAcquireSharedStarveExclusive(PERESOURCE Resource, BOOLEAN Wait)
{
	return acquire(Resource, ACQUIRE_SHARED_STARVE, Wait, EX_CALLER(), __func__);
}

/* Behind exclusive waiters even if the thread owns it. (DEF-223) */
BOOLEAN NTAPI ExAcquireSharedWaitForExclusive(PERESOURCE Resource, BOOLEAN Wait)
{
	return acquire(Resource, ACQUIRE_SHARED_WAIT_EXCLUSIVE, Wait, EX_CALLER(), __func__);
}

/* IRQL <= APC_LEVEL. Returns the thread's Win32 data on Windows; here 0. (DEF-227) */
PVOID NTAPI ExEnterCriticalRegionAndAcquireResourceExclusive(PERESOURCE Resource)
{
	KeEnterCriticalRegion();
	acquire(Resource, ACQUIRE_EXCLUSIVE, true, EX_CALLER(), __func__);
	return NULL;
}

PVOID NTAPI ExEnterCriticalRegionAndAcquireResourceShared(PERESOURCE Resource)
{
	KeEnterCriticalRegion();
	acquire(Resource, ACQUIRE_SHARED, true, EX_CALLER(), __func__);
	return NULL;
}

PVOID NTAPI ExEnterCriticalRegionAndAcquireSharedWaitForExclusive(PERESOURCE Resource)
{
	KeEnterCriticalRegion();
	acquire(Resource, ACQUIRE_SHARED_WAIT_EXCLUSIVE, true, EX_CALLER(), __func__);
	return NULL;
}

/* ---- Releasing
 * --------------------------------------------------------------------------------------------- */

static void not_owned(PERESOURCE resource, ERESOURCE_THREAD thread, uint64_t caller,
		      const char *ddi)
{
	if (vf_on()) {
		vf_report(VF_ResourceMisuse, ddi, caller, (uint64_t)resource,
			  "releases the ERESOURCE %p, which the thread %p does not own", resource,
			  (void *)thread);
		return;
	}
	struct ke_bugcheck_detail detail = {
		.address = caller,
		.text = "an ERESOURCE is released by a thread that does not own it"};
	ke_bugcheck(RESOURCE_NOT_OWNED, (uint64_t)resource, thread, (uint64_t)resource->OwnerTable,
		    0, &detail);
}

static void release(PERESOURCE resource, ERESOURCE_THREAD thread, uint64_t caller, const char *ddi)
{
	if (vf_on())
		check_use(resource, caller, ddi);
	KIRQL old = ke_lock_raise(lock_of(resource));
	OWNER_ENTRY *entry = find_owner(resource, thread);
	if (entry && --entry->OwnerCount == 0) {
		entry->OwnerThread = 0;
		resource->ActiveEntries--;
		resource->ActiveCount = (SHORT)resource->ActiveEntries;
		resource->Flag &= (USHORT)~FLAG_EXCLUSIVE; /* an exclusive owner is the only one */
		grant(resource);
	}
	ke_lock_lower(lock_of(resource), old);
	if (!entry)
		not_owned(resource, thread, caller, ddi);
}

/* IRQL <= DISPATCH_LEVEL, by the owner. Not the owner: bug check 0xE3, with the verifier a finding.
 * (DEF-242) */
VOID FASTCALL ExReleaseResourceLite(PERESOURCE Resource)
{
	release(Resource, self(), EX_CALLER(), __func__);
}

/* (DEF-241) */
VOID NTAPI ExReleaseResourceForThreadLite(PERESOURCE Resource, ERESOURCE_THREAD ResourceThreadId)
{
	release(Resource, ResourceThreadId, EX_CALLER(), __func__);
}

/* (DEF-240) */
VOID FASTCALL ExReleaseResourceAndLeaveCriticalRegion(PERESOURCE Resource)
{
	release(Resource, self(), EX_CALLER(), __func__);
	KeLeaveCriticalRegion();
}

/* The exclusive owner becomes a shared one, with all its levels; readers that wait come in. IRQL <=
 * APC_LEVEL. */
VOID NTAPI ExConvertExclusiveToSharedLite(PERESOURCE Resource)
{
	uint64_t caller = EX_CALLER();
	KIRQL old = ke_lock_raise(lock_of(Resource));
	bool owner = is_exclusive(Resource) && find_owner(Resource, self());
	if (owner) {
		Resource->Flag &= (USHORT)~FLAG_EXCLUSIVE;
		grant(Resource);
	}
	ke_lock_lower(lock_of(Resource), old);
	if (!owner && vf_on())
		vf_report(VF_ResourceMisuse, __func__, caller, (uint64_t)Resource,
			  "converts the ERESOURCE %p, which the thread does not own exclusively",
			  Resource);
}

/* The calling thread's ownership becomes that of `OwnerPointer` (low bits set), for
 * ExReleaseResourceForThreadLite. */
VOID NTAPI ExSetResourceOwnerPointer(PERESOURCE Resource, PVOID OwnerPointer)
{
	KIRQL old = ke_lock_raise(lock_of(Resource));
	OWNER_ENTRY *entry = find_owner(Resource, self());
	OWNER_ENTRY *other = find_owner(Resource, (ERESOURCE_THREAD)OwnerPointer);
	if (entry && other) {
		other->OwnerCount += entry->OwnerCount;
		entry->OwnerCount = 0;
		entry->OwnerThread = 0;
		Resource->ActiveEntries--;
	} else if (entry) {
		entry->OwnerThread = (ERESOURCE_THREAD)OwnerPointer;
	}
	ke_lock_lower(lock_of(Resource), old);
}

VOID NTAPI ExSetResourceOwnerPointerEx(PERESOURCE Resource, PVOID OwnerPointer, ULONG Flags)
{
	(void)Flags; /* whether the thread stays referenced: it is no object here */
	ExSetResourceOwnerPointer(Resource, OwnerPointer);
}

/* ---- Life
 * -------------------------------------------------------------------------------------------------
 */

static void reset(PERESOURCE resource)
{
	*resource = (ERESOURCE){.Address = resource};
	InitializeListHead(&resource->SystemResourcesList);
}

/* IRQL <= DISPATCH_LEVEL. The storage is nonpaged and 8-byte aligned. STATUS_SUCCESS. (DEF-172) */
NTSTATUS NTAPI ExInitializeResourceLite(PERESOURCE Resource)
{
	uint64_t caller = EX_CALLER();
	if (!ex_live_add(EX_LIVE_RESOURCE, Resource, sizeof(*Resource), caller))
		vf_report(VF_ResourceMisuse, __func__, caller, (uint64_t)Resource,
			  "initializes the ERESOURCE %p, which is in use", Resource);
	reset(Resource);
	return STATUS_SUCCESS;
}

static void check_idle(PERESOURCE resource, uint64_t caller, const char *ddi)
{
	check_use(resource, caller, ddi);
	if (resource->ActiveEntries || resource->Reserved2)
		vf_report(VF_ResourceMisuse, ddi, caller, (uint64_t)resource,
			  "is called for the ERESOURCE %p while it has %u owners", resource,
			  resource->ActiveEntries);
}

/* IRQL <= APC_LEVEL. Nobody owns it. (DEF-171) */
NTSTATUS NTAPI ExDeleteResourceLite(PERESOURCE Resource)
{
	if (vf_on())
		check_idle(Resource, EX_CALLER(), __func__);
	ex_live_remove(EX_LIVE_RESOURCE, Resource);
	ex_free(Resource->OwnerTable);
	Resource->OwnerTable = NULL;
	Resource->Address = NULL;
	return STATUS_SUCCESS;
}

/* For another use, as if new. Nobody owns it. */
NTSTATUS NTAPI ExReinitializeResourceLite(PERESOURCE Resource)
{
	if (vf_on())
		check_idle(Resource, EX_CALLER(), __func__);
	ex_free(Resource->OwnerTable);
	reset(Resource);
	return STATUS_SUCCESS;
}

/* Priorities are not boosted. */
VOID FASTCALL ExDisableResourceBoostLite(PERESOURCE Resource)
{
	(void)Resource;
}

/* ---- Queries: IRQL <= DISPATCH_LEVEL
 * -------------------------------------------------------------------------- */

/* By the caller. (DEF-237) */
BOOLEAN NTAPI ExIsResourceAcquiredExclusiveLite(PERESOURCE Resource)
{
	KIRQL old = ke_lock_raise(lock_of(Resource));
	bool owner = is_exclusive(Resource) && find_owner(Resource, self());
	ke_lock_lower(lock_of(Resource), old);
	return owner;
}

/* How often the calling thread owns it, in either way. (DEF-238) */
ULONG NTAPI ExIsResourceAcquiredSharedLite(PERESOURCE Resource)
{
	KIRQL old = ke_lock_raise(lock_of(Resource));
	const OWNER_ENTRY *entry = find_owner(Resource, self());
	ULONG count = entry ? entry->OwnerCount : 0;
	ke_lock_lower(lock_of(Resource), old);
	return count;
}

/* (DEF-229) */
ULONG NTAPI ExGetExclusiveWaiterCount(PERESOURCE Resource)
{
	return __atomic_load_n(&Resource->NumberOfExclusiveWaiters, __ATOMIC_RELAXED);
}

/* (DEF-231) */
ULONG NTAPI ExGetSharedWaiterCount(PERESOURCE Resource)
{
	return __atomic_load_n(&Resource->NumberOfSharedWaiters, __ATOMIC_RELAXED);
}
