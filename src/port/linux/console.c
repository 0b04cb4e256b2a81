/* SPDX-License-Identifier: MIT */
/*
 * console.c: a ring of messages that a device thread writes to standard output and standard error.
 *
 * Writers: any thread in any context. One claims a slot by advancing `claimed`, fills it, and
 * publishes it by its sequence number (release); the console thread takes slots in order (acquire)
 * and hands them back by advancing `written`. A writer on a baton is at HIGH_LEVEL (port.h), so
 * between claim and publication only an NMI can come; an NMI never waits for room, so it cannot
 * wait for the message that it interrupted. Nor is a writer frozen there: what comes after its
 * message, the report above all, would never be written.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include "port/linux/host.h"

#define SLOTS     1024u
#define SLOT_TEXT 600u

struct slot {
	_Atomic uint64_t published; /* claim number + 1 */
	uint16_t size;
	uint8_t stream;
	char text[SLOT_TEXT];
};

static struct slot ring[SLOTS];
static _Atomic uint64_t claimed, written, lost;
static _Atomic uint32_t doorbell, sleeping;

/* Own thread and its handlers only (an NMI inside adds and takes away its own). */
static void publishing(struct port_thread *self, int change)
{
	atomic_signal_fence(memory_order_seq_cst);
	if (self)
		self->publishing += (uint32_t)change;
	atomic_signal_fence(memory_order_seq_cst);
}

bool port_console_write(enum port_stream stream, const char *text, size_t size, bool wait)
{
	while (size > SLOT_TEXT) {
		if (!port_console_write(stream, text, SLOT_TEXT, wait))
			return false;
		text += SLOT_TEXT;
		size -= SLOT_TEXT;
	}
	struct port_thread *self = host_self;
	uint64_t number = atomic_load(&claimed);
	for (unsigned round = 0;;) {
		if (number - atomic_load_explicit(&written, memory_order_acquire) < SLOTS) {
			publishing(self, 1);
			if (atomic_compare_exchange_weak(&claimed, &number, number + 1))
				break;
			publishing(self, -1);
			continue;
		}
		if (!wait) {
			atomic_fetch_add(&lost, 1);
			return false;
		}
		port_spin(round++);
		number = atomic_load(&claimed);
	}
	struct slot *slot = &ring[number % SLOTS];
	slot->stream = (uint8_t)stream;
	slot->size = (uint16_t)size;
	memcpy(slot->text, text, size);
	atomic_store(&slot->published, number + 1);
	publishing(self, -1);
	if (atomic_load(&sleeping)) {
		atomic_fetch_add(&doorbell, 1);
		host_futex_wake(&doorbell, 1);
	}
	return true;
}

static void write_all(int file, const char *text, size_t size)
{
	while (size) {
		ssize_t n = write(file, text, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* a reader that went away must not stop the machine */
		text += n;
		size -= (size_t)n;
	}
}

/* Write the run of published messages of one stream that starts at `number`; returns how many. */
static unsigned write_run(uint64_t number)
{
	char batch[16 * SLOT_TEXT];
	size_t used = 0;
	unsigned count = 0;
	uint8_t stream = ring[number % SLOTS].stream;
	for (; count < 64; count++) {
		struct slot *slot = &ring[(number + count) % SLOTS];
		if (atomic_load(&slot->published) != number + count + 1 || slot->stream != stream ||
		    used + slot->size > sizeof batch)
			break;
		memcpy(batch + used, slot->text, slot->size);
		used += slot->size;
	}
	write_all(stream == PORT_STREAM_DEBUG ? STDOUT_FILENO : STDERR_FILENO, batch, used);
	return count;
}

static void *console_main(void *unused)
{
	(void)unused;
	uint64_t reported = 0;
	for (;;) {
		uint64_t number = atomic_load(&written);
		uint32_t seen = atomic_load(&doorbell);
		if (atomic_load(&ring[number % SLOTS].published) == number + 1) {
			unsigned count = write_run(number);
			atomic_store_explicit(&written, number + count, memory_order_release);
			continue;
		}
		uint64_t missing = atomic_load(&lost);
		if (missing != reported) {
			char line[80];
			int n = snprintf(
				line, sizeof line,
				"ketch: %llu messages of NMI callbacks did not fit and were lost\n",
				(unsigned long long)(missing - reported));
			write_all(STDERR_FILENO, line, (size_t)n);
			reported = missing;
		}
		atomic_store(&sleeping, 1);
		if (atomic_load(&ring[number % SLOTS].published) != number + 1)
			host_futex_wait(&doorbell, seen, NULL);
		atomic_store(&sleeping, 0);
	}
	return NULL;
}

void port_console_flush(void)
{
	uint64_t until = atomic_load(&claimed);
	uint64_t begin = port_time_ns();
	for (unsigned round = 0;
	     atomic_load(&written) < until && port_time_ns() - begin < 1000000000u; round++)
		port_spin(round);
}

bool host_console_start(void)
{
	return host_device_start(console_main, NULL, "ketch-console");
}
