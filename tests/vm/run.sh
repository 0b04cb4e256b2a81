#!/bin/bash
# SPDX-License-Identifier: MIT
# ./x check-vm: NDK on the `verbs` provider in a QEMU guest with Debian's kernel and soft-RoCE; no root, no KVM.
# Usage: run.sh [PATTERN ...]   of names: functions t_* of guest.sh, the NDK cases of tests/drivers/cases.txt, and `peer`, which takes two
# guests; all of them unless given.
# Prints PASS and FAIL lines and, last, "N passed, N failed". What the guest needs is kept in build/vm; one guest runs at a time.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.." || exit 2
vm=build/vm
mkdir -p $vm/files
. tests/verdict.sh
fail() { echo "FAIL $*"; echo '0 passed, 1 failed'; exit 1; }
exec 9>$vm/lock
flock -w 900 9 || fail 'guest: another one is running (build/vm/lock)'

tests=(device rping ketch no_device speed rping_client rping_server ib_{write,read,send}_bw_{client,server} ib_{write,read}_bw_revoked dereg pingpong changes)
files=(build/ketch=/tests/ketch tests/vm/guest.sh=/tests/run)
: >$vm/list

program() { # a program of the host for the guest: NAME SOURCE LIBRARY...
	local out=$vm/files/$1
	[ "$out" -nt "$2" ] || cc -O2 -Wall -Wextra -Wshadow -o "$out" "$2" "${@:3}" || fail "$1: does not compile"
	files+=("$out=/tests/$1")
}
driver() { # a driver for the guest: NAME.sys SOURCE OPTION...
	build/ketch cc -o "$vm/files/$1" "${@:3}" "$2" >$vm/cc.log 2>&1 || { cat $vm/cc.log; fail "$1: does not compile"; }
	files+=("$vm/files/$1=/tests/$1")
}

