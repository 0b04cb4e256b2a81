#!/bin/bash
# SPDX-License-Identifier: MIT
# The verbs provider without RDMA: libibverbs and librdmacm are tests/verbs/fake*.c, two devices in memory that fail on demand.
# Usage: run.sh [PATTERN ...]   of case names. KETCH names the program (build/src/cli/ketch), KETCH_FAKE the library.
# Prints PASS and FAIL lines and, last, "N passed, N failed".
set -u
here=$(dirname "$(readlink -f "$0")")
root=$here/../..
ketch=$(readlink -f "${KETCH:-$root/build/src/cli/ketch}")
fake=${KETCH_FAKE:-$(dirname "$ketch")/../../tests/verbs/libfake_rdma.so}
[ -e "$fake" ] || { echo "FAIL fake: there is no $fake"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/lib"
ln -s "$(readlink -f "$fake")" "$work/lib/libibverbs.so.1"
ln -s "$(readlink -f "$fake")" "$work/lib/librdmacm.so.1"
. "$here/../verdict.sh"
log=$work/out

# `ketch`, whose adapters are the two devices.
cat >"$work/ketch" <<END
#!/bin/bash
command=\$1
shift
[ "\$command" = run ] || exec $ketch "\$command" "\$@"
LD_LIBRARY_PATH=$work/lib LD_PRELOAD=$work/lib/libibverbs.so.1 exec $ketch run --adapter=verbs:rxe1 --adapter=verbs:rxe2 "\$@"
END
chmod +x "$work/ketch"

# Compile "SOURCE.c OPTION ..." once; the image's path in $image.
compile() {
	local words key=${1//[^A-Za-z0-9_=]/.} source
	read -ra words <<<"$1"
	source=$here/${words[0]}
	[ -e "$source" ] || source=$here/../drivers/${words[0]}
	image=$work/$key.sys
	[ -e "$image" ] || "$ketch" cc -Wall -Wextra -Werror -o "$image" "${words[@]:1}" "$source" >"$log" 2>&1
}

# One case: it ends as expected, and nothing is left in the device.
run_case() { # NAME SOURCE DEVICE OPTIONS EXPECTED
	local device options status why
	compile "$2" || { verdict "$1" 'it does not compile'; return; }
	read -ra device <<<"$3"
	read -ra options <<<"$4"
	env "${device[@]/#/FAKE_}" "$work/ketch" run --timeout=30 "${options[@]}" "$image" >"$log" 2>&1
	status=$?
	judge $status "$log" "$5"
	verdict "$1" "$why"
}

while IFS='|' read -r name source device options expected; do
	name=$(trim "$name")
	case $name in '' | '#'*) continue ;; esac
	wanted "$name" "$@" || continue
	run_case "$name" "$(trim "$source")" "$(trim "$device")" "$(trim "$options")" "$(trim "$expected")"
done <"$here/cases.txt"

# Consumers survive that each call of the libraries fails, the first, second ... time: the run ends, no request is lost, no rule
# broken, nothing left in the device.
calls='ibv_alloc_pd ibv_reg_mr ibv_alloc_mw ibv_create_qp ibv_modify_qp ibv_create_srq ibv_post_send ibv_post_recv ibv_post_srq_recv
	rdma_create_id rdma_bind_addr rdma_resolve_addr rdma_resolve_route rdma_connect rdma_accept rdma_establish
	rdma_init_qp_attr rdma_listen'
for call in $calls; do
	wanted "verbs-survives-$call" "$@" || continue
	why='nobody called it'
	for driver in ndk_tour.c ndk_consumer.c; do
		compile "$driver -DMAY_FAIL=1" || { why="$driver does not compile"; break; }
		for n in 1 2 3 6 10; do
			FAKE_FAIL=$call:$n "$work/ketch" run --timeout=10 "$image" >"$log" 2>&1
			status=$?
			grep -q "^fake: $call failed" "$log" || break # it was not called so often
			if [ $status -gt 1 ] || grep -Eqw 'FAIL|violation|time ran out' "$log"; then
				why="$driver, $call:$n"
				break 2
			fi
			why=
		done
	done
	verdict "verbs-survives-$call" "$why"
done
finish
