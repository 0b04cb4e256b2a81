/* SPDX-License-Identifier: MIT */
/*
 * register.c: clients of Winsock Kernel: registration, capture of the provider, and their ends.
 *
 * Contexts and locks: each function says its IRQL. `wsk_lock` (DISPATCH_LEVEL) protects the list of
 * clients and their counts, and is taken before NDK's lock; nobody waits with it. Who waits is in
 * the client's list of waiters, is woken by every change of a count, and looks again.
 *
 * The driver's WSK_REGISTRATION is a name only: it is written, never read, so it may be
 * uninitialised, deregistered twice or long gone (DEF-62, DEF-72).
 *
 * Implements DEF-55, DEF-56, DEF-61..64, DEF-71..73. Chosen: WskReleaseProviderNPI of the last
 * capture waits below DISPATCH_LEVEL until the client's adapters are closed, as measured on
 * Windows, and says so after wsk_patience_ms; at DISPATCH_LEVEL it reports and returns, and the
 * client can still close what it has open, since WskDeregister waits for that. A second
 * registration of a block is refused with STATUS_INVALID_DEVICE_STATE.
 */
#include "ex/ex.h"
#include "mm/mm.h"
#include "rtl/rtl.h"
#include "ndk/ndk.h"
#include "wsk/wsk_internal.h"

uint32_t wsk_delay_ms;
uint32_t wsk_patience_ms = 5000;

struct ke_lock wsk_lock;
static LIST_ENTRY clients = {&clients, &clients};
static uint64_t ready_ns; /* when the provider is there */

void wsk_initialize(void)
{
	ready_ns = port_time_ns() + wsk_delay_ms * 1000000ull;
}

struct wsk_client *wsk_client_of(const WSK_REGISTRATION *block)
{
	for (LIST_ENTRY *entry = clients.Flink; entry != &clients; entry = entry->Flink) {
		struct wsk_client *client = CONTAINING_RECORD(entry, struct wsk_client, entry);
		if (block && client->block == block)
			return client;
	}
	return NULL;
}

struct wsk_client *wsk_client_find(const void *client)
{
	for (LIST_ENTRY *entry = clients.Flink; entry != &clients; entry = entry->Flink) {
		if (CONTAINING_RECORD(entry, struct wsk_client, entry) == client)
			return CONTAINING_RECORD(entry, struct wsk_client, entry);
	}
	return NULL;
}

void wsk_client_changed(struct wsk_client *client)
{
	for (LIST_ENTRY *entry = client->waiters.Flink; entry != &client->waiters;
	     entry = entry->Flink)
		KeSetEvent(&CONTAINING_RECORD(entry, struct wsk_waiter, entry)->changed,
			   IO_NO_INCREMENT, FALSE);
}

/* The lock is held. */
static void waiter_add(struct wsk_client *client, struct wsk_waiter *waiter)
{
	KeInitializeEvent(&waiter->changed, SynchronizationEvent, FALSE);
	InsertTailList(&client->waiters, &waiter->entry);
}

/* ---- Registration ---- */

static void check_resident(const void *address, const char *what, uint64_t caller)
{
	if (vf_on() && mm_is_pageable((uint64_t)address))
		vf_report(VF_WskResident, "WskRegister", caller, (uint64_t)address,
			  "is given the %s %p, which lies in pageable memory", what, address);
}

/* The driver's table is not read again, as it would be on Windows: say so when it could not be. */
static void check_table(const struct wsk_client *client, uint64_t caller)
{
	const WSK_CLIENT_DISPATCH *table = client->dispatch, *copy = &client->table;
	if (!port_pages_accessible(table, false) ||
	    !port_pages_accessible((const char *)(table + 1) - 1, false) ||
	    table->Version != copy->Version || table->Reserved != copy->Reserved ||
	    table->WskClientEvent != copy->WskClientEvent)
		vf_report(VF_WskResident, "WskDeregister", caller, (uint64_t)table,
			  "ends a registration whose client's dispatch table %p has changed or is "
			  "gone",
			  (const void *)table);
}

