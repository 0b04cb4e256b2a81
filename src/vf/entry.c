/* SPDX-License-Identifier: MIT */
/*
 * The entry check: is this DDI legal at this IRQL? (VER-5..VER-26, VER-46, NMI-32..34)
 *
 * Called by the binding stubs in any context, NMI too; no locks.
 *
 * Chosen: a call from an NMI callback that breaks a row without a documented rule is NmiForbidden
 * instead of RtIrql. Routines that are legal at any IRQL may be called there (NMI-33).
 */
#include "ke/ke.h"
#include "rtl/rtl.h"
#include "vf/vf_internal.h"

bool vf_ddi_judge(const struct ddi *ddi, KIRQL irql, bool in_nmi, enum vf_rule *rule)
{
	*rule = (enum vf_rule)ddi->rule;
	if (ddi->data || vf_rule_in_function(*rule))
		return false;
	if (irql >= ddi->irql_min && irql <= ddi->irql_max)
		return false;
	if (in_nmi && *rule == VF_RtIrql)
		*rule = VF_NmiForbidden;
	return true;
}

void vf_ddi_entry(uint32_t index, uint64_t caller)
{
	const struct ddi *ddi = &ddi_table[index];
	bool in_nmi = ke_in_nmi();
	KIRQL irql = ke_irql();
	enum vf_rule rule;
	if (!vf_ddi_judge(ddi, irql, in_nmi, &rule))
		return;

	const char *place = in_nmi ? " in an NMI callback" : "";
	if (irql > ddi->irql_max)
		vf_report(rule, ddi->name, caller, 0, "%s called at %s (%u)%s, legal up to %s (%u)",
			  ddi->name, vf_irql_name(irql), irql, place, vf_irql_name(ddi->irql_max),
			  ddi->irql_max);
	else
		vf_report(rule, ddi->name, caller, 0, "%s called at %s (%u)%s, legal from %s (%u)",
			  ddi->name, vf_irql_name(irql), irql, place, vf_irql_name(ddi->irql_min),
			  ddi->irql_min);
}
