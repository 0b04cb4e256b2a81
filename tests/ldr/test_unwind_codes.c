// SPDX-License-Identifier: MIT
/*
 * The unwinder on images made by hand: every form of unwind code and epilogue (DEF-331, DEF-333),
 * hostile data, and the documented routines (DEF-310).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fake_machine.h"
#include "ldr/exception.h"
#include "ldr/unwind.h"
#include "port/port.h"

/* ---- Made by hand ---- */

#define ROW   0x100 /* RUNTIME_FUNCTION rows */
#define INFO  0x200
#define BEGIN 0x400 /* the function: 0x100 bytes */
#define SIZE  0x1000

static uint8_t bytes[SIZE];
static uint64_t stack[64] __attribute__((aligned(16)));

static void row(unsigned index, uint32_t begin, uint32_t end, uint32_t info)
{
	const uint32_t values[] = {begin, end, info};

	memcpy(bytes + ROW + index * 12, values, sizeof(values));
}

/* version | flags << 3, size of prologue, number of codes, frame register | offset << 4; then the
 * codes. */
static void info(uint32_t at, const uint8_t *values, size_t size)
{
	memcpy(bytes + at, values, size);
}

struct result {
	bool good;
	struct port_regs regs;
	struct ldr_unwind unwind;
	M128A xmm[16];
};

/* Unwind from `offset` in the function, RSP at stack[0]; all registers hold their number * 0x1111.
 */
static struct result unwind_at(uint32_t offset, unsigned rows, unsigned flags)
{
	struct ldr_image *image = fake_image_raw(bytes, SIZE, ROW, rows);
	struct ldr_function function;
	struct result result;

	memset(&result, 0, sizeof(result));
	for (unsigned i = 0; i < 16; i++) {
		(&result.regs.rax)[i] = i * 0x1111;
	}
	result.regs.rsp = (uint64_t)stack;
	result.regs.rbp = (uint64_t)&stack[8];
	result.regs.rip = image->base + offset;
	result.unwind.registers = &result.regs.rax;
	result.unwind.xmm = result.xmm;
	result.unwind.low = (uint64_t)stack;
	result.unwind.high = (uint64_t)(stack + 64);
	assert_int_equal(ldr_function_find(result.regs.rip, &function), LDR_FUNCTION_FOUND);
	result.good = ldr_unwind_function(&result.unwind, &function, flags);
	result.regs.rip -= image->base > result.regs.rip ? 0 : image->base;
	fake_image_forget(image);
	return result;
}

static void clear(void)
{
	memset(bytes, 0xcc, sizeof(bytes));
	for (unsigned i = 0; i < 64; i++) {
		stack[i] = 0x7000 + i;
	}
	row(0, BEGIN, BEGIN + 0x100, INFO);
}

static void test_all_codes_DEF331(void **state)
{
	/* push rbx; sub rsp, 0x50 (large); mov [rsp+0x28], rsi; movaps [rsp+0x10], xmm7 */
	static const uint8_t codes[] = {1, 20, 7, 0,    20, 0x78, 1, 0,    15, 0x64,
					5, 0,  8, 0x01, 10, 0,    1, 0x30, 0,  0};
	struct result r;

	(void)state;
	clear();
	info(INFO, codes, sizeof(codes));
	r = unwind_at(BEGIN + 0x40, 1, 0);
	assert_true(r.good);
	assert_int_equal(r.regs.rsi, 0x7005);
	assert_int_equal(r.xmm[7].Low, 0x7002);
	assert_int_equal(r.regs.rbx, 0x700a);
	assert_int_equal(r.regs.rip, 0x700b);
	assert_int_equal(r.regs.rsp, (uint64_t)&stack[12]);
	assert_int_equal(r.unwind.establisher, (uint64_t)stack);
	/* in the prologue, behind the push only */
	r = unwind_at(BEGIN + 1, 1, 0);
	assert_true(r.good);
	assert_int_equal(r.regs.rbx, 0x7000);
	assert_int_equal(r.regs.rip, 0x7001);
	assert_int_equal(r.regs.rsi, 6 * 0x1111);
}

