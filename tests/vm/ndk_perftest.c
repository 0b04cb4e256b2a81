/* SPDX-License-Identifier: MIT */
/*
 * ndk_perftest.c: the other end of perftest's bandwidth tests (NDK with any other verbs program).
 * CASE 0, 1: of `ib_write_bw`, 2, 3: `ib_read_bw`, 4, 5: `ib_send_bw`. Even: the server, on its
 * port 18515; odd: the client, of a server on the same address. With REVOKED, of the servers of
 * writes and reads, the data's region is deregistered before the client begins. Perftest needs
 *
 *     -R -s SIZE -n COUNT --mmap=FILE
 *
 * where FILE is C:\peer.map for us, two pages: we look whether both sides have the same bytes.
 *
 * What perftest 6.06 (Debian 12) does, as it can be observed: a first connection is for messages of
 * up to 56 bytes, big-endian. Each is an exchange: the client sends, the server receives, answers
 * with one of the same size. Version, page size, size of a cache line, MTU, then nothing; the
 * client connects again to the same port, for the data; nothing again; where the data is, thrice
 * (for sends once more, as then the receives are posted). The client moves its data, page by page
 * of PAGE / SIZE slots, to or from the server's. Then: where the data is; but for sends five
 * numbers, the result; where the data is. The client's place is the first page of its memory, what
 * the server tells of is its second.
 */
#include "consumer.h"

#ifndef CASE
#define CASE 0
#endif
#ifndef REVOKED
#define REVOKED 0
#endif
#define PORT  18515
#define SIZE  1024
#define COUNT 50
#define PAGE  4096
#define SLOTS (PAGE / SIZE)

enum { WRITE, READ, SEND };
#define TEST   (CASE / 2)
#define SERVER (CASE % 2 == 0)

struct place {
	UINT32 lid, reads, qp, psn, token, unused;
	UINT64 address;
	UCHAR gid[16];
	UINT32 srq, gid_index;
};

#define MESSAGE sizeof(struct place)

static struct end control, data;
static struct door door;
static struct memory messages; /* [0, MESSAGE) is sent, [MESSAGE, 2 * MESSAGE) received */
static struct memory region;   /* one page that nobody may touch, one for the data */
static struct place ours, peer;

/* ---- The exchange ---- */

static BOOLEAN post_receive(void)
{
	NDK_SGE sge = memory_sge(&messages, MESSAGE, MESSAGE);
	return NT_SUCCESS(control.qp->Dispatch->NdkReceive(control.qp, NULL, &sge, 1));
}

static BOOLEAN say(const void *message, ULONG size)
{
	NDK_SGE sge = memory_sge(&messages, 0, size);
	RtlCopyMemory(messages.data, message, size);
	return NT_SUCCESS(control.qp->Dispatch->NdkSend(control.qp, NULL, &sge, 1, 0)) &&
	       end_wait(&control, NdkOperationTypeSend);
}

static BOOLEAN hear(void *message, ULONG size)
{
	if (!end_wait(&control, NdkOperationTypeReceive))
		return FALSE;
	RtlCopyMemory(message, messages.data + MESSAGE, size);
	if (control.bytes != size)
		DbgPrint("FAIL a message of %u bytes instead of %u\n", control.bytes, size);
	return control.bytes == size && post_receive();
}

static BOOLEAN exchange(const void *said, void *heard, ULONG size)
{
	return SERVER ? hear(heard, size) && say(said, size) : say(said, size) && hear(heard, size);
}

/* What is the same on both sides: the server says what it heard. */
static BOOLEAN agree(const void *said, ULONG size)
{
	UCHAR heard[MESSAGE];
	return exchange(SERVER ? heard : said, heard, size) &&
	       (SERVER || RtlCompareMemory(said, heard, size) == size);
}

static const UCHAR nothing[MESSAGE];

static BOOLEAN greet(void)
{
	return agree("6.06\0\0\0\0\0\0\0\0\0\0\0", 16) && agree("\0\0\x10\0", 4) &&
	       agree("\0\0\0\x40", 4) && agree("5", 2) && agree(nothing, MESSAGE);
}

/* Where the data is, `times` times. */
static BOOLEAN tell(ULONG times)
{
	BOOLEAN good = TRUE;
	while (good && times--)
		good = exchange(&ours, &peer, MESSAGE);
	return good;
}

