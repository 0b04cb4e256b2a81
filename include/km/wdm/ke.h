/* SPDX-License-Identifier: MIT
 *
 * IRQL, spin locks, events, waits, mutexes, semaphores, DPCs, timers, APCs (PLT-5, PLT-11..39). The
 * number behind each prototype is the highest IRQL of the caller: 0 PASSIVE, 1 APC, 2 DISPATCH, 15
 * any.
 */
#pragma once
#include "ke_types.h"

EXTERN_C_START

/* IRQL. Called, never inlined (PLT-5). */
NTKERNELAPI KIRQL NTAPI KeGetCurrentIrql(VOID);        /* 15 */
NTKERNELAPI KIRQL FASTCALL KfRaiseIrql(KIRQL NewIrql); /* 15 */
NTKERNELAPI VOID NTAPI KeLowerIrql(KIRQL NewIrql);     /* 15 */
NTKERNELAPI KIRQL NTAPI KeRaiseIrqlToDpcLevel(VOID);   /* 2 */
NTKERNELAPI KIRQL NTAPI KeRaiseIrqlToSynchLevel(VOID); /* 12 */
#define KeRaiseIrql(irql, old) (*(old) = KfRaiseIrql(irql))

/* Spin locks. */
NTKERNELAPI KIRQL NTAPI KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK SpinLock);     /* 2 */
NTKERNELAPI VOID NTAPI KeReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql); /* 2 */
NTKERNELAPI VOID NTAPI KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock);      /* 15, at least 2 */
NTKERNELAPI VOID NTAPI KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK SpinLock);    /* 2 */
NTKERNELAPI BOOLEAN FASTCALL KeTryToAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock);    /* 2 */
NTKERNELAPI BOOLEAN FASTCALL KeTestSpinLock(PKSPIN_LOCK SpinLock);                      /* 15 */
NTKERNELAPI KIRQL FASTCALL KeAcquireSpinLockForDpc(PKSPIN_LOCK SpinLock);               /* 2 */
NTKERNELAPI VOID FASTCALL KeReleaseSpinLockForDpc(PKSPIN_LOCK SpinLock, KIRQL OldIrql); /* 2 */
NTKERNELAPI VOID FASTCALL KeAcquireInStackQueuedSpinLock(PKSPIN_LOCK SpinLock,
							 PKLOCK_QUEUE_HANDLE LockHandle);
NTKERNELAPI VOID FASTCALL KeReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE LockHandle); /* 2 */
NTKERNELAPI VOID FASTCALL KeAcquireInStackQueuedSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock,
								   PKLOCK_QUEUE_HANDLE LockHandle);
NTKERNELAPI VOID FASTCALL
KeReleaseInStackQueuedSpinLockFromDpcLevel(PKLOCK_QUEUE_HANDLE LockHandle);
NTKERNELAPI VOID FASTCALL KeAcquireInStackQueuedSpinLockForDpc(PKSPIN_LOCK SpinLock,
							       PKLOCK_QUEUE_HANDLE LockHandle);
NTKERNELAPI VOID FASTCALL
KeReleaseInStackQueuedSpinLockForDpc(PKLOCK_QUEUE_HANDLE LockHandle); /* 2 */
#ifdef _WIN32
FORCEINLINE VOID KeInitializeSpinLock(PKSPIN_LOCK SpinLock)
{
	*(volatile KSPIN_LOCK *)SpinLock = 0;
}
#else
VOID NTAPI KeInitializeSpinLock(PKSPIN_LOCK SpinLock); /* 15 */
#endif
#define KeAcquireSpinLock(lock, old)        (*(old) = KeAcquireSpinLockRaiseToDpc(lock))
#define ExAcquireSpinLock(lock, old)        KeAcquireSpinLock(lock, old)
#define ExReleaseSpinLock(lock, old)        KeReleaseSpinLock(lock, old)
#define ExAcquireSpinLockAtDpcLevel(lock)   KeAcquireSpinLockAtDpcLevel(lock)
#define ExReleaseSpinLockFromDpcLevel(lock) KeReleaseSpinLockFromDpcLevel(lock)

