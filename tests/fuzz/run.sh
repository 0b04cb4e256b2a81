#!/bin/bash
# SPDX-License-Identifier: MIT
# Fuzzes the PE reader: tests/fuzz/run.sh SECONDS (0: only runs the seeds). Inputs that it finds interesting are kept in
# build/fuzz/found, one that breaks the reader in build/fuzz/crash-*.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
seconds=${1:?usage: tests/fuzz/run.sh SECONDS}
out=build/fuzz
mkdir -p "$out/found"

verdict() { # NAME STATUS
	if [ "$2" = 0 ]; then
		echo "PASS $1"
		passed=$((passed + 1))
	else
		echo "FAIL $1: status $2, see $out"
		failed=$((failed + 1))
	fi
}
passed=0 failed=0

clang -std=gnu17 -g -O1 -Wall -Wextra -Werror -fno-strict-aliasing \
	-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Isrc \
	tests/fuzz/fuzz_pe.c src/ldr/pe*.c src/ldr/text.c -o "$out/fuzz_pe"
verdict fuzz_pe-build $?

if [ $failed = 0 ]; then
	"$out/fuzz_pe" tests/fuzz/corpus-pe/*.sys >"$out/seeds.log" 2>&1
	status=$?
	[ $status = 0 ] || tail -n 40 "$out/seeds.log"
	verdict fuzz_pe-seeds $status
fi
if [ $failed = 0 ] && [ "$seconds" != 0 ]; then
	"$out/fuzz_pe" -max_total_time="$seconds" -timeout=10 -max_len=20480 -print_final_stats=1 \
		-artifact_prefix="$out/" "$out/found" tests/fuzz/corpus-pe >"$out/fuzz.log" 2>&1
	status=$?
	[ $status = 0 ] || tail -n 40 "$out/fuzz.log"
	grep -E 'number_of_executed_units|new_units_added|^#.*DONE' "$out/fuzz.log"
	verdict "fuzz_pe-$seconds-seconds" $status
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
