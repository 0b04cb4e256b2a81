/* SPDX-License-Identifier: MIT */
/*
 * The list of modules, and finding modules by name and by address.
 *
 * There are two lists. PsLoadedModuleList is for drivers, which walk it without a lock from their
 * own entry and write to it; nothing here reads it back, except to take an entry out while its
 * neighbours still agree. What the loader itself needs is in a list of its own.
 *
 * Contexts: ldr_address_format anywhere, NMI too, without a lock; the rest at PASSIVE_LEVEL under
 * the loader's mutex. An entry is complete before it is linked (release), and stays as it is when
 * it is taken out: a walker that stands on it goes on. Requirements: DEF-50..53, DEF-318, DEF-319,
 * DEF-334.
 *
 * Chosen where documents are silent: module names without extension mean .sys, then .dll, then
 * .exe; API sets (ext-ms-win-ntos-*, ext-ms-*, api-ms-*) mean ntoskrnl.exe, as do the kernel's
 * names on other machines.
 */
#include "ke/guard.h"
#include "ke/ke.h"
#include "ldr/ldr_internal.h"

struct ldr_entry PsLoadedModuleList; /* under the mutex; read by drivers */

static struct ldr_image *loaded;            /* newest loaded image */
static struct ldr_kernel_image kernel, hal; /* constant after boot */
static struct ldr_entry kernel_entry, hal_entry;

static char lower(char character)
{
	return character >= 'A' && character <= 'Z' ? (char)(character + 'a' - 'A') : character;
}

/* Does `text` begin with all of `prefix`, without case? */
static bool begins(struct ldr_pe_text text, const char *prefix, uint32_t length)
{
	if (text.length < length)
		return false;
	for (uint32_t i = 0; i < length; i++) {
		if (lower(text.bytes[i]) != lower(prefix[i]))
			return false;
	}
	return true;
}

static uint32_t length_of(const char *string)
{
	uint32_t length = 0;

	while (string[length])
		length++;
	return length;
}

static bool equal(struct ldr_pe_text text, const char *name)
{
	uint32_t length = length_of(name);

	return text.length == length && begins(text, name, length);
}

/* Is `name` the module name `text` with the extension that it lacks? */
static bool equal_with(struct ldr_pe_text text, const char *name, const char *extension)
{
	uint32_t length = length_of(name);

	return length == text.length + 4 && begins(text, name, text.length) &&
	       equal((struct ldr_pe_text){.bytes = name + text.length, .length = 4}, extension);
}

/* Extensions that a module name stands for, in order; the first is the name as it is. */
static const char *const extensions[] = {"", ".sys", ".dll", ".exe"};
enum { EXTENSIONS = sizeof(extensions) / sizeof(extensions[0]) };

static bool means(struct ldr_pe_text text, const char *name, int extension)
{
	if (extension == 0)
		return equal(text, name);
	return equal_with(text, name, extensions[extension]);
}

bool ldr_kernel_module(struct ldr_pe_text name, enum ddi_module *module)
{
	static const char *const kernels[] = {"ntoskrnl.exe", "ntkrnlmp.exe", "ntkrnlpa.exe",
					      "ntkrpamp.exe"};
	static const char *const sets[] = {"ext-ms-", "api-ms-"};

	for (int i = 0; i < EXTENSIONS; i++) {
		for (int number = 0; number < DDI_MODULE_COUNT; number++) {
			if (means(name, ddi_module_name((enum ddi_module)number), i)) {
				*module = (enum ddi_module)number;
				return true;
			}
		}
	}
	*module = DDI_NTOSKRNL;
	for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
		for (int extension = 0; extension < EXTENSIONS; extension++) {
			if (means(name, kernels[i], extension))
				return true;
		}
	}
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		if (begins(name, sets[i], length_of(sets[i])))
			return true;
	}
	return false;
}

struct ldr_image *ldr_module_find(struct ldr_pe_text name)
{
	for (int i = 0; i < EXTENSIONS; i++) {
		for (struct ldr_image *image = loaded; image; image = image->own->next_loaded) {
			if (ldr_image_state(image) == LDR_LOADED &&
			    means(name, image->own->file_name, i))
				return image;
		}
	}
	return NULL;
}

struct ldr_image *ldr_image_named(const char *name)
{
	struct ldr_pe_text text = {.bytes = name, .length = length_of(name)};
	struct ldr_image *image;

	ldr_lock();
	for (image = loaded; image; image = image->own->next_loaded) {
		if (equal(text, image->own->file_name))
			break;
	}
	ldr_unlock();
	return image;
}

/* ---- The drivers' list ---- */

static void link_entry(struct ldr_entry *entry)
{
	LIST_ENTRY *head = &PsLoadedModuleList.in_load_order;
	LIST_ENTRY *link = &entry->in_load_order;

	link->Flink = head;
	link->Blink = head->Blink;
	/* Walkers take no lock: the entry is complete before they can reach it. */
	__atomic_store_n(&head->Blink->Flink, link, __ATOMIC_RELEASE);
	head->Blink = link;
}

