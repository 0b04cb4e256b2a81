/* SPDX-License-Identifier: MIT
 *
 * ntifs.h's Zw functions. All at PASSIVE_LEVEL.
 */
#pragma once
#include "../wdm.h"

EXTERN_C_START

NTSYSCALLAPI NTSTATUS NTAPI ZwWaitForSingleObject(HANDLE Handle, BOOLEAN Alertable,
						  PLARGE_INTEGER Timeout);
NTSYSCALLAPI NTSTATUS NTAPI ZwCreateEvent(PHANDLE EventHandle, ACCESS_MASK DesiredAccess,
					  POBJECT_ATTRIBUTES ObjectAttributes, EVENT_TYPE EventType,
					  BOOLEAN InitialState);
NTSYSCALLAPI NTSTATUS NTAPI ZwOpenEvent(PHANDLE EventHandle, ACCESS_MASK DesiredAccess,
					POBJECT_ATTRIBUTES ObjectAttributes);
NTSYSCALLAPI NTSTATUS NTAPI ZwSetEvent(HANDLE EventHandle, PLONG PreviousState);
NTSYSCALLAPI NTSTATUS NTAPI ZwClearEvent(HANDLE EventHandle);
NTSYSCALLAPI NTSTATUS NTAPI ZwResetEvent(HANDLE EventHandle, PLONG PreviousState);
NTSYSCALLAPI NTSTATUS NTAPI ZwAllocateVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress,
						    ULONG_PTR ZeroBits, PSIZE_T RegionSize,
						    ULONG AllocationType, ULONG Protect);
NTSYSCALLAPI NTSTATUS NTAPI ZwFreeVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress,
						PSIZE_T RegionSize, ULONG FreeType);
NTSYSCALLAPI NTSTATUS NTAPI ZwQueryDirectoryFile(HANDLE FileHandle, HANDLE Event,
						 PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext,
						 PIO_STATUS_BLOCK IoStatusBlock,
						 PVOID FileInformation, ULONG Length,
						 FILE_INFORMATION_CLASS FileInformationClass,
						 BOOLEAN ReturnSingleEntry,
						 PUNICODE_STRING FileName, BOOLEAN RestartScan);
NTSYSCALLAPI NTSTATUS NTAPI ZwQueryVolumeInformationFile(HANDLE FileHandle,
							 PIO_STATUS_BLOCK IoStatusBlock,
							 PVOID FsInformation, ULONG Length,
							 FS_INFORMATION_CLASS FsInformationClass);
NTSYSCALLAPI NTSTATUS NTAPI ZwFsControlFile(HANDLE FileHandle, HANDLE Event,
					    PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext,
					    PIO_STATUS_BLOCK IoStatusBlock, ULONG FsControlCode,
					    PVOID InputBuffer, ULONG InputBufferLength,
					    PVOID OutputBuffer, ULONG OutputBufferLength);
NTSYSCALLAPI NTSTATUS NTAPI ZwQueryObject(HANDLE Handle, ULONG ObjectInformationClass,
					  PVOID ObjectInformation, ULONG ObjectInformationLength,
					  PULONG ReturnLength);
NTSYSCALLAPI NTSTATUS NTAPI ZwDuplicateObject(HANDLE SourceProcessHandle, HANDLE SourceHandle,
					      HANDLE TargetProcessHandle, PHANDLE TargetHandle,
					      ACCESS_MASK DesiredAccess, ULONG HandleAttributes,
					      ULONG Options);

EXTERN_C_END
