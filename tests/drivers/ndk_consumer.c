/* SPDX-License-Identifier: MIT */
/*
 * ndk_consumer.c: a client and a server in the manner of storage transports, in one driver, over
 * two RNICs: credits, messages of requests and replies, data moved by the server's RDMA reads and
 * writes into fast-registered memory, which the server invalidates with its reply or the client
 * itself; all completions by notification.
 *
 * Prints PASS lines, and with -DMAY_FAIL only what it came to: it is run with every NDK function
 * failing on demand (NDK-76..83, DEF-79..119), and must end without a leak, a hang or a crash
 * whatever fails: then every object is closed, and DriverEntry succeeds.
 */
#include "ndk_consumer.h"

#ifndef MAY_FAIL
#define MAY_FAIL 0
#endif
#define ROUNDS 12

static const WSK_CLIENT_DISPATCH client_dispatch = {MAKE_WSK_VERSION(1, 0), 0, NULL};
static WSK_REGISTRATION registration;

static struct link client = {.name = "client"}, server = {.name = "server"};
static SOCKADDR_IN addresses[2];
static NET_IFINDEX indices[2];

/* The listener's own opening of the server's RNIC (DEF-110). */
static struct {
	NDK_ADAPTER *adapter;
	NDK_LISTENER *listener;
	NDK_CONNECTOR *incoming;
	KEVENT event, stop;
	KSPIN_LOCK lock;
	BOOLEAN closed;
	NTSTATUS status;
} port;

static NTSTATUS link_start(struct link *link)
{
	NTSTATUS status = STATUS_SUCCESS;
	for (ULONG i = 0; i < SLOTS && NT_SUCCESS(status); i++)
		status = post_receive(link, i);
	arm(link, link->receive_cq);
	arm(link, link->send_cq);
	return status;
}

/* DEF-115, DEF-116: flush, close the connector, wait for every request, then close the rest. */
static void link_close(struct link *link)
{
	struct wait wait;
	KIRQL old;
	link_break(link);
	if (link->qp)
		link->qp->Dispatch->NdkFlush(link->qp);
	CLOSE(link->connector, NdkCloseConnector);
	for (ULONG i = 0; link->posted && i < 5000; i++) {
		drain_receives(link);
		drain_initiator(link);
		check_sleep(1);
	}
	if (link->posted) {
		DbgPrint("FAIL %s: %d requests never came back\n", link->name, link->posted);
		return; /* a close would wait for ever: the report at unload tells more */
	}
	KeAcquireSpinLock(&link->cq_lock, &old);
	link->closing = TRUE; /* a notification may still run, or come */
	KeReleaseSpinLock(&link->cq_lock, old);
	CLOSE(link->qp, NdkCloseQp);
	CLOSE(link->receive_cq, NdkCloseCq);
	CLOSE(link->send_cq, NdkCloseCq);
	if (link->registered)
		/* a failure: the close of the region ends its registration */
		wait_end(&wait,
			 link->mr->Dispatch->NdkDeregisterMr(link->mr, on_request,
							     wait_begin(&wait)),
			 NULL);
	CLOSE(link->mr, NdkCloseMr);
	CLOSE(link->pd, NdkClosePd);
	if (!link->adapter)
		return;
	memory_free(link, &link->messages);
	memory_free(link, &link->data);
	ndk.WskCloseNdkAdapter(npi.Client, link->adapter);
	link->adapter = NULL;
}

/* ---- The server: DISPATCH or PASSIVE, in notifications ---- */

static NTSTATUS server_reply(const struct message *request, NTSTATUS status, UINT32 invalidate)
{
	struct message reply = *request;
	reply.type = MESSAGE_REPLY;
	reply.status = status;
	reply.credits = 1; /* the receive that took the request is posted again */
	return send_message(&server, &reply, invalidate);
}

static void server_message(struct link *link, const struct message *message)
{
	KIRQL old;
	NDK_SGE sge;
	if (message->type == MESSAGE_ECHO) {
		server_reply(message, STATUS_SUCCESS, 0);
		return;
	}
	if (message->length > DATA)
		return;
	sge.VirtualAddress = link->data.bytes;
	sge.Length = message->length;
	sge.MemoryRegionToken = link->token;
	if (message->type == MESSAGE_PULL)
		RtlFillMemory(link->data.bytes, message->length, message->fill);
	KeAcquireSpinLock(&link->lock, &old);
	struct request *request = request_take(link, REQUEST_DATA);
	NTSTATUS status = STATUS_INSUFFICIENT_RESOURCES;
	if (request) {
		const NDK_QP_DISPATCH *qp = link->qp->Dispatch;
		request->message = *message;
		status = posted(link, request,
				message->type == MESSAGE_PUSH
					? qp->NdkRead(link->qp, request, &sge, 1, message->address,
						      message->token, 0)
					: qp->NdkWrite(link->qp, request, &sge, 1, message->address,
						       message->token, 0));
	}
	KeReleaseSpinLock(&link->lock, old);
	if (!NT_SUCCESS(status))
		link_break(link);
}

