/* SPDX-License-Identifier: MIT */
/*
 * What the files of the loader share.
 *
 * Lock order: the loader's mutex (PASSIVE_LEVEL, recursive: DllInitialize may load) is taken before
 * all others. It guards everything here but what says otherwise.
 */
#pragma once

#include <ntifs.h>
#include "ldr/ddi.h"
#include "ldr/ldr.h"
#include "ldr/pe.h"
#include "ldr/text.h"
#include "rtl/rtl.h"

enum {
	LDR_NAME_MAX = 96,                    /* UTF-16 characters of a file name */
	LDR_FILE_NAME_MAX = 3 * LDR_NAME_MAX, /* bytes of UTF-8 */
	LDR_FORWARD_MAX = 8,                  /* DEF-322 */
	LDR_TAG = 0x5272644c,                 /* "LdrR" */
	LDR_REGION_ALIGNMENT = 0x10000,
};

/* One image that another one imports from; a list per importer. */
struct ldr_dependency {
	struct ldr_dependency *next;
	struct ldr_image *image;
	bool counted; /* in its users */
};

/* A block of stubs for missing imports (missing.c). */
struct ldr_stub_block;

struct ldr_image_own {
	struct ldr_pe pe; /* of the mapped image: readable while it is loaded */
	struct ldr_dependency *dependencies;
	struct ldr_stub_block *stubs;
	struct ldr_image *next_loaded;         /* modules.c: the one loaded after it */
	uint32_t users;                        /* loaded images that import from this one */
	char file_name[LDR_FILE_NAME_MAX + 1]; /* as requested, UTF-8 */
	WCHAR full_name[LDR_NAME_MAX + 40];
	WCHAR base_name[LDR_NAME_MAX + 1];
};

/* A load that is under way. */
struct ldr_load {
	const struct ldr_request *request;
	struct ldr_pe pe; /* of the file */
	struct ldr_image *image;
	NTSTATUS missing_status; /* of the first missing import */
	struct ldr_text message;
};

/* ---- image.c ---- */

void ldr_lock(void);
void ldr_unlock(void);

/* Adds what is wrong with the file to the message; returns the status to refuse it with. */
NTSTATUS ldr_refuse(struct ldr_load *load, const struct ldr_pe_error *error);
/* Adds "FILE: " to the message, on a line of its own; the caller adds the rest. */
void ldr_message_line(struct ldr_load *load);

/* ---- arena.c: the address space of images ---- */

NTSTATUS ldr_arena_initialize(void);
/* Inaccessible pages with inaccessible pages before and behind them; 0: no room. */
void *ldr_arena_reserve(size_t size);
/* Takes back what was reserved and never published; in the reverse order of reserving. */
void ldr_arena_cancel(void *base, size_t size);
/* From now on ldr_image_from_address finds the image. */
void ldr_arena_publish(struct ldr_image *image);

/* ---- bind.c ---- */

/* What an import of this function or variable is bound to. */
void *ldr_ddi_address(const struct ddi *ddi);

/* Fills all import slots of the image that is being loaded. */
NTSTATUS ldr_bind(struct ldr_load *load);
/* DllInitialize of each dependency that has no user yet; counts this image as a user of all
 * (DEF-323). */
NTSTATUS ldr_dependencies_initialize(struct ldr_load *load);
/* The opposite: DllUnload of each that loses its last user; frees the list. */
void ldr_dependencies_release(struct ldr_image *image);

/* ---- missing.c ---- */

/* The address of a stub that stops the run when it is called (DEF-321); 0: no memory. */
uint64_t ldr_missing_stub(struct ldr_image *image, const struct ldr_missing *missing);
/* Makes the stubs executable and no longer writable. */
bool ldr_missing_seal(struct ldr_image *image);
void ldr_missing_free(struct ldr_image *image, bool never_ran);

/* ---- modules.c ---- */

/* The module of the DDI table that an import's module name means (DEF-318); false: none. */
bool ldr_kernel_module(struct ldr_pe_text name, enum ddi_module *module);
/* A loaded image by an import's module name; 0: none. */
struct ldr_image *ldr_module_find(struct ldr_pe_text name);
NTSTATUS ldr_modules_initialize(void);
void ldr_modules_add(struct ldr_image *image);
void ldr_modules_remove(struct ldr_image *image);

/* ---- kernel_image.c: the runtime as ntoskrnl.exe and HAL.dll (DEF-54, DEF-334) ---- */

struct ldr_kernel_image {
	uint64_t base;
	uint32_t size;
};

NTSTATUS ldr_kernel_image_build(struct ldr_kernel_image *kernel, struct ldr_kernel_image *hal);
