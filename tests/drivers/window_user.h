/* SPDX-License-Identifier: MIT */
/*
 * window_user.h: what the window_* drivers and their user programs share.
 *
 * A program asks for a test by a bound exception: EDX (RDX) points to a struct window_request. The
 * driver answers in memory, puts the index into range and says Handled.
 */
#pragma once

#define WINDOW_SIGN   0x4b574e44u
#define WINDOW_BUFFER 16384u /* bytes */

enum window_command {
	WINDOW_PATTERN,  /* buffer holds i * 7; the driver makes it i * 11, but every 5th byte */
	WINDOW_POINTERS, /* bad[0] no access, bad[1] not mapped, bad[2] read-only */
	WINDOW_PROBES,
	WINDOW_MDL,
	WINDOW_FILE,   /* the driver writes the buffer to a file, and reads it back */
	WINDOW_SHARE,  /* count until `stop`: other processes do the same at these addresses */
	WINDOW_SPIN,   /* wait until the program's other thread sets `flag`; set `answer` */
	WINDOW_BYTES,  /* count in bytes[0], while another thread counts in bytes[1] */
	WINDOW_KILLED, /* use the memory until the program is gone */
	WINDOW_ATTACH, /* note the process and the request, for a thread that attaches */
	WINDOW_WRONG,  /* as the driver was compiled */
	WINDOW_COUNT,  /* 100000 interlocked increments of the buffer's first word */
	WINDOW_LARGE,  /* 8 MiB: copy the first half to the second, and count up through an MDL */
	WINDOW_KEEP,   /* lock the buffer, and write to it when the program is another one */
};

struct window_request {
	unsigned sign, command;
	unsigned errors; /* the driver counts */
	unsigned own;    /* a number of the process */
	volatile unsigned flag, answer, stop, count;
	unsigned long long buffer, bad[3];
	volatile unsigned char bytes[16];
};
