/* SPDX-License-Identifier: MIT */
/*
 * inline_test: the code that include/km puts into drivers: lists, IRP and MDL helpers, interlocked
 * operations, bits, checked integers, bounded strings. Runs as an ordinary program; what the kernel
 * exports is defined here.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <cmocka.h>
#include <ntifs.h>
#include <ntintsafe.h>
#include <ntstrsafe.h>

/* Microsoft's contract: -1 when the text does not fit; no terminator when it fits exactly. */
int CDECL _vsnprintf(char *to, size_t n, const char *format, km_va_list list)
{
	char text[256];
	int length = 0;
	for (; *format; format++) {
		if (*format != '%')
			text[length++] = *format;
		else if (*++format == 'd')
			length += sprintf(text + length, "%d", __builtin_va_arg(list, int));
		else if (*format == 's')
			length += sprintf(text + length, "%s", __builtin_va_arg(list, char *));
	}
	memcpy(to, text, (size_t)length < n ? (size_t)length + 1 : n);
	if ((size_t)length < n)
		to[length] = 0;
	return (size_t)length > n ? -1 : length;
}

int CDECL _vsnwprintf(wchar_t *to, size_t n, const wchar_t *format, km_va_list list)
{
	size_t length = 0;
	for (; *format; format++) {
		WCHAR character = *format;
		if (character == L'%') {
			format++;
			character = (WCHAR)(L'0' + __builtin_va_arg(list, int));
		}
		if (length < n)
			to[length] = character;
		length++;
	}
	if (length < n)
		to[length] = 0;
	return length > n ? -1 : (int)length;
}

static KEVENT *initialized_event;
VOID NTAPI KeInitializeEvent(PRKEVENT Event, EVENT_TYPE Type, BOOLEAN State)
{
	assert_int_equal(Type, SynchronizationEvent);
	assert_int_equal(State, FALSE);
	initialized_event = Event;
}

static struct {
	PMDL mdl;
	ULONG priority, bug_check;
	MEMORY_CACHING_TYPE caching;
} mapped;
PVOID NTAPI MmMapLockedPagesSpecifyCache(PMDL Mdl, KPROCESSOR_MODE Mode, MEMORY_CACHING_TYPE Cache,
					 PVOID Requested, ULONG BugCheckOnFailure, ULONG Priority)
{
	assert_int_equal(Mode, KernelMode);
	assert_null(Requested);
	mapped.mdl = Mdl;
	mapped.caching = Cache;
	mapped.bug_check = BugCheckOnFailure;
	mapped.priority = Priority;
	return (PVOID)0x1234000;
}

static void lists(void **state)
{
	(void)state;
	LIST_ENTRY head, a, b, c, other, d;
	InitializeListHead(&head);
	assert_true(IsListEmpty(&head));
	InsertTailList(&head, &b);
	InsertTailList(&head, &c);
	InsertHeadList(&head, &a);
	assert_false(IsListEmpty(&head));
	assert_false(RemoveEntryList(&b));
	assert_ptr_equal(a.Flink, &c);
	assert_ptr_equal(c.Blink, &a);
	InitializeListHead(&other);
	InsertTailList(&other, &d);
	RemoveEntryList(&other);
	AppendTailList(&head, &d); /* appends a list without a head */
	assert_ptr_equal(RemoveTailList(&head), &d);
	assert_ptr_equal(RemoveHeadList(&head), &a);
	assert_true(RemoveEntryList(&c));
	assert_true(IsListEmpty(&head));

	SINGLE_LIST_ENTRY top = {NULL}, one, two;
	PushEntryList(&top, &one);
	PushEntryList(&top, &two);
	assert_ptr_equal(PopEntryList(&top), &two);
	assert_ptr_equal(PopEntryList(&top), &one);
	assert_null(PopEntryList(&top));
}

static sigjmp_buf escape;
static volatile uint64_t fast_fail_code;
static void on_fault(int signal, siginfo_t *info, void *context)
{
	ucontext_t *frame = context;
	(void)signal;
	(void)info;
	fast_fail_code = (uint32_t)frame->uc_mcontext.gregs[REG_RCX];
	siglongjmp(escape, 1);
}

