/* SPDX-License-Identifier: MIT */
/*
 * Driver images: load, discard, unload.
 *
 * A load writes the whole image while it is writable, and only then sets the protection of each run
 * of pages: nobody may run in it before. A load that fails leaves nothing behind. An image that was
 * published is never freed: unloading takes its pages and keeps its addresses (DEF-341).
 *
 * Contexts: loading, discarding, unloading at PASSIVE_LEVEL under the loader's mutex;
 * ldr_image_section_at anywhere. Locks: the mutex is recursive, because DllInitialize runs under it
 * and may cause another load. Requirements: DEF-317..324, DEF-326, DEF-327, DEF-335, DEF-336,
 * DEF-339, DEF-341.
 *
 * Chosen where documents are silent: an image without relocations is refused, not mapped at its
 * preferred base, because that lies below every kernel address (DEF-325); a section whose exports
 * or unwind data the loader still needs is not discarded; a load with pages that are writable and
 * executable is told to the report stream in one line.
 */
#include "ex/ex.h"
#include "ke/ke.h"
#include "ldr/ldr_internal.h"
#include "mm/mm.h"
#include "port/port.h"
#include "vf/vf.h"

#define COOKIE_DEFAULT 0x00002b992ddfa232u
#define COOKIE_MASK    0x0000ffffffffffffu

static KMUTEX mutex;

NTSTATUS ldr_initialize(void)
{
	NTSTATUS status;

	KeInitializeMutex(&mutex, 0);
	status = ldr_arena_initialize();
	if (NT_SUCCESS(status))
		status = ldr_modules_initialize();
	return status;
}

void ldr_lock(void)
{
	KeWaitForSingleObject(&mutex, Executive, KernelMode, FALSE, NULL);
}

void ldr_unlock(void)
{
	KeReleaseMutex(&mutex, FALSE);
}

void ldr_message_line(struct ldr_load *load)
{
	const char *name = load->request->name;
	size_t length = 0;

	while (name[length])
		length++;
	if (load->message.length)
		ldr_text_add(&load->message, "\n");
	ldr_text_escaped(&load->message, name, length, sizeof(load->image->name));
	ldr_text_add(&load->message, ": ");
}

NTSTATUS ldr_refuse(struct ldr_load *load, const struct ldr_pe_error *error)
{
	char line[LDR_PE_ERROR_MAX + 1];

	ldr_pe_error_format(error, load->request->name, line, sizeof(line));
	if (load->message.length)
		ldr_text_add(&load->message, "\n");
	ldr_text_add(&load->message, line);
	return error->code == LDR_PE_E_RELOCS_GONE ? STATUS_CONFLICTING_ADDRESSES
						   : STATUS_INVALID_IMAGE_FORMAT;
}

static NTSTATUS refuse_text(struct ldr_load *load, NTSTATUS status, const char *text)
{
	ldr_message_line(load);
	ldr_text_add(&load->message, text);
	return status;
}

/* Tables that the loader and others rely on later: refuse now what is wrong in them. */
static NTSTATUS check_tables(struct ldr_load *load, struct ldr_pe_load_config *config,
			     uint32_t *functions, uint32_t *function_count)
{
	struct ldr_pe_exports exports;
	struct ldr_pe_error error;

	if (ldr_pe_exports(&load->pe, &exports, &error) == LDR_PE_BAD ||
	    ldr_pe_load_config(&load->pe, config, &error) == LDR_PE_BAD ||
	    ldr_pe_functions(&load->pe, functions, function_count, &error) == LDR_PE_BAD)
		return ldr_refuse(load, &error);
	return STATUS_SUCCESS;
}

static uint8_t protection_of(uint32_t flags)
{
	return (uint8_t)(PORT_READ | (flags & LDR_PE_SECTION_WRITE ? PORT_WRITE : 0) |
			 (flags & LDR_PE_SECTION_EXECUTE ? PORT_EXECUTE : 0));
}

