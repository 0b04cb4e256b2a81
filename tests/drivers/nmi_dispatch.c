/* SPDX-License-Identifier: MIT */
/* NMI callbacks as the documents have them: order, the flag, contexts, IRQL, coalescing, what the
 * interrupted code keeps. */
#include "check.h"
#include <ntaffinity.h>

typedef struct {
	ULONG id;
	ULONG_PTR answer; /* what the callback returns, all of RAX */
	BOOLEAN handled;  /* what it got */
	KIRQL irql;
	LONG calls;
} ENTRY;

static ENTRY entries[4];
static volatile LONG order[16], order_count;
static volatile LONG flood; /* NMIs that the callback sends to its own processor */
static volatile LONG calls;

/* Returns a whole register although BOOLEAN is AL: the upper bits are garbage on purpose (NMI-3).
 */
static ULONG_PTR NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	ENTRY *entry = context;
	entry->handled = handled;
	entry->irql = KeGetCurrentIrql();
	InterlockedIncrement(&entry->calls);
	InterlockedIncrement(&calls);
	LONG at = InterlockedIncrement(&order_count) - 1;
	if (at < (LONG)RTL_NUMBER_OF(order))
		order[at] = (LONG)entry->id;
	if (flood) {
		KAFFINITY_EX self;
		LONG n;
		KeInitializeAffinityEx(&self);
		KeAddProcessorAffinityEx(&self, KeGetCurrentProcessorNumberEx(NULL));
		n = flood;
		flood = 0;
		while (n--)
			HalSendNMI(&self);
	}
	return entry->answer;
}

static PVOID add(ULONG id, ULONG_PTR answer)
{
	entries[id].id = id;
	entries[id].answer = answer;
	return KeRegisterNmiCallback((PNMI_CALLBACK)(PVOID)on_nmi, &entries[id]);
}

static void send(ULONG processor)
{
	KAFFINITY_EX set;
	KeInitializeAffinityEx(&set);
	KeAddProcessorAffinityEx(&set, processor);
	order_count = 0;
	HalSendNMI(&set);
}

static void send_self(void)
{
	send(KeGetCurrentProcessorNumberEx(NULL));
}

static void test_order(void)
{
	PVOID a = add(1, 0xffffffffffffff00ull | 1), b = add(2, 0xdeadbeef00ull),
	      c = add(3, 0x1234560080ull);
	CHECK(a && b && c && a != b && b != c, "NMI-5 handles are not NULL and differ");
	send_self();
	CHECK(order_count == 3 && order[0] == 3 && order[1] == 2 && order[2] == 1,
	      "NMI-20 the last one registered is called first");
	CHECK(entries[3].handled == FALSE, "NMI-21 the first one called gets FALSE");
	CHECK(entries[2].handled == TRUE,
	      "NMI-3 AL of 0x80 with garbage above it counts as handled, and is passed on as 1");
	CHECK(entries[1].handled == TRUE,
	      "NMI-22 the flag stays TRUE after one that returned FALSE");
	CHECK(entries[1].irql == HIGH_LEVEL, "NMI-31 the callback runs at HIGH_LEVEL");
	entries[3].answer = 0xabcdef00; /* AL is 0 */
	send_self();
	CHECK(order_count == 3, "NMI-20 all are called although one handled it");
	CHECK(entries[2].handled == FALSE && entries[1].handled == FALSE,
	      "NMI-23 the flag starts afresh for each NMI");
	CHECK(KeDeregisterNmiCallback(b) == STATUS_SUCCESS, "NMI-11 a live handle is removed");
	send_self();
	CHECK(order_count == 2 && order[0] == 3 && order[1] == 1,
	      "NMI-14 the order of the others is unchanged");
	CHECK(KeDeregisterNmiCallback(a) == STATUS_SUCCESS, "NMI-11 and another");
	entries[3].answer = 1;
	send_self();
	CHECK(order_count == 1, "NMI-13 a deregistered callback is not called");
	CHECK(KeDeregisterNmiCallback(c) == STATUS_SUCCESS, "NMI-11 and the last");
}

static void test_twice(void)
{
	PVOID first = add(1, 1),
	      second = KeRegisterNmiCallback((PNMI_CALLBACK)(PVOID)on_nmi, &entries[1]);
	LONG before = entries[1].calls;
	send_self();
	CHECK(first != second && entries[1].calls == before + 2,
	      "NMI-7 the same routine twice is called twice");
	KeDeregisterNmiCallback(first);
	before = entries[1].calls;
	send_self();
	CHECK(entries[1].calls == before + 1, "NMI-7 and once when one is gone");
	KeDeregisterNmiCallback(second);
}

