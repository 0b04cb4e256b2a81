/* SPDX-License-Identifier: MIT */
/*
 * The runtime as the modules ntoskrnl.exe and HAL.dll, for drivers that parse headers and export
 * directories themselves, and that look up return addresses in the list of modules.
 *
 * ntoskrnl.exe is the program itself: headers and an export directory are made in pages right below
 * its first segment, and SizeOfImage reaches to the end of its last one. So the section table's
 * .text is the runtime's real code, exports have the RVAs of the real functions and variables, and
 * every address of the runtime on a driver's stack lies inside the module. HAL.dll is a small image
 * of its own, with a jump to the real function for each export.
 *
 *     ntoskrnl.exe:  | headers | exports | jumps |  (gap)  | the program: .rdata .text .rdata .data
 * | HAL.dll:       | headers | exports | jumps |
 *
 * Contexts: built once by the booting thread; constant afterwards.
 * Requirements: DEF-7, DEF-54, DEF-319, DEF-334.
 *
 * Chosen where documents are silent: ntoskrnl.exe exports the HAL's functions too, as newer systems
 * do; where no address space below the program is free, ntoskrnl.exe is a small image like HAL.dll,
 * its functions are jumps, variables are left out and the runtime's code lies in no module.
 */
#include "ex/ex.h"
#include "ldr/ldr_internal.h"
#include "port/port.h"

enum {
	PAGE = PORT_PAGE_SIZE,
	SEGMENTS_MAX = 16,
	PE_OFFSET = 0x80,
	OPTIONAL_OFFSET = PE_OFFSET + 24,
	OPTIONAL_SIZE = 240,
	SECTIONS_OFFSET = OPTIONAL_OFFSET + OPTIONAL_SIZE,
	SECTION_SIZE = 40,
	EXPORT_DIRECTORY_SIZE = 40,
	JUMP_SIZE = 16,
	TRIES = 256, /* places below the program */
	TRY_STEP = 0x400000,
};

#define SECTION_READ    (LDR_PE_SECTION_READ | 0x40u) /* initialised data */
#define SECTION_CODE    (LDR_PE_SECTION_READ | LDR_PE_SECTION_EXECUTE | LDR_PE_SECTION_CODE)
#define SECTION_WRITE   (LDR_PE_SECTION_READ | LDR_PE_SECTION_WRITE | 0x40u)
#define MODULE_SIZE_MAX 0xfff00000u

/* A module that is being made. Offsets count from the base. */
struct maker {
	const char *name;
	const struct ddi **exports; /* sorted by name */
	uint32_t count;
	uint32_t section_count;
	uint32_t directory, directory_size; /* the export directory with all that belongs to it */
	uint32_t functions, names, indexes, strings;
	uint32_t jumps, jumps_size;
	uint32_t made_size; /* headers, exports, jumps */
	uint32_t size;      /* all */
	char *base;
};

static void put16(struct maker *maker, uint32_t offset, uint16_t value)
{
	memcpy(maker->base + offset, &value, sizeof(value));
}

static void put32(struct maker *maker, uint32_t offset, uint32_t value)
{
	memcpy(maker->base + offset, &value, sizeof(value));
}

static void put64(struct maker *maker, uint32_t offset, uint64_t value)
{
	memcpy(maker->base + offset, &value, sizeof(value));
}

static int compare(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (unsigned char)*a - (unsigned char)*b;
}

static void sift(const struct ddi **heap, uint32_t at, uint32_t count)
{
	for (;;) {
		uint32_t child = 2 * at + 1;
		const struct ddi *moved = heap[at];

		if (child >= count)
			return;
		if (child + 1 < count && compare(heap[child]->name, heap[child + 1]->name) < 0)
			child++;
		if (compare(moved->name, heap[child]->name) >= 0)
			return;
		heap[at] = heap[child];
		heap[child] = moved;
		at = child;
	}
}

static void sort(const struct ddi **rows, uint32_t count)
{
	for (uint32_t i = count / 2; i > 0; i--)
		sift(rows, i - 1, count);
	for (uint32_t i = count; i > 1; i--) {
		const struct ddi *last = rows[i - 1];

		rows[i - 1] = rows[0];
		rows[0] = last;
		sift(rows, 0, i - 1);
	}
}

/* The rows that the module exports, in the order of their names. */
static bool collect(struct maker *maker, bool hal_only)
{
	maker->exports =
		ex_allocate(ddi_count * sizeof(*maker->exports) + 1, LDR_TAG, NonPagedPoolNx);
	if (!maker->exports)
		return false;
	for (uint32_t i = 0; i < ddi_count; i++) {
		const struct ddi *ddi = &ddi_table[i];

		if (ddi->module == DDI_HAL || (!hal_only && ddi->module == DDI_NTOSKRNL))
			maker->exports[maker->count++] = ddi;
	}
	sort(maker->exports, maker->count);
	return true;
}

