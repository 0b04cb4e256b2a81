/* SPDX-License-Identifier: MIT */
/*
 * Stubs for imports that nobody provides (`--allow-missing`): each stops the run when it is called,
 * and names the function, its module and the caller.
 *
 * A stub is 32 bytes of code in a page of its image's own, which are writable while the image is
 * bound and executable afterwards, never both. Its record, which the stub passes on, has the
 * escaped names.
 *
 * Contexts: made and freed at PASSIVE_LEVEL under the loader's mutex; called by drivers in any
 * context. Requirements: DEF-321.
 *
 * Chosen where documents are silent: the bug check's code is the status that a load without this
 * mode would have given; parameter 1 is the caller, parameter 2 the stub. A missing variable looks
 * the same in an import table, so it is not caught: reading it gives the stub's bytes, writing it
 * faults. The stubs of an unloaded image become inaccessible with it.
 */
#include "ex/ex.h"
#include "ke/ke.h"
#include "ldr/ldr_internal.h"
#include "port/port.h"

enum {
	STUB_SIZE = 32,
	BLOCK_SIZE = LDR_REGION_ALIGNMENT - PORT_PAGE_SIZE,
	BLOCK_STUBS = BLOCK_SIZE / STUB_SIZE,
	NAME_MAX = 100, /* characters */
};

struct stub_record {
	struct stub_record *next;
	const struct ldr_image *image;
	uint64_t stub;
	NTSTATUS status;
	char module[NAME_MAX];
	char name[NAME_MAX];
};

struct ldr_stub_block {
	struct ldr_stub_block *next; /* older */
	struct stub_record *records;
	char *code;
	uint32_t count;
};

/* Where every stub leads: RCX = its record, RDX = the driver's return address. */
static NTAPI _Noreturn void missing_called(const struct stub_record *record, uint64_t caller)
{
	struct ke_bugcheck_detail detail = {.address = 0};
	char text[LDR_PE_ERROR_MAX + 1], where[80];

	/* A driver that ends in a jump to the function leaves no address of its own. */
	rtl_copy(where, sizeof(where), record->image->name);
	if (ldr_image_from_address(caller)) {
		detail.address = caller;
		ldr_address_format(caller, where, sizeof(where));
	}
	rtl_print(text, sizeof(text),
		  "%s called %s!%s, which is not supported (run: ketch imports %s)", where,
		  record->module, record->name, record->image->name);
	detail.text = text;
	ke_bugcheck((ULONG)record->status, caller, record->stub, 0, 0, &detail);
}

/*
 * mov rcx, record; mov rdx, [rsp]; mov rax, missing_called; jmp rax. The stack is as a call of the
 * missing function left it, which is as missing_called expects it.
 */
static void write_stub(char *code, const struct stub_record *record)
{
	static const unsigned char load_record[] = {0x48, 0xb9};
	static const unsigned char load_caller[] = {0x48, 0x8b, 0x14, 0x24};
	static const unsigned char load_target[] = {0x48, 0xb8};
	static const unsigned char jump[] = {0xff, 0xe0};
	uint64_t target = (uint64_t)missing_called, argument = (uint64_t)record;

	memcpy(code, load_record, 2);
	memcpy(code + 2, &argument, 8);
	memcpy(code + 10, load_caller, 4);
	memcpy(code + 14, load_target, 2);
	memcpy(code + 16, &target, 8);
	memcpy(code + 24, jump, 2);
	memset(code + 26, 0xcc, STUB_SIZE - 26);
}

static struct ldr_stub_block *block_with_room(struct ldr_image *image)
{
	struct ldr_stub_block *block = image->own->stubs;

	if (block && block->count < BLOCK_STUBS)
		return block;
	block = ex_allocate(sizeof(*block), LDR_TAG, NonPagedPoolNx);
	if (!block)
		return NULL;
	block->code = ldr_arena_reserve(BLOCK_SIZE);
	if (!block->code || !port_pages_protect(block->code, BLOCK_SIZE, PORT_READ | PORT_WRITE)) {
		if (block->code)
			ldr_arena_cancel(block->code, BLOCK_SIZE);
		ex_free(block);
		return NULL;
	}
	block->next = image->own->stubs;
	image->own->stubs = block;
	return block;
}

uint64_t ldr_missing_stub(struct ldr_image *image, const struct ldr_missing *missing)
{
	struct ldr_stub_block *block = block_with_room(image);
	struct stub_record *record;

	if (!block)
		return 0;
	record = ex_allocate(sizeof(*record), LDR_TAG, NonPagedPoolNx);
	if (!record)
		return 0;
	record->image = image;
	record->status = missing->status;
	rtl_copy(record->module, sizeof(record->module), missing->module);
	rtl_copy(record->name, sizeof(record->name), missing->name);
	record->stub = (uint64_t)block->code + block->count * STUB_SIZE;
	write_stub((char *)record->stub, record);
	record->next = block->records;
	block->records = record;
	block->count++;
	image->missing_count++;
	return record->stub;
}

bool ldr_missing_seal(struct ldr_image *image)
{
	for (struct ldr_stub_block *block = image->own->stubs; block; block = block->next) {
		if (!port_pages_protect(block->code, BLOCK_SIZE, PORT_READ | PORT_EXECUTE))
			return false;
	}
	return true;
}

void ldr_missing_free(struct ldr_image *image, bool never_ran)
{
	struct ldr_stub_block *block;

	while ((block = image->own->stubs)) {
		struct stub_record *record;

		image->own->stubs = block->next;
		if (never_ran)
			ldr_arena_cancel(block->code, BLOCK_SIZE);
		else
			port_pages_decommit(block->code, BLOCK_SIZE);
		while ((record = block->records)) {
			block->records = record->next;
			ex_free(record);
		}
		ex_free(block);
	}
}
