/* SPDX-License-Identifier: MIT */
/*
 * Findings: the table, the line on the report stream, the bug check (VER-1..3, DESIGN.md decision
 * 8).
 *
 * Runs in any context on a baton: any IRQL, in an NMI too. No locks, no allocation.
 *
 * A finding is kept once for each rule and address; later ones are counted. (What a driver left
 * behind at unload is told apart by the object as well: one place in a driver can leave many.)
 * `keys` is an open hash table of 64-bit digests: who turns an empty key into his own owns the next
 * place in `findings` and prints the line; who meets his own key only counts. A digest meets
 * another's by chance once in 2^40 tables at the fullest.
 *
 * keys[i].digest  0: free. Set once, by compare-and-swap.
 * keys[i].place   1 + index into findings, or PLACE_NONE: the table is full. Released by the owner
 * after the finding is complete, acquired by those who count or read. findings[i]     written by
 * the owner before it releases the place; only `count` changes afterwards.
 */
#include <stdarg.h>
#include "ke/callout.h"
#include "rtl/rtl.h"
#include "vf/vf_internal.h"

#define FINDINGS   512
#define KEYS       1024
#define PLACE_NONE UINT32_MAX

enum vf_mode vf_mode = VF_REPORT;
bool vf_quiet;
bool vf_strict_signed_callbacks, vf_strict_processor_veto, vf_strict_group_aware;

static struct {
	_Atomic uint64_t digest;
	_Atomic uint32_t place;
} keys[KEYS];
static struct vf_finding findings[FINDINGS];
static _Atomic uint32_t finding_ready[FINDINGS];
static _Atomic uint32_t findings_claimed;
static _Atomic uint32_t violations;
static _Atomic bool overflow_told;

static uint64_t mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
	value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
	return value ^ (value >> 31);
}

static uint64_t digest_of(enum vf_rule rule, uint64_t address, uint64_t object)
{
	uint64_t digest = mix(mix(mix((uint64_t)rule + 1) ^ address) ^ object);
	return digest ? digest : 1;
}

/* True if the caller is the first with this digest: *place is then his, or PLACE_NONE. False: it
 * was counted. */
static bool claim(uint64_t digest, uint32_t *key, uint32_t *place)
{
	for (uint32_t step = 0; step < KEYS; step++) {
		uint32_t at = (uint32_t)(digest + step) % KEYS;
		uint64_t found = 0;
		if (atomic_compare_exchange_strong_explicit(&keys[at].digest, &found, digest,
							    memory_order_relaxed,
							    memory_order_relaxed)) {
			uint32_t index = atomic_fetch_add_explicit(&findings_claimed, 1,
								   memory_order_relaxed);
			*key = at;
			*place = index < FINDINGS ? index : PLACE_NONE;
			return true;
		}
		if (found == digest) {
			/* Acquires the release in publish. A place that is not there yet belongs to
			 * a finding that is being written, perhaps by the code that this NMI
			 * interrupted: it is not waited for. */
			uint32_t known =
				atomic_load_explicit(&keys[at].place, memory_order_acquire);
			if (known && known != PLACE_NONE)
				atomic_fetch_add_explicit(&findings[known - 1].count, 1,
							  memory_order_relaxed);
			return false;
		}
	}
	*key = PLACE_NONE;
	*place = PLACE_NONE;
	return true;
}

static void publish(uint32_t key, uint32_t place)
{
	if (place != PLACE_NONE)
		atomic_store_explicit(&finding_ready[place], 1, memory_order_release);
	if (key != PLACE_NONE)
		atomic_store_explicit(&keys[key].place,
				      place == PLACE_NONE ? PLACE_NONE : place + 1,
				      memory_order_release);
}

/* True if the text names the DDI at its beginning, so that it need not be named again. */
static bool names_ddi(const char *text, const char *ddi)
{
	while (*ddi && *text == *ddi) {
		text++;
		ddi++;
	}
	return !*ddi;
}

/* What happened, with the DDI's name in front. */
static void fill_text(struct vf_finding *finding, const char *format, va_list arguments)
{
	char text[sizeof finding->text];
	const char *ddi = finding->ddi;
	rtl_vprint(text, sizeof text, format, arguments);
	if (ddi && !names_ddi(text, ddi))
		rtl_print(finding->text, sizeof finding->text, "%s: %s", ddi, text);
	else
		rtl_copy(finding->text, sizeof finding->text, text);
}

/* The line of a finding, without its end; fits in 500 bytes whatever the texts are. */
static void describe(const struct vf_finding *finding, char *line, size_t size)
{
	char where[64];
	vf_address_where(finding->address, where, sizeof where);
	rtl_print(line, size, "%s %s %s: %s%s%s on processor %u; %s",
		  vf_rule_is_advice(finding->rule) ? "advice" : "violation",
		  vf_rule_number(finding->rule), vf_rule_name(finding->rule), finding->text,
		  where[0] ? " by " : "", where, finding->processor, vf_rule_remedy(finding->rule));
}

