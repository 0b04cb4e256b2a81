/* SPDX-License-Identifier: MIT */
/*
 * Binding: what each import slot of an image gets, and which loaded drivers the image then depends
 * on.
 *
 * Imports are read from the file and written to the mapped image: slots that overlap other tables
 * mislead nobody. All missing imports are collected, so that an author sees them in one go.
 *
 * Contexts: PASSIVE_LEVEL under the loader's mutex. DllInitialize and DllUnload run under it too.
 * Requirements: DEF-318..323.
 *
 * Chosen where documents are silent: the delay import table is bound at load (DEF-320); a driver
 * that others import from gets DllInitialize for the first of them and DllUnload after the last,
 * whether or not its own DriverEntry ran; when several imports are missing, the first decides the
 * status.
 */
#include "ex/ex.h"
#include "ke/callout.h"
#include "ldr/ldr_internal.h"
#include "vf/vf.h"

enum {
	DDI_NAME_MAX = 128, /* longer names are in no table */
	MODULE_MAX = 64,    /* characters in messages */
	SYMBOL_MAX = 96,
};

/* What an import or a forwarder asks for. */
struct wanted {
	struct ldr_pe_text module;
	struct ldr_pe_text name; /* length 0: by ordinal */
	uint32_t ordinal;
};

static bool is_missing(NTSTATUS status)
{
	return status == STATUS_OBJECT_NAME_NOT_FOUND ||
	       status == STATUS_DRIVER_ENTRYPOINT_NOT_FOUND ||
	       status == STATUS_DRIVER_ORDINAL_NOT_FOUND;
}

static const struct ddi *find_ddi(enum ddi_module module, struct ldr_pe_text name)
{
	char copy[DDI_NAME_MAX];

	if (name.length == 0 || name.length >= sizeof(copy))
		return NULL;
	memcpy(copy, name.bytes, name.length);
	copy[name.length] = 0;
	return ddi_find(module, copy);
}

void *ldr_ddi_address(const struct ddi *ddi)
{
	if (ddi->data)
		return ddi->function;
	return vf_on() ? ddi->entry_checked : ddi->entry;
}

void *ldr_kernel_export(const char *module, const char *name)
{
	struct ldr_pe_text text = {.bytes = module};
	enum ddi_module number = DDI_NTOSKRNL;
	const struct ddi *ddi;

	if (module) {
		while (module[text.length])
			text.length++;
		if (!ldr_kernel_module(text, &number))
			return NULL;
	}
	ddi = ddi_find(number, name);
	return ddi ? ldr_ddi_address(ddi) : NULL;
}

static bool depend(struct ldr_image *importer, struct ldr_image *provider)
{
	struct ldr_dependency *dependency = importer->own->dependencies;

	for (; dependency; dependency = dependency->next) {
		if (dependency->image == provider)
			return true;
	}
	dependency = ex_allocate(sizeof(*dependency), LDR_TAG, NonPagedPoolNx);
	if (!dependency)
		return false;
	dependency->image = provider;
	dependency->next = importer->own->dependencies;
	importer->own->dependencies = dependency;
	return true;
}

/* One level: `address`, or what to look for next. */
static NTSTATUS look_up(const struct ldr_image *provider, struct wanted *wanted, uint64_t *address)
{
	const bool by_name = wanted->name.length;
	struct ldr_pe_exports exports;
	struct ldr_pe_export found;
	struct ldr_pe_error error;
	int result;

	result = ldr_pe_exports(&provider->own->pe, &exports, &error);
	if (result == LDR_PE_ITEM && by_name)
		result = ldr_pe_export_find(&exports, wanted->name.bytes, wanted->name.length,
					    &found, &error);
	else if (result == LDR_PE_ITEM)
		result = ldr_pe_export_ordinal(&exports, wanted->ordinal, &found, &error);
	if (result != LDR_PE_ITEM)
		return by_name ? STATUS_DRIVER_ENTRYPOINT_NOT_FOUND
			       : STATUS_DRIVER_ORDINAL_NOT_FOUND;
	if (found.forward_to.length)
		*wanted = (struct wanted){.module = found.forward_to,
					  .name = found.forward_name,
					  .ordinal = found.forward_ordinal};
	else
		*address = provider->base + found.rva;
	return STATUS_SUCCESS;
}