/*
 * Register a client. IRQL = PASSIVE_LEVEL. The NPI is copied; its Dispatch and the block must stay,
 * resident, until WskDeregister. STATUS_SUCCESS, STATUS_INSUFFICIENT_RESOURCES,
 * STATUS_INVALID_PARAMETER; STATUS_INVALID_DEVICE_STATE: the block is registered. (DEF-56, DEF-62)
 */
NTSTATUS WSKAPI WskRegister(PWSK_CLIENT_NPI WskClientNpi, PWSK_REGISTRATION WskRegistration)
{
	if (!WskClientNpi || !WskClientNpi->Dispatch || !WskRegistration)
		return STATUS_INVALID_PARAMETER;
	int32_t failure;
	if (ndk_must_fail(NDK_FUNCTION_WskRegister, &failure))
		return failure;
	struct wsk_client *new = ex_allocate(sizeof(*new), WSK_TAG, NonPagedPoolNx);
	if (!new)
		return STATUS_INSUFFICIENT_RESOURCES;
	new->block = WskRegistration;
	new->dispatch = WskClientNpi->Dispatch;
	new->table = *WskClientNpi->Dispatch;
	new->caller = VF_CALLER();
	InitializeListHead(&new->adapters);
	InitializeListHead(&new->waiters);

	KIRQL old = ke_lock_raise(&wsk_lock);
	bool taken = wsk_client_of(WskRegistration);
	if (!taken)
		InsertTailList(&clients, &new->entry);
	ke_lock_lower(&wsk_lock, old);
	if (taken) {
		ex_free(new);
		if (vf_on())
			vf_report(VF_WskRegistration, "WskRegister", VF_CALLER(),
				  (uint64_t)WskRegistration,
				  "registers the block %p, which is registered already",
				  WskRegistration);
		return STATUS_INVALID_DEVICE_STATE;
	}
	check_resident(WskRegistration, "registration block", VF_CALLER());
	check_resident(WskClientNpi->Dispatch, "client's dispatch table", VF_CALLER());
	WskRegistration->ReservedRegistrationState = 1;
	WskRegistration->ReservedRegistrationContext = new;
	WskRegistration->ReservedRegistrationLock = 0;
	return STATUS_SUCCESS;
}

/* What the client still holds, in words: "1 capture of the provider NPI, the adapter 0x.. of
 * interface 2 (the memory region 0x..)". The lock is held, so that open adapters stay. */
static void describe(const struct wsk_client *client, bool adapters_only, char *text, size_t size)
{
	size_t at = 0;
	char objects[100];
	text[0] = 0;
	if (client->captures && !adapters_only)
		at += rtl_print(text, size, "%u capture%s of the provider NPI", client->captures,
				client->captures == 1 ? "" : "s");
	if (client->calls && !adapters_only && at < size)
		at += rtl_print(text + at, size - at, "%s%u running call%s", at ? ", " : "",
				client->calls, client->calls == 1 ? "" : "s");
	for (LIST_ENTRY *entry = client->adapters.Flink; entry != &client->adapters && at < size;
	     entry = entry->Flink) {
		const struct wsk_adapter *adapter =
			CONTAINING_RECORD(entry, struct wsk_adapter, entry);
		at += rtl_print(text + at, size - at, "%sthe adapter %p of interface %u",
				at ? ", " : "", (void *)adapter->adapter, (unsigned)adapter->index);
		if (at < size && !adapter->closing &&
		    ndk_adapter_describe(adapter->adapter, objects, sizeof(objects)))
			at += rtl_print(text + at, size - at, " (%s)", objects);
	}
}

static bool in_use(const struct wsk_client *client, bool adapters_only)
{
	return !IsListEmpty(&client->adapters) ||
	       (!adapters_only && (client->captures || client->calls));
}

/* Wait until nothing of the client is in use; say so once when it takes long (DEF-71). The caller
 * makes sure that the client stays. */
