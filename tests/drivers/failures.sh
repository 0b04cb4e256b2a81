#!/bin/bash
# SPDX-License-Identifier: MIT
# A consumer survives every failure: ndk_consumer.c with the N-th call of each NDK function failing, inline and
# asynchronously, N from 1 until the function is not called so often (3 at most), and prints PASS and FAIL lines, one for
# each function that the consumer calls. It passes when the run ends, nothing is left behind, no rule is broken, and no request is lost.
# Usage: failures.sh [NAME ...]   KETCH names the program (build/ketch), ADAPTER an --adapter, KETCH_SEED a seed.
set -u
here=$(dirname "$(readlink -f "$0")")
ketch=${KETCH:-$here/../../build/ketch}
seed=${KETCH_SEED:-$RANDOM}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
echo "seed $seed (KETCH_SEED=$seed runs the same)"

"$ketch" cc -DMAY_FAIL=1 -Wall -Wextra -Werror -o "$work/ndk_consumer.sys" "$here/ndk_consumer.c" || exit 1
names=("$@")
[ $# -gt 0 ] || mapfile -t names < <(sed -n 's/^\tF(\([A-Za-z]*\),.*/\1/p' "$here/../../src/ndk/policy.h" |
	while read -r name; do grep -q "\(Ndk\|\<\)$name(" <(sed 's/WskOpenNdkAdapter/OpenAdapter/' "$here"/ndk_consumer.[ch]) && echo "$name"; done)

declare -A with=([Reject]=--ndk-fail=RegisterMr) # what makes the consumer call it

# One run; false: its output is in $work/out.
run() {
	"$ketch" run --timeout=20 ${ADAPTER:+"--adapter=$ADAPTER"} --ndk-complete="$2" --ndk-fail="$1" ${with[${1%:*}]:-} "$work/ndk_consumer.sys" \
		>"$work/out" 2>&1 && ! grep -q '^FAIL' "$work/out" && grep -q '^ndk_consumer: 0x' "$work/out"
}

for name in "${names[@]}"; do
	bad=
	for policy in default pending "random:$seed"; do
		for n in 1 2 3; do
			if ! run "$name:$n" "$policy"; then
				bad="--ndk-fail=$name:$n --ndk-complete=$policy"
				sed 's/^/    /' "$work/out"
				break 2
			fi
			grep -q '^ndk_consumer: 0x00000000' "$work/out" && break # it was not called so often
		done
	done
	if [ -z "$bad" ]; then
		passed=$((passed + 1))
		echo "PASS survives $name"
	else
		failed=$((failed + 1))
		echo "FAIL survives $name: $bad"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
