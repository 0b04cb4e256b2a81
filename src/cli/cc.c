/* SPDX-License-Identifier: MIT */
/*
 * cc.c: `ketch cc`: build a driver from C and C++ with clang and lld-link, against include/km and
 * the import libraries that come from the DDI table.
 *
 * `#pragma alloc_text(SECTION, function...)` is carried out here, because clang before version 15
 * ignores it: each source is preprocessed, every such pragma becomes a declaration with the
 * section's attribute, and that text is compiled. Line markers keep file names and line numbers
 * right.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"

extern char **environ;

#define WORDS_MAX 256

struct words {
	char *at[WORDS_MAX];
	size_t count;
};

struct build {
	char headers[PATH_MAX], libraries[PATH_MAX], folder[PATH_MAX];
	const char *out;
	struct words options; /* for clang */
	struct words sources, objects;
	const char *entry;
};

static void add(struct words *words, const char *text)
{
	if (words->count == WORDS_MAX - 1) {
		usage_error("too many words for one build");
		exit(EXIT_USAGE);
	}
	if (!(words->at[words->count++] = strdup(text)))
		exit(usage_error("no memory"));
	words->at[words->count] = NULL;
}

static void add_format(struct words *words, const char *format, const char *value)
{
	char text[PATH_MAX + 64];
	snprintf(text, sizeof text, format, value);
	add(words, text);
}

/* Run the command that the words make, and forget them. */
static bool run_tool(struct words *words)
{
	pid_t pid;
	int status = -1;
	int error = posix_spawnp(&pid, words->at[0], NULL, NULL, words->at, environ);
	if (error)
		usage_error("%s cannot be started: %s (Debian: apt install clang lld llvm)",
			    words->at[0], strerror(error));
	else
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	while (words->count)
		free(words->at[--words->count]);
	return !error && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);
	return length >= tail && !strcmp(text + length - tail, end);
}

static bool is_cxx(const char *path)
{
	return ends_with(path, ".cpp") || ends_with(path, ".cc") || ends_with(path, ".cxx");
}

/* The folder that holds `probe`, tried beside the command, in an installation, and in a build tree.
 */
static bool find_folder(const char *const *candidates, const char *probe, char *found)
{
	char self[PATH_MAX], path[PATH_MAX * 2];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	if (length <= 0)
		return false;
	self[length] = 0;
	*strrchr(self, '/') = 0;
	for (; *candidates; candidates++) {
		snprintf(path, sizeof path, "%s/%s/%s", self, *candidates, probe);
		if (access(path, R_OK))
			continue;
		*strrchr(path, '/') = 0;
		return realpath(path, found) != NULL;
	}
	return usage_error("%s is not where this command expects it", probe), false;
}

/* ---- #pragma alloc_text ---- */

static const char *skip_blanks(const char *at)
{
	return at + strspn(at, " \t");
}

/* The declarations that `alloc_text(SECTION, f, g)` stands for; false: not of that form. */
static bool write_alloc_text(FILE *to, const char *arguments, bool cxx)
{
	char section[64];
	size_t length = strcspn(arguments, ", \t)");
	if (length == 0 || length >= sizeof section)
		return false;
	memcpy(section, arguments, length);
	section[length] = 0;
	const char *at = skip_blanks(arguments + length);
	const char *name = section;
	if (*name == '"') {
		section[length - 1] = 0;
		name++;
	}
	while (*at == ',') {
		at = skip_blanks(at + 1);
		length = strcspn(at, ", \t)");
		fprintf(to, "extern %s__typeof__(%.*s) %.*s __attribute__((section(\"%s\"))); ",
			cxx ? "\"C\" " : "", (int)length, at, (int)length, at, name);
		at = skip_blanks(at + length);
	}
	return *at == ')';
}

