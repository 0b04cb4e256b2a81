/* SPDX-License-Identifier: MIT */
/*
 * window_program.c: the user program of the window_* drivers: `window_program TEST [NUMBER]`. A
 * 32-bit program, or a 64-bit one that goes to 32-bit code for BOUND (DEF-35). Prints FAIL lines;
 * exits with how many.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "window_user.h"

static struct window_request *shared; /* below 4 GiB, as is all that 32-bit code sees */
#define request (*shared)
static unsigned char buffer[WINDOW_BUFFER + 4096] __attribute__((aligned(4096)));
static const unsigned char constant[8192] __attribute__((aligned(4096))) = {1, 2, 3};
static int failures;

static void fail(const char *what)
{
	printf("FAIL %s\n", what);
	fflush(stdout);
	failures++;
}

#ifdef __x86_64__
/* Far returns to 32-bit code below 4 GiB and back. */
static void ask(struct window_request *of)
{
	static const uint8_t code[] = {0x62, 0x01, 0xea, 0, 0, 0, 0, 0x33, 0, 0xff, 0x61, 24};
	struct {
		uint8_t code[64];
		int32_t bounds[2];
		uint64_t unused, saved, target;
		uint8_t stack[1024], top[16];
	} *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	memcpy(page->code, code, sizeof code);
	uint32_t behind = (uint32_t)(uintptr_t)(page->code + 9);
	memcpy(page->code + 3, &behind, 4);
	page->bounds[1] = 9;
	uint64_t index = 100, bounds = (uintptr_t)page->bounds, target = (uintptr_t)page->code;
	uint64_t data = (uintptr_t)of, stack = (uintptr_t)page->top;
	__asm__ volatile("pushq %%rbx\n"
			 "pushq %%rbp\n"
			 "movl $0x2b, %%ebx\n"
			 "movl %%ebx, %%ds\n"
			 "movl %%ebx, %%es\n"
			 "movq %%rsp, 16(%%rcx)\n"
			 "leaq 1f(%%rip), %%rbx\n"
			 "movq %%rbx, 24(%%rcx)\n"
			 "movq %%rdi, %%rsp\n"
			 "pushq $0x23\n"
			 "pushq %%rsi\n"
			 "lretq\n"
			 "1: movq 16(%%rcx), %%rsp\n"
			 "popq %%rbp\n"
			 "popq %%rbx\n"
			 : "+a"(index), "+c"(bounds), "+d"(data), "+S"(target), "+D"(stack)
			 :
			 : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	munmap(page, 4096);
}
#else
static void ask(struct window_request *of)
{
	static const int bounds[2] = {0, 9};
	int index = 100;
	__asm__ volatile(".byte 0x62, 0x01" /* bound eax, [ecx] */
			 : "+a"(index)
			 : "c"(bounds), "d"(of)
			 : "memory");
}
#endif

static void nap(long ms)
{
	struct timespec time = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&time, NULL);
}

static void pattern(unsigned char *at)
{
	for (unsigned i = 0; i < WINDOW_BUFFER; i++)
		at[i] = (unsigned char)(i * 7);
	request.command = WINDOW_PATTERN;
	request.buffer = (uintptr_t)at;
	ask(&request);
	for (unsigned i = 0; i < WINDOW_BUFFER; i++) {
		if (at[i] != (unsigned char)(i % 5 ? i * 11 : i * 7)) {
			fail("the driver's bytes are not there");
			break;
		}
	}
}

/* Of each kind of memory: data, stack, heap, fresh pages, a file's private and shared pages. */
static void patterns(void)
{
	unsigned char on_stack[WINDOW_BUFFER];
	unsigned char *heap = malloc(WINDOW_BUFFER);
	FILE *file = tmpfile();
	ftruncate(fileno(file), WINDOW_BUFFER);
	pattern(buffer);
	pattern(buffer + 3);
	pattern(on_stack);
	pattern(heap);
	pattern(mmap(NULL, WINDOW_BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0));
	pattern(mmap(NULL, WINDOW_BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE, fileno(file), 0));
	pattern(mmap(NULL, WINDOW_BUFFER, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0));
	pread(fileno(file), buffer, WINDOW_BUFFER, 0);
	if (buffer[1] != 11 || buffer[5] != 35)
		fail("the file of the shared mapping");
}

static void bad_pointers(unsigned command)
{
	char *pages = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(pages, 4096, PROT_NONE);
	munmap(pages + 4096, 4096);
	request.command = command;
	request.buffer = (uintptr_t)buffer;
	request.bad[0] = (uintptr_t)pages;
	request.bad[1] = (uintptr_t)pages + 4096;
	request.bad[2] = (uintptr_t)constant;
	ask(&request);
	if (constant[0] != 1 || constant[1] != 2)
		fail("read-only memory was changed");
}

static void simple(unsigned command)
{
	for (unsigned i = 0; i < WINDOW_BUFFER; i++)
		buffer[i] = (unsigned char)(i * 7);
	request.command = command;
	request.buffer = (uintptr_t)buffer + 100;
	request.bad[2] = (uintptr_t)constant;
	ask(&request);
}

static void mdl(void)
{
	simple(WINDOW_MDL);
	for (unsigned i = 0; i < WINDOW_BUFFER; i++) {
		unsigned char want = i >= 100 && i < 100 + 12000 ? (unsigned char)(i * 3)
								 : (unsigned char)(i * 7);
		if (buffer[i] != want) {
			fail("what came through the MDL is not there");
			return;
		}
	}
}

