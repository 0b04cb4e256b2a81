/* SPDX-License-Identifier: MIT */
/*
 * window.c: kernel code in a user process's context: its memory at its own addresses (DEF-33), bad
 * pointers, probes (PLT-52, DEF-314), MDLs (PLT-52, PLT-53), other threads and other processes. The
 * program is window_program.c. -DWRONG=n: what a driver must not do.
 */
#include "check.h"
#include <nttrap.h>
#include <ntstrsafe.h>
#include "window_user.h"

#ifndef WRONG
#define WRONG 0
#endif

static PVOID Handle;
static PEPROCESS Attached; /* WINDOW_ATTACH */
static struct window_request *AttachedTo;
static KEVENT AttachReady, AttachDone;
static PVOID AttachThread;
static PMDL Kept; /* WINDOW_KEEP */
static UCHAR *KeptAt;

static void Expect(struct window_request *Request, BOOLEAN Condition, const char *What)
{
	if (Condition)
		return;
	DbgPrint("FAIL %s\n", What);
	Request->errors++;
}

/* ---- Plain access ---- */

/* Stores of all sizes, across pages, in loops and by string instructions. */
static void Pattern(struct window_request *Request)
{
	UCHAR *Buffer = (UCHAR *)Request->buffer;
	BOOLEAN Good = TRUE;
	for (ULONG i = 0; i < WINDOW_BUFFER; i++) {
		Good = Good && Buffer[i] == (UCHAR)(i * 7);
		if (i % 5)
			Buffer[i] = (UCHAR)(i * 11);
	}
	Expect(Request, Good, "DEF-33 the program's bytes are read");
	/* Read again through other instructions, before they are written back. */
	UCHAR *Copy = ExAllocatePool2(POOL_FLAG_NON_PAGED, WINDOW_BUFFER, 'dniW');
	RtlCopyMemory(Copy, Buffer, WINDOW_BUFFER);
	Good = TRUE;
	for (ULONG i = 0; i < WINDOW_BUFFER; i++)
		Good = Good && Copy[i] == (UCHAR)(i % 5 ? i * 11 : i * 7);
	Expect(Request, Good, "DEF-33 what was written is read");
	volatile ULONG64 *Across = (volatile ULONG64 *)(Buffer + 4093);
	ULONG64 Word = *Across;
	*Across = ~Word;
	*Across = Word; /* no change in the end */
	__movsb(Buffer + 1, Copy + 1, WINDOW_BUFFER - 1);
	InterlockedExchangeAdd((volatile LONG *)(Buffer + 8 - (ULONG_PTR)Buffer % 4), 0);
	Expect(Request, RtlCompareMemory(Copy, Buffer, WINDOW_BUFFER) == WINDOW_BUFFER,
	       "DEF-33 after string instructions");
	ExFreePool(Copy);
}

static ULONG_PTR CaughtAt, CaughtAccess;

static int Filter(EXCEPTION_POINTERS *Pointers)
{
	EXCEPTION_RECORD *Record = Pointers->ExceptionRecord;
	CaughtAccess = Record->NumberParameters >= 2 ? Record->ExceptionInformation[0] : 99;
	CaughtAt = Record->NumberParameters >= 2 ? Record->ExceptionInformation[1] : 0;
	return EXCEPTION_EXECUTE_HANDLER;
}

/* Compilers expect exceptions only of calls. */
static DECLSPEC_NOINLINE UCHAR Access(volatile UCHAR *Address, BOOLEAN Write)
{
	return Write ? (*Address = 5) : *Address;
}

static NTSTATUS Touch(ULONG64 Address, BOOLEAN Write)
{
	CaughtAt = 0;
	__try {
		Access((volatile UCHAR *)Address, Write);
	} __except (Filter(GetExceptionInformation())) {
		return GetExceptionCode();
	}
	return STATUS_SUCCESS;
}