static uint32_t align(uint64_t value, uint32_t alignment)
{
	return (uint32_t)((value + alignment - 1) & ~(uint64_t)(alignment - 1));
}

/* Where everything goes that is made. */
static void lay_out(struct maker *maker)
{
	uint32_t names_size = (uint32_t)rtl_length(maker->name) + 1;

	for (uint32_t i = 0; i < maker->count; i++)
		names_size += (uint32_t)rtl_length(maker->exports[i]->name) + 1;
	maker->directory = PAGE;
	maker->functions = maker->directory + EXPORT_DIRECTORY_SIZE;
	maker->names = maker->functions + 4 * maker->count;
	maker->indexes = maker->names + 4 * maker->count;
	maker->strings = maker->indexes + 2 * maker->count;
	maker->directory_size = maker->strings + names_size - maker->directory;
	maker->jumps = align(maker->directory + maker->directory_size, PAGE);
	maker->jumps_size = JUMP_SIZE * maker->count;
	maker->made_size = align(maker->jumps + (uint64_t)maker->jumps_size, PAGE);
	maker->size = maker->made_size;
}

/* Pages below the program, near enough that SizeOfImage reaches its end. */
static char *reserve_below(size_t size, uint64_t start, uint64_t end)
{
	uint64_t lowest = end > MODULE_SIZE_MAX ? end - MODULE_SIZE_MAX : 0;
	uint64_t hint = (start - size) & ~(uint64_t)(LDR_REGION_ALIGNMENT - 1);

	for (int i = 0; i < TRIES; i++, hint -= TRY_STEP) {
		uint64_t got;

		if (size >= start || hint < lowest || hint > start || hint == 0)
			return NULL;
		got = (uint64_t)port_pages_reserve((void *)hint, size);
		if (got >= lowest && got + size <= start && got && got % LDR_REGION_ALIGNMENT == 0)
			return (char *)got;
		if (got)
			port_pages_release((void *)got, size);
	}
	return NULL;
}

static void make_section(struct maker *maker, const char *name, uint32_t rva, uint32_t size,
			 uint32_t flags)
{
	uint32_t at = SECTIONS_OFFSET + maker->section_count++ * SECTION_SIZE;

	memcpy(maker->base + at, name, rtl_length(name));
	put32(maker, at + 8, size);
	put32(maker, at + 12, rva);
	put32(maker, at + 16, align(size, PAGE));
	put32(maker, at + 20, rva); /* the image in memory is the only file there is */
	put32(maker, at + 36, flags);
}

static void make_headers(struct maker *maker)
{
	memcpy(maker->base, "MZ", 2);
	put32(maker, 0x3c, PE_OFFSET);
	memcpy(maker->base + PE_OFFSET, "PE", 2);
	put16(maker, PE_OFFSET + 4, 0x8664);
	put16(maker, PE_OFFSET + 6, (uint16_t)maker->section_count);
	put16(maker, PE_OFFSET + 20, OPTIONAL_SIZE);
	put16(maker, PE_OFFSET + 22, 0x22); /* executable, large addresses */
	put16(maker, OPTIONAL_OFFSET, 0x20b);
	put64(maker, OPTIONAL_OFFSET + 24, (uint64_t)maker->base);
	put32(maker, OPTIONAL_OFFSET + 32, PAGE);
	put32(maker, OPTIONAL_OFFSET + 36, PAGE);
	put16(maker, OPTIONAL_OFFSET + 40,
	      10); /* versions of the system, the image, the subsystem */
	put16(maker, OPTIONAL_OFFSET + 44, 10);
	put16(maker, OPTIONAL_OFFSET + 48, 10);
	put32(maker, OPTIONAL_OFFSET + 56, maker->size);
	put32(maker, OPTIONAL_OFFSET + 60, PAGE);
	put16(maker, OPTIONAL_OFFSET + 68, 1); /* native */
	put32(maker, OPTIONAL_OFFSET + 108, LDR_PE_DIRECTORIES);
	put32(maker, OPTIONAL_OFFSET + 112, maker->directory);
	put32(maker, OPTIONAL_OFFSET + 116, maker->directory_size);
}

