/* SPDX-License-Identifier: MIT */
/*
 * The order in which drivers acquire spin locks (VER-34): whoever waits for B while he holds A has
 * said "A before B"; when others have said "B before A", directly or over further locks, the two
 * can wait for each other for ever, even if they never have so far.
 *
 * Runs while the verifier is on, before the wait, at DISPATCH_LEVEL or below; not in NMIs or above.
 * `order_lock` guards the graph; an order that is known already is found without it.
 *
 * A node is a lock by its address. Locks on a thread's stack have none: the next lock at that
 * address is another one. A node goes when its memory is freed, when its driver unloads, or when
 * the lock is initialized again. When there are more locks than nodes, the rest is not judged.
 */
#include "ke/internal.h"
#include "ke/spinlock.h"

#define NODES 512

static struct ke_lock order_lock;
static const void *_Atomic nodes[NODES]; /* 0: free, as is what was forgotten */
static _Atomic uint64_t
	before[NODES][NODES / 64];   /* bit b of row a: a was held when b was acquired */
static uint64_t where[NODES][NODES]; /* by whom */

static unsigned slot_of(const void *lock)
{
	uint64_t hash = (uint64_t)(uintptr_t)lock * 0x9e3779b97f4a7c15ull;
	return (unsigned)(hash >> 55);
}

/* The node of a lock, or NODES. Nodes are forgotten in place, so a search goes over the whole chain
 * of eight. */
static unsigned find(const void *lock)
{
	unsigned first = slot_of(lock);
	for (unsigned i = 0; i < 8; i++) {
		unsigned at = (first + i) % NODES;
		if (atomic_load_explicit(&nodes[at], memory_order_relaxed) == lock)
			return at;
	}
	return NODES;
}

static unsigned find_or_make(const void *lock)
{
	unsigned first = slot_of(lock), at = find(lock);
	for (unsigned i = 0; i < 8 && at == NODES; i++) {
		unsigned free = (first + i) % NODES;
		if (!atomic_load_explicit(&nodes[free], memory_order_relaxed)) {
			atomic_store_explicit(&nodes[free], lock, memory_order_relaxed);
			at = free;
		}
	}
	return at;
}

static bool says(unsigned a, unsigned b)
{
	return atomic_load_explicit(&before[a][b / 64], memory_order_relaxed) >> (b % 64) & 1;
}

/* With the lock: does `from` come before `to`? *next is the node after `from` on the way. */
static bool leads(unsigned from, unsigned to, unsigned *next)
{
	uint64_t seen[NODES / 64] = {0};
	uint16_t queue[NODES], by[NODES];
	unsigned head = 0, tail = 0;
	queue[tail++] = (uint16_t)from;
	seen[from / 64] |= 1ull << (from % 64);
	while (head < tail) {
		unsigned at = queue[head++];
		if (at == to) {
			while (by[at] != from)
				at = by[at];
			*next = at;
			return true;
		}
		for (unsigned word = 0; word < NODES / 64; word++) {
			uint64_t fresh =
				atomic_load_explicit(&before[at][word], memory_order_relaxed) &
				~seen[word];
			seen[word] |= fresh;
			for (; fresh; fresh &= fresh - 1) {
				unsigned found = word * 64 + (unsigned)__builtin_ctzll(fresh);
				by[found] = (uint16_t)at;
				queue[tail++] = (uint16_t)found;
			}
		}
	}
	return false;
}

/* With the lock: `held` is held, `lock` is wanted. Returns who said the opposite; 0: nobody. */
static uint64_t say(const void *held, const void *lock, uint64_t caller)
{
	unsigned a = find_or_make(held), b = find_or_make(lock), next;
	if (a == NODES || b == NODES || says(a, b))
		return 0;
	uint64_t opposite = leads(b, a, &next) ? where[b][next] : 0;
	where[a][b] = caller;
	atomic_fetch_or_explicit(&before[a][b / 64], 1ull << (b % 64), memory_order_relaxed);
	return opposite;
}

static bool on_stack(const void *lock)
{
	PKTHREAD thread = ke_thread();
	return lock >= thread->StackLimit && lock < thread->StackBase;
}

void ke_lock_order_check(const void *held, const void *lock, uint64_t caller, const char *ddi)
{
	if (held == lock || on_stack(held) || on_stack(lock) || ke_irql() > DISPATCH_LEVEL)
		return;
	unsigned a = find(held), b = find(lock);
	if (a != NODES && b != NODES && says(a, b))
		return;
	KIRQL old = ke_lock_raise(&order_lock);
	uint64_t opposite = say(held, lock, caller);
	ke_lock_lower(&order_lock, old);
	if (opposite)
		vf_report(VF_LockOrder, ddi, caller, (uint64_t)(uintptr_t)lock,
			  "acquires the spin lock %p while %p is held; at %p they are acquired in "
			  "the opposite order",
			  lock, held, (void *)(uintptr_t)opposite);
}

static void forget_node(unsigned node)
{
	for (unsigned i = 0; i < NODES; i++)
		atomic_fetch_and_explicit(&before[i][node / 64], ~(1ull << (node % 64)),
					  memory_order_relaxed);
	for (unsigned word = 0; word < NODES / 64; word++)
		atomic_store_explicit(&before[node][word], 0, memory_order_relaxed);
	atomic_store_explicit(&nodes[node], NULL, memory_order_relaxed);
}

void ke_lock_order_forget(const void *base, size_t size)
{
	if (ke_irql() > DISPATCH_LEVEL)
		return;
	KIRQL old = ke_lock_raise(&order_lock);
	for (unsigned node = 0; node < NODES; node++) {
		const void *lock = atomic_load_explicit(&nodes[node], memory_order_relaxed);
		if (lock && (uint64_t)(uintptr_t)lock - (uint64_t)(uintptr_t)base < size)
			forget_node(node);
	}
	ke_lock_lower(&order_lock, old);
}
