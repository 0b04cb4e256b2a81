/* SPDX-License-Identifier: MIT */
/*
 * id.c: client ids: one numbering for threads and processes, multiples of 4 (4 is the system
 * process).
 *
 * An id is not given out again before the numbering has gone round. Entries are weak: a find takes
 * a reference, and fails to for an object that dies at that moment. Context: <= DISPATCH_LEVEL.
 * Lock: ps_lock.
 */
#include "ps/ps_internal.h"

static void *ids[PS_IDS_MAX]; /* [0] is never used */
static uint32_t last;

HANDLE ps_id_create(void *object)
{
	HANDLE id = 0;
	KIRQL old = ke_lock_raise(&ps_lock);
	for (uint32_t n = 1; n < PS_IDS_MAX && !id; n++) {
		uint32_t index = (last + n) % PS_IDS_MAX;
		if (!index || ids[index])
			continue;
		ids[index] = object;
		last = index;
		id = (HANDLE)(ULONG_PTR)(index * 4);
	}
	ke_lock_lower(&ps_lock, old);
	return id;
}

void ps_id_remove(HANDLE id)
{
	KIRQL old = ke_lock_raise(&ps_lock);
	if (id)
		ids[(ULONG_PTR)id / 4] = 0;
	ke_lock_lower(&ps_lock, old);
}

void *ps_id_find(HANDLE id, POBJECT_TYPE type)
{
	ULONG_PTR index = (ULONG_PTR)id / 4;
	void *found = 0;
	if (!index || index >= PS_IDS_MAX || (ULONG_PTR)id % 4)
		return 0;
	KIRQL old = ke_lock_raise(&ps_lock);
	if (ids[index] && ob_type(ids[index]) == type && ob_reference_try(ids[index]))
		found = ids[index];
	ke_lock_lower(&ps_lock, old);
	return found;
}