static void *set_flag(void *unused)
{
	nap(50);
	request.flag = 1;
	while (!request.stop) /* its end would bring the flag, too */
		nap(1);
	return unused;
}

static void *count_byte(void *unused)
{
	unsigned char mine = request.bytes[1];
	while (!request.stop) {
		if (request.bytes[1] != mine) {
			fail("a byte that only the program writes");
			break;
		}
		request.bytes[1] = ++mine;
		/* Until it is in memory; else the processor compares with its own store. */
		for (volatile int wait = 0; wait < 300; wait++)
			;
	}
	return unused;
}

static void with_thread(unsigned command, void *(*other)(void *))
{
	pthread_t thread;
	request.command = command;
	pthread_create(&thread, NULL, other, NULL);
	ask(&request);
	request.stop = 1;
	pthread_join(thread, NULL);
}

static void bytes(void)
{
	unsigned char before;
	pthread_t thread;
	pthread_create(&thread, NULL, count_byte, NULL);
	for (int i = 0; i < 50; i++) {
		before = request.bytes[0];
		request.command = WINDOW_BYTES;
		ask(&request);
		if ((unsigned char)(request.bytes[0] - before) != 100)
			fail("the driver's byte");
	}
	request.stop = 1;
	pthread_join(thread, NULL);
}

/* A child of this program kills it while the callback runs. */
static void killed(void)
{
	pid_t parent = getpid();
	request.command = WINDOW_KILLED;
	if (fork() == 0) {
		nap(50);
		kill(parent, SIGKILL);
		request.flag = 1; /* the page is shared */
		_exit(0);
	}
	ask(&request);
	fail("it was not killed");
}

static void attach(void)
{
	request.command = WINDOW_ATTACH;
	request.buffer = (uintptr_t)buffer;
	ask(&request);
	for (int i = 0; i < 5000 && request.answer != 77; i++) {
		request.count++;
		nap(1);
	}
	if (request.answer != 77)
		fail("the thread that attached gave no answer");
}

static void large(void)
{
	const size_t words = 1 << 19; /* 4 MiB */
	uint64_t *at = mmap(NULL, 2 * words * 8 + 4096, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(at + 2 * words, 4096);
	for (size_t i = 0; i < words; i++)
		at[i] = i;
	request.command = WINDOW_LARGE;
	request.buffer = (uintptr_t)at;
	ask(&request);
	for (size_t i = 0; i < words; i++) {
		if (at[i] != i + 1 || at[words + i] != i + 1) {
			fail("8 MiB");
			return;
		}
	}
}

static void *count(void *own)
{
	ask(own);
	return NULL;
}

static void threads(void)
{
	pthread_t ids[4];
	for (int i = 0; i < 4; i++) {
		struct window_request *own = &shared[i + 1];
		*own = request;
		own->command = WINDOW_COUNT;
		own->buffer = (uintptr_t)buffer;
		pthread_create(&ids[i], NULL, count, own);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(ids[i], NULL);
	if (*(unsigned *)buffer != 400000)
		fail("4 times 100000 increments");
}

static void *after_main(void *unused)
{
	nap(50);
	pattern(buffer);
	if (request.errors)
		fail("the driver found errors");
	exit(failures);
	return unused;
}

/* The process goes on without its first thread. */
static void without_main(void)
{
	pthread_t thread;
	pthread_create(&thread, NULL, after_main, NULL);
	pthread_exit(NULL);
}

/* Another program in the same process, with the same buffer. */
static void keep(char **words)
{
	simple(WINDOW_KEEP);
	if (buffer[101] != 99)
		fail("the driver's byte");
	words[1] = "kept";
	execv("/proc/self/exe", words);
	fail("exec");
}

static void kept(void)
{
	memset(buffer, 7, sizeof buffer);
	for (int i = 0; i < 400; i++) {
		nap(1);
		for (unsigned k = 0; k < sizeof buffer; k++) {
			if (buffer[k] != 7) {
				fail("the driver writes to a program that is gone");
				return;
			}
		}
	}
}

int main(int count, char **words)
{
	const char *test = words[1];
	int flags = MAP_SHARED | MAP_ANONYMOUS;
#ifdef __x86_64__
	flags |= MAP_32BIT;
#endif
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
	request.sign = WINDOW_SIGN;
	request.own = count > 2 ? (unsigned)atoi(words[2]) : (unsigned)getpid();
	if (!strcmp(test, "pattern"))
		patterns();
	else if (!strcmp(test, "pointers"))
		bad_pointers(WINDOW_POINTERS);
	else if (!strcmp(test, "probes"))
		bad_pointers(WINDOW_PROBES);
	else if (!strcmp(test, "wrong"))
		bad_pointers(WINDOW_WRONG);
	else if (!strcmp(test, "mdl"))
		mdl();
	else if (!strcmp(test, "file"))
		simple(WINDOW_FILE);
	else if (!strcmp(test, "share"))
		simple(WINDOW_SHARE);
	else if (!strcmp(test, "spin"))
		with_thread(WINDOW_SPIN, set_flag);
	else if (!strcmp(test, "bytes"))
		bytes();
	else if (!strcmp(test, "killed"))
		killed();
	else if (!strcmp(test, "attach"))
		attach();
	else if (!strcmp(test, "keep"))
		keep(words);
	else if (!strcmp(test, "threads"))
		threads();
	else if (!strcmp(test, "large"))
		large();
	else if (!strcmp(test, "orphan"))
		without_main();
	else if (!strcmp(test, "kept"))
		kept();
	else
		fail("no such test");
	if (request.errors)
		fail("the driver found errors");
	return failures;
}
