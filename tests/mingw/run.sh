#!/bin/bash
# SPDX-License-Identifier: MIT
# Drivers built by mingw-w64 with its own headers and import libraries. KETCH names the program (build/ketch).
set -u
here=$(dirname "$(readlink -f "$0")")
ketch=${KETCH:-$here/../../build/ketch}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/../verdict.sh"
log=$work/log

theirs="-I/usr/x86_64-w64-mingw32/include/ddk -I/usr/share/mingw-w64/include/ddk"
headers=$theirs
libraries=

# run NAME SOURCE OPTIONS-OF-RUN...
run() {
	local name=$1 source=$2
	shift 2
	# shellcheck disable=SC2086 # several words
	if ! x86_64-w64-mingw32-gcc $headers -DWINVER=0x0A00 -D_WIN32_WINNT=0x0A00 -O2 -ffreestanding -mno-red-zone "$source" -o "$work/$name.sys" -nostdlib -shared \
		-Wl,--subsystem,native -Wl,--entry,DriverEntry -Wl,--dynamicbase -Wl,--nxcompat -lntoskrnl -lhal -lnetio $libraries -lgcc \
		>"$work/log" 2>&1; then
		verdict "mingw-$name" "it does not compile"
		return
	fi
	"$ketch" run --timeout=20 "$work/$name.sys" "$@" >"$work/log" 2>&1
	judge $? "$work/log" 0
	verdict "mingw-$name" "$why"
}

run inline "$here/inline.c" nmi:allx2
run hello "$here/../../examples/hello.c"
run nmi_watch "$here/../../examples/nmi_watch.c" -p 4 nmi:allx2
run percpu "$here/../../examples/percpu.c" -p 2 addx6 nmi:all
headers="$theirs -I$here/../drivers"
run prc_existing "$here/../drivers/prc_existing.c" -p 4 addx2
headers="$theirs -I$here/../drivers -DEXPECT=aSbSoSpSaCbCoCpCnA"
run prc_order "$here/../drivers/prc_order.c" add ioctl:Order,0x222000
# Its libntoskrnl lacks the bound functions (PLT-10, BND-5): an import library of our own, whose second import descriptor for
# ntoskrnl.exe the loader must accept.
printf 'LIBRARY ntoskrnl.exe\nEXPORTS\nKeRegisterBoundCallback\nKeDeregisterBoundCallback\n' >"$work/bound.def"
x86_64-w64-mingw32-dlltool -d "$work/bound.def" -l "$work/libbound.a"
clang --target=i386-linux-gnu -nostdlib -static -fuse-ld=lld -ffreestanding -fno-pic -fno-stack-protector -O2 \
	-o "$work/bounds32" "$here/../../examples/bounds32.c"
headers=$theirs libraries="-L$work -lbound"
run bound "$here/bound.c" "user:$work/bounds32,40"
libraries=
# mingw-w64 has no ndkpi.h and no wsk.h: its compiler and import libraries with the headers of this tree.
headers="-I$here/../../include/km -Wno-multichar"
run ndk_consumer "$here/../drivers/ndk_consumer.c" -p 4
finish
