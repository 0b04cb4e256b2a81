/* SPDX-License-Identifier: MIT */
/* A small valid driver image in memory, for tests that then spoil one field of it. */
#pragma once

#include <stdint.h>

/* Offsets in the file. */
enum {
	IMG_PE = 0x80,
	IMG_MACHINE = IMG_PE + 4,
	IMG_SECTION_COUNT = IMG_PE + 6,
	IMG_OPTIONAL_SIZE = IMG_PE + 20,
	IMG_CHARACTERISTICS = IMG_PE + 22,
	IMG_OPT = IMG_PE + 24,
	IMG_ENTRY = IMG_OPT + 16,
	IMG_BASE = IMG_OPT + 24,
	IMG_SECTION_ALIGNMENT = IMG_OPT + 32,
	IMG_FILE_ALIGNMENT = IMG_OPT + 36,
	IMG_IMAGE_SIZE = IMG_OPT + 56,
	IMG_HEADERS_SIZE = IMG_OPT + 60,
	IMG_SUBSYSTEM = IMG_OPT + 68,
	IMG_DIRECTORY_COUNT = IMG_OPT + 108,
	IMG_DIRECTORIES = IMG_OPT + 112,
	IMG_SECTIONS = IMG_OPT + 240,
	SEC_SIZE = 8, /* in a section header */
	SEC_RVA = 12,
	SEC_RAW_SIZE = 16,
	SEC_RAW = 20,
	SEC_FLAGS = 36,
};

#define IMG_DIRECTORY(number) (IMG_DIRECTORIES + 8 * (number))
#define IMG_SECTION(number)   (IMG_SECTIONS + 40 * (number)) /* from 0 */

/* Sections: number, address, file offset. Each has 0x200 bytes of raw data, .rdata 0x800. */
enum {
	TEXT = 0x1000,
	RDATA = 0x2000,
	DATA = 0x3000, /* 0x1800 bytes in memory */
	PDATA = 0x5000,
	PAGED = 0x6000,
	INIT = 0x7000,
	RELOC = 0x8000,
	IMG_SIZE_OF_IMAGE = 0x9000,
	IMG_FILE_SIZE = 0x1800,
};
#define IMG_BASE_ADDRESS 0x140000000u

/* What is where. */
enum {
	/* .rdata */
	IMPORTS = RDATA + 0x000,    /* two descriptors for ntoskrnl.exe, one for HAL.dll, end */
	LOOKUP_NT = RDATA + 0x080,  /* DbgPrint, ordinal 7, end */
	LOOKUP_NT2 = RDATA + 0x0a0, /* KeBugCheckEx, end */
	SLOTS_NT = RDATA + 0x0c0,
	SLOTS_NT2 = RDATA + 0x0e0,
	SLOTS_HAL = RDATA + 0x100,     /* HalSendNMI, end; OriginalFirstThunk is 0 */
	NAME_DBGPRINT = RDATA + 0x120, /* hint and name */
	NAME_KEBUGCHECKEX = RDATA + 0x130,
	NAME_HALSENDNMI = RDATA + 0x140,
	MODULE_NT = RDATA + 0x150,
	MODULE_HAL = RDATA + 0x160,
	DELAY = RDATA + 0x180,        /* one descriptor for extra.sys, end */
	DELAY_LOOKUP = RDATA + 0x1c0, /* Later, end */
	NAME_LATER = RDATA + 0x1d0,
	MODULE_EXTRA = RDATA + 0x1e0,
	EXPORTS = RDATA + 0x200, /* 4 functions from ordinal 5 on, 3 names */
	EXPORT_FUNCTIONS = RDATA + 0x230,
	EXPORT_NAMES = RDATA + 0x240,
	EXPORT_INDEXES = RDATA + 0x250,
	EXPORT_MODULE = RDATA + 0x260,
	EXPORT_ALPHA = RDATA + 0x270, /* function 0: in .text */
	EXPORT_BETA = RDATA + 0x280,  /* function 2: forwarder to ntoskrnl.DbgPrint */
	EXPORT_GAMMA = RDATA + 0x290, /* function 3: forwarder to lib.v2.#17 */
	FORWARDER_BETA = RDATA + 0x2a0,
	FORWARDER_GAMMA = RDATA + 0x2c0,
	EXPORTS_SIZE = 0x100,
	CONFIG = RDATA + 0x400, /* Size 0x94 */
	DEBUG = RDATA + 0x500,
	CODEVIEW = RDATA + 0x540, /* RSDS, "c:\src\nmi.pdb" */
	UNWIND = RDATA + 0x600,
	/* .data */
	POINTER = DATA + 0x10, /* relocated: to TEXT + 0x20 */
	COOKIE = DATA + 0x18,  /* the default cookie */
	DELAY_SLOTS = DATA + 0x40,
	POINTER_LAST = DATA + 0x1f8, /* relocated: to DATA */
	/* .pdata */
	FUNCTIONS = PDATA, /* two entries */
};

#define COOKIE_DEFAULT 0x00002b992ddfa232u

struct image {
	unsigned char bytes[IMG_FILE_SIZE];
};

void image_build(struct image *image);

/* File offset of an RVA that has raw data. */
uint32_t image_offset(uint32_t rva);

void put16(struct image *image, uint32_t offset, uint16_t value);
void put32(struct image *image, uint32_t offset, uint32_t value);
void put64(struct image *image, uint32_t offset, uint64_t value);
