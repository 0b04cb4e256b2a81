/* SPDX-License-Identifier: MIT
 *
 * Wide text: see string.h, stdio.h.
 */
#pragma once
#include "stdio.h"
#include "string.h"