static void test_far_codes_and_large_allocation_DEF331(void **state)
{
	/* sub rsp, 0x60 (32-bit form); mov [rsp+0x18], rdi (far); movaps [rsp+0x20], xmm15 (far) */
	static const uint8_t codes[] = {1,    20,   9, 0, 20, 0xf9, 0x20, 0,    0, 0, 15,
					0x75, 0x18, 0, 0, 0,  8,    0x11, 0x60, 0, 0, 0};
	struct result r;

	(void)state;
	clear();
	info(INFO, codes, sizeof(codes));
	r = unwind_at(BEGIN + 0x40, 1, 0);
	assert_true(r.good);
	assert_int_equal(r.regs.rdi, 0x7003);
	assert_int_equal(r.xmm[15].Low, 0x7004);
	assert_int_equal(r.regs.rip, 0x700c);
}

static void test_frame_register_DEF331(void **state)
{
	/* push rbp; sub rsp, 0x20; lea rbp, [rsp+0x10]: RBP is stack[8], so the frame is at
	 * stack[6] */
	static const uint8_t codes[] = {1, 10, 3, 0x15, 10, 0x03, 5, 0x32, 1, 0x50, 0, 0};
	struct result r;

	(void)state;
	clear();
	info(INFO, codes, sizeof(codes));
	r = unwind_at(BEGIN + 0x40, 1, 0);
	assert_true(r.good);
	assert_int_equal(r.unwind.establisher, (uint64_t)&stack[6]);
	assert_int_equal(r.regs.rbp, 0x700a);
	assert_int_equal(r.regs.rip, 0x700b);
	/* before the frame register is set RSP counts */
	r = unwind_at(BEGIN + 5, 1, 0);
	assert_true(r.good);
	assert_int_equal(r.unwind.establisher, (uint64_t)stack);
	assert_int_equal(r.regs.rbp, 0x7004);
}

static void test_machine_frames_DEF331(void **state)
{
	static const uint8_t plain[] = {1, 0, 1, 0, 0, 0x0a, 0, 0};
	static const uint8_t error_code[] = {1, 0, 1, 0, 0, 0x1a, 0, 0};
	struct result r;

	(void)state;
	clear();
	info(INFO, plain, sizeof(plain));
	r = unwind_at(BEGIN + 0x40, 1, 0);
	assert_true(r.good);
	assert_int_equal(r.regs.rip, 0x7000);
	assert_int_equal(r.regs.rsp, 0x7003);
	info(INFO, error_code, sizeof(error_code));
	r = unwind_at(BEGIN + 0x40, 1, 0);
	assert_true(r.good);
	assert_int_equal(r.regs.rip, 0x7001);
	assert_int_equal(r.regs.rsp, 0x7004);
}

static void test_version_2_DEF331(void **state)
{
	/* three epilog codes and the one that pads them; then push rbx. */
	static const uint8_t padded[] = {2,    1, 5, 0, 9, 0x16, 0x20, 6,
					 0x40, 6, 0, 0, 1, 0x30, 0,    0};
	/* two: no padding */
	static const uint8_t even[] = {2, 1, 3, 0, 9, 0x16, 0x20, 6, 1, 0x30, 0, 0};
	/* in version 1 there is no such code */
	static const uint8_t old[] = {1, 1, 3, 0, 9, 0x16, 0x20, 6, 1, 0x30, 0, 0};
	struct result r;

	(void)state;
	clear();
	info(INFO, padded, sizeof(padded));
	r = unwind_at(BEGIN + 0x40, 1, 0);
	assert_true(r.good);
	assert_int_equal(r.regs.rbx, 0x7000);
	assert_int_equal(r.regs.rip, 0x7001);
	info(INFO, even, sizeof(even));
	r = unwind_at(BEGIN + 0x40, 1, 0);
	assert_true(r.good);
	assert_int_equal(r.regs.rip, 0x7001);
	info(INFO, old, sizeof(old));
	assert_false(unwind_at(BEGIN + 0x40, 1, 0).good);
}

