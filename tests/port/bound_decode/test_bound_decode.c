/* SPDX-License-Identifier: MIT */
/* bound_decode over made-up memory and segments: what is #BR and what is not (BND-27..32).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include "port/linux/bound_decode.h"

#define CODE   0x1000u /* where memory begins: two pages */
#define MEMORY 0x2000u
#define BOUNDS 0x1800u

#define CS_32     0x23
#define DS_FLAT   0x2b
#define CS_64     0x33
#define LIMITED   0x0f /* data, base 0x1000, limit 0x807 */
#define DOWN_32   0x17 /* data, expand down, 0x1000..4 GiB */
#define DOWN_16   0x1f /* data, expand down, base 0x1000, 0x400..0xffff */
#define CS_16     0x27 /* code, base 0x1000, limit 0xffff */
#define CS_SECRET 0x2f /* code that cannot be read, flat */
#define CS_SHORT  0x37 /* code, flat, limit 0x1002 */
#define ABSENT    0x3f /* not present */

struct world {
	uint8_t memory[MEMORY];
	struct port_user_regs regs;
	siginfo_t info;
	struct port_bound bound; /* what it found */
};

static size_t read_memory(void *context, uint64_t address, void *buffer, size_t size)
{
	struct world *world = context;
	size_t n = 0;
	for (; n < size && address + n >= CODE && address + n < CODE + MEMORY; n++)
		((uint8_t *)buffer)[n] = world->memory[address + n - CODE];
	return n;
}

static bool read_segment(void *context, uint16_t selector, struct user_segment *segment)
{
	(void)context;
	static const struct {
		uint16_t selector;
		struct user_segment segment;
	} all[] = {
#define ROW(name, ...)                                                                             \
	{                                                                                          \
		name,                                                                              \
		{                                                                                  \
			.present = true, .readable = true, __VA_ARGS__                             \
		}                                                                                  \
	}
		ROW(CS_32, .limit = UINT32_MAX, .code = true, .big = true),
		ROW(CS_64, .limit = UINT32_MAX, .code = true, .long_mode = true),
		ROW(DS_FLAT, .limit = UINT32_MAX, .writable = true, .big = true),
		ROW(LIMITED, .base = CODE, .limit = 0x807, .writable = true, .big = true),
		ROW(DOWN_32, .limit = 0xfff, .writable = true, .big = true, .expand_down = true),
		ROW(DOWN_16, .base = CODE, .limit = 0x3ff, .writable = true, .expand_down = true),
		ROW(CS_16, .base = CODE, .limit = 0xffff, .code = true),
		ROW(CS_SHORT, .limit = CODE + 2, .code = true, .big = true),
		{CS_SECRET, {.present = true, .limit = UINT32_MAX, .code = true, .big = true}},
		{ABSENT, {.readable = true, .limit = UINT32_MAX, .big = true}},
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		if (all[i].selector == selector) {
			*segment = all[i].segment;
			return true;
		}
	}
	return false;
}

static enum bound_verdict judge(struct world *world)
{
	const struct bound_ops ops = {world, read_memory, read_segment};
	return bound_decode(&world->regs, &world->info, &ops, &world->bound);
}

/* A program of these bytes at CODE, flat segments, EAX = index, [BOUNDS] = lower, upper, 32 bits.
 */
static struct world program(const char *bytes, size_t size, int32_t index, int32_t lower,
			    int32_t upper)
{
	struct world world = {.info = {.si_signo = SIGSEGV, .si_code = SI_KERNEL}};
	memset(world.memory, 0x90, sizeof world.memory);
	memcpy(world.memory, bytes, size);
	memcpy(&world.memory[BOUNDS - CODE], &lower, sizeof lower);
	memcpy(&world.memory[BOUNDS - CODE + 4], &upper, sizeof upper);
	world.regs.cs = CS_32;
	world.regs.ds = world.regs.es = world.regs.ss = DS_FLAT;
	world.regs.general.rip = CODE;
	world.regs.general.rax = (uint32_t)index;
	world.regs.general.rbx = BOUNDS;
	return world;
}

#define PROGRAM(bytes, ...) program(bytes, sizeof(bytes) - 1, __VA_ARGS__)
#define EAX_EBX             "\x62\x03" /* bound eax, [ebx] */

