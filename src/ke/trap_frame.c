/* SPDX-License-Identifier: MIT */
/*
 * trap_frame.c: KTRAP_FRAME and the registers of a stopped user thread (DEF-27..32).
 *
 * Drivers reach the frame at KTHREAD + 0x90. It is a copy: filled in when the thread enters the
 * kernel, and written back, where a driver changed it, before the thread goes on. R12 to R15 and
 * the FS base are not in the layout and keep their values.
 *
 * Context: the user thread's own kernel thread, PASSIVE_LEVEL; no locks.
 *
 * Chosen where documents are silent: a thread in 32-bit code shows its registers zero-extended, and
 * what is not changed there is not written, so a 64-bit program keeps the upper halves.
 * PreviousMode is UserMode, PreviousIrql PASSIVE_LEVEL, ExceptionActive 1; the debug registers are
 * those that a driver has set (a program cannot set any), so 0 at first; fields for branch records,
 * FaultAddress and the home area are 0. Refused, with a report: CS and SS but 0x23 with 0x2B and
 * 0x33 with 0x2B; another data selector than 0 and those of privilege 3; a GS base and debug
 * registers that the host does not take. A RIP that no user code can have ends the process. Of
 * EFLAGS the bits that user mode may change are taken, of MXCSR those that exist; the rest stays.
 */
#include "ke/trap_frame.h"
#include "ke/internal.h"

#define CS_32 0x23
#define CS_64 0x33
#define DATA  0x2b

#define FLAGS_OF_USER 0x254dd5u /* CF PF AF ZF SF TF DF OF NT RF AC ID */
#define USER_END      0x800000000000ull

#define FXSAVE_MXCSR      24
#define FXSAVE_MXCSR_MASK 28
#define FXSAVE_XMM        160
#define MXCSR_ALL         0xffbfu

static uint32_t read32(const void *fxsave, unsigned at)
{
	uint32_t value;
	memcpy(&value, (const uint8_t *)fxsave + at, sizeof value);
	return value;
}

void ke_trap_frame_fill(KTRAP_FRAME *frame, const struct port_user_regs *regs, const void *fxsave,
			const uint64_t debug_registers[6])
{
	const struct port_regs *g = &regs->general;
	uint64_t visible = regs->cs == CS_64 ? UINT64_MAX : UINT32_MAX;
	*frame = (KTRAP_FRAME){
		.PreviousMode = UserMode,
		.ExceptionActive = 1,
		.Rax = g->rax & visible,
		.Rcx = g->rcx & visible,
		.Rdx = g->rdx & visible,
		.Rbx = g->rbx & visible,
		.Rsp = g->rsp & visible,
		.Rbp = g->rbp & visible,
		.Rsi = g->rsi & visible,
		.Rdi = g->rdi & visible,
		.Rip = g->rip & visible,
		.R8 = g->r8,
		.R9 = g->r9,
		.R10 = g->r10,
		.R11 = g->r11,
		.EFlags = (ULONG)g->rflags,
		.GsBase = regs->gs_base,
		.SegCs = regs->cs,
		.SegSs = regs->ss,
		.SegDs = regs->ds,
		.SegEs = regs->es,
		.SegFs = regs->fs,
		.SegGs = regs->gs,
	};
	memcpy(&frame->Dr0, debug_registers, 6 * sizeof *debug_registers);
	if (!fxsave)
		return;
	frame->MxCsr = read32(fxsave, FXSAVE_MXCSR);
	memcpy(&frame->Xmm0, (const uint8_t *)fxsave + FXSAVE_XMM, 6 * sizeof frame->Xmm0);
}

_Static_assert(offsetof(KTRAP_FRAME, Dr7) == offsetof(KTRAP_FRAME, Dr0) + 40, "DEF-29");
_Static_assert(offsetof(KTRAP_FRAME, Xmm5) == offsetof(KTRAP_FRAME, Xmm0) + 80, "DEF-29");

/* What is being written back. */
struct change {
	const KTRAP_FRAME *frame, *before;
	struct port_user *user;
	struct port_user_regs *regs;
	uint64_t routine;
};

#define CHANGED(member) (c->frame->member != c->before->member)
#define TAKE(member, to)                                                                           \
	do {                                                                                       \
		if (CHANGED(member))                                                               \
			(to) = c->frame->member;                                                   \
	} while (0)

static void refuse(const struct change *c, const char *member, uint64_t value, const char *why)
{
	vf_report(VF_BoundFrame, NULL, c->routine, value,
		  "a bound callback wrote %#I64x to the trap frame's %s: %s", value, member, why);
}

