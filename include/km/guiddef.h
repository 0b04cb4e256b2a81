/* SPDX-License-Identifier: MIT
 *
 * GUIDs. DEFINE_GUID declares; where initguid.h was included before, it defines.
 */
#pragma once
#include "ntdef.h"

#ifndef GUID_DEFINED
#define GUID_DEFINED
typedef struct _GUID {
	ULONG Data1;
	USHORT Data2;
	USHORT Data3;
	UCHAR Data4[8];
} GUID;
#endif
typedef GUID *LPGUID, IID, CLSID, FMTID;
typedef const GUID *LPCGUID;

#ifdef __cplusplus
#define REFGUID const GUID &
#define REFIID  const IID &
#else
#define REFGUID const GUID *
#define REFIID  const IID *
#endif

#define KM_GUID_VALUE(l, w1, w2, b1, b2, b3, b4, b5, b6, b7, b8)                                   \
	{                                                                                          \
		l, w1, w2,                                                                         \
		{                                                                                  \
			b1, b2, b3, b4, b5, b6, b7, b8                                             \
		}                                                                                  \
	}
#define KM_DECLARE_GUID(name, ...) EXTERN_C const GUID name
#define KM_DEFINE_GUID(name, ...)                                                                  \
	EXTERN_C const GUID name;                                                                  \
	EXTERN_C __attribute__((weak)) const GUID name = KM_GUID_VALUE(__VA_ARGS__)
#ifndef DEFINE_GUID
#ifdef INITGUID
#define DEFINE_GUID(name, ...) KM_DEFINE_GUID(name, __VA_ARGS__)
#else
#define DEFINE_GUID(name, ...) KM_DECLARE_GUID(name, __VA_ARGS__)
#endif
#endif

FORCEINLINE int km_guid_equal(const GUID *one, const GUID *two)
{
	return __builtin_memcmp(one, two, sizeof(GUID)) == 0;
}
#ifdef __cplusplus
extern "C++" {
static inline int IsEqualGUID(REFGUID one, REFGUID two)
{
	return km_guid_equal(&one, &two);
}
static inline bool operator==(REFGUID one, REFGUID two)
{
	return km_guid_equal(&one, &two) != 0;
}
static inline bool operator!=(REFGUID one, REFGUID two)
{
	return km_guid_equal(&one, &two) == 0;
}
}
#else
#define IsEqualGUID(one, two) km_guid_equal(one, two)
#endif
#define IsEqualIID(one, two)        IsEqualGUID(one, two)
#define InlineIsEqualGUID(one, two) IsEqualGUID(one, two)