/* DEF-328: a corrupt list ends in int 29h with 3 in ECX. */
static void corrupt_list_fails_fast(void **state)
{
	(void)state;
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, old;
	LIST_ENTRY head, a, b;
	volatile int routine;
	sigaction(SIGSEGV, &action, &old);
	for (routine = 0; routine < 4; routine++) {
		fast_fail_code = 0;
		InitializeListHead(&head);
		InsertTailList(&head, &a);
		if (sigsetjmp(escape, 1) == 0) {
			if (routine == 0) {
				head.Blink = &b;
				b.Flink = &b;
				InsertTailList(&head, &b);
			} else if (routine == 1) {
				a.Blink = &b;
				InsertHeadList(&head, &b);
			} else if (routine == 2) {
				head.Blink = &b;
				RemoveEntryList(&a);
			} else {
				a.Blink = &b;
				b.Flink = &b;
				RemoveHeadList(&head);
			}
			fast_fail_code = 99;
		}
		assert_int_equal(fast_fail_code, 3);
	}
	sigaction(SIGSEGV, &old, NULL);
}

/* DEF-158, DEF-250..252 */
static void irp_stack(void **state)
{
	(void)state;
	struct {
		IRP irp;
		IO_STACK_LOCATION stack[2];
	} packet = {.irp = {.StackCount = 2, .CurrentLocation = 2}};
	PIRP irp = &packet.irp;
	irp->Tail.Overlay.CurrentStackLocation = &packet.stack[1];
	assert_int_equal(IoSizeOfIrp(2), sizeof(packet));
	assert_ptr_equal(IoGetCurrentIrpStackLocation(irp), &packet.stack[1]);
	assert_ptr_equal(IoGetNextIrpStackLocation(irp), &packet.stack[0]);
	IoMarkIrpPending(irp);
	assert_int_equal(packet.stack[1].Control, 1);
	packet.stack[1].MajorFunction = IRP_MJ_READ;
	packet.stack[1].Parameters.Read.Length = 77;
	packet.stack[1].FileObject = (PFILE_OBJECT)0x7000;
	packet.stack[1].Context = (PVOID)0x8000;
	IoCopyCurrentIrpStackLocationToNext(irp);
	assert_int_equal(packet.stack[0].MajorFunction, IRP_MJ_READ);
	assert_int_equal(packet.stack[0].Parameters.Read.Length, 77);
	assert_ptr_equal(packet.stack[0].FileObject, (PVOID)0x7000);
	assert_null(packet.stack[0].Context);
	assert_int_equal(packet.stack[0].Control, 0);
	IoSetCompletionRoutine(irp, (PIO_COMPLETION_ROUTINE)0x9000, (PVOID)0xa000, TRUE, FALSE,
			       TRUE);
	assert_int_equal(packet.stack[0].Control, 0x60);
	assert_ptr_equal((PVOID)(ULONG_PTR)packet.stack[0].CompletionRoutine, (PVOID)0x9000);
	assert_ptr_equal(packet.stack[0].Context, (PVOID)0xa000);
	IoSetCompletionRoutine(irp, NULL, NULL, FALSE, TRUE, FALSE);
	assert_int_equal(packet.stack[0].Control, 0x80);
	IoSetNextIrpStackLocation(irp);
	assert_int_equal(irp->CurrentLocation, 1);
	assert_ptr_equal(IoGetCurrentIrpStackLocation(irp), &packet.stack[0]);
	IoSkipCurrentIrpStackLocation(irp);
	assert_int_equal(irp->CurrentLocation, 2);
	assert_ptr_equal((PVOID)(ULONG_PTR)IoSetCancelRoutine(irp, (PDRIVER_CANCEL)0xb000), NULL);
	assert_ptr_equal((PVOID)(ULONG_PTR)IoSetCancelRoutine(irp, NULL), (PVOID)0xb000);
}