static void test_chained_entries_and_handlers_DEF333(void **state)
{
	/* the fragment: mov [rsp+8], rsi; chained to: sub rsp, 0x18; push rdi; exception handler at
	 * 0x800 */
	static const uint8_t fragment[] = {1 | 4 << 3, 0, 2, 0, 0, 0x64, 1, 0};
	static const uint8_t primary[] = {1 | 3 << 3, 5, 2, 0, 5, 0x22, 1, 0x70, 0, 8, 0, 0};
	const uint32_t chain[] = {BEGIN, BEGIN + 0x100, INFO};
	struct result r;

	(void)state;
	clear();
	row(1, 0x600, 0x700, 0x300);
	info(INFO, primary, sizeof(primary));
	info(0x300, fragment, sizeof(fragment));
	memcpy(bytes + 0x300 + sizeof(fragment), chain, sizeof(chain));
	r = unwind_at(0x640, 2, UNW_FLAG_EHANDLER);
	assert_true(r.good);
	assert_int_equal(r.regs.rsi, 0x7001);
	assert_int_equal(r.regs.rdi, 0x7003);
	assert_int_equal(r.regs.rip, 0x7004);
	assert_int_equal(r.unwind.handler, 0x800);
	assert_int_equal(unwind_at(BEGIN + 0x40, 2, UNW_FLAG_UHANDLER).unwind.handler, 0x800);
	assert_int_equal(unwind_at(BEGIN + 0x40, 2, 0).unwind.handler, 0);
	/* none in a prologue */
	assert_int_equal(unwind_at(BEGIN + 2, 2, UNW_FLAG_EHANDLER).unwind.handler, 0);
}

struct epilogue {
	const char *name;
	uint8_t code[16];
	bool is;      /* an epilogue */
	uint64_t rip; /* then: the return address's value on the stack */
};

static void test_epilogue_forms_DEF331(void **state)
{
	/* The body: sub rsp, 0x28; so an unwind by the codes finds stack[5]. */
	static const uint8_t codes[] = {1, 4, 1, 0, 4, 0x42, 0, 0};
	static const struct epilogue forms[] = {
		{"ret", {0xc3}, true, 0x7000},
		{"rep ret", {0xf3, 0xc3}, true, 0x7000},
		{"ret n", {0xc2, 8, 0}, true, 0x7000},
		{"add rsp, 8; ret", {0x48, 0x83, 0xc4, 8, 0xc3}, true, 0x7001},
		{"add rsp, 0x10 (long); ret",
		 {0x48, 0x81, 0xc4, 0x10, 0, 0, 0, 0xc3},
		 true,
		 0x7002},
		{"pop rbx; pop r12; ret", {0x5b, 0x41, 0x5c, 0xc3}, true, 0x7002},
		{"jmp out", {0xe9, 0, 1, 0, 0}, true, 0x7000},
		{"jmp short out", {0xeb, 0x80}, true, 0x7000},
		{"jmp [rip+n]", {0xff, 0x25, 0, 0, 0, 0}, true, 0x7000},
		{"rex.w jmp [rip+n]", {0x48, 0xff, 0x25, 0, 0, 0, 0}, true, 0x7000},
		{"rex.w jmp rax", {0x48, 0xff, 0xe0}, true, 0x7000},
		{"jmp to the beginning", {0xe9, 0xbb, 0xff, 0xff, 0xff}, true, 0x7000},
		{"jmp inside", {0xe9, 0x20, 0, 0, 0}, false, 0},
		{"jmp short inside", {0xeb, 0x10}, false, 0},
		{"jmp rax", {0xff, 0xe0}, false, 0},
		{"jmp [rax+8*rcx]", {0xff, 0x24, 0xc8}, false, 0},
		{"add rsp, 8; nop; ret", {0x48, 0x83, 0xc4, 8, 0x90, 0xc3}, false, 0},
		{"pop rbx; mov eax, ebx; ret", {0x5b, 0x89, 0xd8, 0xc3}, false, 0},
		{"lea rsp, [rbp+8]; ret (no frame register)",
		 {0x48, 0x8d, 0x65, 8, 0xc3},
		 false,
		 0},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct result r;

		clear();
		info(INFO, codes, sizeof(codes));
		memcpy(bytes + BEGIN + 0x40, forms[i].code, sizeof(forms[i].code));
		r = unwind_at(BEGIN + 0x40, 1, UNW_FLAG_EHANDLER);
		if (!r.good || r.regs.rip != (forms[i].is ? forms[i].rip : 0x7005)) {
			fail_msg("%s: rip 0x%lx", forms[i].name, (unsigned long)r.regs.rip);
		}
	}
}

