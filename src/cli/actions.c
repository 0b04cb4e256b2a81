/* SPDX-License-Identifier: MIT */
/* actions.c: the words after the driver: nmi[:P|:all][xN], add[:fail][xN], ioctl:DEVICE,CODE[,HEX],
 * wait:MS, user[&]:PROGRAM[,ARG...], unload. */
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"

#define COUNT_LIMIT 1000000000u

/* A trailing xN; cuts it off. True if there is none or it is right. */
static bool take_count(char *text, uint32_t *count)
{
	char *x = strrchr(text, 'x');
	uint64_t value;
	*count = 1;
	if (!x)
		return true;
	if (!number_parse(x + 1, COUNT_LIMIT, &value) || value == 0)
		return false;
	*x = 0;
	*count = (uint32_t)value;
	return true;
}

static bool parse_nmi(const char *text, struct action *action, const char **why)
{
	char rest[64];
	uint64_t processor = 0;
	*why = "an NMI action is nmi[:P|:all][xN], N from 1";
	if (strlen(text) >= sizeof rest)
		return false;
	strcpy(rest, text);
	if (!take_count(rest, &action->count))
		return false;
	action->kind = ACTION_NMI;
	if (!strcmp(rest, ":all")) {
		action->processor = ACTION_ALL_PROCESSORS;
		return true;
	}
	if (*rest && (*rest != ':' || !number_parse(rest + 1, 1279, &processor)))
		return false;
	action->processor = (uint32_t)processor;
	return true;
}

static bool parse_add(const char *text, struct action *action, const char **why)
{
	char rest[64];
	*why = "an addition is add[xN], add:fail[xN] or add:mismatch, N from 1";
	if (strlen(text) >= sizeof rest)
		return false;
	strcpy(rest, text);
	if (!take_count(rest, &action->count))
		return false;
	action->kind = ACTION_ADD;
	action->how = !strcmp(rest, ":fail")       ? KETCH_ADD_FAIL
		      : !strcmp(rest, ":mismatch") ? KETCH_ADD_MISMATCH
						   : KETCH_ADD;
	return !*rest || action->how != KETCH_ADD;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool parse_hex(const char *text, struct action *action)
{
	size_t length = strlen(text);
	if (length % 2)
		return false;
	action->input_size = length / 2;
	action->input = malloc(action->input_size + 1);
	if (!action->input)
		return false;
	for (size_t i = 0; i < action->input_size; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		action->input[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool parse_ioctl(const char *text, struct action *action, const char **why)
{
	char rest[64];
	uint64_t code;
	const char *comma = strchr(text, ',');
	*why = "an IOCTL action is ioctl:DEVICE,CODE[,HEX]: the name behind \\\\.\\, a number, "
	       "bytes as pairs of hex digits";
	action->kind = ACTION_IOCTL;
	if (!comma || comma == text || (size_t)(comma - text) >= sizeof action->device)
		return false;
	memcpy(action->device, text, (size_t)(comma - text));
	const char *bytes = strchr(comma + 1, ',');
	size_t length = bytes ? (size_t)(bytes - comma - 1) : strlen(comma + 1);
	if (length >= sizeof rest)
		return false;
	memcpy(rest, comma + 1, length);
	rest[length] = 0;
	if (!number_parse(rest, UINT32_MAX, &code))
		return false;
	action->code = (uint32_t)code;
	return !bytes || parse_hex(bytes + 1, action);
}

bool action_parse(const char *text, struct action *action, const char **why)
{
	uint64_t ms;
	memset(action, 0, sizeof *action);
	action->text = text;
	*why = "actions are nmi[:P|:all][xN], add[:fail][xN], ioctl:DEVICE,CODE[,HEX], wait:MS, "
	       "user[&]:PROGRAM[,ARG...] and unload";
	if (!strncmp(text, "nmi", 3))
		return parse_nmi(text + 3, action, why);
	if (!strncmp(text, "add", 3))
		return parse_add(text + 3, action, why);
	if (!strncmp(text, "ioctl:", 6))
		return parse_ioctl(text + 6, action, why);
	if (!strncmp(text, "wait:", 5)) {
		action->kind = ACTION_WAIT;
		*why = "a wait is wait:MS, in milliseconds";
		if (!number_parse(text + 5, UINT32_MAX, &ms))
			return false;
		action->ms = (uint32_t)ms;
		return true;
	}
	if (!strncmp(text, "user:", 5) || !strncmp(text, "user&:", 6)) {
		*why = "a user program is user:PROGRAM[,ARG...], or user&:... for one that is not "
		       "waited for";
		action->background = text[4] == '&';
		return user_parse(strchr(text, ':') + 1, action);
	}
	action->kind = ACTION_UNLOAD;
	return !strcmp(text, "unload");
}
