/* SPDX-License-Identifier: MIT */
/* host.c: bring the port up, in the order in which its parts need each other. */
#include "port/linux/emulate.h"
#include "port/linux/host.h"
#include "port/linux/sanitize.h"
#include "port/linux/shared_page.h"

bool port_initialize(const char **why)
{
	host_delays_start();
	host_user_start();
	*why = "the shared page cannot be mapped at 0x7ffe0000";
	if (shared_page_create())
		return false;
	*why = "no executable memory for emulated instructions";
	if (emulate_init())
		return false;
	*why = "signal handlers cannot be installed";
	if (!host_signals_install())
		return false;
	*why = "the host refused a thread";
#if HOST_TSAN
	if (!host_tsan_start())
		return false;
#endif
	return host_clock_start() && host_console_start() && host_request_start() &&
	       host_threads_start();
}