static void limits_are_signed_and_inclusive_BND_29(void **state)
{
	(void)state;
	static const struct {
		int32_t index, lower, upper;
		enum bound_verdict verdict;
	} rows[] = {
		{5, 0, 9, BOUND_IN_RANGE},
		{0, 0, 9, BOUND_IN_RANGE},
		{9, 0, 9, BOUND_IN_RANGE},
		{10, 0, 9, BOUND_RAISED},
		{-1, 0, 9, BOUND_RAISED},
		{-5, -5, -5, BOUND_IN_RANGE},
		{-6, -5, 5, BOUND_RAISED},
		{INT32_MIN, INT32_MIN, INT32_MAX, BOUND_IN_RANGE},
		{INT32_MAX, INT32_MIN, INT32_MAX, BOUND_IN_RANGE},
		{INT32_MIN, 0, INT32_MAX, BOUND_RAISED},
		{3, 5, 1, BOUND_RAISED}, /* nothing lies between */
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world world = PROGRAM(EAX_EBX, rows[i].index, rows[i].lower, rows[i].upper);
		assert_int_equal(judge(&world), rows[i].verdict);
		assert_int_equal(world.bound.index, rows[i].index);
		assert_int_equal(world.bound.lower, rows[i].lower);
		assert_int_equal(world.bound.upper, rows[i].upper);
		assert_int_equal(world.bound.address, BOUNDS);
		assert_int_equal(world.bound.size, 4);
	}
}

static void sixteen_bits_BND_29(void **state)
{
	(void)state;
	/* 66: two words; the upper half of EAX does not count. */
	struct world world = PROGRAM("\x66\x62\x03", 0x7fff0005, 0x00090000, 0);
	assert_int_equal(judge(&world), BOUND_IN_RANGE);
	world = PROGRAM("\x66\x62\x03", 10, 0x00090000, 0);
	assert_int_equal(judge(&world), BOUND_RAISED);
	world = PROGRAM("\x66\x62\x03", 0x0000fff0, (int32_t)0x0000ffe0, 0);
	assert_int_equal(judge(&world), BOUND_IN_RANGE);
	assert_int_equal(world.bound.index, -16);
	assert_int_equal(world.bound.lower, -32);
	assert_int_equal(world.bound.size, 2);
}

static void addresses_of_all_forms(void **state)
{
	(void)state;
	struct world world = PROGRAM("\x62\x05\x00\x18\x00\x00", 10, 0, 9); /* [disp32] */
	assert_int_equal(judge(&world), BOUND_RAISED);
	world = PROGRAM("\x62\x44\x8b\x04", 10, 0, 9); /* [ebx + ecx*4 + 4] */
	world.regs.general.rcx = 0xfffffffe;
	world.regs.general.rbx += 4;
	assert_int_equal(judge(&world), BOUND_RAISED);
	world = PROGRAM("\x62\x04\x24", 10, 0, 9); /* [esp], by SS */
	world.regs.general.rsp = BOUNDS;
	world.regs.ds = 0;
	assert_int_equal(judge(&world), BOUND_RAISED);
	world = PROGRAM("\x67\x62\x40\x08", 10, 0, 9); /* [bx + si + 8] */
	world.regs.general.rbx = 0xffff1000;
	world.regs.general.rsi = 0x12347f8;
	world.regs.general.rbx += 0;
	world.regs.general.rsi = 0x123407f8;
	assert_int_equal(judge(&world), BOUND_RAISED);
	/* The upper halves of registers do not count in 32-bit code. */
	world = PROGRAM(EAX_EBX, 10, 0, 9);
	world.regs.general.rbx |= 0xdeadbeefull << 32;
	world.regs.general.rip |= 0xdeadbeefull << 32;
	assert_int_equal(judge(&world), BOUND_RAISED);
	/* Each register is an index. */
	for (unsigned r = 0; r < 8; r++) {
		char bytes[] = "\x62\x05\x00\x18\x00\x00";
		bytes[1] = (char)(0x05 | r << 3);
		world = program(bytes, 6, 0, 0, 9);
		uint64_t *order[8] = {&world.regs.general.rax, &world.regs.general.rcx,
				      &world.regs.general.rdx, &world.regs.general.rbx,
				      &world.regs.general.rsp, &world.regs.general.rbp,
				      &world.regs.general.rsi, &world.regs.general.rdi};
		for (unsigned i = 0; i < 8; i++)
			*order[i] = i == r ? 10 : 5;
		assert_int_equal(judge(&world), BOUND_RAISED);
		*order[r] = 9;
		assert_int_equal(judge(&world), BOUND_IN_RANGE);
	}
}

static void only_an_exception_of_the_processor(void **state)
{
	(void)state;
	struct world world = PROGRAM(EAX_EBX, 10, 0, 9);
	static const int codes[] = {SI_USER,     SI_TKILL,    SI_QUEUE,
				    SEGV_MAPERR, SEGV_ACCERR, SI_TIMER};
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		world.info.si_code = codes[i];
		assert_int_equal(judge(&world), BOUND_NOT_EXCEPTION);
	}
	world.info.si_code = SI_KERNEL;
	world.info.si_signo = SIGBUS;
	assert_int_equal(judge(&world), BOUND_NOT_EXCEPTION);
}

