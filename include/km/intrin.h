/* SPDX-License-Identifier: MIT
 *
 * Compiler intrinsics that drivers use: interlocked operations, bits, and the privileged
 * instructions, which stay instructions and are emulated by the runtime (DESIGN.md decision 4,
 * DEF-38..42). Every name is a macro over a function of ours, because the msvc target of clang
 * knows some of them as builtins and others not.
 */
#pragma once
#include "ntdef.h"
#include "intrin_atomic.h"

EXTERN_C_START

/* Compiler barriers and hints. */
#define _ReadWriteBarrier()       __asm__ volatile("" : : : "memory")
#define _ReadBarrier()            _ReadWriteBarrier()
#define _WriteBarrier()           _ReadWriteBarrier()
#define _mm_pause()               __builtin_ia32_pause()
#define _mm_mfence()              __builtin_ia32_mfence()
#define _mm_lfence()              __builtin_ia32_lfence()
#define _mm_sfence()              __builtin_ia32_sfence()
#define __faststorefence()        __sync_synchronize()
#define __nop()                   __asm__ volatile("nop")
#define _ReturnAddress()          __builtin_return_address(0)
#define _AddressOfReturnAddress() ((PVOID *)__builtin_frame_address(0) + 1)
#ifndef __noop
#define __noop(...) ((void)0)
#endif

/* Traps. */
#define __debugbreak() __asm__ volatile("int3" : : : "memory")
#define __int2c()      __asm__ volatile("int $0x2c" : : : "memory")
#define __ud2()        __builtin_trap()
#define __fastfail(code)                                                                           \
	do {                                                                                       \
		__asm__ volatile("int $0x29" : : "c"((ULONG)(code)) : "memory");                   \
		__builtin_unreachable();                                                           \
	} while (0)

/* Time and identity. */
FORCEINLINE ULONG64 km_rdtsc(void)
{
	ULONG low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return ((ULONG64)high << 32) | low;
}
FORCEINLINE ULONG64 km_rdtscp(PVOID aux)
{
	ULONG low, high, id;
	__asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(id));
	*(unsigned int *)aux = id;
	return ((ULONG64)high << 32) | low;
}
FORCEINLINE void km_cpuid(int *registers, int leaf, int subleaf)
{
	__asm__ volatile("cpuid"
			 : "=a"(registers[0]), "=b"(registers[1]), "=c"(registers[2]),
			   "=d"(registers[3])
			 : "a"(leaf), "c"(subleaf));
}
#define __rdtsc()                       km_rdtsc()
#define ReadTimeStampCounter()          km_rdtsc()
#define __rdtscp(aux)                   km_rdtscp(aux)
#define __cpuid(registers, leaf)        km_cpuid((int *)(registers), (int)(leaf), 0)
#define __cpuidex(registers, leaf, sub) km_cpuid((int *)(registers), (int)(leaf), (int)(sub))

