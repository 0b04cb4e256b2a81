#!/bin/bash
# SPDX-License-Identifier: MIT
# Every function that surveyed drivers import is in the table (DEF-129..314), and `ketch ddi` knows it and nothing else.
# KETCH names the program (build/ketch).
set -u
here=$(dirname "$(readlink -f "$0")")
ketch=${KETCH:-$here/../../build/ketch}
. "$here/../verdict.sh"

table=$("$ketch" ddi) || { verdict ketch-ddi "it exits with $?"; finish; exit 1; }
while read -r number name import; do
	case $number in '' | '#'*) continue ;; esac
	grep -q "^${import:-$name} " <<<"$table" && why= || why="not in the table"
	verdict "$number $name" "$why"
done <"$here/surveyed.txt"

"$ketch" ddi KeRegisterNmiCallback | grep -q '<= APC .*IrqlKeApcLte2' && why= || why=$("$ketch" ddi KeRegisterNmiCallback)
verdict "VER-5 KeRegisterNmiCallback at APC_LEVEL" "$why"
"$ketch" ddi NoSuchFunction >/dev/null 2>&1
[ $? = 2 ] && why= || why="a name that is not in the table must exit with 2"
verdict ketch-ddi-unknown "$why"
finish
