/* SPDX-License-Identifier: MIT */
/*
 * Names of the privileged instructions that a process cannot do (DEF-26), and of addresses that
 * only a kernel has.
 *
 * What never gets here, because it does not fault in a process:
 *   - SGDT, SIDT, SLDT, STR, SMSW: without UMIP the processor runs them, with UMIP most Linux
 * kernels answer for it with made-up values. They are named below for kernels that do not;
 *   - VMCALL and VMMCALL in a virtual machine, which the host's hypervisor answers;
 *   - IRETQ and far returns to user selectors, WRGSBASE, RDTSC, CPUID: they work, WRGSBASE to the
 * driver's harm;
 *   - INT 80h, which is a Linux system call.
 *
 * Contexts: a signal handler on any thread. Locks: none.
 */
#define _GNU_SOURCE
#include "port/linux/emulate_internal.h"

#define OPCODE_IN_IMMEDIATE_FIRST 0xE4
#define OPCODE_IN_IMMEDIATE_LAST  0xE7

enum operand_kind {
	OPERAND_NONE,
	OPERAND_ECX,
	OPERAND_PORT, /* DX, or the immediate */
	OPERAND_IMMEDIATE,
};

struct name {
	ZydisMnemonic mnemonic;
	enum emulate_class class;
	const char *name;
	enum operand_kind operand;
	bool write;
};

