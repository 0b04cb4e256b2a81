/* SPDX-License-Identifier: MIT */
/* help.c: `ketch --help` and the help of each subcommand. docs/ketch.1 says the same. */
#include <string.h>
#include "cli/cli.h"

static const char overview[] =
	"ketch: run Windows kernel drivers in a Linux process, and stage what nobody can stage on "
	"a desk\n"
	"\n"
	"  ketch run [options] DRIVER.sys [+OTHER.sys ...] [ACTION ...]   load, run the actions, "
	"unload, report\n"
	"  ketch cc [-o OUT.sys] [CLANG OPTION ...] SOURCE ...            build a driver\n"
	"  ketch imports DRIVER.sys                                       each import: supported "
	"or missing\n"
	"  ketch ddi [NAME]                                               the functions that "
	"drivers can import\n"
	"  ketch nmi PID[:P]                                              an NMI in a running "
	"`ketch run`\n"
	"  ketch add PID[xN]                                              a processor joins a "
	"running `ketch run`\n"
	"  ketch COMMAND --help                                           more on one of them\n"
	"  ketch --version\n"
	"\n"
	"Try: ketch cc hello.c && ketch run -p 4 hello.sys\n"
	"\n"
	"Exit status: 0 all as expected; 1 the driver refused or broke a rule, or time ran out; 2 "
	"usage, file or image error;\n"
	"3 bug check.\n";

static const char run_help[] =
	"ketch run [options] DRIVER.sys [+OTHER.sys ...] [ACTION ...]\n"
	"\n"
	"Boots a machine in this process, loads the +OTHERs in order and then DRIVER, carries out "
	"the actions in order, unloads,\n"
	"and reports. DbgPrint goes to standard output, the report to standard error. Ctrl-C "
	"unloads "
	"and reports.\n"
	"\n"
	"Actions:\n"
	"  nmi[:P|:all][xN]         a nonmaskable interrupt on processor P (0), or on all in turn, "
	"N times (1); each is waited for\n"
	"  add[xN]                  a processor joins (N processors, one after the other); a "
	"driver's veto ends the run\n"
	"  add:fail  add:mismatch   one that does not start after drivers were told so; one of "
	"another kind (bug check 0x130)\n"
	"  ioctl:DEVICE,CODE[,HEX]  open \\\\.\\DEVICE, send the I/O control code with these "
	"bytes, print the answer, close;\n"
	"                           a failure ends the run\n"
	"  user:PROGRAM[,ARG...]    run an i386 or x86-64 program of this host as a user process, "
	"to "
	"its end; `\\,` is a comma\n"
	"  user&:PROGRAM[,ARG...]   the same in the background; unloading waits for it\n"
	"  wait:MS                  let the machine run\n"
	"  unload                   unload all drivers now\n"
	"\n"
	"The machine:\n"
	"  -p N   processors at boot (2)     -P N   most the partition can hold (64)     -g N   "
	"processors per group (64)\n"
	"  --layout=packed|holes|spread      which groups and numbers processors have: one group "
	"after the other (packed), even\n"
	"                                    numbers of a group before odd ones (holes), one to "
	"each group in turn (spread)\n"
	"  --unhandled-nmi=bugcheck|ignore   what an NMI does that no callback claims (bugcheck: "
	"0x80)\n"
	"  --allow-missing                   load although imports are missing; calling one stops "
	"the run\n"
	"  --reg=NAME=VALUE                  a value of the service's key: number (REG_DWORD), "
	"hex:BYTES (REG_BINARY), text (REG_SZ)\n"
	"  --files=DIR                       what \\??\\C:\\ is\n"
	"  --timeout=S                       seconds for the whole run (60)\n"
	"\n"
	"RDMA (docs/ndk.md):\n"
	"  --adapter=loopback[:INDEX=ADDR,...]|verbs[:DEV]\n"
	"                                    RNICs in this process, or a device of this host "
	"(index "
	"2: 192.0.2.1, fd00::1;\n"
	"                                    3: 192.0.2.2, fd00::2); can be given 16 times\n"
	"  --ndk-complete=inline|pending|random[:SEED]\n"
	"                                    how NDK functions complete that may do it later\n"
	"  --ndk-fail=NAME[:N]               the N-th call (1) of this NDK or Wsk function fails\n"
	"  --ndk-flags=N                     AdapterFlags of loopback RNICs (0x117)\n"
	"  --ndk-handshake=MS                how long a connection may take to come about (30000)\n"
	"  --wsk-delay=MS                    Winsock Kernel's provider comes so long after boot "
	"(0)\n"
	"  --wsk-patience=MS                 report a wait for what is still in use after this "
	"time "
	"(5000)\n"
	"\n"
	"Rules:\n"
	"  --verify=report|bugcheck|off      report broken rules (default), stop at the first one, "
	"or do not look (--no-verify)\n"
	"  --verify-drivers=NAME,...         judge only these drivers (file names)\n"
	"  --strict=NAME,...                 signed-callbacks: notify routines need the integrity "
	"bit in the loader entry;\n"
	"                                    processor-veto: after a veto only the callbacks "
	"before it get Failure, none behind it\n"
	"                                    Start; group-aware: functions without a group act on "
	"the highest one; ndk-arm:\n"
	"                                    NdkArmCq is satisfied by what was there at the last "
	"notification; ndk-tokens: a\n"
	"                                    region's token changes with each NdkFastRegister\n"
	"  --relax=bound-routine             a bound callback may lie outside of every driver\n"
	"\n"
	"Results:\n"
	"  --json=FILE                       the report's facts as JSON\n"
	"  --expect-status=S  --expect-bugcheck=N  --expect-rule=ID\n"
	"                                    succeed only if exactly that happens: DriverEntry or "
	"an "
	"IOCTL fails (or a processor is refused) with S, the run ends\n"
	"                                    in bug check N, rule ID is broken, by name "
	"(IrqlKeApcLte2) or number (VER-5)\n";

