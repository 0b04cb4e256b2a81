/* SPDX-License-Identifier: MIT
 *
 * ZwQuerySystemInformation's module list and RtlQueryModuleInformation (DEF-53): not in public
 * driver headers, so drivers declare them themselves; ours and the core include this.
 * PASSIVE_LEVEL.
 */
#pragma once
#include "wdm/zw_types.h"

EXTERN_C_START

#define SystemModuleInformation 11

typedef struct _RTL_PROCESS_MODULE_INFORMATION {
	HANDLE Section;
	PVOID MappedBase;
	PVOID ImageBase;
	ULONG ImageSize;
	ULONG Flags;
	USHORT LoadOrderIndex;
	USHORT InitOrderIndex;
	USHORT LoadCount;
	USHORT OffsetToFileName;
	UCHAR FullPathName[256];
} RTL_PROCESS_MODULE_INFORMATION, *PRTL_PROCESS_MODULE_INFORMATION;

typedef struct _RTL_PROCESS_MODULES {
	ULONG NumberOfModules;
	RTL_PROCESS_MODULE_INFORMATION Modules[1];
} RTL_PROCESS_MODULES, *PRTL_PROCESS_MODULES;

typedef struct _RTL_MODULE_EXTENDED_INFO {
	PVOID ImageBase;
	ULONG ImageSize;
	USHORT FileNameOffset;
	CHAR FullPathName[0x100];
} RTL_MODULE_EXTENDED_INFO, *PRTL_MODULE_EXTENDED_INFO;

/* The image's loader entry: DRIVER_OBJECT.DriverSection (DEF-50). */
typedef struct _KLDR_DATA_TABLE_ENTRY {
	LIST_ENTRY InLoadOrderLinks; /* 00 */
	PVOID ExceptionTable;        /* 10 */
	ULONG ExceptionTableSize;
	PVOID GpValue;
	PVOID NonPagedDebugInfo;
	PVOID DllBase; /* 30 */
	PVOID EntryPoint;
	ULONG SizeOfImage;
	UNICODE_STRING FullDllName; /* 48 */
	UNICODE_STRING BaseDllName;
	ULONG Flags; /* 68 */
	USHORT LoadCount;
	USHORT Reserved6E;
	PVOID SectionPointer; /* 70 */
	ULONG CheckSum;
	ULONG CoverageSectionSize;
	PVOID LoadedImports; /* 80 */
	PVOID Reserved88;
	ULONG SizeOfImageNotRounded;
	ULONG TimeDateStamp;
	PVOID Reserved98;
} KLDR_DATA_TABLE_ENTRY, *PKLDR_DATA_TABLE_ENTRY;

NTSYSCALLAPI NTSTATUS NTAPI ZwQuerySystemInformation(ULONG SystemInformationClass,
						     PVOID SystemInformation,
						     ULONG SystemInformationLength,
						     PULONG ReturnLength);
NTSYSAPI NTSTATUS NTAPI RtlQueryModuleInformation(PULONG InformationLength, ULONG SizePerModule,
						  PVOID InformationBuffer);

#ifdef _WIN32
KM_EXPORTED_DATA(LIST_ENTRY, PsLoadedModuleList); /* DEF-52; the core has its own type for it */
#endif

EXTERN_C_END
