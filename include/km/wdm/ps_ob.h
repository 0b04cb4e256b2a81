/* SPDX-License-Identifier: MIT
 *
 * Threads, processes, objects, access rights (PLT-41..44). The number behind each prototype is the
 * highest IRQL of the caller.
 */
#pragma once
#include "ke.h"
#include "ke_proc.h"

EXTERN_C_START

/* Access rights. */
#define DELETE                        0x00010000
#define READ_CONTROL                  0x00020000
#define WRITE_DAC                     0x00040000
#define WRITE_OWNER                   0x00080000
#define SYNCHRONIZE                   0x00100000
#define STANDARD_RIGHTS_REQUIRED      0x000F0000
#define STANDARD_RIGHTS_READ          READ_CONTROL
#define STANDARD_RIGHTS_WRITE         READ_CONTROL
#define STANDARD_RIGHTS_EXECUTE       READ_CONTROL
#define STANDARD_RIGHTS_ALL           0x001F0000
#define SPECIFIC_RIGHTS_ALL           0x0000FFFF
#define ACCESS_SYSTEM_SECURITY        0x01000000
#define MAXIMUM_ALLOWED               0x02000000
#define GENERIC_ALL                   0x10000000
#define GENERIC_EXECUTE               0x20000000
#define GENERIC_WRITE                 0x40000000
#define GENERIC_READ                  0x80000000
#define EVENT_QUERY_STATE             0x0001
#define EVENT_MODIFY_STATE            0x0002
#define EVENT_ALL_ACCESS              (STANDARD_RIGHTS_REQUIRED | SYNCHRONIZE | 0x3)
#define SEMAPHORE_MODIFY_STATE        0x0002
#define SEMAPHORE_ALL_ACCESS          (STANDARD_RIGHTS_REQUIRED | SYNCHRONIZE | 0x3)
#define THREAD_ALL_ACCESS             (STANDARD_RIGHTS_REQUIRED | SYNCHRONIZE | 0xFFFF)
#define PROCESS_ALL_ACCESS            (STANDARD_RIGHTS_REQUIRED | SYNCHRONIZE | 0xFFFF)
#define PROCESS_TERMINATE             0x0001
#define PROCESS_DUP_HANDLE            0x0040
#define DIRECTORY_QUERY               0x0001
#define DIRECTORY_TRAVERSE            0x0002
#define DIRECTORY_CREATE_OBJECT       0x0004
#define DIRECTORY_CREATE_SUBDIRECTORY 0x0008
#define DIRECTORY_ALL_ACCESS          (STANDARD_RIGHTS_REQUIRED | 0xF)
#define SYMBOLIC_LINK_QUERY           0x0001
#define SYMBOLIC_LINK_ALL_ACCESS      (STANDARD_RIGHTS_REQUIRED | 0x1)

typedef struct _GENERIC_MAPPING {
	ACCESS_MASK GenericRead;
	ACCESS_MASK GenericWrite;
	ACCESS_MASK GenericExecute;
	ACCESS_MASK GenericAll;
} GENERIC_MAPPING, *PGENERIC_MAPPING;

typedef struct _OBJECT_HANDLE_INFORMATION {
	ULONG HandleAttributes;
	ACCESS_MASK GrantedAccess;
} OBJECT_HANDLE_INFORMATION, *POBJECT_HANDLE_INFORMATION;

typedef struct _OBJECT_NAME_INFORMATION {
	UNICODE_STRING Name;
} OBJECT_NAME_INFORMATION, *POBJECT_NAME_INFORMATION;

typedef struct _ACCESS_STATE ACCESS_STATE, *PACCESS_STATE;
typedef PVOID PACCESS_TOKEN;

/* Threads and processes. */
typedef VOID NTAPI KSTART_ROUTINE(PVOID StartContext);
typedef KSTART_ROUTINE *PKSTART_ROUTINE;
NTKERNELAPI NTSTATUS NTAPI PsCreateSystemThread(PHANDLE ThreadHandle, ULONG DesiredAccess,
						POBJECT_ATTRIBUTES ObjectAttributes,
						HANDLE ProcessHandle, PCLIENT_ID ClientId,
						PKSTART_ROUTINE StartRoutine, PVOID StartContext);
