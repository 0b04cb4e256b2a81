/* SPDX-License-Identifier: MIT */
/*
 * version.c: which Windows this is (DEF-47, DEF-215), and random numbers.
 *
 * PASSIVE_LEVEL by the pages; pure code. The numbers agree with the shared page and PsGetVersion.
 */
#include <ntifs.h>
#include "rtl/rtl.h"

#define SIZE_PLAIN    0x114u
#define SIZE_EXTENDED 0x11cu
_Static_assert(sizeof(RTL_OSVERSIONINFOW) == SIZE_PLAIN, "DEF-215");
_Static_assert(sizeof(RTL_OSVERSIONINFOEXW) == SIZE_EXTENDED, "DEF-215");

/* STATUS_SUCCESS always, as documented; fills as much as the caller's size says: 0x114 or 0x11C
 * bytes. (DEF-215) */
NTSTATUS NTAPI RtlGetVersion(PRTL_OSVERSIONINFOW VersionInformation)
{
	ULONG size = VersionInformation->dwOSVersionInfoSize;
	VersionInformation->dwMajorVersion = RTL_VERSION_MAJOR;
	VersionInformation->dwMinorVersion = RTL_VERSION_MINOR;
	VersionInformation->dwBuildNumber = RTL_VERSION_BUILD;
	VersionInformation->dwPlatformId = VER_PLATFORM_WIN32_NT;
	VersionInformation->szCSDVersion[0] = 0;
	if (size == SIZE_EXTENDED) {
		PRTL_OSVERSIONINFOEXW extended = (PRTL_OSVERSIONINFOEXW)VersionInformation;
		extended->wServicePackMajor = 0;
		extended->wServicePackMinor = 0;
		extended->wSuiteMask = RTL_VERSION_SUITE;
		extended->wProductType = VER_NT_WORKSTATION;
		extended->wReserved = 0;
	}
	return STATUS_SUCCESS;
}

/* Version: 0xMMmm0000 (NTDDI). TRUE if this system is at least that. */
BOOLEAN NTAPI RtlIsNtDdiVersionAvailable(ULONG Version)
{
	if (Version & 0xffff)
		return FALSE; /* service packs have a function of their own */
	return Version <= ((ULONG)RTL_VERSION_MAJOR << 24 | (ULONG)RTL_VERSION_MINOR << 16);
}

/* Service packs ended with version 6: of an older system every one counts as installed, of this one
 * none but 0. */
BOOLEAN NTAPI RtlIsServicePackVersionInstalled(ULONG Version)
{
	ULONG own = (ULONG)RTL_VERSION_MAJOR << 24 | (ULONG)RTL_VERSION_MINOR << 16;
	return (Version & 0xffff0000) == own && !(Version & 0xff00);
}

/* A number below 2^31 from a seed, which it replaces: the generator with multiplier 16807 modulo
 * 2^31 - 1, mixed. */
ULONG NTAPI RtlRandomEx(PULONG Seed)
{
	uint64_t state = *Seed % 0x7fffffffu;
	if (!state)
		state = 1;
	state = state * 16807 % 0x7fffffff;
	*Seed = (ULONG)state;
	uint32_t mixed = (uint32_t)state;
	mixed ^= mixed >> 15;
	mixed *= 0x2c1b3c6du;
	mixed ^= mixed >> 12;
	return mixed % 0x7fffffffu;
}
