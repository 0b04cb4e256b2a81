/* SPDX-License-Identifier: MIT
 *
 * Socket addresses and constants that user mode and kernel mode share.
 */
#pragma once
#include "ntdef.h"
#include "guiddef.h"
#include "inaddr.h"

EXTERN_C_START

typedef USHORT ADDRESS_FAMILY;

#define AF_UNSPEC    0
#define AF_UNIX      1
#define AF_INET      2
#define AF_IMPLINK   3
#define AF_IPX       6
#define AF_NS        AF_IPX
#define AF_SNA       11
#define AF_DECnet    12
#define AF_APPLETALK 16
#define AF_NETBIOS   17
#define AF_INET6     23
#define AF_IRDA      26
#define AF_BTH       32
#define AF_LINK      33
#define AF_HYPERV    34
#define AF_MAX       35
#define PF_UNSPEC    AF_UNSPEC
#define PF_INET      AF_INET
#define PF_INET6     AF_INET6

#define SOCK_STREAM    1
#define SOCK_DGRAM     2
#define SOCK_RAW       3
#define SOCK_RDM       4
#define SOCK_SEQPACKET 5

#define SOL_SOCKET            0xffff
#define SO_DEBUG              0x0001
#define SO_ACCEPTCONN         0x0002
#define SO_REUSEADDR          0x0004
#define SO_KEEPALIVE          0x0008
#define SO_DONTROUTE          0x0010
#define SO_BROADCAST          0x0020
#define SO_USELOOPBACK        0x0040
#define SO_LINGER             0x0080
#define SO_OOBINLINE          0x0100
#define SO_EXCLUSIVEADDRUSE   ((INT)(~SO_REUSEADDR))
#define SO_SNDBUF             0x1001
#define SO_RCVBUF             0x1002
#define SO_SNDLOWAT           0x1003
#define SO_RCVLOWAT           0x1004
#define SO_SNDTIMEO           0x1005
#define SO_RCVTIMEO           0x1006
#define SO_ERROR              0x1007
#define SO_TYPE               0x1008
#define SO_CONDITIONAL_ACCEPT 0x3002
#define SO_PAUSE_ACCEPT       0x3003
#define SO_COMPARTMENT_ID     0x3004
#define SO_RANDOMIZE_PORT     0x3005
#define SO_PORT_SCALABILITY   0x3006
#define TCP_NODELAY           0x0001

#define IOC_UNIX                           0x00000000
#define IOC_WS2                            0x08000000
#define IOC_PROTOCOL                       0x10000000
#define IOC_VENDOR                         0x18000000
#define IOC_VOID                           0x20000000
#define IOC_OUT                            0x40000000
#define IOC_IN                             0x80000000
#define IOC_INOUT                          (IOC_IN | IOC_OUT)
#define _WSAIO(x, y)                       (IOC_VOID | (x) | (y))
#define _WSAIOR(x, y)                      (IOC_OUT | (x) | (y))
#define _WSAIOW(x, y)                      (IOC_IN | (x) | (y))
#define _WSAIORW(x, y)                     (IOC_INOUT | (x) | (y))
#define SIO_ADDRESS_LIST_QUERY             _WSAIOR(IOC_WS2, 22)
#define SIO_ADDRESS_LIST_CHANGE            _WSAIO(IOC_WS2, 23)
#define SIO_QUERY_TARGET_PNP_HANDLE        _WSAIOR(IOC_WS2, 24)
#define SIO_ADDRESS_LIST_SORT              _WSAIORW(IOC_WS2, 25)
#define SIO_GET_EXTENSION_FUNCTION_POINTER _WSAIORW(IOC_WS2, 6)

typedef enum {
	IPPROTO_HOPOPTS = 0,
	IPPROTO_ICMP = 1,
	IPPROTO_IGMP = 2,
	IPPROTO_GGP = 3,
	IPPROTO_IPV4 = 4,
	IPPROTO_ST = 5,
	IPPROTO_TCP = 6,
	IPPROTO_CBT = 7,
	IPPROTO_EGP = 8,
	IPPROTO_IGP = 9,
	IPPROTO_PUP = 12,
	IPPROTO_UDP = 17,
	IPPROTO_IDP = 22,
	IPPROTO_RDP = 27,
	IPPROTO_IPV6 = 41,
	IPPROTO_ROUTING = 43,
	IPPROTO_FRAGMENT = 44,
	IPPROTO_ESP = 50,
	IPPROTO_AH = 51,
	IPPROTO_ICMPV6 = 58,
	IPPROTO_NONE = 59,
	IPPROTO_DSTOPTS = 60,
	IPPROTO_ND = 77,
	IPPROTO_ICLFXBM = 78,
	IPPROTO_PIM = 103,
	IPPROTO_PGM = 113,
	IPPROTO_L2TP = 115,
	IPPROTO_SCTP = 132,
	IPPROTO_RAW = 255,
	IPPROTO_MAX = 256,
	IPPROTO_RESERVED_RAW = 257,
	IPPROTO_RESERVED_IPSEC = 258,
	IPPROTO_RESERVED_IPSECOFFLOAD = 259,
	IPPROTO_RESERVED_WNV = 260,
	IPPROTO_RESERVED_MAX = 261
} IPPROTO,
	*PIPROTO;
