/* SPDX-License-Identifier: MIT
 *
 * KAFFINITY_EX and HalSendNMI (DEF-7..21). Public headers leave the type incomplete and the
 * functions out, so drivers that define their own do not include this; ours do. Any IRQL.
 */
#pragma once
#include "wdm/ke_proc.h"

EXTERN_C_START

/*
 * One mask per processor group. No routine writes past Bitmap[19] unless Size says that the block
 * is larger: drivers hold blocks of exactly 0xA8 bytes (DEF-16).
 */
struct _KAFFINITY_EX {
	USHORT Count; /* masks in use */
	USHORT Size;  /* masks that fit: 20 */
	ULONG Reserved;
	ULONGLONG Bitmap[20];
};

NTHALAPI ULONG_PTR NTAPI HalSendNMI(PCKAFFINITY_EX Processors);
NTKERNELAPI PVOID NTAPI KeInitializeAffinityEx(PKAFFINITY_EX Affinity);
NTKERNELAPI VOID NTAPI KeAddProcessorAffinityEx(PKAFFINITY_EX Affinity, ULONG Index);
NTKERNELAPI VOID NTAPI KeRemoveProcessorAffinityEx(PKAFFINITY_EX Affinity, ULONG Index);
NTKERNELAPI BOOLEAN NTAPI KeCheckProcessorAffinityEx(PCKAFFINITY_EX Affinity, ULONG Index);
NTKERNELAPI VOID NTAPI KeCopyAffinityEx(PKAFFINITY_EX Destination, PCKAFFINITY_EX Source);
NTKERNELAPI BOOLEAN NTAPI KeAndAffinityEx(PCKAFFINITY_EX One, PCKAFFINITY_EX Two,
					  PKAFFINITY_EX Result);
NTKERNELAPI VOID NTAPI KeOrAffinityEx(PCKAFFINITY_EX One, PCKAFFINITY_EX Two, PKAFFINITY_EX Result);
NTKERNELAPI VOID NTAPI KeComplementAffinityEx(PKAFFINITY_EX Result, PCKAFFINITY_EX Affinity);
NTKERNELAPI BOOLEAN NTAPI KeSubtractAffinityEx(PCKAFFINITY_EX One, PCKAFFINITY_EX Two,
					       PKAFFINITY_EX Result);
NTKERNELAPI BOOLEAN NTAPI KeIsEmptyAffinityEx(PCKAFFINITY_EX Affinity);
NTKERNELAPI BOOLEAN NTAPI KeIsEqualAffinityEx(PCKAFFINITY_EX One, PCKAFFINITY_EX Two);
NTKERNELAPI BOOLEAN NTAPI KeIsSubsetAffinityEx(PCKAFFINITY_EX One, PCKAFFINITY_EX Two);
NTKERNELAPI BOOLEAN NTAPI KeIsSingleGroupAffinityEx(PCKAFFINITY_EX Affinity, PUSHORT Group);
NTKERNELAPI ULONG NTAPI KeCountSetBitsAffinityEx(PCKAFFINITY_EX Affinity);
NTKERNELAPI ULONG NTAPI KeFindFirstSetLeftAffinityEx(PCKAFFINITY_EX Affinity);
NTKERNELAPI ULONG NTAPI KeFindFirstSetRightAffinityEx(PCKAFFINITY_EX Affinity);
NTKERNELAPI VOID NTAPI KeAddGroupAffinityEx(PKAFFINITY_EX Affinity, USHORT Group, KAFFINITY Mask);
NTKERNELAPI VOID NTAPI KeRemoveGroupAffinityEx(PKAFFINITY_EX Affinity, USHORT Group,
					       KAFFINITY Mask);
NTKERNELAPI VOID NTAPI KeAndGroupAffinityEx(PKAFFINITY_EX Affinity, USHORT Group, KAFFINITY Mask);
NTKERNELAPI KAFFINITY NTAPI KeQueryGroupAffinityEx(PCKAFFINITY_EX Affinity, USHORT Group);
NTKERNELAPI VOID NTAPI KeFirstGroupAffinityEx(PGROUP_AFFINITY GroupAffinity,
					      PCKAFFINITY_EX Affinity);
NTKERNELAPI BOOLEAN NTAPI KeInterlockedSetProcessorAffinityEx(PKAFFINITY_EX Affinity, ULONG Index);
NTKERNELAPI BOOLEAN NTAPI KeInterlockedClearProcessorAffinityEx(PKAFFINITY_EX Affinity,
								ULONG Index);

EXTERN_C_END