static void Pointers(struct window_request *Request)
{
	static const struct {
		int bad;
		BOOLEAN write, good;
	} Cases[] = {{0, FALSE, FALSE}, {0, TRUE, FALSE}, {1, FALSE, FALSE},
		     {1, TRUE, FALSE},  {2, FALSE, TRUE}, {2, TRUE, FALSE}};
	for (ULONG i = 0; i < RTL_NUMBER_OF(Cases); i++) {
		ULONG64 Address = Request->bad[Cases[i].bad] + 17;
		NTSTATUS Status = Touch(Address, Cases[i].write);
		if (Cases[i].good) {
			Expect(Request, Status == STATUS_SUCCESS, "read-only memory is read");
			continue;
		}
		Expect(Request, Status == STATUS_ACCESS_VIOLATION, "DEF-332 a bad user pointer");
		Expect(Request, CaughtAt == Address && CaughtAccess == Cases[i].write,
		       "DEF-332 its parameters");
	}
	Expect(Request, Touch(16, FALSE) == STATUS_ACCESS_VIOLATION, "a null pointer");
	Expect(Request, Touch(MM_USER_PROBE_ADDRESS - 1, FALSE) == STATUS_ACCESS_VIOLATION,
	       "the end of user memory");
	Expect(Request,
	       MmIsAddressValid((PVOID)Request->buffer) && MmIsAddressValid(Request) &&
		       MmIsAddressValid((PVOID)Request->bad[2]) &&
		       !MmIsAddressValid((PVOID)Request->bad[0]) &&
		       !MmIsAddressValid((PVOID)Request->bad[1]),
	       "DEF-167 MmIsAddressValid");

	UCHAR Bytes[64];
	SIZE_T Done = 99;
	MM_COPY_ADDRESS From = {.VirtualAddress = (PVOID)(Request->bad[1] - 4096 - 32)};
	NTSTATUS Status = MmCopyMemory(Bytes, From, 64, MM_COPY_MEMORY_VIRTUAL, &Done);
	Expect(Request, Status != STATUS_SUCCESS, "DEF-306 MmCopyMemory of a bad address");
	From.VirtualAddress = (PVOID)(Request->bad[2] + 8192 - 4096 - 8);
	Status = MmCopyMemory(Bytes, From, 64, MM_COPY_MEMORY_VIRTUAL, &Done);
	Expect(Request, Status == STATUS_SUCCESS && Done == 64, "DEF-306 MmCopyMemory");
}

static NTSTATUS Probe(ULONG64 Address, SIZE_T Size, ULONG Alignment, BOOLEAN Write)
{
	__try {
		if (Write)
			ProbeForWrite((PVOID)Address, Size, Alignment);
		else
			ProbeForRead((PVOID)Address, Size, Alignment);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		return GetExceptionCode();
	}
	return STATUS_SUCCESS;
}

static void Probes(struct window_request *Request)
{
	ULONG64 Buffer = Request->buffer;
	Expect(Request, !Probe(Buffer, WINDOW_BUFFER, 1, FALSE), "VER-15 ProbeForRead");
	Expect(Request, !Probe(Buffer, WINDOW_BUFFER, 8, TRUE), "VER-15 ProbeForWrite");
	Expect(Request, !Probe(Request->bad[1], 4096, 1, FALSE), "ProbeForRead touches nothing");
	Expect(Request, Probe(Buffer + 1, 8, 4, FALSE) == STATUS_DATATYPE_MISALIGNMENT,
	       "ProbeForRead misaligned");
	Expect(Request, Probe(Buffer + 2, 8, 8, TRUE) == STATUS_DATATYPE_MISALIGNMENT,
	       "ProbeForWrite misaligned");
	Expect(Request, Probe(Request->bad[2], 1, 1, TRUE) == STATUS_ACCESS_VIOLATION,
	       "ProbeForWrite of read-only memory");
	Expect(Request, Probe(Request->bad[1] - 4096 - 8, 16, 1, TRUE) == STATUS_ACCESS_VIOLATION,
	       "ProbeForWrite of no memory");
	Expect(Request,
	       Probe((ULONG64)Request, (SIZE_T)MM_USER_PROBE_ADDRESS, 1, FALSE) ==
		       STATUS_ACCESS_VIOLATION,
	       "DEF-314 past the end of user memory");
	Expect(Request, Probe((ULONG64)&Handle, 8, 1, FALSE) == STATUS_ACCESS_VIOLATION,
	       "DEF-325 a kernel address");
	Expect(Request, !Probe((ULONG64)&Handle, 0, 1, TRUE), "length 0 always passes");
}

/* ---- MDLs ---- */