#define IPPROTO_IP 0

#define IPPORT_RESERVED       1024
#define IPPORT_REGISTERED_MIN IPPORT_RESERVED
#define IPPORT_REGISTERED_MAX 0xbfff
#define IPPORT_DYNAMIC_MIN    0xc000
#define IPPORT_DYNAMIC_MAX    0xffff

#define INADDR_ANY       ((ULONG)0x00000000)
#define INADDR_LOOPBACK  0x7f000001
#define INADDR_BROADCAST ((ULONG)0xffffffff)
#define INADDR_NONE      0xffffffff

typedef struct sockaddr {
	ADDRESS_FAMILY sa_family;
	CHAR sa_data[14];
} SOCKADDR, *PSOCKADDR, *LPSOCKADDR;

typedef struct _SOCKET_ADDRESS {
	LPSOCKADDR lpSockaddr;
	INT iSockaddrLength;
} SOCKET_ADDRESS, *PSOCKET_ADDRESS, *LPSOCKET_ADDRESS;

typedef struct _SOCKET_ADDRESS_LIST {
	INT iAddressCount;
	SOCKET_ADDRESS Address[1];
} SOCKET_ADDRESS_LIST, *PSOCKET_ADDRESS_LIST, *LPSOCKET_ADDRESS_LIST;

#define _SS_MAXSIZE   128
#define _SS_ALIGNSIZE 8
#define _SS_PAD1SIZE  6
#define _SS_PAD2SIZE  112

typedef struct sockaddr_storage {
	ADDRESS_FAMILY ss_family;
	CHAR __ss_pad1[_SS_PAD1SIZE];
	LONGLONG __ss_align;
	CHAR __ss_pad2[_SS_PAD2SIZE];
} SOCKADDR_STORAGE, *PSOCKADDR_STORAGE, *LPSOCKADDR_STORAGE;
typedef struct sockaddr_storage SOCKADDR_STORAGE_LH, *PSOCKADDR_STORAGE_LH, *LPSOCKADDR_STORAGE_LH;

typedef struct sockaddr_in {
	ADDRESS_FAMILY sin_family;
	USHORT sin_port; /* network order */
	IN_ADDR sin_addr;
	CHAR sin_zero[8];
} SOCKADDR_IN, *PSOCKADDR_IN;

typedef enum {
	ScopeLevelInterface = 1,
	ScopeLevelLink = 2,
	ScopeLevelSubnet = 3,
	ScopeLevelAdmin = 4,
	ScopeLevelSite = 5,
	ScopeLevelOrganization = 8,
	ScopeLevelGlobal = 14,
	ScopeLevelCount = 16
} SCOPE_LEVEL;

typedef struct {
	union {
		struct {
			ULONG Zone : 28;
			ULONG Level : 4;
		};
		ULONG Value;
	};
} SCOPE_ID, *PSCOPE_ID;
#define SCOPEID_UNSPECIFIED_INIT                                                                   \
	{                                                                                          \
		{                                                                                  \
			{                                                                          \
				0, 0                                                               \
			}                                                                          \
		}                                                                                  \
	}

typedef struct _WSABUF {
	ULONG len;
	CHAR *buf;
} WSABUF, *LPWSABUF;

typedef struct _WSAMSG {
	LPSOCKADDR name;
	INT namelen;
	LPWSABUF lpBuffers;
	ULONG dwBufferCount;
	WSABUF Control;
	ULONG dwFlags;
} WSAMSG, *PWSAMSG, *LPWSAMSG;

typedef struct cmsghdr {
	SIZE_T cmsg_len;
	INT cmsg_level;
	INT cmsg_type;
} WSACMSGHDR, *PWSACMSGHDR, *LPWSACMSGHDR, CMSGHDR, *PCMSGHDR;

#define MSG_OOB       0x1
#define MSG_PEEK      0x2
#define MSG_DONTROUTE 0x4
#define MSG_WAITALL   0x8
#define MSG_TRUNC     0x0100
#define MSG_CTRUNC    0x0200
#define MSG_BCAST     0x0400
#define MSG_MCAST     0x0800

#define AI_PASSIVE     0x00000001
#define AI_CANONNAME   0x00000002
#define AI_NUMERICHOST 0x00000004
#define AI_NUMERICSERV 0x00000008
#define AI_ALL         0x00000100
#define AI_ADDRCONFIG  0x00000400
#define AI_V4MAPPED    0x00000800

typedef struct addrinfoexW {
	INT ai_flags;
	INT ai_family;
	INT ai_socktype;
	INT ai_protocol;
	SIZE_T ai_addrlen;
	PWSTR ai_canonname;
	PSOCKADDR ai_addr;
	PVOID ai_blob;
	SIZE_T ai_bloblen;
	GUID *ai_provider;
	struct addrinfoexW *ai_next;
} ADDRINFOEXW, *PADDRINFOEXW, *LPADDRINFOEXW;

EXTERN_C_END