static void other_instructions_are_not_BND_28_BND_30_BND_31_BND_32(void **state)
{
	(void)state;
	struct world world = PROGRAM("\xcd\x05", 10, 0, 9); /* INT 5 */
	assert_int_equal(judge(&world), BOUND_NOT_BOUND);
	world = PROGRAM("\xf4", 10, 0, 9); /* HLT */
	assert_int_equal(judge(&world), BOUND_NOT_BOUND);
	world = PROGRAM("\x62\xc3", 10, 0, 9); /* mod = 3: EVEX or #UD */
	assert_int_equal(judge(&world), BOUND_NOT_BOUND);
	world = PROGRAM("\x8b\x03", 10, 0, 9);
	assert_int_equal(judge(&world), BOUND_NOT_BOUND);
	/* MPX: BNDCL, BNDCU, BNDCN, BNDLDX, BNDSTX are no instructions any more, or never fault. */
	static const char *const mpx[] = {"\xf3\x0f\x1a\x03", "\xf2\x0f\x1a\x03",
					  "\xf2\x0f\x1b\x03", "\x0f\x1a\x03\x90",
					  "\x0f\x1b\x03\x90"};
	for (size_t i = 0; i < sizeof mpx / sizeof *mpx; i++) {
		world = program(mpx[i], 4, 10, 0, 9);
		assert_int_equal(judge(&world), BOUND_NOT_BOUND);
	}
	/* 64-bit code: EVEX. */
	world = PROGRAM(EAX_EBX, 10, 0, 9);
	world.regs.cs = CS_64;
	assert_int_equal(judge(&world), BOUND_NOT_BOUND);
	/* A wild pointer: nothing to decode. */
	world = PROGRAM(EAX_EBX, 10, 0, 9);
	world.regs.general.rip = 0xdead0000;
	assert_int_equal(judge(&world), BOUND_NOT_BOUND);
	world.regs.general.rip = CODE;
	world.regs.cs = DS_FLAT;
	assert_int_equal(judge(&world), BOUND_NOT_BOUND);
	world.regs.cs = 0;
	assert_int_equal(judge(&world), BOUND_NOT_BOUND);
}

static void prefixes(void **state)
{
	(void)state;
	struct world world = PROGRAM("\xf0\x62\x03", 10, 0, 9);
	assert_int_equal(judge(&world), BOUND_UNDEFINED);
	world = PROGRAM("\xf3\x62\x03", 10, 0, 9); /* REP means nothing here */
	assert_int_equal(judge(&world), BOUND_RAISED);
	world = PROGRAM("\x2e\x26\x36\x3e\x62\x03", 10, 0, 9); /* the last segment counts */
	world.regs.es = world.regs.ss = 0;
	assert_int_equal(judge(&world), BOUND_RAISED);
	world.regs.ds = 0;
	assert_int_equal(judge(&world), BOUND_PROTECTION);
	/* 15 bytes pass, 16 are #GP. */
	char bytes[] = "\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x62\x03";
	world = program(bytes, 16, 10, 0, 9);
	assert_int_equal(judge(&world), BOUND_PROTECTION);
	world = program(bytes + 1, 15, 10, 0, 9);
	assert_int_equal(judge(&world), BOUND_RAISED);
	world = PROGRAM("\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x62\x03",
			10, 0, 9);
	assert_int_not_equal(judge(&world), BOUND_RAISED);
}

