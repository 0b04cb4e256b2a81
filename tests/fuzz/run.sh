#!/bin/bash
# SPDX-License-Identifier: MIT
# Fuzzes the PE reader and the loader: tests/fuzz/run.sh SECONDS (0: only runs the seeds). Inputs that turn out
# interesting are kept in build/fuzz/TARGET.found, one that breaks something in build/fuzz/TARGET.crash-*.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
seconds=${1:?usage: tests/fuzz/run.sh SECONDS}
out=build/fuzz
. tests/verdict.sh
mkdir -p "$out"

compile=(clang -std=gnu17 -g -O1 -Wall -Wextra -Wno-multichar -Werror -fno-strict-aliasing -Isrc
	-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
reader=(src/ldr/pe*.c src/ldr/text.c)
loader=(src/ldr/{arena,bind,image,kernel_image,missing,modules,unload}.c src/rtl/{case,format,format_convert,string}.c
	src/port/linux/program.c tests/ldr/fake_kernel.c)

result() { # NAME STATUS
	[ "$2" = 0 ] && verdict "$1" || verdict "$1" "status $2, see $log"
	return "$2"
}

fuzz() { # TARGET SECONDS COMPILER-ARGUMENT...
	local target=$1 time=$2
	log=$out/$1.log
	shift 2
	"${compile[@]}" "$@" -o "$out/$target" >"$log" 2>&1
	result "$target-build" $? || return
	"$out/$target" tests/fuzz/corpus-pe/*.sys >"$log" 2>&1
	result "$target-seeds" $? || return
	[ "$time" != 0 ] || return 0
	mkdir -p "$out/$target.found"
	"$out/$target" -max_total_time="$time" -timeout=10 -max_len=20480 -print_final_stats=1 \
		-artifact_prefix="$out/$target." "$out/$target.found" tests/fuzz/corpus-pe >"$log" 2>&1
	result "$target-$time-seconds" $?
	grep -E 'number_of_executed_units|new_units_added' "$log"
}

fuzz fuzz_pe $(((seconds + 1) / 2)) tests/fuzz/fuzz_pe.c "${reader[@]}"
fuzz fuzz_image $((seconds / 2)) -fshort-wchar -Iinclude/km -Iinclude \
	tests/fuzz/fuzz_image.c "${reader[@]}" "${loader[@]}"
finish
