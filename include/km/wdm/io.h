/* SPDX-License-Identifier: MIT
 *
 * The I/O system's functions. The number behind each prototype is the highest IRQL of the caller.
 */
#pragma once
#include "ex.h"
#include "io_stack.h"

EXTERN_C_START

/* Devices, links, drivers. */
NTKERNELAPI NTSTATUS NTAPI IoCreateDevice(PDRIVER_OBJECT DriverObject, ULONG DeviceExtensionSize,
					  PUNICODE_STRING DeviceName, DEVICE_TYPE DeviceType,
					  ULONG DeviceCharacteristics, BOOLEAN Exclusive,
					  PDEVICE_OBJECT *DeviceObject); /* 1 */
NTKERNELAPI VOID NTAPI IoDeleteDevice(PDEVICE_OBJECT DeviceObject);      /* 1 */
NTKERNELAPI NTSTATUS NTAPI IoCreateSymbolicLink(PUNICODE_STRING SymbolicLinkName,
						PUNICODE_STRING DeviceName); /* 0 */
NTKERNELAPI NTSTATUS NTAPI IoCreateUnprotectedSymbolicLink(PUNICODE_STRING SymbolicLinkName,
							   PUNICODE_STRING DeviceName); /* 0 */
NTKERNELAPI NTSTATUS NTAPI IoDeleteSymbolicLink(PUNICODE_STRING SymbolicLinkName);      /* 0 */
NTKERNELAPI NTSTATUS NTAPI IoAttachDevice(PDEVICE_OBJECT SourceDevice, PUNICODE_STRING TargetDevice,
					  PDEVICE_OBJECT *AttachedDevice); /* 0 */
NTKERNELAPI PDEVICE_OBJECT NTAPI IoAttachDeviceToDeviceStack(PDEVICE_OBJECT SourceDevice,
							     PDEVICE_OBJECT TargetDevice);
NTKERNELAPI VOID NTAPI IoDetachDevice(PDEVICE_OBJECT TargetDevice);                         /* 0 */
NTKERNELAPI PDEVICE_OBJECT NTAPI IoGetAttachedDeviceReference(PDEVICE_OBJECT DeviceObject); /* 2 */
NTKERNELAPI NTSTATUS NTAPI IoGetDeviceObjectPointer(PUNICODE_STRING ObjectName,
						    ACCESS_MASK DesiredAccess,
						    PFILE_OBJECT *FileObject,
						    PDEVICE_OBJECT *DeviceObject);
NTKERNELAPI NTSTATUS NTAPI IoCreateDriver(PUNICODE_STRING DriverName,
					  PDRIVER_INITIALIZE InitializationFunction);
NTKERNELAPI NTSTATUS NTAPI IoAllocateDriverObjectExtension(PDRIVER_OBJECT DriverObject,
							   PVOID ClientIdentificationAddress,
							   ULONG DriverObjectExtensionSize,
							   PVOID *DriverObjectExtension); /* 2 */
NTKERNELAPI PVOID NTAPI IoGetDriverObjectExtension(PDRIVER_OBJECT DriverObject,
						   PVOID ClientIdentificationAddress);
NTKERNELAPI VOID NTAPI IoRegisterDriverReinitialization(
	PDRIVER_OBJECT DriverObject, PDRIVER_REINITIALIZE DriverReinitializationRoutine,
	PVOID Context); /* 0 */
NTKERNELAPI VOID NTAPI IoRegisterBootDriverReinitialization(
	PDRIVER_OBJECT DriverObject, PDRIVER_REINITIALIZE DriverReinitializationRoutine,
	PVOID Context);                                                                 /* 0 */
NTKERNELAPI NTSTATUS NTAPI IoRegisterShutdownNotification(PDEVICE_OBJECT DeviceObject); /* 0 */
NTKERNELAPI NTSTATUS NTAPI
IoRegisterLastChanceShutdownNotification(PDEVICE_OBJECT DeviceObject);                     /* 0 */
NTKERNELAPI VOID NTAPI IoUnregisterShutdownNotification(PDEVICE_OBJECT DeviceObject);      /* 0 */
NTKERNELAPI BOOLEAN NTAPI IoIsWdmVersionAvailable(UCHAR MajorVersion, UCHAR MinorVersion); /* 0 */

/* IRPs. */
NTKERNELAPI PIRP NTAPI IoAllocateIrp(CCHAR StackSize, BOOLEAN ChargeQuota);           /* 2 */
NTKERNELAPI VOID NTAPI IoFreeIrp(PIRP Irp);                                           /* 2 */
NTKERNELAPI VOID NTAPI IoInitializeIrp(PIRP Irp, USHORT PacketSize, CCHAR StackSize); /* 2 */
NTKERNELAPI VOID NTAPI IoReuseIrp(PIRP Irp, NTSTATUS Iostatus);                       /* 2 */
NTKERNELAPI BOOLEAN NTAPI IoCancelIrp(PIRP Irp);                                      /* 2 */
NTKERNELAPI NTSTATUS FASTCALL IofCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp);   /* 2 */
NTKERNELAPI VOID FASTCALL IofCompleteRequest(PIRP Irp, CCHAR PriorityBoost);          /* 2 */
NTKERNELAPI NTSTATUS NTAPI IoSetCompletionRoutineEx(PDEVICE_OBJECT DeviceObject, PIRP Irp,
						    PIO_COMPLETION_ROUTINE CompletionRoutine,
						    PVOID Context, BOOLEAN InvokeOnSuccess,
						    BOOLEAN InvokeOnError,
						    BOOLEAN InvokeOnCancel); /* 2 */
