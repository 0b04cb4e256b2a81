# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# verdict.sh: sourced by the tests that are written in bash: which cases they run, and what they say of each.
passed=0 failed=0
log= # the file that a failure shows, where there is one

# Say how NAME went, in the line that ./x counts. WHY: what is wrong; nothing, or not given: it passed.
verdict() { # NAME [WHY]
	if [ -z "${2:-}" ]; then
		passed=$((passed + 1))
		echo "PASS $1"
	else
		failed=$((failed + 1))
		[ -z "$log" ] || tail -n 200 "$log" | sed 's/^/    /'
		echo "FAIL $1: $2"
	fi
}

# The last line of a test. False: something failed, or nothing was run.
finish() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ] && [ "$passed" != 0 ]
}

# Without the blanks around it.
trim() { local t=$1; t=${t#"${t%%[![:space:]]*}"}; printf '%s' "${t%"${t##*[![:space:]]}"}"; }

# Is NAME one that these shell patterns choose? No pattern chooses all.
wanted() { # NAME [PATTERN ...]
	local name=$1 pattern
	shift
	[ $# = 0 ] && return 0
	for pattern; do
		# shellcheck disable=SC2254
		case $name in $pattern) return 0 ;; esac
	done
	return 1
}

# What is wrong with a run of ketch, in $why. EXPECTED: its exit status (0) and a pattern of a line that it printed.
judge() { # STATUS LOG EXPECTED
	local want text
	read -r want text <<<"$3"
	if [ "$1" != "${want:-0}" ]; then
		why="exit status $1 instead of ${want:-0}"
	elif grep -qw '^FAIL' "$2"; then
		why="it printed FAIL"
	elif [ -n "$text" ] && ! grep -Eq -- "$text" "$2"; then
		why="it did not print '$text'"
	else
		why=
	fi
}