static void wait_unused(struct wsk_client *client, bool adapters_only, const char *function,
			uint64_t caller)
{
	struct wsk_waiter waiter;
	LARGE_INTEGER time = {.QuadPart = -10000ll * wsk_patience_ms};
	bool reported = false;
	char text[160];
	KIRQL old = ke_lock_raise(&wsk_lock);
	waiter_add(client, &waiter);
	while (in_use(client, adapters_only)) {
		describe(client, adapters_only, text, sizeof(text));
		ke_lock_lower(&wsk_lock, old);
		NTSTATUS status = KeWaitForSingleObject(&waiter.changed, Executive, KernelMode,
							FALSE, reported ? NULL : &time);
		if (status == STATUS_TIMEOUT && vf_on())
			vf_report(VF_WskWaiting, function, caller, (uint64_t)client->block,
				  "has waited %u ms for %s", wsk_patience_ms, text);
		reported |= status == STATUS_TIMEOUT;
		old = ke_lock_raise(&wsk_lock);
	}
	RemoveEntryList(&waiter.entry);
	ke_lock_lower(&wsk_lock, old);
}

/*
 * End a registration: waits until every capture is released, every call of the dispatch tables has
 * returned and every adapter is closed. IRQL = PASSIVE_LEVEL. A block that is not registered: no
 * effect. (DEF-56, DEF-64, DEF-72)
 */
VOID WSKAPI WskDeregister(PWSK_REGISTRATION WskRegistration)
{
	KIRQL old = ke_lock_raise(&wsk_lock);
	struct wsk_client *client = wsk_client_of(WskRegistration);
	bool first = client && !client->gone;
	if (first) {
		client->gone = true;
		wsk_client_changed(client); /* captures that wait give up */
	}
	ke_lock_lower(&wsk_lock, old);
	if (!first) {
		if (vf_on())
			vf_report(VF_WskRegistration, "WskDeregister", VF_CALLER(),
				  (uint64_t)WskRegistration,
				  "is called with the block %p, which is not registered",
				  WskRegistration);
		return;
	}
	if (vf_on())
		check_table(client, VF_CALLER());
	wait_unused(client, false, "WskDeregister", VF_CALLER());
	old = ke_lock_raise(&wsk_lock);
	RemoveEntryList(&client->entry);
	ke_lock_lower(&wsk_lock, old);
	ex_free(client);
	WskRegistration->ReservedRegistrationState = 0;
	WskRegistration->ReservedRegistrationContext = NULL;
}

/* ---- Capture ---- */

/* STATUS_PENDING: the provider is not there yet. The lock is held, so the driver's memory, which
 * may be pageable, is not touched. */
static NTSTATUS capture(struct wsk_client *client, uint64_t caller)
{
	if (client->gone)
		return STATUS_DEVICE_NOT_READY;
	if (port_time_ns() < ready_ns)
		return STATUS_PENDING;
	if (WSK_MAJOR_VERSION(client->table.Version) != WSK_MAJOR_VERSION(WSK_VERSION))
		return STATUS_NOINTERFACE;
	client->captures++;
	client->capture_caller = caller;
	return STATUS_SUCCESS;
}

/* Sleep until the provider may be there, the client changes, or `until_ns`; false: that time has
 * come. */
static bool wait_ready(struct wsk_waiter *waiter, uint64_t until_ns)
{
	uint64_t now = port_time_ns();
	uint64_t wake = ready_ns < until_ns ? ready_ns : until_ns;
	if (now >= until_ns)
		return false;
	LARGE_INTEGER time = {.QuadPart = wake > now ? -(LONGLONG)((wake - now) / 100 + 1) : 0};
	KeWaitForSingleObject(&waiter->changed, Executive, KernelMode, FALSE, &time);
	return true;
}

/*
 * Get the provider's NPI, waiting up to WaitTimeout ms for it (WSK_INFINITE_WAIT). IRQL =
 * PASSIVE_LEVEL, with WSK_NO_WAIT <= DISPATCH_LEVEL. STATUS_SUCCESS: to be released as often;
 * STATUS_NOINTERFACE: the client's version is not supported; STATUS_DEVICE_NOT_READY: not within
 * the time, or WskDeregister was called; STATUS_INVALID_PARAMETER. (DEF-56, DEF-63)
 */