struct Work {
	UCHAR *system;
	KEVENT done;
	WORK_QUEUE_ITEM item;
};

/* In the system process: only the system address works. */
static VOID NTAPI FillBySystemAddress(PVOID Context)
{
	struct Work *Work = Context;
	for (ULONG i = 0; i < 12000; i++)
		Work->system[i] = (UCHAR)((i + 100) * 3);
	KeSetEvent(&Work->done, 0, FALSE);
}

static NTSTATUS Lock(PMDL Mdl, LOCK_OPERATION Operation)
{
	__try {
		MmProbeAndLockPages(Mdl, UserMode, Operation);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		return GetExceptionCode();
	}
	return STATUS_SUCCESS;
}

static void AtDispatch(struct window_request *Request, UCHAR *User, UCHAR *System)
{
	KIRQL Irql;
	KeRaiseIrql(DISPATCH_LEVEL, &Irql);
	UCHAR Before = User[5];
	User[5] = (UCHAR)(Before + 1);
	BOOLEAN Same = System[5] == (UCHAR)(Before + 1) && MmIsAddressValid(User);
	System[5] = Before;
	Same = Same && User[5] == Before;
	KeLowerIrql(Irql);
	Expect(Request, Same, "PLT-52 locked pages can be used at DISPATCH_LEVEL");
}

static void Mdls(struct window_request *Request)
{
	UCHAR *User = (UCHAR *)Request->buffer;
	PMDL Mdl = IoAllocateMdl(User, 12000, FALSE, FALSE, NULL);
	PMDL Second = IoAllocateMdl(User + 4096, WINDOW_BUFFER - 4096, FALSE, FALSE, NULL);
	PMDL Constant = IoAllocateMdl((PVOID)Request->bad[2], 100, FALSE, FALSE, NULL);
	static struct Work Work;

	User[0] = 1; /* not locked yet, in the window */
	Expect(Request, Lock(Mdl, IoModifyAccess) == STATUS_SUCCESS,
	       "PLT-52 user pages are locked");
	Expect(Request, Lock(Second, IoReadAccess) == STATUS_SUCCESS, "PLT-52 some of them twice");
	Expect(Request, Lock(Constant, IoWriteAccess) == STATUS_ACCESS_VIOLATION,
	       "PLT-52 read-only pages are not locked for writing");
	Expect(Request, Lock(Constant, IoReadAccess) == STATUS_SUCCESS,
	       "PLT-52 read-only pages are locked for reading");
	Work.system = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
	UCHAR *Overlapping = MmGetSystemAddressForMdlSafe(Second, NormalPagePriority);
	UCHAR *ReadOnly = MmGetSystemAddressForMdlSafe(Constant, NormalPagePriority);
	Expect(Request,
	       Work.system >= (UCHAR *)MM_SYSTEM_RANGE_START && ReadOnly[1] == 2 &&
		       Work.system[0] == 1 && Work.system[1] == (UCHAR)(101 * 7),
	       "PLT-53 the system address shows the user's bytes");
	Expect(Request,
	       (ULONG64)MmGetPhysicalAddress(User + 5000).QuadPart >> PAGE_SHIFT ==
		       MmGetMdlPfnArray(Mdl)[(BYTE_OFFSET(User) + 5000) >> PAGE_SHIFT],
	       "DEF-203 the physical address of a locked page");
	KeInitializeEvent(&Work.done, NotificationEvent, FALSE);
	ExInitializeWorkItem(&Work.item, FillBySystemAddress, &Work);
	ExQueueWorkItem(&Work.item, DelayedWorkQueue);
	KeWaitForSingleObject(&Work.done, Executive, KernelMode, FALSE, NULL);
	BOOLEAN Same = TRUE;
	for (ULONG i = 0; i < 12000; i++)
		Same = Same && User[i] == Work.system[i] && User[i] == (UCHAR)((i + 100) * 3) &&
		       (i < 4096 || Overlapping[i - 4096] == User[i]);
	Expect(Request, Same, "PLT-53 system and user address are the same memory");
	AtDispatch(Request, User, Work.system);
	MmUnlockPages(Constant);
	MmUnlockPages(Second);
	MmUnlockPages(Mdl);
	IoFreeMdl(Constant);
	IoFreeMdl(Second);
	IoFreeMdl(Mdl);
}