/* Size, count, MB/s at best and on average, millions of messages a second: 64 bits each. */
static BOOLEAN report(LONGLONG ticks, LONGLONG frequency)
{
	double rate = ticks ? (double)COUNT * (double)frequency / (double)ticks : 0;
	double speed[] = {rate * SIZE / 1048576, rate * SIZE / 1048576, rate / 1000000};
	UINT64 numbers[5] = {SIZE, COUNT}, theirs[5];
	RtlCopyMemory(&numbers[2], speed, sizeof(speed));
	for (ULONG i = 0; i < 5; i++) {
		numbers[i] = RtlUlonglongByteSwap(numbers[i]);
		if (!exchange(&numbers[i], &theirs[i], sizeof(UINT64)))
			return FALSE;
		theirs[i] = RtlUlonglongByteSwap(theirs[i]);
	}
	if (SERVER) /* which has nothing to say */
		CHECK(theirs[0] == SIZE && theirs[1] == COUNT, "DESIGN-6 perftest's result");
	return TRUE;
}

/* ---- The data ---- */

static NTSTATUS post(ULONG i)
{
	NDK_SGE sge = memory_sge(&region, PAGE + i % SLOTS * SIZE, SIZE);
	UINT64 remote = RtlUlonglongByteSwap(peer.address) + i % SLOTS * SIZE;
	UINT32 token = RtlUlongByteSwap(peer.token);
	if (TEST == WRITE)
		return data.qp->Dispatch->NdkWrite(data.qp, NULL, &sge, 1, remote, token, 0);
	if (TEST == READ)
		return data.qp->Dispatch->NdkRead(data.qp, NULL, &sge, 1, remote, token, 0);
	if (SERVER)
		return data.qp->Dispatch->NdkReceive(data.qp, NULL, &sge, 1);
	return data.qp->Dispatch->NdkSend(data.qp, NULL, &sge, 1, 0);
}

static BOOLEAN post_all(void)
{
	for (ULONG i = 0; i < COUNT; i++) {
		NTSTATUS status = post(i);
		if (!NT_SUCCESS(status)) {
			DbgPrint("FAIL request %u is 0x%08x\n", i, status);
			return FALSE;
		}
	}
	return TRUE;
}

static BOOLEAN complete_all(void)
{
	NDK_RESULT_EX result;
	ULONG done = 0;
	while (done < COUNT && NT_SUCCESS(end_poll(&data, &result)) &&
	       (result.Type != NdkOperationTypeReceive || result.BytesTransferred == SIZE))
		done++;
	if (done < COUNT)
		DbgPrint("FAIL completion %u is 0x%08x, %u bytes\n", done, result.Status,
			 result.BytesTransferred);
	return done == COUNT;
}

/* The page of perftest's memory that is the other end of our data. */
static BOOLEAN same_as_peer(void)
{
	static UCHAR page[PAGE];
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	IO_STATUS_BLOCK block;
	LARGE_INTEGER offset = {.QuadPart = SERVER ? 0 : PAGE};
	HANDLE file;
	RtlInitUnicodeString(&name, L"\\??\\C:\\peer.map");
	InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE, NULL, NULL);
	if (!NT_SUCCESS(ZwCreateFile(&file, GENERIC_READ | SYNCHRONIZE, &attributes, &block, NULL,
				     FILE_ATTRIBUTE_NORMAL, FILE_SHARE_READ | FILE_SHARE_WRITE,
				     FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0)))
		return FALSE;
	NTSTATUS status = ZwReadFile(file, NULL, NULL, NULL, &block, page, PAGE, &offset, NULL);
	ZwClose(file);
	return NT_SUCCESS(status) && block.Information == PAGE &&
	       RtlCompareMemory(page, region.data + PAGE, PAGE) == PAGE;
}

static ULONG untouched(ULONG from, ULONG to)
{
	ULONG count = 0;
	for (ULONG i = from; i < to; i++)
		count += region.data[i] == 'A' + i % 26;
	return count;
}

static BOOLEAN move(void)
{
	LARGE_INTEGER frequency, start = KeQueryPerformanceCounter(&frequency), end;
	if ((!SERVER && !post_all()) || ((!SERVER || TEST == SEND) && !complete_all()))
		return FALSE;
	end = KeQueryPerformanceCounter(NULL);
	if (!tell(1))
		return FALSE;
	CHECK(same_as_peer(), "DESIGN-6 both sides have the same bytes");
	CHECK(untouched(0, PAGE) == PAGE, "DESIGN-6 nothing else is written");
	CHECK((untouched(PAGE, 2 * PAGE) == PAGE) == (SERVER == (TEST == READ)),
	      "DESIGN-6 the data went from who has it to who wants it");
	return TEST == SEND ||
	       (report(end.QuadPart - start.QuadPart, frequency.QuadPart) && tell(1));
}

