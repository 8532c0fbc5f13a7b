#!/usr/bin/env bash
# install SOURCE BUILD: installs into an empty folder, and builds an outside
# project against it by find_package and by pkg-config, in C and in C++.
set -euo pipefail
source=$1 build=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() {
    echo "install: $*" >&2
    exit 1
}

cmake --install "$build" --prefix "$folder/usr" >"$folder/log" ||
    fail "cmake --install"
for file in bin/tributary bin/tributaryd bin/tributary-sim \
    include/tributary.h; do
    [ -f "$folder/usr/$file" ] || fail "no $file"
done
if command -v scdoc >/dev/null; then
    for program in tributary tributaryd tributary-sim; do
        [ -s "$folder/usr/share/man/man1/$program.1" ] || fail "no man page"
    done
fi
"$folder/usr/bin/tributary" --version >/dev/null
cache=$build/CMakeCache.txt
if grep -q '^CMAKE_BUILD_TYPE:.*=Release$' "$cache" &&
    grep -q '^CMAKE_C_COMPILER:.*gcc$' "$cache"; then
    strip "$folder/usr/bin/tributary"
    bytes=$(stat -c %s "$folder/usr/bin/tributary")
    [ "$bytes" -le 1500000 ] || fail "tributary has $bytes bytes"
fi
cp -r "$source/tests/install/outside" "$folder/outside"
cp "$source/examples/train.c" "$folder/outside"
cd "$folder/outside"

cmake -S . -B build -DCMAKE_PREFIX_PATH="$folder/usr" \
    -DCMAKE_C_COMPILER="${CC:-cc}" >>"$folder/log" 2>&1 &&
    cmake --build build >>"$folder/log" 2>&1 ||
    { cat "$folder/log"; fail "find_package"; }
build/train | grep -q '^step 2000: loss 0\.0' || fail "find_package: train"
build/plus | grep -qx '0.1.0: 9 parameters' || fail "find_package: C++"

lib=$(dirname "$(find "$folder/usr" -name libtributary.so)")
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
[ "$(pkg-config --modversion tributary)" = 0.1.0 ] || fail "pkg-config version"
read -ra flags < <(pkg-config --cflags --libs tributary)
"${CC:-cc}" train.c "${flags[@]}" -lm -o train || fail "pkg-config: C"
./train | grep -q '^step 2000: loss 0\.0' || fail "pkg-config: train"
g++ -Wall -Wextra -Wpedantic -Werror plus.cpp "${flags[@]}" -o plus ||
    fail "pkg-config: C++"
./plus | grep -qx '0.1.0: 9 parameters' || fail "pkg-config: C++"
