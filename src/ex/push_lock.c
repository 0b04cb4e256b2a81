/* SPDX-License-Identifier: MIT */
/*
 * push_lock.c: push locks: reader-writer locks of one word that is 0 when free, and needs no
 * initialisation or deletion.
 *
 * IRQL <= APC_LEVEL, in a critical region. The word: bit 0 a writer holds it, bit 1 somebody waits,
 * from bit 4 on the readers. Without waiters it changes by compare and exchange alone. Waiters
 * stand in one of BUCKETS queues, found by the lock's address, on their own stacks; while bit 1 is
 * set the word changes only under that queue's lock (DISPATCH_LEVEL, before the dispatcher's lock).
 * The one who releases passes the lock on to the first waiter, or to the readers at the head.
 *
 * Implements DEF-220, DEF-239. Not recursive, as on Windows.
 */
#include "ex/ex_internal.h"
#include "ke/ke.h"
#include "vf/vf.h"

#define WRITER  UINT64_C(1)
#define WAITERS UINT64_C(2)
#define READER  UINT64_C(16)
#define READERS (~UINT64_C(15))
#define BUCKETS 64u

struct push_wait {
	struct push_wait *next;
	PEX_PUSH_LOCK lock;
	bool writer;
	KEVENT granted;
};

static struct bucket {
	struct ke_lock lock;
	struct push_wait *first;
} buckets[BUCKETS];

static struct bucket *bucket_of(PEX_PUSH_LOCK lock)
{
	return &buckets[((uint64_t)lock >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 58];
}

static uint64_t load(PEX_PUSH_LOCK lock)
{
	return __atomic_load_n(lock, __ATOMIC_RELAXED);
}

/* Acquire on the way in, release on the way out: one order serves both. */
static bool exchange_if(PEX_PUSH_LOCK lock, ULONG_PTR expected, uint64_t value)
{
	return __atomic_compare_exchange_n(lock, &expected, value, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static bool try_writer(PEX_PUSH_LOCK lock)
{
	return exchange_if(lock, 0, WRITER);
}

static bool try_reader(PEX_PUSH_LOCK lock)
{
	uint64_t word = load(lock);
	while (!(word & (WRITER | WAITERS))) {
		if (exchange_if(lock, word, word + READER))
			return true;
		word = load(lock);
	}
	return false;
}

/* ---- Waiting
 * ------------------------------------------------------------------------------------------ */

static void enqueue(struct bucket *bucket, struct push_wait *wait)
{
	struct push_wait **link = &bucket->first;
	while (*link)
		link = &(*link)->next;
	wait->next = NULL;
	*link = wait;
}

static void wait_for(PEX_PUSH_LOCK lock, bool writer)
{
	struct push_wait wait = {.lock = lock, .writer = writer};
	struct bucket *bucket = bucket_of(lock);
	KeInitializeEvent(&wait.granted, SynchronizationEvent, FALSE);

	KIRQL old = ke_lock_raise(&bucket->lock);
	for (;;) {
		if (writer ? try_writer(lock) : try_reader(lock)) {
			ke_lock_lower(&bucket->lock, old);
			return;
		}
		uint64_t word = load(lock);
		bool free = writer ? !word : !(word & (WRITER | WAITERS));
		if (!free && ((word & WAITERS) || exchange_if(lock, word, word | WAITERS)))
			break;
	}
	enqueue(bucket, &wait);
	ke_lock_lower(&bucket->lock, old);
	KeWaitForSingleObject(&wait.granted, WrPushLock, KernelMode, FALSE, NULL);
}

/* The first waiter for the lock, and whether there are more. */
static struct push_wait **first_wait(struct bucket *bucket, PEX_PUSH_LOCK lock, bool *more)
{
	struct push_wait **link = &bucket->first;
	while (*link && (*link)->lock != lock)
		link = &(*link)->next;
	*more = false;
	for (struct push_wait *other = *link ? (*link)->next : NULL; other; other = other->next)
		*more |= other->lock == lock;
	return link;
}

/* The lock is free and has waiters: pass it on. The bucket's lock is held, bit 1 is set. */
static void pass_on(struct bucket *bucket, PEX_PUSH_LOCK lock)
{
	struct push_wait *granted = NULL;
	uint64_t word = 0;
	bool more = true;
	while (more && !(word & WRITER)) {
		struct push_wait **link = first_wait(bucket, lock, &more);
		struct push_wait *wait = *link;
		if (wait->writer && word) { /* readers came first */
			more = true;
			break;
		}
		word += wait->writer ? WRITER : READER;
		*link = wait->next;
		wait->next = granted;
		granted = wait;
	}
	/* Release: pairs with the waiters' events, and with the fast paths. */
	__atomic_store_n(lock, word | (more ? WAITERS : 0), __ATOMIC_RELEASE);
	while (granted) {
		struct push_wait *next = granted->next;
		KeSetEvent(&granted->granted, 0, FALSE);
		granted = next;
	}
}

/* ---- Acquire and release
 * ------------------------------------------------------------------------------- */

static void check_region(PEX_PUSH_LOCK lock, uint64_t caller, const char *ddi)
{
	PKTHREAD thread = ke_thread();
	if (ke_irql() < APC_LEVEL && !thread->kernel_apc_disable && !thread->special_apc_disable)
		vf_report(VF_ResourceMisuse, ddi, caller, (uint64_t)lock,
			  "acquires the push lock %p outside a critical region", lock);
}

static void acquire(PEX_PUSH_LOCK lock, bool writer, uint64_t caller, const char *ddi)
{
	if (vf_on())
		check_region(lock, caller, ddi);
	if (!(writer ? try_writer(lock) : try_reader(lock)))
		wait_for(lock, writer);
}

static void release_slowly(PEX_PUSH_LOCK lock)
{
	struct bucket *bucket = bucket_of(lock);
	KIRQL old = ke_lock_raise(&bucket->lock);
	uint64_t word = load(lock);
	if ((word & READERS) > READER)
		__atomic_store_n(lock, word - READER, __ATOMIC_RELEASE);
	else
		pass_on(bucket, lock);
	ke_lock_lower(&bucket->lock, old);
}

static void release(PEX_PUSH_LOCK lock, uint64_t caller, const char *ddi)
{
	for (;;) {
		uint64_t word = load(lock);
		if (!(word & (WRITER | READERS))) {
			if (vf_on())
				vf_report(VF_LockNotAcquired, ddi, caller, (uint64_t)lock,
					  "releases the push lock %p, which nobody holds", lock);
			return;
		}
		if (word & WAITERS) {
			release_slowly(lock);
			return;
		}
		if (exchange_if(lock, word, word & WRITER ? 0 : word - READER))
			return;
	}
}

/* IRQL any. */
VOID FASTCALL ExInitializePushLock(PEX_PUSH_LOCK PushLock)
{
	*PushLock = 0;
}

/* IRQL <= APC_LEVEL, in a critical region. The flags mean nothing here. (DEF-220) */
VOID FASTCALL ExAcquirePushLockExclusiveEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
	(void)Flags;
	acquire(PushLock, true, EX_CALLER(), __func__);
}

VOID FASTCALL ExAcquirePushLockSharedEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
	(void)Flags;
	acquire(PushLock, false, EX_CALLER(), __func__);
}

/* TRUE: acquired. */
BOOLEAN FASTCALL ExTryAcquirePushLockExclusiveEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
	(void)Flags;
	return try_writer(PushLock);
}

