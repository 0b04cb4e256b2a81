/* SPDX-License-Identifier: MIT */
/*
 * ldr.h: driver images, the list of loaded modules, and what an address belongs to.
 *
 * An image is loaded and unloaded at PASSIVE_LEVEL; the loader serialises that. Looking an address
 * up is lock-free and NMI-safe: images are never freed, only marked unloaded, and their memory
 * stays reserved and inaccessible for the rest of the run (DEF-341), so an address means one image
 * for ever.
 */
#pragma once

#include <ntdef.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Loader entries (DEF-50): DRIVER_OBJECT.DriverSection; drivers read and write them ---- */

struct ldr_entry {
	LIST_ENTRY in_load_order; /* 00: PsLoadedModuleList */
	const void *functions;    /* 10: RUNTIME_FUNCTION[] */
	ULONG functions_size;     /* 18: bytes */
	uint8_t pad1c[0x14];
	void *dll_base;      /* 30 */
	void *entry_point;   /* 38 */
	ULONG size_of_image; /* 40 */
	ULONG pad44;
	UNICODE_STRING full_name; /* 48: \SystemRoot\system32\drivers\nmi.sys */
	UNICODE_STRING base_name; /* 58: nmi.sys */
	ULONG flags;              /* 68: written by drivers (DEF-51), never read here */
	USHORT load_count;        /* 6C */
	USHORT pad6e;
	void *section_pointer; /* 70 */
	ULONG checksum;        /* 78 */
	ULONG pad7c;
	void *loaded_imports; /* 80 */
	void *pad88;
	ULONG size_of_image_not_rounded; /* 90 */
	ULONG time_stamp;                /* 94 */
	void *pad98;
};
_Static_assert(offsetof(struct ldr_entry, dll_base) == 0x30, "DEF-50");
_Static_assert(offsetof(struct ldr_entry, size_of_image) == 0x40, "DEF-50");
_Static_assert(offsetof(struct ldr_entry, full_name) == 0x48, "DEF-50");
_Static_assert(offsetof(struct ldr_entry, flags) == 0x68, "DEF-50");
_Static_assert(offsetof(struct ldr_entry, checksum) == 0x78, "DEF-50");
_Static_assert(offsetof(struct ldr_entry, time_stamp) == 0x94, "DEF-50");
_Static_assert(sizeof(struct ldr_entry) == 0xa0, "DEF-50");

/* The list's head is an entry without image (DEF-52); ntoskrnl.exe and HAL.dll come first. */
extern struct ldr_entry PsLoadedModuleList;

/* ---- Images ---- */

enum ldr_state {
	LDR_LOADED,    /* bound and protected; its code may run */
	LDR_UNLOADING, /* between ldr_image_begin_unload and ldr_image_unload */
	LDR_UNLOADED,  /* inaccessible for ever */
};

struct ldr_section {
	char name[9];
	uint32_t rva;
	uint32_t size;    /* bytes in memory */
	uint32_t flags;   /* IMAGE_SCN_* of the header */
	uint32_t own_rva; /* the whole pages that no other section shares; own_size may be 0 */
	uint32_t own_size;
	uint8_t protection;     /* PORT_READ ... of these pages while they are accessible */
	bool pageable;          /* PAGE* (DEF-335) */
	bool discardable;       /* INIT, or the flag */
	_Atomic bool discarded; /* its own pages are gone (DEF-336) */
	_Atomic int32_t locks;  /* owned by mm: MmLockPagableCodeSection (DEF-337) */
};

struct ldr_image {
	struct ldr_entry entry; /* the driver's to read and write: nothing below relies on it */
	uint64_t base;
	uint32_t size;        /* whole pages */
	uint64_t entry_point; /* address of DriverEntry; 0: an export driver without one */
	uint64_t preferred_base;
	char name[64];          /* nmi.sys, escaped: printable ASCII, for messages */
	_Atomic uint32_t state; /* enum ldr_state */
	const void *functions;  /* RUNTIME_FUNCTION[] (DEF-331), sorted and checked; 0: none */
	uint32_t function_count;
	uint32_t section_count;
	struct ldr_section *sections; /* ascending */
	bool has_wx;                  /* some pages are writable and executable (DEF-339) */
	uint32_t missing_count;       /* imports bound to stubs that stop the run (allow_missing) */
	struct ldr_image *next;       /* older image; newest: ldr_image_newest() */
	struct ldr_image_own *own;
};

/* An import that could not be bound. */
struct ldr_missing {
	NTSTATUS status;    /* see ldr_image_load: the module, the name or the ordinal is missing */
	const char *module; /* escaped: printable ASCII */
	const char *name;   /* escaped; "#7" for an ordinal */
};

