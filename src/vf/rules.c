/* SPDX-License-Identifier: MIT */
/*
 * The rules as a table (vf/rules.def). Constant data; every function here is callable in any
 * context, NMI too.
 */
#include "vf/vf_internal.h"

#define VIOLATION false
#define ADVICE    true

static const struct {
	const char *number, *name, *remedy;
	uint64_t parameter;
	bool advice;
} rules[] = {
#define RULE(id, number, name, kind, parameter, remedy) {number, name, remedy, parameter, kind},
#include "vf/rules.def"
#undef RULE
};

const char *vf_rule_name(enum vf_rule rule)
{
	return rules[rule].name;
}

const char *vf_rule_number(enum vf_rule rule)
{
	return rules[rule].number;
}

const char *vf_rule_remedy(enum vf_rule rule)
{
	return rules[rule].remedy;
}

bool vf_rule_is_advice(enum vf_rule rule)
{
	return rules[rule].advice;
}

uint32_t vf_rule_code(enum vf_rule rule)
{
	uint32_t code = (uint32_t)(rules[rule].parameter >> 32);
	return code ? code : 0xc4; /* DRIVER_VERIFIER_DETECTED_VIOLATION */
}

uint64_t vf_rule_parameter(enum vf_rule rule)
{
	return (uint32_t)rules[rule].parameter;
}

bool vf_rule_in_function(enum vf_rule rule)
{
	switch (rule) {
	case VF_ReleaseSpinLockIrql:
	case VF_AcquireAtDpcIrql:
	case VF_ReleaseFromDpcIrql:
	case VF_AcquireSpinLockIrql:
	case VF_WaitAboveDispatch:
	case VF_WaitForeverAtDispatch:
	case VF_WaitTimeoutAtDispatch:
	case VF_PoolPagedIrql:
	case VF_PoolNonPagedIrql:
	case VF_PoolFreePagedIrql:
	case VF_PoolFreeNonPagedIrql:
	case VF_MdlLockIrql:
	case VF_MdlUnlockIrql:
		return true;
	default:
		return false;
	}
}

const char *vf_irql_name(KIRQL irql)
{
	static const char *const names[] = {
		"PASSIVE_LEVEL", "APC_LEVEL",   "DISPATCH_LEVEL", "DIRQL",     "DIRQL", "DIRQL",
		"DIRQL",         "DIRQL",       "DIRQL",          "DIRQL",     "DIRQL", "DIRQL",
		"SYNCH_LEVEL",   "CLOCK_LEVEL", "IPI_LEVEL",      "HIGH_LEVEL"};
	return irql < sizeof names / sizeof names[0] ? names[irql] : "an invalid IRQL";
}
