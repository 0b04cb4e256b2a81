/* SPDX-License-Identifier: MIT
 *
 * Zw functions: all at PASSIVE_LEVEL.
 */
#pragma once
#include "zw_types.h"

EXTERN_C_START

NTSYSCALLAPI NTSTATUS NTAPI ZwClose(HANDLE Handle);
NTSYSCALLAPI NTSTATUS NTAPI NtClose(HANDLE Handle);

/* Files. */
NTSYSCALLAPI NTSTATUS NTAPI ZwCreateFile(PHANDLE FileHandle, ACCESS_MASK DesiredAccess,
					 POBJECT_ATTRIBUTES ObjectAttributes,
					 PIO_STATUS_BLOCK IoStatusBlock,
					 PLARGE_INTEGER AllocationSize, ULONG FileAttributes,
					 ULONG ShareAccess, ULONG CreateDisposition,
					 ULONG CreateOptions, PVOID EaBuffer, ULONG EaLength);
NTSYSCALLAPI NTSTATUS NTAPI ZwOpenFile(PHANDLE FileHandle, ACCESS_MASK DesiredAccess,
				       POBJECT_ATTRIBUTES ObjectAttributes,
				       PIO_STATUS_BLOCK IoStatusBlock, ULONG ShareAccess,
				       ULONG OpenOptions);
NTSYSCALLAPI NTSTATUS NTAPI ZwReadFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine,
				       PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock,
				       PVOID Buffer, ULONG Length, PLARGE_INTEGER ByteOffset,
				       PULONG Key);
NTSYSCALLAPI NTSTATUS NTAPI ZwWriteFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine,
					PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock,
					PVOID Buffer, ULONG Length, PLARGE_INTEGER ByteOffset,
					PULONG Key);
NTSYSCALLAPI NTSTATUS NTAPI ZwQueryInformationFile(HANDLE FileHandle,
						   PIO_STATUS_BLOCK IoStatusBlock,
						   PVOID FileInformation, ULONG Length,
						   FILE_INFORMATION_CLASS FileInformationClass);
NTSYSCALLAPI NTSTATUS NTAPI ZwSetInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock,
						 PVOID FileInformation, ULONG Length,
						 FILE_INFORMATION_CLASS FileInformationClass);
NTSYSCALLAPI NTSTATUS NTAPI ZwDeleteFile(POBJECT_ATTRIBUTES ObjectAttributes);
NTSYSCALLAPI NTSTATUS NTAPI ZwFlushBuffersFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock);
NTSYSCALLAPI NTSTATUS NTAPI ZwDeviceIoControlFile(HANDLE FileHandle, HANDLE Event,
						  PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext,
						  PIO_STATUS_BLOCK IoStatusBlock,
						  ULONG IoControlCode, PVOID InputBuffer,
						  ULONG InputBufferLength, PVOID OutputBuffer,
						  ULONG OutputBufferLength);
NTSYSCALLAPI NTSTATUS NTAPI ZwQueryFullAttributesFile(
	POBJECT_ATTRIBUTES ObjectAttributes, PFILE_NETWORK_OPEN_INFORMATION FileInformation);

/* Registry. */
NTSYSCALLAPI NTSTATUS NTAPI ZwCreateKey(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess,
					POBJECT_ATTRIBUTES ObjectAttributes, ULONG TitleIndex,
					PUNICODE_STRING Class, ULONG CreateOptions,
					PULONG Disposition);
NTSYSCALLAPI NTSTATUS NTAPI ZwOpenKey(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess,
				      POBJECT_ATTRIBUTES ObjectAttributes);
NTSYSCALLAPI NTSTATUS NTAPI ZwOpenKeyEx(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess,
					POBJECT_ATTRIBUTES ObjectAttributes, ULONG OpenOptions);
NTSYSCALLAPI NTSTATUS NTAPI ZwDeleteKey(HANDLE KeyHandle);
NTSYSCALLAPI NTSTATUS NTAPI ZwFlushKey(HANDLE KeyHandle);
NTSYSCALLAPI NTSTATUS NTAPI ZwQueryKey(HANDLE KeyHandle, KEY_INFORMATION_CLASS KeyInformationClass,
				       PVOID KeyInformation, ULONG Length, PULONG ResultLength);