/* More than is in the window, or may be locked, at a time. */
static void Large(struct window_request *Request)
{
	const ULONG Half = 4 << 20;
	UCHAR *User = (UCHAR *)Request->buffer;
	RtlCopyMemory(User + Half, User, Half);
	PMDL Mdl = IoAllocateMdl(User, 2 * Half, FALSE, FALSE, NULL);
	Expect(Request, Lock(Mdl, IoModifyAccess) == STATUS_SUCCESS, "PLT-52 2048 pages");
	ULONG64 *System = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
	for (ULONG i = 0; i < 2 * Half / 8; i++)
		System[i] += 1;
	MmUnlockPages(Mdl);
	IoFreeMdl(Mdl);

	PMDL Huge = IoAllocateMdl(User, 128 << 20, FALSE, FALSE, NULL);
	Expect(Request, Lock(Huge, IoReadAccess) == STATUS_INSUFFICIENT_RESOURCES,
	       "PLT-52 more than can be locked");
	IoFreeMdl(Huge);
	PMDL End = IoAllocateMdl(User + 2 * Half - 8192, 3 * 4096, FALSE, FALSE, NULL);
	Expect(Request, Lock(End, IoReadAccess) == STATUS_ACCESS_VIOLATION,
	       "PLT-52 past the end of the memory");
	IoFreeMdl(End);
	Expect(Request, *(ULONG64 *)(User + 8) == 2 && *(ULONG64 *)(User + Half + 8) == 2,
	       "PLT-53 after the MDL is gone");
}

/* Several threads of the program are here at once: among them increments are atomic. */
static void Count(struct window_request *Request)
{
	for (ULONG i = 0; i < 100000; i++) {
		InterlockedIncrement((volatile LONG *)Request->buffer);
		if (i % 5000 == 0)
			check_sleep(1);
	}
}

/* ---- Files ---- */

static void File(struct window_request *Request)
{
	UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\??\\C:\\window.bin");
	OBJECT_ATTRIBUTES Attributes;
	IO_STATUS_BLOCK Status;
	LARGE_INTEGER Start = {.QuadPart = 0};
	HANDLE Open;
	UCHAR *User = (UCHAR *)Request->buffer;
	InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
	NTSTATUS Result = ZwCreateFile(&Open, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE,
				       &Attributes, &Status, NULL, 0, 0, FILE_OVERWRITE_IF,
				       FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0);
	Expect(Request, NT_SUCCESS(Result), "ZwCreateFile");
	Result = ZwWriteFile(Open, NULL, NULL, NULL, &Status, User, 10000, &Start, NULL);
	Expect(Request, NT_SUCCESS(Result) && Status.Information == 10000,
	       "ZwWriteFile of user memory");
	UCHAR Want = User[9000];
	RtlZeroMemory(User, 10000);
	Result = ZwReadFile(Open, NULL, NULL, NULL, &Status, User, 10000, &Start, NULL);
	Expect(Request, NT_SUCCESS(Result) && User[9000] == Want && User[1] == (UCHAR)(101 * 7),
	       "ZwReadFile to user memory");
	ZwClose(Open);
}

/* ---- Others at the same time ---- */

#ifndef SHARE_IRQL
#define SHARE_IRQL PASSIVE_LEVEL
#endif

static PMDL LockedFor(PVOID Address, ULONG Size)
{
	PMDL Mdl = IoAllocateMdl(Address, Size, FALSE, FALSE, NULL);
	MmProbeAndLockPages(Mdl, UserMode, IoModifyAccess);
	return Mdl;
}

static void Unlocked(PMDL Mdl)
{
	MmUnlockPages(Mdl);
	IoFreeMdl(Mdl);
}

/* Each process counts in its own memory, at addresses that all of them have. Others must stand
 * still although they are at SHARE_IRQL. */