NTKERNELAPI PIRP NTAPI IoBuildSynchronousFsdRequest(ULONG MajorFunction,
						    PDEVICE_OBJECT DeviceObject, PVOID Buffer,
						    ULONG Length, PLARGE_INTEGER StartingOffset,
						    PKEVENT Event,
						    PIO_STATUS_BLOCK IoStatusBlock); /* 0 */
NTKERNELAPI PIRP NTAPI IoBuildAsynchronousFsdRequest(ULONG MajorFunction,
						     PDEVICE_OBJECT DeviceObject, PVOID Buffer,
						     ULONG Length, PLARGE_INTEGER StartingOffset,
						     PIO_STATUS_BLOCK IoStatusBlock); /* 1 */
NTKERNELAPI PIRP NTAPI IoBuildDeviceIoControlRequest(ULONG IoControlCode,
						     PDEVICE_OBJECT DeviceObject, PVOID InputBuffer,
						     ULONG InputBufferLength, PVOID OutputBuffer,
						     ULONG OutputBufferLength,
						     BOOLEAN InternalDeviceIoControl, PKEVENT Event,
						     PIO_STATUS_BLOCK IoStatusBlock); /* 0 */
NTKERNELAPI VOID NTAPI IoAcquireCancelSpinLock(PKIRQL Irql);                          /* 2 */
NTKERNELAPI VOID NTAPI IoReleaseCancelSpinLock(KIRQL Irql);                           /* 2 */
NTKERNELAPI PEPROCESS NTAPI IoGetRequestorProcess(PIRP Irp);                          /* 2 */
NTKERNELAPI ULONG NTAPI IoGetRequestorProcessId(PIRP Irp);                            /* 2 */
NTKERNELAPI PVOID NTAPI IoGetInitialStack(VOID);                                      /* 15 */
NTKERNELAPI VOID NTAPI IoGetStackLimits(PULONG_PTR LowLimit, PULONG_PTR HighLimit);   /* 15 */
NTKERNELAPI ULONG_PTR NTAPI IoGetRemainingStackSize(VOID);
NTKERNELAPI VOID NTAPI IoStartPacket(PDEVICE_OBJECT DeviceObject, PIRP Irp, PULONG Key,
				     PDRIVER_CANCEL CancelFunction);
NTKERNELAPI VOID NTAPI IoStartNextPacket(PDEVICE_OBJECT DeviceObject, BOOLEAN Cancelable); /* 2 */

/* MDLs (PLT-49). */
NTKERNELAPI PMDL NTAPI IoAllocateMdl(PVOID VirtualAddress, ULONG Length, BOOLEAN SecondaryBuffer,
				     BOOLEAN ChargeQuota, PIRP Irp); /* 2 */
NTKERNELAPI VOID NTAPI IoFreeMdl(PMDL Mdl);                          /* 2 */
NTKERNELAPI VOID NTAPI IoBuildPartialMdl(PMDL SourceMdl, PMDL TargetMdl, PVOID VirtualAddress,
					 ULONG Length); /* 2 */

/* Work items. */
NTKERNELAPI PIO_WORKITEM NTAPI IoAllocateWorkItem(PDEVICE_OBJECT DeviceObject); /* 2 */
NTKERNELAPI VOID NTAPI IoFreeWorkItem(PIO_WORKITEM IoWorkItem);                 /* 2 */
NTKERNELAPI VOID NTAPI IoQueueWorkItem(PIO_WORKITEM IoWorkItem, PIO_WORKITEM_ROUTINE WorkerRoutine,
				       WORK_QUEUE_TYPE QueueType, PVOID Context); /* 2 */
NTKERNELAPI VOID NTAPI IoQueueWorkItemEx(PIO_WORKITEM IoWorkItem,
					 PIO_WORKITEM_ROUTINE_EX WorkerRoutine,
					 WORK_QUEUE_TYPE QueueType, PVOID Context); /* 2 */
NTKERNELAPI ULONG NTAPI IoSizeofWorkItem(VOID);
NTKERNELAPI VOID NTAPI IoInitializeWorkItem(PVOID IoObject, PIO_WORKITEM IoWorkItem); /* 2 */
NTKERNELAPI VOID NTAPI IoUninitializeWorkItem(PIO_WORKITEM IoWorkItem);               /* 2 */

/* A device's DPC and timer. */
#define IoInitializeDpcRequest(device, routine)                                                    \
	KeInitializeDpc(&(device)->Dpc, (PKDEFERRED_ROUTINE)(PVOID)(routine), (device))
