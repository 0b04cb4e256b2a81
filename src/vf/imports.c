/* SPDX-License-Identifier: MIT */
/*
 * What a driver's import table tells about it, when it is loaded: routines that a StorPort miniport
 * must not call, and exports that new code should not use (VER-55, VER-71..74, NMI-19).
 *
 * PASSIVE_LEVEL, under the loader's mutex.
 *
 * Chosen: an image that imports from STORPORT.SYS is taken for a physical miniport. A virtual one,
 * for which the rule does not hold, looks the same, so this is advice.
 */
#include "ldr/pe.h"
#include "rtl/rtl.h"
#include "vf/vf_internal.h"

static void copy(char *to, size_t size, struct ldr_pe_text from)
{
	size_t length = from.length < size ? from.length : size - 1;
	memcpy(to, from.bytes, length);
	to[length] = 0;
}

/* Call back for each import by name, of both tables. */
static void each_import(const struct ldr_pe *pe,
			void (*each)(void *context, const char *module, const char *name,
				     uint32_t slot),
			void *context)
{
	for (int delayed = 0; delayed < 2; delayed++) {
		struct ldr_pe_import_iter iter;
		struct ldr_pe_import import;
		struct ldr_pe_error error;
		ldr_pe_imports(pe, delayed, &iter);
		while (ldr_pe_import_next(&iter, &import, &error) == LDR_PE_ITEM) {
			char module[64], name[128];
			if (import.name.length == 0 || import.name.length >= sizeof name)
				continue;
			copy(module, sizeof module, import.module);
			copy(name, sizeof name, import.name);
			each(context, module, name, import.slot);
		}
	}
}

struct loaded {
	uint64_t base;
	bool storport;
};

static void look_for_storport(void *context, const char *module, const char *name, uint32_t slot)
{
	struct loaded *loaded = context;
	(void)name, (void)slot;
	if (rtl_equal_nocase(module, "storport.sys") || rtl_equal_nocase(module, "storport"))
		loaded->storport = true;
}

static void judge(void *context, const char *module, const char *name, uint32_t slot)
{
	const struct loaded *loaded = context;
	(void)module;
	const struct ddi *ddi = ddi_find(DDI_NTOSKRNL, name);
	if (!ddi)
		ddi = ddi_find(DDI_HAL, name);
	if (!ddi)
		return;
	/* The import's slot stands for the call that it is for. */
	if (loaded->storport && (ddi->flags & DDI_STORPORT))
		vf_report(VF_StorPort, NULL, loaded->base + slot, 0,
			  "a StorPort miniport imports %s, which is on the list of prohibited "
			  "routines",
			  ddi->name);
	if (ddi->data && rtl_equal(ddi->name, "KeNumberProcessors"))
		vf_report(VF_ObsoleteNumber, NULL, loaded->base + slot, 0,
			  "imports KeNumberProcessors, which does not tell of processors that are "
			  "added later");
}

void vf_image_loaded(uint64_t base, const struct ldr_pe *pe)
{
	struct loaded loaded = {.base = base};
	each_import(pe, look_for_storport, &loaded);
	each_import(pe, judge, &loaded);
}