NTKERNELAPI NTSTATUS NTAPI PsTerminateSystemThread(NTSTATUS ExitStatus); /* 0 */
NTKERNELAPI HANDLE NTAPI PsGetCurrentThreadId(VOID);                     /* 15 */
NTKERNELAPI HANDLE NTAPI PsGetCurrentProcessId(VOID);                    /* 15 */
NTKERNELAPI HANDLE NTAPI PsGetThreadId(PETHREAD Thread);                 /* 15 */
NTKERNELAPI HANDLE NTAPI PsGetThreadProcessId(PETHREAD Thread);          /* 15 */
NTKERNELAPI NTSTATUS NTAPI PsGetThreadExitStatus(PETHREAD Thread);
NTKERNELAPI HANDLE NTAPI PsGetProcessId(PEPROCESS Process);  /* 15 */
NTKERNELAPI BOOLEAN NTAPI PsIsSystemThread(PETHREAD Thread); /* 15 */
NTKERNELAPI BOOLEAN NTAPI PsGetVersion(PULONG MajorVersion, PULONG MinorVersion, PULONG BuildNumber,
				       PUNICODE_STRING CSDVersion); /* 0 */
NTKERNELAPI PEPROCESS NTAPI IoGetCurrentProcess(VOID);              /* 15 */
#define PsGetCurrentProcess() IoGetCurrentProcess()
#define PsGetCurrentThread()  ((PETHREAD)KeGetCurrentThread())

typedef VOID NTAPI CREATE_PROCESS_NOTIFY_ROUTINE(HANDLE ParentId, HANDLE ProcessId, BOOLEAN Create);
typedef CREATE_PROCESS_NOTIFY_ROUTINE *PCREATE_PROCESS_NOTIFY_ROUTINE;
typedef VOID NTAPI CREATE_THREAD_NOTIFY_ROUTINE(HANDLE ProcessId, HANDLE ThreadId, BOOLEAN Create);
typedef CREATE_THREAD_NOTIFY_ROUTINE *PCREATE_THREAD_NOTIFY_ROUTINE;
typedef struct _PS_CREATE_NOTIFY_INFO {
	SIZE_T Size;
	union {
		ULONG Flags;
		struct {
			ULONG FileOpenNameAvailable : 1;
			ULONG IsSubsystemProcess : 1;
			ULONG Reserved : 30;
		};
	};
	HANDLE ParentProcessId;
	CLIENT_ID CreatingThreadId;
	struct _FILE_OBJECT *FileObject;
	PCUNICODE_STRING ImageFileName;
	PCUNICODE_STRING CommandLine;
	NTSTATUS CreationStatus;
} PS_CREATE_NOTIFY_INFO, *PPS_CREATE_NOTIFY_INFO;
typedef VOID NTAPI CREATE_PROCESS_NOTIFY_ROUTINE_EX(PEPROCESS Process, HANDLE ProcessId,
						    PPS_CREATE_NOTIFY_INFO CreateInfo);
typedef CREATE_PROCESS_NOTIFY_ROUTINE_EX *PCREATE_PROCESS_NOTIFY_ROUTINE_EX;
typedef struct _IMAGE_INFO {
	union {
		ULONG Properties;
		struct {
			ULONG ImageAddressingMode : 8;
			ULONG SystemModeImage : 1;
			ULONG ImageMappedToAllPids : 1;
			ULONG ExtendedInfoPresent : 1;
			ULONG MachineTypeMismatch : 1;
			ULONG ImageSignatureLevel : 4;
			ULONG ImageSignatureType : 3;
			ULONG ImagePartialMap : 1;
			ULONG Reserved : 12;
		};
	};
	PVOID ImageBase;
	ULONG ImageSelector;
	SIZE_T ImageSize;
	ULONG ImageSectionNumber;
} IMAGE_INFO, *PIMAGE_INFO;
typedef VOID NTAPI LOAD_IMAGE_NOTIFY_ROUTINE(PUNICODE_STRING FullImageName, HANDLE ProcessId,
					     PIMAGE_INFO ImageInfo);
typedef LOAD_IMAGE_NOTIFY_ROUTINE *PLOAD_IMAGE_NOTIFY_ROUTINE;
NTKERNELAPI NTSTATUS NTAPI PsSetCreateProcessNotifyRoutine(
	PCREATE_PROCESS_NOTIFY_ROUTINE NotifyRoutine, BOOLEAN Remove); /* 0 */
NTKERNELAPI NTSTATUS NTAPI PsSetCreateProcessNotifyRoutineEx(
	PCREATE_PROCESS_NOTIFY_ROUTINE_EX NotifyRoutine, BOOLEAN Remove); /* 0 */
NTKERNELAPI NTSTATUS NTAPI
PsSetCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE NotifyRoutine);
NTKERNELAPI NTSTATUS NTAPI
PsRemoveCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE NotifyRoutine);
NTKERNELAPI NTSTATUS NTAPI PsSetLoadImageNotifyRoutine(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine);
NTKERNELAPI NTSTATUS NTAPI PsSetLoadImageNotifyRoutineEx(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine,
							 ULONG_PTR Flags);
