#!/bin/sh
# Builds the launcher for both architectures into prebuilt/. Only for people who change launcher.c: users get the binaries.
#
# Needs musl-gcc (Debian: musl-tools) and, for arm64, aarch64-linux-gnu-gcc (gcc-aarch64-linux-gnu) and an unpacked
# musl for arm64, in MUSL_ARM64:
#   apt-get download musl:arm64 musl-dev:arm64   (after dpkg --add-architecture arm64 && apt-get update)
#   for deb in musl*_arm64.deb; do dpkg-deb -x "$deb" /tmp/musl-arm64; done
#   MUSL_ARM64=/tmp/musl-arm64 ./build.sh
set -eu
cd "$(dirname "$0")"
mkdir -p prebuilt

sha256=$(sha256sum launcher.c | cut -d ' ' -f 1)
flags="-std=gnu17 -Os -static -no-pie -fno-pie -s -Wall -Wextra -Werror -ffunction-sections -fdata-sections -Wl,--gc-sections,--build-id=none,-z,noseparate-code"
define="-DSOURCE_SHA256=\"$sha256\""

# shellcheck disable=SC2086 # the flags are words
musl-gcc $flags "$define" launcher.c -o prebuilt/launcher-linux-x64

root=${MUSL_ARM64:?set it to an unpacked musl-dev:arm64, see the head of this file; x64 is built}
include=$root/usr/include/aarch64-linux-musl
library=$root/usr/lib/aarch64-linux-musl
libgcc=$(aarch64-linux-gnu-gcc -print-libgcc-file-name)
# shellcheck disable=SC2086
aarch64-linux-gnu-gcc $flags "$define" -mno-outline-atomics -nostdinc -isystem "$include" \
  -isystem "$(aarch64-linux-gnu-gcc -print-file-name=include)" -nostdlib \
  "$library/crt1.o" "$library/crti.o" launcher.c "$library/libc.a" "$libgcc" "$library/crtn.o" \
  -Wl,-z,norelro -o prebuilt/launcher-linux-arm64 # or 64 KB pages would double its size
