#!/bin/bash
# SPDX-License-Identifier: MIT
# Every function that surveyed drivers import is in the table (DEF-129..314), and `ketch ddi` knows it and nothing else.
# KETCH names the program (build/ketch).
set -u
here=$(dirname "$(readlink -f "$0")")
ketch=${KETCH:-$here/../../build/ketch}
passed=0 failed=0

result() {
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
		echo "PASS $1"
	else
		failed=$((failed + 1))
		echo "FAIL $1: $3"
	fi
}

table=$("$ketch" ddi) || { echo "FAIL ketch-ddi: it exits with $?"; echo "0 passed, 1 failed"; exit 1; }
while read -r number name import; do
	case $number in '' | '#'*) continue ;; esac
	grep -q "^${import:-$name} " <<<"$table"
	result "$number $name" $? "not in the table"
done <"$here/surveyed.txt"

"$ketch" ddi KeRegisterNmiCallback | grep -q '<= APC .*IrqlKeApcLte2'
result "VER-5 KeRegisterNmiCallback at APC_LEVEL" $? "$("$ketch" ddi KeRegisterNmiCallback)"
"$ketch" ddi NoSuchFunction >/dev/null 2>&1
[ $? = 2 ]
result "ketch-ddi-unknown" $? "a name that is not in the table must exit with 2"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
