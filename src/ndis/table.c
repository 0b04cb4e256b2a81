/* SPDX-License-Identifier: MIT */
/*
 * table.c: the tables that netioapi functions give to drivers, and FreeMibTable.
 *
 * Contexts and locks: IRQL < DISPATCH_LEVEL, FreeMibTable <= DISPATCH_LEVEL. `table_lock`
 * (DISPATCH_LEVEL) protects the list of live tables.
 *
 * Implements DEF-77: FreeMibTable with a pointer into a table instead of its start frees nothing
 * and is reported, as is a table that was freed before or never given. Tables that a driver leaves
 * at unload are reported (VER-38).
 */
#include "ex/ex.h"
#include "ke/ke.h"
#include "ndis/ndis_internal.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define TAG_TABLE 'biMK'
#define ROWS      8 /* their offset in every table */

struct table {
	LIST_ENTRY entry;
	size_t size; /* of what the driver sees, behind this header */
	uint64_t caller;
};
_Static_assert(sizeof(struct table) % 16 == 0, "rows are aligned as pool is");

static LIST_ENTRY tables = {&tables, &tables};
static struct ke_lock table_lock;

static void *allocate(uint32_t count, size_t row, uint64_t caller)
{
	size_t size = ROWS + count * row;
	struct table *table = ex_allocate(sizeof(*table) + size, TAG_TABLE, NonPagedPoolNx);
	if (!table)
		return NULL;
	table->size = size;
	table->caller = caller;
	*(ULONG *)(table + 1) = count;
	KIRQL old = ke_lock_raise(&table_lock);
	InsertTailList(&tables, &table->entry);
	ke_lock_lower(&table_lock, old);
	return table + 1;
}

const struct ndis_address *ndis_address_item(uint32_t number, ADDRESS_FAMILY family,
					     const struct ndis_interface **interface)
{
	*interface = ndis_interface_at(number / NDIS_ADDRESSES);
	if (number % NDIS_ADDRESSES >= (*interface)->address_count)
		return NULL;
	const struct ndis_address *address = &(*interface)->addresses[number % NDIS_ADDRESSES];
	return family == AF_UNSPEC || family == address->address.si_family ? address : NULL;
}

NTSTATUS ndis_table_make(ndis_row_fn *fill, uint32_t items, size_t row, ADDRESS_FAMILY family,
			 uint64_t caller, void *table)
{
	uint32_t count = 0;
	if (!table || !ndis_family_valid(family))
		return STATUS_INVALID_PARAMETER;
	for (uint32_t i = 0; i < items; i++)
		count += fill(i, family, NULL);
	if (!count)
		return STATUS_NOT_FOUND;
	char *made = allocate(count, row, caller);
	if (!made)
		return STATUS_INSUFFICIENT_RESOURCES;
	char *at = made + ROWS;
	for (uint32_t i = 0; i < items; i++)
		at += fill(i, family, at) ? row : 0;
	*(void **)table = made;
	return STATUS_SUCCESS;
}

/* The table that an address lies in. The lock is held. */
static struct table *find(const void *address)
{
	for (LIST_ENTRY *entry = tables.Flink; entry != &tables; entry = entry->Flink) {
		struct table *table = CONTAINING_RECORD(entry, struct table, entry);
		if ((uintptr_t)address - (uintptr_t)(table + 1) < table->size)
			return table;
	}
	return NULL;
}

/*
 * Give back a table of one of the functions of netioapi.h. IRQL <= DISPATCH_LEVEL. 0 is allowed;
 * what is no table's start has no effect. Source: netioapi.h, DEF-77.
 */
VOID NETIOAPI_API_ FreeMibTable(PVOID Memory)
{
	if (!Memory)
		return;
	KIRQL old = ke_lock_raise(&table_lock);
	struct table *table = find(Memory);
	const void *start = table ? table + 1 : NULL;
	if (start == Memory)
		RemoveEntryList(&table->entry);
	ke_lock_lower(&table_lock, old);
	if (start == Memory) {
		ex_free(table);
		return;
	}
	if (!vf_on())
		return;
	if (start)
		vf_report(VF_MibTable, "FreeMibTable", VF_CALLER(), (uint64_t)Memory,
			  "is called with %p, which lies %u bytes inside the table %p", Memory,
			  (unsigned)((uintptr_t)Memory - (uintptr_t)start), start);
	else
		vf_report(VF_MibTable, "FreeMibTable", VF_CALLER(), (uint64_t)Memory,
			  "is called with %p, which is no table, or was freed before", Memory);
}

void ndis_table_unload(const struct vf_unload *unload)
{
	for (;;) {
		struct table *found = NULL;
		KIRQL old = ke_lock_raise(&table_lock);
		for (LIST_ENTRY *entry = tables.Flink; entry != &tables && !found;
		     entry = entry->Flink) {
			struct table *table = CONTAINING_RECORD(entry, struct table, entry);
			if (table->caller >= unload->base && table->caller < unload->end)
				found = table;
		}
		if (found)
			RemoveEntryList(&found->entry);
		ke_lock_lower(&table_lock, old);
		if (!found)
			return;
		vf_unload_left(unload, VF_MibTable, (const void *)found->caller, found + 1,
			       "the table %p of a netioapi function without FreeMibTable",
			       (void *)(found + 1));
		ex_free(found);
	}
}
