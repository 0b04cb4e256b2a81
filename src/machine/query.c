/* SPDX-License-Identifier: MIT */
/*
 * query.c: what happened, and the tables, for the program that booted the machine (ketch.h). Called
 * by host threads, also after the machine has stopped.
 */
#include "ke/bugcheck.h"
#include "ke/ke.h"
#include "ke/machine.h"
#include "rtl/rtl.h"
#include "vf/vf.h"
#include "ke/walk.h"
#include "ldr/ddi.h"
#include "ldr/ldr.h"
#include "ldr/pe.h"
#include "machine/machine.h"
#include "ndk/ndk.h"

const struct ketch_bugcheck *ketch_bugcheck(void)
{
	return atomic_load(&ke_machine_stopped) == KE_STOP_BUGCHECK ? ke_bugcheck_report() : NULL;
}

uint32_t ketch_hang(struct ketch_hang *processors, uint32_t room)
{
	uint32_t count = atomic_load(&ke_processor_count);
	if (count > room)
		count = room;
	for (uint32_t i = 0; i < count; i++) {
		struct ke_processor *p = ke_processors[i];
		struct ketch_hang *hang = &processors[i];
		struct port_frame *frame = atomic_load(&p->port.frozen);
		*hang = (struct ketch_hang){.processor = i,
					    .irql = p->irql,
					    .idle = p->current == p->idle &&
						    p->irql == PASSIVE_LEVEL};
		if (!frame)
			continue;
		struct port_regs regs;
		struct ke_walk walk;
		port_frame_read(frame, &regs);
		ke_walk_begin(&walk, p->current, &regs);
		while (hang->frame_count < sizeof hang->frames / sizeof *hang->frames &&
		       ke_walk_next(&walk)) {
			struct ketch_frame *at = &hang->frames[hang->frame_count++];
			at->address = walk.address;
			ketch_where(walk.address, at->where, sizeof at->where);
		}
	}
	return count;
}

bool ketch_pending(uint32_t index, struct ketch_pending *pending)
{
	if (!ndk_pending(index, pending->text, sizeof pending->text, &pending->address))
		return false;
	ketch_where(pending->address, pending->where, sizeof pending->where);
	return true;
}

uint32_t ketch_finding_count(void)
{
	return vf_finding_count();
}

uint32_t ketch_violation_count(void)
{
	return vf_violation_count();
}

bool ketch_finding(uint32_t index, struct ketch_finding *finding)
{
	const struct vf_finding *f = vf_finding_at(index);
	if (!f)
		return false;
	*finding = (struct ketch_finding){
		.rule = vf_rule_name(f->rule),
		.number = vf_rule_number(f->rule),
		.advice = vf_rule_is_advice(f->rule),
		.count = atomic_load_explicit(&f->count, memory_order_relaxed),
		.ddi = f->ddi,
		.address = f->address,
		.object = f->object,
		.processor = f->processor,
		.irql = f->irql,
		.text = f->text,
		.remedy = vf_rule_remedy(f->rule),
	};
	ketch_where(f->address, finding->where, sizeof finding->where);
	return true;
}

bool ketch_rule_known(const char *name)
{
	for (enum vf_rule rule = 0; rule < VF_RULE_COUNT; rule++) {
		if (rtl_equal(name, vf_rule_name(rule)) || rtl_equal(name, vf_rule_number(rule)))
			return true;
	}
	return false;
}

bool ketch_where(uint64_t address, char *where, size_t size)
{
	port_stub_lookup(address, &address);
	if (size)
		where[0] = 0;
	return ldr_image_from_address(address) && ldr_address_format(address, where, size) != 0;
}

bool ketch_image_of(uint64_t address, const char **name, uint64_t *offset)
{
	port_stub_lookup(address, &address);
	struct ldr_image *image = ldr_image_from_address(address);
	if (!image)
		return false;
	*name = image->name;
	*offset = address - image->base + image->preferred_base;
	return true;
}

/* ---- The table of functions ---- */

uint32_t ketch_ddi_count(void)
{
	return ddi_count;
}

static void describe(const struct ddi *row, struct ketch_ddi *ddi)
{
	*ddi = (struct ketch_ddi){
		.name = row->name,
		.module = ddi_module_name(row->module),
		.rule = vf_rule_name((enum vf_rule)row->rule),
		.irql_min = row->irql_min,
		.irql_max = row->irql_max,
		.version = row->version,
		.may_call_driver = row->flags & DDI_THUNK,
		.nmi_allowed = row->flags & DDI_NMI,
		.storport_prohibited = row->flags & DDI_STORPORT,
		.data = row->data,
	};
}

bool ketch_ddi(uint32_t index, struct ketch_ddi *ddi)
{
	if (index >= ddi_count)
		return false;
	describe(&ddi_table[index], ddi);
	return true;
}

/* ---- Imports of an image, without a machine ---- */

/* Text of the image as a C string, cut at the buffer's end. */
static const char *text_of(const struct ldr_pe_text *text, char *buffer, size_t size)
{
	size_t length = text->length < size - 1 ? text->length : size - 1;
	memcpy(buffer, text->bytes, length);
	buffer[length] = 0;
	return buffer;
}

/* The modules that the core stands for, by the name in an import table (DEF-318); DDI_MODULE_COUNT:
 * none. */
static enum ddi_module module_of(const char *name)
{
	for (int module = 0; module < DDI_MODULE_COUNT; module++) {
		if (rtl_equal_nocase(name, ddi_module_name((enum ddi_module)module)))
			return (enum ddi_module)module;
	}
	return DDI_MODULE_COUNT;
}

static bool refuse_image(const struct ldr_pe_error *error, const char *name)
{
	ldr_pe_error_format(error, name, machine_message, sizeof machine_message);
	return false;
}

bool ketch_imports(const char *name, const void *image, size_t size,
		   void (*each)(void *context, const struct ketch_import *import), void *context)
{
	struct ldr_pe pe;
	struct ldr_pe_error error;
	if (!ldr_pe_open(&pe, image, size, &error))
		return refuse_image(&error, name);
	for (int delayed = 0; delayed < 2; delayed++) {
		struct ldr_pe_import_iter iter;
		struct ldr_pe_import at;
		int more;
		ldr_pe_imports(&pe, delayed, &iter);
		while ((more = ldr_pe_import_next(&iter, &at, &error)) > 0) {
			char module[256], function[512];
			struct ketch_ddi ddi;
			struct ketch_import import = {
				.module = text_of(&at.module, module, sizeof module),
				.ordinal = at.ordinal};
			const struct ddi *row = NULL;
			if (at.name.length) {
				import.name = text_of(&at.name, function, sizeof function);
				enum ddi_module of = module_of(module);
				row = of == DDI_MODULE_COUNT ? NULL : ddi_find(of, function);
			}
			import.supported = row != NULL;
			if (row) {
				describe(row, &ddi);
				import.ddi = &ddi;
			}
			each(context, &import);
		}
		if (more < 0)
			return refuse_image(&error, name);
	}
	return true;
}
