/* SPDX-License-Identifier: MIT */
/*
 * What drivers ask about modules: a routine of the kernel by name, and the lists of loaded modules.
 *
 * Contexts: PASSIVE_LEVEL; the lists under the loader's mutex, so that the count and the records
 * agree. Requirements: DEF-7, DEF-53, DEF-125, DEF-145, DEF-218, DEF-311.
 *
 * Chosen where documents are silent: of ZwQuerySystemInformation's classes only the modules exist,
 * others are STATUS_INVALID_INFO_CLASS; a buffer that is too small is not touched;
 * RtlQueryModuleInformation takes records of 0x110 bytes, or of 8 with only the base.
 */
#include <ntsysinfo.h>
#include "ke/ke.h"
#include "ldr/ldr_internal.h"

enum { ROUTINE_NAME_MAX = 128 }; /* characters; longer names are in no table */

/*
 * Purpose: the address of a routine or variable that ntoskrnl.exe or HAL.dll exports.
 * IRQL = PASSIVE_LEVEL. SystemRoutineName: case-sensitive, with or without a terminator.
 * Returns what an import of that name is bound to; NULL when there is none. (DEF-7, DEF-125)
 */
PVOID NTAPI MmGetSystemRoutineAddress(PUNICODE_STRING SystemRoutineName)
{
	size_t length = SystemRoutineName->Length / sizeof(WCHAR);
	char name[ROUTINE_NAME_MAX];

	while (length && SystemRoutineName->Buffer[length - 1] == 0)
		length--;
	if (length >= sizeof(name))
		return NULL;
	for (size_t i = 0; i < length; i++) {
		if (SystemRoutineName->Buffer[i] > 0x7f)
			return NULL;
		name[i] = (char)SystemRoutineName->Buffer[i];
	}
	name[length] = 0;
	return ldr_kernel_export(NULL, name);
}

static void add_process_module(void *context, const struct ldr_module *module)
{
	RTL_PROCESS_MODULES *list = context;
	ULONG number = list->NumberOfModules++;
	RTL_PROCESS_MODULE_INFORMATION *record = &list->Modules[number];

	*record = (RTL_PROCESS_MODULE_INFORMATION){
		.ImageBase = (PVOID)module->base,
		.ImageSize = module->size,
		.LoadOrderIndex = (USHORT)number,
		.InitOrderIndex = (USHORT)number,
		.LoadCount = module->load_count,
		.OffsetToFileName = module->name_offset,
	};
	memcpy(record->FullPathName, module->path, sizeof(record->FullPathName));
}

/*
 * Purpose: the list of loaded modules, ntoskrnl.exe first.
 * IRQL = PASSIVE_LEVEL. SystemInformationClass 11 (SystemModuleInformation); ReturnLength (bytes
 * needed) may be NULL. STATUS_SUCCESS; STATUS_INFO_LENGTH_MISMATCH: the buffer is too small;
 * STATUS_INVALID_INFO_CLASS: another class. (DEF-53)
 */
NTSTATUS NTAPI ZwQuerySystemInformation(ULONG SystemInformationClass, PVOID SystemInformation,
					ULONG SystemInformationLength, PULONG ReturnLength)
{
	NTSTATUS status = STATUS_INFO_LENGTH_MISMATCH;
	ULONG needed;

	if (SystemInformationClass != SystemModuleInformation)
		return STATUS_INVALID_INFO_CLASS;
	ldr_lock();
	needed = (ULONG)(FIELD_OFFSET(RTL_PROCESS_MODULES, Modules) +
			 ldr_modules_each(NULL, NULL) * sizeof(RTL_PROCESS_MODULE_INFORMATION));
	if (SystemInformation && SystemInformationLength >= needed) {
		((RTL_PROCESS_MODULES *)SystemInformation)->NumberOfModules = 0;
		ldr_modules_each(add_process_module, SystemInformation);
		status = STATUS_SUCCESS;
	}
	ldr_unlock();
	if (ReturnLength)
		*ReturnLength = needed;
	return status;
}

static void add_extended_info(void *context, const struct ldr_module *module)
{
	RTL_MODULE_EXTENDED_INFO **next = context;
	RTL_MODULE_EXTENDED_INFO *record = (*next)++;

	record->ImageBase = (PVOID)module->base;
	record->ImageSize = module->size;
	record->FileNameOffset = module->name_offset;
	memcpy(record->FullPathName, module->path, sizeof(record->FullPathName));
}

static void add_base(void *context, const struct ldr_module *module)
{
	PVOID **next = context;

	*(*next)++ = (PVOID)module->base;
}

/*
 * Purpose: the list of loaded modules in records of the caller's choice.
 * IRQL = PASSIVE_LEVEL. InformationLength: bytes, in and out; SizePerModule: 0x110 or 8;
 * InformationBuffer NULL: only the length is given. STATUS_SUCCESS; STATUS_BUFFER_TOO_SMALL:
 * InformationLength has the bytes needed; STATUS_INVALID_PARAMETER: SizePerModule. (DEF-53,
 * DEF-311)
 */
NTSTATUS NTAPI RtlQueryModuleInformation(PULONG InformationLength, ULONG SizePerModule,
					 PVOID InformationBuffer)
{
	NTSTATUS status = STATUS_SUCCESS;
	ULONG needed;

	if (SizePerModule != sizeof(RTL_MODULE_EXTENDED_INFO) && SizePerModule != sizeof(PVOID))
		return STATUS_INVALID_PARAMETER;
	ldr_lock();
	needed = ldr_modules_each(NULL, NULL) * SizePerModule;
	if (InformationBuffer && *InformationLength < needed)
		status = STATUS_BUFFER_TOO_SMALL;
	else if (InformationBuffer && SizePerModule == sizeof(PVOID))
		ldr_modules_each(add_base, &InformationBuffer);
	else if (InformationBuffer)
		ldr_modules_each(add_extended_info, &InformationBuffer);
	ldr_unlock();
	*InformationLength = needed;
	return status;
}
