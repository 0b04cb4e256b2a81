/* SPDX-License-Identifier: MIT */
/* nmi.h: the NMI family for the parts around it. */
#pragma once

#include "ke/registry.h"

/* --unhandled-nmi=ignore: an NMI that nobody claims is not a bug check (NMI-27). Set before boot.
 */
extern bool ke_nmi_ignore_unhandled;

/* Each registered callback, for unload checks. IRQL <= DISPATCH_LEVEL. */
void ke_nmi_callbacks_each(void (*each)(void *context, const struct ke_registry_entry *entry),
			   void *context);
