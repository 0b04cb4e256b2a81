#!/bin/bash
# SPDX-License-Identifier: MIT
# The ketch command as its user meets it: exit status and words of each case of cases.txt, and what takes more than one command.
# Prints PASS and FAIL lines. KETCH names the program (build/ketch), EXAMPLES the built example drivers.
set -u
here=$(dirname "$(readlink -f "$0")")
ketch=${KETCH:-$here/../../build/ketch}
examples=${EXAMPLES:-$here/../../build/examples}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/../verdict.sh"
log=$work/log

driver() { # NAME: the body of DriverEntry is read
	{
		printf '#include <ntddk.h>\nNTSTATUS NTAPI KeNoSuchFunction(VOID);\nstatic volatile LONG go;\n'
		printf 'DECLSPEC_NOINLINE VOID Spin(VOID)\n{\n\twhile (!go)\n\t\tYieldProcessor();\n}\n'
		printf 'NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)\n{\n'
		printf '\tUNREFERENCED_PARAMETER(DriverObject);\n\tUNREFERENCED_PARAMETER(RegistryPath);\n'
		cat
		printf '}\n'
	} >"$work/$1.c"
}

# ---- What the cases need ----
printf 'This text is long enough for the first header of an image, and yet it is not a driver.\n' >"$work/text"
: >"$work/empty"
printf 'LIBRARY ntoskrnl.exe\nEXPORTS\nKeNoSuchFunction\n' >"$work/missing.def"
llvm-dlltool -m i386:x86-64 -d "$work/missing.def" -l "$work/missing.lib"
driver minimal <<<'	return STATUS_SUCCESS;'
driver refuses <<<'	return STATUS_DEVICE_CONFIGURATION_ERROR;'
driver hangs <<<'	Spin(); return STATUS_SUCCESS;'
driver missing <<<'	return KeNoSuchFunction();'
for name in minimal refuses hangs; do
	"$ketch" cc -o "$work/$name.sys" "$work/$name.c" >"$work/log" 2>&1 || verdict "cc-$name" "it does not compile"
done
"$ketch" cc -o "$work/missing.sys" "$work/missing.c" "$work/missing.lib" >"$work/log" 2>&1 || verdict cc-missing "it does not compile"

