#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# PLT-94 and the headers' own tests: compiles tests/abi with every compiler that uses include/km, and each header alone.
# One PASS or FAIL line a case, then `N passed, N failed`; exit status 0 when none failed.
set -u
cd "$(dirname "$0")/../.." || exit 2
km=include/km
abi=tests/abi
out=$(mktemp -d) || exit 2
trap 'rm -rf "$out"' EXIT
. tests/verdict.sh
log=$out/log

warn='-Wall -Wextra -Werror'
core='-ffreestanding -fshort-wchar -mno-red-zone -Wno-multichar'
msvc='--target=x86_64-pc-windows-msvc -fms-extensions -fms-compatibility-version=19.29 -ffreestanding -Wno-multichar'
mingw='-ffreestanding -mno-red-zone -Wno-multichar'

# name, compiler and options
worlds=(
	"core-gcc-c|gcc -std=gnu17 -Wshadow -Wstrict-prototypes $warn $core"
	"core-gcc-c++|g++ -std=gnu++17 $warn $core"
	"core-clang-c|clang -std=gnu17 -Wshadow -Wstrict-prototypes $warn $core"
	"core-clang-c++|clang++ -std=gnu++17 $warn $core"
	"msvc-clang-c|clang -std=gnu17 -Wstrict-prototypes $warn $msvc"
	"msvc-clang-c++|clang++ -std=c++17 $warn $msvc"
	"mingw-gcc-c|x86_64-w64-mingw32-gcc -std=gnu17 $warn $mingw"
	"mingw-gcc-c++|x86_64-w64-mingw32-g++ -std=gnu++17 $warn $mingw"
)

# case NAME COMMAND...: silent success, the compiler's first lines on failure
case_run() {
	local name=$1
	shift
	if "$@" >"$out/log" 2>&1; then
		verdict "$name"
	else
		verdict "$name" "see above"
	fi
}

language() {
	case $1 in
	*-c++) echo c++ ;;
	*) echo c ;;
	esac
}

# A compiler that is not installed is a failure, not a skip: ./x setup installs all of them.
for world in "${worlds[@]}"; do
	name=${world%%|*}
	read -ra compile <<<"${world#*|}"
	for source in "$abi"/*_asserts*.c; do
		case_run "abi $name $(basename "$source" .c)" \
			"${compile[@]}" -I "$km" -x "$(language "$name")" -fsyntax-only "$source"
	done
done

# The same files against mingw-w64's own headers.
ddk=$(x86_64-w64-mingw32-gcc -print-file-name=include)
for directory in /usr/x86_64-w64-mingw32/include/ddk /usr/share/mingw-w64/include/ddk; do
	[ -d "$directory" ] && ddk=$directory && break
done
for source in "$abi"/*_asserts*.c; do
	case_run "abi mingw-headers $(basename "$source" .c)" \
		x86_64-w64-mingw32-gcc -std=gnu17 -ffreestanding -DWINVER=0x0A00 -D_WIN32_WINNT=0x0A00 -I "$ddk" \
		-fsyntax-only "$source"
done

# Each header alone.
while IFS= read -r header; do
	relative=${header#"$km"/}
	printf '#include <%s>\nint unused_but_not_empty;\n' "$relative" >"$out/alone.c"
	for world in "${worlds[@]}"; do
		name=${world%%|*}
		read -ra compile <<<"${world#*|}"
		case_run "alone $name $relative" \
			"${compile[@]}" -I "$km" -x "$(language "$name")" -fsyntax-only "$out/alone.c"
	done
done < <(find "$km" -name '*.h' | sort)

# Drivers as they are written, in C and C++: compiled without a warning, in checked and free builds.
samples=(
	"nmi.c|clang -std=gnu17 $warn $msvc"
	"nmi.c|clang++ -std=c++17 $warn $msvc"
	"nmi.c|x86_64-w64-mingw32-gcc -std=gnu17 $warn $mingw"
	"ioctl.c|clang -std=gnu17 $warn $msvc"
	"ioctl.c|clang++ -std=c++17 $warn $msvc"
	"watch.cpp|clang++ -std=c++17 -fno-exceptions $warn $msvc"
	"watch.cpp|x86_64-w64-mingw32-g++ -std=gnu++17 -fno-exceptions -fno-rtti $warn $mingw"
)
for sample in "${samples[@]}"; do
	source=${sample%%|*}
	read -ra compile <<<"${sample#*|}"
	language=c
	[[ ${compile[0]} == *++ ]] && language=c++
	for build in DBG=0 DBG=1; do
		case_run "sample $source ${compile[0]} $build" "${compile[@]}" -D "$build" -O2 -I "$km" -I "$km/crt" \
			-x "$language" -c "$abi/samples/$source" -o "$out/$source.${compile[0]}.o"
	done
done

# Exported variables link with import libraries of both kinds, and no symbol but an import is left.
link_sample() {
	local object="$out/ioctl.c.clang.o" kind
	for kind in DATA CONSTANT; do
		{
			printf 'LIBRARY ntoskrnl.exe\nEXPORTS\nIoDriverObjectType CONSTANT\n'
			llvm-nm -u "$object" | awk '{print $2}' | sed 's/^__imp_//' | sort -u |
				grep -v '^IoDriverObjectType$' |
				sed -E "s/^(PsThreadType|Mm(Highest|System|UserProbe)Address|KdDebugger.*|PsInitial.*)\$/& $kind/"
		} >"$out/nt.def"
		llvm-dlltool -m i386:x86-64 -d "$out/nt.def" -l "$out/nt.lib" &&
			lld-link /driver /subsystem:native /entry:DriverEntry /nodefaultlib /machine:x64 \
				"/out:$out/ioctl.sys" "$object" "$out/nt.lib" &&
			llvm-readobj --coff-imports "$out/ioctl.sys" | grep -q 'Symbol: PsThreadType' || return 1
	done
}
case_run 'link exported variables' link_sample

# A wrong layout must be noticed: the assertions fail when a member is moved.
mkdir "$out/broken"
cp -r "$km/." "$out/broken"
sed -i 's/^\tKIRQL CancelIrql;$/\tKIRQL CancelIrql, Moved;/' "$out/broken/wdm/io_types.h"
read -ra compile <<<"${worlds[0]#*|}"
broken() {
	"${compile[@]}" -I "$out/broken" -fsyntax-only "$abi/layout_asserts.c" 2>&1 |
		grep 'static assertion failed.*CancelRoutine' && ! cmp "$km/wdm/io_types.h" "$out/broken/wdm/io_types.h"
}
case_run "abi a moved member is noticed" broken

finish
