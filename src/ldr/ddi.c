/* SPDX-License-Identifier: MIT */
/*
 * The table of functions that drivers import (DESIGN.md decision 2), made from the rows of
 * ldr/ddi/<part>.def.
 *
 * Each row's function is named by its symbol, so that no prototype is needed and a row without a
 * function does not link. The table is constant. Names are found by binary search in an index that
 * the first look-up sorts; a look-up that meets the sorting (another processor, an NMI) searches
 * the table itself.
 *
 * Contexts: any IRQL, NMI too; no locks, no allocation.
 *
 * Requirements: DEF-319 (a routine of the kernel is found under ntoskrnl.exe and hal.dll alike),
 * DEF-314.
 */
#include "ldr/ddi.h"
#include "ke/callout.h"
#include "ke/guard.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

/* What ddi_stub.S, ddi_thunk.S and exception_entry.S know. */
_Static_assert(offsetof(struct ke_processor, irql) == 0x50, "IRQL_OFFSET");
_Static_assert(offsetof(struct ke_processor, current) == 0x188, "THREAD_OFFSET");
_Static_assert(offsetof(struct _KTHREAD, records) == 0x458, "RECORDS_OFFSET");
_Static_assert(offsetof(struct ke_call_record, kind) == 0x08, "KIND");
_Static_assert(offsetof(struct ke_call_record, rip) == 0x10, "RIP");
_Static_assert(offsetof(struct ke_call_record, rbx) == 0x20, "RBX");
_Static_assert(offsetof(struct ke_call_record, r12) == 0x40, "R12");
_Static_assert(offsetof(struct ke_call_record, xmm) == 0x60, "XMM6");
_Static_assert(offsetof(struct ke_call_record, frame) == 0x100, "FRAME");
_Static_assert(offsetof(struct ke_call_record, ddi) == 0x108, "DDI");
_Static_assert(KE_RECORD_DDI == 0, "KIND");
_Static_assert(offsetof(CONTEXT, Rax) == 0x78 && offsetof(CONTEXT, Rip) == 0xf8, "CONTEXT");
_Static_assert(offsetof(CONTEXT, FltSave) == 0x100 && sizeof(CONTEXT) == 0x4d0, "CONTEXT");

#define PASSIVE  0
#define APC      1
#define DISPATCH 2
#define DIRQL    12
#define IPI      14
#define HIGH     15

/* The symbols of a row; the identifiers are ours, so that they meet no prototype. */
#define DDI_AS(name, symbol, ...)                                                                  \
	extern const char ddi_function_##name[] __asm__(#symbol);                                  \
	extern const char ddi_entry_##name[];                                                      \
	extern const char ddi_checked_##name[];
#define DDI(name, ...)      DDI_AS(name, name)
#define DDI_DATA(name, ...) extern const char ddi_function_##name[] __asm__(#name);
#include "ldr/ddi.def"
#undef DDI
#undef DDI_AS
#undef DDI_DATA

#define NTOSKRNL DDI_NTOSKRNL
#define HAL      DDI_HAL
#define NETIO    DDI_NETIO
#define NDIS     DDI_NDIS

const struct ddi ddi_table[] = {
#define DDI_AS(name_, symbol, module_, min, max, version_, rule_, flags_)                          \
	{                                                                                          \
		.name = #name_,                                                                    \
		.function = (void *)ddi_function_##name_,                                          \
		.entry = (flags_)&DDI_THUNK ? (void *)ddi_entry_##name_                            \
					    : (void *)ddi_function_##name_,                        \
		.entry_checked = (void *)ddi_checked_##name_,                                      \
		.module = module_,                                                                 \
		.irql_min = min,                                                                   \
		.irql_max = max,                                                                   \
		.flags = flags_,                                                                   \
		.version = version_,                                                               \
		.rule = VF_##rule_,                                                                \
	},
#define DDI(name, ...) DDI_AS(name, name, __VA_ARGS__)
#define DDI_DATA(name_, module_, version_)                                                         \
	{                                                                                          \
		.name = #name_,                                                                    \
		.function = (void *)ddi_function_##name_,                                          \
		.entry = (void *)ddi_function_##name_,                                             \
		.entry_checked = (void *)ddi_function_##name_,                                     \
		.module = module_,                                                                 \
		.irql_max = HIGH,                                                                  \
		.version = version_,                                                               \
		.data = true,                                                                      \
	},
#include "ldr/ddi.def"
};

#define DDI_COUNT (sizeof(ddi_table) / sizeof(ddi_table[0]))
const uint32_t ddi_count = DDI_COUNT;

/* The table's rows by module and name. Written by the one that sets `index_state` from 0 to 1; read
 * when it is 2. */
