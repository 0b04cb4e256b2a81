/* SPDX-License-Identifier: MIT */
/*
 * network.c: what the options say about RNICs, before the machine boots. On the host's thread.
 */
#include "machine/machine.h"
#include "ndis/ndis.h"
#include "rtl/rtl.h"

bool machine_network(const struct ketch_options *options)
{
	for (uint32_t i = 0; i < options->adapter_count; i++) {
		const char *why = ndis_adapter_describe(options->adapters[i]);
		if (!why)
			continue;
		rtl_print(machine_message, sizeof machine_message, "--adapter=%.80s: %s",
			  options->adapters[i], why);
		return false;
	}
	ndis_initialize();
	return true;
}