NTSTATUS WSKAPI WskCaptureProviderNPI(PWSK_REGISTRATION WskRegistration, ULONG WaitTimeout,
				      PWSK_PROVIDER_NPI WskProviderNpi)
{
	uint64_t caller = VF_CALLER();
	uint64_t until_ns = WaitTimeout == WSK_INFINITE_WAIT
				    ? UINT64_MAX
				    : port_time_ns() + WaitTimeout * 1000000ull;
	int32_t status;
	if (!WskRegistration || !WskProviderNpi)
		return STATUS_INVALID_PARAMETER;
	if (vf_on() && WaitTimeout != WSK_NO_WAIT && ke_irql() > PASSIVE_LEVEL)
		vf_report(VF_RtIrql, "WskCaptureProviderNPI", caller, WaitTimeout,
			  "called at %s with a wait of %u ms, legal at PASSIVE_LEVEL",
			  vf_irql_name(ke_irql()), WaitTimeout);
	if (ke_irql() >= DISPATCH_LEVEL)
		until_ns = 0; /* it cannot wait */
	if (ndk_must_fail(NDK_FUNCTION_WskCaptureProviderNPI, &status))
		return status;

	struct wsk_waiter waiter;
	KIRQL old = ke_lock_raise(&wsk_lock);
	struct wsk_client *client = wsk_client_of(WskRegistration);
	status = client ? capture(client, caller) : STATUS_DEVICE_NOT_READY;
	if (status == STATUS_PENDING) {
		client->calls++;
		waiter_add(client, &waiter);
		do {
			ke_lock_lower(&wsk_lock, old);
			bool again = wait_ready(&waiter, until_ns);
			old = ke_lock_raise(&wsk_lock);
			status = again ? capture(client, caller) : STATUS_DEVICE_NOT_READY;
		} while (status == STATUS_PENDING);
		RemoveEntryList(&waiter.entry);
		client->calls--;
		wsk_client_changed(client);
	}
	ke_lock_lower(&wsk_lock, old);
	if (NT_SUCCESS(status)) {
		WskProviderNpi->Client = (PWSK_CLIENT)client;
		WskProviderNpi->Dispatch = &wsk_dispatch;
	}
	return status;
}

/*
 * Give back one capture. IRQL <= DISPATCH_LEVEL. Of the last one, below DISPATCH_LEVEL: waits until
 * the client's adapters are closed. Without a capture: no effect. (DEF-64, DEF-71, DEF-72)
 */
VOID WSKAPI WskReleaseProviderNPI(PWSK_REGISTRATION WskRegistration)
{
	uint64_t caller = VF_CALLER();
	char text[160];
	KIRQL old = ke_lock_raise(&wsk_lock);
	struct wsk_client *client = wsk_client_of(WskRegistration);
	bool open = client && client->captures == 1 && !IsListEmpty(&client->adapters);
	if (open && old < DISPATCH_LEVEL) {
		client->calls++; /* it stays while this waits, even if another release is faster */
		ke_lock_lower(&wsk_lock, old);
		wait_unused(client, true, "WskReleaseProviderNPI", caller);
		old = ke_lock_raise(&wsk_lock);
		client->calls--;
		open = false;
	} else if (open) {
		describe(client, true, text, sizeof(text));
	}
	bool captured = client && client->captures;
	if (captured)
		client->captures--;
	if (client)
		wsk_client_changed(client);
	ke_lock_lower(&wsk_lock, old);
	if (!vf_on())
		return;
	if (open)
		vf_report(VF_WskWaiting, "WskReleaseProviderNPI", caller, (uint64_t)WskRegistration,
			  "releases the last capture at DISPATCH_LEVEL with %s", text);
	if (!captured)
		vf_report(VF_WskCapture, "WskReleaseProviderNPI", caller, (uint64_t)WskRegistration,
			  "is called with the block %p, which has no capture", WskRegistration);
}