static void segments_and_limits(void **state)
{
	(void)state;
	struct world world = PROGRAM(EAX_EBX, 10, 0, 9);
	static const uint16_t unusable[] = {0, 1, 3, ABSENT, 0x47 /* beyond the table */};
	for (size_t i = 0; i < sizeof unusable / sizeof *unusable; i++) {
		world.regs.ds = unusable[i];
		assert_int_equal(judge(&world), BOUND_PROTECTION);
	}
	world.regs.ds = LIMITED;
	world.regs.general.rbx = BOUNDS - CODE; /* 0x800..0x807: the last byte is in */
	assert_int_equal(judge(&world), BOUND_RAISED);
	world.regs.general.rbx++;
	assert_int_equal(judge(&world), BOUND_PROTECTION);
	/* The first bound is in, the second is not. */
	world.regs.general.rbx = BOUNDS - CODE + 4;
	assert_int_equal(judge(&world), BOUND_PROTECTION);

	world = PROGRAM(EAX_EBX, 10, 0, 9);
	world.regs.ds = DOWN_32;
	assert_int_equal(judge(&world), BOUND_RAISED);
	world.regs.general.rbx = 0xfff;
	assert_int_equal(judge(&world), BOUND_PROTECTION);
	world.regs.general.rbx = 0xfffffffd;
	assert_int_equal(judge(&world), BOUND_PROTECTION);
	world.regs.ds = DOWN_16;
	world.regs.general.rbx = BOUNDS - CODE;
	assert_int_equal(judge(&world), BOUND_RAISED);
	world.regs.general.rbx = 0x3ff;
	assert_int_equal(judge(&world), BOUND_PROTECTION);
	world.regs.general.rbx = 0xfffc;
	assert_int_equal(judge(&world), BOUND_PROTECTION); /* the upper bound is out */

	world = PROGRAM("\x2e\x62\x03", 10, 0, 9); /* through CS */
	assert_int_equal(judge(&world), BOUND_RAISED);
	world.regs.cs = CS_SECRET;
	assert_int_equal(judge(&world), BOUND_PROTECTION);
	world = PROGRAM(EAX_EBX, 10, 0, 9);
	world.regs.cs = CS_SECRET; /* which runs, and reads its data by DS */
	assert_int_equal(judge(&world), BOUND_RAISED);
	world.regs.cs = CS_SHORT;
	assert_int_equal(judge(&world), BOUND_RAISED);
	world = PROGRAM("\x62\x05\x00\x18\x00\x00", 10, 0, 9);
	world.regs.cs = CS_SHORT; /* the end of the instruction lies outside */
	assert_int_equal(judge(&world), BOUND_PROTECTION);

	/* FS and GS have the base that was loaded. */
	world = PROGRAM("\x64\x62\x03", 10, 0, 9);
	world.regs.fs = DS_FLAT;
	world.regs.fs_base = 0x100;
	world.regs.general.rbx -= 0x100;
	assert_int_equal(judge(&world), BOUND_RAISED);
	world.regs.fs = 0;
	assert_int_equal(judge(&world), BOUND_PROTECTION);
	world = PROGRAM("\x65\x62\x03", 10, 0, 9);
	world.regs.gs = DS_FLAT;
	world.regs.gs_base = 0xfffffff0; /* wraps at 4 GiB */
	world.regs.general.rbx += 0x10;
	assert_int_equal(judge(&world), BOUND_RAISED);
}

static void code_of_16_bits_BND_28(void **state)
{
	(void)state;
	/* bound ax, [bx]; 66 makes it EAX, 67 makes it [ebx]. */
	struct world world = PROGRAM("\x62\x07", 10, 0x00090000, 0);
	world.regs.cs = CS_16;
	world.regs.general.rip = 0;
	world.regs.general.rbx = 0x12340000 | BOUNDS;
	assert_int_equal(judge(&world), BOUND_RAISED);
	world = PROGRAM("\x66\x62\x07", 10, 0, 9);
	world.regs.cs = CS_16;
	world.regs.general.rip = 0;
	assert_int_equal(judge(&world), BOUND_RAISED);
	world = PROGRAM("\x66\x67\x62\x03", 10, 0, 9);
	world.regs.cs = CS_16;
	world.regs.general.rip = 0;
	assert_int_equal(judge(&world), BOUND_RAISED);
}

static void memory_that_is_not_there(void **state)
{
	(void)state;
	struct world world = PROGRAM(EAX_EBX, 10, 0, 9);
	world.regs.general.rbx = 0xdead0000;
	assert_int_equal(judge(&world), BOUND_NOT_ACCESSIBLE);
	world.regs.general.rbx = CODE + MEMORY - 4; /* half of it */
	assert_int_equal(judge(&world), BOUND_NOT_ACCESSIBLE);
	/* The instruction at the end of memory. */
	memcpy(&world.memory[MEMORY - 2], EAX_EBX, 2);
	world.regs.general.rbx = BOUNDS;
	world.regs.general.rip = CODE + MEMORY - 2;
	assert_int_equal(judge(&world), BOUND_RAISED);
	world.memory[MEMORY - 1] = 0x62;
	world.regs.general.rip = CODE + MEMORY - 1;
	assert_int_equal(judge(&world), BOUND_NOT_BOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_are_signed_and_inclusive_BND_29),
		cmocka_unit_test(sixteen_bits_BND_29),
		cmocka_unit_test(addresses_of_all_forms),
		cmocka_unit_test(only_an_exception_of_the_processor),
		cmocka_unit_test(other_instructions_are_not_BND_28_BND_30_BND_31_BND_32),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(segments_and_limits),
		cmocka_unit_test(code_of_16_bits_BND_28),
		cmocka_unit_test(memory_that_is_not_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