# An NDK case whose adapters are the default ones, or one that reaches itself, runs on verbs.
add_case() { # NAME DRIVERS OPTIONS ACTIONS EXPECTED
	local images=() list driver image words key options=$3 itself='--adapter=loopback:[^, ]*,self'
	[[ $options =~ $itself ]] && options=${options/"${BASH_REMATCH[0]}"/--adapter=verbs:rxe0}
	case "$options$4" in *--adapter=loopback* | *@*) return ;; esac
	# What the loopback provider alone has (docs/verbs.md): any base, regions of pages that do not lie together, what it knows of
	# requests under way, RNICs that need read sinks, sends that look at their own memory when the receive is there. Torture at a size
	# for an emulated machine: *-small.
	case $1 in
	*-small) ;;
	ndk-torture-* | ndk-mr-fast-base | ndk-mr-memory-*-fast | ndk-mr-busy | ndk-read-sink | ndk-read-sink-off | ndk-srq-starved*) return ;;
	esac
	IFS=+ read -ra list <<<"$2"
	for driver in "${list[@]}"; do
		read -ra words <<<"$driver"
		key=${words[*]//[^A-Za-z0-9_]/.}
		key=${key// /.}
		image=$key/${words[0]%.c}.sys # rules name the image
		if [[ " ${files[*]} " != *"=/tests/$image "* ]]; then
			mkdir -p "$vm/files/$key"
			driver "$image" "tests/drivers/${words[0]}" "${words[@]:1}"
		fi
		images+=("${images:++}/tests/$image")
	done
	echo "$1|${images[*]}|$options|$4|$5" >>$vm/list
}

tools/vm/kernel $vm/kernel || fail 'kernel: see above'
program verbs_baseline tests/vm/verbs_baseline.c -libverbs
driver hello.sys examples/hello.c
driver nmi_watch.sys examples/nmi_watch.c
driver ndk_speed.sys tests/vm/ndk_speed.c
driver rping_server.sys tests/vm/ndk_rping.c -DCASE=0
driver rping_client.sys tests/vm/ndk_rping.c -DCASE=1
driver rping_peer.sys tests/vm/ndk_rping.c -DCASE=2
number=0
for name in {write,read,send}_{server,client}; do
	driver "$name.sys" tests/vm/ndk_perftest.c -DCASE=$((number++))
done
driver write_revoked.sys tests/vm/ndk_perftest.c -DCASE=0 -DREVOKED=1
driver read_revoked.sys tests/vm/ndk_perftest.c -DCASE=2 -DREVOKED=1
driver ndk_dereg.sys examples/ndk_dereg.c
driver ndk_pingpong.sys examples/ndk_pingpong.c
for case in 0 1 2 3; do driver changes$case.sys tests/verbs/memory.c -DCASE=$case; done
for name in "${tests[@]}"; do
	if wanted "$name" "$@"; then echo "$name" >>$vm/list; fi
done
while IFS='|' read -r name drivers options actions expected; do
	name=$(trim "$name")
	[[ $name == ndk-* ]] && wanted "$name" "$@" || continue
	add_case "$name" "$(trim "$drivers")" "$(trim "$options")" "$(trim "$actions")" "$(trim "$expected")"
done <tests/drivers/cases.txt
wanted peer "$@" && two=1 || two=0
[ -s $vm/list ] || [ $two = 1 ] || fail "no test has a name like $*"
echo peer_client >$vm/list1
echo peer_server >$vm/list2
files+=($vm/list=/tests/list $vm/list1=/tests/list1 $vm/list2=/tests/list2)
tools/vm/image $vm/guest.cpio $vm/kernel "${files[@]}" || fail 'image: see above'

log=$vm/guest.log
count=$(wc -l <$vm/list)
: >$log
[ "$count" = 0 ] || tools/vm/boot $vm/kernel $vm/guest.cpio $((120 + 20 * count)) 1 /tests/list | tee $log
if [ $two = 1 ]; then # two guests and a wire: datagrams between two sockets
	wire() { echo "dgram,local.type=unix,local.path=$vm/wire$1,remote.type=unix,remote.path=$vm/wire$2"; }
	rm -f $vm/wire1 $vm/wire2
	tools/vm/boot $vm/kernel $vm/guest.cpio 180 "2,$(wire 2 1)" /tests/list2 >$vm/guest2.log &
	tools/vm/boot $vm/kernel $vm/guest.cpio 180 "1,$(wire 1 2)" /tests/list1 | tee -a $log
	wait
	tee -a $log <$vm/guest2.log
	cat $vm/list1 $vm/list2 >>$vm/list
fi
passed=$(grep -c '^PASS ' $log)
failed=$(grep -c '^FAIL ' $log)
while IFS='|' read -r name _; do
	grep -qE "^(PASS|FAIL) $name(:|\$)" $log || { echo "FAIL $name: did not run"; failed=$((failed + 1)); }
done <$vm/list
# NDK against libibverbs itself, on the same device, in rounds that take turns: the best round of each, as a process of the guest, of
# either kind, is now and then slow as a whole; and the medians.
sed -nE 's/^(verbs_baseline|ndk_speed): (.*) ([0-9]+) ns$/\1|\2|\3/p' $log | sort -t'|' -k1,2 -k3,3n | awk -F'|' '
	{ values[$1 FS $2, ++count[$1 FS $2]] = $3; if ($1 == "ndk_speed") what[$2] }
	function best(of) { return values[of, 1] / 1000 }
	function median(of) { return values[of, int((count[of] + 1) / 2)] / 1000 }
	END {
		for (w in what) {
			ndk = "ndk_speed" FS w; raw = "verbs_baseline" FS w
			if (best(raw))
				printf "%s: %.1f us, libibverbs %.1f us, ratio %.2f (to reach: 1.5); medians %.1f us, %.1f us, %.2f\n", w,
					best(ndk), best(raw), best(ndk) / best(raw), median(ndk), median(raw), median(ndk) / median(raw)
		}
	}'
finish
