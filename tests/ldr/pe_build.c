// SPDX-License-Identifier: MIT
#include "pe_build.h"

#include <assert.h>
#include <string.h>

static const struct section {
	const char *name;
	uint32_t rva, size, raw, raw_size, flags;
} sections[] = {
	{".text", TEXT, 0x200, 0x400, 0x200, 0x60000020},
	{".rdata", RDATA, 0x800, 0x600, 0x800, 0x40000040},
	{".data", DATA, 0x1800, 0xe00, 0x200, 0xc0000040},
	{".pdata", PDATA, 0x18, 0x1000, 0x200, 0x40000040},
	{"PAGE", PAGED, 0x200, 0x1200, 0x200, 0x60000020},
	{"INIT", INIT, 0x200, 0x1400, 0x200, 0x62000020},
	{".reloc", RELOC, 0x10, 0x1600, 0x200, 0x42000040},
};

enum { SECTION_COUNT = sizeof(sections) / sizeof(sections[0]) };

void put16(struct image *image, uint32_t offset, uint16_t value)
{
	memcpy(image->bytes + offset, &value, sizeof(value));
}

void put32(struct image *image, uint32_t offset, uint32_t value)
{
	memcpy(image->bytes + offset, &value, sizeof(value));
}

void put64(struct image *image, uint32_t offset, uint64_t value)
{
	memcpy(image->bytes + offset, &value, sizeof(value));
}

uint32_t image_offset(uint32_t rva)
{
	for (int i = 0; i < SECTION_COUNT; i++) {
		if (rva >= sections[i].rva && rva - sections[i].rva < sections[i].raw_size)
			return sections[i].raw + rva - sections[i].rva;
	}
	assert(!"no raw data at this address");
	return 0;
}

static void at32(struct image *image, uint32_t rva, uint32_t value)
{
	put32(image, image_offset(rva), value);
}

static void at64(struct image *image, uint32_t rva, uint64_t value)
{
	put64(image, image_offset(rva), value);
}

static void text_at(struct image *image, uint32_t rva, const char *text)
{
	strcpy((char *)image->bytes + image_offset(rva), text);
}

static void directory(struct image *image, int number, uint32_t rva, uint32_t size)
{
	put32(image, IMG_DIRECTORY(number), rva);
	put32(image, IMG_DIRECTORY(number) + 4, size);
}

static void build_headers(struct image *image)
{
	memcpy(image->bytes, "MZ", 2);
	put32(image, 0x3c, IMG_PE);
	memcpy(image->bytes + IMG_PE, "PE\0", 4);
	put16(image, IMG_MACHINE, 0x8664);
	put16(image, IMG_SECTION_COUNT, SECTION_COUNT);
	put16(image, IMG_OPTIONAL_SIZE, 240);
	put16(image, IMG_CHARACTERISTICS, 0x22);
	put16(image, IMG_OPT, 0x20b);
	put32(image, IMG_ENTRY, INIT + 0x10);
	put64(image, IMG_BASE, IMG_BASE_ADDRESS);
	put32(image, IMG_SECTION_ALIGNMENT, 0x1000);
	put32(image, IMG_FILE_ALIGNMENT, 0x200);
	put32(image, IMG_IMAGE_SIZE, IMG_SIZE_OF_IMAGE);
	put32(image, IMG_HEADERS_SIZE, 0x400);
	put16(image, IMG_SUBSYSTEM, 1);
	put32(image, IMG_DIRECTORY_COUNT, 16);
	for (int i = 0; i < SECTION_COUNT; i++) {
		uint32_t header = IMG_SECTION(i);

		strncpy((char *)image->bytes + header, sections[i].name, 8);
		put32(image, header + SEC_SIZE, sections[i].size);
		put32(image, header + SEC_RVA, sections[i].rva);
		put32(image, header + SEC_RAW_SIZE, sections[i].raw_size);
		put32(image, header + SEC_RAW, sections[i].raw);
		put32(image, header + SEC_FLAGS, sections[i].flags);
	}
}

static void descriptor(struct image *image, int number, uint32_t lookup, uint32_t module,
		       uint32_t slots)
{
	at32(image, IMPORTS + 20 * number, lookup);
	at32(image, IMPORTS + 20 * number + 12, module);
	at32(image, IMPORTS + 20 * number + 16, slots);
}