/* PLT-50, PLT-51, DEF-272 */
static void mdl_macros(void **state)
{
	(void)state;
	MDL mdl;
	memset(&mdl, 0xaa, sizeof(mdl));
	MmInitializeMdl(&mdl, (PVOID)0x5ffc, 0x2005);
	assert_int_equal(mdl.Size, 0x30 + 8 * 4);
	assert_ptr_equal(mdl.StartVa, (PVOID)0x5000);
	assert_int_equal(MmGetMdlByteOffset(&mdl), 0xffc);
	assert_int_equal(MmGetMdlByteCount(&mdl), 0x2005);
	assert_ptr_equal(MmGetMdlVirtualAddress(&mdl), (PVOID)0x5ffc);
	assert_ptr_equal(MmGetMdlPfnArray(&mdl), (char *)&mdl + 0x30);
	assert_int_equal(ADDRESS_AND_SIZE_TO_SPAN_PAGES((PVOID)0x1000, 0), 0);
	assert_int_equal(ADDRESS_AND_SIZE_TO_SPAN_PAGES((PVOID)0x1fff, 1), 1);
	assert_int_equal(ADDRESS_AND_SIZE_TO_SPAN_PAGES((PVOID)0x1fff, 2), 2);
	assert_int_equal(BYTES_TO_PAGES(0x1001u), 2);

	mdl.MappedSystemVa = (PVOID)0x6ffc;
	mdl.MdlFlags = MDL_SOURCE_IS_NONPAGED_POOL;
	assert_ptr_equal(MmGetSystemAddressForMdlSafe(&mdl, NormalPagePriority), (PVOID)0x6ffc);
	mdl.MdlFlags = MDL_MAPPED_TO_SYSTEM_VA | MDL_PAGES_LOCKED;
	assert_ptr_equal(MmGetSystemAddressForMdlSafe(&mdl, NormalPagePriority), (PVOID)0x6ffc);
	assert_null(mapped.mdl);
	mdl.MdlFlags = MDL_PAGES_LOCKED;
	assert_ptr_equal(MmGetSystemAddressForMdlSafe(&mdl, HighPagePriority), (PVOID)0x1234000);
	assert_ptr_equal(mapped.mdl, &mdl);
	assert_int_equal(mapped.caching, MmCached);
	assert_int_equal(mapped.bug_check, FALSE);
	assert_int_equal(mapped.priority, 32);
}

/* PLT-80, DEF-295, DEF-129 */
static void initializers(void **state)
{
	(void)state;
	FAST_MUTEX mutex;
	memset(&mutex, 0xaa, sizeof(mutex));
	ExInitializeFastMutex(&mutex);
	assert_int_equal(mutex.Count, 1);
	assert_null(mutex.Owner);
	assert_int_equal(mutex.Contention, 0);
	assert_ptr_equal(initialized_event, &mutex.Event);
	WORK_QUEUE_ITEM item;
	memset(&item, 0xaa, sizeof(item));
	ExInitializeWorkItem(&item, (PWORKER_THREAD_ROUTINE)0x7000, (PVOID)0x8000);
	assert_null(item.List.Flink);
	assert_ptr_equal(item.Parameter, (PVOID)0x8000);
	OBJECT_ATTRIBUTES attributes;
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Callback\\ProcessorAdd");
	InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE, NULL, NULL);
	assert_int_equal(attributes.Length, 0x30);
	assert_int_equal(attributes.Attributes, 0x200);
	assert_int_equal(name.Length, 44);
	assert_int_equal(name.MaximumLength, 46);
	DECLARE_CONST_UNICODE_STRING(device, L"\\Device\\X");
	assert_int_equal(device.Length, 18);
	assert_int_equal(device.Buffer[8], L'X');
}

static void interlocked(void **state)
{
	(void)state;
	LONG bits[2] = {0, 0};
	volatile LONG n = 5;
	volatile LONG64 wide = 1;
	PVOID pointer = bits;
	assert_int_equal(InterlockedIncrement(&n), 6);
	assert_int_equal(_InterlockedDecrement(&n), 5);
	assert_int_equal(InterlockedExchange(&n, 9), 5);
	assert_int_equal(InterlockedExchangeAdd(&n, 2), 9);
	assert_int_equal(InterlockedAdd(&n, 2), 13);
	assert_int_equal(InterlockedCompareExchange(&n, 1, 12), 13);
	assert_int_equal(n, 13);
	assert_int_equal(InterlockedCompareExchange(&n, 1, 13), 13);
	assert_int_equal(n, 1);
	assert_int_equal(InterlockedOr(&n, 6), 1);
	assert_int_equal(InterlockedAnd(&n, 3), 7);
	assert_int_equal(InterlockedXor(&n, 1), 3);
	assert_int_equal(n, 2);
	assert_int_equal(InterlockedIncrement64(&wide), 2);
	assert_ptr_equal(InterlockedExchangePointer(&pointer, NULL), bits);
	assert_null(InterlockedCompareExchangePointer(&pointer, state, NULL));
	assert_ptr_equal(pointer, state);
	assert_false(InterlockedBitTestAndSet(bits, 33));
	assert_int_equal(bits[1], 2);
	assert_true(InterlockedBitTestAndReset(bits, 33));
	assert_int_equal(bits[1], 0);
	_Alignas(16) LONG64 pair[2] = {1, 2};
	LONG64 expected[2] = {1, 3};
	assert_false(InterlockedCompareExchange128(pair, 8, 9, expected));
	assert_int_equal(expected[1], 2);
	assert_true(InterlockedCompareExchange128(pair, 8, 9, expected));
	assert_int_equal(pair[0], 9);
	assert_int_equal(pair[1], 8);
}

