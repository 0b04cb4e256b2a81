/* SPDX-License-Identifier: MIT */
/*
 * user_layout.c: the memory of a 64-bit program goes below the machine's system range; see
 * user_layout.h.
 *
 * ADDR_COMPAT_LAYOUT, which children inherit, makes Linux hand out addresses upwards from a third
 * of the address space (0x2AAAAAAAA000 and its random part). What exec itself maps higher is moved
 * by mremap while nothing of the program has run: the image of a position independent program
 * (0x55...), the stack (0x7f...), and the heap's start, which follows the image. Then the pointers
 * that exec put into the stack and the registers are corrected; nobody else has one yet. The parts
 * keep the bits that the host made random.
 *
 * Chosen: the vdso stays where it is, and works. When the host does not let the heap's start be set
 * (prctl PR_SET_MM_MAP needs CONFIG_CHECKPOINT_RESTORE), the heap is blocked by a page without
 * access: allocators then use mmap.
 *
 * Context: the thread's tracer, no baton. No locks.
 */
#define _GNU_SOURCE
#include "port/linux/user_layout.h"

#include <elf.h>
#include <inttypes.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include "port/linux/user.h"

#define LIMIT       0x3fff00000000u /* some room below MmUserProbeAddress */
#define IMAGE_BASE  0x100000000000u /* programs move to this and their low 44 bits, ... */
#define OTHERS_BASE 0x200000000000u /* other images (the interpreter) to this, ... */
#define STACK_BASE  0x300000000000u /* and the stack to this and its low 43 bits */
#define PARTS       64
#define STACK_WORDS 0x8000 /* of the pointers at its top: 256 KiB */

struct part {
	uint64_t start, end;
	int64_t delta; /* where it goes; 0: it stays */
};

struct layout {
	struct port_user *user;
	struct user_regs_struct regs; /* as exec left them */
	struct part parts[PARTS];
	size_t count;
	int error;
	bool gone;
};

void user_layout_prepare(void)
{
	long now = host_syscall(SYS_personality, 0xffffffff, 0, 0, 0, 0, 0);
	if (now >= 0)
		host_syscall(SYS_personality, now | ADDR_COMPAT_LAYOUT, 0, 0, 0, 0, 0);
}

static int64_t call(struct layout *layout, enum user_call number, uint64_t a, uint64_t b,
		    uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	const uint64_t arguments[6] = {a, b, c, d, e, f};
	bool done = false;
	int64_t result = -ESRCH;
	if (!layout->gone)
		result = user_call_run(layout->user, &layout->regs, number, arguments, &done);
	layout->gone = !done;
	return result;
}

/* From the event of the exec to the end of that call. False: the thread is gone. */
static bool finish_exec(struct port_user *user)
{
	for (;;) {
		int status;
		if (!user_call_step(user, 0, &status))
			return false;
		if (status >> 16 == 0 && WSTOPSIG(status) == (SIGTRAP | 0x80))
			return true;
		if (status >> 16 == 0) /* it comes again when the program runs */
			host_syscall(SYS_tgkill, user->process->id, user->tid, WSTOPSIG(status), 0,
				     0, 0);
	}
}

/* ---- What lies where ---- */

/* The image that a mapping belongs to is the one before it when it follows without a gap, or has
 * the same file. */
static bool same_image(const struct part *last, const char *last_path, uint64_t start,
		       const char *path)
{
	return last->end == start ? !*path || !strcmp(path, last_path)
				  : *path && !strcmp(path, last_path);
}

static int64_t image_delta(uint64_t start)
{
	uint64_t base = start < 0x700000000000u ? IMAGE_BASE : OTHERS_BASE;
	return (int64_t)(base + (start & 0xfffffffffffu)) - (int64_t)start;
}

static void add_part(struct layout *layout, uint64_t start, uint64_t end, int64_t delta)
{
	if (layout->count < PARTS)
		layout->parts[layout->count++] =
			(struct part){.start = start, .end = end, .delta = delta};
	else
		layout->error = E2BIG;
}

