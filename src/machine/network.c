/* SPDX-License-Identifier: MIT */
/*
 * network.c: what the options say about RNICs and NDK, before the machine boots. On the host's
 * thread.
 */
#include "machine/machine.h"
#include "ndis/ndis.h"
#include "ndk/ndk.h"
#include "rtl/rtl.h"
#include "wsk/wsk.h"

static bool refuse(const char *option, const char *value, const char *why)
{
	size_t length = rtl_print(machine_message, sizeof machine_message, "--%s=%.80s: %s", option,
				  value, why);
	for (size_t i = 0; i < length && i < sizeof machine_message - 1; i++) {
		if (machine_message[i] < ' ' || machine_message[i] > '~')
			machine_message[i] = '?';
	}
	return false;
}

/* NAME or NAME:N. */
static bool fail(const char *text)
{
	char name[64];
	uint64_t nth = 1;
	const char *end = text + rtl_length(text), *colon = text;
	while (colon < end && *colon != ':')
		colon++;
	size_t length = (size_t)(colon - text);
	if (length >= sizeof name)
		return false;
	memcpy(name, text, length);
	name[length] = 0;
	if (colon < end &&
	    (++colon, !rtl_number_read(&colon, end, 10, 9, 999999999, &nth) || colon != end))
		return false;
	return nth && ndk_policy_fail(name, (uint32_t)nth);
}

bool machine_network(const struct ketch_options *options)
{
	static const enum ndk_complete complete[] = {
		[KETCH_NDK_DEFAULT] = NDK_COMPLETE_DEFAULT,
		[KETCH_NDK_INLINE] = NDK_COMPLETE_INLINE,
		[KETCH_NDK_PENDING] = NDK_COMPLETE_PENDING,
		[KETCH_NDK_RANDOM] = NDK_COMPLETE_RANDOM,
	};
	for (uint32_t i = 0; i < options->adapter_count; i++) {
		const char *wrong = ndis_adapter_describe(options->adapters[i]);
		if (wrong)
			return refuse("adapter", options->adapters[i], wrong);
	}
	const char *device = NULL, *why = ndis_initialize(&device);
	if (why) {
		char text[80] = "loopback";
		if (device)
			rtl_print(text, sizeof text, "verbs%s%s", *device ? ":" : "", device);
		return refuse("adapter", text, why);
	}
	ndk_policy_set(complete[options->ndk_complete], options->ndk_seed);
	for (uint32_t i = 0; i < options->ndk_failure_count; i++) {
		if (!fail(options->ndk_failures[i]))
			return refuse("ndk-fail", options->ndk_failures[i],
				      "it is NAME or NAME:N, the N-th call of an NDK function "
				      "(docs/ndk.md lists them)");
	}
	for (struct ndk_device *d = ndk_device_first(); d && options->ndk_flags_set; d = d->next) {
		if (d->provider == &ndk_loopback)
			d->limits.flags = options->ndk_flags;
	}
	if (options->ndk_handshake_ms)
		ndk_handshake_ms = options->ndk_handshake_ms;
	ndk_strict_arm = options->strict_ndk_arm;
	ndk_strict_tokens = options->strict_ndk_tokens;
	wsk_delay_ms = options->wsk_delay_ms;
	if (options->wsk_patience_ms)
		wsk_patience_ms = ndk_patience_ms = options->wsk_patience_ms;
	return true;
}
