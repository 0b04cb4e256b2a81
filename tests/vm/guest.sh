# SPDX-License-Identifier: MIT
# Runs in the guest of ./x check-vm (busybox's sh), one function a test: "t_NAME" prints what it sees and fails by its status.
# Usage: run TEST ...; a test that takes longer than its limit (seconds) fails.
export LD_LIBRARY_PATH=/tests HOME=/tmp
address=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^ketch.address=//p')
me=10.9.0.$address
ketch() { timeout 60 /tests/ketch "$@"; }

# The environment itself: what a failure here says is not about Ketch.
t_device() {
	ibv_devinfo >devinfo
	grep -q PORT_ACTIVE devinfo
}
t_rping() {
	timeout 20 rping -s -a "$me" -C 2 &
	sleep 0.5
	timeout 20 rping -c -a "$me" -C 2 -v >pings && wait $! && [ "$(grep -c 'ping data' pings)" = 2 ]
}
t_devices() {
	timeout 20 rping -s -a 192.0.2.2 -C 1 &
	sleep 0.5
	timeout 20 rping -c -a 192.0.2.2 -I 192.0.2.1 -C 1 && wait $! || return
	timeout 20 rping -s -a fd00::1 -C 1 &
	sleep 0.5
	timeout 20 rping -c -a fd00::1 -I fd00::2 -C 1 && wait $!
}
t_baseline() { /tests/verbs_baseline rxe0; }

t_ketch() { ketch run -p 2 /tests/hello.sys && ketch run -p 2 /tests/nmi_watch.sys nmi:all; }

# ---- NDK on verbs ----
verbs() { ketch run -p 2 --timeout=40 --adapter=verbs:rxe0 "$@"; }

t_speed() { verbs /tests/ndk_speed.sys; }

# rdma-core's rping and our driver, both ways.
t_rping_client() {
	verbs /tests/rping_server.sys >server &
	n=0
	until grep -q listening server || [ $((n += 1)) = 100 ]; do sleep 0.1; done
	timeout 20 rping -c -a "$me" -C 3 -v >pings
	status=$?
	wait $!
	server=$?
	cat server pings
	[ $status = 0 ] && [ $server = 0 ] && [ "$(grep -c 'ping data' pings)" = 3 ]
}
t_rping_server() {
	timeout 30 rping -s -a "$me" -C 3 -v >pings &
	sleep 0.5
	verbs /tests/rping_client.sys
	status=$?
	cat pings
	[ $status = 0 ] && [ "$(grep -c 'ping data' pings)" = 3 ]
}

passed=0 failed=0
for name; do
	if "t_$name" >"/tmp/$name.log" 2>&1; then
		passed=$((passed + 1))
		echo "PASS $name"
		grep -hE '^[a-z_0-9]*: .* ns$' "/tmp/$name.log"
	else
		echo "FAIL $name: status $?; its output:"
		tail -n 60 "/tmp/$name.log" | sed 's/^/  | /'
		failed=$((failed + 1))
	fi
done
[ $failed = 0 ]