static void read_parts(struct layout *layout)
{
	char name[64], last_path[256] = "";
	struct part last = {0};
	char *line = NULL;
	size_t room = 0;
	snprintf(name, sizeof name, "/proc/%u/maps", layout->user->tid);
	FILE *file = fopen(name, "re");
	if (!file) {
		layout->error = errno;
		return;
	}
	while (getline(&line, &room, file) > 0) {
		uint64_t start, end;
		char path[256] = "";
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %*s %255[^\n]", &start, &end,
			   path) < 2 ||
		    end <= LIMIT)
			continue;
		if (!strcmp(path, "[stack]")) {
			add_part(layout, start, end,
				 (int64_t)(STACK_BASE + (start & 0x7ffffffffffu)) - (int64_t)start);
			continue;
		}
		if (path[0] == '[' && strcmp(path, "[heap]") != 0)
			continue; /* vdso, vvar, vsyscall */
		int64_t delta = last.end && same_image(&last, last_path, start, path)
					? last.delta
					: image_delta(start);
		add_part(layout, start, end, delta);
		last = (struct part){.start = start, .end = end, .delta = delta};
		if (*path)
			memcpy(last_path, path, sizeof path);
	}
	free(line);
	fclose(file);
}

/* Where an address is after the move. */
static uint64_t moved(const struct layout *layout, uint64_t address)
{
	for (size_t i = 0; i < layout->count; i++) {
		const struct part *part = &layout->parts[i];
		if (address >= part->start && address < part->end)
			return address + (uint64_t)part->delta;
	}
	return address;
}

/* ---- Moving ---- */

static void move_parts(struct layout *layout)
{
	for (size_t i = 0; i < layout->count && !layout->gone; i++) {
		struct part *part = &layout->parts[i];
		uint64_t size = part->end - part->start;
		int64_t result =
			call(layout, USER_CALL_MREMAP, part->start, size, size,
			     MREMAP_MAYMOVE | MREMAP_FIXED, part->start + (uint64_t)part->delta, 0);
		if (result < 0) {
			layout->error = (int)-result;
			part->delta = 0;
		}
	}
}

static bool is_pointer(uint64_t type)
{
	return type == AT_PHDR || type == AT_BASE || type == AT_ENTRY || type == AT_RANDOM ||
	       type == AT_EXECFN || type == AT_PLATFORM || type == AT_BASE_PLATFORM;
}

/* argc, argv, 0, envp, 0, auxv from the top of the stack; `words` is how many there are. Returns
 * where auxv begins; 0: they do not end. */
static size_t correct_words(const struct layout *layout, uint64_t *words, size_t count, size_t *end)
{
	size_t i = 1;
	for (int list = 0; list < 2; list++) {
		for (; i < count && words[i]; i++)
			words[i] = moved(layout, words[i]);
		i++;
	}
	size_t auxv = i;
	for (; i + 1 < count && words[i] != AT_NULL; i += 2) {
		if (is_pointer(words[i]))
			words[i + 1] = moved(layout, words[i + 1]);
	}
	*end = i + 2;
	return *end <= count ? auxv : 0;
}

