/* SPDX-License-Identifier: MIT */
/*
 * What an address is to the verifier: in which driver, and is that driver checked (VER-3).
 *
 * Lock-free and NMI-safe, as the loader's look-ups are. The selection is made before boot and
 * constant afterwards.
 */
#include "ex/ex.h"
#include "ldr/ldr.h"
#include "rtl/rtl.h"
#include "vf/vf_internal.h"

static char selected[256]; /* names joined with commas; empty: all */

void vf_drivers_select(const char *names)
{
	rtl_copy(selected, sizeof selected, names ? names : "");
}

static bool is_selected(const char *name)
{
	if (!selected[0])
		return true;
	for (const char *at = selected; *at;) {
		char one[64];
		size_t length = 0;
		for (; *at && *at != ','; at++) {
			if (length < sizeof one - 1)
				one[length++] = *at;
		}
		one[length] = 0;
		if (*at)
			at++;
		if (rtl_equal_nocase(one, name))
			return true;
	}
	return false;
}

bool vf_address_in_driver(uint64_t address)
{
	return ldr_image_from_address(address);
}

bool vf_address_checked(uint64_t address)
{
	const struct ldr_image *image = ldr_image_from_address(address);
	return image && is_selected(image->name);
}

bool vf_address_where(uint64_t address, char *where, size_t size)
{
	const struct ldr_image *image = ldr_image_from_address(address);
	if (!image) {
		where[0] = 0;
		return false;
	}
	rtl_print(where, size, "%s+0x%llx", image->name,
		  (unsigned long long)(address - image->base));
	return true;
}

void vf_address_name(uint64_t address, char *name, size_t size)
{
	const struct ldr_image *image = ldr_image_from_address(address);
	rtl_copy(name, size, image ? image->name : "");
}

void vf_image_range(const struct ldr_image *image, uint64_t *base, uint64_t *end)
{
	*base = image->base;
	*end = image->base + image->size;
}

uint64_t vf_pool_allocator(const void *address)
{
	struct ex_pool_block block;
	enum ex_pool_kind kind = ex_pool_find(address, &block);
	return kind == EX_POOL_NONPAGED || kind == EX_POOL_PAGED ? block.caller : 0;
}
