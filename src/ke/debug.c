/* SPDX-License-Identifier: MIT */
/*
 * Debug output: DbgPrint and its relatives, the core's own messages, breakpoints by call (PLT-55,
 * NMI-34, DEF-22).
 *
 * Runs in any context on a baton: any IRQL, in an NMI too. No locks: a message is formatted in a
 * buffer on the stack and handed to the port in one piece, so messages of different processors do
 * not mix. The port may be called at HIGH_LEVEL only, since a thread that was switched off in the
 * middle of a write would hold up all others.
 *
 * Chosen: every component and level is printed. A message goes out as it is, with no line end
 * added; what passes 512 bytes is cut off. In an NMI a message that finds the port's ring full is
 * dropped (the port counts it); elsewhere the writer waits.
 */
#include "ke/ke.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define MESSAGE_LIMIT 512 /* bytes per call, PLT-55 */

static bool write(enum port_stream stream, const char *text, size_t size)
{
	if (ke_in_nmi())
		return port_console_write(stream, text, size, false);

	KIRQL old = ke_irql_raise(HIGH_LEVEL);
	bool written = port_console_write(stream, text, size, true);
	ke_irql_lower(old);
	return written;
}

void ke_write(enum port_stream stream, const char *text, size_t size)
{
	write(stream, text, size);
}

void ke_print(enum port_stream stream, const char *format, ...)
{
	char text[640];
	va_list arguments;
	va_start(arguments, format);
	size_t size = rtl_vprint(text, sizeof text, format, arguments);
	va_end(arguments);
	if (size >= sizeof text) {
		size = sizeof text - 1;
		text[size - 1] = '\n';
	}
	write(stream, text, size);
}

/* What a driver's format asks for although it may not (PLT-55). */
static void check_format(const char *ddi, uint64_t caller, const struct rtl_format_result *result)
{
	if (result->wide_used && ke_irql() > PASSIVE_LEVEL)
		vf_report(VF_DebugFormat, ddi, caller, 0,
			  "printed a wide string or character at %s (%u)", vf_irql_name(ke_irql()),
			  ke_irql());
	if (result->float_used)
		vf_report(VF_DebugFormat, ddi, caller, 0, "was given a floating point conversion");
	if (result->invalid)
		vf_report(VF_DebugFormat, ddi, caller, 0,
			  "was given a conversion that is not known");
}

static ULONG print(const char *ddi, uint64_t caller, const char *prefix, const char *format,
		   km_va_list list)
{
	char text[MESSAGE_LIMIT + 1];
	size_t used = 0;
	if (prefix) {
		rtl_copy(text, sizeof text, prefix);
		used = rtl_length(text);
	}
	struct rtl_arguments arguments = {.microsoft = true};
	__builtin_ms_va_copy(arguments.ms, list);
	struct rtl_format_result result =
		rtl_format(text + used, sizeof text - used, format, &arguments);
	__builtin_ms_va_end(arguments.ms);
	used += result.length;
	if (used > MESSAGE_LIMIT)
		used = MESSAGE_LIMIT;
	if (vf_on())
		check_format(ddi, caller, &result);
	return write(PORT_STREAM_DEBUG, text, used) ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

/*
 * Print a message on the debugger's console: at most 512 bytes.
 * IRQL <= DIRQL; works above it too, which is advised against (NMI-34). Wide conversions:
 * PASSIVE_LEVEL. Format: Microsoft's kernel printf, without floating point. Returns STATUS_SUCCESS,
 * or STATUS_UNSUCCESSFUL when the message was dropped. PLT-55.
 */
ULONG CDECL DbgPrint(PCSTR Format, ...)
{
	km_va_list list;
	km_va_start(list, Format);
	ULONG status = print("DbgPrint", VF_CALLER(), NULL, Format, list);
	km_va_end(list);
	return status;
}

/* The same; component and level filter nothing here. PLT-55. */
ULONG CDECL DbgPrintEx(ULONG ComponentId, ULONG Level, PCSTR Format, ...)
{
	(void)ComponentId;
	(void)Level;
	km_va_list list;
	km_va_start(list, Format);
	ULONG status = print("DbgPrintEx", VF_CALLER(), NULL, Format, list);
	km_va_end(list);
	return status;
}

/* The same with a list of arguments. PLT-55. */
ULONG NTAPI vDbgPrintEx(ULONG ComponentId, ULONG Level, PCCH Format, km_va_list List)
{
	(void)ComponentId;
	(void)Level;
	return print("vDbgPrintEx", VF_CALLER(), NULL, Format, List);
}

/* The same with `Prefix` in front of the text, both together within 512 bytes. PLT-55. */
ULONG NTAPI vDbgPrintExWithPrefix(PCCH Prefix, ULONG ComponentId, ULONG Level, PCCH Format,
				  km_va_list List)
{
	(void)ComponentId;
	(void)Level;
	return print("vDbgPrintExWithPrefix", VF_CALLER(), Prefix, Format, List);
}

/* ---- Breakpoints by call: without a debugger they are exceptions ---- */

/* Raises STATUS_BREAKPOINT in the caller. Any IRQL; above APC_LEVEL nobody can handle it. */
VOID NTAPI DbgBreakPoint(VOID)
{
	ExRaiseStatus(STATUS_BREAKPOINT);
}

/* The same; Status is for a debugger. */
VOID NTAPI DbgBreakPointWithStatus(ULONG Status)
{
	(void)Status;
	ExRaiseStatus(STATUS_BREAKPOINT);
}

/* A failed ASSERT of a checked build: prints it and raises STATUS_ASSERTION_FAILURE. Any IRQL.
 * Message is optional. */
VOID NTAPI RtlAssert(PVOID FailedAssertion, PVOID FileName, ULONG LineNumber, PCHAR Message)
{
	ke_print(PORT_STREAM_DEBUG,
		 "*** Assertion failed: %s%s%s\n***   Source File: %s, line %u\n",
		 Message ? Message : "", Message ? ": " : "", (const char *)FailedAssertion,
		 (const char *)FileName, LineNumber);
	ExRaiseStatus(STATUS_ASSERTION_FAILURE);
}