static void test_epilogue_with_a_frame_register_DEF331(void **state)
{
	static const uint8_t codes[] = {1, 10, 3, 0x05, 10, 0x03, 5, 0x32, 1, 0x50, 0, 0};
	static const uint8_t code[] = {0x48, 0x8d, 0x65, 0x10, 0x5d, 0xc3}; /* lea rsp, [rbp+16] */
	struct result r;

	(void)state;
	clear();
	info(INFO, codes, sizeof(codes));
	memcpy(bytes + BEGIN + 0x40, code, sizeof(code));
	r = unwind_at(BEGIN + 0x40, 1, 0);
	assert_true(r.good);
	assert_int_equal(r.regs.rbp, 0x700a);
	assert_int_equal(r.regs.rip, 0x700b);
	r = unwind_at(BEGIN + 0x44, 1, 0); /* at the pop */
	assert_true(r.good);
	assert_int_equal(r.regs.rbp, 0x7000);
	assert_int_equal(r.regs.rip, 0x7001);
}

static void test_hostile_data_DEF331(void **state)
{
	static const uint8_t cut[] = {1, 4, 200, 0, 4, 0x42};
	static const uint8_t half[] = {1, 4,    1, 0,
				       4, 0x01, 0, 0}; /* a code without its second slot */
	static const uint8_t unknown[] = {1, 4, 1, 0, 4, 0x0f, 0, 0};
	static const uint8_t loop[] = {1 | 4 << 3, 0, 0, 0};
	static const uint8_t handler[] = {1 | 1 << 3, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f};
	const uint32_t self[] = {BEGIN, BEGIN + 0x100, INFO};
	struct result r;

	(void)state;
	clear();
	row(0, BEGIN, BEGIN + 0x100, SIZE - 2); /* info across the image's end */
	assert_false(unwind_at(BEGIN + 0x40, 1, 0).good);
	row(0, BEGIN, BEGIN + 0x100, 0xfffffffc);
	assert_false(unwind_at(BEGIN + 0x40, 1, 0).good);
	row(0, BEGIN, BEGIN + 0x100, INFO + 1); /* unaligned */
	assert_false(unwind_at(BEGIN + 0x40, 1, 0).good);
	row(0, BEGIN, BEGIN + 0x100, SIZE - 8); /* codes past the image's end */
	memcpy(bytes + SIZE - 8, cut, sizeof(cut));
	assert_false(unwind_at(BEGIN + 0x40, 1, 0).good);
	clear();
	info(INFO, half, sizeof(half));
	assert_false(unwind_at(BEGIN + 0x40, 1, 0).good);
	info(INFO, unknown, sizeof(unknown));
	assert_false(unwind_at(BEGIN + 0x40, 1, 0).good);
	info(INFO, loop, sizeof(loop)); /* chained to itself */
	memcpy(bytes + INFO + 4, self, sizeof(self));
	assert_false(unwind_at(BEGIN + 0x40, 1, 0).good);
	info(INFO, handler, sizeof(handler)); /* a handler outside the image */
	r = unwind_at(BEGIN + 0x40, 1, UNW_FLAG_EHANDLER);
	assert_true(r.good);
	assert_int_equal(r.unwind.handler, 0);
}

