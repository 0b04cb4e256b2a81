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
#include "status_names.inc"
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
		b->code, *b->name ? b->name : status_name(b->code),
		(unsigned long long)b->parameters[0], (unsigned long long)b->parameters[1],
		(unsigned long long)b->parameters[2], (unsigned long long)b->parameters[3],
		b->processor, irql_name(b->irql));
	/* With --verify=bugcheck the finding has just been printed. */
	struct ketch_finding f;
	bool told = false;
	for (uint32_t i = 0; !told && ketch_finding(i, &f); i++)
		told = strstr(b->text, f.text) != NULL;
	if (*b->text && !told)
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
	if (run->interrupted)
		fprintf(stderr,
			"ketch: interrupted during %s; the drivers were not unloaded within %u s; "
			"where each processor stood:\n",
			run->stage, KETCH_INTERRUPT_MS / 1000);
	else
		fprintf(stderr,
			"ketch: time ran out after %u s (--timeout) during %s; where each "
			"processor stood:\n",
			run->machine.timeout_ms / 1000, run->stage);
	for (uint32_t i = 0; i < count; i++) {
		fprintf(stderr, "  processor %u at %s%s\n", processors[i].processor,
			irql_name(processors[i].irql), processors[i].idle ? ", idle" : "");
		if (!processors[i].idle)
			print_frames(processors[i].frames, processors[i].frame_count);
	}
	struct ketch_pending pending;
	for (uint32_t i = 0; ketch_pending(i, &pending); i++)
		fprintf(stderr, "%s    %s, called at %s%s\n", i ? "" : "  not completed:\n",
			pending.text, *pending.where ? pending.where : "unknown",
			symbol_of_call(pending.address));
}

static void print_findings(void)
{
	struct ketch_finding f;
	uint32_t told = 0;
	for (uint32_t i = 0; ketch_finding(i, &f); i++) {
		bool named = !f.ddi || !strncmp(f.text, f.ddi, strlen(f.ddi));
		/* First: it may say that there are no names. */
		const char *symbol = symbol_of_call(f.address);
		fprintf(stderr, "ketch: %s %s %s: %s%s%s", f.advice ? "advice" : "violation",
			f.number, f.rule, named ? "" : f.ddi, named ? "" : ": ", f.text);
		if (f.count > 1)
			fprintf(stderr, " (%u times)", f.count);
		fprintf(stderr, "\n  where: %s%s", *f.where ? f.where : "unknown", symbol);
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

static bool is_rule(const struct ketch_finding *finding, const char *rule)
{
	return !strcmp(finding->rule, rule) || !strcmp(finding->number, rule);
}

/* What is not as the --expect options want it; 0: all is. */
static const char *disappointment(const struct run *run)
{
	static char text[160];
	const struct ketch_bugcheck *b = run->outcome == KETCH_BUGCHECK ? ketch_bugcheck() : NULL;
	bool refused = run->outcome == KETCH_REFUSED, rule_seen = false;
	struct ketch_finding f;

	if (run->outcome == KETCH_TIMEOUT || run->outcome == KETCH_INTERRUPTED)
		return "the run did not end";
	if (b && (!run->expect_bugcheck || b->code != run->expect_bugcheck_value)) {
		snprintf(text, sizeof text, "there was bug check 0x%x", b->code);
		return text;
	}
	if (!b && run->expect_bugcheck)
		return "there was no bug check";
	if (refused ? !run->expect_status || run->status != run->expect_status_value
		    : run->expect_status && run->expect_status_value != 0) {
		snprintf(text, sizeof text,
			 refused ? "%s was refused with 0x%08x" : "nothing was refused", run->stage,
			 run->status);
		return text;
	}
	for (uint32_t i = 0; ketch_finding(i, &f); i++) {
		bool wanted = run->expect_rule && is_rule(&f, run->expect_rule);
		rule_seen |= wanted;
		if (!wanted && !f.advice && (run->expect_rule || !b)) {
			snprintf(text, sizeof text, "rule %s (%s) was broken", f.rule, f.number);
			return text;
		}
	}
	return run->expect_rule && !rule_seen ? "that rule was not broken" : NULL;
}

static bool has_expectations(const struct run *run)
{
	return run->expect_status || run->expect_bugcheck || run->expect_rule;
}

int report_exit_status(const struct run *run)
{
	if (run->unusable && !run->expect_status)
		return EXIT_USAGE;
	if (has_expectations(run))
		return disappointment(run) ? EXIT_REFUSED : EXIT_EXPECTED;
	if (run->outcome == KETCH_BUGCHECK)
		return EXIT_BUGCHECK;
	return run->outcome == KETCH_OK && ketch_violation_count() == 0 ? EXIT_EXPECTED
									: EXIT_REFUSED;
}

static void print_summary(const struct run *run)
{
	struct ketch_nmi_counts counts;
	uint64_t delivered = 0, coalesced = 0;
	fprintf(stderr, "ketch: %s: loaded%s", escaped(file_name(run->drivers[0])),
		run->stays_loaded ? "" : " and unloaded");
	/* From here, from drivers, and from `ketch nmi`. */
	for (uint32_t i = 0; ketch_nmi_counts(i, &counts); i++) {
		delivered += counts.delivered;
		coalesced += counts.coalesced;
	}
	if (delivered)
		fprintf(stderr, ", %llu NMI%s delivered", (unsigned long long)delivered,
			delivered == 1 ? "" : "s");
	if (coalesced)
		fprintf(stderr, ", %llu coalesced", (unsigned long long)coalesced);
	if (run->added)
		fprintf(stderr, ", %u processor%s added", run->added, run->added == 1 ? "" : "s");
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
	print_nmis(run);
	user_report();
	print_findings();
	switch (run->outcome) {
	case KETCH_BUGCHECK:
		print_bugcheck();
		break;
	case KETCH_TIMEOUT:
		print_hang(run);
		break;
	case KETCH_INTERRUPTED:
		fprintf(stderr, "ketch: interrupted during %s%s\n", run->stage,
			run->unloaded ? "; the drivers were unloaded" : "");
		break;
	case KETCH_REFUSED:
		if (run->message)
			fprintf(stderr, "%s\n", run->message);
		else
			fprintf(stderr, "ketch: %s: %s 0x%08x %s\n", escaped(run->subject),
				!strcmp(run->stage, "load") ? "DriverEntry returned"
							    : "the IOCTL was refused with",
				run->status, status_name(run->status));
		break;
	case KETCH_OK:
		print_summary(run);
		break;
	}
	if (has_expectations(run) && run->exit_status != EXIT_USAGE) {
		const char *why = disappointment(run);
		fprintf(stderr, "ketch: %s by%s%s%s%s%s%s%s%s\n",
			why ? "not as expected" : "as expected",
			run->expect_status ? " --expect-status=" : "",
			run->expect_status ? escaped(run->expect_status) : "",
			run->expect_bugcheck ? " --expect-bugcheck=" : "",
			run->expect_bugcheck ? escaped(run->expect_bugcheck) : "",
			run->expect_rule ? " --expect-rule=" : "",
			run->expect_rule ? escaped(run->expect_rule) : "", why ? ": " : "",
			why ? why : "");
	}
}