BOOLEAN FASTCALL ExTryAcquirePushLockSharedEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
	(void)Flags;
	return try_reader(PushLock);
}

/* (DEF-239) */
VOID FASTCALL ExReleasePushLockExclusiveEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
	(void)Flags;
	release(PushLock, EX_CALLER(), __func__);
}

VOID FASTCALL ExReleasePushLockSharedEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
	(void)Flags;
	release(PushLock, EX_CALLER(), __func__);
}

/* Held in either way. */
VOID FASTCALL ExReleasePushLockEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
	(void)Flags;
	release(PushLock, EX_CALLER(), __func__);
}

/* The plain names of the same. */
VOID FASTCALL ExfAcquirePushLockExclusive(PEX_PUSH_LOCK PushLock)
{
	acquire(PushLock, true, EX_CALLER(), __func__);
}

VOID FASTCALL ExfAcquirePushLockShared(PEX_PUSH_LOCK PushLock)
{
	acquire(PushLock, false, EX_CALLER(), __func__);
}

VOID FASTCALL ExfReleasePushLock(PEX_PUSH_LOCK PushLock)
{
	release(PushLock, EX_CALLER(), __func__);
}

VOID FASTCALL ExfReleasePushLockExclusive(PEX_PUSH_LOCK PushLock)
{
	release(PushLock, EX_CALLER(), __func__);
}

VOID FASTCALL ExfReleasePushLockShared(PEX_PUSH_LOCK PushLock)
{
	release(PushLock, EX_CALLER(), __func__);
}
