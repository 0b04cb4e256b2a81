/* SPDX-License-Identifier: MIT */
/*
 * ndk_peer.c: two drivers in one machine (NDK-136): ndk_peer_server.c listens at a port and tells
 * each peer where its memory is; the other one connects, reads and writes that memory, and leaves.
 * The server serves until it is unloaded, and must find its memory as the client left it.
 */
#include "ndk_io.h"

#define PORT 4711
#define SIZE 65536

struct greeting {
	UINT64 address;
	UINT32 token, size;
};

#ifdef SERVER
static struct io io;
static struct memory memory;
static PVOID thread;
static volatile LONG served;

static void greet(struct io_end *end)
{
	NDK_RESULT_EX result;
	struct greeting *greeting = (struct greeting *)memory.data;
	*greeting = (struct greeting){(UINT64)memory.data, io_token(&memory), SIZE};
	io_send(end, &memory, 0, sizeof(*greeting), 0, NULL);
	end_poll(&end->e, &result);
}

static void serve(void)
{
	struct io_end *end = &io.y;
	LARGE_INTEGER limit = check_ms(20000);
	end->e.connector = io.door.connector;
	if (!NT_SUCCESS(WAIT(end->e.connector->Dispatch->NdkAccept, end->e.connector, end->e.qp, 4,
			     4, NULL, 0, io_gone, end)))
		return;
	greet(end);
	KeWaitForSingleObject(&end->e.gone, Executive, KernelMode, FALSE, &limit);
	WAIT(end->e.connector->Dispatch->NdkDisconnect, end->e.connector);
	served++;
}

static VOID NTAPI server(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	LARGE_INTEGER limit = check_ms(20000);
	if (KeWaitForSingleObject(&io.door.rung, Executive, KernelMode, FALSE, &limit) == 0)
		serve();
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	check_join(thread);
	CHECK(served == 1 && io.y.gone == 1, "NDK-142 the server saw its client come and go");
	CHECK(io_is(&memory, SIZE / 2, SIZE / 2, 0xc1), "NDK-67 and has what the client wrote");
	memory_close(&memory);
	io_end_close(&io.y);
	CLOSE(io.door.listener->Dispatch->NdkCloseListener, io.door.listener);
	io_close(&io);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	if (!io_open(&io) || !io_end_make(&io.y, io.b.adapter, &plain) ||
	    !memory_make(&memory, io.y.e.pd, SIZE, IO_ALL) || !door_open(&io.door, &io.b, PORT))
		return STATUS_UNSUCCESSFUL;
	thread = check_thread(server, NULL);
	return STATUS_SUCCESS;
}
#else
static void client(struct io *io, struct memory *m)
{
	NDK_RESULT_EX result;
	SOCKADDR_INET server = io_with_port(io->b.local, PORT);
	CHECK(io_receive(&io->x, m, 0, 64, NULL) == STATUS_SUCCESS &&
		      io_connect_to(&io->x, &io->a, &server) == STATUS_SUCCESS,
	      "NDK-136 a connection to another driver");
	CHECK(io_get(io->x.receive_cq, &result, 10000) && result.Status == STATUS_SUCCESS &&
		      result.BytesTransferred == sizeof(struct greeting),
	      "NDK-61 its greeting");
	struct greeting greeting = *(struct greeting *)m->data;
	CHECK(io_read(&io->x, m, 1024, 16, greeting.address, greeting.token, 0, NULL) ==
			      STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS &&
		      RtlCompareMemory(m->data, m->data + 1024, 16) == 16,
	      "NDK-67 a read of the other driver's memory");
	RtlFillMemory(m->data, SIZE, 0xc1);
	CHECK(io_write(&io->x, m, 0, SIZE / 2, greeting.address + SIZE / 2, greeting.token, 0,
		       NULL) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS,
	      "NDK-67 a write to it");
}

static void test(struct io *io)
{
	static struct memory m;
	CHECK(io_end_make(&io->x, io->a.adapter, &plain) &&
		      memory_make(&m, io->x.e.pd, SIZE, IO_ALL),
	      "NDK-79 an end");
	client(io, &m);
	memory_close(&m);
	io_end_close(&io->x);
}

IO_DRIVER(test)
#endif