NTKERNELAPI NTSTATUS NTAPI PsRemoveLoadImageNotifyRoutine(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine);

/* Objects. */
NTKERNELAPI NTSTATUS NTAPI
ObReferenceObjectByHandle(HANDLE Handle, ACCESS_MASK DesiredAccess, POBJECT_TYPE ObjectType,
			  KPROCESSOR_MODE AccessMode, PVOID *Object,
			  POBJECT_HANDLE_INFORMATION HandleInformation); /* 0 */
NTKERNELAPI NTSTATUS NTAPI
ObReferenceObjectByHandleWithTag(HANDLE Handle, ACCESS_MASK DesiredAccess, POBJECT_TYPE ObjectType,
				 KPROCESSOR_MODE AccessMode, ULONG Tag, PVOID *Object,
				 POBJECT_HANDLE_INFORMATION HandleInformation);
NTKERNELAPI NTSTATUS NTAPI ObReferenceObjectByPointer(PVOID Object, ACCESS_MASK DesiredAccess,
						      POBJECT_TYPE ObjectType,
						      KPROCESSOR_MODE AccessMode); /* 2 */
NTKERNELAPI NTSTATUS NTAPI ObReferenceObjectByPointerWithTag(PVOID Object,
							     ACCESS_MASK DesiredAccess,
							     POBJECT_TYPE ObjectType,
							     KPROCESSOR_MODE AccessMode,
							     ULONG Tag);               /* 2 */
NTKERNELAPI LONG_PTR FASTCALL ObfReferenceObject(PVOID Object);                        /* 2 */
NTKERNELAPI LONG_PTR FASTCALL ObfReferenceObjectWithTag(PVOID Object, ULONG Tag);      /* 2 */
NTKERNELAPI LONG_PTR FASTCALL ObfDereferenceObject(PVOID Object);                      /* 2 */
NTKERNELAPI LONG_PTR FASTCALL ObfDereferenceObjectWithTag(PVOID Object, ULONG Tag);    /* 2 */
NTKERNELAPI VOID NTAPI ObDereferenceObjectDeferDelete(PVOID Object);                   /* 2 */
NTKERNELAPI VOID NTAPI ObDereferenceObjectDeferDeleteWithTag(PVOID Object, ULONG Tag); /* 2 */
NTKERNELAPI NTSTATUS NTAPI ObCloseHandle(HANDLE Handle, KPROCESSOR_MODE PreviousMode); /* 0 */
#define ObReferenceObject(object)               ObfReferenceObject(object)
#define ObReferenceObjectWithTag(object, tag)   ObfReferenceObjectWithTag(object, tag)
#define ObDereferenceObject(object)             ObfDereferenceObject(object)
#define ObDereferenceObjectWithTag(object, tag) ObfDereferenceObjectWithTag(object, tag)
NTKERNELAPI NTSTATUS NTAPI ObOpenObjectByPointer(PVOID Object, ULONG HandleAttributes,
						 PACCESS_STATE PassedAccessState,
						 ACCESS_MASK DesiredAccess, POBJECT_TYPE ObjectType,
						 KPROCESSOR_MODE AccessMode,
						 PHANDLE Handle); /* 0 */
NTKERNELAPI NTSTATUS NTAPI ObGetObjectSecurity(PVOID Object,
					       PSECURITY_DESCRIPTOR *SecurityDescriptor,
					       PBOOLEAN MemoryAllocated); /* 0 */
NTKERNELAPI VOID NTAPI ObReleaseObjectSecurity(PSECURITY_DESCRIPTOR SecurityDescriptor,
					       BOOLEAN MemoryAllocated);
NTKERNELAPI NTSTATUS NTAPI ObQueryNameString(PVOID Object, POBJECT_NAME_INFORMATION ObjectNameInfo,
					     ULONG Length, PULONG ReturnLength); /* 0 */

/* DEF-314 */
KM_EXPORTED_DATA(POBJECT_TYPE, PsThreadType);
KM_EXPORTED_DATA(POBJECT_TYPE, PsProcessType);
KM_EXPORTED_DATA(POBJECT_TYPE, IoFileObjectType);
KM_EXPORTED_DATA(POBJECT_TYPE, ExEventObjectType);
KM_EXPORTED_DATA(POBJECT_TYPE, ExSemaphoreObjectType);

EXTERN_C_END
