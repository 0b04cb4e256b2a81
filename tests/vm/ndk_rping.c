/* SPDX-License-Identifier: MIT */
/*
 * ndk_rping.c: speaks the protocol of rdma-core's `rping` (NDK with any other verbs program).
 * CASE 0: the server, on its port 7174; 1: the client, of a server on the same address; 2: of one
 * on the other of the addresses a.b.c.1 and a.b.c.2.
 *
 * A message is 16 bytes, big-endian: address, token, size. The client announces a buffer, which the
 * server reads; after the server's go-ahead it announces another one, which the server writes.
 */
#include "consumer.h"

#ifndef CASE
#define CASE 0
#endif
#define PORT  7174
#define SIZE  64
#define COUNT 3

struct message {
	UINT64 address;
	UINT32 token, size;
};

static struct end end;
static struct door door;
static struct memory messages; /* [0] is sent, [1] received */
static struct memory data;     /* [0, SIZE) is read by the server, [SIZE, 2 * SIZE) written */

static void post_receive(void)
{
	NDK_SGE sge = memory_sge(&messages, sizeof(struct message), sizeof(struct message));
	CHECK(NT_SUCCESS(end.qp->Dispatch->NdkReceive(end.qp, NULL, &sge, 1)), "NDK-63 receive");
}

static BOOLEAN send(PVOID address, UINT32 token)
{
	struct message *message = (struct message *)messages.data;
	message->address = RtlUlonglongByteSwap((UINT64)address);
	message->token = RtlUlongByteSwap(token);
	message->size = RtlUlongByteSwap(SIZE);
	NDK_SGE sge = memory_sge(&messages, 0, sizeof(struct message));
	return NT_SUCCESS(end.qp->Dispatch->NdkSend(end.qp, NULL, &sge, 1, 0)) &&
	       end_wait(&end, NdkOperationTypeSend);
}

/* The next message of the peer; a receive for the one after it is posted. */
static BOOLEAN receive(struct message *message)
{
	if (!end_wait(&end, NdkOperationTypeReceive))
		return FALSE;
	const struct message *m = (const struct message *)messages.data + 1;
	message->address = RtlUlonglongByteSwap(m->address);
	message->token = RtlUlongByteSwap(m->token);
	message->size = RtlUlongByteSwap(m->size);
	post_receive();
	return TRUE;
}

static BOOLEAN serve_once(void)
{
	struct message peer;
	NDK_SGE sge = memory_sge(&data, 0, SIZE);
	if (!receive(&peer) || peer.size != SIZE ||
	    !NT_SUCCESS(end.qp->Dispatch->NdkRead(end.qp, NULL, &sge, 1, peer.address, peer.token,
						  0)) ||
	    !end_wait(&end, NdkOperationTypeRead))
		return FALSE;
	DbgPrint("ndk_rping: %.40s\n", (char *)data.data);
	if (!send(NULL, 0) || !receive(&peer) ||
	    !NT_SUCCESS(end.qp->Dispatch->NdkWrite(end.qp, NULL, &sge, 1, peer.address, peer.token,
						   0)) ||
	    !end_wait(&end, NdkOperationTypeWrite))
		return FALSE;
	return send(NULL, 0);
}

static BOOLEAN ask_once(ULONG round)
{
	struct message peer;
	UINT32 token = data.mr->Dispatch->NdkGetRemoteTokenFromMr(data.mr);
	for (ULONG i = 0; i < SIZE - 1; i++)
		data.data[i] = (UCHAR)('A' + (i + round) % 26);
	data.data[SIZE - 1] = 0;
	RtlZeroMemory(data.data + SIZE, SIZE);
	return send(data.data, token) && receive(&peer) && send(data.data + SIZE, token) &&
	       receive(&peer) && RtlCompareMemory(data.data, data.data + SIZE, SIZE) == SIZE;
}

static NTSTATUS meet(struct consumer *consumer)
{
	if (CASE == 0) {
		if (!door_open(&door, consumer, PORT))
			return STATUS_UNSUCCESSFUL;
		DbgPrint("ndk_rping: listening\n");
		return door_accept(&door, &end);
	}
	SOCKADDR_INET server = consumer->local;
	server.Ipv4.sin_port = RtlUshortByteSwap(PORT);
	if (CASE == 2)
		server.Ipv4.sin_addr.S_un.S_addr ^= 0x03000000;
	return end_connect(&end, consumer->adapter, &consumer->local, &server);
}

static void ping(struct consumer *consumer)
{
	LARGE_INTEGER limit = check_ms(10000);
	ULONG rounds = 0;
	BOOLEAN good = end_make(&end, consumer->adapter) &&
		       memory_make(&messages, end.pd, 2 * sizeof(struct message),
				   NDK_MR_FLAG_ALLOW_LOCAL_WRITE) &&
		       memory_make(&data, end.pd, 2 * SIZE,
				   NDK_MR_FLAG_ALLOW_REMOTE_READ | NDK_MR_FLAG_ALLOW_REMOTE_WRITE);
	CHECK(good, "NDK-4 objects");
	if (!good)
		return;
	post_receive();
	NTSTATUS status = meet(consumer);
	if (!NT_SUCCESS(status))
		DbgPrint("FAIL connection 0x%08x\n", status);
	while (NT_SUCCESS(status) && rounds < COUNT &&
	       (CASE == 0 ? serve_once() : ask_once(rounds)))
		rounds++;
	CHECK(rounds == COUNT, "DESIGN-6 rping's rounds");
	if (CASE == 0 && rounds == COUNT)
		CHECK(KeWaitForSingleObject(&end.gone, Executive, KernelMode, FALSE, &limit) ==
			      STATUS_SUCCESS,
		      "NDK-142 the disconnect event");
	memory_close(&messages);
	memory_close(&data);
	end_close(&end);
	if (CASE == 0)
		door_close(&door);
}

CONSUMER_DRIVER(ping)