static const struct name names[] = {
	{ZYDIS_MNEMONIC_RDMSR, EMULATE_CLASS_MSR, "RDMSR", OPERAND_ECX, false},
	{ZYDIS_MNEMONIC_WRMSR, EMULATE_CLASS_MSR, "WRMSR", OPERAND_ECX, true},
	{ZYDIS_MNEMONIC_RDPMC, EMULATE_CLASS_PERFORMANCE_COUNTER, "RDPMC", OPERAND_ECX, false},
	{ZYDIS_MNEMONIC_XSETBV, EMULATE_CLASS_EXTENDED_STATE, "XSETBV", OPERAND_ECX, true},
	{ZYDIS_MNEMONIC_XSAVES, EMULATE_CLASS_EXTENDED_STATE, "XSAVES", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_XSAVES64, EMULATE_CLASS_EXTENDED_STATE, "XSAVES64", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_XRSTORS, EMULATE_CLASS_EXTENDED_STATE, "XRSTORS", OPERAND_NONE, true},
	{ZYDIS_MNEMONIC_XRSTORS64, EMULATE_CLASS_EXTENDED_STATE, "XRSTORS64", OPERAND_NONE, true},
	{ZYDIS_MNEMONIC_IN, EMULATE_CLASS_PORT_IO, "IN", OPERAND_PORT, false},
	{ZYDIS_MNEMONIC_OUT, EMULATE_CLASS_PORT_IO, "OUT", OPERAND_PORT, true},
	{ZYDIS_MNEMONIC_INSB, EMULATE_CLASS_PORT_IO, "INSB", OPERAND_PORT, false},
	{ZYDIS_MNEMONIC_INSW, EMULATE_CLASS_PORT_IO, "INSW", OPERAND_PORT, false},
	{ZYDIS_MNEMONIC_INSD, EMULATE_CLASS_PORT_IO, "INSD", OPERAND_PORT, false},
	{ZYDIS_MNEMONIC_OUTSB, EMULATE_CLASS_PORT_IO, "OUTSB", OPERAND_PORT, true},
	{ZYDIS_MNEMONIC_OUTSW, EMULATE_CLASS_PORT_IO, "OUTSW", OPERAND_PORT, true},
	{ZYDIS_MNEMONIC_OUTSD, EMULATE_CLASS_PORT_IO, "OUTSD", OPERAND_PORT, true},
	{ZYDIS_MNEMONIC_SGDT, EMULATE_CLASS_DESCRIPTOR_TABLE, "SGDT", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_SIDT, EMULATE_CLASS_DESCRIPTOR_TABLE, "SIDT", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_SLDT, EMULATE_CLASS_DESCRIPTOR_TABLE, "SLDT", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_STR, EMULATE_CLASS_DESCRIPTOR_TABLE, "STR", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_LGDT, EMULATE_CLASS_DESCRIPTOR_TABLE, "LGDT", OPERAND_NONE, true},
	{ZYDIS_MNEMONIC_LIDT, EMULATE_CLASS_DESCRIPTOR_TABLE, "LIDT", OPERAND_NONE, true},
	{ZYDIS_MNEMONIC_LLDT, EMULATE_CLASS_DESCRIPTOR_TABLE, "LLDT", OPERAND_NONE, true},
	{ZYDIS_MNEMONIC_LTR, EMULATE_CLASS_DESCRIPTOR_TABLE, "LTR", OPERAND_NONE, true},
	{ZYDIS_MNEMONIC_SMSW, EMULATE_CLASS_CONTROL_REGISTER, "SMSW", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_LMSW, EMULATE_CLASS_CONTROL_REGISTER, "LMSW", OPERAND_NONE, true},
	{ZYDIS_MNEMONIC_CLTS, EMULATE_CLASS_CONTROL_REGISTER, "CLTS", OPERAND_NONE, true},
	{ZYDIS_MNEMONIC_INVD, EMULATE_CLASS_CACHE_TLB, "INVD", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_WBINVD, EMULATE_CLASS_CACHE_TLB, "WBINVD", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_INVLPG, EMULATE_CLASS_CACHE_TLB, "INVLPG", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_INVLPGB, EMULATE_CLASS_CACHE_TLB, "INVLPGB", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_INVPCID, EMULATE_CLASS_CACHE_TLB, "INVPCID", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_TLBSYNC, EMULATE_CLASS_CACHE_TLB, "TLBSYNC", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMXON, EMULATE_CLASS_VIRTUALIZATION, "VMXON", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMXOFF, EMULATE_CLASS_VIRTUALIZATION, "VMXOFF", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMCALL, EMULATE_CLASS_VIRTUALIZATION, "VMCALL", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMCLEAR, EMULATE_CLASS_VIRTUALIZATION, "VMCLEAR", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMFUNC, EMULATE_CLASS_VIRTUALIZATION, "VMFUNC", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMLAUNCH, EMULATE_CLASS_VIRTUALIZATION, "VMLAUNCH", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMRESUME, EMULATE_CLASS_VIRTUALIZATION, "VMRESUME", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMPTRLD, EMULATE_CLASS_VIRTUALIZATION, "VMPTRLD", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMPTRST, EMULATE_CLASS_VIRTUALIZATION, "VMPTRST", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMREAD, EMULATE_CLASS_VIRTUALIZATION, "VMREAD", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMWRITE, EMULATE_CLASS_VIRTUALIZATION, "VMWRITE", OPERAND_NONE, true},
	{ZYDIS_MNEMONIC_INVEPT, EMULATE_CLASS_VIRTUALIZATION, "INVEPT", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_INVVPID, EMULATE_CLASS_VIRTUALIZATION, "INVVPID", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMRUN, EMULATE_CLASS_VIRTUALIZATION, "VMRUN", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMMCALL, EMULATE_CLASS_VIRTUALIZATION, "VMMCALL", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMLOAD, EMULATE_CLASS_VIRTUALIZATION, "VMLOAD", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_VMSAVE, EMULATE_CLASS_VIRTUALIZATION, "VMSAVE", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_STGI, EMULATE_CLASS_VIRTUALIZATION, "STGI", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_CLGI, EMULATE_CLASS_VIRTUALIZATION, "CLGI", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_SKINIT, EMULATE_CLASS_VIRTUALIZATION, "SKINIT", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_INVLPGA, EMULATE_CLASS_VIRTUALIZATION, "INVLPGA", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_GETSEC, EMULATE_CLASS_VIRTUALIZATION, "GETSEC", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_ENCLS, EMULATE_CLASS_VIRTUALIZATION, "ENCLS", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_ENCLV, EMULATE_CLASS_VIRTUALIZATION, "ENCLV", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_HLT, EMULATE_CLASS_SYSTEM, "HLT", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_MONITOR, EMULATE_CLASS_SYSTEM, "MONITOR", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_MWAIT, EMULATE_CLASS_SYSTEM, "MWAIT", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_SWAPGS, EMULATE_CLASS_SYSTEM, "SWAPGS", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_SYSRET, EMULATE_CLASS_SYSTEM, "SYSRET", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_SYSEXIT, EMULATE_CLASS_SYSTEM, "SYSEXIT", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_SYSENTER, EMULATE_CLASS_SYSTEM, "SYSENTER", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_IRET, EMULATE_CLASS_SYSTEM, "IRET", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_IRETD, EMULATE_CLASS_SYSTEM, "IRETD", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_IRETQ, EMULATE_CLASS_SYSTEM, "IRETQ", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_RSM, EMULATE_CLASS_SYSTEM, "RSM", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_STAC, EMULATE_CLASS_SYSTEM, "STAC", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_CLAC, EMULATE_CLASS_SYSTEM, "CLAC", OPERAND_NONE, false},
	{ZYDIS_MNEMONIC_INT, EMULATE_CLASS_INTERRUPT, "INT", OPERAND_IMMEDIATE, false},
	{ZYDIS_MNEMONIC_INT1, EMULATE_CLASS_INTERRUPT, "INT1", OPERAND_NONE, false},
};

