#!/bin/bash
# SPDX-License-Identifier: MIT
# Consumers survive every failure: ndk_consumer.c and ndk_tour.c, with the N-th call of each NDK function that they use
# failing, inline and asynchronously, N from 1 until it is not called so often (3 at most). Prints PASS and FAIL lines, one
# for each driver and function. It passes when every run ends, nothing is left behind, no rule is broken, no request is lost.
# The examples too, which return the failure.
# Usage: failures.sh [NAME ...]   KETCH names the program (build/ketch), ADAPTER an --adapter, KETCH_SEED a seed.
set -u
here=$(dirname "$(readlink -f "$0")")
ketch=${KETCH:-$here/../../build/ketch}
seed=${KETCH_SEED:-$RANDOM}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/../verdict.sh"
log=$work/out
declare -A sources=(
	[ndk_consumer]="$here/ndk_consumer.c $here/ndk_consumer.h"
	[ndk_tour]="$here/ndk_tour.c $here/../../examples/ndk_common.h"
)
declare -A with=([ndk_consumer.Reject]=--ndk-fail=RegisterMr) # what makes the driver call it
echo "seed $seed (KETCH_SEED=$seed runs the same)"

# The functions that a driver calls, by the names of --ndk-fail.
called() {
	local name text
	text=$(sed 's/WskOpenNdkAdapter/OpenAdapter/' ${sources[$1]})
	sed -n 's/^\tF(\([A-Za-z]*\),.*/\1/p' "$here/../../src/ndk/policy.h" | while read -r name; do
		grep -q "\(Ndk\|\<\)$name(" <<<"$text" && echo "$name"
	done
}

# run DRIVER NAME:N POLICY: one run; false: its output is in $work/out.
run() {
	"$ketch" run --timeout=20 ${ADAPTER:+"--adapter=$ADAPTER"} --ndk-complete="$3" --ndk-fail="$2" \
		${with[$1.${2%:*}]:-} "$work/$1.sys" >"$work/out" 2>&1 &&
		! grep -q '^FAIL' "$work/out" && grep -q "^$1: 0x" "$work/out"
}

# example DRIVER NAME:N POLICY: the same of an example, whose DriverEntry fails, or which does not call it so often.
example() {
	"$ketch" run --timeout=20 ${ADAPTER:+"--adapter=$ADAPTER"} --ndk-complete="$3" --ndk-fail="$2" "$work/$1.sys" >"$work/out" 2>&1
	case $? in
	0) echo "$1: 0x00000000" >>"$work/out" ;;
	*) grep -q 'DriverEntry returned 0x' "$work/out" && ! grep -Eq 'violation|time ran out|bug check' "$work/out" ;;
	esac
}

survives() {
	local policy n run=${3:-run}
	for policy in default pending "random:$seed"; do
		for n in 1 2 3; do
			if ! "$run" "$1" "$2:$n" "$policy"; then
				verdict "$1 survives $2" "--ndk-fail=$2:$n --ndk-complete=$policy"
				return
			fi
			grep -q "^$1: 0x00000000" "$work/out" && break # it was not called so often
		done
	done
	verdict "$1 survives $2"
}

for driver in ndk_consumer ndk_tour; do
	"$ketch" cc -DMAY_FAIL=1 -Wall -Wextra -Werror -o "$work/$driver.sys" "$here/$driver.c" || exit 1
	names=("$@")
	[ $# -gt 0 ] || mapfile -t names < <(called $driver)
	for name in "${names[@]}"; do
		survives $driver "$name"
	done
done
for driver in ndk_pingpong ndk_dereg; do
	sources[$driver]="$here/../../examples/$driver.c $here/../../examples/ndk_common.h"
	"$ketch" cc -Wall -Wextra -Werror -o "$work/$driver.sys" "$here/../../examples/$driver.c" || exit 1
	names=("$@")
	[ $# -gt 0 ] || mapfile -t names < <(called $driver)
	for name in "${names[@]}"; do
		survives $driver "$name" example
	done
done
finish