static uint16_t index_rows[DDI_COUNT];
static _Atomic uint32_t index_state;

static int compare_text(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (unsigned char)*a - (unsigned char)*b;
}

/* ntoskrnl.exe and hal.dll count as one (DEF-319). */
static enum ddi_module module_class(enum ddi_module module)
{
	return module == DDI_HAL ? DDI_NTOSKRNL : module;
}

static int compare(enum ddi_module module, const char *name, const struct ddi *row)
{
	int difference = (int)module_class(module) - (int)module_class(row->module);

	return difference ? difference : compare_text(name, row->name);
}

/* Heap sort. */
static void sift(uint32_t root, uint32_t count)
{
	for (uint32_t child; (child = 2 * root + 1) < count; root = child) {
		const struct ddi *row;
		uint16_t other;

		row = &ddi_table[index_rows[child]];
		if (child + 1 < count &&
		    compare(row->module, row->name, &ddi_table[index_rows[child + 1]]) < 0) {
			child++;
		}
		row = &ddi_table[index_rows[child]];
		if (compare(row->module, row->name, &ddi_table[index_rows[root]]) <= 0) {
			return;
		}
		other = index_rows[root];
		index_rows[root] = index_rows[child];
		index_rows[child] = other;
	}
}

static void sort(void)
{
	for (uint32_t i = 0; i < DDI_COUNT; i++) {
		index_rows[i] = (uint16_t)i;
	}
	for (uint32_t i = DDI_COUNT / 2; i-- > 0;) {
		sift(i, DDI_COUNT);
	}
	for (uint32_t i = DDI_COUNT; i-- > 1;) {
		uint16_t last = index_rows[i];

		index_rows[i] = index_rows[0];
		index_rows[0] = last;
		sift(0, i);
	}
}

/* True when the index can be used. */
static bool index_ready(void)
{
	uint32_t state = atomic_load_explicit(&index_state, memory_order_acquire);

	if (state == 0 && atomic_compare_exchange_strong(&index_state, &state, 1)) {
		sort();
		/* release: the rows, for the acquire above */
		atomic_store_explicit(&index_state, 2, memory_order_release);
		return true;
	}
	return state == 2;
}

const struct ddi *ddi_find(enum ddi_module module, const char *name)
{
	uint32_t low = 0, high = ddi_count;

	if (!index_ready()) {
		for (uint32_t i = 0; i < ddi_count; i++) {
			if (compare(module, name, &ddi_table[i]) == 0) {
				return &ddi_table[i];
			}
		}
		return 0;
	}
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct ddi *row = &ddi_table[index_rows[middle]];
		int difference = compare(module, name, row);

		if (difference == 0) {
			return row;
		}
		if (difference < 0) {
			high = middle;
		} else {
			low = middle + 1;
		}
	}
	return 0;
}

const char *ddi_module_name(enum ddi_module module)
{
	static const char *const names[DDI_MODULE_COUNT] = {
		[DDI_NTOSKRNL] = "ntoskrnl.exe",
		[DDI_HAL] = "HAL.dll",
		[DDI_NETIO] = "NETIO.SYS",
		[DDI_NDIS] = "NDIS.SYS",
	};

	return names[module];
}

const struct ddi *ddi_from_entry(uint64_t address)
{
	for (uint32_t i = 0; i < ddi_count; i++) {
		const struct ddi *row = &ddi_table[i];

		if (!row->data &&
		    (address == (uint64_t)row->entry || address == (uint64_t)row->entry_checked ||
		     address == (uint64_t)row->function)) {
			return row;
		}
	}
	return 0;
}

/* The slot of an instruction `FF xx disp32` that ends at `end`. */
static uint64_t slot_of(const uint8_t *code, uint64_t end)
{
	int32_t displacement;

	__builtin_memcpy(&displacement, code + 2, sizeof(displacement));
	return end + (uint64_t)(int64_t)displacement;
}

const struct ddi *ddi_called_before(uint64_t return_address)
{
	uint64_t slot, target, at;
	uint8_t code[6];

	if (!ke_guard_copy(code, (const void *)(return_address - 6), 6)) {
		return 0;
	}
	if (code[0] == 0xff && code[1] == 0x15) { /* call [slot] */
		slot = slot_of(code, return_address);
	} else if (code[1] == 0xe8) { /* call of a stub: jmp [slot] */
		at = slot_of(code, return_address);
		if (!ke_guard_copy(code, (const void *)at, 6) || code[0] != 0xff ||
		    code[1] != 0x25) {
			return 0;
		}
		slot = slot_of(code, at + 6);
	} else {
		return 0;
	}
	return ke_guard_read64(slot, &target) ? ddi_from_entry(target) : 0;
}