#define IoRequestDpc(device, irp, context) KeInsertQueueDpc(&(device)->Dpc, (irp), (context))
NTKERNELAPI NTSTATUS NTAPI IoInitializeTimer(PDEVICE_OBJECT DeviceObject,
					     PIO_TIMER_ROUTINE TimerRoutine, PVOID Context);
NTKERNELAPI VOID NTAPI IoStartTimer(PDEVICE_OBJECT DeviceObject); /* 2 */
NTKERNELAPI VOID NTAPI IoStopTimer(PDEVICE_OBJECT DeviceObject);  /* 2 */

/* Named events: 0. */
NTKERNELAPI PKEVENT NTAPI IoCreateNotificationEvent(PUNICODE_STRING EventName, PHANDLE EventHandle);
NTKERNELAPI PKEVENT NTAPI IoCreateSynchronizationEvent(PUNICODE_STRING EventName,
						       PHANDLE EventHandle);

/* Files: 0. */
typedef enum _CREATE_FILE_TYPE {
	CreateFileTypeNone,
	CreateFileTypeNamedPipe,
	CreateFileTypeMailslot
} CREATE_FILE_TYPE;
#define IO_NO_PARAMETER_CHECKING 0x0100
NTKERNELAPI NTSTATUS NTAPI IoCreateFile(
	PHANDLE FileHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
	PIO_STATUS_BLOCK IoStatusBlock, PLARGE_INTEGER AllocationSize, ULONG FileAttributes,
	ULONG ShareAccess, ULONG Disposition, ULONG CreateOptions, PVOID EaBuffer, ULONG EaLength,
	CREATE_FILE_TYPE CreateFileType, PVOID InternalParameters, ULONG Options);

/* Error log entries. */
#define ERROR_LOG_MAXIMUM_SIZE 152
typedef struct _IO_ERROR_LOG_PACKET {
	UCHAR MajorFunctionCode;
	UCHAR RetryCount;
	USHORT DumpDataSize;
	USHORT NumberOfStrings;
	USHORT StringOffset;
	USHORT EventCategory;
	NTSTATUS ErrorCode;
	ULONG UniqueErrorValue;
	NTSTATUS FinalStatus;
	ULONG SequenceNumber;
	ULONG IoControlCode;
	LARGE_INTEGER DeviceOffset;
	ULONG DumpData[1];
} IO_ERROR_LOG_PACKET, *PIO_ERROR_LOG_PACKET;
NTKERNELAPI PVOID NTAPI IoAllocateErrorLogEntry(PVOID IoObject, UCHAR EntrySize); /* 2 */
NTKERNELAPI VOID NTAPI IoWriteErrorLogEntry(PVOID ElEntry);                       /* 2 */
NTKERNELAPI VOID NTAPI IoFreeErrorLogEntry(PVOID ElEntry);                        /* 2 */

/* Remove locks. */
typedef struct _IO_REMOVE_LOCK_COMMON_BLOCK {
	BOOLEAN Removed;
	BOOLEAN Reserved[3];
	volatile LONG IoCount;
	KEVENT RemoveEvent;
} IO_REMOVE_LOCK_COMMON_BLOCK;
typedef struct _IO_REMOVE_LOCK {
	IO_REMOVE_LOCK_COMMON_BLOCK Common;
} IO_REMOVE_LOCK, *PIO_REMOVE_LOCK;
NTKERNELAPI VOID NTAPI IoInitializeRemoveLockEx(PIO_REMOVE_LOCK Lock, ULONG AllocateTag,
						ULONG MaxLockedMinutes, ULONG HighWatermark,
						ULONG RemlockSize);
NTKERNELAPI NTSTATUS NTAPI IoAcquireRemoveLockEx(PIO_REMOVE_LOCK Lock, PVOID Tag, PCSTR File,
						 ULONG Line, ULONG RemlockSize); /* 2 */
NTKERNELAPI VOID NTAPI IoReleaseRemoveLockEx(PIO_REMOVE_LOCK Lock, PVOID Tag,
					     ULONG RemlockSize); /* 2 */
NTKERNELAPI VOID NTAPI IoReleaseRemoveLockAndWaitEx(PIO_REMOVE_LOCK Lock, PVOID Tag,
						    ULONG RemlockSize); /* 0 */
#define IoInitializeRemoveLock(lock, tag, minutes, high)                                           \
	IoInitializeRemoveLockEx(lock, tag, minutes, high, sizeof(IO_REMOVE_LOCK))
#define IoAcquireRemoveLock(lock, tag)                                                             \
	IoAcquireRemoveLockEx(lock, tag, __FILE__, __LINE__, sizeof(IO_REMOVE_LOCK))
#define IoReleaseRemoveLock(lock, tag) IoReleaseRemoveLockEx(lock, tag, sizeof(IO_REMOVE_LOCK))
#define IoReleaseRemoveLockAndWait(lock, tag)                                                      \
	IoReleaseRemoveLockAndWaitEx(lock, tag, sizeof(IO_REMOVE_LOCK))

EXTERN_C_END
