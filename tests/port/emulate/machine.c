/* SPDX-License-Identifier: MIT */
/*
 * The machine: prologue and epilogue in an executable page, state in the page behind it, reached
 * relative to RIP, so that every register including RSP belongs to the code under test. One machine
 * per thread.
 */
#define _GNU_SOURCE
#include "machine.h"

#include <cpuid.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "port/linux/shared_page.h"

#define ALTERNATE_STACK_SIZE 0x20000
#define EPILOGUE             0x800

/* The page that generated code addresses. */
struct machine_shared {
	struct machine_state before, after;
	uint64_t host_rsp;
};

static __thread struct machine *current;

/* ---- Signals ---- */

static uint64_t cr8_read(void *ctx)
{
	struct machine *m = ctx;

	m->cr8_reads++;
	return m->cr8;
}

static void cr8_write(void *ctx, uint64_t value)
{
	struct machine *m = ctx;

	m->cr8_writes++;
	m->cr8 = value;
}

static void interrupts_set(void *ctx, bool enabled)
{
	struct machine *m = ctx;

	m->interrupt_writes++;
	m->interrupts = enabled;
}

static void page_update(void *ctx)
{
	struct machine *m = ctx;

	m->page_updates++;
	if (m->on_page_update)
		m->on_page_update(m);
}

static const struct emulate_ops ops = {cr8_read, cr8_write, interrupts_set, page_update};

static void stop(struct machine *m, ucontext_t *uc)
{
	static const int order[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
				    REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
				    REG_R12, REG_R13, REG_R14, REG_R15};

	m->stopped = true;
	m->stop_rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
	for (unsigned i = 0; i < 16; i++)
		m->after.gpr[i] = (uint64_t)uc->uc_mcontext.gregs[order[i]];
	uc->uc_mcontext.gregs[REG_EFL] &= ~0x100LL;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(m->code + EPILOGUE);
}

static void handler(int number, siginfo_t *info, void *context)
{
	struct machine *m = current;
	ucontext_t *uc = context;
	struct emulate_fault fault = emulate_fault_of(uc);
	greg_t saved[sizeof(uc->uc_mcontext.gregs) / sizeof(greg_t)];

	(void)info;
	if (!m)
		abort();
	if (number == SIGUSR1 || (number == SIGTRAP && fault.vector == 1)) {
		uint64_t offset = (uint64_t)uc->uc_mcontext.gregs[REG_RIP] - (uint64_t)m->code;

		if (offset >= EPILOGUE && offset < MACHINE_BODY) /* single steps end here */
			uc->uc_mcontext.gregs[REG_EFL] &= ~0x100LL;
		else if (m->on_signal)
			m->on_signal(m, number, uc);
		return;
	}
	memcpy(saved, uc->uc_mcontext.gregs, sizeof(saved));
	if (m->emulating) /* the emulation itself faulted */
		abort();
	m->emulating = true;
	m->fault = fault;
	m->result = emulate_instruction(uc, &fault, &ops, m, &m->report);
	m->emulating = false;
	m->last_report_rip = m->report.rip;
	if (m->result == EMULATE_DONE) {
		m->emulated++;
		return;
	}
	m->context_changed = memcmp(saved, uc->uc_mcontext.gregs, sizeof(saved)) != 0;
	stop(m, uc);
}

/* ---- Generated code ---- */

static unsigned char *emit(unsigned char *at, const void *bytes, size_t size)
{
	memcpy(at, bytes, size);
	return at + size;
}

/* opcode, ModRM of [rip + disp32] with register field reg, displacement to target */
static unsigned char *emit_rip(unsigned char *at, const void *opcode, size_t size, unsigned reg,
			       const void *target)
{
	unsigned char modrm = (unsigned char)(0x05 | (reg & 7) << 3);
	int32_t displacement;

	at = emit(at, opcode, size);
	at = emit(at, &modrm, 1);
	displacement = (int32_t)((const unsigned char *)target - (at + 4));
	return emit(at, &displacement, 4);
}

static unsigned char *emit_mov(unsigned char *at, unsigned char opcode, unsigned reg, void *target)
{
	unsigned char bytes[] = {reg < 8 ? 0x48 : 0x4C, opcode};

	return emit_rip(at, bytes, sizeof(bytes), reg, target);
}

/* Loads (6F) or stores (7F) a vector register at the widest size that the processor has. */
static unsigned char *emit_vector(unsigned char *at, unsigned char opcode, unsigned reg,
				  void *target)
{
	unsigned char sse[] = {0xF3, 0x0F, opcode}, avx[] = {0xC5, 0xFE, opcode};
	unsigned char avx512[] = {0x62, 0xF1, 0xFE, 0x48, opcode};

	if (__builtin_cpu_supports("avx512f"))
		return emit_rip(at, avx512, sizeof(avx512), reg, target);
	if (__builtin_cpu_supports("avx"))
		return emit_rip(at, avx, sizeof(avx), reg, target);
	return emit_rip(at, sse, sizeof(sse), reg, target);
}

static unsigned char *emit_jump(unsigned char *at, const void *target)
{
	int32_t displacement = (int32_t)((const unsigned char *)target - (at + 5));

	*at = 0xE9;
	return emit(at + 1, &displacement, 4);
}

static const unsigned char pushes[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57};
static const unsigned char pops[] = {0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D,
				     0x41, 0x5C, 0x5D, 0x5B, 0xFC, 0xC3};

