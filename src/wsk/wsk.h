/* SPDX-License-Identifier: MIT */
/* wsk.h: Winsock Kernel's clients, for who boots the machine. */
#pragma once

#include <stdint.h>

/* The provider is there so long after boot (DEF-63); 0: at once. Before boot. */
extern uint32_t wsk_delay_ms;
/* A wait for what a driver has not given back is reported after this time (DEF-71). Before boot. */
extern uint32_t wsk_patience_ms;

/* When the clock runs. */
void wsk_initialize(void);
