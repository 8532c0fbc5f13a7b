# A recurrent network over tokens (int64) in a federation: trained, registered,
# pulled, and asked here and at the coordinator, with equal answers.
. "$(dirname "$0")/lib.sh"

# array FILE DESCR SHAPE: NPY of the int64 numbers on standard input.
array() {
    perl -e '
        my ($descr, $shape) = @ARGV;
        my $head = "{'"'descr': '"'$descr'"', 'fortran_order': False, 'shape': "'$shape, }";
        $head .= " " x (-(length($head) + 11) % 64) . "\n";
        print "\x93NUMPY\x01\x00", pack("v", length $head), $head;
        print pack("q<*", split) while <STDIN>;
    ' "$2" "$3" >"$1"
}

# tokens FOLDER SEED: 120 rows of 7 tokens; the label is the last one.
tokens() {
    mkdir -p "$1"
    perl -e '
        my $s = shift;
        for (1 .. 840) {
            $s = ($s * 1103515245 + 12345) % 2147483648;
            print int($s / 65536) % 12, "\n";
        }' "$2" >"$tmp/numbers"
    array "$1/x.npy" "<i8" "(120, 7)" <"$tmp/numbers"
    awk 'NR % 7 == 0' "$tmp/numbers" | array "$1/y.npy" "<i8" "(120,)"
}

for i in 0 1; do
    tokens "$tmp/parts/client-0$i" $((i + 1))
done
tokens "$tmp/held-out" 9
cat >"$tmp/job.yaml" <<YAML
name: words
model: {file: $top/tests/golden/models/char_lstm.onnx}
data: {set: pictures, reader: npy}
optimiser: {kind: adam, lr: 0.03}
clip: {norm: 5}
batch: 20
local_epochs: 5
rounds: 6
cohort: {target: 2, minimum: 2}
seed: 1
evaluate: held-out
after: {serve: true}
YAML
daemon --keep-updates
fleet 2
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >"$tmp/rounds"
same "simulator" "$(network_hash)" "$(sim_hash 2)"
same "replay" "$(network_hash)" "$(tributaryd replay --json | json_field hash)"
tail -n 1 "$tmp/rounds" >&2
tributaryd models words | grep -q 'fp32' || fail "not registered"

cd "$tmp"
tributary pull words --home client-00.home >/dev/null
tributary predict words held-out --home client-00.home >here
tributary predict words held-out --home client-00.home --remote >there
[ "$(wc -l <here)" -ge 120 ] || fail "too few answers: $(wc -l <here)"
cmp <(head -n 120 here) <(head -n 120 there) || fail "other answers at the coordinator"

# A token that the table has not: one clear refusal, and nothing is written.
printf '%s\n' 1 2 3 4 5 6 12 | array bad.npy "<i8" "(1, 7)"
expect_code 3 tributary predict words bad.npy --unlabelled \
    --home client-00.home
expect_text "12"