static NTSTATUS resolve(struct ldr_image *importer, struct wanted wanted, uint64_t *address)
{
	*address = 0;
	for (int level = 0; level <= LDR_FORWARD_MAX; level++) {
		struct ldr_image *provider;
		enum ddi_module module;
		NTSTATUS status;

		if (ldr_kernel_module(wanted.module, &module)) {
			const struct ddi *ddi = find_ddi(module, wanted.name);

			if (!ddi)
				return wanted.name.length ? STATUS_DRIVER_ENTRYPOINT_NOT_FOUND
							  : STATUS_DRIVER_ORDINAL_NOT_FOUND;
			*address = (uint64_t)ldr_ddi_address(ddi);
			return STATUS_SUCCESS;
		}
		provider = ldr_module_find(wanted.module);
		if (!provider)
			return STATUS_OBJECT_NAME_NOT_FOUND;
		if (!depend(importer, provider))
			return STATUS_INSUFFICIENT_RESOURCES;
		status = look_up(provider, &wanted, address);
		if (!NT_SUCCESS(status) || *address)
			return status;
	}
	return STATUS_DRIVER_ENTRYPOINT_NOT_FOUND;
}

static void missing_line(struct ldr_load *load, const struct ldr_missing *missing)
{
	ldr_message_line(load);
	ldr_text_add(&load->message, "import ");
	ldr_text_add(&load->message, missing->module);
	ldr_text_add(&load->message, "!");
	ldr_text_add(&load->message, missing->name);
	if (missing->status == STATUS_OBJECT_NAME_NOT_FOUND) {
		ldr_text_add(&load->message, " is missing: no such module is loaded (load it "
					     "before)");
		return;
	}
	ldr_text_add(&load->message, " is not supported (run: ketch imports ");
	ldr_text_add(&load->message, load->image->name);
	ldr_text_add(&load->message, ")");
}

