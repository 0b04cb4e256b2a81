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
t_baseline() { /tests/verbs_baseline rxe0; }

t_ketch() { ketch run -p 2 /tests/hello.sys && ketch run -p 2 /tests/nmi_watch.sys nmi:all; }

passed=0 failed=0
for name; do
	if "t_$name" >"/tmp/$name.log" 2>&1; then
		passed=$((passed + 1))
		echo "PASS $name"
		grep -hE '^[a-z_0-9]*: .* ns$' "/tmp/$name.log"
	else
		echo "FAIL $name: status $?; its output:"
		tail -n 60 "/tmp/$name.log"
		failed=$((failed + 1))
	fi
done
[ $failed = 0 ]
