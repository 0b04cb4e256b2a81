/* SPDX-License-Identifier: MIT
 *
 * Port and device memory accessors and barriers: any IRQL.
 */
#pragma once
#include "../ntdef.h"
#include "../intrin.h"

EXTERN_C_START

#define KM_REGISTER_ACCESS(suffix, type)                                                           \
	FORCEINLINE type READ_REGISTER_##suffix(volatile type *Register)                           \
	{                                                                                          \
		_ReadWriteBarrier();                                                               \
		return *Register;                                                                  \
	}                                                                                          \
	FORCEINLINE VOID WRITE_REGISTER_##suffix(volatile type *Register, type Value)              \
	{                                                                                          \
		*Register = Value;                                                                 \
		__sync_synchronize();                                                              \
	}
KM_REGISTER_ACCESS(UCHAR, UCHAR)
KM_REGISTER_ACCESS(USHORT, USHORT)
KM_REGISTER_ACCESS(ULONG, ULONG)
KM_REGISTER_ACCESS(ULONG64, ULONG64)
#undef KM_REGISTER_ACCESS

#define READ_PORT_UCHAR(port)          __inbyte((USHORT)(ULONG_PTR)(port))
#define READ_PORT_USHORT(port)         __inword((USHORT)(ULONG_PTR)(port))
#define READ_PORT_ULONG(port)          __indword((USHORT)(ULONG_PTR)(port))
#define WRITE_PORT_UCHAR(port, value)  __outbyte((USHORT)(ULONG_PTR)(port), (value))
#define WRITE_PORT_USHORT(port, value) __outword((USHORT)(ULONG_PTR)(port), (value))
#define WRITE_PORT_ULONG(port, value)  __outdword((USHORT)(ULONG_PTR)(port), (value))

#define KeMemoryBarrier()                __sync_synchronize()
#define KeMemoryBarrierWithoutFence()    _ReadWriteBarrier()
#define MemoryBarrier()                  __sync_synchronize()
#define YieldProcessor()                 __builtin_ia32_pause()
#define KeFlushIoBuffers(mdl, read, dma) ((VOID)(mdl))

EXTERN_C_END