/* jmp [rip]; the target follows. The driver's return address stays on top of the stack. */
static void make_jump(struct maker *maker, uint32_t offset, const void *target)
{
	put16(maker, offset, 0x25ff);
	put32(maker, offset + 2, 0);
	put64(maker, offset + 6, (uint64_t)target);
}

/* Inside the program; where that is not part of the module: 0. */
static uint32_t real_rva(const struct maker *maker, const void *address)
{
	uint64_t rva = (uint64_t)address - (uint64_t)maker->base;

	return rva >= maker->made_size && rva < maker->size ? (uint32_t)rva : 0;
}

static void make_exports(struct maker *maker)
{
	uint32_t string = maker->strings, jump = maker->jumps;

	put32(maker, maker->directory + 12, string);
	put32(maker, maker->directory + 16, 1); /* first ordinal */
	put32(maker, maker->directory + 28, maker->functions);
	put32(maker, maker->directory + 32, maker->names);
	put32(maker, maker->directory + 36, maker->indexes);
	rtl_copy(maker->base + string, rtl_length(maker->name) + 1, maker->name);
	string += (uint32_t)rtl_length(maker->name) + 1;
	for (uint32_t i = 0, made = 0; i < maker->count; i++) {
		const struct ddi *ddi = maker->exports[i];
		uint32_t rva = real_rva(maker, ldr_ddi_address(ddi));
		size_t length = rtl_length(ddi->name) + 1;

		if (rva == 0 && ddi->data)
			continue;
		if (rva == 0) {
			make_jump(maker, jump, ldr_ddi_address(ddi));
			rva = jump;
			jump += JUMP_SIZE;
		}
		put32(maker, maker->functions + 4 * made, rva);
		put32(maker, maker->names + 4 * made, string);
		put16(maker, maker->indexes + 2 * made, (uint16_t)made);
		rtl_copy(maker->base + string, length, ddi->name);
		string += (uint32_t)length;
		made++;
		put32(maker, maker->directory + 20, made);
		put32(maker, maker->directory + 24, made);
	}
}

/* `segments` of the program belong to the module, or count is 0. */
static bool make(struct maker *maker, const struct port_segment *segments, unsigned int count)
{
	uint64_t base = (uint64_t)maker->base;

	if (!port_pages_protect(maker->base, maker->made_size, PORT_READ | PORT_WRITE))
		return false;
	make_section(maker, ".edata", maker->directory, maker->directory_size, SECTION_READ);
	make_section(maker, ".jump", maker->jumps, maker->jumps_size, SECTION_CODE);
	for (unsigned int i = 0; i < count; i++) {
		uint32_t rva = (uint32_t)(segments[i].start - base);
		uint32_t size = (uint32_t)(segments[i].end - segments[i].start);

		if (segments[i].protection & PORT_EXECUTE)
			make_section(maker, ".text", rva, size, SECTION_CODE);
		else if (segments[i].protection & PORT_WRITE)
			make_section(maker, ".data", rva, size, SECTION_WRITE);
		else
			make_section(maker, ".rdata", rva, size, SECTION_READ);
	}
	make_headers(maker);
	make_exports(maker);
	return port_pages_protect(maker->base, maker->jumps, PORT_READ) &&
	       port_pages_protect(maker->base + maker->jumps, maker->made_size - maker->jumps,
				  PORT_READ | PORT_EXECUTE);
}

static bool build(struct maker *maker, struct ldr_kernel_image *image, bool is_kernel)
{
	struct port_segment segments[SEGMENTS_MAX];
	unsigned int count = 0;

	if (!collect(maker, !is_kernel))
		return false;
	lay_out(maker);
	if (is_kernel)
		count = port_program_segments(segments, SEGMENTS_MAX);
	if (count) {
		uint64_t end = segments[count - 1].end;

		maker->base = reserve_below(maker->made_size, segments[0].start, end);
		if (maker->base)
			maker->size = align(end - (uint64_t)maker->base, PAGE);
		else
			count = 0;
	}
	if (!maker->base)
		maker->base = ldr_arena_reserve(maker->made_size);
	if (!maker->base || !make(maker, segments, count))
		return false;
	*image = (struct ldr_kernel_image){.base = (uint64_t)maker->base, .size = maker->size};
	return true;
}

NTSTATUS ldr_kernel_image_build(struct ldr_kernel_image *kernel, struct ldr_kernel_image *hal)
{
	struct maker for_kernel = {.name = "ntoskrnl.exe"}, for_hal = {.name = "HAL.dll"};
	bool good = build(&for_kernel, kernel, true) && build(&for_hal, hal, false);

	ex_free(for_kernel.exports);
	ex_free(for_hal.exports);
	return good ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}
