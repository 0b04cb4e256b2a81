/* SPDX-License-Identifier: MIT */
/*
 * Stubs: copies of drivers' instructions that run on the shared page's alias.
 *
 * A stub is 32 bytes: the patched instruction, then a jump to the instruction after the original.
 * The stub of an instruction that borrows registers (strings, XLAT) ends in HLT instead: the fault
 * takes it back to emulate.c, which gives the registers back. So a stub needs no stack, no scratch
 * register and no flags, and may be preempted, hit by an NMI, or fault at any point: RIP alone says
 * what its context means in the driver (emulate_stub_restore()).
 *
 * A stub belongs to an instruction (its address, its bytes, the registers it borrows), not to a
 * thread. Once published it never changes until emulate_stub_forget(), so any number of threads may
 * be in it. The table is open-addressed and only grows between forgets. Two threads that meet a new
 * site at the same moment may each make a stub; both are right.
 *
 * Memory: one memfd mapped twice, writable and executable, never both at one address. New code
 * needs no serializing instruction: a thread reaches it by the return from a signal, and a slot is
 * reused only after no thread can be in it.
 *
 * Contexts: get, lookup, restore anywhere, NMI and signal handlers included; create, destroy,
 * forget with no driver code running there. Locks: none. A slot's key is 0 (never used), 1
 * (forgotten), 2 (being written) or the instruction's address; storing the address releases the
 * slot's other fields and its code, loading it acquires them.
 *
 * Caveat: the mappings are shared, so a child of fork() would write its stubs into its parent's.
 */
#define _GNU_SOURCE
#include "port/linux/emulate_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "port/linux/shared_page.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#define SLOT_COUNT  4096u
#define SLOT_SIZE   32u
#define REGION_SIZE ((size_t)SLOT_COUNT * SLOT_SIZE)

#define OPCODE_HLT  0xF4
#define OPCODE_INT3 0xCC

enum { KEY_UNUSED, KEY_FORGOTTEN, KEY_BUSY, KEY_FIRST };

struct slot {
	uint64_t key;
	unsigned char bytes[EMULATE_MAX_LENGTH];
	unsigned char length;      /* of the original */
	unsigned char copy_length; /* of the patched copy */
	unsigned char borrow;
};

static struct slot slots[SLOT_COUNT];
static uint64_t lowest = UINT64_MAX, highest; /* keys so far: most forgets are of other memory */
static unsigned char *writable;
static unsigned char *executable;

static uint64_t slot_address(const struct slot *slot)
{
	return (uint64_t)executable + (uint64_t)(slot - slots) * SLOT_SIZE;
}

/* The slot that rip runs in, with its published contents; NULL if rip is not in a stub. */
static const struct slot *slot_at(uint64_t rip)
{
	uint64_t offset = rip - (uint64_t)executable;
	const struct slot *slot;

	if (!executable || offset >= REGION_SIZE)
		return NULL;
	slot = &slots[offset / SLOT_SIZE];
	if (__atomic_load_n(&slot->key, __ATOMIC_ACQUIRE) < KEY_FIRST) /* release: slot_publish */
		return NULL;
	return slot;
}

static bool slot_matches(const struct slot *slot, const struct emulate_code *in,
			 const struct emulate_copy *copy)
{
	return slot->borrow == copy->borrow && slot->length == in->decoded.length &&
	       memcmp(slot->bytes, in->bytes, in->decoded.length) == 0;
}

