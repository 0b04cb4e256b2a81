/* SPDX-License-Identifier: MIT */
/*
 * user.c: user programs as the port knows them: processes, their memory, registers of stopped
 * threads.
 *
 * Contexts: memory from anywhere, NMI included (raw system calls that never fault and take no lock
 * of ours); registers by the thread's own tracer; the rest without a baton.
 *
 * Who writes: `pid` and `references` are atomic; `image` is replaced by the one thread that an exec
 * leaves, older names stay until the process is released. A thread's registers are read once per
 * stop and written back once, when it goes on.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "port/linux/user.h"

/* ---- Processes ---- */

struct port_process *user_process_create(uint32_t pid)
{
	struct port_process *process = calloc(1, sizeof *process);
	if (!process)
		return NULL;
	process->id = pid;
	atomic_init(&process->pid, pid);
	atomic_init(&process->references, 1);
	return process;
}

void user_process_reference(struct port_process *process)
{
	atomic_fetch_add(&process->references, 1);
}

void port_process_release(struct port_process *process)
{
	if (atomic_fetch_sub(&process->references, 1) != 1)
		return;
	struct user_image *image = atomic_load(&process->image);
	while (image) {
		struct user_image *older = image->older;
		free(image);
		image = older;
	}
	free(process);
}

bool port_process_gone(struct port_process *process)
{
	return atomic_load(&process->pid) == 0;
}

uint32_t port_process_id(struct port_process *process)
{
	return process->id;
}

const char *port_process_image(struct port_process *process)
{
	struct user_image *image = atomic_load_explicit(&process->image, memory_order_acquire);
	return image ? image->path : "";
}

void port_process_image_range(struct port_process *process, uint64_t *base, uint64_t *size)
{
	struct user_image *image = atomic_load_explicit(&process->image, memory_order_acquire);
	*base = image ? image->base : 0;
	*size = image ? image->size : 0;
}

void port_process_kill(struct port_process *process)
{
	uint32_t pid = atomic_load(&process->pid);
	if (pid)
		host_syscall(SYS_kill, pid, SIGKILL, 0, 0, 0, 0);
}

struct mapping {
	uint64_t start, end, offset;
	const char *path;
};

/* The next line of /proc/PID/maps; its text lies in `line`. */
static bool next_mapping(FILE *maps, char line[4300], struct mapping *mapping)
{
	unsigned long long start, end, offset;
	while (fgets(line, 4300, maps)) {
		int name = 0;
		if (sscanf(line, "%llx-%llx %*s %llx %*s %*s %n", &start, &end, &offset, &name) < 3)
			continue;
		line[strcspn(line, "\n")] = 0;
		*mapping = (struct mapping){start, end, offset, line + name};
		return true;
	}
	return false;
}

static FILE *maps_open(struct port_process *process)
{
	char path[USER_PROC_PATH];
	user_proc_path(path, user_process_reader(process, 0), "/maps");
	return fopen(path, "re");
}

/* What is mapped of the file `path`: from its first to its last mapping. */
static void find_range(struct port_process *process, const char *path, uint64_t *base,
		       uint64_t *size)
{
	char line[4300];
	struct mapping at;
	uint64_t end = 0;
	FILE *maps = maps_open(process);
	*base = 0;
	while (maps && next_mapping(maps, line, &at)) {
		if (strcmp(at.path, path) != 0)
			continue;
		if (!end)
			*base = at.start;
		end = at.end;
	}
	if (maps)
		fclose(maps);
	*size = end - *base;
}

/* The address that the file's first segment was linked for. */
static uint64_t linked_base(const char *path)
{
	union {
		Elf64_Ehdr wide;
		Elf32_Ehdr narrow;
	} header;
	uint64_t base = 0;
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	bool wide = fread(&header, sizeof header, 1, file) == 1 &&
		    header.wide.e_ident[EI_CLASS] == ELFCLASS64;
	unsigned count = wide ? header.wide.e_phnum : header.narrow.e_phnum;
	fseek(file, wide ? (long)header.wide.e_phoff : (long)header.narrow.e_phoff, SEEK_SET);
	for (unsigned i = 0; i < count; i++) {
		Elf64_Phdr segment;
		Elf32_Phdr narrow;
		if (fread(wide ? (void *)&segment : (void *)&narrow,
			  wide ? sizeof segment : sizeof narrow, 1, file) != 1)
			break;
		if ((wide ? segment.p_type : narrow.p_type) != PT_LOAD)
			continue;
		base = (wide ? segment.p_vaddr : narrow.p_vaddr) & ~(uint64_t)(PORT_PAGE_SIZE - 1);
		break;
	}
	fclose(file);
	return base;
}

void port_process_locate(struct port_process *process, uint64_t address, struct port_place *place)
{
	char line[4300];
	struct mapping at;
	uint64_t base, size;
	memset(place, 0, sizeof *place);
	FILE *maps = maps_open(process);
	while (maps && next_mapping(maps, line, &at)) {
		if (address < at.start || address >= at.end)
			continue;
		const char *slash = strrchr(at.path, '/');
		snprintf(place->path, sizeof place->path, "%s", at.path);
		snprintf(place->file, sizeof place->file, "%s", slash ? slash + 1 : at.path);
		break;
	}
	if (maps)
		fclose(maps);
	if (!place->path[0])
		return;
	find_range(process, place->path, &base, &size);
	place->offset = address - base;
	place->linked = place->offset + linked_base(place->path);
}

