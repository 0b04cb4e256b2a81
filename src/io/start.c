/* SPDX-License-Identifier: MIT */
/*
 * start.c: bring io up, and what the host sets: registry values.
 *
 * Context: PASSIVE_LEVEL on the control thread, before drivers run. No locks.
 */
#include "io/key.h"

#define TEXT_MAX 512

bool io_files_present;

NTSTATUS io_initialize(void)
{
	NTSTATUS status;
	io_irp_initialize();
	status = io_registry_initialize();
	if (NT_SUCCESS(status))
		status = io_host_files_initialize();
	return status;
}

USHORT io_widen(const char *text, WCHAR *to, size_t room)
{
	size_t n = 0;
	for (; *text; n++) {
		uint32_t c = (UCHAR)*text++;
		unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
		if ((c >= 0x80 && !more) || c >= 0xf8)
			return 0;
		c &= more ? 0x3fu >> more : 0x7f;
		for (; more; more--) {
			if ((*text & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (*text++ & 0x3f);
		}
		if (n + 2 >= room || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return 0;
		if (c >= 0x10000) {
			to[n++] = (WCHAR)(0xd800 + ((c - 0x10000) >> 10));
			c = 0xdc00 + ((c - 0x10000) & 0x3ff);
		}
		to[n] = (WCHAR)c;
	}
	return (USHORT)(n * sizeof(WCHAR));
}

static int digit(char c, unsigned base)
{
	int value = c >= '0' && c <= '9'   ? c - '0'
		    : c >= 'a' && c <= 'f' ? c - 'a' + 10
		    : c >= 'A' && c <= 'F' ? c - 'A' + 10
					   : 99;
	return value < (int)base ? value : -1;
}

/* A decimal or 0x number that fits into 64 bits, and nothing else. */
static bool number(const char *text, uint64_t *value)
{
	unsigned base = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10;
	if (base == 16)
		text += 2;
	*value = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		int d = digit(*text, base);
		uint64_t next;
		if (d < 0 || __builtin_mul_overflow(*value, (uint64_t)base, &next) ||
		    __builtin_add_overflow(next, (uint64_t)d, value))
			return false;
	}
	return true;
}

/* Pairs of hex digits, with commas or blanks between them; bytes, or -1. */
static int hex_bytes(const char *text, UCHAR *to, size_t room)
{
	size_t n = 0;
	while (*text) {
		if (*text == ',' || *text == ' ') {
			text++;
			continue;
		}
		int high = digit(text[0], 16), low = high < 0 ? -1 : digit(text[1], 16);
		if (low < 0 || n == room)
			return -1;
		to[n++] = (UCHAR)(high << 4 | low);
		text += 2;
	}
	return (int)n;
}

NTSTATUS io_registry_set(const char *service, const char *name, const char *value)
{
	static WCHAR service_text[TEXT_MAX], name_text[TEXT_MAX],
		value_text[TEXT_MAX]; /* one caller: the control thread */
	UNICODE_STRING key = {.Buffer = service_text}, value_name = {.Buffer = name_text};
	uint64_t numeric;
	key.Length = key.MaximumLength = io_widen(service, service_text, TEXT_MAX);
	value_name.Length = value_name.MaximumLength = io_widen(name, name_text, TEXT_MAX);
	if (!key.Length || (!value_name.Length && *name))
		return STATUS_INVALID_PARAMETER;
	if (number(value, &numeric)) {
		ULONG low = (ULONG)numeric;
		if (numeric <= MAXULONG)
			return io_registry_store(&key, &value_name, REG_DWORD, &low, sizeof(low));
		return io_registry_store(&key, &value_name, REG_QWORD, &numeric, sizeof(numeric));
	}
	if (!memcmp(value, "hex:", rtl_length(value) < 4 ? rtl_length(value) + 1 : 4)) {
		int size = hex_bytes(value + 4, (UCHAR *)value_text, sizeof(value_text));
		if (size < 0)
			return STATUS_INVALID_PARAMETER;
		return io_registry_store(&key, &value_name, REG_BINARY, value_text, (ULONG)size);
	}
	USHORT bytes = io_widen(value, value_text, TEXT_MAX);
	if (!bytes && *value)
		return STATUS_INVALID_PARAMETER;
	value_text[bytes / sizeof(WCHAR)] = 0;
	return io_registry_store(&key, &value_name, REG_SZ, value_text, bytes + sizeof(WCHAR));
}