static const char cc_help[] = "ketch cc [-o OUT.sys] [--entry NAME] [CLANG OPTION ...] SOURCE ...\n"
			      "\n"
			      "Builds a driver with clang and lld-link from C (.c), C++ (.cpp, "
			      ".cc, .cxx), objects and libraries, with debug information in\n"
			      "OUT.pdb. Takes __try/__except, SAL annotations, #pragma alloc_text "
			      "and multi-character constants. All other options\n"
			      "go to clang. The default output is the first source's name with "
			      ".sys; the entry point is DriverEntry.\n";

static const char imports_help[] =
	"ketch imports DRIVER.sys\n"
	"\n"
	"Lists each import as supported or missing. Exit status 2 if any is missing.\n";

static const char ddi_help[] =
	"ketch ddi [NAME]\n"
	"\n"
	"The table of functions and variables that drivers can import: module, legal IRQLs, first "
	"Windows version, the rule that a\n"
	"call at another IRQL breaks. Exit status 2 when NAME is not in it.\n";

static const char nmi_help[] = "ketch nmi PID[:P]\n"
			       "\n"
			       "Raises an NMI on processor P (0) of the machine in process PID, a "
			       "`ketch run` of the same user; does not wait.\n";

static const char add_help[] =
	"ketch add PID[xN]\n"
	"\n"
	"Adds a processor (N processors) to the machine in process PID, a `ketch run` of the same "
	"user, and waits until drivers have been\n"
	"told. Exit status 1 when a driver refuses it, 2 when the machine is full.\n";

static const struct {
	const char *topic, *text;
} topics[] = {
	{"run", run_help}, {"cc", cc_help},   {"imports", imports_help},
	{"ddi", ddi_help}, {"nmi", nmi_help}, {"add", add_help},
};

bool help_print(FILE *to, const char *topic)
{
	if (!topic)
		return fputs(overview, to), true;
	for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
		if (!strcmp(topic, topics[i].topic))
			return fputs(topics[i].text, to), true;
	}
	return false;
}