static void test_random_data_never_faults_DEF331(void **state)
{
	unsigned seed = getenv("SEED") ? (unsigned)atoi(getenv("SEED")) : 1;
	unsigned good = 0;

	(void)state;
	print_message("SEED=%u\n", seed);
	srand(seed);
	for (unsigned round = 0; round < 300; round++) {
		struct ldr_image *image;

		for (unsigned i = 0; i < SIZE; i++) {
			bytes[i] = (uint8_t)(rand() >> 8);
		}
		for (unsigned i = 0; i < 16; i++) { /* rows in order, so that they are found */
			row(i, 0x400 + i * 0x80, 0x480 + i * 0x80, (uint32_t)rand() % SIZE & ~3u);
		}
		for (unsigned i = 0; i < SIZE; i += 4) { /* valid versions, often */
			if (rand() & 1) {
				bytes[i] = (uint8_t)((rand() & 7) << 3 | (1 + (rand() & 1)));
				bytes[i + 2] &= 15;
			}
		}
		image = fake_image_raw(bytes, SIZE, ROW, 16);
		for (unsigned i = 0; i < 500; i++) {
			struct port_regs regs = {.rsp = (uint64_t)(stack + rand() % 64)};
			struct ldr_unwind unwind = {
				.registers = &regs.rax,
				.high = i & 1 ? UINT64_MAX : (uint64_t)(stack + 64),
			};
			struct ldr_function function;

			regs.rip = image->base + 0x400 + (unsigned)rand() % 0x800;
			regs.rbp = (uint64_t)rand() << 20;
			if (ldr_function_find(regs.rip, &function) == LDR_FUNCTION_FOUND) {
				good += ldr_unwind_function(&unwind, &function, 3);
			}
		}
		fake_image_forget(image);
	}
	assert_true(good > 0);
}

/* ---- The documented routines ---- */

static void test_documented_routines_DEF310(void **state)
{
	static const uint8_t codes[] = {1 | 1 << 3, 1, 1, 0, 1, 0x30, 0, 0, 0, 8, 0, 0, 0x55};
	KNONVOLATILE_CONTEXT_POINTERS where = {0};
	struct ldr_image *image;
	PRUNTIME_FUNCTION entry;
	ULONG64 base, frame = 0;
	PVOID data = 0, header;
	CONTEXT context = {0};

	(void)state;
	clear();
	info(INFO, codes, sizeof(codes));
	image = fake_image_raw(bytes, SIZE, ROW, 1);
	entry = RtlLookupFunctionEntry(image->base + BEGIN + 0x40, &base, 0);
	assert_ptr_equal(entry, image->base + ROW);
	assert_int_equal(base, image->base);
	assert_null(RtlLookupFunctionEntry(image->base + 0x900, &base, 0)); /* a leaf */
	assert_int_equal(base, image->base);
	assert_null(RtlLookupFunctionEntry(0x1000, &base, 0));
	assert_int_equal(base, 0);
	context.Rsp = (uint64_t)stack;
	assert_int_equal((uint64_t)RtlVirtualUnwind(UNW_FLAG_EHANDLER, image->base,
						    image->base + BEGIN + 0x40, entry, &context,
						    &data, &frame, &where),
			 image->base + 0x800);
	assert_int_equal(*(uint8_t *)data, 0x55);
	assert_int_equal(frame, (uint64_t)stack);
	assert_int_equal(context.Rip, 0x7001);
	assert_int_equal(context.Rbx, 0x7000);
	assert_ptr_equal(where.IntegerContext[3], stack);
	assert_ptr_equal(RtlPcToFileHeader((PVOID)(image->base + 5), &header), image->base);
	assert_ptr_equal(header, image->base);
	assert_null(RtlPcToFileHeader((PVOID)0x1000, &header));
	context.Rsp = 0x10; /* no stack: the end */
	assert_null(RtlVirtualUnwind(0, image->base, image->base + BEGIN + 0x40, entry, &context,
				     &data, &frame, 0));
	assert_int_equal(context.Rip, 0);
	fake_image_forget(image);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_codes_DEF331),
		cmocka_unit_test(test_far_codes_and_large_allocation_DEF331),
		cmocka_unit_test(test_frame_register_DEF331),
		cmocka_unit_test(test_machine_frames_DEF331),
		cmocka_unit_test(test_version_2_DEF331),
		cmocka_unit_test(test_chained_entries_and_handlers_DEF333),
		cmocka_unit_test(test_epilogue_forms_DEF331),
		cmocka_unit_test(test_epilogue_with_a_frame_register_DEF331),
		cmocka_unit_test(test_hostile_data_DEF331),
		cmocka_unit_test(test_random_data_never_faults_DEF331),
		cmocka_unit_test(test_documented_routines_DEF310),
	};

	return cmocka_run_group_tests(tests, 0, 0);
}

int main(void)
{
	return fake_machine_run(run);
}