/* A driver may have taken its entry out itself, or written over it. */
static void unlink_entry(struct ldr_entry *entry)
{
	LIST_ENTRY *link = &entry->in_load_order;
	LIST_ENTRY *next = link->Flink, *previous = link->Blink;
	uint64_t forward, backward;

	/* Flink comes first. */
	if (!ke_guard_read64((uint64_t)next + offsetof(LIST_ENTRY, Blink), &backward) ||
	    !ke_guard_read64((uint64_t)previous, &forward) || backward != (uint64_t)link ||
	    forward != (uint64_t)link)
		return;
	next->Blink = previous;
	__atomic_store_n(&previous->Flink, next, __ATOMIC_RELEASE);
}

void ldr_modules_add(struct ldr_image *image)
{
	struct ldr_image **link = &loaded;

	while (*link)
		link = &(*link)->own->next_loaded;
	image->own->next_loaded = NULL;
	*link = image;
	link_entry(&image->entry);
}

void ldr_modules_remove(struct ldr_image *image)
{
	struct ldr_image **link = &loaded;

	while (*link != image)
		link = &(*link)->own->next_loaded;
	*link = image->own->next_loaded;
	unlink_entry(&image->entry);
}

static UNICODE_STRING wide(const WCHAR *characters, size_t size)
{
	return (UNICODE_STRING){
		.Length = (USHORT)(size - sizeof(WCHAR)),
		.MaximumLength = (USHORT)size,
		.Buffer = (WCHAR *)characters,
	};
}

static void fill_entry(struct ldr_entry *entry, const struct ldr_kernel_image *image)
{
	entry->dll_base = (void *)image->base;
	entry->size_of_image = image->size;
	entry->load_count = 1;
	link_entry(entry);
}

NTSTATUS ldr_modules_initialize(void)
{
	/* Drivers may write to names, as they may to the entries. */
	static WCHAR kernel_path[] = L"\\SystemRoot\\system32\\ntoskrnl.exe";
	static WCHAR hal_path[] = L"\\SystemRoot\\system32\\HAL.dll";
	static WCHAR kernel_name[] = L"ntoskrnl.exe";
	static WCHAR hal_name[] = L"HAL.dll";
	LIST_ENTRY *head = &PsLoadedModuleList.in_load_order;
	NTSTATUS status;

	head->Flink = head->Blink = head;
	status = ldr_kernel_image_build(&kernel, &hal);
	if (!NT_SUCCESS(status))
		return status;
	kernel_entry.full_name = wide(kernel_path, sizeof(kernel_path));
	kernel_entry.base_name = wide(kernel_name, sizeof(kernel_name));
	hal_entry.full_name = wide(hal_path, sizeof(hal_path));
	hal_entry.base_name = wide(hal_name, sizeof(hal_name));
	fill_entry(&kernel_entry, &kernel);
	fill_entry(&hal_entry, &hal);
	return STATUS_SUCCESS;
}

/* ---- All modules ---- */

static void tell(void (*each)(void *context, const struct ldr_module *module), void *context,
		 struct ldr_module *module, const char *folder, const char *name)
{
	size_t folder_length = rtl_length(folder);

	if (!each)
		return;
	module->name_offset = (uint16_t)folder_length;
	rtl_copy(module->path, sizeof(module->path), folder);
	rtl_copy(module->path + folder_length, sizeof(module->path) - folder_length, name);
	each(context, module);
}

static void tell_kernel(void (*each)(void *context, const struct ldr_module *module), void *context,
			const struct ldr_kernel_image *image, const char *name)
{
	struct ldr_module module = {.base = image->base, .size = image->size, .load_count = 1};

	tell(each, context, &module, "\\SystemRoot\\system32\\", name);
}

uint32_t ldr_modules_each(void (*each)(void *context, const struct ldr_module *module),
			  void *context)
{
	uint32_t count = 2;

	ldr_lock();
	tell_kernel(each, context, &kernel, "ntoskrnl.exe");
	tell_kernel(each, context, &hal, "HAL.dll");
	for (struct ldr_image *image = loaded; image; image = image->own->next_loaded, count++) {
		struct ldr_module module = {.base = image->base,
					    .size = image->size,
					    .load_count = (uint16_t)(1 + image->own->users)};

		tell(each, context, &module, "\\SystemRoot\\system32\\drivers\\",
		     image->own->file_name);
	}
	ldr_unlock();
	return count;
}

/* ---- By address ---- */

size_t ldr_address_format(uint64_t address, char *buffer, size_t size)
{
	const struct ldr_image *image = ldr_image_from_address(address);
	struct ldr_text text;

	ldr_text_start(&text, buffer, size);
	if (image) {
		ldr_text_add(&text, image->name);
		address -= image->base;
	} else if (address - kernel.base < kernel.size) {
		ldr_text_add(&text, "ntoskrnl.exe");
		address -= kernel.base;
	} else if (address - hal.base < hal.size) {
		ldr_text_add(&text, "HAL.dll");
		address -= hal.base;
	} else {
		return 0;
	}
	ldr_text_add(&text, "+");
	ldr_text_hex(&text, address);
	return text.length;
}
