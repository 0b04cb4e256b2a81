#!/bin/bash
# SPDX-License-Identifier: MIT
# Compile the test drivers, run each case of cases.txt in its own machine, and print PASS and FAIL lines.
# Usage: run.sh [-k] [PATTERN ...]   PATTERN: shell patterns of case names; -k: keep the images and outputs
# KETCH names the program (build/ketch), KETCH_JOBS how many cases run at a time (one for each processor of the host).
set -u
here=$(dirname "$(readlink -f "$0")")
ketch=${KETCH:-$here/../../build/ketch}
keep=
[ "${1:-}" = -k ] && { keep=1; shift; }
work=$(mktemp -d)
[ -n "$keep" ] && echo "outputs: $work" || trap 'rm -rf "$work"' EXIT
jobs=${KETCH_JOBS:-$(nproc)}
mkdir "$work/results"
. "$here/../verdict.sh"

# Compile "SOURCE.c -DOPTION MODULE.def ..." once; the image's path in $image. A MODULE.def becomes an import library.
compile() {
	local words word options=()
	read -ra words <<<"$1"
	local key=${1//[^A-Za-z0-9_=]/.}
	image=$work/$key/${words[0]%.*}.sys
	mkdir -p "$work/$key"
	exec 9>"$work/$key/lock" # another case may want the same image
	flock 9
	[ -e "$image" ] && return 0
	for word in "${words[@]:1}"; do
		case $word in
		*.def)
			llvm-dlltool -m i386:x86-64 -d "$here/$word" -l "$work/$key/${word%.def}.lib" || return 1
			word=$work/$key/${word%.def}.lib
			;;
		esac
		options+=("$word")
	done
	"$ketch" cc -o "$image" "${options[@]}" "$here/${words[0]}" >"$work/$key/cc.log" 2>&1 && return 0
	cat "$work/$key/cc.log"
	return 1
}

# A user program, "KIND:SOURCE.c", compiled once; its path in $program. KIND 32: for i386, without a C library; 64: at fixed
# addresses; pie: position independent.
program() {
	local kind=${1%%:*} source=$here/${1#*:}
	program=$work/program-$kind-$(basename "$source" .c)
	exec 8>"$program.lock"
	flock 8
	[ -e "$program" ] && return 0
	case $kind in
	32) clang --target=i386-linux-gnu -nostdlib -static -fuse-ld=lld -ffreestanding -fno-pic -fno-stack-protector -O1 \
		-Wall -Wextra -o "$program" "$source" ;;
	64) cc -O1 -Wall -Wextra -Wno-unused-result -no-pie -o "$program" "$source" -pthread ;;
	pie) cc -O1 -Wall -Wextra -Wno-unused-result -fPIE -pie -o "$program" "$source" -pthread ;;
	esac
}

# Run one case; says in $why what is wrong.
run_case() {
	local name=$1 drivers=$2 options=$3 actions=$4 expected=$5
	local images=() output=$work/$name.log driver image
	why=
	IFS=+ read -ra list <<<"$drivers"
	for driver in "${list[@]}"; do
		compile "$(trim "$driver")" || { why="it does not compile"; return; }
		[ ${#images[@]} = 0 ] && images+=("$image") || images+=("+$image")
	done
	mkdir -p "$work/files/$name"
	read -ra options <<<"${options//@FILES@/$work/files/$name}"
	while [[ $actions =~ @((32|64|pie):[a-z0-9_]+\.c)@ ]]; do
		program "${BASH_REMATCH[1]}" || { why="${BASH_REMATCH[1]} does not compile"; return; }
		actions=${actions//@${BASH_REMATCH[1]}@/$program}
	done
	read -ra actions <<<"$actions"
	"$ketch" run --timeout=60 "${options[@]}" "${images[@]}" "${actions[@]}" >"$output" 2>&1
	judge $? "$output" "$expected"
	# A case that names no line and no status is one whose driver says PASS.
	[ -n "$why" ] || [ "${expected:-0}" != 0 ] || [[ ${options[*]} == *--expect* ]] || grep -q '^PASS ' "$output" || why="it printed no PASS"
	[ -z "$why" ] || sed 's/^/    /' "$output"
}

# One case in the background: its output, then PASS or FAIL as the last line, in the file of its number.
start_case() {
	local number=$1 name=$2 why
	shift
	{
		run_case "$@"
		verdict "$name" "$why"
	} >"$work/results/$number.part" 2>&1
	mv "$work/results/$number.part" "$work/results/$number"
}

# Print the results that are there, in the order of the cases.
show() {
	while [ -e "$work/results/$((shown + 1))" ]; do
		shown=$((shown + 1))
		cat "$work/results/$shown"
		case $(tail -n 1 "$work/results/$shown") in
		PASS*) passed=$((passed + 1)) ;;
		*) failed=$((failed + 1)) ;;
		esac
	done
}

started=0 shown=0
while IFS='|' read -r name drivers options actions expected; do
	name=$(trim "$name")
	case $name in '' | '#'*) continue ;; esac
	wanted "$name" "$@" || continue
	[[ $ketch == *asan* && $name == *-noasan ]] && { echo "SKIP $name"; continue; }
	if [ $((started - $(find "$work/results" -name '*[0-9]' | wc -l))) -ge "$jobs" ]; then
		wait -n
		show
	fi
	started=$((started + 1))
	start_case "$started" "$name" "$(trim "$drivers")" "$options" "$actions" "$(trim "$expected")" &
done <"$here/cases.txt"
wait
show

finish