/* The client knows the region, and is too late. */
static BOOLEAN revoke(void)
{
	LARGE_INTEGER limit = check_ms(30000);
	NTSTATUS status = WAIT(region.mr->Dispatch->NdkDeregisterMr, region.mr);
	CHECK(status == STATUS_SUCCESS, "DESIGN-7 deregistration");
	if (!tell(1))
		return FALSE;
	status = KeWaitForSingleObject(&data.gone, Executive, KernelMode, FALSE, &limit);
	CHECK(untouched(0, 2 * PAGE) == 2 * PAGE, "DESIGN-7 not one byte moves");
	CLOSE(region.mr->Dispatch->NdkCloseMr, region.mr);
	return status == STATUS_SUCCESS;
}

/* ---- The connections ---- */

/* The server may not listen yet: it begins after it has said so. */
static BOOLEAN meet(struct consumer *consumer, struct end *end)
{
	SOCKADDR_INET server = consumer->local;
	NTSTATUS status = SERVER ? door_accept(&door, end) : STATUS_CONNECTION_REFUSED;
	server.Ipv4.sin_port = RtlUshortByteSwap(PORT);
	for (ULONG n = 0; !SERVER && status == STATUS_CONNECTION_REFUSED && n < 200; n++) {
		if (n) {
			CLOSE(end->connector->Dispatch->NdkCloseConnector, end->connector);
			check_sleep(100);
		}
		status = end_connect(end, consumer->adapter, &consumer->local, &server);
	}
	if (!NT_SUCCESS(status))
		DbgPrint("FAIL connection 0x%08x\n", status);
	return NT_SUCCESS(status);
}

static BOOLEAN make(struct consumer *consumer)
{
	ULONG rights = NDK_MR_FLAG_ALLOW_LOCAL_WRITE | NDK_MR_FLAG_RDMA_READ_SINK;
	if (SERVER && TEST == READ)
		rights = NDK_MR_FLAG_ALLOW_REMOTE_READ;
	if (SERVER && TEST == WRITE)
		rights = NDK_MR_FLAG_ALLOW_REMOTE_WRITE;
	if (!end_make(&control, consumer->adapter) || !end_make(&data, consumer->adapter) ||
	    !memory_make(&messages, control.pd, 2 * MESSAGE, NDK_MR_FLAG_ALLOW_LOCAL_WRITE) ||
	    !memory_make(&region, data.pd, 2 * PAGE, rights))
		return FALSE;
	for (ULONG i = 0; i < 2 * PAGE; i++)
		region.data[i] = (UCHAR)('A' + i % 26);
	ours.reads = RtlUlongByteSwap(1);
	ours.address = RtlUlonglongByteSwap((UINT64)region.data + PAGE);
	if (TEST != SEND)
		ours.token =
			RtlUlongByteSwap(region.mr->Dispatch->NdkGetRemoteTokenFromMr(region.mr));
	return !SERVER || door_open(&door, consumer, PORT);
}

static void talk(struct consumer *consumer)
{
	LARGE_INTEGER limit = check_ms(10000);
	BOOLEAN good = make(consumer);
	CHECK(good, "NDK-4 objects");
	if (!good)
		return;
	DbgPrint("ndk_perftest: %s\n", SERVER ? "listening" : "connecting");
	good = post_receive() && meet(consumer, &control) && greet() && meet(consumer, &data) &&
	       agree(nothing, MESSAGE) && (TEST != SEND || !SERVER || post_all()) &&
	       (REVOKED ? tell(2) && revoke() : tell(TEST == SEND ? 4 : 3) && move());
	CHECK(good, "DESIGN-6 perftest's exchange");
	if (SERVER && good)
		CHECK(KeWaitForSingleObject(&data.gone, Executive, KernelMode, FALSE, &limit) ==
			      STATUS_SUCCESS,
		      "NDK-142 the disconnect event");
	memory_close(&messages);
	memory_close(&region);
	end_close(&data);
	end_close(&control);
	if (SERVER)
		door_close(&door);
}

CONSUMER_DRIVER(talk)