static void build_imports(struct image *image)
{
	directory(image, 1, IMPORTS, 80);
	descriptor(image, 0, LOOKUP_NT, MODULE_NT, SLOTS_NT);
	descriptor(image, 1, LOOKUP_NT2, MODULE_NT, SLOTS_NT2);
	descriptor(image, 2, 0, MODULE_HAL, SLOTS_HAL);
	at64(image, LOOKUP_NT, NAME_DBGPRINT);
	at64(image, LOOKUP_NT + 8, 0x8000000000000007u);
	at64(image, LOOKUP_NT2, NAME_KEBUGCHECKEX);
	at64(image, SLOTS_HAL, NAME_HALSENDNMI);
	put16(image, image_offset(NAME_DBGPRINT), 42);
	text_at(image, NAME_DBGPRINT + 2, "DbgPrint");
	text_at(image, NAME_KEBUGCHECKEX + 2, "KeBugCheckEx");
	text_at(image, NAME_HALSENDNMI + 2, "HalSendNMI");
	text_at(image, MODULE_NT, "ntoskrnl.exe");
	text_at(image, MODULE_HAL, "HAL.dll");

	directory(image, 13, DELAY, 64);
	at32(image, DELAY, 1);
	at32(image, DELAY + 4, MODULE_EXTRA);
	at32(image, DELAY + 12, DELAY_SLOTS);
	at32(image, DELAY + 16, DELAY_LOOKUP);
	at64(image, DELAY_LOOKUP, NAME_LATER);
	text_at(image, NAME_LATER + 2, "Later");
	text_at(image, MODULE_EXTRA, "extra.sys");
}

static void build_exports(struct image *image)
{
	directory(image, 0, EXPORTS, EXPORTS_SIZE);
	at32(image, EXPORTS + 12, EXPORT_MODULE);
	at32(image, EXPORTS + 16, 5);
	at32(image, EXPORTS + 20, 4);
	at32(image, EXPORTS + 24, 3);
	at32(image, EXPORTS + 28, EXPORT_FUNCTIONS);
	at32(image, EXPORTS + 32, EXPORT_NAMES);
	at32(image, EXPORTS + 36, EXPORT_INDEXES);
	at32(image, EXPORT_FUNCTIONS, TEXT + 0x20);
	at32(image, EXPORT_FUNCTIONS + 8, FORWARDER_BETA);
	at32(image, EXPORT_FUNCTIONS + 12, FORWARDER_GAMMA);
	at32(image, EXPORT_NAMES, EXPORT_ALPHA);
	at32(image, EXPORT_NAMES + 4, EXPORT_BETA);
	at32(image, EXPORT_NAMES + 8, EXPORT_GAMMA);
	put16(image, image_offset(EXPORT_INDEXES), 0);
	put16(image, image_offset(EXPORT_INDEXES + 2), 2);
	put16(image, image_offset(EXPORT_INDEXES + 4), 3);
	text_at(image, EXPORT_MODULE, "test.sys");
	text_at(image, EXPORT_ALPHA, "Alpha");
	text_at(image, EXPORT_BETA, "Beta");
	text_at(image, EXPORT_GAMMA, "Gamma");
	text_at(image, FORWARDER_BETA, "ntoskrnl.DbgPrint");
	text_at(image, FORWARDER_GAMMA, "lib.v2.#17");
}

static void build_data(struct image *image)
{
	directory(image, 3, FUNCTIONS, 24);
	at32(image, FUNCTIONS, TEXT);
	at32(image, FUNCTIONS + 4, TEXT + 0x20);
	at32(image, FUNCTIONS + 8, UNWIND);
	at32(image, FUNCTIONS + 12, TEXT + 0x20);
	at32(image, FUNCTIONS + 16, TEXT + 0x40);
	at32(image, FUNCTIONS + 20, UNWIND);

	directory(image, 5, RELOC, 0x10);
	at64(image, POINTER, IMG_BASE_ADDRESS + TEXT + 0x20);
	at64(image, POINTER_LAST, IMG_BASE_ADDRESS + DATA);
	at32(image, RELOC, DATA);
	at32(image, RELOC + 4, 0x10);
	put16(image, image_offset(RELOC + 8), 0xa010);
	put16(image, image_offset(RELOC + 10), 0xa1f8);

	directory(image, 6, DEBUG, 28);
	at32(image, DEBUG + 12, 2);
	at32(image, DEBUG + 16, 24 + sizeof("c:\\src\\nmi.pdb"));
	at32(image, DEBUG + 20, CODEVIEW);
	text_at(image, CODEVIEW, "RSDS");
	text_at(image, CODEVIEW + 24, "c:\\src\\nmi.pdb");

	directory(image, 10, CONFIG, 0x94);
	at32(image, CONFIG, 0x94);
	at64(image, CONFIG + 0x58, IMG_BASE_ADDRESS + COOKIE);
	at64(image, CONFIG + 0x70, IMG_BASE_ADDRESS + RDATA + 0x700);
	at64(image, CONFIG + 0x78, IMG_BASE_ADDRESS + RDATA + 0x708);
	at64(image, CONFIG + 0x80, IMG_BASE_ADDRESS + RDATA + 0x710);
	at64(image, CONFIG + 0x88, 3);
	at32(image, CONFIG + 0x90, 0x100);
	at64(image, COOKIE, COOKIE_DEFAULT);
}

void image_build(struct image *image)
{
	memset(image, 0, sizeof(*image));
	build_headers(image);
	/* So that it shows when a byte of one section comes from another place. */
	for (int i = 0; i < SECTION_COUNT; i++) {
		if (sections[i].rva == TEXT || sections[i].rva == PAGED || sections[i].rva == INIT)
			memset(image->bytes + sections[i].raw, 0x90 + i, sections[i].raw_size);
	}
	build_imports(image);
	build_exports(image);
	build_data(image);
}