static void Share(struct window_request *Request)
{
	ULONG *Words = (ULONG *)Request->buffer, Own = Request->own;
	LARGE_INTEGER Begin, Now;
	BOOLEAN Good = TRUE;
	KIRQL Irql;
	PMDL Data = LockedFor(Words, WINDOW_BUFFER), Control = LockedFor(Request, sizeof *Request);
	if (SHARE_IRQL == PASSIVE_LEVEL) {
		Unlocked(Data);
		Unlocked(Control);
	}
	KeQuerySystemTime(&Begin);
	for (ULONG i = 0; i < WINDOW_BUFFER / 4; i++)
		Words[i] = Own;
	do {
		KeRaiseIrql(SHARE_IRQL, &Irql);
		for (ULONG k = 0; k < (SHARE_IRQL ? 200 : 1); k++) {
			for (ULONG i = 0; i < WINDOW_BUFFER / 4; i += 97) {
				Good = Good && Words[i] == Own;
				Words[i] = Own;
				Good = Good && Request->own == Own && Words[i] == Own;
			}
			Request->count++;
		}
		KeLowerIrql(Irql);
		KeQuerySystemTime(&Now);
	} while (Good && Now.QuadPart - Begin.QuadPart < 3000000);
	if (SHARE_IRQL != PASSIVE_LEVEL) {
		Unlocked(Data);
		Unlocked(Control);
	}
	Expect(Request, Good, "two processes at once keep their memory apart");
	DbgPrint("own %u count %u\n", Own, Request->count);
}

static void Bytes(struct window_request *Request)
{
	for (ULONG i = 0; i < 100; i++) {
		Request->bytes[0]++;
		if (i % 25 == 0)
			check_sleep(1);
	}
}

/* Until the program has been killed: its memory stays as long as this thread is in the kernel. */
static void Killed(struct window_request *Request)
{
	ULONG i;
	for (i = 0; i < 10000 && !Request->flag; i++) {
		Request->count++;
		check_sleep(1); /* the pages go, and must come again */
	}
	for (ULONG k = 0; k < 20; k++) {
		Request->count++;
		check_sleep(1);
	}
	DbgPrint("%s DEF-33 memory of a killed program, in its thread\n",
		 Request->sign == WINDOW_SIGN && Request->count == i + 20 ? "PASS" : "FAIL");
}

/* The pages stay locked although the program runs another one in the same process, and ends. */
static void Keep(struct window_request *Request)
{
	Kept = IoAllocateMdl((PVOID)Request->buffer, 8192, FALSE, FALSE, NULL);
	Expect(Request, Lock(Kept, IoModifyAccess) == STATUS_SUCCESS, "PLT-52 locked");
	KeptAt = MmGetSystemAddressForMdlSafe(Kept, NormalPagePriority);
	KeptAt[1] = 99;
	KeSetEvent(&AttachReady, 0, FALSE);
}

static void UseKept(void)
{
	check_sleep(150);
	RtlFillMemory(KeptAt, 8192, 0xee);
	check_sleep(150);
	DbgPrint("%s PLT-53 the locked pages of a program that is another one now\n",
		 KeptAt[1] == 0xee ? "PASS" : "FAIL");
	MmUnlockPages(Kept);
	IoFreeMdl(Kept);
}

/* A thread of the system process that attaches to the program while that runs. */
static VOID NTAPI Attacher(PVOID Context)
{
	KAPC_STATE State, Nested;
	ULONG Errors = 0;
	UNREFERENCED_PARAMETER(Context);
	KeWaitForSingleObject(&AttachReady, Executive, KernelMode, FALSE, NULL);
	if (Kept)
		UseKept();
	if (!Attached)
		return;
	/* While a thread of the process runs in the kernel the others see its memory, too (a
	 * caveat). */
	check_sleep(50);
	Errors += Touch((ULONG64)AttachedTo, FALSE) != STATUS_ACCESS_VIOLATION;
	KeStackAttachProcess((PRKPROCESS)Attached, &State);
	if (WRONG == 6) /* a system thread without handler */
		*(volatile UCHAR *)AttachedTo->bad[0] = 1;
	Errors += PsGetCurrentProcess() != Attached || AttachedTo->sign != WINDOW_SIGN;
	KeStackAttachProcess((PRKPROCESS)PsInitialSystemProcess, &Nested);
	Errors += Touch((ULONG64)AttachedTo, FALSE) != STATUS_ACCESS_VIOLATION;
	KeUnstackDetachProcess(&Nested);
	/* What the program counts is seen to grow. */
	ULONG First = AttachedTo->count, i;
	for (i = 0; i < 1000 && AttachedTo->count == First; i++)
		check_sleep(1);
	Errors += i == 1000;
	((UCHAR *)AttachedTo->buffer)[5] = 55;
	AttachedTo->errors += Errors;
	AttachedTo->answer = 77;
	KeUnstackDetachProcess(&State);
	Errors += Touch((ULONG64)AttachedTo, FALSE) != STATUS_ACCESS_VIOLATION;
	DbgPrint(Errors ? "FAIL DEF-269 attached, %u errors\n" : "PASS DEF-269 attached\n", Errors);
	/* The program ends; its memory is then not there, and nothing breaks. */
	KeWaitForSingleObject(Attached, Executive, KernelMode, FALSE, NULL);
	KeStackAttachProcess((PRKPROCESS)Attached, &State);
	DbgPrint("%s DEF-269 memory of a program that has ended\n",
		 Touch((ULONG64)AttachedTo, TRUE) == STATUS_ACCESS_VIOLATION ? "PASS" : "FAIL");
	KeUnstackDetachProcess(&State);
	ObDereferenceObject(Attached);
}

