/* SPDX-License-Identifier: MIT */
/*
 * delivery.c: calls out of the core: by DPC at DISPATCH_LEVEL or by work item at PASSIVE_LEVEL, by
 * turns, so that every consumer meets both (NDK-6). And the way in for providers' device threads.
 *
 * Contexts: queueing at IRQL <= DISPATCH_LEVEL, no locks. Neither a DPC nor a work item is touched
 * by its engine once it runs, so run() may free or queue the delivery again.
 *
 * ndk_port_interrupt is called by device threads: it sets the provider's bit in `announced`
 * (release), then raises the device interrupt on processor 0, whose DPC takes the bits (acquire)
 * before it calls `service`: what is announced later comes again.
 */
#include "ke/request.h"
#include "ndk/internal.h"
#include "rtl/rtl.h"

static _Atomic uint32_t turn;

static VOID NTAPI run_dpc(PKDPC dpc, PVOID context, PVOID argument1, PVOID argument2)
{
	struct ndk_delivery *delivery = context;
	(void)dpc;
	(void)argument1;
	(void)argument2;
	delivery->run(delivery);
}

static void run_work(struct ex_work *work)
{
	struct ndk_delivery *delivery = CONTAINING_RECORD(work, struct ndk_delivery, work);
	delivery->run(delivery);
}

void ndk_delivery_initialize(struct ndk_delivery *delivery, void (*run)(struct ndk_delivery *))
{
	delivery->run = run;
	KeInitializeDpc(&delivery->dpc, run_dpc, delivery);
	delivery->work.run = run_work;
}

void ndk_delivery_queue(struct ndk_delivery *delivery, enum ndk_level level)
{
	if (ndk_policy_random())
		level = ndk_policy_draw(2) ? NDK_LEVEL_PASSIVE : NDK_LEVEL_DISPATCH;
	else if (level == NDK_LEVEL_ANY)
		level = atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed) & 1
				? NDK_LEVEL_PASSIVE
				: NDK_LEVEL_DISPATCH;
	if (level == NDK_LEVEL_PASSIVE)
		ex_work_queue(&delivery->work, CriticalWorkQueue);
	else
		KeInsertQueueDpc(&delivery->dpc, NULL, NULL);
}

void ndk_callout_begin(struct ndk_callout *callout, const void *routine, const void *context)
{
	PKTHREAD thread = ke_thread();
	callout->routine = routine;
	callout->context = context;
	callout->irql = ke_irql();
	ke_callout_begin(&callout->record, NULL);
	thread->callback_depth = (void *)((uintptr_t)thread->callback_depth + 1);
}

void ndk_callout_end(struct ndk_callout *callout)
{
	PKTHREAD thread = ke_thread();
	thread->callback_depth = (void *)((uintptr_t)thread->callback_depth - 1);
	ke_callout_end(&callout->record);
	if (vf_on())
		vf_callout_irql(callout->routine, callout->context, callout->irql, 3);
}

/* ---- Device threads ------------------------------------------------------------------------- */

#define PROVIDERS 4

static const struct ndk_provider *providers[PROVIDERS];
static _Atomic uint32_t announced; /* bit i: providers[i] */

static void service(void)
{
	if (!atomic_load_explicit(&announced, memory_order_relaxed))
		return;
	uint32_t bits = atomic_exchange_explicit(&announced, 0, memory_order_acquire);
	for (unsigned i = 0; i < PROVIDERS; i++) {
		if (bits & 1u << i)
			providers[i]->service();
	}
}

bool ndk_provider_add(const struct ndk_provider *provider)
{
	ke_device_service = service;
	for (unsigned i = 0; i < PROVIDERS; i++) {
		if (providers[i] && providers[i] != provider)
			continue;
		providers[i] = provider;
		return true;
	}
	return false;
}

void ndk_port_interrupt(const struct ndk_provider *provider)
{
	for (unsigned i = 0; i < PROVIDERS; i++) {
		if (providers[i] == provider)
			atomic_fetch_or_explicit(&announced, 1u << i, memory_order_release);
	}
	ke_interrupt_request(ke_processors[0], KE_DEVICE_LEVEL);
}