static void apply_general(const struct change *c)
{
	struct port_regs *g = &c->regs->general;
	TAKE(Rax, g->rax);
	TAKE(Rcx, g->rcx);
	TAKE(Rdx, g->rdx);
	TAKE(Rbx, g->rbx);
	TAKE(Rsp, g->rsp);
	TAKE(Rbp, g->rbp);
	TAKE(Rsi, g->rsi);
	TAKE(Rdi, g->rdi);
	TAKE(R8, g->r8);
	TAKE(R9, g->r9);
	TAKE(R10, g->r10);
	TAKE(R11, g->r11);
	TAKE(Rip, g->rip);
	if (CHANGED(EFlags))
		g->rflags =
			(c->frame->EFlags & FLAGS_OF_USER) | (g->rflags & ~(uint64_t)FLAGS_OF_USER);
}

static void apply_selector(const struct change *c, const char *member, uint16_t value,
			   uint16_t before, uint16_t *to)
{
	if (value == before)
		return;
	if (value > 3 && (value & 3) != 3)
		refuse(c, member, value, "user mode cannot have that selector");
	else
		*to = value;
}

static void apply_segments(const struct change *c)
{
	const KTRAP_FRAME *f = c->frame, *b = c->before;
	if (CHANGED(SegCs) || CHANGED(SegSs)) {
		if ((f->SegCs == CS_32 || f->SegCs == CS_64) && f->SegSs == DATA) {
			c->regs->cs = f->SegCs;
			c->regs->ss = f->SegSs;
		} else {
			refuse(c, CHANGED(SegCs) ? "SegCs" : "SegSs",
			       CHANGED(SegCs) ? f->SegCs : f->SegSs,
			       "CS and SS are 0x23 and 0x2b, or 0x33 and 0x2b");
		}
	}
	apply_selector(c, "SegDs", f->SegDs, b->SegDs, &c->regs->ds);
	apply_selector(c, "SegEs", f->SegEs, b->SegEs, &c->regs->es);
	apply_selector(c, "SegFs", f->SegFs, b->SegFs, &c->regs->fs);
	apply_selector(c, "SegGs", f->SegGs, b->SegGs, &c->regs->gs);
	if (!CHANGED(GsBase))
		return;
	if (f->GsBase < USER_END)
		c->regs->gs_base = f->GsBase;
	else
		refuse(c, "GsBase", f->GsBase, "it is no user address");
}

static void apply_vectors(const struct change *c, void *fxsave)
{
	bool mxcsr = CHANGED(MxCsr);
	bool xmm = memcmp(&c->frame->Xmm0, &c->before->Xmm0, 6 * sizeof c->frame->Xmm0) != 0;
	if (!fxsave || (!mxcsr && !xmm))
		return;
	uint32_t mask = read32(fxsave, FXSAVE_MXCSR_MASK);
	uint32_t value = c->frame->MxCsr & (mask ? mask : MXCSR_ALL);
	if (mxcsr)
		memcpy((uint8_t *)fxsave + FXSAVE_MXCSR, &value, sizeof value);
	memcpy((uint8_t *)fxsave + FXSAVE_XMM, &c->frame->Xmm0, 6 * sizeof c->frame->Xmm0);
	port_user_fxsave_changed(c->user);
}

/* Addresses before DR7, which puts them into force. */
static void apply_debug(const struct change *c, uint64_t known[6])
{
	static const uint8_t numbers[6] = {0, 1, 2, 3, 6, 7};
	static const char *const names[6] = {"Dr0", "Dr1", "Dr2", "Dr3", "Dr6", "Dr7"};
	const ULONG64 *values = &c->frame->Dr0;
	for (unsigned i = 0; i < 6; i++) {
		if (values[i] == known[i])
			continue;
		if (port_user_debug_write(c->user, numbers[i], values[i]))
			known[i] = values[i];
		else
			refuse(c, names[i], values[i],
			       "the processor or the host does not allow it");
	}
}

bool ke_trap_frame_apply(const KTRAP_FRAME *frame, const KTRAP_FRAME *before,
			 struct port_user *user, struct ke_bound_thread *memory, uint64_t routine)
{
	if (memcmp(frame, before, sizeof *frame) == 0)
		return true;
	const struct change change = {frame, before, user, port_user_regs(user), routine};
	apply_general(&change);
	apply_segments(&change);
	apply_vectors(&change, port_user_fxsave(user));
	apply_debug(&change, memory->debug_registers);
	port_user_regs_changed(user);
	struct port_user_regs *regs = change.regs;
	if (regs->cs != CS_64)
		regs->general.rip = (uint32_t)regs->general.rip;
	if (regs->general.rip < USER_END)
		return true;
	refuse(&change, "Rip", regs->general.rip, "no user code can be there; the process ends");
	return false;
}
