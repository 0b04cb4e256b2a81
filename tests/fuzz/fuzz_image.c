// SPDX-License-Identifier: MIT
/*
 * libFuzzer target: any bytes through the whole loader on the unit tests' kernel, twice: as they
 * are, and with missing imports allowed, so that an image that can be mapped is bound, protected,
 * searched, discarded and unloaded. Memory of a refused image must come back.
 */
#include <stdlib.h>
#include <string.h>

#include "../ldr/fake_kernel.h"
#include "ldr/ldr_internal.h"

enum {
	SPAN_MAX = 0x100000, /* larger images only cost addresses */
	LOADS_PER_ARENA = 20000,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void start(void)
{
	static unsigned int loads;

	if (loads == 0)
		fake_boot();
	else if (loads % LOADS_PER_ARENA == 0)
		require(NT_SUCCESS(ldr_arena_initialize()));
	loads++;
}

static void use(struct ldr_image *image)
{
	char where[80];

	for (uint32_t rva = 0; rva < image->size; rva += 0x800) {
		struct ldr_section *section = ldr_image_section_at(image, image->base + rva);

		require(ldr_image_from_address(image->base + rva) == image);
		require(!section || (rva >= section->rva && rva - section->rva < section->size));
	}
	for (uint32_t i = 0; i < image->section_count; i++) {
		const struct ldr_section *section = &image->sections[i];

		require(section->own_rva % 0x1000 == 0 && section->own_size % 0x1000 == 0);
		require((uint64_t)section->own_rva + section->own_size <= image->size);
	}
	require(ldr_address_format(image->base + 5, where, sizeof(where)) > 4);
	ldr_image_discard_init(image);
	require(ldr_image_unload(image) == STATUS_SUCCESS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char message[4000];
	struct ldr_request request = {.name = "fuzz.sys",
				      .file = data,
				      .size = size,
				      .message = message,
				      .message_size = sizeof(message)};
	struct ldr_pe_error error;
	struct ldr_pe pe;

	if (ldr_pe_open(&pe, data, size, &error) && ldr_pe_span(&pe) > SPAN_MAX)
		return 0;
	for (int allowed = 0; allowed < 2; allowed++) {
		struct ldr_image *image;
		size_t blocks;
		NTSTATUS status;

		start();
		strcpy(fake_printed, "rwx allowed");
		blocks = fake_blocks;
		request.allow_missing = allowed;
		status = ldr_image_load(&request, &image);
		require(fake_lock_depth == 0 && NT_SUCCESS(status) == (image != NULL));
		for (const char *c = message; *c; c++)
			require(*c == '\n' || (*c >= ' ' && *c <= '~'));
		if (image)
			use(image);
		else
			require(fake_blocks == blocks && *message);
	}
	return 0;
}