static void bits_and_time(void **state)
{
	(void)state;
	ULONG index = 7;
	ULONG64 high;
	int registers[4];
	assert_false(_BitScanForward(&index, 0));
	assert_int_equal(index, 7);
	assert_true(_BitScanForward(&index, 0x18) && index == 3);
	assert_true(_BitScanReverse(&index, 0x18) && index == 4);
	assert_true(_BitScanReverse64(&index, 1ULL << 63) && index == 63);
	assert_false(_BitScanForward(&index, 1ULL << 40)); /* 32 bits only */
	assert_true(_rotl(0x80000001u, 1) == 3 && _rotr(3, 1) == 0x80000001u && _rotl(5, 0) == 5);
	assert_true(_rotl64(1ULL << 63, 1) == 1);
	assert_int_equal(__popcnt64(0xf0f0), 8);
	assert_int_equal(RtlUshortByteSwap(0x1234), 0x3412);
	assert_int_equal(RtlUlongByteSwap(0x12345678), 0x78563412);
	assert_true(_umul128(1ULL << 63, 4, &high) == 0 && high == 2);
	ULONG64 before = __rdtsc();
	assert_true(__rdtsc() >= before);
	__cpuid(registers, 0);
	assert_true(registers[0] > 0);
	assert_true(__readeflags() & 2); /* a bit that is always set */
}

static void checked_integers(void **state)
{
	(void)state;
	ULONG n;
	SIZE_T size;
	LONG sum;
	UCHAR byte;
	assert_int_equal(RtlULongAdd(0xfffffffe, 1, &n), STATUS_SUCCESS);
	assert_int_equal(n, 0xffffffff);
	assert_int_equal(RtlULongAdd(0xffffffff, 1, &n), STATUS_INTEGER_OVERFLOW);
	assert_int_equal(n, 0xffffffff);
	assert_int_equal(RtlULongSub(1, 2, &n), STATUS_INTEGER_OVERFLOW);
	assert_int_equal(RtlSizeTMult(1ULL << 33, 1ULL << 31, &size), STATUS_INTEGER_OVERFLOW);
	assert_int_equal(RtlSizeTMult(3, 5, &size), STATUS_SUCCESS);
	assert_int_equal(size, 15);
	assert_int_equal(RtlLongAdd(MAXLONG, 1, &sum), STATUS_INTEGER_OVERFLOW);
	assert_int_equal(RtlULongToUChar(256, &byte), STATUS_INTEGER_OVERFLOW);
	assert_int_equal(RtlULongToUChar(255, &byte), STATUS_SUCCESS);
	assert_int_equal(byte, 255);
	assert_int_equal(RtlLongLongToULong(-1, &n), STATUS_INTEGER_OVERFLOW);
	assert_int_equal(RtlULongLongToULong(1ULL << 32, &n), STATUS_INTEGER_OVERFLOW);
}

