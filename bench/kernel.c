/* SPDX-License-Identifier: MIT */
/* kernel.c: the machine's side of the benchmarks; every function runs in the control thread at
 * PASSIVE_LEVEL. */
#include "bench/bench.h"
#include "io/io.h"
#include "ke/internal.h"
#include "ldr/ldr.h"
#include "ps/ps.h"

static void *handles[64];
static unsigned handle_count;
static volatile uint64_t delivered;
static volatile uint64_t first_tick, last_tick;
static PKTHREAD spinner;
static volatile bool spin_stop, spinning;

static inline uint64_t ticks(void)
{
	return __builtin_ia32_rdtsc();
}

static BOOLEAN NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	(void)context;
	(void)handled;
	delivered++;
	return TRUE;
}

static BOOLEAN NTAPI on_nmi_empty(PVOID context, BOOLEAN handled)
{
	(void)context;
	return handled;
}

_Static_assert(BENCH_PLACES == 16 && BENCH_STRIDE == 4160, "as below");
__asm__(".pushsection .text; .balign 64; .globl bench_places; bench_places:; .rept 16;"
	"1: movl %edx, %eax; ret; .skip 4160 - (. - 1b); .endr; .popsection");

static BOOLEAN NTAPI on_nmi_first(PVOID context, BOOLEAN handled)
{
	(void)context;
	(void)handled;
	first_tick = ticks();
	return TRUE;
}

static BOOLEAN NTAPI on_nmi_last(PVOID context, BOOLEAN handled)
{
	(void)context;
	last_tick = ticks();
	return handled;
}

void kernel_callback_begin(void)
{
	handles[handle_count++] = KeRegisterNmiCallback(on_nmi, NULL);
}

/* 64, of which the first and the last look at the clock. */
static void callbacks_begin(unsigned place)
{
	PNMI_CALLBACK empty = (PNMI_CALLBACK)bench_place(place);
	handles[handle_count++] = KeRegisterNmiCallback(on_nmi_last, NULL);
	while (handle_count < 63)
		handles[handle_count++] = KeRegisterNmiCallback(empty, NULL);
	handles[handle_count++] = KeRegisterNmiCallback(on_nmi_first, NULL);
}

void kernel_callbacks_end(void)
{
	while (handle_count)
		KeDeregisterNmiCallback(handles[--handle_count]);
}

double kernel_nmi_self(unsigned count)
{
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL); /* stay on this processor */
	struct ke_processor *self = ke_this();
	uint64_t begin = port_time_ns();
	for (unsigned i = 0; i < count; i++)
		ke_nmi_send(self);
	double ns = (double)(port_time_ns() - begin) / count;
	ke_irql_lower(old);
	return ns;
}

static double dispatch(unsigned count)
{
	uint64_t sum = 0;
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	uint64_t begin_ns = port_time_ns(), begin = ticks();
	for (unsigned i = 0; i < count; i++) {
		ke_nmi_send(ke_this());
		sum += last_tick - first_tick;
	}
	double ns_per_tick = (double)(port_time_ns() - begin_ns) / (double)(ticks() - begin);
	ke_irql_lower(old);
	return (double)sum / count / 64 * ns_per_tick;
}

double kernel_nmi_callback(unsigned count)
{
	double best = 0;
	for (unsigned place = 0; place < BENCH_PLACES; place++) {
		callbacks_begin(place);
		double ns = dispatch(count / BENCH_PLACES);
		kernel_callbacks_end();
		if (!place || ns < best)
			best = ns;
	}
	return best;
}

/* A thread that keeps processor 1 busy. */
static void spin(void *unused)
{
	(void)unused;
	KeSetSystemAffinityThreadEx(2);
	spinning = true;
	while (!spin_stop)
		;
	spinning = false;
}

double kernel_nmi_cross(unsigned count)
{
	spin_stop = false;
	if (!NT_SUCCESS(ps_thread_create(NULL, spin, NULL, &spinner)))
		return -1;
	KeSetSystemAffinityThreadEx(1);
	LARGE_INTEGER millisecond = {.QuadPart = -10000};
	while (!spinning)
		KeDelayExecutionThread(KernelMode, FALSE, &millisecond);
	uint64_t until = port_time_ns() + BENCH_BATCH_NS;
	for (unsigned i = 0; i < count && port_time_ns() < until; i++) {
		uint64_t before = delivered, begin = port_time_ns();
		ke_nmi_send(ke_processors[1]);
		while (delivered == before)
			__builtin_ia32_pause();
		bench_record(port_time_ns() - begin);
		while (atomic_load(&ke_processors[1]->nmi_sequence) & 1)
			__builtin_ia32_pause();
	}
	spin_stop = true;
	KeWaitForSingleObject(spinner, Executive, KernelMode, FALSE, NULL);
	ObDereferenceObject(spinner);
	KeRevertToUserAffinityThreadEx(0);
	return 0;
}