static void test_irql(void)
{
	static const KIRQL levels[] = {PASSIVE_LEVEL, APC_LEVEL, DISPATCH_LEVEL, 13, HIGH_LEVEL};
	PVOID handle = add(1, 1);
	ULONG i;
	for (i = 0; i < RTL_NUMBER_OF(levels); i++) {
		KIRQL old, inside;
		LONG before;
		KeRaiseIrql(levels[i], &old);
		before = entries[1].calls;
		send_self();
		inside = KeGetCurrentIrql();
		LONG after = entries[1].calls;
		KeLowerIrql(old);
		CHECK(after == before + 1, "NMI-37 an NMI comes at any IRQL");
		CHECK(entries[1].irql == HIGH_LEVEL && inside == levels[i],
		      "NMI-31 HIGH_LEVEL inside, the interrupted IRQL after");
	}
	KeDeregisterNmiCallback(handle);
}

static void test_coalescing(void)
{
	PVOID handle = add(1, 1);
	LONG before = entries[1].calls;
	flood = 5;
	send_self();
	CHECK(entries[1].calls == before + 2,
	      "NMI-38 five NMIs during a callback make exactly one more dispatch");
	KeDeregisterNmiCallback(handle);
}

static void test_counts(void)
{
	PVOID handle = add(1, 1);
	ULONG processors = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), round, i;
	BOOLEAN exact = TRUE;
	KAFFINITY_EX all;
	KeInitializeAffinityEx(&all);
	for (i = 0; i < processors; i++)
		KeAddProcessorAffinityEx(&all, i);
	calls = 0;
	for (round = 1; round <= 300; round++) {
		ULONG tries;
		HalSendNMI(&all);
		for (tries = 0; calls != (LONG)(round * processors) && tries < 2000; tries++)
			check_sleep(1);
		exact = exact && calls == (LONG)(round * processors);
	}
	CHECK(exact, "DEF-12 one call for each addressed processor in each of 300 rounds");
	KeInitializeAffinityEx(&all);
	calls = 0;
	HalSendNMI(&all);
	check_sleep(2);
	CHECK(calls == 0, "DEF-10 an empty set sends nothing");
	all.Count = 1;
	all.Bitmap[0] = 1;
	all.Bitmap[1] = all.Bitmap[2] = ~0ull;
	HalSendNMI(&all);
	check_sleep(2);
	CHECK(calls == 1, "DEF-10 only Count masks are read");
	KeDeregisterNmiCallback(handle);
}

static void test_names(void)
{
	UNICODE_STRING name;
	RtlInitUnicodeString(&name, L"HalSendNMI");
	CHECK(MmGetSystemRoutineAddress(&name) == (PVOID)HalSendNMI,
	      "DEF-7 HalSendNMI by name is the imported one");
	RtlInitUnicodeString(&name, L"KeRegisterNmiCallback");
	CHECK(MmGetSystemRoutineAddress(&name) == (PVOID)KeRegisterNmiCallback,
	      "NMI-1 KeRegisterNmiCallback resolves by name");
	RtlInitUnicodeString(&name, L"KeDeregisterNmiCallback");
	CHECK(MmGetSystemRoutineAddress(&name) == (PVOID)KeDeregisterNmiCallback,
	      "NMI-2 KeDeregisterNmiCallback resolves by name");
}

/* All registers that may hold something while NMIs hit this processor from another one. */
static volatile LONG stop_sender;

static VOID NTAPI sender(PVOID context)
{
	KeSetSystemAffinityThreadEx(2);
	while (!stop_sender)
		send((ULONG)(ULONG_PTR)context);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static BOOLEAN NTAPI on_nmi_clobber(PVOID context, BOOLEAN handled)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	InterlockedIncrement(&calls);
	__asm__ volatile("pxor %%xmm0, %%xmm0\n\tmovdqa %%xmm0, %%xmm1\n\tmovdqa %%xmm0, "
			 "%%xmm2\n\tmovdqa %%xmm0, %%xmm3\n\t"
			 "movdqa %%xmm0, %%xmm4\n\tmovdqa %%xmm0, %%xmm5\n\txorl %%eax, "
			 "%%eax\n\txorl %%ecx, %%ecx\n\t"
			 "xorl %%edx, %%edx\n\txorl %%r8d, %%r8d\n\txorl %%r9d, %%r9d\n\txorl "
			 "%%r10d, %%r10d\n\txorl %%r11d, %%r11d"
			 :
			 :
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "rax", "rcx", "rdx",
			   "r8", "r9", "r10", "r11");
	return TRUE;
}