/* ---- Wrong ---- */

static void Wrong(struct window_request *Request)
{
	KIRQL Irql;
	int What = WRONG;
	switch (What) {
	case 1: /* no handler */
		(void)*(volatile UCHAR *)Request->bad[0];
		break;
	case 2:
		*(volatile UCHAR *)Request->bad[2] = 1;
		break;
	case 3:
		KeRaiseIrql(DISPATCH_LEVEL, &Irql);
		(void)*(volatile UCHAR *)Request->buffer;
		KeLowerIrql(Irql);
		break;
	case 4:
		((void (*)(void))Request->buffer)();
		break;
	case 7: {
		PMDL Mdl = IoAllocateMdl((PVOID)Request->buffer, 100, FALSE, FALSE, NULL);
		KeRaiseIrql(DISPATCH_LEVEL, &Irql);
		MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
		KeLowerIrql(Irql);
		MmUnlockPages(Mdl);
		IoFreeMdl(Mdl);
		break;
	}
	case 5:
		(void)*(volatile UCHAR *)16;
		break;
	}
}

static BOUND_CALLBACK_STATUS Callback(VOID)
{
	KTRAP_FRAME *Frame = *(KTRAP_FRAME **)((UCHAR *)KeGetCurrentThread() + 0x90);
	struct window_request *Request = (struct window_request *)Frame->Rdx;
	if (Request->sign != WINDOW_SIGN)
		return BoundExceptionContinueSearch;
	switch (Request->command) {
	case WINDOW_PATTERN:
		Pattern(Request);
		break;
	case WINDOW_POINTERS:
		Pointers(Request);
		break;
	case WINDOW_PROBES:
		Probes(Request);
		break;
	case WINDOW_MDL:
		Mdls(Request);
		break;
	case WINDOW_FILE:
		File(Request);
		break;
	case WINDOW_SHARE:
		Share(Request);
		break;
	case WINDOW_SPIN:
		while (!Request->flag) /* no DDI: the clock brings it */
			;
		break;
	case WINDOW_BYTES:
		Bytes(Request);
		break;
	case WINDOW_KILLED:
		Killed(Request);
		break;
	case WINDOW_ATTACH:
		Attached = PsGetCurrentProcess();
		ObReferenceObject(Attached);
		AttachedTo = Request;
		KeSetEvent(&AttachReady, 0, FALSE);
		break;
	case WINDOW_COUNT:
		Count(Request);
		break;
	case WINDOW_LARGE:
		Large(Request);
		break;
	case WINDOW_KEEP:
		Keep(Request);
		break;
	case WINDOW_WRONG:
		Wrong(Request);
		break;
	}
	Frame->Rax = 1;
	return BoundExceptionHandled;
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	KeSetEvent(&AttachReady, 0, FALSE);
	check_join(AttachThread);
	CHECK(KeDeregisterBoundCallback(Handle) == STATUS_SUCCESS, "BND-7 deregistered");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = Unload;
	KeInitializeEvent(&AttachReady, NotificationEvent, FALSE);
	KeInitializeEvent(&AttachDone, NotificationEvent, FALSE);
	AttachThread = check_thread(Attacher, NULL);
	Handle = KeRegisterBoundCallback(Callback);
	return Handle ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