NTKERNELAPI VOID NTAPI KeEnterCriticalRegion(VOID);   /* 1 */
NTKERNELAPI VOID NTAPI KeLeaveCriticalRegion(VOID);   /* 1 */
NTKERNELAPI VOID NTAPI KeEnterGuardedRegion(VOID);    /* 1 */
NTKERNELAPI VOID NTAPI KeLeaveGuardedRegion(VOID);    /* 1 */
NTKERNELAPI BOOLEAN NTAPI KeAreApcsDisabled(VOID);    /* 2 */
NTKERNELAPI BOOLEAN NTAPI KeAreAllApcsDisabled(VOID); /* 2 */

/* Guarded mutexes. */
NTKERNELAPI VOID FASTCALL KeInitializeGuardedMutex(PKGUARDED_MUTEX Mutex);      /* 2 */
NTKERNELAPI VOID FASTCALL KeAcquireGuardedMutex(PKGUARDED_MUTEX Mutex);         /* 1 */
NTKERNELAPI VOID FASTCALL KeReleaseGuardedMutex(PKGUARDED_MUTEX Mutex);         /* 1 */
NTKERNELAPI VOID FASTCALL KeAcquireGuardedMutexUnsafe(PKGUARDED_MUTEX Mutex);   /* 1 */
NTKERNELAPI VOID FASTCALL KeReleaseGuardedMutexUnsafe(PKGUARDED_MUTEX Mutex);   /* 1 */
NTKERNELAPI BOOLEAN FASTCALL KeTryToAcquireGuardedMutex(PKGUARDED_MUTEX Mutex); /* 1 */

/* Events, mutexes, semaphores. */
NTKERNELAPI VOID NTAPI KeInitializeEvent(PRKEVENT Event, EVENT_TYPE Type, BOOLEAN State); /* 15 */
NTKERNELAPI VOID NTAPI KeClearEvent(PRKEVENT Event);                                      /* 2 */
NTKERNELAPI LONG NTAPI KeSetEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait);     /* 2 */
NTKERNELAPI LONG NTAPI KeResetEvent(PRKEVENT Event);                                      /* 2 */
NTKERNELAPI LONG NTAPI KePulseEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait);   /* 2 */
NTKERNELAPI LONG NTAPI KeReadStateEvent(PRKEVENT Event);                                  /* 2 */
NTKERNELAPI VOID NTAPI KeInitializeMutex(PRKMUTEX Mutex, ULONG Level);                    /* 15 */
NTKERNELAPI LONG NTAPI KeReleaseMutex(PRKMUTEX Mutex, BOOLEAN Wait);                      /* 2 */
NTKERNELAPI LONG NTAPI KeReadStateMutex(PRKMUTEX Mutex);                                  /* 2 */
NTKERNELAPI VOID NTAPI KeInitializeSemaphore(PRKSEMAPHORE Semaphore, LONG Count,
					     LONG Limit); /* 15 */
NTKERNELAPI LONG NTAPI KeReleaseSemaphore(PRKSEMAPHORE Semaphore, KPRIORITY Increment,
					  LONG Adjustment, BOOLEAN Wait);
NTKERNELAPI LONG NTAPI KeReadStateSemaphore(PRKSEMAPHORE Semaphore); /* 2 */

/* Waits: 1; 2 with a time-out of zero. Times in 100 ns, negative is relative. */
NTKERNELAPI NTSTATUS NTAPI KeWaitForSingleObject(PVOID Object, KWAIT_REASON WaitReason,
						 KPROCESSOR_MODE WaitMode, BOOLEAN Alertable,
						 PLARGE_INTEGER Timeout);
NTKERNELAPI NTSTATUS NTAPI KeWaitForMultipleObjects(ULONG Count, PVOID Object[], WAIT_TYPE WaitType,
						    KWAIT_REASON WaitReason,
						    KPROCESSOR_MODE WaitMode, BOOLEAN Alertable,
						    PLARGE_INTEGER Timeout,
						    PKWAIT_BLOCK WaitBlockArray);
#define KeWaitForMutexObject KeWaitForSingleObject
NTKERNELAPI NTSTATUS NTAPI KeDelayExecutionThread(KPROCESSOR_MODE WaitMode, BOOLEAN Alertable,
						  PLARGE_INTEGER Interval); /* 1 */

