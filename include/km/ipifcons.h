/* SPDX-License-Identifier: MIT
 *
 * Types of interfaces (IANA's numbers) and of their access.
 */
#pragma once
#include "ntdef.h"

typedef ULONG IFTYPE;

#define IF_TYPE_OTHER              1
#define IF_TYPE_ETHERNET_CSMACD    6
#define IF_TYPE_ISO88025_TOKENRING 9
#define IF_TYPE_FDDI               15
#define IF_TYPE_PPP                23
#define IF_TYPE_SOFTWARE_LOOPBACK  24
#define IF_TYPE_SLIP               28
#define IF_TYPE_ATM                37
#define IF_TYPE_PROP_VIRTUAL       53
#define IF_TYPE_IEEE80211          71
#define IF_TYPE_TUNNEL             131
#define IF_TYPE_IEEE1394           144
#define IF_TYPE_INFINIBAND         199
#define IF_TYPE_WWANPP             243
#define IF_TYPE_WWANPP2            244

typedef ULONG IF_ACCESS_TYPE;
#define IF_ACCESS_LOOPBACK             1
#define IF_ACCESS_BROADCAST            2
#define IF_ACCESS_POINT_TO_POINT       3
#define IF_ACCESS_POINTTOPOINT         3
#define IF_ACCESS_POINT_TO_MULTI_POINT 4
#define IF_ACCESS_POINTTOMULTIPOINT    4