static bool rewrite(const char *from, const char *to, bool cxx)
{
	FILE *in = fopen(from, "r"), *out = fopen(to, "w");
	char *line = NULL;
	size_t room = 0;
	bool ok = in && out;
	while (ok && getline(&line, &room, in) > 0) {
		const char *at = skip_blanks(line);
		if (!strncmp(at, "#pragma", 7) && !strncmp(skip_blanks(at + 7), "alloc_text", 10)) {
			at = skip_blanks(skip_blanks(at + 7) + 10);
			if (*at == '(' && write_alloc_text(out, skip_blanks(at + 1), cxx)) {
				fputc('\n', out);
				continue;
			}
		}
		fputs(line, out);
	}
	free(line);
	if (in)
		fclose(in);
	if (out && fclose(out))
		ok = false;
	if (!ok)
		usage_error("%s cannot be written: %s", escaped(to), strerror(errno));
	return ok;
}

/* ---- The steps ---- */

static void add_target(struct build *b, struct words *clang, bool cxx)
{
	static const char *const common[] = {
		"--target=x86_64-pc-windows-msvc",
		"-fms-extensions",
		"-fms-compatibility-version=19.29",
		"-ffreestanding",
		"-fasynchronous-unwind-tables",
		"-fno-builtin-printf",
		"-mno-stack-arg-probe",
		"-D_AMD64_",
		"-D_WIN64",
		"-DAMD64",
		"-O2",
		"-g",
		"-gcodeview",
		"-fno-omit-frame-pointer",
		"-Wno-unknown-pragmas",
		"-Wno-ignored-pragmas",
		"-Wno-multichar",
		"-Wno-four-char-constants",
		"-Wno-pragma-pack",
		NULL,
	};
	add(clang, "clang");
	for (size_t i = 0; common[i]; i++)
		add(clang, common[i]);
	if (cxx) {
		add(clang, "-fno-exceptions");
		add(clang, "-fno-rtti");
		add(clang, "-fno-threadsafe-statics");
	}
	add_format(clang, "-isystem%s", b->headers);
	add_format(clang, "-isystem%s/crt", b->headers); /* string.h and its like */
	for (size_t i = 0; i < b->options.count; i++)
		add(clang, b->options.at[i]);
}

static bool compile(struct build *b, const char *source, size_t number)
{
	char text[PATH_MAX + 32], ready[PATH_MAX + 32], object[PATH_MAX + 32];
	struct words preprocess = {0}, clang = {0};
	bool cxx = is_cxx(source);
	snprintf(text, sizeof text, "%s/%zu.%s", b->folder, number, cxx ? "ii" : "i");
	snprintf(ready, sizeof ready, "%s/%zu-ready.%s", b->folder, number, cxx ? "ii" : "i");
	snprintf(object, sizeof object, "%s/%zu.obj", b->folder, number);

	add_target(b, &preprocess, cxx);
	add(&preprocess, "-E");
	add(&preprocess, source);
	add(&preprocess, "-o");
	add(&preprocess, text);
	if (!run_tool(&preprocess) || !rewrite(text, ready, cxx))
		return false;
	add_target(b, &clang, cxx);
	add(&clang, "-Wno-unused-command-line-argument");
	add(&clang, "-c");
	add(&clang, ready);
	add(&clang, "-o");
	add(&clang, object);
	add(&b->objects, object);
	return run_tool(&clang);
}

static bool link_driver(struct build *b)
{
	struct words link = {0};
	char pdb[PATH_MAX];
	snprintf(pdb, sizeof pdb, "%s", b->out);
	char *dot = strrchr(pdb, '.');
	if (dot && !strchr(dot, '/'))
		*dot = 0;
	add(&link, "lld-link");
	add(&link, "/nologo");
	add(&link, "/driver");
	add(&link, "/subsystem:native");
	add(&link, "/machine:x64");
	add(&link, "/nodefaultlib");
	add(&link, "/debug");
	add(&link, "/dynamicbase");
	add(&link, "/nxcompat");
	add(&link, "/alternatename:_fltused=__ImageBase"); /* clang refers to it where floating
							      point is used */
	add_format(&link, "/entry:%s", b->entry);
	add_format(&link, "/out:%s", b->out);
	add_format(&link, "/pdb:%s.pdb", pdb);
	add_format(&link, "/pdbaltpath:%s", "%_PDB%");
	for (size_t i = 0; i < b->objects.count; i++)
		add(&link, b->objects.at[i]);
	static const char *const libraries[] = {"ntoskrnl", "hal", "netio"};
	for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
		char path[PATH_MAX + 32];
		snprintf(path, sizeof path, "%s/%s.lib", b->libraries, libraries[i]);
		add(&link, path);
	}
	return run_tool(&link);
}

