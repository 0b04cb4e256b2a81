/* SPDX-License-Identifier: MIT */
/*
 * report.c: what a run came to: the text on standard error and the exit status. On success a line
 * or two; else what broke, where in the driver, which rule, what to do.
 */
#include <string.h>
#include "cli/cli.h"

static const char *const irql_names[16] = {
	"PASSIVE_LEVEL",
	"APC_LEVEL",
	"DISPATCH_LEVEL",
	"3",
	"4",
	"5",
	"6",
	"7",
	"8",
	"9",
	"10",
	"11",
	"12",
	"CLOCK_LEVEL",
	"IPI_LEVEL",
	"HIGH_LEVEL",
};

static const char *irql_name(uint8_t irql)
{
	return irql_names[irql & 15];
}

static const struct {
	uint32_t status;
	const char *name;
} status_names[] = {
	{0x00000000, "STATUS_SUCCESS"},
	{0xC0000001, "STATUS_UNSUCCESSFUL"},
	{0xC0000002, "STATUS_NOT_IMPLEMENTED"},
	{0xC0000005, "STATUS_ACCESS_VIOLATION"},
	{0xC0000008, "STATUS_INVALID_HANDLE"},
	{0xC000000D, "STATUS_INVALID_PARAMETER"},
	{0xC000000E, "STATUS_NO_SUCH_DEVICE"},
	{0xC0000010, "STATUS_INVALID_DEVICE_REQUEST"},
	{0xC0000017, "STATUS_NO_MEMORY"},
	{0xC0000018, "STATUS_CONFLICTING_ADDRESSES"},
	{0xC0000022, "STATUS_ACCESS_DENIED"},
	{0xC0000023, "STATUS_BUFFER_TOO_SMALL"},
	{0xC0000034, "STATUS_OBJECT_NAME_NOT_FOUND"},
	{0xC0000035, "STATUS_OBJECT_NAME_COLLISION"},
	{0xC000007B, "STATUS_INVALID_IMAGE_FORMAT"},
	{0xC000009A, "STATUS_INSUFFICIENT_RESOURCES"},
	{0xC00000A3, "STATUS_DEVICE_NOT_READY"},
	{0xC00000BB, "STATUS_NOT_SUPPORTED"},
	{0xC0000120, "STATUS_CANCELLED"},
	{0xC0000225, "STATUS_NOT_FOUND"},
	{0xC0000262, "STATUS_DRIVER_ORDINAL_NOT_FOUND"},
	{0xC0000263, "STATUS_DRIVER_ENTRYPOINT_NOT_FOUND"},
};

const char *status_name(uint32_t status)
{
	for (size_t i = 0; i < sizeof status_names / sizeof *status_names; i++) {
		if (status_names[i].status == status)
			return status_names[i].name;
	}
	return "";
}

/* Frames in drivers one by one; what the kernel does between them is one line. */
static void print_frames(const struct ketch_frame *frames, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (*frames[i].where)
			/* Behind a call, the line of the call is what one wants to see. */
			fprintf(stderr, "    %s%s\n", frames[i].where,
				i ? symbol_of_call(frames[i].address)
				  : symbol_of(frames[i].address));
		else if (i == 0 || *frames[i - 1].where)
			fprintf(stderr, "    (kernel)\n");
	}
}

static void print_registers(const uint64_t *registers)
{
	static const char *const names[18] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
					      "rsi", "rdi", "r8",  "r9",  "r10", "r11",
					      "r12", "r13", "r14", "r15", "rip", "flags"};
	for (int i = 0; i < 18; i++)
		fprintf(stderr, "%s%5s %016llx%s", i % 3 ? "  " : "    ", names[i],
			(unsigned long long)registers[i], i % 3 == 2 ? "\n" : "");
}

