#!/bin/bash
# SPDX-License-Identifier: MIT
# User programs: run each case of cases.txt in its own machine, then what takes more than one command: Ctrl-C, time that runs out,
# and deaths of programs and of ketch itself at any moment. Prints PASS and FAIL lines.
# Usage: run.sh [PATTERN ...]   shell patterns of case names. KETCH names the program (build/ketch).
set -u
here=$(dirname "$(readlink -f "$0")")
ketch=${KETCH:-$here/../../build/ketch}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/../verdict.sh"
log=$work/log

# The program NAME of this folder, built; or one of those that are none.
program() {
	local to=$work/$1
	[ -e "$to" ] && return 0
	case $1 in
	none) return 0 ;;
	script) printf '#!/bin/sh\nexit 0\n' >"$to" && chmod +x "$to" ;;
	other) # an ELF header for AArch64
		printf '\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0' >"$to" && chmod +x "$to" ;;
	object) cc -c -o "$to" "$here/words64.c" && chmod +x "$to" ;;
	interpreter) cc -Wl,--dynamic-linker=/none -o "$to" "$here/words64.c" ;;
	*32)
		clang --target=i386-linux-gnu -Wall -Wextra -Werror -g -O1 -ffreestanding -fno-stack-protector -nostdlib -static \
			-fuse-ld=lld -o "$to" "$here/$1.c"
		;;
	*) cc -Wall -Wextra -Werror -g -O1 -pthread -o "$to" "$here/$1.c" ;;
	esac
}

driver() { # SOURCE OPTION...: the image's path in $image
	image=$work/$(tr -c 'A-Za-z0-9_=\n' . <<<"$*").sys
	[ -e "$image" ] || "$ketch" cc -Wall -o "$image" "${@:2}" "$here/$1"
}

run_case() { # DRIVER OPTIONS ACTIONS EXPECTED: what is wrong in $why
	local words options name
	why=
	read -ra words <<<"$1"
	driver "${words[@]}" >"$work/log" 2>&1 || { why="the driver does not compile"; return; }
	for name in $(grep -o '@[a-z0-9]*@' <<<"$3" | tr -d @ | sort -u); do
		program "$name" >"$work/log" 2>&1 || { why="$name does not compile"; return; }
	done
	read -ra options <<<"$2"
	# shellcheck disable=SC2001
	read -ra words <<<"$(sed "s|@\([a-z0-9]*\)@|$work/\1|g" <<<"$3")"
	timeout 60 "$ketch" run --timeout=30 "${options[@]}" "$image" "${words[@]}" >"$work/log" 2>&1 </dev/null
	judge $? "$work/log" "$4"
}

while IFS='|' read -r name sources options actions expected; do
	name=$(trim "$name")
	case $name in '' | '#'*) continue ;; esac
	wanted "$name" "$@" || continue
	run_case "$(trim "$sources")" "$options" "$actions" "$(trim "$expected")"
	verdict "$name" "$why"
done <"$here/cases.txt"

# ---- Ends from outside ----

# The programs below have names of their own, so that what is left of them can be found.
stray=ku$$
program threads64 && cp "$work/threads64" "$work/$stray"
program forever64
driver guard.c

living() { # the processes of that name which are not zombies
	local process
	for process in $(pgrep -x "$1"); do
		grep -qs '^State:.[^ZX]' "/proc/$process/status" && echo "$process"
	done
}

await() { # SECONDS COMMAND...: until it is true
	local until=$(($(date +%s%N) + $1 * 1000000000))
	shift
	until "$@"; do
		[ "$(date +%s%N)" -lt $until ] || return 1
		sleep 0.02
	done
}
none_left() { [ -z "$(living "$1")" ]; }
one_runs() { [ -n "$(living "$1")" ]; }
has_line() { grep -q "$1" "$work/log"; }

child_of() { machine_pid=$(pgrep -P "$1"); }

start() { # WORDS...: ketch in the background, in $machine
	timeout 60 "$ketch" run --timeout=30 "$@" >"$work/log" 2>&1 </dev/null &
	machine=$!
	await 10 child_of $machine
}

seed=${KETCH_SEED:-$RANDOM}
RANDOM=$seed