static void clean_up(const struct build *b)
{
	static const char *const forms[] = {"%s/%zu.i", "%s/%zu.ii", "%s/%zu-ready.i",
					    "%s/%zu-ready.ii", "%s/%zu.obj"};
	char path[PATH_MAX + 32];
	for (size_t i = 0; i < b->sources.count; i++) {
		for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
			snprintf(path, sizeof path, forms[f], b->folder, i);
			unlink(path);
		}
	}
	rmdir(b->folder);
}

/* Options of clang that take the next word as their value. */
static bool takes_value(const char *option)
{
	static const char *const names[] = {"-I", "-D", "-U", "-include", "-isystem", "-x", "-std"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!strcmp(option, names[i]))
			return true;
	}
	return false;
}

static int take_words(struct build *b, int argc, char **argv)
{
	b->entry = "DriverEntry";
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		if (!strcmp(word, "-o") || !strcmp(word, "--entry")) {
			if (i + 1 == argc)
				return usage_error("%s needs a value", word);
			*(word[1] == 'o' ? &b->out : &b->entry) = argv[++i];
		} else if (*word == '-') {
			add(&b->options, word);
			if (takes_value(word) && i + 1 < argc)
				add(&b->options, argv[++i]);
		} else if (ends_with(word, ".obj") || ends_with(word, ".o") ||
			   ends_with(word, ".lib")) {
			add(&b->objects, word);
		} else if (ends_with(word, ".c") || is_cxx(word)) {
			add(&b->sources, word);
		} else {
			return usage_error(
				"%s is neither C or C++ source nor an object nor a library",
				escaped(word));
		}
	}
	for (size_t i = 0; i < b->sources.count; i++) {
		if (access(b->sources.at[i], R_OK))
			return usage_error("%s: cannot be read: %s", escaped(b->sources.at[i]),
					   strerror(errno));
	}
	if (b->sources.count + b->objects.count == 0)
		return usage_error(
			"which source? ketch cc [-o OUT.sys] [CLANG OPTION ...] SOURCE ...");
	return 0;
}

int cli_cc(int argc, char **argv)
{
	static const char *const headers[] = {"../include/km", "../share/ketch/km",
					      "../../../include/km", NULL};
	static const char *const libraries[] = {"lib", "../lib/ketch", "../../lib", "../../tools",
						NULL};
	static struct build b;
	static char out[PATH_MAX];
	int error = take_words(&b, argc, argv);
	if (error)
		return error;
	if (!find_folder(headers, "wdm.h", b.headers) ||
	    !find_folder(libraries, "ntoskrnl.lib", b.libraries))
		return EXIT_USAGE;
	if (!b.out) {
		const char *first = file_name(b.sources.count ? b.sources.at[0] : b.objects.at[0]);
		const char *dot = strrchr(first, '.');
		snprintf(out, sizeof out, "%.*s.sys", (int)(dot - first), first);
		b.out = out;
	}
	const char *temporary = getenv("TMPDIR");
	snprintf(b.folder, sizeof b.folder, "%s/ketch-cc-XXXXXX", temporary ? temporary : "/tmp");
	if (!mkdtemp(b.folder))
		return usage_error("%s: no folder can be made there: %s", escaped(b.folder),
				   strerror(errno));
	bool ok = true;
	for (size_t i = 0; ok && i < b.sources.count; i++)
		ok = compile(&b, b.sources.at[i], i);
	ok = ok && link_driver(&b);
	clean_up(&b);
	return ok ? EXIT_EXPECTED : EXIT_REFUSED;
}