/* The data have moved: answer. After a push the client's registration ends with the answer. */
void data_done(struct link *link, struct request *request, NTSTATUS status)
{
	const struct message *message = &request->message;
	if (!NT_SUCCESS(status))
		return;
	if (message->type == MESSAGE_PUSH) {
		for (ULONG i = 0; i < message->length; i++) {
			if (link->data.bytes[i] != message->fill)
				status = STATUS_DATA_ERROR;
		}
		server_reply(message, status, message->token);
	} else {
		server_reply(message, status, 0);
	}
}

static VOID NTAPI on_connect(PVOID context, NDK_CONNECTOR *connector)
{
	BOOLEAN take;
	KIRQL old;
	UNREFERENCED_PARAMETER(context);
	KeAcquireSpinLock(&port.lock, &old);
	take = !port.closed && !port.incoming;
	if (take)
		port.incoming = connector;
	KeReleaseSpinLock(&port.lock, old);
	if (take)
		KeSetEvent(&port.event, 0, FALSE);
	else
		connector->Dispatch->NdkCloseConnector(&connector->Header, NULL, NULL);
}

static NTSTATUS server_accept(void)
{
	struct wait wait;
	ULONG inbound, outbound, length = sizeof(server.info);
	UCHAR data[64];
	length = sizeof(data);
	NTSTATUS status = port.incoming->Dispatch->NdkGetConnectionData(port.incoming, &inbound,
									&outbound, data, &length);
	server.connector = port.incoming; /* closed with the link from now on */
	port.incoming = NULL;
	if (!NT_SUCCESS(status))
		return status;
	status = link_open(&server, indices[1], FALSE);
	if (NT_SUCCESS(status))
		status = link_start(&server); /* before: a request may come at once */
	if (!NT_SUCCESS(status)) {
		server.connector->Dispatch->NdkReject(server.connector, NULL, 0);
		return status;
	}
	status = server.connector->Dispatch->NdkAccept(server.connector, server.qp, 16, 16, NULL, 0,
						       on_disconnect, &server, on_request,
						       wait_begin(&wait));
	return wait_end(&wait, status, NULL);
}

