/* SPDX-License-Identifier: MIT */
/*
 * What a driver left behind: asks every part for live objects whose code or storage goes with the
 * image (VER-38..44, NMI-15, DEF-24, DEF-341).
 *
 * Runs at PASSIVE_LEVEL in the thread that unloads; the parts' checks take their own locks.
 *
 * Chosen: an object is blamed on the image when its routine or its storage lies in it, or its
 * storage in pool that the driver allocated (VER-38).
 */
#include "rtl/rtl.h"
#include "vf/vf_internal.h"

#define CHECK(function) void function(const struct vf_unload *unload);
#include "vf/checks.def"
#undef CHECK

static void (*const checks[])(const struct vf_unload *unload) = {
#define CHECK(function) function,
#include "vf/checks.def"
#undef CHECK
};

bool vf_unload_owns(const struct vf_unload *unload, const void *address)
{
	uint64_t value = (uint64_t)(uintptr_t)address;
	if (value >= unload->base && value < unload->end)
		return true;
	uint64_t allocator = vf_pool_allocator(address);
	return allocator >= unload->base && allocator < unload->end;
}

/* The bug check's parameters 2 to 4: object, start and end of the range that was searched (VER-39);
 * else as VER-1. */
static void left(const struct vf_unload *unload, enum vf_rule rule, uint64_t address,
		 const void *object, const char *format, ...)
{
	uint64_t parameters[3] = {(uint64_t)(uintptr_t)object, unload->base, unload->end};
	va_list arguments;
	va_start(arguments, format);
	vf_report_list(rule, NULL, address, (uint64_t)(uintptr_t)object, true,
		       vf_rule_code(rule) == 0xc4 ? NULL : parameters, format, arguments);
	va_end(arguments);
}

void vf_unload_left(const struct vf_unload *unload, enum vf_rule rule, const void *address,
		    const void *object, const char *format, ...)
{
	char what[120], name[64];
	va_list arguments;
	va_start(arguments, format);
	rtl_vprint(what, sizeof what, format, arguments);
	va_end(arguments);

	/* The address of the image itself tells who it was when nothing better is known. */
	uint64_t blame = (uint64_t)(uintptr_t)address;
	if (blame < unload->base || blame >= unload->end)
		blame = vf_pool_allocator(object);
	if (blame < unload->base || blame >= unload->end)
		blame = unload->base;
	vf_address_name(unload->base, name, sizeof name);
	left(unload, rule, blame, object, "%s %s left %s", name,
	     unload->entry_failed ? "failed in DriverEntry and" : "unloaded and", what);
}

void vf_driver_unload(struct ldr_image *image, bool entry_failed)
{
	if (!vf_on())
		return;
	struct vf_unload unload = {.image = image, .entry_failed = entry_failed};
	vf_image_range(image, &unload.base, &unload.end);
	for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
		checks[i](&unload);
}