NTSYSCALLAPI NTSTATUS NTAPI ZwEnumerateKey(HANDLE KeyHandle, ULONG Index,
					   KEY_INFORMATION_CLASS KeyInformationClass,
					   PVOID KeyInformation, ULONG Length, PULONG ResultLength);
NTSYSCALLAPI NTSTATUS NTAPI ZwQueryValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName,
					    KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
					    PVOID KeyValueInformation, ULONG Length,
					    PULONG ResultLength);
NTSYSCALLAPI NTSTATUS NTAPI ZwEnumerateValueKey(
	HANDLE KeyHandle, ULONG Index, KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
	PVOID KeyValueInformation, ULONG Length, PULONG ResultLength);
NTSYSCALLAPI NTSTATUS NTAPI ZwSetValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName,
					  ULONG TitleIndex, ULONG Type, PVOID Data, ULONG DataSize);
NTSYSCALLAPI NTSTATUS NTAPI ZwDeleteValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName);

/* Objects, sections, links. */
NTSYSCALLAPI NTSTATUS NTAPI ZwCreateDirectoryObject(PHANDLE DirectoryHandle,
						    ACCESS_MASK DesiredAccess,
						    POBJECT_ATTRIBUTES ObjectAttributes);
NTSYSCALLAPI NTSTATUS NTAPI ZwOpenDirectoryObject(PHANDLE DirectoryHandle,
						  ACCESS_MASK DesiredAccess,
						  POBJECT_ATTRIBUTES ObjectAttributes);
NTSYSCALLAPI NTSTATUS NTAPI ZwMakeTemporaryObject(HANDLE Handle);
NTSYSCALLAPI NTSTATUS NTAPI ZwCreateSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess,
					    POBJECT_ATTRIBUTES ObjectAttributes,
					    PLARGE_INTEGER MaximumSize, ULONG SectionPageProtection,
					    ULONG AllocationAttributes, HANDLE FileHandle);
NTSYSCALLAPI NTSTATUS NTAPI ZwOpenSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess,
					  POBJECT_ATTRIBUTES ObjectAttributes);
NTSYSCALLAPI NTSTATUS NTAPI ZwMapViewOfSection(HANDLE SectionHandle, HANDLE ProcessHandle,
					       PVOID *BaseAddress, ULONG_PTR ZeroBits,
					       SIZE_T CommitSize, PLARGE_INTEGER SectionOffset,
					       PSIZE_T ViewSize, SECTION_INHERIT InheritDisposition,
					       ULONG AllocationType, ULONG Win32Protect);
NTSYSCALLAPI NTSTATUS NTAPI ZwUnmapViewOfSection(HANDLE ProcessHandle, PVOID BaseAddress);
NTSYSCALLAPI NTSTATUS NTAPI ZwCreateSymbolicLinkObject(PHANDLE LinkHandle,
						       ACCESS_MASK DesiredAccess,
						       POBJECT_ATTRIBUTES ObjectAttributes,
						       PUNICODE_STRING LinkTarget);
NTSYSCALLAPI NTSTATUS NTAPI ZwOpenSymbolicLinkObject(PHANDLE LinkHandle, ACCESS_MASK DesiredAccess,
						     POBJECT_ATTRIBUTES ObjectAttributes);
NTSYSCALLAPI NTSTATUS NTAPI ZwQuerySymbolicLinkObject(HANDLE LinkHandle, PUNICODE_STRING LinkTarget,
						      PULONG ReturnedLength);
NTSYSCALLAPI NTSTATUS NTAPI ZwLoadDriver(PUNICODE_STRING DriverServiceName);
NTSYSCALLAPI NTSTATUS NTAPI ZwUnloadDriver(PUNICODE_STRING DriverServiceName);

#define ZwCurrentProcess() ((HANDLE)(LONG_PTR)-1)
#define NtCurrentProcess() ZwCurrentProcess()
#define ZwCurrentThread()  ((HANDLE)(LONG_PTR)-2)
#define NtCurrentThread()  ZwCurrentThread()

EXTERN_C_END
