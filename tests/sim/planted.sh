# planted.sh [LAST]: shows that the random schedules find bugs. Each patch of
# planted/ is put into a copy of the tree, sim.chaos is built there and runs the
# seeds 1 to LAST (20,000); printed is the first that fails, and what it says.
# Exits 1 when a bug is not found, or when the tree without one fails.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
last=${1-20000}
tree=$top/build/planted
mkdir -p "$tree"
rm -rf "${tree:?}"/{core,tests,proto,cmake}
for part in "$top"/*; do
    [ "$part" = "$top/build" ] || cp -r "$part" "$tree/"
done
cd "$tree"
[ -e build/gcc/build.ninja ] || cmake --preset gcc >/dev/null

# chaos: builds and runs; its output goes to the file found.
chaos() {
    local code=0
    cmake --build build/gcc --target sim.chaos >build.log 2>&1 || {
        tail -n 20 build.log
        return 2
    }
    (timeout 900 build/gcc/tests/sim.chaos 1 "$last" || exit $?) \
        >found 2>&1 || code=$?
    [ "$code" -ne 0 ]
}

missed=0
if chaos; then
    echo "the tree without a planted bug fails:"
    tail -n 5 found
    exit 1
fi
echo "| planted | first seed | what is seen |"
echo "| --- | --- | --- |"
for patch in "$top"/tests/sim/planted/*.patch; do
    name=$(basename "$patch" .patch)
    patch -s -p1 <"$patch"
    code=0
    chaos || code=$?
    patch -s -R -p1 <"$patch"
    seed=$(sed -n 's/.*seed \([0-9]*\) fails.*/\1/p' found | head -n 1)
    seen=$(sed -n '/^seed/d; /Aborted/d; /^\[[^E]*\]/d
        s/.*\[  ERROR   \] --- *//; /./p' found | head -n 1)
    if [ "$code" -ne 0 ] || [ -z "$seed" ]; then
        missed=$((missed + 1))
        seed=none
    fi
    echo "| ${name#*-}: $(head -n 1 "$patch") | $seed | ${seen:-abort} |"
done
[ "$missed" -eq 0 ] || {
    echo "$missed not found"
    exit 1
}
