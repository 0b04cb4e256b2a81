/* SPDX-License-Identifier: MIT */
/*
 * policy.h: how functions complete (--ndk-complete) and which fail on demand (--ndk-fail). Set
 * before drivers run, by who boots the machine; see policy.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum ndk_complete {
	NDK_COMPLETE_DEFAULT, /* closes pend (DEF-3), all else as soon as it is done */
	NDK_COMPLETE_INLINE,  /* closes too, whenever nothing is under way */
	NDK_COMPLETE_PENDING, /* every function with a completion routine pends */
	NDK_COMPLETE_RANDOM,
};

/* Functions that can fail on demand, with the status that the documents give. */
#define NDK_FUNCTIONS(F)                                                                           \
	F(WskRegister, 0xc000009a)                                                                 \
	F(WskCaptureProviderNPI, 0xc00000a3)                                                       \
	F(WskControlClient, 0xc00000bb)                                                            \
	F(OpenAdapter, 0xc0010011)                                                                 \
	F(QueryAdapterInfo, 0xc0000001)                                                            \
	F(CreateCq, 0xc000009a)                                                                    \
	F(CreatePd, 0xc000009a)                                                                    \
	F(CreateSharedEndpoint, 0xc000009a)                                                        \
	F(CreateConnector, 0xc000009a)                                                             \
	F(CreateListener, 0xc000009a)                                                              \
	F(BuildLAM, 0xc000009a)                                                                    \
	F(CreateMr, 0xc000009a)                                                                    \
	F(CreateMw, 0xc000009a)                                                                    \
	F(CreateSrq, 0xc000009a)                                                                   \
	F(CreateQp, 0xc000009a)                                                                    \
	F(CreateQpWithSrq, 0xc000009a)                                                             \
	F(RegisterMr, 0xc000009a)                                                                  \
	F(DeregisterMr, 0xc00000e5)                                                                \
	F(InitializeFastRegisterMr, 0xc000042b)                                                    \
	F(ResizeCq, 0xc000009a)                                                                    \
	F(ControlCqInterruptModeration, 0xc000009a)                                                \
	F(ModifySrq, 0xc000009a)                                                                   \
	F(SrqReceive, 0xc000009a)                                                                  \
	F(Send, 0xc000023a)                                                                        \
	F(SendAndInvalidate, 0xc000023a)                                                           \
	F(Receive, 0xc000009a)                                                                     \
	F(Bind, 0xc0000005)                                                                        \
	F(FastRegister, 0xc0000005)                                                                \
	F(Invalidate, 0xc000023a)                                                                  \
	F(Read, 0xc000023a)                                                                        \
	F(Write, 0xc000023a)                                                                       \
	F(Listen, 0xc000009a)                                                                      \
	F(Connect, 0xc0000236)                                                                     \
	F(ConnectWithSharedEndpoint, 0xc0000236)                                                   \
	F(CompleteConnect, 0xc0000241)                                                             \
	F(Accept, 0xc0000241)                                                                      \
	F(Reject, 0xc0000241)                                                                      \
	F(GetConnectionData, 0xc000023a)                                                           \
	F(GetLocalAddress, 0xc00000e5)                                                             \
	F(GetPeerAddress, 0xc00000e5)                                                              \
	F(Disconnect, 0xc00000b5)

enum ndk_function {
#define NDK_FUNCTION(name, status) NDK_FUNCTION_##name,
	NDK_FUNCTIONS(NDK_FUNCTION)
#undef NDK_FUNCTION
		NDK_FUNCTION_COUNT,
};

/* ---- For who boots ---- */

void ndk_policy_set(enum ndk_complete complete, uint64_t seed);
/* The N-th call (from 1) of NAME (with or without "Ndk") fails. False: no such function, or more
 * than NDK_FAILURES of it. */
#define NDK_FAILURES 16u
bool ndk_policy_fail(const char *name, uint32_t nth);

/* NdkArmCq is satisfied at once by entries that were there at the last notification (NDK-93). */
extern bool ndk_strict_arm;
/* A close of an adapter that waits longer is reported. */
extern uint32_t ndk_patience_ms;
/* A region's token changes with each NdkFastRegister (NDK-124, off by DEF-1). */
extern bool ndk_strict_tokens;

/* ---- For the functions ---- */

extern bool ndk_failures; /* any are asked for */
/* Count this call; true: it must fail, with *status (an NTSTATUS). */
bool ndk_must_fail_slow(enum ndk_function function, int32_t *status);
static inline bool ndk_must_fail(enum ndk_function function, int32_t *status)
{
	return __builtin_expect(ndk_failures, 0) && ndk_must_fail_slow(function, status);
}

enum ndk_how {
	NDK_INLINE, /* return the status */
	NDK_NESTED, /* STATUS_PENDING, the completion called before the return */
	NDK_LATER,  /* STATUS_PENDING, the completion by DPC or work item */
};
enum ndk_how ndk_policy_how(bool close);
/* A number below `below`, as --ndk-complete=random draws them; 0 in other modes. */
uint32_t ndk_policy_draw(uint32_t below);
bool ndk_policy_random(void);
