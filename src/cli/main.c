/* SPDX-License-Identifier: MIT */
/* main.c: the ketch command: which subcommand, and what files and texts all of them need. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"

#define FILE_LIMIT (1u << 30) /* four times the largest image */

static const struct {
	const char *name;
	int (*main)(int argc, char **argv);
} commands[] = {
	{"run", cli_run}, {"cc", cli_cc},   {"imports", cli_imports},
	{"ddi", cli_ddi}, {"nmi", cli_nmi}, {"add", cli_add},
};

const char *escaped(const char *text)
{
	static char buffers[4][300];
	static unsigned turn;
	char *to = buffers[turn++ % 4];
	size_t used = 0;
	if (!*text)
		return "\"\"";
	for (const unsigned char *c = (const unsigned char *)text;
	     *c && used < sizeof buffers[0] - 5; c++) {
		if (*c >= 0x20 && *c < 0x7f && *c != '\\')
			to[used++] = (char)*c;
		else
			used += (size_t)sprintf(to + used, *c == '\\' ? "\\\\" : "\\x%02x", *c);
	}
	to[used] = 0;
	return to;
}

int usage_error(const char *format, ...)
{
	va_list arguments;
	fputs("ketch: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return EXIT_USAGE;
}

const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

void *file_read(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	char *bytes = NULL;
	size_t used = 0, room = 0;
	if (!file)
		return NULL;
	for (;;) {
		if (used > FILE_LIMIT) {
			errno = EFBIG;
			break;
		}
		if (used == room) {
			room = room ? room * 2 : 1 << 16;
			char *more = realloc(bytes, room);
			if (!more) {
				errno = ENOMEM;
				break;
			}
			bytes = more;
		}
		size_t n = fread(bytes + used, 1, room - used, file);
		used += n;
		if (n == 0) {
			if (ferror(file))
				break;
			fclose(file);
			*size = used;
			return bytes;
		}
	}
	int error = errno;
	free(bytes);
	fclose(file);
	errno = error;
	return NULL;
}

bool number_parse(const char *text, uint64_t limit, uint64_t *value)
{
	char *end;
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	unsigned long long number = strtoull(text, &end, 0);
	if (errno || *end || number > limit)
		return false;
	*value = number;
	return true;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : NULL;
	if (!command)
		return help_print(stderr, NULL), EXIT_USAGE;
	if (!strcmp(command, "--help") || !strcmp(command, "-h") || !strcmp(command, "help")) {
		if (help_print(stdout, argc > 2 ? argv[2] : NULL))
			return EXIT_EXPECTED;
		return usage_error("there is no command %s to explain (run: ketch --help)",
				   escaped(argv[2]));
	}
	if (!strcmp(command, "--version")) {
		puts("ketch " KETCH_VERSION);
		return EXIT_EXPECTED;
	}
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (strcmp(command, commands[i].name))
			continue;
		for (int a = 2; a < argc; a++) {
			if (!strcmp(argv[a], "--help") || !strcmp(argv[a], "-h"))
				return help_print(stdout, command), EXIT_EXPECTED;
			if (!strcmp(argv[a], "--"))
				break;
		}
		int status = commands[i].main(argc - 1, argv + 1);
		if (fflush(stdout))
			return usage_error("standard output: %s", strerror(errno));
		return status;
	}
	return usage_error("there is no command %s (run: ketch --help)", escaped(command));
}