/* Control registers, flags, interrupts: privileged, emulated. */
FORCEINLINE ULONG64 km_readcr8(void)
{
	ULONG64 value;
	__asm__ volatile("mov %%cr8, %0" : "=r"(value) : : "memory");
	return value;
}
FORCEINLINE void km_writecr8(ULONG64 value)
{
	__asm__ volatile("mov %0, %%cr8" : : "r"(value) : "memory");
}
#define KM_CONTROL_REGISTER(n)                                                                     \
	FORCEINLINE ULONG64 km_readcr##n(void)                                                     \
	{                                                                                          \
		ULONG64 value;                                                                     \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(value) : : "memory");                 \
		return value;                                                                      \
	}                                                                                          \
	FORCEINLINE void km_writecr##n(ULONG64 value)                                              \
	{                                                                                          \
		__asm__ volatile("mov %0, %%cr" #n : : "r"(value) : "memory");                     \
	}
KM_CONTROL_REGISTER(0)
KM_CONTROL_REGISTER(2)
KM_CONTROL_REGISTER(3)
KM_CONTROL_REGISTER(4)
#undef KM_CONTROL_REGISTER
#define __readcr0()       km_readcr0()
#define __readcr2()       km_readcr2()
#define __readcr3()       km_readcr3()
#define __readcr4()       km_readcr4()
#define __readcr8()       km_readcr8()
#define __writecr0(value) km_writecr0(value)
#define __writecr3(value) km_writecr3(value)
#define __writecr4(value) km_writecr4(value)
#define __writecr8(value) km_writecr8(value)
#define _disable()        __asm__ volatile("cli" : : : "memory")
#define _enable()         __asm__ volatile("sti" : : : "memory")
#define __halt()          __asm__ volatile("hlt" : : : "memory")
#define __invlpg(address) __asm__ volatile("invlpg %0" : : "m"(*(char *)(address)) : "memory")
#define __wbinvd()        __asm__ volatile("wbinvd" : : : "memory")

FORCEINLINE ULONG64 km_readeflags(void)
{
	ULONG64 value;
	__asm__ volatile("pushfq; popq %0" : "=r"(value) : : "memory");
	return value;
}
FORCEINLINE void km_writeeflags(ULONG64 value)
{
	__asm__ volatile("pushq %0; popfq" : : "r"(value) : "memory", "cc");
}
FORCEINLINE ULONG64 km_readmsr(ULONG index)
{
	ULONG low, high;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index) : "memory");
	return ((ULONG64)high << 32) | low;
}
FORCEINLINE void km_writemsr(ULONG index, ULONG64 value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(index), "a"((ULONG)value), "d"((ULONG)(value >> 32))
			 : "memory");
}
#define __readeflags()           km_readeflags()
#define __writeeflags(value)     km_writeeflags(value)
#define __readmsr(index)         km_readmsr(index)
#define __writemsr(index, value) km_writemsr(index, value)
#define __sidt(to)               __asm__ volatile("sidt %0" : "=m"(*(UCHAR(*)[10])(to)) : : "memory")
#define __lidt(from)             __asm__ volatile("lidt %0" : : "m"(*(const UCHAR(*)[10])(from)) : "memory")

/* The GS segment: the processor's KPCR (DEF-38). */
#define KM_READ_GS(name, type, op)                                                                 \
	FORCEINLINE type name(ULONG offset)                                                        \
	{                                                                                          \
		type value;                                                                        \
		__asm__ volatile(op " %%gs:(%1), %0"                                               \
				 : "=r"(value)                                                     \
				 : "r"((ULONG64)offset)                                            \
				 : "memory");                                                      \
		return value;                                                                      \
	}                                                                                          \
	FORCEINLINE void name##_write(ULONG offset, type value)                                    \
	{                                                                                          \
		__asm__ volatile(op " %0, %%gs:(%1)"                                               \
				 :                                                                 \
				 : "r"(value), "r"((ULONG64)offset)                                \
				 : "memory");                                                      \
	}
KM_READ_GS(km_gs_byte, UCHAR, "movb")
KM_READ_GS(km_gs_word, USHORT, "movw")
KM_READ_GS(km_gs_dword, ULONG, "movl")
KM_READ_GS(km_gs_qword, ULONG64, "movq")
#undef KM_READ_GS
#define __readgsbyte(offset)          km_gs_byte(offset)
#define __readgsword(offset)          km_gs_word(offset)
#define __readgsdword(offset)         km_gs_dword(offset)
#define __readgsqword(offset)         km_gs_qword(offset)
#define __writegsbyte(offset, value)  km_gs_byte_write(offset, value)
#define __writegsword(offset, value)  km_gs_word_write(offset, value)
#define __writegsdword(offset, value) km_gs_dword_write(offset, value)
#define __writegsqword(offset, value) km_gs_qword_write(offset, value)

/* Ports. */
#define KM_PORT(type, suffix, op)                                                                  \
	FORCEINLINE type km_in##suffix(USHORT port)                                                \
	{                                                                                          \
		type value;                                                                        \
		__asm__ volatile("in" op " %1, %0" : "=a"(value) : "Nd"(port) : "memory");         \
		return value;                                                                      \
	}                                                                                          \
	FORCEINLINE void km_out##suffix(USHORT port, type value)                                   \
	{                                                                                          \
		__asm__ volatile("out" op " %0, %1" : : "a"(value), "Nd"(port) : "memory");        \
	}