void user_process_image_read(struct port_process *process)
{
	char link[64], path[4096];
	snprintf(link, sizeof link, "/proc/%u/exe", process->id);
	ssize_t length = readlink(link, path, sizeof path - 1);
	path[length > 0 ? length : 0] = 0;
	struct user_image *image = calloc(1, sizeof *image + strlen(path) + 1);
	if (!image)
		return; /* the old name stays */
	strcpy(image->path, path);
	find_range(process, path, &image->base, &image->size);
	image->older = atomic_load(&process->image);
	atomic_store_explicit(&process->image, image, memory_order_release);
}

/* ---- Memory ---- */

#define PARTS 16

/* What the host tells of a folder (getdents64). */
struct entry {
	uint64_t inode;
	int64_t next;
	uint16_t size;
	uint8_t type;
	char name[];
};

static uint32_t number_of(const char *text)
{
	uint32_t number = 0;
	for (; *text >= '0' && *text <= '9'; text++)
		number = number * 10 + (uint32_t)(*text - '0');
	return *text ? 0 : number;
}

/* A thread with memory: one that has ended has none, and answers ESRCH whatever the address. */
static bool has_memory(uint32_t tid)
{
	char byte;
	struct iovec ours = {&byte, 1}, theirs = {(void *)PORT_PAGE_SIZE, 1};
	return host_syscall(SYS_process_vm_readv, tid, (long)&ours, 1, (long)&theirs, 1, 0) !=
	       -ESRCH;
}

void user_proc_path(char path[USER_PROC_PATH], uint32_t id, const char *tail)
{
	char digits[10];
	size_t at = 6, count = 0;
	memcpy(path, "/proc/", at);
	do
		digits[count++] = (char)('0' + id % 10);
	while ((id /= 10));
	while (count)
		path[at++] = digits[--count];
	do
		path[at++] = *tail;
	while (*tail++);
}

static uint32_t find_thread(uint32_t pid, uint32_t not )
{
	char path[USER_PROC_PATH], entries[1024] __attribute__((aligned(8)));
	uint32_t found = 0;
	long size, folder;
	user_proc_path(path, pid, "/task");
	folder = host_syscall(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_DIRECTORY | O_CLOEXEC,
			      0, 0, 0);
	if (folder < 0)
		return 0;
	while (!found && (size = host_syscall(SYS_getdents64, folder, (long)entries, sizeof entries,
					      0, 0, 0)) > 0) {
		for (long at = 0; at < size && !found;) {
			const struct entry *entry = (const struct entry *)(entries + at);
			uint32_t tid = number_of(entry->name);
			if (tid && tid != not &&has_memory(tid))
				found = tid;
			at += entry->size;
		}
	}
	host_syscall(SYS_close, folder, 0, 0, 0, 0, 0);
	return found;
}

uint32_t user_process_reader(struct port_process *process, uint32_t not )
{
	uint32_t pid = atomic_load(&process->pid), reader = atomic_load(&process->reader);
	if (!pid)
		return 0;
	if (!reader)
		reader = pid;
	if (reader != not )
		return reader;
	reader = find_thread(pid, not );
	atomic_store(&process->reader, reader);
	return reader;
}

void user_process_forget(const struct port_user *user)
{
	uint32_t tid = user->tid;
	atomic_compare_exchange_strong(&user->process->reader, &tid, 0);
}

/*
 * One system call moves several pages; the other side's part is cut at its page ends, because the
 * host moves a part as a whole or not at all.
 */
static size_t move(struct port_process *process, long call, uint64_t address, char *buffer,
		   size_t size)
{
	size_t total = 0;
	while (total < size) {
		uint32_t tid = user_process_reader(process, 0);
		struct iovec theirs[PARTS], ours;
		size_t wanted = 0;
		int count = 0;
		if (!tid)
			return total;
		while (count < PARTS && total + wanted < size) {
			uint64_t at = address + total + wanted;
			size_t part = PORT_PAGE_SIZE - at % PORT_PAGE_SIZE;
			if (part > size - total - wanted)
				part = size - total - wanted;
			theirs[count].iov_base = (void *)at;
			theirs[count++].iov_len = part;
			wanted += part;
		}
		ours.iov_base = buffer + total;
		ours.iov_len = wanted;
		long moved = host_syscall(call, tid, (long)&ours, 1, (long)theirs, count, 0);
		if (moved == -ESRCH && (tid = user_process_reader(process, tid)))
			moved = host_syscall(call, tid, (long)&ours, 1, (long)theirs, count, 0);
		if (moved <= 0)
			return total;
		total += (size_t)moved;
		if ((size_t)moved < wanted)
			return total;
	}
	return total;
}