static VOID NTAPI serve(PVOID context)
{
	PVOID events[] = {&port.event, &port.stop};
	NTSTATUS status = KeWaitForMultipleObjects(2, events, WaitAny, Executive, KernelMode, FALSE,
						   NULL, NULL);
	UNREFERENCED_PARAMETER(context);
	if (status == STATUS_WAIT_0) {
		status = server_accept();
		PVOID ends[] = {&server.changed, &port.stop};
		while (NT_SUCCESS(status) && !server.broken) {
			NTSTATUS which = KeWaitForMultipleObjects(2, ends, WaitAny, Executive,
								  KernelMode, FALSE, NULL, NULL);
			if (which == STATUS_WAIT_1)
				break;
		}
		link_close(&server);
	}
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS listen(void)
{
	struct wait wait;
	NDK_VERSION version = {1, 0};
	ULONG length = sizeof(addresses[1]);
	NTSTATUS status = ndk.WskOpenNdkAdapter(npi.Client, version, indices[1], &port.adapter);
	if (!NT_SUCCESS(status))
		return status;
	status = port.adapter->Dispatch->NdkCreateListener(
		port.adapter, on_connect, &port, on_create, wait_begin(&wait), &port.listener);
	status = wait_end(&wait, status, (PVOID *)&port.listener);
	if (!NT_SUCCESS(status))
		return status;
	addresses[1].sin_port = 0;
	status = port.listener->Dispatch->NdkListen(port.listener, (PSOCKADDR)&addresses[1],
						    sizeof(addresses[1]), on_request,
						    wait_begin(&wait));
	status = wait_end(&wait, status, NULL);
	if (!NT_SUCCESS(status))
		return status;
	return port.listener->Dispatch->NdkGetLocalAddress(port.listener, (PSOCKADDR)&addresses[1],
							   &length);
}

static void stop_listening(void)
{
	KIRQL old;
	KeAcquireSpinLock(&port.lock, &old);
	port.closed = TRUE;
	KeReleaseSpinLock(&port.lock, old);
	if (port.listener)
		port.listener->Dispatch->NdkControlConnectEvents(port.listener, TRUE);
	CLOSE(port.listener, NdkCloseListener);
	if (port.adapter)
		ndk.WskCloseNdkAdapter(npi.Client, port.adapter);
	port.adapter = NULL;
}

/* ---- The client: PASSIVE, one request at a time, answers in notifications ---- */

static void client_message(struct link *link, const struct message *message)
{
	KIRQL old;
	KeAcquireSpinLock(&link->lock, &old);
	link->reply = *message;
	link->credits += (LONG)message->credits;
	KeReleaseSpinLock(&link->lock, old);
	InterlockedIncrement(&link->replies);
	KeSetEvent(&link->changed, 0, FALSE);
}

static NTSTATUS client_connect(void)
{
	struct wait wait;
	SOCKADDR_IN source = addresses[0];
	UCHAR hello[24] = "ketch";
	ULONG zero = 0;
	NTSTATUS status = client.adapter->Dispatch->NdkCreateConnector(
		client.adapter, on_create, wait_begin(&wait), &client.connector);
	status = wait_end(&wait, status, (PVOID *)&client.connector);
	if (!NT_SUCCESS(status))
		return status;
	const NDK_CONNECTOR_DISPATCH *connector = client.connector->Dispatch;
	source.sin_port = 0;
	status = connector->NdkConnect(client.connector, client.qp, (PSOCKADDR)&source,
				       sizeof(source), (PSOCKADDR)&addresses[1],
				       sizeof(addresses[1]), 16, 16, hello, sizeof(hello),
				       on_request, wait_begin(&wait));
	status = wait_end(&wait, status, NULL);
	if (!NT_SUCCESS(status))
		return status;
	status = connector->NdkGetConnectionData(client.connector, NULL, NULL, NULL, &zero);
	if (!NT_SUCCESS(status))
		return status;
	status = connector->NdkCompleteConnect(client.connector, on_disconnect, &client, on_request,
					       wait_begin(&wait));
	return wait_end(&wait, status, NULL);
}

/* Until `count` is at least `goal`, the link breaks, or time is up. */
static NTSTATUS client_await(volatile LONG *count, LONG goal)
{
	LARGE_INTEGER time = check_ms(PATIENCE);
	while (*count < goal) {
		if (client.broken)
			return STATUS_CONNECTION_DISCONNECTED;
		if (KeWaitForSingleObject(&client.changed, Executive, KernelMode, FALSE, &time) ==
		    STATUS_TIMEOUT)
			return STATUS_IO_TIMEOUT;
	}
	return STATUS_SUCCESS;
}

/* FastRegister and Send in one chain (DEF-95): the first is deferred. */
static NTSTATUS client_request(struct message *message)
{
	KIRQL old;
	NTSTATUS status = STATUS_SUCCESS;
	const struct memory *data = &client.data;
	UINT64 base = (UINT64)(ULONG_PTR)data->bytes ^ 0x5a5a5a5a5a000; /* DEF-92 */
	if (client.credits == 0)
		return STATUS_INSUFFICIENT_RESOURCES;
	KeAcquireSpinLock(&client.lock, &old);
	client.credits--;
	if (message->type != MESSAGE_ECHO) {
		struct request *request = request_take(&client, REQUEST_REGISTER);
		message->token = client.token;
		message->address = base;
		message->length = DATA;
		status =
			posted(&client, request,
			       client.qp->Dispatch->NdkFastRegister(
				       client.qp, request, client.mr, data->lam->AdapterPageCount,
				       data->lam->AdapterPageArray, data->fbo, DATA, (PVOID)base,
				       NDK_OP_FLAG_ALLOW_REMOTE_READ |
					       NDK_OP_FLAG_ALLOW_REMOTE_WRITE | NDK_OP_FLAG_DEFER));
	}
	if (NT_SUCCESS(status))
		status = send_locked(&client, message, 0);
	KeReleaseSpinLock(&client.lock, old);
	return status;
}

static NTSTATUS client_invalidate(void)
{
	KIRQL old;
	LONG before = client.locally_invalidated;
	KeAcquireSpinLock(&client.lock, &old);
	struct request *request = request_take(&client, REQUEST_INVALIDATE);
	NTSTATUS status = posted(
		&client, request,
		client.qp->Dispatch->NdkInvalidate(client.qp, request, &client.mr->Header, 0));
	KeReleaseSpinLock(&client.lock, old);
	return NT_SUCCESS(status) ? client_await(&client.locally_invalidated, before + 1) : status;
}

static NTSTATUS transact(ULONG type, ULONG sequence)
{
	struct message message = {
		.type = type, .sequence = sequence, .fill = (UCHAR)(sequence + 7)};
	LONG replies = client.replies, invalidated = client.invalidated;
	PUCHAR bytes = client.data.bytes;
	RtlFillMemory(bytes, DATA, type == MESSAGE_PUSH ? message.fill : 0);
	NTSTATUS status = client_request(&message);
	if (NT_SUCCESS(status))
		status = client_await(&client.replies, replies + 1);
	if (!NT_SUCCESS(status))
		return status;
	if (client.reply.type != MESSAGE_REPLY || client.reply.sequence != sequence ||
	    client.reply.status)
		return STATUS_DATA_ERROR;
	if (type == MESSAGE_PUSH)
		return client.invalidated == invalidated + 1 &&
				       client.invalidated_token == client.token
			       ? STATUS_SUCCESS
			       : STATUS_DATA_ERROR;
	if (type == MESSAGE_PULL) {
		if (bytes[0] != message.fill || bytes[DATA - 1] != message.fill)
			return STATUS_DATA_ERROR;
		return client_invalidate();
	}
	return STATUS_SUCCESS;
}

static NTSTATUS client_run(void)
{
	static const ULONG types[] = {MESSAGE_ECHO, MESSAGE_PUSH, MESSAGE_PULL};
	NTSTATUS status = link_open(&client, indices[0], TRUE);
	if (NT_SUCCESS(status))
		status = client_connect();
	if (NT_SUCCESS(status))
		status = link_start(&client);
	for (ULONG i = 0; i < ROUNDS && NT_SUCCESS(status); i++)
		status = transact(types[i % 3], i);
	return status;
}

/* ---- The driver ---- */

static NTSTATUS find_adapters(void)
{
	PMIB_UNICASTIPADDRESS_TABLE table;
	ULONG found = 0;
	NTSTATUS status = GetUnicastIpAddressTable(AF_INET, &table);
	if (!NT_SUCCESS(status))
		return status;
	for (ULONG i = 0; i < table->NumEntries && found < 2; i++) {
		NET_LUID luid = table->Table[i].InterfaceLuid;
		if (luid.Info.IfType != IF_TYPE_ETHERNET_CSMACD)
			continue;
		indices[found] = table->Table[i].InterfaceIndex;
		addresses[found++] = table->Table[i].Address.Ipv4;
	}
	FreeMibTable(table);
	if (found == 1) {
		indices[1] = indices[0];
		addresses[1] = addresses[0];
	}
	return found ? STATUS_SUCCESS : STATUS_NOT_FOUND;
}

static NTSTATUS run(void)
{
	NTSTATUS status = find_adapters();
	if (!NT_SUCCESS(status))
		return status;
	PVOID thread = check_thread(serve, NULL);
	if (!thread)
		return STATUS_INSUFFICIENT_RESOURCES;
	status = listen();
	if (NT_SUCCESS(status))
		status = client_run();
	link_close(&client);
	KeSetEvent(&port.stop, 0, FALSE);
	check_join(thread);
	stop_listening();
	if (port.incoming) { /* it came when nobody waited any more */
		close_object(&port.incoming->Header, port.incoming->Dispatch->NdkCloseConnector);
		port.incoming = NULL;
	}
	return status;
}

static NTSTATUS enter(void)
{
	WSK_CLIENT_NPI client_npi = {NULL, &client_dispatch};
	NTSTATUS status = WskRegister(&client_npi, &registration);
	if (!NT_SUCCESS(status))
		return status;
	status = WskCaptureProviderNPI(&registration, WSK_INFINITE_WAIT, &npi);
	if (NT_SUCCESS(status)) {
		status = npi.Dispatch->WskControlClient(npi.Client,
							WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH, 0,
							NULL, sizeof(ndk), &ndk, NULL, NULL);
		if (NT_SUCCESS(status))
			status = run();
		WskReleaseProviderNPI(&registration);
	}
	WskDeregister(&registration);
	return status;
}

DRIVER_UNLOAD OnUnload;
VOID NTAPI OnUnload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = OnUnload;
	KeInitializeEvent(&client.changed, SynchronizationEvent, FALSE);
	KeInitializeEvent(&server.changed, SynchronizationEvent, FALSE);
	KeInitializeEvent(&port.event, NotificationEvent, FALSE);
	KeInitializeEvent(&port.stop, NotificationEvent, FALSE);
	client.on_message = client_message;
	server.on_message = server_message;
	client.credits = SLOTS;
	NTSTATUS status = enter();
	DbgPrint("ndk_consumer: 0x%08x, %d replies, %d fast registrations, %d ended by the peer, "
		 "%d here\n",
		 status, client.replies, client.registered_fast, client.invalidated,
		 client.locally_invalidated);
	if (MAY_FAIL)
		return STATUS_SUCCESS;
	CHECK(NT_SUCCESS(status), "DEF-79..119 a consumer opens, registers, connects, moves data, "
				  "invalidates, closes");
	CHECK(client.replies == ROUNDS && client.registered_fast == ROUNDS * 2 / 3 &&
		      client.invalidated == ROUNDS / 3 && client.locally_invalidated == ROUNDS / 3,
	      "NDK-108, NDK-130 every registration was ended, by the peer or here");
	return check_result();
}
