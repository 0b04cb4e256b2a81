# SPDX-License-Identifier: MIT
# Runs in the guest of ./x check-vm (busybox's sh). Usage: guest.sh LIST. Each line of the file LIST is a test: the name of a function t_NAME, which fails by its
# status, or a case of tests/drivers/cases.txt: "NAME|IMAGES|OPTIONS|ACTIONS|EXPECTED".
export HOME=/tmp
address=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^ketch.address=//p')
me=10.9.0.$address
ketch() { timeout 90 /tests/ketch run -p 2 --timeout=60 "$@"; }
verbs() { ketch --adapter=verbs:rxe0 "$@"; }
wire() { ketch --adapter=verbs:rxe1 --adapter=verbs:rxe2 "$@"; } # as the two of loopback

# ---- The guest itself: what fails here says nothing about Ketch ----

t_device() { ibv_devinfo >devinfo && [ "$(grep -c PORT_ACTIVE devinfo)" = 3 ]; }

# Server's address, client's own address.
rping_pair() {
	timeout 20 rping -s -a "$1" -C 2 &
	sleep 0.5
	timeout 20 rping -c -a "$1" -I "$2" -C 2 -v >pings && wait $! && [ "$(grep -c 'ping data' pings)" = 2 ]
}
t_rping() { rping_pair "$me" "$me" && rping_pair 192.0.2.2 192.0.2.1 && rping_pair fd00::1 fd00::2; }

# ---- Ketch in the guest ----

t_ketch() { ketch /tests/hello.sys && ketch /tests/nmi_watch.sys nmi:all; }
t_no_device() {
	ketch --adapter=verbs:rxe9 /tests/hello.sys >out 2>&1
	[ $? = 2 ] && grep -q 'no RDMA device is called rxe9' out
}

# ---- NDK on verbs ----

# By turns, as both the host's load and the device's own pace change from one second to the next.
t_speed() {
	for _ in 1 2 3 4 5; do
		/tests/verbs_baseline rxe0 && verbs /tests/ndk_speed.sys || return
	done
}
t_dereg() {
	wire /tests/ndk_dereg.sys >out 2>&1
	status=$?
	cat out
	[ $status = 0 ] && grep -q 'changed after completion: 0$' out
}
# What a change of a region that waits, fails or goes astray leaves accessible.
t_changes() {
	for i in 0 1 2 3; do
		wire /tests/changes$i.sys || return 1
	done
}
t_pingpong() { wire --timeout=85 /tests/ndk_pingpong.sys; }

serve() { # OPTION... DRIVER: in the background, until it listens
	: >server # of the test before
	verbs "$@" >server 2>&1 &
	n=0
	until grep -q listening server || [ $((n += 1)) = 200 ]; do sleep 0.1; done
}

# rdma-core's rping and our driver, both ways.
t_rping_client() {
	serve /tests/rping_server.sys
	timeout 20 rping -c -a "$me" -C 3 -v >pings
	status=$?
	wait $!
	server=$?
	cat server pings
	[ $status = 0 ] && [ $server = 0 ] && [ "$(grep -c 'ping data' pings)" = 3 ]
}
t_rping_server() {
	timeout 40 rping -s -a "$me" -C 3 -v >pings &
	sleep 0.5
	verbs /tests/rping_client.sys
	status=$?
	cat pings
	[ $status = 0 ] && [ "$(grep -c 'ping data' pings)" = 3 ]
}

# perftest's ib_write_bw and its relatives and our driver, both ways; what the options have to be: tests/vm/ndk_perftest.c.
bw() { # VERB [SERVER]
	timeout 60 "ib_$1_bw" -R -F -d rxe0 -s 1024 -n 50 --mmap=/tmp/peer.map $2
}
bw_client() { # VERB DRIVER; `status` is how perftest ended
	head -c 8192 /dev/zero >peer.map
	serve --files=/tmp "/tests/$2.sys"
	bw "$1" "$me" >report 2>&1
	status=$?
	wait $!
	server=$?
	cat server report
	[ $server = 0 ]
}
bw_moves() { bw_client "$1" "$1_server" && [ $status = 0 ] && grep -q '^ 1024  *50 ' report; }
bw_fails() { bw_client "$1" "$1_revoked" && [ $status = 1 ] && grep -q 'Failed status 10' report; } # IBV_WC_REM_ACCESS_ERR
bw_server() {
	head -c 8192 /dev/zero >peer.map
	bw "$1" >report 2>&1 &
	verbs --files=/tmp "/tests/$1_client.sys"
	status=$?
	wait $!
	server=$?
	cat report
	[ $status = 0 ] && [ $server = 0 ] && grep -q '^ 1024  *50 ' report
}
t_ib_write_bw_client() { bw_moves write; }
t_ib_write_bw_server() { bw_server write; }
t_ib_read_bw_client() { bw_moves read; }
t_ib_read_bw_server() { bw_server read; }
t_ib_send_bw_client() { bw_moves send; }
t_ib_send_bw_server() { bw_server send; }
t_ib_write_bw_revoked() { bw_fails write; }
t_ib_read_bw_revoked() { bw_fails read; }

# ---- Two guests: the server is in 10.9.0.2, the client in 10.9.0.1 ----

t_peer_server() { verbs /tests/rping_server.sys; }
t_peer_client() {
	n=0
	until verbs /tests/rping_peer.sys >out 2>&1 || [ $((n += 1)) = 20 ]; do sleep 1; done
	cat out
	[ $n -lt 20 ]
}

# ---- A case of tests/drivers/cases.txt, judged as tests/drivers/run.sh does ----

run_case() { # IMAGES OPTIONS ACTIONS EXPECTED
	want=${4%% *} text=
	[ "$4" = "$want" ] || text=${4#* }
	case $2 in *--adapter=*) adapters=ketch ;; *) adapters=wire ;; esac
	# shellcheck disable=SC2086
	$adapters $2 $1 $3 >out 2>&1
	status=$?
	cat out
	if [ $status != "${want:-0}" ]; then
		echo "exit status $status instead of ${want:-0}"
	elif grep -q '^FAIL ' out; then
		echo 'it printed FAIL'
	elif [ -n "$text" ] && ! grep -Eq -- "$text" out; then
		echo "it did not print '$text'"
	elif [ -z "$text" ] && [ "${want:-0}" = 0 ] && [ "${2#*--expect}" = "$2" ] && ! grep -q '^PASS ' out; then
		echo 'it printed no PASS'
	else
		return 0
	fi
	return 1
}

failed=0
while IFS='|' read -r name images options actions expected <&3; do
	if [ -n "$images" ]; then
		run_case "$images" "$options" "$actions" "$expected" >/tmp/log 2>&1
	else
		"t_$name" >/tmp/log 2>&1
	fi
	status=$?
	if [ $status = 0 ]; then
		echo "PASS $name"
		grep -hE '^[a-z_0-9]*: .* ns$' /tmp/log
	else
		echo "FAIL $name: status $status; the end of its output:"
		tail -n 40 /tmp/log | sed 's/^/  | /'
		failed=1
	fi
done 3<"$1"
exit $failed