static NTSTATUS bind_missing(struct ldr_load *load, const struct ldr_pe_import *import,
			     NTSTATUS status, uint64_t *address)
{
	char module[MODULE_MAX + 1], name[SYMBOL_MAX + 1];
	struct ldr_missing missing = {.status = status, .module = module, .name = name};
	struct ldr_text text;

	ldr_text_start(&text, module, sizeof(module));
	ldr_text_escaped(&text, import->module.bytes, import->module.length, MODULE_MAX);
	ldr_text_start(&text, name, sizeof(name));
	if (import->name.length) {
		ldr_text_escaped(&text, import->name.bytes, import->name.length, SYMBOL_MAX);
	} else {
		ldr_text_add(&text, "#");
		ldr_text_decimal(&text, import->ordinal);
	}
	if (NT_SUCCESS(load->missing_status))
		load->missing_status = status;
	if (load->request->missing)
		load->request->missing(load->request->context, &missing);
	if (!load->request->allow_missing) {
		missing_line(load, &missing);
		return STATUS_SUCCESS;
	}
	*address = ldr_missing_stub(load->image, &missing);
	return *address ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

static NTSTATUS bind_table(struct ldr_load *load, bool delayed)
{
	struct ldr_pe_import_iter iter;
	struct ldr_pe_import import;
	struct ldr_pe_error error;
	int result;

	ldr_pe_imports(&load->pe, delayed, &iter);
	while ((result = ldr_pe_import_next(&iter, &import, &error)) == LDR_PE_ITEM) {
		struct wanted wanted = {import.module, import.name, import.ordinal};
		uint64_t address;
		NTSTATUS status = resolve(load->image, wanted, &address);

		if (is_missing(status))
			status = bind_missing(load, &import, status, &address);
		if (!NT_SUCCESS(status)) {
			ldr_message_line(load);
			ldr_text_add(&load->message, "the pool is exhausted");
			return status;
		}
		memcpy((void *)(load->image->base + import.slot), &address, sizeof(address));
	}
	return result == LDR_PE_BAD ? ldr_refuse(load, &error) : STATUS_SUCCESS;
}

NTSTATUS ldr_bind(struct ldr_load *load)
{
	NTSTATUS status = bind_table(load, false);

	if (NT_SUCCESS(status))
		status = bind_table(load, true);
	if (NT_SUCCESS(status) && !load->request->allow_missing)
		status = load->missing_status;
	return status;
}

/* The address of an exported function of the image itself; 0: none. */
static uint64_t own_export(const struct ldr_image *image, const char *name, uint32_t length)
{
	struct wanted wanted = {.name = {.bytes = name, .length = length}};
	uint64_t address = 0;

	return NT_SUCCESS(look_up(image, &wanted, &address)) ? address : 0;
}

static NTSTATUS call_initialize(const struct ldr_image *image, uint64_t routine)
{
	static const WCHAR services[] =
		L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\";
	const size_t before = sizeof(services) / sizeof(WCHAR) - 1;
	WCHAR path[sizeof(services) / sizeof(WCHAR) + LDR_NAME_MAX];
	NTSTATUS(NTAPI * initialize)
	(UNICODE_STRING *) = (NTSTATUS(NTAPI *)(UNICODE_STRING *))routine;
	struct ke_call_record record;
	UNICODE_STRING string;
	size_t length = 0, dot;
	NTSTATUS status;

	while (image->own->base_name[length])
		length++;
	for (dot = length; dot && image->own->base_name[dot] != '.'; dot--)
		;
	if (dot)
		length = dot;
	memcpy(path, services, before * sizeof(WCHAR));
	memcpy(path + before, image->own->base_name, length * sizeof(WCHAR));
	string = (UNICODE_STRING){
		.Length = (USHORT)((before + length) * sizeof(WCHAR)),
		.MaximumLength = sizeof(path),
		.Buffer = path,
	};
	ke_callout_begin(&record, NULL);
	status = initialize(&string);
	ke_callout_end(&record);
	return status;
}

static void call_unload(uint64_t routine)
{
	NTSTATUS(NTAPI * unload)(void) = (NTSTATUS(NTAPI *)(void))routine;
	struct ke_call_record record;

	ke_callout_begin(&record, NULL);
	unload();
	ke_callout_end(&record);
}

NTSTATUS ldr_dependencies_initialize(struct ldr_load *load)
{
	struct ldr_dependency *dependency = load->image->own->dependencies;

	for (; dependency; dependency = dependency->next) {
		struct ldr_image *image = dependency->image;
		uint64_t routine = own_export(image, "DllInitialize", 13);
		NTSTATUS status;

		/* Counted first: DllInitialize may load a driver that imports from it too. */
		dependency->counted = true;
		if (image->own->users++ || !routine)
			continue;
		status = call_initialize(image, routine);
		if (!NT_SUCCESS(status)) {
			dependency->counted = false;
			image->own->users--;
			ldr_message_line(load);
			ldr_text_add(&load->message, "DllInitialize of ");
			ldr_text_add(&load->message, image->name);
			ldr_text_add(&load->message, ", which it imports from, failed with ");
			ldr_text_hex(&load->message, (uint32_t)status);
			return status;
		}
	}
	return STATUS_SUCCESS;
}

void ldr_dependencies_release(struct ldr_image *image)
{
	struct ldr_dependency *dependency;

	while ((dependency = image->own->dependencies)) {
		struct ldr_image *provider = dependency->image;

		image->own->dependencies = dependency->next;
		if (dependency->counted && --provider->own->users == 0) {
			uint64_t routine = own_export(provider, "DllUnload", 9);

			if (routine)
				call_unload(routine);
		}
		ex_free(dependency);
	}
}
