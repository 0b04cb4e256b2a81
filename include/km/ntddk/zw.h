/* SPDX-License-Identifier: MIT
 *
 * ntddk.h's further functions: processes, timers, waits by handle. All at PASSIVE_LEVEL.
 */
#pragma once
#include "../wdm.h"

EXTERN_C_START

NTSYSCALLAPI NTSTATUS NTAPI ZwOpenProcess(PHANDLE ProcessHandle, ACCESS_MASK DesiredAccess,
					  POBJECT_ATTRIBUTES ObjectAttributes, PCLIENT_ID ClientId);
NTSYSCALLAPI NTSTATUS NTAPI ZwTerminateProcess(HANDLE ProcessHandle, NTSTATUS ExitStatus);
NTSYSCALLAPI NTSTATUS NTAPI ZwSetInformationThread(HANDLE ThreadHandle,
						   ULONG ThreadInformationClass,
						   PVOID ThreadInformation,
						   ULONG ThreadInformationLength);

/* The table of the hardware layer's optional functions (DEF-314); opaque. */
#ifdef _WIN32
typedef struct _HAL_DISPATCH HAL_DISPATCH, *PHAL_DISPATCH;
KM_EXPORTED_DATA(HAL_DISPATCH, HalDispatchTable);
#endif

EXTERN_C_END
