/* SPDX-License-Identifier: MIT */
/*
 * user_window.c: page frames that Ketch shows at user addresses, and pages of programs (mm/user.c).
 *
 * One memfd holds all frames; it is mapped twice for the core (*alias, *own), and page by page
 * wherever the window or an MDL shows it. A page is never mapped over something of Ketch's own:
 * below 0x400000000000 that is the shared page (0x7FFE0000, where a program of Windows has it,
 * too), and what the io part puts there for IOCTLs; programs keep away from both by where Linux
 * puts things (user_layout.c).
 *
 * Contexts: system calls only; in handlers too, but port_window_create and port_window_view. No
 * locks: the caller serialises what concerns the same page.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include "port/linux/user.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static int window_file = -1;
static char *window_alias;
static size_t window_size;

static bool failed(long result)
{
	return result < 0 && result > -4096;
}

static char *map_all(int protection)
{
	long result = host_syscall(SYS_mmap, 0, (long)window_size, protection,
				   MAP_SHARED | MAP_NORESERVE, window_file, 0);
	return failed(result) ? NULL : (char *)result;
}

bool port_window_create(size_t frames, char **alias, char **own)
{
	long file = host_syscall(SYS_memfd_create, (long)"ketch-window", MFD_CLOEXEC, 0, 0, 0, 0);
	window_size = frames * PORT_PAGE_SIZE;
	if (file < 0)
		return false;
	window_file = (int)file;
	if (host_syscall(SYS_ftruncate, file, (long)window_size, 0, 0, 0, 0) == 0) {
		*alias = window_alias = map_all(PROT_READ | PROT_WRITE);
		*own = map_all(PROT_READ | PROT_WRITE);
		if (*alias && *own)
			return true;
	}
	host_syscall(SYS_close, file, 0, 0, 0, 0, 0);
	return false;
}

bool port_window_map(uint64_t address, size_t frame, bool writable)
{
	int protection = PROT_READ | (writable ? PROT_WRITE : 0);
	long result = host_syscall(SYS_mmap, (long)address, PORT_PAGE_SIZE, protection,
				   MAP_SHARED | MAP_FIXED_NOREPLACE, window_file,
				   (long)(frame * PORT_PAGE_SIZE));
	return result == (long)address;
}

bool port_window_protect(uint64_t address, bool writable)
{
	return host_syscall(SYS_mprotect, (long)address, PORT_PAGE_SIZE,
			    PROT_READ | (writable ? PROT_WRITE : 0), 0, 0, 0) == 0;
}

void port_window_unmap(uint64_t address, size_t size)
{
	host_syscall(SYS_munmap, (long)address, (long)size, 0, 0, 0, 0);
}

void *port_window_view(const uint64_t *pages, size_t count)
{
	uint64_t first = (uint64_t)window_alias / PORT_PAGE_SIZE;
	char *base = port_pages_reserve(NULL, count * PORT_PAGE_SIZE);
	if (!base)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		long to = (long)(base + i * PORT_PAGE_SIZE);
		long result = host_syscall(SYS_mmap, to, PORT_PAGE_SIZE, PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_FIXED, window_file,
					   (long)((pages[i] - first) * PORT_PAGE_SIZE));
		if (result != to) {
			port_pages_release(base, count * PORT_PAGE_SIZE);
			return NULL;
		}
	}
	return base;
}

/* ---- Programs ---- */

/* Killed, and its tracer has not heard of it yet. */
static bool has_no_memory(struct port_process *process, uint64_t address)
{
	uint32_t tid = user_process_reader(process, 0);
	char byte;
	struct iovec to = {&byte, 1}, from = {(void *)address, 1};
	return !tid ||
	       host_syscall(SYS_process_vm_readv, tid, (long)&to, 1, (long)&from, 1, 0) == -ESRCH;
}

enum port_page port_process_page(struct port_process *process, uint64_t address, void *to)
{
	size_t bytes = port_process_read(process, address, to, PORT_PAGE_SIZE);
	if (bytes == PORT_PAGE_SIZE)
		return PORT_PAGE_READ;
	return port_process_gone(process) || has_no_memory(process, address) ? PORT_PAGE_GONE
									     : PORT_PAGE_BAD;
}

#define RUNS 128 /* of changed bytes that one call writes */

/* The changed bytes from `at` on, taken over: where they end. */
static size_t take_run(const char *now, char *before, size_t at)
{
	for (; at < PORT_PAGE_SIZE && now[at] != before[at]; at++)
		before[at] = now[at];
	return at;
}