struct ldr_request {
	const char *name; /* file name without folder, UTF-8 */
	const void *file; /* contents; not needed after the load */
	size_t size;
	bool allow_missing;
	/* Refusal in words: one or more lines, separated by newlines; may be 0. */
	char *message;
	size_t message_size;
	/* Called for each missing import, also with allow_missing; may be 0. */
	void (*missing)(void *context, const struct ldr_missing *missing);
	void *context;
};

/* Once, on the booting thread, before any other function here. STATUS_INSUFFICIENT_RESOURCES: no
 * address space. */
NTSTATUS ldr_initialize(void);

/*
 * Map, relocate, bind and protect an image, and put it in the list of modules. Does not run
 * DriverEntry. Runs DllInitialize of drivers that it is the first to import from (DEF-323).
 * PASSIVE_LEVEL, a kernel thread. STATUS_INVALID_IMAGE_FORMAT       not a PE32+ x64 driver image,
 * or damaged STATUS_CONFLICTING_ADDRESSES      without relocations, and its preferred base is taken
 * (DEF-324) STATUS_DRIVER_ENTRYPOINT_NOT_FOUND, STATUS_DRIVER_ORDINAL_NOT_FOUND,
 * STATUS_OBJECT_NAME_NOT_FOUND of the first missing import: name, ordinal, module (DEF-321)
 * STATUS_OBJECT_NAME_INVALID        the name is empty, too long or not UTF-8
 * STATUS_OBJECT_NAME_COLLISION      a loaded image has this name
 * STATUS_INSUFFICIENT_RESOURCES     no memory
 * or what DllInitialize of an export driver returned.
 */
NTSTATUS ldr_image_load(const struct ldr_request *request, struct ldr_image **image);

/* DriverEntry has succeeded: INIT and other discardable sections go (DEF-335, DEF-336).
 * PASSIVE_LEVEL. */
void ldr_image_discard_init(struct ldr_image *image);

/*
 * Nobody may import from it any more. STATUS_DEVICE_BUSY: loaded images import from it; unload
 * those first. STATUS_INVALID_PARAMETER: not loaded. PASSIVE_LEVEL.
 */
NTSTATUS ldr_image_begin_unload(struct ldr_image *image);
/*
 * Make it inaccessible and take it from the list; runs DllUnload of drivers that it was the last to
 * import from. Begins the unload when that has not been done. No thread may run in it any more
 * (DEF-341). Statuses as above. PASSIVE_LEVEL.
 */
NTSTATUS ldr_image_unload(struct ldr_image *image);

/* ---- Looking up: any IRQL, NMI too; lock-free ---- */

/* The image that holds or held an address, in any state; 0: none. */
struct ldr_image *ldr_image_from_address(uint64_t address);
static inline enum ldr_state ldr_image_state(const struct ldr_image *image)
{
	return (enum ldr_state)atomic_load_explicit(&image->state, memory_order_acquire);
}
/* The section at an address of this image; 0: headers, a gap, or not in it. */
struct ldr_section *ldr_image_section_at(const struct ldr_image *image, uint64_t address);
/* The newest image; older ones follow by `next`. All states. */
struct ldr_image *ldr_image_newest(void);

/*
 * "nmi.sys+0x1a2c", for any module of the list, the core (ntoskrnl.exe, HAL.dll) and unloaded
 * images included. Returns the length; 0, and an empty text, when no module holds the address.
 */
size_t ldr_address_format(uint64_t address, char *buffer, size_t size);

/* The address that imports of this function are bound to; with DDI_DATA the variable's. 0: not in
 * the table. NTAPI names, module as in import tables ("ntoskrnl.exe"); 0 means ntoskrnl.exe. For
 * MmGetSystemRoutineAddress. PASSIVE_LEVEL. */
void *ldr_kernel_export(const char *module, const char *name);

/* The loaded image with this file name, without case; 0: none. PASSIVE_LEVEL. */
struct ldr_image *ldr_image_named(const char *name);

/* ---- The list of modules (DEF-52, DEF-53) ---- */

struct ldr_module {
	uint64_t base;
	uint32_t size;
	uint16_t load_count;
	uint16_t name_offset; /* of the file name in `path` */
	char path[256];       /* \SystemRoot\system32\drivers\nmi.sys; UTF-8 */
};

/*
 * Call back for each loaded module in load order: ntoskrnl.exe, HAL.dll, then drivers, also those
 * that took their entry out of PsLoadedModuleList. Returns how many there are; `each` 0: only
 * count. PASSIVE_LEVEL; the callback must not load or unload.
 */
uint32_t ldr_modules_each(void (*each)(void *context, const struct ldr_module *module),
			  void *context);