/* Pages of a section that neither the headers nor another section shares. */
static void find_own_pages(const struct ldr_pe *pe, struct ldr_section *section, uint32_t index)
{
	uint64_t start = section->rva, end = (uint64_t)section->rva + section->size;
	uint64_t before = pe->headers_size, after = ldr_pe_span(pe);
	const uint64_t mask = PORT_PAGE_SIZE - 1;

	if (index > 0)
		before = (uint64_t)section[-1].rva + section[-1].size;
	if (index + 1 < pe->section_count) {
		struct ldr_pe_section next;

		ldr_pe_section(pe, index + 1, &next);
		after = next.rva;
	}
	start &= ~mask;
	if (before > start)
		start += PORT_PAGE_SIZE;
	end = (end + mask) & ~mask;
	if (after < end)
		end -= PORT_PAGE_SIZE;
	section->own_rva = (uint32_t)start;
	section->own_size = end > start ? (uint32_t)(end - start) : 0;
}

static void fill_sections(struct ldr_image *image, const struct ldr_pe *pe)
{
	for (uint32_t i = 0; i < pe->section_count; i++) {
		struct ldr_section *section = &image->sections[i];
		struct ldr_pe_section from;

		ldr_pe_section(pe, i, &from);
		memcpy(section->name, from.name, sizeof(section->name));
		section->rva = from.rva;
		section->size = from.size;
		section->flags = from.flags;
		section->protection = protection_of(from.flags);
		section->pageable = ldr_pe_section_pageable(&from);
		section->discardable = ldr_pe_section_discarded(&from);
		find_own_pages(pe, section, i);
	}
}

/* UTF-8 to UTF-16. Returns the characters, 0 when the name is empty, too long, not UTF-8, or no
 * file name. */
