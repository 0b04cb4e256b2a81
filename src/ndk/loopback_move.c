/* SPDX-License-Identifier: MIT */
/*
 * loopback_move.c: bytes go from the sender's memory to the receiver's, once, with no copy in
 * between (DESIGN.md decision 6).
 *
 * Each piece of at most 32 KiB is moved at DISPATCH_LEVEL between ndk_access_begin and _end of both
 * regions, which check token, protection domain, range, rights and state again and keep a
 * deregistration waiting until the piece is done (decision 7). In between the IRQL drops, and
 * nothing is held.
 *
 * Contexts: IRQL <= DISPATCH_LEVEL. No locks. Implements NDK-14, 109a (checks before the first
 * byte), 133.
 */
#include "ndk/loopback.h"
#include "rtl/rtl.h"

struct loopback_span loopback_span_local(struct ndk_pd *pd, const struct ndk_sge *sge,
					 uint32_t count, unsigned rights)
{
	return (struct loopback_span){.pd = pd, .sge = sge, .count = count, .rights = rights};
}

struct loopback_span loopback_span_remote(struct ndk_pd *pd, uint32_t token, uint64_t address,
					  uint32_t length, unsigned rights)
{
	return (struct loopback_span){
		.pd = pd, .token = token, .address = address, .length = length, .rights = rights};
}

/* Go on to the next SGE that has bytes; the caller knows that there is one. */
static void next_range(struct loopback_span *span)
{
	while (!span->length && span->count) {
		span->token = span->sge->token;
		span->address = span->sge->address;
		span->length = span->sge->length;
		span->sge++;
		span->count--;
	}
}

/* Open what can be moved of the current range at once. */
static NTSTATUS open_piece(struct loopback_span *span, struct ndk_access *access)
{
	if (!span->pd) {
		*access =
			(struct ndk_access){.data = (char *)span->address, .length = span->length};
		return STATUS_SUCCESS;
	}
	return ndk_access_begin(span->pd, span->token, span->address, span->length, span->rights,
				access);
}

static void close_piece(const struct loopback_span *span, struct ndk_access *access)
{
	if (span->pd)
		ndk_access_end(access);
}

static void advance(struct loopback_span *span, uint32_t size)
{
	span->address += size;
	span->length -= size;
}

/* Would all ranges be accepted? */
static NTSTATUS check_rest(const struct loopback_span *span, uint32_t length)
{
	struct loopback_span look = *span;
	length -= length < look.length ? length : look.length;
	look.length = 0;
	while (length) {
		struct ndk_access access;
		next_range(&look);
		if (look.length > length)
			look.length = length;
		NTSTATUS status = open_piece(&look, &access);
		if (!NT_SUCCESS(status))
			return status;
		close_piece(&look, &access);
		length -= look.length;
		look.length = 0;
	}
	return STATUS_SUCCESS;
}

/* One piece at DISPATCH_LEVEL. */
static enum loopback_moved move_piece(struct loopback_span *target, struct loopback_span *source,
				      uint32_t *moved, NTSTATUS *status)
{
	struct ndk_access from, to;
	*status = open_piece(source, &from);
	if (!NT_SUCCESS(*status))
		return LOOPBACK_SOURCE_FAULT;
	*status = open_piece(target, &to);
	if (!NT_SUCCESS(*status)) {
		close_piece(source, &from);
		return LOOPBACK_TARGET_FAULT;
	}
	size_t size = from.length < to.length ? from.length : to.length;
	if (size > NDK_CHUNK)
		size = NDK_CHUNK;
	memcpy(to.data, from.data, size);
	close_piece(target, &to);
	close_piece(source, &from);
	*moved = (uint32_t)size;
	return LOOPBACK_MOVED;
}

static void clamp(struct loopback_span *span, uint32_t length)
{
	next_range(span);
	if (span->length > length)
		span->length = length;
}

enum loopback_moved loopback_move(struct loopback_span *target, struct loopback_span *source,
				  uint32_t length, const _Atomic bool *stop, NTSTATUS *status)
{
	enum loopback_moved result = LOOPBACK_MOVED;
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	if (length && source->count > 1 && !NT_SUCCESS(*status = check_rest(source, length)))
		result = LOOPBACK_SOURCE_FAULT;
	else if (length && target->count > 1 && !NT_SUCCESS(*status = check_rest(target, length)))
		result = LOOPBACK_TARGET_FAULT;
	while (length && result == LOOPBACK_MOVED) {
		uint32_t moved = 0;
		clamp(source, length);
		clamp(target, length);
		result = move_piece(target, source, &moved, status);
		advance(source, moved);
		advance(target, moved);
		length -= moved;
		if (length && result == LOOPBACK_MOVED) {
			ke_irql_lower(old); /* what waited comes in between two pieces */
			if (atomic_load_explicit(stop, memory_order_relaxed))
				return LOOPBACK_STOPPED;
			ke_irql_raise(DISPATCH_LEVEL);
		}
	}
	ke_irql_lower(old);
	return result;
}