/* Where the next changed byte is. */
static size_t skip_equal(const char *now, const char *before, size_t at)
{
	while (at < PORT_PAGE_SIZE) {
		if (!(at & 7) && !memcmp(now + at, before + at, 8))
			at += 8;
		else if (now[at] == before[at])
			at++;
		else
			break;
	}
	return at;
}

void port_process_page_update(struct port_process *process, uint64_t address, const void *now,
			      void *before)
{
	struct iovec ours[RUNS], theirs[RUNS];
	uint32_t tid = user_process_reader(process, 0);
	size_t at = skip_equal(now, before, 0);
	while (at < PORT_PAGE_SIZE) {
		int count = 0;
		for (; at < PORT_PAGE_SIZE && count < RUNS; at = skip_equal(now, before, at)) {
			size_t end = take_run(now, before, at);
			ours[count] = (struct iovec){(char *)before + at, end - at};
			theirs[count++] = (struct iovec){(void *)(address + at), end - at};
			at = end;
		}
		long result = host_syscall(SYS_process_vm_writev, tid, (long)ours, count,
					   (long)theirs, count, 0);
		if (result == -ESRCH && (tid = user_process_reader(process, tid)))
			host_syscall(SYS_process_vm_writev, tid, (long)ours, count, (long)theirs,
				     count, 0);
	}
}

/* A line of /proc/PID/maps as it comes in: "START-END PROT ...". */
struct maps_line {
	uint64_t start, end;
	unsigned protection;
	unsigned field; /* 0 START, 1 END, 2 PROT, 3 what follows */
};

static unsigned hex_digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
}

/* True at the end of a line. */
static bool maps_take(struct maps_line *line, char c)
{
	if (c == '\n') {
		return true;
	} else if (line->field == 3) {
		return false;
	} else if (c == ' ' || (c == '-' && line->field == 0)) {
		line->field++;
	} else if (line->field == 0) {
		line->start = line->start << 4 | hex_digit(c);
	} else if (line->field == 1) {
		line->end = line->end << 4 | hex_digit(c);
	} else {
		line->protection |= c == 'r'   ? PORT_READ
				    : c == 'w' ? PORT_WRITE
				    : c == 'x' ? PORT_EXECUTE
					       : 0;
	}
	return false;
}

/* Linux 6.11's question about one address (PROCMAP_QUERY of linux/fs.h). */
struct maps_query {
	uint64_t size, query_flags, query_addr;
	uint64_t start, end, flags, page_size, offset, inode;
	uint32_t dev_major, dev_minor, name_size, build_id_size;
	uint64_t name_addr, build_id_addr;
};
#define MAPS_QUERY _IOWR('f', 17, struct maps_query)

/* -ENOTTY: the host does not know the question; -ESRCH: no memory; else 0. */
static long query_maps(long file, uint64_t address, unsigned *protection)
{
	struct maps_query query = {.size = sizeof query, .query_addr = address};
	long result = host_syscall(SYS_ioctl, file, MAPS_QUERY, (long)&query, 0, 0, 0);
	*protection = result == 0 ? query.flags & 7 : PORT_NONE; /* read, write, execute, as ours */
	return result == -ENOTTY || result == -ESRCH ? result : 0;
}

/* -ESRCH: no memory; else 0. */
static long read_maps(long file, uint64_t address, unsigned *protection)
{
	struct maps_line line = {0};
	char text[4096];
	long size;
	bool any = false;
	*protection = PORT_NONE;
	while ((size = host_syscall(SYS_read, file, (long)text, sizeof text, 0, 0, 0)) > 0) {
		any = true;
		for (long i = 0; i < size; i++) {
			if (!maps_take(&line, text[i]))
				continue;
			if (address < line.end) {
				if (address >= line.start)
					*protection = line.protection;
				return 0;
			}
			line = (struct maps_line){0};
		}
	}
	return any ? 0 : -ESRCH;
}

static long protection_by(uint32_t tid, uint64_t address, unsigned *protection)
{
	char path[USER_PROC_PATH];
	user_proc_path(path, tid, "/maps");
	long file = host_syscall(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
	*protection = PORT_NONE;
	if (file < 0)
		return file == -ENOENT ? -ESRCH : file;
	long result = query_maps(file, address, protection);
	if (result == -ENOTTY)
		result = read_maps(file, address, protection);
	host_syscall(SYS_close, file, 0, 0, 0, 0, 0);
	return result;
}

unsigned port_process_protection(struct port_process *process, uint64_t address)
{
	unsigned protection;
	for (uint32_t tid = user_process_reader(process, 0); tid;
	     tid = user_process_reader(process, tid)) {
		if (protection_by(tid, address, &protection) != -ESRCH)
			return protection;
	}
	return PORT_READ | PORT_WRITE; /* killed: its memory is gone */
}
