/* SPDX-License-Identifier: MIT */
/* ndk_peer_server.c: the other driver of ndk_peer.c. */
#define SERVER 1
#include "ndk_peer.c"