static uint32_t widen(WCHAR *to, uint32_t room, const char *from)
{
	const unsigned char *byte = (const unsigned char *)from;
	uint32_t length = 0;

	while (*byte) {
		uint32_t value = *byte++, more = 0, least = 0;

		if (value < ' ' || value == '/' || value == '\\' || value == 0x7f)
			return 0;
		if (value >= 0x80) {
			more = value >= 0xf0 ? 3 : value >= 0xe0 ? 2 : 1;
			least = more == 3 ? 0x10000 : more == 2 ? 0x800 : 0x80;
			if (value < 0xc2 || value > 0xf4)
				return 0;
			value &= 0x3fu >> more;
		}
		for (; more; more--, byte++) {
			if ((*byte & 0xc0) != 0x80)
				return 0;
			value = value << 6 | (*byte & 0x3fu);
		}
		if (value < least || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
			return 0;
		if (length + (value >= 0x10000) >= room)
			return 0;
		if (value >= 0x10000) {
			to[length++] = (WCHAR)(0xd7c0 + (value >> 10));
			value = 0xdc00 + (value & 0x3ff);
		}
		to[length++] = (WCHAR)value;
	}
	return length;
}

static bool fill_names(struct ldr_image *image, const struct ldr_request *request)
{
	static const WCHAR folder[] = L"\\SystemRoot\\system32\\drivers\\";
	const size_t before = sizeof(folder) / sizeof(WCHAR) - 1;
	struct ldr_image_own *own = image->own;
	struct ldr_text text;
	size_t bytes = 0;
	uint32_t length;

	length = widen(own->base_name, LDR_NAME_MAX, request->name);
	if (length == 0)
		return false;
	memcpy(own->full_name, folder, before * sizeof(WCHAR));
	memcpy(own->full_name + before, own->base_name, length * sizeof(WCHAR));
	image->entry.base_name = (UNICODE_STRING){
		.Length = (USHORT)(length * sizeof(WCHAR)),
		.MaximumLength = (USHORT)((length + 1) * sizeof(WCHAR)),
		.Buffer = own->base_name,
	};
	image->entry.full_name = (UNICODE_STRING){
		.Length = (USHORT)((before + length) * sizeof(WCHAR)),
		.MaximumLength = (USHORT)((before + length + 1) * sizeof(WCHAR)),
		.Buffer = own->full_name,
	};
	while (request->name[bytes])
		bytes++;
	memcpy(own->file_name, request->name, bytes);
	ldr_text_start(&text, image->name, sizeof(image->name));
	ldr_text_escaped(&text, request->name, bytes, sizeof(image->name) - 1);
	return true;
}

/* The image's object, without memory of its own yet. */
static struct ldr_image *create(const struct ldr_pe *pe)
{
	const size_t own_at = (sizeof(struct ldr_image) + 15) & ~(size_t)15;
	const size_t sections_at = own_at + ((sizeof(struct ldr_image_own) + 15) & ~(size_t)15);
	char *block;
	struct ldr_image *image;

	block = ex_allocate(sections_at + pe->section_count * sizeof(struct ldr_section), LDR_TAG,
			    NonPagedPoolNx);
	if (!block)
		return NULL;
	image = (struct ldr_image *)block;
	image->own = (struct ldr_image_own *)(block + own_at);
	image->sections = (struct ldr_section *)(block + sections_at);
	image->section_count = pe->section_count;
	image->size = ldr_pe_span(pe);
	image->preferred_base = pe->image_base;
	fill_sections(image, pe);
	return image;
}

static void place(struct ldr_image *image, const struct ldr_pe *pe, void *base, uint32_t functions,
		  uint32_t function_count)
{
	image->base = (uint64_t)base;
	image->entry_point = pe->entry ? image->base + pe->entry : 0;
	image->functions = function_count ? (const char *)base + functions : NULL;
	image->function_count = function_count;
	ldr_pe_mapped(&image->own->pe, pe, base);
	image->entry.dll_base = base;
	image->entry.entry_point = (void *)image->entry_point;
	image->entry.size_of_image = image->size;
	image->entry.load_count = 1;
	image->entry.functions = image->functions;
	image->entry.functions_size = 12 * function_count;
	image->entry.size_of_image_not_rounded = pe->image_size;
	image->entry.checksum = pe->checksum;
	image->entry.time_stamp = pe->time_stamp;
}

/* DEF-327 */
static void set_cookie(struct ldr_image *image, uint32_t rva)
{
	uint64_t cookie;

	if (rva == 0)
		return;
	memcpy(&cookie, (void *)(image->base + rva), sizeof(cookie));
	if (cookie != COOKIE_DEFAULT && cookie != 0)
		return;
	do {
		port_random(&cookie, sizeof(cookie));
		cookie &= COOKIE_MASK;
	} while (cookie == 0 || cookie == COOKIE_DEFAULT);
	memcpy((void *)(image->base + rva), &cookie, sizeof(cookie));
}

/* DEF-339. Everything is readable and writable before. */
static bool protect(struct ldr_image *image, const struct ldr_pe *pe)
{
	struct ldr_pe_run_iter iter;
	struct ldr_pe_run run;
	uint32_t end = 0;
	bool more;

	ldr_pe_runs(pe, &iter);
	do {
		uint8_t protection = 0;

		more = ldr_pe_run_next(&iter, &run) == LDR_PE_ITEM;
		if (!more)
			run = (struct ldr_pe_run){.rva = image->size};
		/* What lies between two runs, and behind the last. */
		if (run.rva > end &&
		    !port_pages_protect((void *)(image->base + end), run.rva - end, PORT_NONE))
			return false;
		end = run.rva + run.size;
		if (more)
			protection = protection_of(run.flags);
		if (more && protection != (PORT_READ | PORT_WRITE) &&
		    !port_pages_protect((void *)(image->base + run.rva), run.size, protection))
			return false;
		if ((protection & PORT_WRITE) && (protection & PORT_EXECUTE))
			image->has_wx = true;
	} while (more);
	return true;
}

/* What mm makes inaccessible while the IRQL is high (DEF-337). */
static bool tell_sections(const struct ldr_image *image)
{
	for (uint32_t i = 0; i < image->section_count; i++) {
		const struct ldr_section *section = &image->sections[i];
		struct mm_section whole = {
			.image_base = image->base,
			.base = (void *)(image->base + section->own_rva),
			.size = section->own_size,
			.protection = section->protection,
			.pageable = section->pageable,
			.name = section->name,
		};
		if (section->own_size && !mm_section_add(&whole))
			return false;
	}
	return true;
}

/* Maps, binds and protects image->base..; on failure the caller takes the pages back. */
static NTSTATUS fill(struct ldr_load *load, const struct ldr_pe_load_config *config)
{
	static const char no_memory[] = "the host has no memory for it: end other programs, or run "
					"it on a larger machine";
	struct ldr_image *image = load->image;
	struct ldr_pe_error error;
	NTSTATUS status;

	if (!port_pages_protect((void *)image->base, image->size, PORT_READ | PORT_WRITE))
		return refuse_text(load, STATUS_INSUFFICIENT_RESOURCES, no_memory);
	if (!ldr_pe_map(&load->pe, (void *)image->base, image->size, image->base, &error))
		return ldr_refuse(load, &error);
	set_cookie(image, config->security_cookie);
	status = ldr_bind(load);
	if (!NT_SUCCESS(status))
		return status;
	if (!protect(image, &load->pe) || !ldr_missing_seal(image) || !tell_sections(image))
		return refuse_text(load, STATUS_INSUFFICIENT_RESOURCES, no_memory);
	return ldr_dependencies_initialize(load);
}

static void publish(struct ldr_image *image)
{
	atomic_store_explicit(&image->state, LDR_LOADED, memory_order_relaxed);
	ldr_arena_publish(image);
	ldr_modules_add(image);
	if (image->has_wx)
		ke_print(PORT_STREAM_REPORT,
			 "%s: some of its pages are writable and executable (note)\n", image->name);
}

static NTSTATUS load_locked(struct ldr_load *load)
{
	const struct ldr_request *request = load->request;
	struct ldr_pe_load_config config;
	uint32_t functions = 0, function_count = 0;
	struct ldr_pe_error error;
	NTSTATUS status;
	void *base;

	if (!ldr_pe_open(&load->pe, request->file, request->size, &error))
		return ldr_refuse(load, &error);
	status = check_tables(load, &config, &functions, &function_count);
	if (!NT_SUCCESS(status))
		return status;
	if (ldr_image_named(request->name))
		return refuse_text(load, STATUS_OBJECT_NAME_COLLISION,
				   "a loaded driver has this name: unload it first");
	load->image = create(&load->pe);
	if (!load->image)
		return refuse_text(load, STATUS_INSUFFICIENT_RESOURCES, "the pool is exhausted");
	if (!fill_names(load->image, request)) {
		status = refuse_text(load, STATUS_OBJECT_NAME_INVALID,
				     "its name is not a file name of 1 to 96 UTF-8 characters");
		goto free_image;
	}
	base = ldr_arena_reserve(load->image->size);
	if (!base) {
		status = refuse_text(load, STATUS_INSUFFICIENT_RESOURCES,
				     "the address space for drivers is used up: load fewer in one "
				     "run");
		goto free_image;
	}
	place(load->image, &load->pe, base, functions, function_count);
	status = fill(load, &config);
	if (!NT_SUCCESS(status))
		goto cancel;
	publish(load->image);
	if (vf_on())
		vf_image_loaded(load->image->base, &load->pe);
	return STATUS_SUCCESS;

cancel:
	mm_section_remove_image(load->image->base);
	ldr_dependencies_release(load->image);
	ldr_missing_free(load->image, true);
	ldr_arena_cancel(base, load->image->size);
free_image:
	ex_free(load->image);
	load->image = NULL;
	return status;
}

NTSTATUS ldr_image_load(const struct ldr_request *request, struct ldr_image **image)
{
	struct ldr_load load = {.request = request};
	NTSTATUS status;

	ldr_text_start(&load.message, request->message,
		       request->message ? request->message_size : 0);
	ldr_lock();
	status = load_locked(&load);
	ldr_unlock();
	*image = load.image;
	return status;
}

struct ldr_section *ldr_image_section_at(const struct ldr_image *image, uint64_t address)
{
	uint64_t rva = address - image->base;

	for (uint32_t i = 0; i < image->section_count; i++) {
		if (rva >= image->sections[i].rva &&
		    rva - image->sections[i].rva < image->sections[i].size)
			return &image->sections[i];
	}
	return NULL;
}
