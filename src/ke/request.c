/* SPDX-License-Identifier: MIT */
/*
 * request.c: work that host threads do for the machine, and commands that the host gives it.
 *
 * Both arrive on device threads, which hold no baton: they push onto a lock-free stack and raise
 * the device interrupt on processor 0. Its part at KE_DEVICE_LEVEL only queues a DPC; the DPC
 * (DISPATCH_LEVEL) takes the stacks and sets events.
 */
#include "ke/request.h"
#include "ke/internal.h"
#include "ke/machine.h"

struct waiter {
	struct port_request *request;
	struct waiter *next;
	KEVENT done;
};

static struct port_request *_Atomic completed;
static struct waiter
	*waiters; /* dispatcher lock is not enough: events are set under it, so this has its own */
static struct ke_lock waiters_lock;
static KDPC device_dpc;

static struct {
	struct ke_command *_Atomic list;
	KEVENT arrived;
} commands[KE_COMMAND_QUEUES];

void (*ke_device_service)(void);

static void complete_requests(void)
{
	struct port_request *list =
		atomic_exchange_explicit(&completed, NULL, memory_order_acquire);
	while (list) {
		struct port_request *next = list->next;
		KIRQL old = ke_lock_raise(&waiters_lock);
		struct waiter **link = &waiters;
		while ((*link)->request != list)
			link = &(*link)->next;
		struct waiter *waiter = *link;
		*link = waiter->next;
		ke_lock_lower(&waiters_lock, old);
		KeSetEvent(&waiter->done, IO_NO_INCREMENT,
			   FALSE); /* the waiter and its request may be gone now */
		list = next;
	}
}

static VOID NTAPI device_routine(PKDPC dpc, PVOID context, PVOID unused1, PVOID unused2)
{
	(void)dpc;
	(void)context;
	(void)unused1;
	(void)unused2;
	complete_requests();
	for (int i = 0; i < KE_COMMAND_QUEUES; i++) {
		if (atomic_load(&commands[i].list))
			KeSetEvent(&commands[i].arrived, IO_NO_INCREMENT, FALSE);
	}
	if (ke_device_service)
		ke_device_service();
}

void ke_device_interrupt(void)
{
	KeInsertQueueDpc(&device_dpc, NULL, NULL);
}

void ke_request_initialize(void)
{
	KeInitializeDpc(&device_dpc, device_routine, NULL);
	for (int i = 0; i < KE_COMMAND_QUEUES; i++)
		KeInitializeEvent(&commands[i].arrived, SynchronizationEvent, FALSE);
}

void ke_port_request_done(struct port_request *request)
{
	struct port_request *head = atomic_load_explicit(&completed, memory_order_relaxed);
	do
		request->next = head;
	while (!atomic_compare_exchange_weak_explicit(&completed, &head, request,
						      memory_order_release, memory_order_relaxed));
	ke_interrupt_request(ke_processors[0], KE_DEVICE_LEVEL);
}

void ke_request_run(struct port_request *request)
{
	struct waiter waiter = {.request = request};
	KeInitializeEvent(&waiter.done, NotificationEvent, FALSE);
	KIRQL old = ke_lock_raise(&waiters_lock);
	waiter.next = waiters;
	waiters = &waiter;
	ke_lock_lower(&waiters_lock, old);
	port_request_submit(request);
	KeWaitForSingleObject(&waiter.done, Executive, KernelMode, FALSE, NULL);
}

/* ---- Commands of the host ---- */

void ke_command_post(enum ke_command_queue queue, struct ke_command *command)
{
	struct ke_command *_Atomic *list = &commands[queue].list;
	struct ke_command *head = atomic_load_explicit(list, memory_order_relaxed);
	do
		command->next = head;
	while (!atomic_compare_exchange_weak_explicit(list, &head, command, memory_order_release,
						      memory_order_relaxed));
	ke_interrupt_request(ke_processors[0], KE_DEVICE_LEVEL);
}

_Noreturn void ke_commands_serve(enum ke_command_queue queue)
{
	for (;;) {
		struct ke_command *list =
			atomic_exchange_explicit(&commands[queue].list, NULL, memory_order_acquire);
		if (!list)
			KeWaitForSingleObject(&commands[queue].arrived, Executive, KernelMode,
					      FALSE, NULL);
		while (list) {
			struct ke_command *next = list->next;
			list->run(list);
			atomic_store(&list->done, 1); /* from here on it is the host's again */
			ke_host_signal();
			list = next;
		}
	}
}
