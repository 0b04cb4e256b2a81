/* SPDX-License-Identifier: MIT */
/* report_json.c: the facts of report.c as one JSON object (--json=FILE). */
#include <jansson.h>
#include <string.h>
#include "cli/cli.h"

/* Numbers that are addresses or codes are text, "0x...": JSON numbers lose bits above 53. */
static json_t *hex(uint64_t value)
{
	return json_sprintf("0x%llx", (unsigned long long)value);
}

/* `exact`: the instruction itself; else what symbol_of_call takes. */
static json_t *place(uint64_t address, bool exact)
{
	char where[64];
	if (!ketch_where(address, where, sizeof where))
		return json_null();
	return json_sprintf("%s%s", where, exact ? symbol_of(address) : symbol_of_call(address));
}

static json_t *frames_of(const struct ketch_frame *frames, uint32_t count)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(list, *frames[i].where ? place(frames[i].address, i == 0)
							     : json_string("kernel"));
	return list;
}

static json_t *bugcheck(void)
{
	static const char *const names[18] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
					      "rsi", "rdi", "r8",  "r9",  "r10", "r11",
					      "r12", "r13", "r14", "r15", "rip", "rflags"};
	const struct ketch_bugcheck *b = ketch_bugcheck();
	if (!b)
		return json_null();
	json_t *parameters = json_array(), *registers = json_object();
	for (int i = 0; i < 4; i++)
		json_array_append_new(parameters, hex(b->parameters[i]));
	for (int i = 0; b->registers_valid && i < 18; i++)
		json_object_set_new(registers, names[i], hex(b->registers[i]));
	return json_pack("{s:o, s:s, s:o, s:s, s:i, s:i, s:s, s:o, s:o, s:o}", "code", hex(b->code),
			 "name", b->name, "parameters", parameters, "text", b->text, "processor",
			 (int)b->processor, "irql", (int)b->irql, "driver", b->driver, "where",
			 place(b->address, b->registers_valid), "registers", registers, "stack",
			 frames_of(b->frames, b->frame_count));
}

static json_t *findings(void)
{
	json_t *list = json_array();
	struct ketch_finding f;
	for (uint32_t i = 0; ketch_finding(i, &f); i++)
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s, s:I, s:s?, s:o, s:o, s:i, s:i, s:s, s:s}",
				  "rule", f.rule, "number", f.number, "kind",
				  f.advice ? "advice" : "violation", "count", (json_int_t)f.count,
				  "ddi", f.ddi, "where", place(f.address, false), "object",
				  hex(f.object), "processor", (int)f.processor, "irql", (int)f.irql,
				  "text", f.text, "remedy", f.remedy));
	return list;
}

static json_t *processors(const struct run *run)
{
	static struct ketch_hang hang[256];
	json_t *list = json_array();
	uint32_t hung = run->outcome == KETCH_TIMEOUT ? ketch_hang(hang, 256) : 0;
	for (uint32_t i = 0; i < ketch_processor_count(); i++) {
		struct ketch_nmi_counts counts;
		ketch_nmi_counts(i, &counts);
		json_t *one = json_pack("{s:i, s:{s:I, s:I, s:I, s:I}}", "processor", (int)i, "nmi",
					"sent", (json_int_t)counts.sent, "delivered",
					(json_int_t)counts.delivered, "coalesced",
					(json_int_t)counts.coalesced, "latched",
					(json_int_t)counts.latched);
		if (i < 64 && run->nmi_count[i]) {
			const struct ketch_nmi *last = &run->last_nmi[i];
			json_object_set_new(one, "last_nmi",
					    json_pack("{s:i, s:b, s:o}", "irql", (int)last->irql,
						      "idle", (int)last->idle, "where",
						      place(last->driver_address, true)));
		}
		if (i < hung)
			json_object_set_new(one, "stack",
					    frames_of(hang[i].frames, hang[i].frame_count));
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *pending_calls(void)
{
	json_t *list = json_array();
	struct ketch_pending pending;
	for (uint32_t i = 0; ketch_pending(i, &pending); i++)
		json_array_append_new(list, json_pack("{s:s, s:o}", "call", pending.text, "where",
						      place(pending.address, false)));
	return list;
}

static json_t *programs(void)
{
	static const char *const states[] = {"running", "exited", "killed", "not started"};
	json_t *list = json_array();
	struct ketch_user user;
	for (uint32_t i = 0; ketch_user(i, &user); i++) {
		json_t *one = json_pack(
			"{s:s, s:I, s:s, s:i, s:o, s:b, s:b, s:b, s:b, s:I, s:I}", "program",
			escaped(user.name), "process", (json_int_t)user.pid, "state",
			states[user.state], "code", user.code, "status", hex(user.status),
			"made_by_program", (int)user.child, "refused", (int)user.refused,
			"bound_error", (int)user.bound_error, "bound_fatal", (int)user.bound_fatal,
			"bound_handled", (json_int_t)user.handled, "bound_delivered",
			(json_int_t)user.delivered);
		if (one && user.address) {
			json_object_set_new(one, "address", hex(user.address));
			json_object_set_new(one, "where", json_string(user_place(&user)));
		}
		json_array_append_new(list, one ? one : json_null());
	}
	return list;
}

bool report_json(const struct run *run)
{
	static const char *const outcomes[] = {"ok", "refused", "bugcheck", "timeout",
					       "interrupted"};
	json_t *root = json_pack("{s:s, s:s, s:i, s:f, s:s?, s:o, s:I, s:o, s:o, s:o}", "driver",
				 file_name(run->drivers[0]), "outcome", outcomes[run->outcome],
				 "exit_status", run->exit_status, "seconds", run->seconds, "stage",
				 run->stage, "status", hex(run->status), "violations",
				 (json_int_t)ketch_violation_count(), "findings", findings(),
				 "bugcheck", bugcheck(), "processors", processors(run));
	if (root)
		json_object_set_new(root, "programs", programs());
	if (root && run->outcome == KETCH_TIMEOUT)
		json_object_set_new(root, "not_completed", pending_calls());
	if (root && run->added)
		json_object_set_new(root, "processors_added", json_integer(run->added));
	if (root && run->message)
		json_object_set_new(root, "message", json_string(run->message));
	bool written = root && !json_dump_file(root, run->json, JSON_INDENT(2));
	json_decref(root);
	return written;
}
