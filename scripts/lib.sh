# scripts/lib.sh - shell shared by the scripts here. Source it first: it sets
# strict mode, defines $top (the source tree) and goes there.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"

# say TEXT...: one line of progress on standard error.
say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# die TEXT...: the same, then exit 1.
die() {
    say "$@"
    exit 1
}

# as_root COMMAND...: runs it as root, through sudo when we are not.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root or sudo to run: $*"
    fi
}

# build PRESET [TARGET...]: configures and builds build/PRESET, all of it or
# these targets; its output is shown only when it fails, and kept in
# build/PRESET/build.log. Returns 1 on failure.
build() {
    local preset=$1 dir=build/$1
    shift
    mkdir -p "$dir"
    if ! { cmake --preset "$preset" &&
        cmake --build "$dir" -j "$(nproc)" ${1+--target "$@"}; } \
        >"$dir/build.log" 2>&1; then
        grep -E 'error|warning|FAILED|CMake Error' "$dir/build.log" |
            head -n 40 >&2 || true
        say "$preset: the build failed: $dir/build.log"
        return 1
    fi
}