static void write_prologue(struct machine *m, unsigned offset)
{
	static const unsigned char popfq = 0x9D, push_memory = 0xFF;
	struct machine_state *state = &m->shared->before;
	unsigned char *at = emit(m->code, pushes, sizeof(pushes));

	at = emit_mov(at, 0x89, RSP, &m->shared->host_rsp);
	for (unsigned i = 0; i < MACHINE_VECTORS; i++)
		at = emit_vector(at, 0x6F, i, state->vector[i]);
	at = emit_rip(at, &push_memory, 1, 6, &state->flags);
	at = emit(at, &popfq, 1);
	for (unsigned i = 0; i < 16; i++)
		at = emit_mov(at, 0x8B, i, &state->gpr[i]);
	emit_jump(at, m->code + offset);
}

static void write_epilogue(struct machine *m)
{
	static const unsigned char pushfq = 0x9C, pop_memory = 0x8F;
	struct machine_state *state = &m->shared->after;
	unsigned char *at = m->code + EPILOGUE;

	for (unsigned i = 0; i < 16; i++)
		at = emit_mov(at, 0x89, i, &state->gpr[i]);
	at = emit_mov(at, 0x8B, RSP, &m->shared->host_rsp);
	at = emit(at, &pushfq, 1);
	at = emit_rip(at, &pop_memory, 1, 0, &state->flags);
	for (unsigned i = 0; i < MACHINE_VECTORS; i++)
		at = emit_vector(at, 0x7F, i, state->vector[i]);
	emit(at, pops, sizeof(pops));
}

/* ---- Interface ---- */

int machine_setup(void **state)
{
	(void)state;
	return shared_page_create() || emulate_init();
}

int machine_teardown(void **state)
{
	(void)state;
	emulate_exit();
	shared_page_destroy();
	return 0;
}

uint64_t machine_address(const struct machine *m, unsigned offset)
{
	return (uint64_t)(m->code + offset);
}

void machine_reset(struct machine *m)
{
	for (unsigned i = 0; i < 16; i++)
		m->before.gpr[i] = 0x1111111111111111u * i + 0x0123456789ABCDEFu;
	m->before.gpr[RSP] = (uint64_t)(m->stack + MACHINE_STACK / 2) & ~15ull;
	m->before.flags = MACHINE_FLAGS;
	for (unsigned i = 0; i < MACHINE_VECTORS; i++)
		for (unsigned j = 0; j < MACHINE_VECTOR_SIZE; j++)
			m->before.vector[i][j] = (unsigned char)(i * 64 + j + 1);
	memset(m->stack, 0xA5, sizeof(m->stack));
}

void machine_run_at(struct machine *m, unsigned offset, const void *body, size_t size)
{
	void (*enter)(void);

	assert_true(offset + size + 5 <= MACHINE_CODE_SIZE);
	write_prologue(m, offset);
	emit_jump(emit(m->code + offset, body, size), m->code + EPILOGUE);
	m->shared->before = m->before;
	m->emulated = 0;
	m->stopped = false;
	m->result = EMULATE_NOT_OURS;
	m->cr8_reads = m->cr8_writes = m->interrupt_writes = m->page_updates = 0;
	memset(&m->report, 0, sizeof(m->report));
	current = m;
	memcpy(&enter, &m->code, sizeof(enter));
	enter();
	memcpy(m->after.vector, m->shared->after.vector, sizeof(m->after.vector));
	m->after.flags = m->shared->after.flags;
	if (!m->stopped) /* else they are those of the fault already */
		memcpy(m->after.gpr, m->shared->after.gpr, sizeof(m->after.gpr));
}

void machine_run(struct machine *m, const void *body, size_t size)
{
	machine_run_at(m, MACHINE_BODY, body, size);
}

struct machine *machine_create(void)
{
	static const int signals[] = {SIGSEGV, SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGUSR1};
	struct sigaction action = {.sa_sigaction = handler,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	struct machine *m = calloc(1, sizeof(*m));
	stack_t stack = {.ss_size = ALTERNATE_STACK_SIZE};

	assert_non_null(m);
	m->code = mmap(NULL, MACHINE_CODE_SIZE + sizeof(struct machine_shared),
		       PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m->code, MAP_FAILED);
	m->shared = (struct machine_shared *)(m->code + MACHINE_CODE_SIZE);
	m->alternate_stack = mmap(NULL, ALTERNATE_STACK_SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m->alternate_stack, MAP_FAILED);
	stack.ss_sp = m->alternate_stack;
	assert_int_equal(sigaltstack(&stack, NULL), 0);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		assert_int_equal(sigaction(signals[i], &action, NULL), 0);
	write_epilogue(m);
	machine_reset(m);
	m->interrupts = true;
	current = m;
	return m;
}

void machine_destroy(struct machine *m)
{
	stack_t stack = {.ss_flags = SS_DISABLE};

	current = NULL;
	emulate_stub_forget((uint64_t)m->code, MACHINE_CODE_SIZE);
	sigaltstack(&stack, NULL);
	munmap(m->alternate_stack, ALTERNATE_STACK_SIZE);
	munmap(m->code, MACHINE_CODE_SIZE + sizeof(struct machine_shared));
	free(m);
}

uint64_t machine_seed(void)
{
	const char *text = getenv("KETCH_TEST_SEED");
	uint64_t seed;

	if (text)
		seed = strtoull(text, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = 1;
	print_message("KETCH_TEST_SEED=0x%" PRIx64 "\n", seed);
	return seed;
}

uint64_t machine_random(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15u;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return z ^ z >> 31;
}