size_t port_process_read(struct port_process *process, uint64_t address, void *buffer, size_t size)
{
	return move(process, SYS_process_vm_readv, address, buffer, size);
}

size_t port_process_write(struct port_process *process, uint64_t address, const void *buffer,
			  size_t size)
{
	return move(process, SYS_process_vm_writev, address, (char *)(uintptr_t)buffer, size);
}

size_t user_memory_read(struct port_user *user, uint64_t address, void *buffer, size_t size)
{
	return port_process_read(user->process, address, buffer, size);
}

/* ---- Threads ---- */

struct port_user *user_create(struct port_process *process, uint32_t tid)
{
	struct port_user *user = aligned_alloc(16, (sizeof *user + 15) & ~(size_t)15);
	if (!user)
		return NULL;
	memset(user, 0, sizeof *user);
	user->process = process;
	user->tid = tid;
	atomic_init(&user->child_adopted, 1);
	user_process_reference(process);
	return user;
}

void port_user_release(struct port_user *user)
{
	port_process_release(user->process);
	free(user);
}

uint32_t port_user_id(const struct port_user *user)
{
	return user->tid;
}

/* ---- Registers ---- */

bool user_regs_fetch(struct port_user *user)
{
	if (user->regs_read)
		return true;
	struct user_regs_struct *raw = &user->raw;
	if (user_ptrace(PTRACE_GETREGS, user->tid, 0, raw) != 0)
		return false;
	user->regs = (struct port_user_regs){
		.general = {.rax = raw->rax,
			    .rcx = raw->rcx,
			    .rdx = raw->rdx,
			    .rbx = raw->rbx,
			    .rsp = raw->rsp,
			    .rbp = raw->rbp,
			    .rsi = raw->rsi,
			    .rdi = raw->rdi,
			    .r8 = raw->r8,
			    .r9 = raw->r9,
			    .r10 = raw->r10,
			    .r11 = raw->r11,
			    .r12 = raw->r12,
			    .r13 = raw->r13,
			    .r14 = raw->r14,
			    .r15 = raw->r15,
			    .rip = raw->rip,
			    .rflags = raw->eflags},
		.fs_base = raw->fs_base,
		.gs_base = raw->gs_base,
		.cs = (uint16_t)raw->cs,
		.ss = (uint16_t)raw->ss,
		.ds = (uint16_t)raw->ds,
		.es = (uint16_t)raw->es,
		.fs = (uint16_t)raw->fs,
		.gs = (uint16_t)raw->gs,
	};
	user->regs_read = true;
	return true;
}

void user_regs_flush(struct port_user *user)
{
	if (user->regs_changed) {
		const struct port_user_regs *regs = &user->regs;
		struct user_regs_struct *raw = &user->raw;
		raw->rax = regs->general.rax;
		raw->rcx = regs->general.rcx;
		raw->rdx = regs->general.rdx;
		raw->rbx = regs->general.rbx;
		raw->rsp = regs->general.rsp;
		raw->rbp = regs->general.rbp;
		raw->rsi = regs->general.rsi;
		raw->rdi = regs->general.rdi;
		raw->r8 = regs->general.r8;
		raw->r9 = regs->general.r9;
		raw->r10 = regs->general.r10;
		raw->r11 = regs->general.r11;
		raw->r12 = regs->general.r12;
		raw->r13 = regs->general.r13;
		raw->r14 = regs->general.r14;
		raw->r15 = regs->general.r15;
		raw->rip = regs->general.rip;
		raw->eflags = regs->general.rflags;
		raw->fs_base = regs->fs_base;
		raw->gs_base = regs->gs_base;
		raw->cs = regs->cs;
		raw->ss = regs->ss;
		raw->ds = regs->ds;
		raw->es = regs->es;
		raw->fs = regs->fs;
		raw->gs = regs->gs;
		raw->orig_rax = ~0ull; /* not in a system call that could be begun again */
		user_ptrace(PTRACE_SETREGS, user->tid, 0, raw);
	}
	if (user->fxsave_changed)
		user_ptrace(PTRACE_SETFPREGS, user->tid, 0, &user->fxsave);
	user->regs_changed = user->fxsave_changed = false;
	user->regs_read = user->fxsave_read = false;
}

struct port_user_regs *port_user_regs(struct port_user *user)
{
	user_regs_fetch(user); /* at a fault they have been */
	return &user->regs;
}

void port_user_regs_changed(struct port_user *user)
{
	user->regs_changed = true;
}

bool port_user_debug_write(struct port_user *user, unsigned number, uint64_t value)
{
	return user_ptrace(PTRACE_POKEUSR, user->tid,
			   offsetof(struct user, u_debugreg) + number * sizeof value,
			   (void *)(uintptr_t)value) == 0;
}

void *port_user_fxsave(struct port_user *user)
{
	if (!user->fxsave_read && user_ptrace(PTRACE_GETFPREGS, user->tid, 0, &user->fxsave) != 0)
		return NULL;
	user->fxsave_read = true;
	return &user->fxsave;
}

void port_user_fxsave_changed(struct port_user *user)
{
	user->fxsave_changed = true;
}
