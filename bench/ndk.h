/* SPDX-License-Identifier: MIT */
/*
 * ndk.h: the NDK rows: baselines of the host (fabric.c), and two connected ends in the machine
 * that the batches of ndk_traffic.c use.
 */
#pragma once

#include "bench/bench.h"

/* fabric.c: libfabric's tcp provider. Ends the program with a message when it does not work. */
void fabric_begin(void);
double fabric_write(unsigned count); /* 4 KiB, delivery complete */
double fabric_pingpong(unsigned count);
double fabric_stream(unsigned count); /* count: a multiple of 64 */
double fabric_register_4k(unsigned count);
double fabric_register_1m(unsigned count);
double fabric_register_1g(unsigned count);

/* ndk_traffic.c; in the control thread. */
void ndk_traffic_begin(void);
extern bool ndk_traffic_ready; /* that worked */
void ndk_traffic_end(void);
double ndk_write_4k(unsigned count);
double ndk_write_1m(unsigned count);
double ndk_memcpy_1m(unsigned count);
double ndk_pingpong(unsigned count);
double ndk_stream(unsigned count); /* count: a multiple of 64 */

/* ndk_memory.c; in the control thread, between ndk_traffic_begin and _end. Registration and
 * deregistration of 4 KiB, 1 MiB, 1 GiB, by the consumer's functions, with the verifier on. */
double ndk_register_4k(unsigned count);
double ndk_register_1m(unsigned count);
double ndk_register_1g(unsigned count);
/* Deregistration while a write of 1 MiB is under way on another processor; makes its own traffic.
 */
double ndk_deregister_busy(unsigned count);