static void tell_overflow(void)
{
	if (!vf_quiet && !atomic_exchange_explicit(&overflow_told, true, memory_order_relaxed))
		ke_print(PORT_STREAM_REPORT,
			 "ketch: %u findings are listed; further ones are only counted\n",
			 FINDINGS);
}

void vf_report_list(enum vf_rule rule, const char *ddi, uint64_t caller, uint64_t object,
		    bool by_object, const uint64_t *parameters, const char *format,
		    va_list arguments)
{
	if (!vf_on() || !vf_address_checked(caller))
		return;

	struct vf_finding finding = {
		.rule = rule,
		.count = 1,
		.ddi = ddi,
		.address = caller,
		.object = object,
		.processor = ke_this()->index,
		.irql = ke_irql(),
		.parameters_used = parameters != NULL,
	};
	if (parameters)
		memcpy(finding.parameters, parameters, sizeof finding.parameters);
	fill_text(&finding, format, arguments);

	bool violation = !vf_rule_is_advice(rule);
	if (violation)
		atomic_fetch_add_explicit(&violations, 1, memory_order_relaxed);

	char line[500];
	uint32_t key, place;
	if (claim(digest_of(rule, caller, by_object ? object : 0), &key, &place)) {
		describe(&finding, line, sizeof line);
		if (place != PLACE_NONE) {
			memcpy(&findings[place], &finding, sizeof finding);
			if (!vf_quiet)
				ke_print(PORT_STREAM_REPORT, "ketch: %s\n", line);
		}
		publish(key, place);
		if (place == PLACE_NONE)
			tell_overflow();
	} else if (violation && vf_mode == VF_BUGCHECK) {
		describe(&finding, line, sizeof line);
	}

	if (violation && vf_mode == VF_BUGCHECK) {
		struct ke_bugcheck_detail detail = {.text = line, .address = caller};
		uint64_t p2 = parameters ? parameters[0] : (uint64_t)(uintptr_t)line; /* VER-1 */
		ke_bugcheck(vf_rule_code(rule), vf_rule_parameter(rule), p2,
			    parameters ? parameters[1] : 0, parameters ? parameters[2] : 0,
			    &detail);
	}
}

void vf_report(enum vf_rule rule, const char *ddi, uint64_t caller, uint64_t object,
	       const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vf_report_list(rule, ddi, caller, object, false, NULL, format, arguments);
	va_end(arguments);
}

void vf_report_with(enum vf_rule rule, const char *ddi, uint64_t caller, uint64_t object,
		    const uint64_t parameters[3], const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vf_report_list(rule, ddi, caller, object, false, parameters, format, arguments);
	va_end(arguments);
}

uint32_t vf_finding_count(void)
{
	uint32_t claimed = atomic_load_explicit(&findings_claimed, memory_order_relaxed);
	uint32_t count = 0;
	if (claimed > FINDINGS)
		claimed = FINDINGS;
	/* Acquires the release in publish. Stops at one that is still being written. */
	while (count < claimed && atomic_load_explicit(&finding_ready[count], memory_order_acquire))
		count++;
	return count;
}

uint32_t vf_violation_count(void)
{
	return atomic_load_explicit(&violations, memory_order_relaxed);
}

const struct vf_finding *vf_finding_at(uint32_t index)
{
	return index < vf_finding_count() ? &findings[index] : NULL;
}

uint64_t vf_caller(void *return_address)
{
	uint64_t address = (uint64_t)(uintptr_t)return_address;
	if (vf_address_in_driver(address))
		return address;
	const struct ke_call_record *record = ke_thread()->records;
	return record && record->kind == KE_RECORD_DDI ? record->rip : 0;
}

void vf_callout_irql(const void *routine, const void *context, KIRQL expected, unsigned id)
{
	KIRQL irql = ke_irql();
	if (irql == expected)
		return;

	char where[64], line[256];
	uint64_t address = (uint64_t)(uintptr_t)routine;
	vf_address_where(address, where, sizeof where);
	rtl_print(line, sizeof line,
		  "the routine %s was called at %s (%u) and returned at %s (%u); restore the IRQL",
		  where, vf_irql_name(expected), expected, vf_irql_name(irql), irql);
	struct ke_bugcheck_detail detail = {.text = line, .address = address};
	/* IRQL_UNEXPECTED_VALUE (VER-36, NMI-35) */
	ke_bugcheck(0xc8, (uint64_t)irql << 16 | (uint64_t)expected << 8 | id, address,
		    (uint64_t)(uintptr_t)context, 0, &detail);
}
