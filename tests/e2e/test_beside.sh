# Federated training of a model whose tensors lie in a file beside it: it comes
# to the same bits over the network, in the simulator and in a replay, before
# and after a kill, is published as two files, and starts another run. But for
# the note of its second file the rounds are those of the same model in one.
. "$(dirname "$0")/lib.sh"

make_parts 2
tributary model new mlp:784-40-10 -o "$tmp/two.onnx" --external-data >/dev/null
tributary model new mlp:784-40-10 -o "$tmp/one.onnx" >/dev/null
[ -e "$tmp/two.onnx.data" ] || fail "the model is one file"
small() {
    job "rounds: 3" "cohort: {target: 2, minimum: 2}" "$@"
    sed -i '/^cohort:$/,/minimum: 3/d' "$tmp/job.yaml"
}
small "model: {file: two.onnx}"
daemon --keep-updates
fleet 2

# What cannot become two files is said at once.
expect_code 3 tributaryd start "$tmp/job.yaml" --after-quantise-kind int8
expect_text "tensor data in a file beside it"

tributaryd start "$tmp/job.yaml" >/dev/null
until_ok 20 tributaryd check
kill_hard daemon
daemon --keep-updates
tributaryd watch >/dev/null
two=$(network_hash)
losses() {
    tributaryd watch --json | sed -n 's/.*"loss": *\([0-9.]*\).*/\1/p'
}
losses >"$tmp/losses.two"
[ -s "$tmp/losses.two" ] || fail "no losses"
same "simulator" "$two" "$(sim_hash 2)"
same "replay" "$two" "$(tributaryd replay --json | json_field hash)"
tributaryd models small >"$tmp/out"
home=$tmp/client-00.home
tributary pull small --home "$home" -o "$tmp/pulled/two.onnx" \
    >/dev/null 2>&1 && fail "a folder was made"
mkdir "$tmp/pulled"
tributary pull small --home "$home" -o "$tmp/pulled/m.onnx" >/dev/null
[ -e "$tmp/pulled/two.onnx.data" ] || fail "$(ls "$tmp/pulled")"
tributary predict "$tmp/pulled/m.onnx" "$tmp/held-out" --count 50 --json \
    >"$tmp/answers.two"

# The same model in one file: other bytes by the note alone.
small "model: {file: one.onnx}" "calibrate: none"
sed -i '/^calibrate: held-out/d' "$tmp/job.yaml"
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >/dev/null
losses >"$tmp/losses.one"
cmp "$tmp/losses.one" "$tmp/losses.two"
tributary pull small --home "$home" -o "$tmp/pulled/one.onnx" >/dev/null
tributary predict "$tmp/pulled/one.onnx" "$tmp/held-out" --count 50 --json \
    >"$tmp/answers.one"
cmp "$tmp/answers.one" "$tmp/answers.two"

# A version of two files starts a run, and stays one of two files.
small "model: {version: small@1}"
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >/dev/null
tributary pull small --home "$home" -o "$tmp/pulled/n.onnx" >"$tmp/out"
expect_text "version 3"
! cmp -s "$home/models/small/two.onnx.data" "$tmp/pulled/m.onnx" ||
    fail "nothing was trained"
tributary model inspect "$tmp/pulled/n.onnx" >/dev/null
tributaryd gc >/dev/null
tributaryd check >"$tmp/out" || fail "check: $(cat "$tmp/out")"
tributary pull small --home "$home" >/dev/null
