/* SPDX-License-Identifier: MIT */
/*
 * format_convert.c: the conversions of the formatter: arguments in, padded text out. See format.c.
 *
 * Pure code: no locks, no allocation; any IRQL and NMI callbacks too.
 */
#include "rtl/rtl_internal.h"

/* ---- Output --------------------------------------------------------------------------------- */

void format_put(struct rtl_output *out, unsigned unit)
{
	if (out->length < out->room) {
		if (out->wide)
			((WCHAR *)out->buffer)[out->length] = (WCHAR)unit;
		else
			((char *)out->buffer)[out->length] = (char)unit;
	}
	out->length++;
}

static void put_many(struct rtl_output *out, unsigned unit, size_t count)
{
	while (count && out->length < out->room) {
		format_put(out, unit);
		count--;
	}
	out->length += count;
}

static void put_point(struct rtl_output *out, uint32_t point)
{
	if (out->wide) {
		WCHAR units[2];
		size_t n = rtl_utf16_put(units, point);
		for (size_t i = 0; i < n; i++)
			format_put(out, units[i]);
	} else {
		unsigned char bytes[4];
		size_t n = rtl_utf8_put(bytes, point);
		for (size_t i = 0; i < n; i++)
			format_put(out, bytes[i]);
	}
}

/* ---- Arguments ------------------------------------------------------------------------------ */

static uint64_t next_slot(struct rtl_arguments *arguments)
{
	uint64_t value;
	memcpy(&value, arguments->ms, sizeof(value));
	arguments->ms += sizeof(value);
	return value;
}

uint32_t format_next_32(struct rtl_arguments *arguments)
{
	if (arguments->microsoft)
		return (uint32_t)next_slot(arguments);
	return va_arg(arguments->sysv, uint32_t);
}

uint64_t format_next_64(struct rtl_arguments *arguments)
{
	if (arguments->microsoft)
		return next_slot(arguments);
	return va_arg(arguments->sysv, uint64_t);
}

static const void *next_pointer(struct rtl_arguments *arguments)
{
	return (const void *)(uintptr_t)format_next_64(arguments);
}

static void skip_float(struct rtl_arguments *arguments)
{
	if (arguments->microsoft)
		next_slot(arguments);
	else
		(void)va_arg(arguments->sysv, double);
}

/* ---- Conversions ------------------------------------------------------------------------------
 */

static void put_padded_left(struct format_state *state, const struct format_spec *spec, size_t used)
{
	if (!spec->left && used < spec->width)
		put_many(state->out, spec->zero ? '0' : ' ', spec->width - used);
}

static void put_padded_right(struct format_state *state, const struct format_spec *spec,
			     size_t used)
{
	if (spec->left && used < spec->width)
		put_many(state->out, ' ', spec->width - used);
}

static void convert_number(struct format_state *state, struct format_spec *spec, uint64_t value,
			   unsigned base, bool upper, const char *prefix)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[24];
	size_t count = 0;
	while (value) {
		text[count++] = digits[value % base];
		value /= base;
	}

	size_t zeros = 0;
	size_t wanted = spec->has_precision ? spec->precision : 1;
	if (count < wanted)
		zeros = wanted - count;
	if (base == 8 && spec->alternate && !zeros && (!count || text[count - 1] != '0'))
		zeros = 1;

	size_t signs = rtl_length(prefix);
	size_t used = signs + zeros + count;
	if (spec->zero && !spec->has_precision && !spec->left && used < spec->width) {
		zeros += spec->width - used;
		used = spec->width;
	}
	spec->zero = false;

	put_padded_left(state, spec, used);
	for (size_t i = 0; i < signs; i++)
		format_put(state->out, (unsigned char)prefix[i]);
	put_many(state->out, '0', zeros);
	while (count)
		format_put(state->out, (unsigned char)text[--count]);
	put_padded_right(state, spec, used);
}

static void convert_signed(struct format_state *state, struct format_spec *spec)
{
	int64_t value;
	if (spec->size == SIZE_64)
		value = (int64_t)format_next_64(state->arguments);
	else
		value = (int32_t)format_next_32(state->arguments);
	if (spec->size == SIZE_SHORT)
		value = (int16_t)value;
	else if (spec->size == SIZE_BYTE)
		value = (int8_t)value;

	const char *sign = "";
	if (value < 0)
		sign = "-";
	else if (spec->plus)
		sign = "+";
	else if (spec->space)
		sign = " ";
	uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	convert_number(state, spec, magnitude, 10, false, sign);
}

static void convert_unsigned(struct format_state *state, struct format_spec *spec, unsigned base,
			     bool upper)
{
	uint64_t value;
	if (spec->size == SIZE_64)
		value = format_next_64(state->arguments);
	else
		value = format_next_32(state->arguments);
	if (spec->size == SIZE_SHORT)
		value = (uint16_t)value;
	else if (spec->size == SIZE_BYTE)
		value = (uint8_t)value;

	const char *prefix = "";
	if (base == 16 && spec->alternate && value)
		prefix = upper ? "0X" : "0x";
	convert_number(state, spec, value, base, upper, prefix);
}