static void print_bugcheck(void)
{
	const struct ketch_bugcheck *b = ketch_bugcheck();
	char where[64];
	fprintf(stderr,
		"ketch: bug check 0x%x %s (0x%llx, 0x%llx, 0x%llx, 0x%llx) on processor %u at %s\n",
		b->code, b->name, (unsigned long long)b->parameters[0],
		(unsigned long long)b->parameters[1], (unsigned long long)b->parameters[2],
		(unsigned long long)b->parameters[3], b->processor, irql_name(b->irql));
	if (*b->text)
		fprintf(stderr, "  what: %s\n", b->text);
	if (b->address && ketch_where(b->address, where, sizeof where))
		fprintf(stderr, "  where: %s%s\n", where,
			b->registers_valid ? symbol_of(b->address) : symbol_of_call(b->address));
	if (b->registers_valid) {
		fputs("  registers:\n", stderr);
		print_registers(b->registers);
	}
	if (b->frame_count) {
		fputs("  stack:\n", stderr);
		print_frames(b->frames, b->frame_count);
	}
}

static void print_hang(const struct run *run)
{
	static struct ketch_hang processors[256];
	uint32_t count = ketch_hang(processors, 256);
	fprintf(stderr,
		"ketch: time ran out after %u s (--timeout) during %s; where each processor "
		"stood:\n",
		run->machine.timeout_ms / 1000, run->stage);
	for (uint32_t i = 0; i < count; i++) {
		fprintf(stderr, "  processor %u at %s%s\n", processors[i].processor,
			irql_name(processors[i].irql), processors[i].idle ? ", idle" : "");
		if (!processors[i].idle)
			print_frames(processors[i].frames, processors[i].frame_count);
	}
}

static void print_findings(void)
{
	struct ketch_finding f;
	uint32_t told = 0;
	for (uint32_t i = 0; ketch_finding(i, &f); i++) {
		bool named = !f.ddi || !strncmp(f.text, f.ddi, strlen(f.ddi));
		fprintf(stderr, "ketch: %s %s %s: %s%s%s", f.advice ? "advice" : "violation",
			f.number, f.rule, named ? "" : f.ddi, named ? "" : ": ", f.text);
		if (f.count > 1)
			fprintf(stderr, " (%u times)", f.count);
		fprintf(stderr, "\n  where: %s%s", *f.where ? f.where : "unknown",
			symbol_of_call(f.address));
		fprintf(stderr, ", processor %u, %s\n  remedy: %s\n", f.processor,
			irql_name(f.irql), f.remedy);
		told += f.advice ? 0 : f.count;
	}
	if (ketch_violation_count() > told)
		fprintf(stderr, "ketch: %u more violations did not fit into the report\n",
			ketch_violation_count() - told);
}

static void print_nmis(const struct run *run)
{
	char where[64];
	for (uint32_t i = 0; i < 64; i++) {
		const struct ketch_nmi *nmi = &run->last_nmi[i];
		if (!run->nmi_count[i])
			continue;
		fprintf(stderr, "ketch: processor %u: %llu NMI%s, the last one hit ", i,
			(unsigned long long)run->nmi_count[i], run->nmi_count[i] == 1 ? "" : "s");
		if (nmi->driver_address && ketch_where(nmi->driver_address, where, sizeof where))
			fprintf(stderr, "%s%s%s",
				nmi->driver_address == nmi->rip ? ""
								: "a kernel function called by ",
				where, symbol_of(nmi->driver_address));
		else
			fputs(nmi->idle ? "the idle loop" : "the kernel", stderr);
		fprintf(stderr, " at %s\n", irql_name(nmi->irql));
	}
}

/* ---- The verdict ---- */

/* The rule that was expected was broken, and no other. */
static bool only_rule(const char *rule)
{
	struct ketch_finding f;
	bool seen = false, other = false;
	for (uint32_t i = 0; ketch_finding(i, &f); i++) {
		bool match = !strcmp(f.rule, rule) || !strcmp(f.number, rule);
		seen |= match;
		other |= !match && !f.advice;
	}
	return seen && !other;
}

