/* SPDX-License-Identifier: MIT */
/*
 * symbol.c: names and source lines for addresses in drivers, by llvm-symbolizer, which reads PDB
 * files (beside the image) and DWARF sections (in it). One process serves a run; without it, or
 * without debug information, addresses stay numbers.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "cli/cli.h"

extern char **environ;

static struct {
	const char *name;
	char path[PATH_MAX];
} images[16];
static size_t image_count;

static FILE *questions, *answers;
static bool failed;

void symbol_add_image(const char *name, const char *path)
{
	if (image_count == sizeof images / sizeof *images)
		return;
	if (realpath(path, images[image_count].path))
		images[image_count++].name = name;
}

static bool start(void)
{
	int ask[2], answer[2];
	char *const words[] = {"llvm-symbolizer", "--demangle", "--output-style=LLVM", NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	if (pipe2(ask, O_CLOEXEC) || pipe2(answer, O_CLOEXEC))
		return false;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ask[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, answer[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	int error = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ask[0]);
	close(answer[1]);
	if (error) {
		fprintf(stderr,
			"ketch: llvm-symbolizer cannot be started, addresses have no names: %s "
			"(Debian: apt install llvm)\n",
			strerror(error));
		close(ask[1]);
		close(answer[0]);
		return false;
	}
	signal(SIGPIPE, SIG_IGN);
	questions = fdopen(ask[1], "w");
	answers = fdopen(answer[0], "r");
	return questions && answers;
}

static const char *path_of(const char *name)
{
	for (size_t i = 0; i < image_count; i++) {
		if (!strcasecmp(images[i].name, name))
			return images[i].path;
	}
	return NULL;
}

struct symbol {
	char function[256], place[512]; /* of functions inlined into each other the innermost */
	char outermost[256];            /* and the one that the code belongs to */
};

/* What the symbolizer knows about an address in a file; false: nothing. */
static bool ask_file(const char *path, uint64_t offset, struct symbol *symbol)
{
	char line[512];
	if (failed)
		return false;
	if (!questions && !start()) {
		failed = true;
		return false;
	}
	fprintf(questions, "\"%s\" 0x%llx\n", path, (unsigned long long)offset);
	/* Pairs of lines, innermost first: function, file:line:column. An empty line ends them. */
	memset(symbol, 0, sizeof *symbol);
	failed = fflush(questions) != 0;
	for (unsigned i = 0; !failed; i++) {
		failed = !fgets(line, sizeof line, answers);
		if (failed || line[0] == '\n')
			break;
		line[strcspn(line, "\n")] = 0;
		if (i == 1)
			strcpy(symbol->place, line);
		if (i % 2)
			continue;
		snprintf(symbol->outermost, sizeof symbol->outermost, "%.255s", line);
		if (i == 0)
			strcpy(symbol->function, symbol->outermost);
	}
	return !failed && strcmp(symbol->function, "??") != 0;
}

/* The same for an address in a driver. */
static bool ask(uint64_t address, struct symbol *symbol)
{
	const char *name, *path;
	uint64_t offset;
	return ketch_image_of(address, &name, &offset) && (path = path_of(name)) &&
	       ask_file(path, offset, symbol);
}

/* ` (function, file.c:12)`, or ` (inlined in function, file.c:12)`; the file without its folder. */
static const char *describe(struct symbol *symbol)
{
	static char result[4][640];
	static unsigned turn;
	char *to = result[turn++ % 4], name[520];
	snprintf(name, sizeof name, "%.200s", escaped(symbol->function));
	if (strcmp(symbol->function, symbol->outermost) != 0)
		snprintf(name + strlen(name), sizeof name - strlen(name), " in %.200s",
			 escaped(symbol->outermost));
	char *column = strrchr(symbol->place, ':');
	if (column)
		*column = 0;
	char *line = strrchr(symbol->place, ':');
	if (line && strcmp(line, ":0") != 0 && strncmp(symbol->place, "??", 2) != 0)
		snprintf(to, sizeof result[0], " (%s, %.200s)", name,
			 escaped(file_name(symbol->place)));
	else
		snprintf(to, sizeof result[0], " (%s)", name);
	return to;
}

const char *symbol_of(uint64_t address)
{
	struct symbol here;
	return ask(address, &here) ? describe(&here) : "";
}

const char *symbol_of_file(const char *path, uint64_t linked)
{
	struct symbol here;
	return !strchr(path, '"') && !strchr(path, '\n') && ask_file(path, linked, &here)
		       ? describe(&here)
		       : "";
}

const char *symbol_of_call(uint64_t address)
{
	struct symbol here, before;
	if (!ask(address, &here))
		return "";
	if (ask(address - 1, &before) && !strcmp(before.outermost, here.outermost))
		return describe(&before);
	return describe(&here);
}