static void convert_pointer(struct format_state *state, struct format_spec *spec)
{
	spec->has_precision = true;
	spec->precision = 16;
	convert_number(state, spec, format_next_64(state->arguments), 16, true,
		       spec->alternate ? "0X" : "");
}

/* One pass over a counted text; `draw` false: only count. Stops before a character that passes the
 * precision. */
static size_t text_pass(struct format_state *state, const struct format_spec *spec,
			const void *text, size_t units, bool wide, bool draw)
{
	struct rtl_output counter = {.wide = state->out->wide};
	size_t done = 0;
	for (size_t i = 0; i < units;) {
		uint32_t point;
		size_t taken;
		bool same = wide == state->out->wide;
		if (same) { /* as it is, whatever it holds */
			point = wide ? ((const WCHAR *)text)[i] : ((const unsigned char *)text)[i];
			taken = 1;
			format_put(&counter, 0);
		} else {
			taken = wide ? rtl_utf16_next((const WCHAR *)text + i, units - i, &point)
				     : rtl_utf8_next((const char *)text + i, units - i, &point);
			put_point(&counter, point);
		}
		if (spec->has_precision && counter.length > spec->precision)
			break;
		if (draw && same)
			format_put(state->out, point);
		else if (draw)
			put_point(state->out, point);
		done = counter.length;
		i += taken;
	}
	return done;
}

static void convert_text(struct format_state *state, struct format_spec *spec, const void *text,
			 size_t units, bool wide)
{
	size_t used = text_pass(state, spec, text, units, wide, false);
	put_padded_left(state, spec, used);
	text_pass(state, spec, text, units, wide, true);
	put_padded_right(state, spec, used);
}

/* The units before the terminator. A precision bounds what is read: such a text needs no
 * terminator. */
static size_t text_units(const struct format_spec *spec, const void *text, bool wide)
{
	size_t limit = spec->has_precision ? spec->precision : (size_t)-1;
	size_t units = 0;
	while (units < limit &&
	       (wide ? ((const WCHAR *)text)[units] : ((const unsigned char *)text)[units]))
		units++;
	return units;
}

/* %s and %S: `wide` is what the letter means without a size prefix. */
static bool is_wide(struct format_state *state, const struct format_spec *spec, bool wide)
{
	if (spec->size == SIZE_LONG || spec->size == SIZE_WIDE)
		wide = true;
	else if (spec->size == SIZE_SHORT)
		wide = false;
	state->result.wide_used |= wide;
	return wide;
}

static void convert_string(struct format_state *state, struct format_spec *spec, bool wide)
{
	const void *text = next_pointer(state->arguments);
	wide = is_wide(state, spec, wide);
	if (!text) {
		text = "(null)";
		wide = false;
	}
	convert_text(state, spec, text, text_units(spec, text, wide), wide);
}

static void convert_character(struct format_state *state, struct format_spec *spec, bool wide)
{
	uint32_t value = format_next_32(state->arguments);
	WCHAR unit = (WCHAR)value;
	char byte = (char)value;
	spec->has_precision = false;
	if (is_wide(state, spec, wide))
		convert_text(state, spec, &unit, 1, true);
	else
		convert_text(state, spec, &byte, 1, false);
}

/* %Z ANSI_STRING*, %wZ and %lZ UNICODE_STRING*. */
static void convert_counted(struct format_state *state, struct format_spec *spec)
{
	const void *string = next_pointer(state->arguments);
	bool wide = is_wide(state, spec, false);
	if (wide) {
		const UNICODE_STRING *unicode = string;
		if (unicode && unicode->Buffer) {
			convert_text(state, spec, unicode->Buffer, unicode->Length / sizeof(WCHAR),
				     true);
			return;
		}
	} else {
		const ANSI_STRING *ansi = string;
		if (ansi && ansi->Buffer) {
			convert_text(state, spec, ansi->Buffer, ansi->Length, false);
			return;
		}
	}
	convert_text(state, spec, "(null)", 6, false);
}

void format_convert(struct format_state *state, struct format_spec *spec, unsigned letter)
{
	switch (letter) {
	case 'd':
	case 'i':
		convert_signed(state, spec);
		break;
	case 'u':
		convert_unsigned(state, spec, 10, false);
		break;
	case 'o':
		convert_unsigned(state, spec, 8, false);
		break;
	case 'x':
	case 'X':
		convert_unsigned(state, spec, 16, letter == 'X');
		break;
	case 'p':
		convert_pointer(state, spec);
		break;
	case 's':
	case 'S':
		convert_string(state, spec, (letter == 'S') != state->format_wide);
		break;
	case 'c':
	case 'C':
		convert_character(state, spec, (letter == 'C') != state->format_wide);
		break;
	case 'Z':
		convert_counted(state, spec);
		break;
	case 'a':
	case 'A':
	case 'e':
	case 'E':
	case 'f':
	case 'F':
	case 'g':
	case 'G':
		skip_float(state->arguments);
		state->result.float_used = true;
		format_put(state->out, '?');
		break;
	case 'n':
		next_pointer(state->arguments);
		state->result.invalid = true;
		break;
	case '%':
		format_put(state->out, '%');
		break;
	default: /* no meaning: the character itself, as documented */
		state->result.invalid = true;
		format_put(state->out, letter);
		break;
	}
}