double kernel_register_deregister(unsigned count)
{
	uint64_t begin = port_time_ns();
	for (unsigned i = 0; i < count; i++)
		KeDeregisterNmiCallback(KeRegisterNmiCallback(on_nmi_empty, NULL));
	return (double)(port_time_ns() - begin) / count;
}

/* ---- Processors 1 to 3 dispatch without pause ---- */

static volatile bool dispatch_stop;

static BOOLEAN NTAPI on_nmi_hold(PVOID context, BOOLEAN handled)
{
	(void)context;
	(void)handled;
	uint64_t until = port_time_ns() + BENCH_HOLD_NS;
	while (port_time_ns() < until)
		;
	if (!dispatch_stop)
		ke_nmi_send(ke_this()); /* latched: the next dispatch begins when this one ends */
	return TRUE;
}

void kernel_dispatchers_begin(void)
{
	dispatch_stop = false;
	handles[handle_count++] = KeRegisterNmiCallback(on_nmi_hold, NULL);
	KeSetSystemAffinityThreadEx(1);
	for (uint32_t i = 1; i < 4; i++)
		ke_nmi_send(ke_processors[i]);
}

void kernel_dispatchers_end(void)
{
	LARGE_INTEGER millisecond = {.QuadPart = -10000};
	dispatch_stop = true;
	for (int rounds = 0; rounds < 20; rounds++)
		KeDelayExecutionThread(KernelMode, FALSE, &millisecond);
	kernel_callbacks_end();
	KeRevertToUserAffinityThreadEx(0);
}

double kernel_deregister_busy(unsigned count)
{
	uint64_t until = port_time_ns() + BENCH_BATCH_NS;
	LARGE_INTEGER millisecond = {.QuadPart = -10000};
	for (unsigned i = 0; i < count && port_time_ns() < until; i++) {
		/* Let the others get into their dispatches: one that is asked for right behind
		 * another finds them outside. */
		KeDelayExecutionThread(KernelMode, FALSE, &millisecond);
		PVOID handle = KeRegisterNmiCallback(on_nmi_empty, NULL);
		uint64_t begin = port_time_ns();
		KeDeregisterNmiCallback(handle);
		bench_record(port_time_ns() - begin);
	}
	return 0;
}

double kernel_irql(unsigned count)
{
	KIRQL(NTAPI *volatile raise)(KIRQL) = KfRaiseIrql;
	VOID(NTAPI *volatile lower)(KIRQL) = KeLowerIrql;
	uint64_t begin = port_time_ns();
	for (unsigned i = 0; i < count; i++)
		lower(raise(DISPATCH_LEVEL));
	return (double)(port_time_ns() - begin) / count;
}

/* ---- Drivers ---- */

static struct ldr_request driver;

void kernel_driver_set(const char *name, const void *file, size_t size)
{
	driver = (struct ldr_request){.name = name, .file = file, .size = size};
}

double kernel_load_unload(unsigned count)
{
	uint64_t begin = port_time_ns();
	for (unsigned i = 0; i < count; i++) {
		struct ldr_image *image;
		if (!NT_SUCCESS(ldr_image_load(&driver, &image)) ||
		    !NT_SUCCESS(io_driver_start(image)) || !NT_SUCCESS(io_driver_unload(image)))
			return -1;
	}
	return (double)(port_time_ns() - begin) / count;
}

/* ---- Commands ---- */

struct batch_command {
	struct ke_command command;
	double (*batch)(unsigned count);
	void (*call)(void);
	unsigned count;
	double result;
};

static void run(struct ke_command *command)
{
	struct batch_command *b = CONTAINING_RECORD(command, struct batch_command, command);
	if (b->call)
		b->call();
	else
		b->result = b->batch(b->count);
}

double bench_in_kernel(double (*batch)(unsigned count), unsigned count)
{
	struct batch_command b = {.command.run = run, .batch = batch, .count = count};
	ke_command_post(KE_COMMANDS_CONTROL, &b.command);
	while (!atomic_load(&b.command.done))
		port_host_wait(&b.command.done, 0, 1000000);
	return b.result;
}

void bench_call_kernel(void (*call)(void))
{
	struct batch_command b = {.command.run = run, .call = call};
	ke_command_post(KE_COMMANDS_CONTROL, &b.command);
	while (!atomic_load(&b.command.done))
		port_host_wait(&b.command.done, 0, 1000000);
}
