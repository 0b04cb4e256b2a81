/* SPDX-License-Identifier: MIT */
/*
 * Loads from the shared page, each compared with the same instruction run by the processor on the
 * page's user alias: all registers, flags, vector registers and the stack must come out the same
 * (DEF-43, PLT-7).
 */
#define _GNU_SOURCE
#include "machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <Zydis/Zydis.h>

#include "port/linux/shared_page.h"

#define RANDOM_ROUNDS 20000

/* Operands of a form, in order: R register of that size, M memory of that size, V vector, I
 * immediate. */
enum shape { R_M, M_R, M_I, R_M_I, R_R_M, R_M_R, M_ONLY, V_M, V_M_I, V_V_M, V_V_M_I, V_R_M };

static const struct form {
	ZydisMnemonic mnemonic;
	enum shape shape;
	unsigned reg_size;    /* bytes */
	unsigned memory_size; /* bytes */
	unsigned aligned;     /* needs an aligned operand */
} forms[] = {
#define INTEGER(name)                                                                              \
	{ZYDIS_MNEMONIC_##name, R_M, 1, 1, 0}, {ZYDIS_MNEMONIC_##name, R_M, 2, 2, 0},              \
		{ZYDIS_MNEMONIC_##name, R_M, 4, 4, 0},                                             \
	{                                                                                          \
		ZYDIS_MNEMONIC_##name, R_M, 8, 8, 0                                                \
	}
#define WIDE(name)                                                                                 \
	{ZYDIS_MNEMONIC_##name, R_M, 2, 2, 0}, {ZYDIS_MNEMONIC_##name, R_M, 4, 4, 0},              \
	{                                                                                          \
		ZYDIS_MNEMONIC_##name, R_M, 8, 8, 0                                                \
	}
#define COMPARE(name)                                                                              \
	{ZYDIS_MNEMONIC_##name, M_R, 1, 1, 0}, {ZYDIS_MNEMONIC_##name, M_R, 2, 2, 0},              \
		{ZYDIS_MNEMONIC_##name, M_R, 4, 4, 0}, {ZYDIS_MNEMONIC_##name, M_R, 8, 8, 0},      \
		{ZYDIS_MNEMONIC_##name, M_I, 0, 1, 0}, {ZYDIS_MNEMONIC_##name, M_I, 0, 2, 0},      \
		{ZYDIS_MNEMONIC_##name, M_I, 0, 4, 0},                                             \
	{                                                                                          \
		ZYDIS_MNEMONIC_##name, M_I, 0, 8, 0                                                \
	}
#define ONE(name)                                                                                  \
	{ZYDIS_MNEMONIC_##name, M_ONLY, 0, 1, 0}, {ZYDIS_MNEMONIC_##name, M_ONLY, 0, 2, 0},        \
		{ZYDIS_MNEMONIC_##name, M_ONLY, 0, 4, 0},                                          \
	{                                                                                          \
		ZYDIS_MNEMONIC_##name, M_ONLY, 0, 8, 0                                             \
	}
#define VECTOR(name, shape, reg, memory)                                                           \
	{                                                                                          \
		ZYDIS_MNEMONIC_##name, shape, reg, memory, 0                                       \
	}
#define ALIGNED(name, shape, reg, memory)                                                          \
	{                                                                                          \
		ZYDIS_MNEMONIC_##name, shape, reg, memory, memory                                  \
	}
	INTEGER(MOV),
	INTEGER(ADD),
	INTEGER(OR),
	INTEGER(ADC),
	INTEGER(SBB),
	INTEGER(AND),
	INTEGER(SUB),
	INTEGER(XOR),
	INTEGER(CMP),
	COMPARE(CMP),
	COMPARE(TEST),
	WIDE(IMUL),
	WIDE(BSF),
	WIDE(BSR),
	WIDE(POPCNT),
	WIDE(TZCNT),
	WIDE(LZCNT),
	WIDE(MOVBE),
	WIDE(CMOVB),
	WIDE(CMOVBE),
	WIDE(CMOVL),
	WIDE(CMOVLE),
	WIDE(CMOVNB),
	WIDE(CMOVNBE),
	WIDE(CMOVNL),
	WIDE(CMOVNLE),
	WIDE(CMOVNO),
	WIDE(CMOVNP),
	WIDE(CMOVNS),
	WIDE(CMOVNZ),
	WIDE(CMOVO),
	WIDE(CMOVP),
	WIDE(CMOVS),
	WIDE(CMOVZ),
	ONE(MUL),
	ONE(IMUL),
	ONE(DIV),
	ONE(IDIV),
	{ZYDIS_MNEMONIC_MOVZX, R_M, 2, 1, 0},
	{ZYDIS_MNEMONIC_MOVZX, R_M, 4, 1, 0},
	{ZYDIS_MNEMONIC_MOVZX, R_M, 8, 1, 0},
	{ZYDIS_MNEMONIC_MOVZX, R_M, 4, 2, 0},
	{ZYDIS_MNEMONIC_MOVZX, R_M, 8, 2, 0},
	{ZYDIS_MNEMONIC_MOVSX, R_M, 2, 1, 0},
	{ZYDIS_MNEMONIC_MOVSX, R_M, 4, 1, 0},
	{ZYDIS_MNEMONIC_MOVSX, R_M, 8, 1, 0},
	{ZYDIS_MNEMONIC_MOVSX, R_M, 4, 2, 0},
	{ZYDIS_MNEMONIC_MOVSX, R_M, 8, 2, 0},
	{ZYDIS_MNEMONIC_MOVSXD, R_M, 8, 4, 0},
	{ZYDIS_MNEMONIC_BT, M_R, 2, 2, 0},
	{ZYDIS_MNEMONIC_BT, M_R, 4, 4, 0},
	{ZYDIS_MNEMONIC_BT, M_R, 8, 8, 0},
	{ZYDIS_MNEMONIC_BT, M_I, 0, 4, 0},
	{ZYDIS_MNEMONIC_BT, M_I, 0, 8, 0},
	{ZYDIS_MNEMONIC_IMUL, R_M_I, 4, 4, 0},
	{ZYDIS_MNEMONIC_IMUL, R_M_I, 8, 8, 0},
	{ZYDIS_MNEMONIC_PUSH, M_ONLY, 0, 8, 0},
	{ZYDIS_MNEMONIC_PUSH, M_ONLY, 0, 2, 0},
	{ZYDIS_MNEMONIC_CRC32, R_M, 4, 1, 0},
	{ZYDIS_MNEMONIC_CRC32, R_M, 8, 8, 0},
	{ZYDIS_MNEMONIC_ADCX, R_M, 8, 8, 0},
	{ZYDIS_MNEMONIC_ADOX, R_M, 4, 4, 0},
	{ZYDIS_MNEMONIC_ANDN, R_R_M, 8, 8, 0},
	{ZYDIS_MNEMONIC_MULX, R_R_M, 4, 4, 0},
	{ZYDIS_MNEMONIC_BZHI, R_M_R, 8, 8, 0},
	{ZYDIS_MNEMONIC_SHLX, R_M_R, 4, 4, 0},
	{ZYDIS_MNEMONIC_RORX, R_M_I, 8, 8, 0},
	VECTOR(MOVDQU, V_M, 16, 16),
	VECTOR(MOVUPS, V_M, 16, 16),
	VECTOR(MOVUPD, V_M, 16, 16),
	VECTOR(LDDQU, V_M, 16, 16),
	ALIGNED(MOVDQA, V_M, 16, 16),
	ALIGNED(MOVAPS, V_M, 16, 16),
	ALIGNED(MOVNTDQA, V_M, 16, 16),
	VECTOR(MOVSS, V_M, 16, 4),
	VECTOR(MOVSD, V_M, 16, 8),
	VECTOR(MOVQ, V_M, 16, 8),
	VECTOR(MOVD, V_M, 16, 4),
	VECTOR(MOVHPS, V_M, 16, 8),
	VECTOR(CVTSI2SD, V_M, 16, 4),
	VECTOR(CVTSI2SD, V_M, 16, 8),
	VECTOR(PMOVZXBW, V_M, 16, 8),
	ALIGNED(PXOR, V_M, 16, 16),
	ALIGNED(PADDB, V_M, 16, 16),
	ALIGNED(PCMPEQB, V_M, 16, 16),
	ALIGNED(PTEST, V_M, 16, 16),
	ALIGNED(PSHUFB, V_M, 16, 16),
	ALIGNED(PSHUFD, V_M_I, 16, 16),
	VECTOR(PINSRD, V_M_I, 16, 4),
	VECTOR(PINSRW, V_M_I, 16, 2),
	ALIGNED(AESENC, V_M, 16, 16),
	VECTOR(VMOVDQU, V_M, 16, 16),
	VECTOR(VMOVDQU, V_M, 32, 32),
	VECTOR(VMOVUPS, V_M, 32, 32),
	ALIGNED(VMOVDQA, V_M, 32, 32),
	VECTOR(VPADDD, V_V_M, 16, 16),
	VECTOR(VPXOR, V_V_M, 32, 32),
	VECTOR(VPCMPEQB, V_V_M, 32, 32),
	VECTOR(VBROADCASTSS, V_M, 32, 4),
	VECTOR(VINSERTI128, V_V_M_I, 32, 16),
	VECTOR(VPTEST, V_M, 32, 32),
	VECTOR(VCVTSI2SD, V_R_M, 16, 8),
	VECTOR(VMOVDQU64, V_M, 64, 64),
	VECTOR(VMOVDQU8, V_M, 64, 64),
	VECTOR(VPADDQ, V_V_M, 64, 64),
	VECTOR(VBROADCASTI32X4, V_M, 64, 16),
	VECTOR(VPTERNLOGD, V_V_M_I, 64, 64),
};
#define FORM_COUNT (sizeof(forms) / sizeof(forms[0]))

static ZydisRegister zydis_register(unsigned size, unsigned number)
{
	static const ZydisRegisterClass classes[] = {
		[1] = ZYDIS_REGCLASS_GPR8,  [2] = ZYDIS_REGCLASS_GPR16, [4] = ZYDIS_REGCLASS_GPR32,
		[8] = ZYDIS_REGCLASS_GPR64, [16] = ZYDIS_REGCLASS_XMM,  [32] = ZYDIS_REGCLASS_YMM,
		[64] = ZYDIS_REGCLASS_ZMM};

	if (size == 1 && number >= 4) /* spl..r15b lie behind ah..bh */
		number += 4;
	return ZydisRegisterEncode(classes[size], (ZyanU8)number);
}

/* One load: the instruction's bytes and how its address is made. */
struct load {
	unsigned char code[15];
	ZyanUSize size;
	int base, index; /* register numbers; -1 none */
	unsigned scale;
	int32_t displacement;
	uint32_t offset; /* in the page */
};

static bool takes_memory_first(enum shape shape)
{
	return shape == M_R || shape == M_I || shape == M_ONLY;
}

static void add_register(ZydisEncoderRequest *request, unsigned size, unsigned number)
{
	ZydisEncoderOperand *operand = &request->operands[request->operand_count++];

	operand->type = ZYDIS_OPERAND_TYPE_REGISTER;
	operand->reg.value = zydis_register(size, number);
}

static void add_memory(ZydisEncoderRequest *request, const struct load *load, unsigned size)
{
	ZydisEncoderOperand *operand = &request->operands[request->operand_count++];

	operand->type = ZYDIS_OPERAND_TYPE_MEMORY;
	operand->mem.base =
		load->base < 0 ? ZYDIS_REGISTER_NONE : zydis_register(8, (unsigned)load->base);
	operand->mem.index =
		load->index < 0 ? ZYDIS_REGISTER_NONE : zydis_register(8, (unsigned)load->index);
	operand->mem.scale = (ZyanU8)load->scale;
	operand->mem.displacement = load->displacement;
	operand->mem.size = (ZyanU16)size;
}

static bool encode(struct load *load, const struct form *form, unsigned r1, unsigned r2,
		   unsigned immediate)
{
	ZydisEncoderRequest request = {.machine_mode = ZYDIS_MACHINE_MODE_LONG_64,
				       .mnemonic = form->mnemonic};
	enum shape shape = form->shape;
	bool vector = form->reg_size >= 16;

	if (!takes_memory_first(shape))
		add_register(&request, form->reg_size, vector ? r1 % MACHINE_VECTORS : r1);
	if (form->reg_size == 64) /* EVEX: no mask */
		request.operands[request.operand_count++] = (ZydisEncoderOperand){
			.type = ZYDIS_OPERAND_TYPE_REGISTER, .reg.value = ZYDIS_REGISTER_K0};
	if (shape == R_R_M || shape == V_V_M || shape == V_V_M_I || shape == V_R_M)
		add_register(&request, form->reg_size, vector ? r2 % MACHINE_VECTORS : r2);
	add_memory(&request, load, form->memory_size);
	if (shape == M_R)
		add_register(&request, form->reg_size, r1);
	if (shape == R_M_R)
		add_register(&request, form->reg_size, r2);
	if (shape == M_I || shape == R_M_I || shape == V_M_I || shape == V_V_M_I) {
		ZydisEncoderOperand *operand = &request.operands[request.operand_count++];

		operand->type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
		operand->imm.u = immediate & 0x7F;
	}
	load->size = sizeof(load->code);
	return ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, load->code, &load->size));
}

/* Sets the address registers so that the operand is at `page` + offset. False: no such value. */
static bool point(struct machine *m, const struct load *load, uint64_t page, uint64_t index_value)
{
	uint64_t address = page + load->offset - (uint64_t)(int64_t)load->displacement;

	if (load->base < 0) {
		if (load->index < 0 || address % load->scale != 0)
			return false;
		m->before.gpr[load->index] = (uint64_t)((int64_t)address / (int64_t)load->scale);
		return true;
	}
	if (load->index >= 0) {
		m->before.gpr[load->index] = index_value;
		address -= index_value * load->scale;
	}
	m->before.gpr[load->base] = address;
	return true;
}

/* Whether an address register may also be an operand: not when its value, which differs, would
 * count. */
static bool may_overlap(const struct form *form)
{
	if (form->reg_size == 1 || form->reg_size == 2) /* the rest of the register stays */
		return false;
	switch (form->mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
	case ZYDIS_MNEMONIC_MOVBE:
	case ZYDIS_MNEMONIC_POPCNT:
	case ZYDIS_MNEMONIC_PUSH:
		return true;
	default:
		return form->reg_size >= 16 && form->shape != V_R_M;
	}
}

static bool is_address(const struct load *load, unsigned reg)
{
	return (int)reg == load->base || (int)reg == load->index;
}

static bool overlaps(const struct load *load, unsigned r1, unsigned r2)
{
	return is_address(load, r1) || is_address(load, r2) || is_address(load, RAX) ||
	       is_address(load, RDX); /* RAX, RDX: MUL, DIV, MULX */
}

/* An address register keeps its value, which differs in the two runs, unless the load replaced it.
 */
static bool same_register(unsigned reg, const struct load *load, const struct machine *m,
			  const struct machine_state *native_before,
			  const struct machine_state *native)
{
	if (m->after.gpr[reg] == native->gpr[reg])
		return true;
	return is_address(load, reg) && m->after.gpr[reg] == m->before.gpr[reg] &&
	       native->gpr[reg] == native_before->gpr[reg];
}

enum verdict { NOT_RUN, SAME, DIFFERENT };

/* Runs the load on the alias by the processor, then on the kernel's address by emulation. */
static enum verdict compare(struct machine *m, const struct load *load, uint64_t index_value)
{
	struct machine_state native_before, native;
	unsigned char native_stack[MACHINE_STACK];
	bool same = true;

	if (!point(m, load, SHARED_PAGE_USER, index_value))
		return NOT_RUN;
	memset(m->stack, 0xA5, sizeof(m->stack));
	machine_run(m, load->code, load->size);
	if (m->stopped && m->fault.vector == 6)
		return NOT_RUN; /* not on this processor */
	assert_int_equal(m->emulated, 0);
	native_before = m->before;
	native = m->after;
	memcpy(native_stack, m->stack, sizeof(native_stack));
	if (m->stopped) { /* divide error: must happen there too, in the stub */
		unsigned vector = m->fault.vector;
		uint64_t original = 0;

		point(m, load, SHARED_PAGE_KERNEL, index_value);
		machine_run(m, load->code, load->size);
		same = m->stopped && m->fault.vector == vector && m->emulated == 1 &&
		       emulate_stub_lookup(m->stop_rip, &original) &&
		       original == machine_address(m, MACHINE_BODY);
		return same ? SAME : DIFFERENT;
	}
	memset(m->stack, 0xA5, sizeof(m->stack));
	point(m, load, SHARED_PAGE_KERNEL, index_value);
	machine_run(m, load->code, load->size);
	if (m->stopped || m->emulated != 1 || m->page_updates != 1)
		return DIFFERENT;
	for (unsigned i = 0; i < 16; i++)
		same &= same_register(i, load, m, &native_before, &native);
	same &= m->after.flags == native.flags;
	same &= memcmp(m->after.vector, native.vector, sizeof(native.vector)) == 0;
	same &= memcmp(m->stack, native_stack, sizeof(native_stack)) == 0;
	return same ? SAME : DIFFERENT;
}

static void show(const struct machine *m, const struct load *load)
{
	print_error("base %d index %d scale %u displacement %" PRId32 " offset %" PRIx32 " bytes",
		    load->base, load->index, load->scale, load->displacement, load->offset);
	for (unsigned i = 0; i < load->size; i++)
		print_error(" %02x", load->code[i]);
	print_error("\nstopped %d result %d vector %u address %" PRIx64 " emulated %u\n",
		    m->stopped, (int)m->result, m->fault.vector, m->fault.address, m->emulated);
}

static void fill_page(uint64_t *random)
{
	unsigned char *bytes = shared_page_bytes();

	for (unsigned i = 0; i < SHARED_PAGE_SIZE; i++)
		bytes[i] = (unsigned char)machine_random(random);
}

static uint64_t pick(uint64_t *random, uint64_t count)
{
	return machine_random(random) % count;
}

static void choose_address(struct load *load, const struct form *form, uint64_t *random)
{
	static const int32_t displacements[] = {0,    8,     -8,       64,        127,
						-128, 0x320, -0x12345, 0x7FFFFFF0};

	do {
		load->base = (int)pick(random, 18) - 2; /* 2 of 18 without base */
		load->index = (int)pick(random, 24) - 8;
	} while (load->base == RSP || load->index == RSP || load->base == load->index);
	if (load->base < 0)
		load->base = -1;
	if (load->index < 0)
		load->index = -1;
	load->scale = load->index < 0 ? 0 : 1u << pick(random, 4);
	load->displacement = displacements[pick(random, sizeof(displacements) / sizeof(int32_t))];
	load->offset = (uint32_t)pick(random, SHARED_PAGE_SIZE - form->memory_size + 1);
	if (form->aligned)
		load->offset -= load->offset % form->aligned;
}

/* One random load of this form; its registers too are random. */
static enum verdict random_load(struct machine *m, const struct form *form, uint64_t *random,
				struct load *load)
{
	unsigned r1 = (unsigned)pick(random, 16), r2 = (unsigned)pick(random, 16);
	enum verdict verdict;

	machine_reset(m);
	choose_address(load, form, random);
	for (unsigned i = 0; i < 16; i++) {
		if (i != RSP)
			m->before.gpr[i] =
				pick(random, 2) ? machine_random(random) : pick(random, 64);
	}
	if (form->mnemonic == ZYDIS_MNEMONIC_BT)
		m->before.gpr[r1] &= 15; /* stays in its operand; other bits: a test below */
	if (r1 == RSP || (!may_overlap(form) && overlaps(load, r1, r2)))
		return NOT_RUN;
	m->before.flags = MACHINE_FLAGS | (machine_random(random) & 0x8D5);
	if (!encode(load, form, r1, r2, (unsigned)machine_random(random)))
		return NOT_RUN;
	verdict = compare(m, load, pick(random, 2) ? machine_random(random) : pick(random, 0x1000));
	if (verdict == DIFFERENT)
		show(m, load);
	return verdict;
}

static void def43_plt7_every_form_loads_what_the_processor_loads(void **state)
{
	struct machine *m = machine_create();
	uint64_t random = machine_seed();
	struct load load;

	(void)state;
	fill_page(&random);
	for (unsigned i = 0; i < FORM_COUNT; i++) {
		const char *name = ZydisMnemonicGetString(forms[i].mnemonic);
		unsigned same = 0;

		for (unsigned j = 0; j < 60; j++) {
			enum verdict verdict = random_load(m, &forms[i], &random, &load);

			if (verdict == DIFFERENT)
				fail_msg("%s", name);
			same += verdict == SAME;
		}
		/* the code page is rewritten all the time: without this the table fills up */
		emulate_stub_forget(machine_address(m, 0), MACHINE_CODE_SIZE);
		if (same == 0)
			print_message("not run on this processor: %s (%u bytes)\n", name,
				      forms[i].memory_size);
	}
	machine_destroy(m);
}

static void def43_random_loads(void **state)
{
	struct machine *m = machine_create();
	uint64_t random = machine_seed();
	struct load load;
	unsigned same = 0;

	(void)state;
	fill_page(&random);
	for (unsigned i = 0; i < RANDOM_ROUNDS; i++) {
		const struct form *form = &forms[pick(&random, FORM_COUNT)];
		enum verdict verdict = random_load(m, form, &random, &load);

		if (verdict == DIFFERENT)
			fail_msg("%s", ZydisMnemonicGetString(form->mnemonic));
		same += verdict == SAME;
		if (i % 500 == 499)
			emulate_stub_forget(machine_address(m, 0), MACHINE_CODE_SIZE);
	}
	assert_true(same > RANDOM_ROUNDS / 3);
	machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def43_plt7_every_form_loads_what_the_processor_loads),
		cmocka_unit_test(def43_random_loads),
	};

	return cmocka_run_group_tests(tests, machine_setup, machine_teardown);
}