/* A loop that checks that registers, XMM0 and flags hold what was put there; answers 0 when
 * something changed. */
static ULONG64 keep_registers(ULONG64 rounds)
{
	ULONG64 same = 1;
	static const ULONG64 pattern[2]
		__attribute__((aligned(16))) = {0x0123456789abcdefull, 0xfedcba9876543210ull};
	__asm__ volatile("movdqa (%[pattern]), %%xmm0\n\tmovdqa %%xmm0, %%xmm5\n\t"
			 "movq $0x1111, %%rax\n\tmovq $0x2222, %%rdx\n\tmovq $0x8888, %%r8\n\tmovq "
			 "$0x9999, %%r9\n\t"
			 "movq $0xaaaa, %%r10\n\tmovq $0xbbbb, %%r11\n"
			 "1:\tstc\n\tnop\n\tnop\n\tnop\n\tnop\n\tjnc 2f\n\t"
			 "cmpq $0x1111, %%rax\n\tjne 2f\n\tcmpq $0x2222, %%rdx\n\tjne 2f\n\tcmpq "
			 "$0x8888, %%r8\n\tjne 2f\n\t"
			 "cmpq $0x9999, %%r9\n\tjne 2f\n\tcmpq $0xaaaa, %%r10\n\tjne 2f\n\tcmpq "
			 "$0xbbbb, %%r11\n\tjne 2f\n\t"
			 "decq %[rounds]\n\tjnz 1b\n\t"
			 "pcmpeqb (%[pattern]), %%xmm0\n\tpcmpeqb (%[pattern]), %%xmm5\n\tpand "
			 "%%xmm5, %%xmm0\n\t"
			 "pmovmskb %%xmm0, %%eax\n\tcmpl $0xffff, %%eax\n\tjne 2f\n\tjmp 3f\n"
			 "2:\txorl %k[same], %k[same]\n"
			 "3:\n"
			 : [same] "+r"(same), [rounds] "+r"(rounds)
			 : [pattern] "r"(pattern)
			 : "rax", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm5", "cc", "memory");
	return same;
}

static void test_registers(void)
{
	PVOID handle = KeRegisterNmiCallback(on_nmi_clobber, NULL), thread;
	ULONG rounds = 0;
	ULONG64 same = 1;
	KeSetSystemAffinityThreadEx(1);
	calls = 0;
	stop_sender = 0;
	thread = check_thread(sender, (PVOID)0);
	while (calls < 200 && rounds++ < 400000)
		same &= keep_registers(20000);
	InterlockedExchange(&stop_sender, 1);
	check_join(thread);
	CHECK(calls >= 200, "NMI-42 NMIs hit the loop");
	CHECK(same, "NMI-42 registers, flags and XMM are as they were, NMI-43");
	KeRevertToUserAffinityThreadEx(0);
	KeDeregisterNmiCallback(handle);
}

/* Code that runs for a while with a stack pointer that points nowhere. */
static void spin_without_stack(ULONG64 rounds)
{
	__asm__ volatile(
		"movq %%rsp, %%r15\n\tmovq $0x10, %%rsp\n1:\tdecq %0\n\tjnz 1b\n\tmovq %%r15, %%rsp"
		: "+r"(rounds)
		:
		: "r15", "cc", "memory");
}

static void test_bad_stack(void)
{
	PVOID handle = KeRegisterNmiCallback(on_nmi_clobber, NULL), thread;
	ULONG rounds = 0;
	KIRQL old;
	KeSetSystemAffinityThreadEx(1);
	calls = 0;
	stop_sender = 0;
	thread = check_thread(sender, (PVOID)0);
	while (calls < 50 && rounds++ < 400000) {
		KeRaiseIrql(HIGH_LEVEL,
			    &old); /* nothing but an NMI may come while there is no stack */
		spin_without_stack(20000);
		KeLowerIrql(old);
	}
	InterlockedExchange(&stop_sender, 1);
	check_join(thread);
	CHECK(calls >= 50, "NMI-41 NMIs are dispatched although RSP is bad");
	KeRevertToUserAffinityThreadEx(0);
	KeDeregisterNmiCallback(handle);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	UNREFERENCED_PARAMETER(DriverObject);
	test_order();
	test_twice();
	test_irql();
	test_coalescing();
	test_counts();
	test_names();
	test_registers();
	test_bad_stack();
	return check_result();
}

DRIVER_INITIALIZE DriverEntry;