static void widen_range(uint64_t rip)
{
	uint64_t seen = __atomic_load_n(&lowest, __ATOMIC_RELAXED);

	while (rip < seen && !__atomic_compare_exchange_n(&lowest, &seen, rip, false,
							  __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		continue;
	seen = __atomic_load_n(&highest, __ATOMIC_RELAXED);
	while (rip > seen && !__atomic_compare_exchange_n(&highest, &seen, rip, false,
							  __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		continue;
}

static void slot_publish(struct slot *slot, const struct emulate_code *in,
			 const struct emulate_copy *copy)
{
	static const unsigned char jump[] = {0xFF, 0x25, 0, 0, 0, 0}; /* jmp [rip] */
	unsigned char *code = writable + (size_t)(slot - slots) * SLOT_SIZE;
	uint64_t next = in->rip + in->decoded.length;

	_Static_assert(EMULATE_MAX_LENGTH + sizeof(jump) + sizeof(next) <= SLOT_SIZE, "slot");
	memset(code, OPCODE_INT3, SLOT_SIZE);
	memcpy(code, copy->code, copy->length);
	code += copy->length;
	if (copy->borrow) {
		*code = OPCODE_HLT;
	} else {
		memcpy(code, jump, sizeof(jump));
		memcpy(code + sizeof(jump), &next, sizeof(next));
	}
	memcpy(slot->bytes, in->bytes, in->decoded.length);
	slot->length = in->decoded.length;
	slot->copy_length = copy->length;
	slot->borrow = copy->borrow;
	widen_range(in->rip);
	__atomic_store_n(&slot->key, in->rip,
			 __ATOMIC_RELEASE); /* acquire: slot_at, emulate_stub_get */
}

static bool slot_claim(struct slot *slot)
{
	uint64_t key = __atomic_load_n(&slot->key, __ATOMIC_RELAXED);

	/* acquire: emulate_stub_forget */
	return key < KEY_BUSY && __atomic_compare_exchange_n(&slot->key, &key, KEY_BUSY, false,
							     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

uint64_t emulate_stub_get(const struct emulate_code *in, const struct emulate_copy *copy)
{
	uint32_t start = (uint32_t)((in->rip * 0x9E3779B97F4A7C15u) >> 32) % SLOT_COUNT;
	uint32_t i;

	for (i = 0; i < SLOT_COUNT; i++) {
		const struct slot *slot = &slots[(start + i) % SLOT_COUNT];
		uint64_t key =
			__atomic_load_n(&slot->key, __ATOMIC_ACQUIRE); /* release: slot_publish */

		if (key == KEY_UNUSED)
			break;
		if (key == in->rip && slot_matches(slot, in, copy))
			return slot_address(slot);
	}
	for (i = 0; i < SLOT_COUNT; i++) {
		struct slot *slot = &slots[(start + i) % SLOT_COUNT];

		if (slot_claim(slot)) {
			slot_publish(slot, in, copy);
			return slot_address(slot);
		}
	}
	return 0;
}

void emulate_stub_forget(uint64_t start, uint64_t length)
{
	if (start > __atomic_load_n(&highest, __ATOMIC_RELAXED) ||
	    start + length <= __atomic_load_n(&lowest, __ATOMIC_RELAXED))
		return;
	for (uint32_t i = 0; i < SLOT_COUNT; i++) {
		uint64_t key = __atomic_load_n(&slots[i].key, __ATOMIC_RELAXED);

		if (key >= KEY_FIRST && key - start < length)
			__atomic_store_n(&slots[i].key, KEY_FORGOTTEN,
					 __ATOMIC_RELEASE); /* slot_claim */
	}
}

bool emulate_stub_at_end(uint64_t rip)
{
	const struct slot *slot = slot_at(rip);

	return slot && slot->borrow && rip == slot_address(slot) + slot->copy_length;
}

void emulate_stub_shift(ucontext_t *uc, unsigned borrow, uint64_t delta)
{
	greg_t *gregs = uc->uc_mcontext.gregs;

	if (borrow & EMULATE_BORROW_RSI)
		gregs[REG_RSI] = (greg_t)((uint64_t)gregs[REG_RSI] + delta);
	if (borrow & EMULATE_BORROW_RDI)
		gregs[REG_RDI] = (greg_t)((uint64_t)gregs[REG_RDI] + delta);
	if (borrow & EMULATE_BORROW_RBX)
		gregs[REG_RBX] = (greg_t)((uint64_t)gregs[REG_RBX] + delta);
}

bool emulate_stub_lookup(uint64_t rip, uint64_t *original)
{
	const struct slot *slot = slot_at(rip);
	bool copy_has_run;

	if (!slot)
		return false;
	copy_has_run = rip - slot_address(slot) >= slot->copy_length;
	*original = slot->key + (copy_has_run ? slot->length : 0);
	return true;
}

bool emulate_stub_restore(ucontext_t *uc)
{
	uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP], original;

	if (!emulate_stub_lookup(rip, &original))
		return false;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)original;
	emulate_stub_shift(uc, slot_at(rip)->borrow, SHARED_PAGE_KERNEL - SHARED_PAGE_USER);
	return true;
}

int emulate_stub_create(void)
{
	void *rw = MAP_FAILED, *rx = MAP_FAILED;
	int fd, error;

	fd = memfd_create("ketch-stubs", MFD_CLOEXEC | MFD_EXEC);
	if (fd < 0 && errno == EINVAL) /* a host older than MFD_EXEC: always executable */
		fd = memfd_create("ketch-stubs", MFD_CLOEXEC);
	if (fd < 0)
		return errno;
	if (ftruncate(fd, REGION_SIZE) != 0)
		goto fail;
	rw = mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (rw == MAP_FAILED)
		goto fail;
	rx = mmap(NULL, REGION_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (rx == MAP_FAILED)
		goto fail;
	close(fd);
	memset(slots, 0, sizeof(slots));
	lowest = UINT64_MAX;
	highest = 0;
	writable = rw;
	executable = rx;
	return 0;

fail:
	error = errno;
	if (rw != MAP_FAILED)
		munmap(rw, REGION_SIZE);
	close(fd);
	return error;
}

void emulate_stub_destroy(void)
{
	if (!executable)
		return;
	munmap(executable, REGION_SIZE);
	munmap(writable, REGION_SIZE);
	executable = NULL;
	writable = NULL;
}
