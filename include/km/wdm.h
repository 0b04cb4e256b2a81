/* SPDX-License-Identifier: MIT
 *
 * wdm.h: the interface between the kernel and its drivers. Each part is a file of its own in wdm/.
 */
#pragma once
#include "ntdef.h"
#include "ntstatus.h"
#include "bugcodes.h"
#include "intrin.h"
#include "excpt.h"
#include "wdm/ke_types.h"
#include "wdm/ke.h"
#include "wdm/ke_proc.h"
#include "wdm/ex.h"
#include "wdm/ex_list.h"
#include "wdm/mm.h"
#include "wdm/rtl.h"
#include "wdm/dbg.h"
#include "wdm/context.h"
#include "wdm/ps_ob.h"
#include "wdm/io.h"
#include "wdm/io_csq.h"
#include "wdm/zw.h"
#include "wdm/cm.h"
#include "wdm/hal.h"
