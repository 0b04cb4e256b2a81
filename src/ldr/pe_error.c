/* SPDX-License-Identifier: MIT */
/*
 * PE reader: what is said when an image is refused: one line of printable ASCII, at most 300
 * characters, with every name escaped, because names come from files that nobody vouches for.
 *
 * Contexts: any; pure code. Requirements: DESIGN section 5 (a refusal).
 */
#include "ldr/pe_internal.h"
#include "ldr/text.h"

enum {
	FILE_NAME_MAX = 64, /* characters of the file's name, of an image's names, after escaping:
			       no text then has more than LDR_PE_ERROR_MAX */
	NAME_MAX = 72,
};

static const char *const templates[LDR_PE_CODES] = {[LDR_PE_OK] = "no error",
#define TEMPLATE(code, text) [LDR_PE_E_##code] = text,
						    LDR_PE_ERRORS(TEMPLATE)
#undef TEMPLATE
};

static void expand(struct ldr_text *text, const struct ldr_pe_error *error, char field)
{
	size_t length = 0;

	switch (field) {
	case 'n':
		while (length < sizeof(error->name) && error->name[length])
			length++;
		ldr_text_escaped(text, error->name, length, NAME_MAX);
		break;
	case 'i':
		ldr_text_decimal(text, error->index);
		break;
	case 'v':
		ldr_text_hex(text, error->value);
		break;
	case 'l':
		ldr_text_hex(text, error->limit);
		break;
	case 'V':
		ldr_text_decimal(text, error->value);
		break;
	case 'L':
		ldr_text_decimal(text, error->limit);
		break;
	}
}

static size_t string_length(const char *string)
{
	size_t length = 0;

	while (string[length])
		length++;
	return length;
}

size_t ldr_pe_error_format(const struct ldr_pe_error *error, const char *file, char *buffer,
			   size_t size)
{
	const char *from = templates[error->code < LDR_PE_CODES ? error->code : LDR_PE_OK];
	struct ldr_text text;

	ldr_text_start(&text, buffer, size);
	ldr_text_escaped(&text, file, string_length(file), FILE_NAME_MAX);
	ldr_text_add(&text, ": ");
	while (*from) {
		if (from[0] == '{' && from[1] && from[2] == '}') {
			expand(&text, error, from[1]);
			from += 3;
		} else {
			ldr_text_bytes(&text, from++, 1);
		}
	}
	return text.length;
}