KM_PORT(UCHAR, byte, "b")
KM_PORT(USHORT, word, "w")
KM_PORT(ULONG, dword, "l")
#undef KM_PORT
#define __inbyte(port)          km_inbyte(port)
#define __inword(port)          km_inword(port)
#define __indword(port)         km_indword(port)
#define __outbyte(port, value)  km_outbyte(port, value)
#define __outword(port, value)  km_outword(port, value)
#define __outdword(port, value) km_outdword(port, value)

/* Bits. */
FORCEINLINE UCHAR km_scan_forward(ULONG *index, ULONG64 mask)
{
	if (mask == 0)
		return 0;
	*index = (ULONG)__builtin_ctzll(mask);
	return 1;
}
FORCEINLINE UCHAR km_scan_reverse(ULONG *index, ULONG64 mask)
{
	if (mask == 0)
		return 0;
	*index = 63 - (ULONG)__builtin_clzll(mask);
	return 1;
}
#define _BitScanForward(index, mask)   km_scan_forward(index, (ULONG)(mask))
#define _BitScanForward64(index, mask) km_scan_forward(index, (ULONG64)(mask))
#define _BitScanReverse(index, mask)   km_scan_reverse(index, (ULONG)(mask))
#define _BitScanReverse64(index, mask) km_scan_reverse(index, (ULONG64)(mask))
#define BitScanForward(index, mask)    _BitScanForward(index, mask)
#define BitScanForward64(index, mask)  _BitScanForward64(index, mask)
#define BitScanReverse(index, mask)    _BitScanReverse(index, mask)
#define BitScanReverse64(index, mask)  _BitScanReverse64(index, mask)
#define __popcnt(value)                ((ULONG)__builtin_popcount(value))
#define __popcnt64(value)              ((ULONG64)__builtin_popcountll(value))
#define PopulationCount64(value)       __popcnt64(value)
#define _byteswap_ushort(value)        __builtin_bswap16(value)
#define _byteswap_ulong(value)         __builtin_bswap32(value)
#define _byteswap_uint64(value)        __builtin_bswap64(value)
FORCEINLINE ULONG km_rotate32(ULONG value, ULONG left)
{
	return (value << (left & 31)) | (value >> (-left & 31));
}
FORCEINLINE ULONG64 km_rotate64(ULONG64 value, ULONG left)
{
	return (value << (left & 63)) | (value >> (-left & 63));
}
#define _rotl(value, n)         km_rotate32(value, (ULONG)(n))
#define _rotr(value, n)         km_rotate32(value, 0u - (ULONG)(n))
#define _rotl64(value, n)       km_rotate64(value, (ULONG)(n))
#define _rotr64(value, n)       km_rotate64(value, 0u - (ULONG)(n))
#define RotateLeft32(value, n)  _rotl(value, n)
#define RotateRight32(value, n) _rotr(value, n)
#define RotateLeft64(value, n)  _rotl64(value, n)
#define RotateRight64(value, n) _rotr64(value, n)

FORCEINLINE ULONG64 km_umul128(ULONG64 one, ULONG64 two, ULONG64 *high)
{
	ULONG64 low, top;
	__asm__("mulq %3" : "=a"(low), "=d"(top) : "a"(one), "rm"(two) : "cc");
	*high = top;
	return low;
}
#define _umul128(one, two, high)            km_umul128(one, two, high)
#define UnsignedMultiply128(one, two, high) km_umul128(one, two, high)

/* Block moves. */
FORCEINLINE void km_movsb(void *to, const void *from, SIZE_T n)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}
FORCEINLINE void km_stosb(void *to, UCHAR byte, SIZE_T n)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
}
#define __movsb(to, from, n) km_movsb(to, from, n)
#define __stosb(to, byte, n) km_stosb(to, byte, n)

EXTERN_C_END