static bool expectations_met(const struct run *run)
{
	const struct ketch_bugcheck *b = run->outcome == KETCH_BUGCHECK ? ketch_bugcheck() : NULL;
	if (run->expect_bugcheck && (!b || b->code != run->expect_bugcheck_value))
		return false;
	if (!run->expect_bugcheck && b)
		return false;
	if (run->outcome == KETCH_TIMEOUT || run->outcome == KETCH_INTERRUPTED)
		return false;
	bool refused = run->outcome == KETCH_REFUSED;
	if (run->expect_status && (run->expect_status_value & 0x80000000u
					   ? !refused || run->status != run->expect_status_value
					   : refused || run->expect_status_value != 0))
		return false;
	if (!run->expect_status && refused)
		return false;
	if (run->expect_rule)
		return only_rule(run->expect_rule);
	return ketch_violation_count() == 0 || b;
}

int report_exit_status(const struct run *run)
{
	if (run->image_refused && !run->expect_status)
		return EXIT_USAGE;
	if (run->expect_status || run->expect_bugcheck || run->expect_rule)
		return expectations_met(run) ? EXIT_EXPECTED : EXIT_REFUSED;
	if (run->outcome == KETCH_BUGCHECK)
		return EXIT_BUGCHECK;
	return run->outcome == KETCH_OK && ketch_violation_count() == 0 ? EXIT_EXPECTED
									: EXIT_REFUSED;
}

static void print_summary(const struct run *run)
{
	fprintf(stderr, "ketch: %s: loaded%s", escaped(file_name(run->drivers[0])),
		run->stays_loaded ? "" : " and unloaded");
	if (run->nmis_sent)
		fprintf(stderr, ", %llu NMI%s delivered", (unsigned long long)run->nmis_delivered,
			run->nmis_delivered == 1 ? "" : "s");
	if (run->nmis_coalesced)
		fprintf(stderr, ", %llu coalesced", (unsigned long long)run->nmis_coalesced);
	if (run->ioctls)
		fprintf(stderr, ", %llu IOCTL%s", (unsigned long long)run->ioctls,
			run->ioctls == 1 ? "" : "s");
	if (run->machine.verify == KETCH_VERIFY_OFF)
		fprintf(stderr, "; rules were not checked (%.2f s)\n", run->seconds);
	else
		fprintf(stderr, "; %s (%.2f s)\n",
			ketch_violation_count() ? "rules were broken, see above" : "no rule broken",
			run->seconds);
}

void report_text(struct run *run)
{
	const char *driver = escaped(file_name(run->drivers[0]));
	print_nmis(run);
	print_findings();
	switch (run->outcome) {
	case KETCH_BUGCHECK:
		print_bugcheck();
		break;
	case KETCH_TIMEOUT:
		print_hang(run);
		break;
	case KETCH_INTERRUPTED:
		fprintf(stderr, "ketch: interrupted during %s; unloaded\n", run->stage);
		break;
	case KETCH_REFUSED:
		if (!strcmp(run->stage, "load") && run->image_refused)
			fprintf(stderr, "%s\n", ketch_message());
		else if (!strcmp(run->stage, "load"))
			fprintf(stderr, "ketch: %s: DriverEntry returned 0x%08x %s\n", driver,
				run->status, status_name(run->status));
		else if (!run->image_refused)
			fprintf(stderr, "ketch: %s: %s was refused with 0x%08x %s\n", driver,
				run->stage, run->status, status_name(run->status));
		break;
	case KETCH_OK:
		if (!run->image_refused)
			print_summary(run);
		break;
	}
	if ((run->expect_status || run->expect_bugcheck || run->expect_rule) &&
	    run->exit_status == EXIT_REFUSED)
		fprintf(stderr, "ketch: not what was expected (%s%s%s%s%s%s)\n",
			run->expect_status ? " --expect-status=" : "",
			run->expect_status ? escaped(run->expect_status) : "",
			run->expect_bugcheck ? " --expect-bugcheck=" : "",
			run->expect_bugcheck ? escaped(run->expect_bugcheck) : "",
			run->expect_rule ? " --expect-rule=" : "",
			run->expect_rule ? escaped(run->expect_rule) : "");
}
