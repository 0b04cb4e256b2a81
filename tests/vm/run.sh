#!/bin/bash
# SPDX-License-Identifier: MIT
# ./x check-vm: NDK on the `verbs` provider in a QEMU guest with Debian's kernel and soft-RoCE; no root, no KVM.
# Usage: run.sh [TEST ...]   tests are the functions t_* of guest.sh; all of them unless named.
# Prints PASS and FAIL lines and, last, "N passed, N failed". What the guest needs is kept in build/vm; one guest runs at a time.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.." || exit 2
vm=build/vm
mkdir -p $vm/files
exec 9>$vm/lock
flock -w 600 9 || { echo "FAIL guest: another one is running (build/vm/lock)"; echo '0 passed, 1 failed'; exit 1; }

all=(device rping devices baseline ketch speed rping_client rping_server)
tests=("$@")
[ $# != 0 ] || tests=("${all[@]}")
files=(build/ketch=/tests/ketch tests/vm/guest.sh=/tests/run)
fail() { echo "FAIL $*"; echo '0 passed, 1 failed'; exit 1; }

tools/vm/kernel $vm/kernel || fail 'kernel: see above'
program() { # a host program for the guest: NAME SOURCE LIBRARY...
	local out=$vm/files/$1
	[ "$out" -nt "$2" ] || cc -O2 -Wall -Wextra -Wshadow -o "$out" "$2" "${@:3}" || fail "$1: does not compile"
	files+=("$out=/tests/$1")
}
driver() { # a driver for the guest: NAME.sys SOURCE OPTION...
	local name=$1
	build/ketch cc -o "$vm/files/$name" "${@:3}" "$2" || fail "$name: does not compile"
	files+=("$vm/files/$name=/tests/$name")
}
program verbs_baseline tests/vm/verbs_baseline.c -libverbs
driver hello.sys examples/hello.c
driver nmi_watch.sys examples/nmi_watch.c
driver ndk_speed.sys tests/vm/ndk_speed.c
driver rping_server.sys tests/vm/ndk_rping.c -DCASE=0
driver rping_client.sys tests/vm/ndk_rping.c -DCASE=1
tools/vm/image $vm/guest.cpio $vm/kernel "${files[@]}" || fail 'image: see above'

log=$vm/guest.log
list=${tests[*]}
tools/vm/boot $vm/kernel $vm/guest.cpio $((60 + 30 * ${#tests[@]})) 1 "${list// /,}" | tee $log
passed=$(grep -c '^PASS ' $log)
failed=$(grep -c '^FAIL ' $log)
for name in "${tests[@]}"; do
	grep -qE "^(PASS|FAIL) $name(:|\$)" $log || { echo "FAIL $name: did not run"; failed=$((failed + 1)); }
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