/* MOV from CR, from DR, to CR, to DR: by the low bits of the opcode 0F 20..23, then the number. */
#define REGISTERS(text)                                                                            \
	{                                                                                          \
		text "0", text "1", text "2", text "3", text "4", text "5", text "6", text "7",    \
			text "8", text "9", text "10", text "11", text "12", text "13", text "14", \
			text "15"                                                                  \
	}
static const char *const moves[4][16] = {REGISTERS("MOV FROM CR"), REGISTERS("MOV FROM DR"),
					 REGISTERS("MOV TO CR"), REGISTERS("MOV TO DR")};

static uint64_t operand_value(const struct emulate_code *in, const ucontext_t *uc,
			      enum operand_kind kind)
{
	const greg_t *gregs = uc->uc_mcontext.gregs;
	bool port_immediate = in->decoded.opcode >= OPCODE_IN_IMMEDIATE_FIRST &&
			      in->decoded.opcode <= OPCODE_IN_IMMEDIATE_LAST;

	switch (kind) {
	case OPERAND_ECX:
		return (uint32_t)gregs[REG_RCX];
	case OPERAND_PORT:
		return port_immediate ? in->bytes[in->decoded.length - 1]
				      : (uint16_t)gregs[REG_RDX];
	case OPERAND_IMMEDIATE:
		return in->bytes[in->decoded.length - 1];
	default:
		return 0;
	}
}

static void classify_move(const struct emulate_code *in, struct emulate_report *out)
{
	unsigned form = in->decoded.opcode & 3;

	out->class = form & EMULATE_MOV_DEBUG ? EMULATE_CLASS_DEBUG_REGISTER
					      : EMULATE_CLASS_CONTROL_REGISTER;
	out->write = (form & EMULATE_MOV_TO) != 0;
	out->has_operand = true;
	out->operand = emulate_mov_cr_number(in);
	out->what = moves[form][out->operand];
}

bool emulate_classify(const struct emulate_code *in, const ucontext_t *uc,
		      struct emulate_report *out)
{
	if (emulate_is_mov_cr(&in->decoded)) {
		classify_move(in, out);
		return true;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct name *name = &names[i];

		if (name->mnemonic != in->decoded.mnemonic)
			continue;
		out->class = name->class;
		out->what = name->name;
		out->write = name->write;
		out->has_operand = name->operand != OPERAND_NONE;
		out->operand = operand_value(in, uc, name->operand);
		return true;
	}
	return false;
}

const char *emulate_class_name(enum emulate_class class)
{
	switch (class) {
	case EMULATE_CLASS_CONTROL_REGISTER:
		return "control registers";
	case EMULATE_CLASS_DEBUG_REGISTER:
		return "debug registers";
	case EMULATE_CLASS_MSR:
		return "model-specific registers";
	case EMULATE_CLASS_PORT_IO:
		return "I/O ports";
	case EMULATE_CLASS_DESCRIPTOR_TABLE:
		return "descriptor tables";
	case EMULATE_CLASS_CACHE_TLB:
		return "cache and TLB control";
	case EMULATE_CLASS_VIRTUALIZATION:
		return "virtualization and enclaves";
	case EMULATE_CLASS_PERFORMANCE_COUNTER:
		return "performance counters";
	case EMULATE_CLASS_EXTENDED_STATE:
		return "supervisor extended state";
	case EMULATE_CLASS_INTERRUPT:
		return "software interrupts";
	case EMULATE_CLASS_SYSTEM:
		return "system instructions";
	case EMULATE_CLASS_SHARED_PAGE:
		return "loads from KUSER_SHARED_DATA";
	case EMULATE_CLASS_NONE:
		break;
	}
	return "none";
}

const char *emulate_address_name(uint64_t address)
{
	static const struct range {
		uint64_t first, last;
		const char *name;
	} ranges[] = {
		{0xFFFFF68000000000, 0xFFFFF6FFFFFFFFFF, "the page tables' self-map"},
		{0xFFFFF78000000000, 0xFFFFF78000000FFF, "KUSER_SHARED_DATA"},
		{0xFFFFFFFFFFFE0000, 0xFFFFFFFFFFFE0FFF, "the local APIC"},
		{0x00000000FEC00000, 0x00000000FEC00FFF, "the physical address of the I/O APIC"},
		{0x00000000FEE00000, 0x00000000FEE00FFF, "the physical address of the local APIC"},
		{0xFFFFFFFFFFC00000, 0xFFFFFFFFFFFFFFFF, "the HAL's address range"},
		{0xFFFFF80000000000, 0xFFFFF8FFFFFFFFFF, "the Windows kernel's image range"},
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (address >= ranges[i].first && address <= ranges[i].last)
			return ranges[i].name;
	}
	return NULL;
}
