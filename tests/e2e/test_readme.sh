# The walk-through of the README, typed line by line.
. "$(dirname "$0")/lib.sh"

cd "$tmp"
sed -n '/^## By hand/,/^## What/{/^```sh/,/^```/{/^```/d;p}}' \
    "$top/README.md" >walk.sh
[ "$(wc -l <walk.sh)" -gt 30 ] || fail "the README has no walk-through"

# A process group of its own, so that all it started can be ended.
src=$top setsid bash -e walk.sh >walk.log 2>&1 &
walk=$!
code=0
wait "$walk" || code=$?
kill -- "-$walk" 2>/dev/null || true
gone() { ! kill -0 -- "-$walk"; }
until_ok 20 gone
[ "$code" = 0 ] || fail "the walk-through ended with $code"
