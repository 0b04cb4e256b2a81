/* SPDX-License-Identifier: MIT
 *
 * The base types under the name that user mode shares.
 */
#pragma once
#include "ntdef.h"