while IFS='|' read -r name words status text; do
	name=$(trim "$name") status=$(trim "$status") text=${text# }
	case $name in '' | '#'*) continue ;; esac
	words=${words//'{W}'/$work} words=${words//'{E}'/$examples}
	read -ra words <<<"$words"
	timeout 30 "$ketch" "${words[@]}" >"$work/out" 2>"$work/err" </dev/null
	ended=$?
	cat "$work/out" "$work/err" >"$work/log"
	if [ "$ended" != "$status" ]; then
		verdict "$name" "exit status $ended instead of $status"
	elif ! grep -Eq -- "$text" "$work/log"; then
		verdict "$name" "it did not print '$text'"
	elif [[ $status = 2 && $name != no-command && $name != imports-missing && $(wc -l <"$work/err") != 1 ]]; then
		verdict "$name" "not one line on standard error"
	else
		verdict "$name"
	fi
done <"$here/cases.txt"

# ---- A finding is printed once ----
"$ketch" run -p 4 "$examples/nmi_bad.sys" wait:20 nmi:3 >"$work/log" 2>&1
if [ "$(grep -c 'violation VER-9' "$work/log")" = 1 ]; then
	verdict finding-once
else
	verdict finding-once "not one line with VER-9"
fi

# ---- JSON: the report's facts ----
"$ketch" run -p 4 --json="$work/json" "$examples/nmi_bad.sys" wait:20 nmi:3 wait:20 nmi:3 >"$work/log" 2>&1
why=$(python3 - "$work/json" 2>&1 <<'END'
import json, sys
r = json.load(open(sys.argv[1]))
f = {x['rule']: x for x in r['findings']}
assert r['driver'] == 'nmi_bad.sys' and r['outcome'] == 'ok' and r['exit_status'] == 1, r
assert r['violations'] == 3 and f['IrqlKeSetEvent']['count'] == 2 and f['IrqlKeSetEvent']['irql'] == 15, f
assert '(OnNmi, nmi_bad.c:' in f['IrqlKeSetEvent']['where'] and f['NmiCallbackLeft']['number'] == 'VER-40', f
for p in r['processors']:
    n = p['nmi']
    assert n['sent'] == n['delivered'] + n['coalesced'] + n['latched'], n
assert r['processors'][3]['nmi']['delivered'] == 2 and len(r['processors']) == 4, r
END
) && verdict json || verdict json "$why"
"$ketch" run --json="$work/json" "$work/none.sys" >"$work/log" 2>&1
grep -q '"outcome": "refused"' "$work/json" && grep -q 'none.sys: cannot be read' "$work/json" && verdict json-refused ||
	verdict json-refused "the JSON does not say that the file cannot be read"

# ---- Another terminal, Ctrl-C ----
started() { # until the run that prints to $work/out is under way
	for _ in $(seq 100); do
		grep -q "$1" "$work/out" && return 0
		sleep 0.05
	done
	return 1
}
: >"$work/log"
"$ketch" run -p 2 --json="$work/json" "$examples/nmi_watch.sys" wait:20000 >"$work/out" 2>>"$work/log" &
run=$!
started watching
"$ketch" nmi "$run:1" >>"$work/log" 2>&1
one=$?
"$ketch" nmi "$run:2" >>"$work/log" 2>&1
none=$?
kill -INT "$run"
wait "$run"
ended=$?
[ $one = 0 ] && grep -q 'processor 1: 1 NMIs' "$work/out" && verdict nmi-from-outside ||
	verdict nmi-from-outside "the driver did not count it (exit status $one)"
[ $none = 2 ] && grep -q "^ketch: process $run: the machine has no such processor" "$work/log" && verdict nmi-from-outside-no-processor ||
	verdict nmi-from-outside-no-processor "exit status $none"
[ $ended = 1 ] && grep -q '^ketch: interrupted during wait; the drivers were unloaded' "$work/log" &&
	grep -q '"outcome": "interrupted"' "$work/json" && verdict interrupt || verdict interrupt "exit status $ended"

: >"$work/log"
"$ketch" run -p 2 -P 4 "$examples/percpu.sys" nmi wait:20000 >"$work/out" 2>>"$work/log" &
run=$!
for _ in $(seq 100); do # until it listens
	"$ketch" add "$run" >>"$work/log" 2>&1 && break
	sleep 0.05
done
"$ketch" add "${run}x2" >>"$work/log" 2>&1
full=$?
kill -INT "$run"
wait "$run"
grep -q '^percpu: 4 processors' "$work/out" && verdict add-from-outside || verdict add-from-outside "the driver did not see two more processors"
[ $full = 2 ] && grep -q "^ketch: process $run: the machine cannot have one more processor" "$work/log" && verdict add-from-outside-full ||
	verdict add-from-outside-full "exit status $full"

cat >"$work/vetoes.c" <<'END'
#include <ntddk.h>
static VOID NTAPI OnChange(PVOID Context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change, PNTSTATUS Status)
{
	UNREFERENCED_PARAMETER(Context);
	if (Change->State == KeProcessorAddStartNotify)
		*Status = STATUS_DEVICE_NOT_READY;
}
NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(DriverObject);
	UNREFERENCED_PARAMETER(RegistryPath);
	DbgPrint("against\n");
	return KeRegisterProcessorChangeCallback(OnChange, NULL, 0) ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
END
"$ketch" cc -o "$work/vetoes.sys" "$work/vetoes.c" >"$work/log" 2>&1
"$ketch" run "$work/vetoes.sys" wait:20000 >"$work/out" 2>>"$work/log" &
run=$!
started against
for _ in $(seq 100); do # until it listens
	"$ketch" add "$run" >>"$work/log" 2>&1
	veto=$?
	[ $veto = 2 ] || break
	sleep 0.05
done
kill -INT "$run"
wait "$run"
[ $veto = 1 ] && grep -q "^ketch: process $run: a driver refused processor 2 with 0xc00000a3 STATUS_DEVICE_NOT_READY" "$work/log" &&
	verdict add-from-outside-veto || verdict add-from-outside-veto "exit status $veto"
"$ketch" run "$work/vetoes.sys" addx2 >"$work/log" 2>&1
[ $? = 1 ] && grep -q '^ketch: addx2: a driver refused processor 2 with 0xc00000a3 STATUS_DEVICE_NOT_READY' "$work/log" && verdict add-veto ||
	verdict add-veto "the report does not name the refusal"

"$ketch" ddi >/dev/full 2>"$work/log"
[ $? = 2 ] && verdict full-output || verdict full-output "it did not notice"

# A symbolizer that is not there is said once, and the report is complete.
PATH=/nowhere "$ketch" run "$examples/crash.sys" >"$work/log" 2>&1
[ $? = 3 ] && [ "$(grep -c 'llvm-symbolizer cannot be started' "$work/log")" = 1 ] && grep -q '^    crash.sys+0x' "$work/log" &&
	verdict no-symbolizer || verdict no-symbolizer "the report is not as it should be"

finish