if wanted user-ketch-killed "$@"; then
	why=
	for round in 1 2 3 4 5 6 7 8 9 10; do
		start "$image" "user:$work/$stray,churn,4000"
		# In every other round before or while the program begins.
		if [ $((round % 2)) = 0 ] && ! await 10 one_runs "$stray"; then
			why="it did not begin"
			break
		fi
		sleep "0.0$((RANDOM % 10))$((RANDOM % 10))"
		kill -KILL "$machine_pid"
		wait $machine 2>/dev/null
		await 10 none_left "$stray" || why="a process was left in round $round (KETCH_SEED=$seed)"
	done
	verdict user-ketch-killed "$why"
fi

if wanted user-program-killed "$@"; then
	why=
	for round in 1 2 3 4 5 6 7 8 9 10; do
		start "$image" "user:$work/$stray,churn,4000"
		await 10 one_runs "$stray" || why="it did not begin"
		sleep "0.0$((RANDOM % 10))$((RANDOM % 10))"
		pkill -KILL -P "$machine_pid" -x "$stray"
		wait $machine
		status=$?
		if has_line 'it was killed before it began'; then # in the middle of its exec
			[ $status = 2 ] || why="exit status $status instead of 2 in round $round (KETCH_SEED=$seed)"
		elif ! has_line 'ended by signal 9 SIGKILL'; then
			why="it did not say so in round $round (KETCH_SEED=$seed)"
		elif [ $status != 0 ]; then
			why="exit status $status in round $round (KETCH_SEED=$seed)"
		fi
		[ -z "$why" ] || break
		await 10 none_left "$stray" || why="a process was left in round $round (KETCH_SEED=$seed)"
		[ -z "$why" ] || break
	done
	verdict user-program-killed "$why"
fi

# A program that does not want to end: Ctrl-C ends it, and unloads.
for background in '' '&'; do
	name=user-interrupted${background:+-in-background}
	wanted $name "$@" || continue
	start "$image" "user$background:$work/forever64"
	await 10 has_line ready || verdict $name "it did not begin"
	kill -INT "$machine_pid"
	wait $machine
	status=$?
	if [ $status != 1 ]; then verdict $name "exit status $status instead of 1"
	elif ! has_line 'ended by signal 9 SIGKILL'; then verdict $name "the program was not ended"
	elif ! has_line 'the drivers were unloaded'; then verdict $name "the driver was not unloaded"
	else verdict $name; fi
done

if wanted user-time-runs-out "$@"; then
	timeout 60 "$ketch" run --timeout=1 "$image" "user:$work/forever64" >"$work/log" 2>&1 </dev/null
	status=$?
	if [ $status != 1 ]; then verdict user-time-runs-out "exit status $status instead of 1"
	elif ! has_line 'forever64 (process [0-9]*): still running'; then verdict user-time-runs-out "the program was not named"
	elif ! await 10 none_left forever64; then verdict user-time-runs-out "it was left"
	else verdict user-time-runs-out; fi
fi

# A process that nobody waits for any more is buried while the machine runs.
if wanted user-orphan-buried "$@"; then
	none() { ! pgrep -x "$stray" >/dev/null; }
	start "$image" "user:$work/$stray,orphan" "user:$work/forever64,once"
	if ! await 10 has_line ready; then why="the second program did not begin"
	elif ! await 10 none; then why="it is still there"
	else why=; fi
	pkill -TERM -P "$machine_pid" -x forever64
	wait $machine || why="exit status $?"
	verdict user-orphan-buried "$why"
fi

if wanted user-stopped-outside "$@"; then
	start "$image" "user:$work/forever64,once"
	await 10 has_line ready || verdict user-stopped-outside "it did not begin"
	process=$(living forever64)
	stopped() { grep -qs '^State:.[Tt]' "/proc/$process/status"; }
	running() { grep -qs '^State:.S' "/proc/$process/status"; }
	kill -STOP "$process"
	if ! await 10 stopped; then why="it was not stopped"; else why=; fi
	kill -CONT "$process"
	await 10 running || why="it was not continued"
	kill -TERM "$process"
	wait $machine || why="exit status $?"
	has_line 'exited with 0' || why="it did not end by itself"
	verdict user-stopped-outside "$why"
fi

finish