/*
 * The versions that the provider supports. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS,
 * STATUS_INVALID_PARAMETER; STATUS_DEVICE_NOT_READY: the provider is not there, or the block is not
 * registered. (DEF-56)
 */
NTSTATUS WSKAPI WskQueryProviderCharacteristics(
	PWSK_REGISTRATION WskRegistration, PWSK_PROVIDER_CHARACTERISTICS WskProviderCharacteristics)
{
	if (!WskRegistration || !WskProviderCharacteristics)
		return STATUS_INVALID_PARAMETER;
	KIRQL old = ke_lock_raise(&wsk_lock);
	struct wsk_client *client = wsk_client_of(WskRegistration);
	bool ready = client && !client->gone && port_time_ns() >= ready_ns;
	ke_lock_lower(&wsk_lock, old);
	if (!ready)
		return STATUS_DEVICE_NOT_READY;
	WskProviderCharacteristics->HighestVersion = WSK_VERSION;
	WskProviderCharacteristics->LowestVersion = WSK_VERSION;
	return STATUS_SUCCESS;
}

/* ---- Calls of the dispatch tables ---- */

struct wsk_client *wsk_enter(PWSK_CLIENT client, KIRQL highest, const char *function,
			     uint64_t caller)
{
	if (vf_on() && ke_irql() > highest)
		vf_report(VF_RtIrql, function, caller, 0, "%s called at %s, legal up to %s",
			  function, vf_irql_name(ke_irql()), vf_irql_name(highest));
	if (ke_irql() > DISPATCH_LEVEL || (highest < DISPATCH_LEVEL && ke_irql() > APC_LEVEL))
		return NULL;
	KIRQL old = ke_lock_raise(&wsk_lock);
	struct wsk_client *found = wsk_client_find(client);
	bool captured = found && found->captures;
	if (!captured && found && IsListEmpty(&found->adapters))
		found = NULL;
	if (found)
		found->calls++;
	ke_lock_lower(&wsk_lock, old);
	if (!captured && vf_on())
		vf_report(VF_WskCapture, function, caller, (uint64_t)client,
			  "is called for the client %p, which has no capture", client);
	return found;
}

void wsk_leave(struct wsk_client *client)
{
	KIRQL old = ke_lock_raise(&wsk_lock);
	client->calls--;
	wsk_client_changed(client);
	ke_lock_lower(&wsk_lock, old);
}

/* ---- Unloading (DEF-73, VER-38) ---- */

static bool belongs(const struct vf_unload *unload, const struct wsk_client *client)
{
	return client->block && (vf_unload_owns(unload, client->block) ||
				 (client->caller >= unload->base && client->caller < unload->end) ||
				 vf_unload_owns(unload, client->dispatch));
}

void wsk_client_unload(const struct vf_unload *unload)
{
	for (;;) {
		struct wsk_client *found = NULL;
		uint64_t where = 0, capture_caller = 0;
		uint32_t captures = 0;
		PWSK_REGISTRATION block = NULL;
		KIRQL old = ke_lock_raise(&wsk_lock);
		for (LIST_ENTRY *entry = clients.Flink; entry != &clients && !found;
		     entry = entry->Flink) {
			struct wsk_client *client =
				CONTAINING_RECORD(entry, struct wsk_client, entry);
			if (belongs(unload, client))
				found = client;
		}
		if (found) {
			where = found->caller;
			captures = found->captures;
			capture_caller = found->capture_caller;
			block = found->block;
			found->block = NULL; /* its memory goes: never looked at again */
		}
		ke_lock_lower(&wsk_lock, old);
		if (!found)
			return;
		vf_unload_left(unload, VF_WskLeft, (const void *)where, block,
			       "the WSK registration %p without WskDeregister", (void *)block);
		if (captures)
			vf_unload_left(unload, VF_WskLeft, (const void *)capture_caller, block,
				       "%u capture%s of the provider NPI of %p", captures,
				       captures == 1 ? "" : "s", (void *)block);
		wsk_adapters_left(unload, found);
	}
}