/* DPCs. */
NTKERNELAPI VOID NTAPI KeInitializeDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine,
				       PVOID DeferredContext);
NTKERNELAPI VOID NTAPI KeInitializeThreadedDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine,
					       PVOID DeferredContext);
NTKERNELAPI BOOLEAN NTAPI KeInsertQueueDpc(PRKDPC Dpc, PVOID SystemArgument1,
					   PVOID SystemArgument2);                 /* 15 */
NTKERNELAPI BOOLEAN NTAPI KeRemoveQueueDpc(PRKDPC Dpc);                            /* 15 */
NTKERNELAPI VOID NTAPI KeSetImportanceDpc(PRKDPC Dpc, KDPC_IMPORTANCE Importance); /* 15 */
NTKERNELAPI VOID NTAPI KeSetTargetProcessorDpc(PRKDPC Dpc, CCHAR Number);          /* 15 */
NTKERNELAPI NTSTATUS NTAPI KeSetTargetProcessorDpcEx(PKDPC Dpc,
						     PPROCESSOR_NUMBER ProcNumber); /* 15 */
NTKERNELAPI VOID NTAPI KeFlushQueuedDpcs(VOID);                                     /* 0 */

/* Timers. */
NTKERNELAPI VOID NTAPI KeInitializeTimer(PKTIMER Timer);                               /* 2 */
NTKERNELAPI VOID NTAPI KeInitializeTimerEx(PKTIMER Timer, TIMER_TYPE Type);            /* 2 */
NTKERNELAPI BOOLEAN NTAPI KeSetTimer(PKTIMER Timer, LARGE_INTEGER DueTime, PKDPC Dpc); /* 2 */
NTKERNELAPI BOOLEAN NTAPI KeSetTimerEx(PKTIMER Timer, LARGE_INTEGER DueTime, LONG Period,
				       PKDPC Dpc);
NTKERNELAPI BOOLEAN NTAPI KeSetCoalescableTimer(PKTIMER Timer, LARGE_INTEGER DueTime, ULONG Period,
						ULONG TolerableDelay, PKDPC Dpc); /* 2 */
NTKERNELAPI BOOLEAN NTAPI KeCancelTimer(PKTIMER Timer);                           /* 2 */
NTKERNELAPI BOOLEAN NTAPI KeReadStateTimer(PKTIMER Timer);                        /* 2 */

/* APCs. */
NTKERNELAPI VOID NTAPI KeInitializeApc(PRKAPC Apc, PRKTHREAD Thread, KAPC_ENVIRONMENT Environment,
				       PKKERNEL_ROUTINE KernelRoutine,
				       PKRUNDOWN_ROUTINE RundownRoutine,
				       PKNORMAL_ROUTINE NormalRoutine, KPROCESSOR_MODE ApcMode,
				       PVOID NormalContext);
NTKERNELAPI BOOLEAN NTAPI KeInsertQueueApc(PRKAPC Apc, PVOID SystemArgument1, PVOID SystemArgument2,
					   KPRIORITY Increment); /* 2 */

/* Device queues: 2. */
NTKERNELAPI VOID NTAPI KeInitializeDeviceQueue(PKDEVICE_QUEUE DeviceQueue);
NTKERNELAPI BOOLEAN NTAPI KeInsertDeviceQueue(PKDEVICE_QUEUE DeviceQueue,
					      PKDEVICE_QUEUE_ENTRY Entry);
NTKERNELAPI BOOLEAN NTAPI KeInsertByKeyDeviceQueue(PKDEVICE_QUEUE DeviceQueue,
						   PKDEVICE_QUEUE_ENTRY Entry, ULONG SortKey);
NTKERNELAPI PKDEVICE_QUEUE_ENTRY NTAPI KeRemoveDeviceQueue(PKDEVICE_QUEUE DeviceQueue);
NTKERNELAPI PKDEVICE_QUEUE_ENTRY NTAPI KeRemoveByKeyDeviceQueue(PKDEVICE_QUEUE DeviceQueue,
								ULONG SortKey);
NTKERNELAPI BOOLEAN NTAPI KeRemoveEntryDeviceQueue(PKDEVICE_QUEUE DeviceQueue,
						   PKDEVICE_QUEUE_ENTRY Entry);

EXTERN_C_END