/* The marks that Linux keeps of an address space: fields of /proc/PID/stat. */
static bool read_marks(struct layout *layout, struct prctl_mm_map *map)
{
	char name[64], text[2048];
	uint64_t field[52] = {0};
	snprintf(name, sizeof name, "/proc/%u/stat", layout->user->tid);
	FILE *file = fopen(name, "re");
	if (!file)
		return false;
	size_t size = fread(text, 1, sizeof text - 1, file);
	fclose(file);
	text[size] = 0;
	char *at = strrchr(text, ')'); /* field 2 ends; the third follows */
	at = at ? strtok(at + 1, " ") : NULL;
	for (unsigned i = 3; i < 52 && at; i++, at = strtok(NULL, " "))
		field[i] = strtoull(at, NULL, 10);
	*map = (struct prctl_mm_map){
		.start_code = moved(layout, field[26]),
		.end_code = moved(layout, field[27] - 1) + 1,
		.start_stack = moved(layout, field[28]),
		.start_data = moved(layout, field[45]),
		.end_data = moved(layout, field[46] - 1) + 1,
		.start_brk = field[47],
		.brk = field[47],
		.arg_start = moved(layout, field[48]),
		.arg_end = moved(layout, field[49]),
		.env_start = moved(layout, field[50]),
		.env_end = moved(layout, field[51]),
		.exe_fd = (uint32_t)-1,
	};
	return field[47] != 0;
}

static void move_heap(struct layout *layout, const uint64_t *auxv, size_t words)
{
	struct prctl_mm_map map;
	uint64_t below = (moved(layout, layout->regs.rsp) - 1024) & ~15ull;
	if (!read_marks(layout, &map)) {
		layout->error = ENOENT;
		return;
	}
	uint64_t start = map.start_brk;
	if (start < LIMIT)
		return;
	map.start_brk = map.brk = start + (uint64_t)image_delta(start);
	map.auxv = (void *)(below - words * 8);
	map.auxv_size = (uint32_t)(words * 8);
	uint64_t at = (uint64_t)map.auxv - sizeof map;
	port_process_write(layout->user->process, (uint64_t)map.auxv, auxv, words * 8);
	port_process_write(layout->user->process, at, &map, sizeof map);
	if (call(layout, USER_CALL_PRCTL, PR_SET_MM, PR_SET_MM_MAP, at, sizeof map, 0, 0) == 0)
		return;
	start = (start + PORT_PAGE_SIZE - 1) & ~(uint64_t)(PORT_PAGE_SIZE - 1);
	int64_t result = call(layout, USER_CALL_MMAP, start, PORT_PAGE_SIZE, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1ull, 0);
	if (result < 0)
		layout->error = (int)-result;
}

static void correct_stack(struct layout *layout)
{
	uint64_t top = moved(layout, layout->regs.rsp);
	uint64_t *words = malloc(STACK_WORDS * 8);
	if (!words) {
		layout->error = ENOMEM;
		return;
	}
	size_t count = port_process_read(layout->user->process, top, words, STACK_WORDS * 8) / 8;
	size_t end, auxv = correct_words(layout, words, count, &end);
	if (auxv) {
		port_process_write(layout->user->process, top, words, end * 8);
		move_heap(layout, words + auxv, end - auxv);
	} else {
		layout->error = E2BIG;
	}
	free(words);
}

/* Kernel code will not see all of the program: say so. */
static void tell(const struct layout *layout)
{
	char text[160];
	int size = snprintf(text, sizeof text,
			    "ketch: process %u: some of its memory cannot be moved below "
			    "0x400000000000, so drivers do not see it: %s\n",
			    layout->user->process->id, strerror(layout->error));
	port_console_write(PORT_STREAM_REPORT, text, (size_t)size, false);
}

void user_layout_lower(struct port_user *user)
{
	struct layout layout = {.user = user};
	if (user_ptrace(PTRACE_GETREGS, user->tid, 0, &layout.regs) != 0 ||
	    layout.regs.cs != 0x33 || !finish_exec(user))
		return;
	read_parts(&layout);
	move_parts(&layout);
	if (!layout.gone)
		correct_stack(&layout);
	layout.regs.rsp = moved(&layout, layout.regs.rsp);
	layout.regs.rip = moved(&layout, layout.regs.rip);
	layout.regs.orig_rax = ~0ull;
	if (!layout.gone && user_ptrace(PTRACE_SETREGS, user->tid, 0, &layout.regs) != 0)
		layout.gone = true;
	user->injected = false;
	user->regs_read = user->regs_changed = false;
	if (layout.error && !layout.gone)
		tell(&layout);
}