/* DEF-312 */
static void bounded_strings(void **state)
{
	(void)state;
	CHAR text[8];
	WCHAR wide[4];
	size_t n;
	SIZE_T length, left;
	CHAR *end;
	assert_int_equal(RtlStringCbCopyA(text, sizeof(text), "1234567"), STATUS_SUCCESS);
	assert_int_equal(RtlStringCbCopyA(text, sizeof(text), "12345678"), STATUS_BUFFER_OVERFLOW);
	assert_string_equal(text, "1234567");
	assert_int_equal(RtlStringCbCopyA(text, 0, "1"), STATUS_INVALID_PARAMETER);
	assert_int_equal(RtlStringCchCopyNA(text, 8, "abcdef", 3), STATUS_SUCCESS);
	assert_string_equal(text, "abc");
	assert_int_equal(RtlStringCchCatA(text, 8, "defg"), STATUS_SUCCESS);
	assert_string_equal(text, "abcdefg");
	assert_int_equal(RtlStringCchCatA(text, 8, "h"), STATUS_BUFFER_OVERFLOW);
	assert_int_equal(RtlStringCbLengthA("abc", 3, &length), STATUS_INVALID_PARAMETER);
	assert_int_equal(length, 0);
	assert_int_equal(RtlStringCbLengthA("abc", 4, &length), STATUS_SUCCESS);
	assert_int_equal(length, 3);
	assert_int_equal(RtlStringCbPrintfA(text, sizeof(text), "%d%s", 123, "4567"),
			 STATUS_SUCCESS);
	assert_string_equal(text, "1234567");
	assert_int_equal(RtlStringCbPrintfA(text, sizeof(text), "%d%s", 123, "45678"),
			 STATUS_BUFFER_OVERFLOW);
	assert_string_equal(text, "1234567");
	memset(text, '~', sizeof(text));
	assert_int_equal(RtlStringCbPrintfExA(text, sizeof(text), &end, &left,
					      STRSAFE_FILL_BEHIND_NULL | 0x2e, "%d", 42),
			 STATUS_SUCCESS);
	assert_ptr_equal(end, text + 2);
	assert_int_equal(left, 6);
	assert_memory_equal(text, "42\0.....", 8);
	assert_int_equal(
		RtlStringCchCopyExA(text, 4, "12345", &end, &left, STRSAFE_NULL_ON_FAILURE),
		STATUS_BUFFER_OVERFLOW);
	assert_int_equal(text[0], 0);
	assert_int_equal(left, 4);
	/* Cb forms count bytes of 16-bit characters */
	for (n = 0; n < 4; n++)
		wide[n] = 0x7777;
	assert_int_equal(RtlStringCbCopyW(wide, 5, L"abc"), STATUS_BUFFER_OVERFLOW);
	assert_memory_equal(wide, L"a", 4);
	assert_int_equal(wide[2], 0x7777);
	assert_int_equal(RtlStringCchPrintfW(wide, 4, L"a%db", 7), STATUS_SUCCESS);
	assert_memory_equal(wide, L"a7b", 8);
	assert_int_equal(RtlStringCchPrintfW(wide, 3, L"a%db", 7), STATUS_BUFFER_OVERFLOW);
	assert_memory_equal(wide, L"a7", 6);
}

static void counted_strings(void **state)
{
	(void)state;
	DECLARE_UNICODE_STRING_SIZE(to, 4);
	UNICODE_STRING from = RTL_CONSTANT_STRING(L"xyz");
	assert_int_equal(RtlUnicodeStringCopy(&to, &from), STATUS_SUCCESS);
	assert_int_equal(to.Length, 6);
	assert_int_equal(RtlUnicodeStringCatString(&to, L"12"), STATUS_BUFFER_OVERFLOW);
	assert_int_equal(to.Length, 8);
	assert_memory_equal(to.Buffer, L"xyz1", 8);
	assert_int_equal(RtlUnicodeStringPrintf(&to, L"%d%d", 4, 2), STATUS_SUCCESS);
	assert_int_equal(to.Length, 4);
	to.Length = 3;
	assert_int_equal(RtlUnicodeStringCopy(&to, &from), STATUS_INVALID_PARAMETER);
	RtlInitEmptyUnicodeString(&to, to.Buffer, 8);
	assert_int_equal(to.Length, 0);
	assert_int_equal(to.MaximumLength, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),           cmocka_unit_test(corrupt_list_fails_fast),
		cmocka_unit_test(irp_stack),       cmocka_unit_test(mdl_macros),
		cmocka_unit_test(initializers),    cmocka_unit_test(interlocked),
		cmocka_unit_test(bits_and_time),   cmocka_unit_test(checked_integers),
		cmocka_unit_test(bounded_strings), cmocka_unit_test(counted_strings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
