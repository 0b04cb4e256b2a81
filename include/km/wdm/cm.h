/* SPDX-License-Identifier: MIT
 *
 * Registry callbacks: APC_LEVEL.
 */
#pragma once
#include "../ntdef.h"

EXTERN_C_START

typedef NTSTATUS NTAPI EX_CALLBACK_FUNCTION(PVOID CallbackContext, PVOID Argument1,
					    PVOID Argument2);
typedef EX_CALLBACK_FUNCTION *PEX_CALLBACK_FUNCTION;
NTKERNELAPI NTSTATUS NTAPI CmRegisterCallback(PEX_CALLBACK_FUNCTION Function, PVOID Context,
					      PLARGE_INTEGER Cookie);
NTKERNELAPI NTSTATUS NTAPI CmRegisterCallbackEx(PEX_CALLBACK_FUNCTION Function,
						PCUNICODE_STRING Altitude, PVOID Driver,
						PVOID Context, PLARGE_INTEGER Cookie,
						PVOID Reserved);
NTKERNELAPI NTSTATUS NTAPI CmUnRegisterCallback(LARGE_INTEGER Cookie);

EXTERN_C_END
