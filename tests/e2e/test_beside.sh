# Federated training of a model whose tensors lie in a file beside it: it comes
# to the same bits over the network, in the simulator and in a replay, before
# and after a kill, is published as two files, served, and starts another run. But
# for the note of its second file the rounds are those of the same model in one,
# and what it is pruned and quantised to is the same file.
. "$(dirname "$0")/lib.sh"

make_parts 2
tributary model new mlp:784-40-10 -o "$tmp/two.onnx" --external-data >/dev/null
tributary model new mlp:784-40-10 -o "$tmp/one.onnx" >/dev/null
[ -e "$tmp/two.onnx.data" ] || fail "the model is one file"
small() {
    job "rounds: 3" "cohort: {target: 2, minimum: 2}" "$@"
    sed -i '/^cohort:$/,/minimum: 3/d' "$tmp/job.yaml"
}
small "model: {file: two.onnx}" "after: {serve: true}"
daemon --keep-updates
fleet 2

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

# answers NAME: 50 rows, by the client and by the coordinator: the same.
answers() {
    local where
    for where in "" --remote; do
        # shellcheck disable=SC2086
        tributary predict "$1" "$tmp/held-out" --count 50 --json \
            --home "$home" $where >"$tmp/answers$where"
    done
    [ "$(grep -c '"row"' "$tmp/answers")" = 50 ] || fail "not 50 answers"
    cmp "$tmp/answers" "$tmp/answers--remote"
}
answers small

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
mkdir "$tmp/again"
tributary pull small --home "$home" -o "$tmp/again/n.onnx" >"$tmp/out"
expect_text "version 3"
! cmp -s "$tmp/again/two.onnx.data" "$tmp/pulled/two.onnx.data" ||
    fail "nothing was trained"
tributary model inspect "$tmp/again/n.onnx" >/dev/null
tributaryd gc >/dev/null
tributaryd check >"$tmp/out" || fail "check: $(cat "$tmp/out")"
tributary pull small --home "$home" >/dev/null

# Pruned and quantised: to the very file that the same model in one comes to, which
# is pulled alone, and answers here and there. The fp32 form has its second file.
stage() {
    tributaryd models "$1" --json | tr -d ' \n' | tr '{' '\n' |
        sed -n "s/.*\"stage\":\"$2\".*\"hash\":\"\([0-9a-f]*\)\".*/\1/p"
}
for n in one two; do
    small "model: {file: $n.onnx}"
    tributaryd start "$tmp/job.yaml" --rounds 1 --name "packed-$n" \
        --after-prune-kind unstructured --after-prune-amount 0.5 \
        --after-quantise-kind int8 --after-guard-max-drop 1 \
        --after-serve >/dev/null
    tributaryd watch >/dev/null
    tributary pull "packed-$n" --home "$home" -o "$tmp/pulled/$n.int8.onnx" \
        >"$tmp/out"
    [ "$(ls "$home/models/packed-$n")" = "$(printf 'int8.onnx\nmanifest')" ] ||
        fail "pulled: $(ls "$home/models/packed-$n")"
    answers "packed-$n"
done
for form in pruned int8; do
    same "$form" "$(stage packed-one $form)" "$(stage packed-two $form)"
done
cmp "$tmp/pulled/one.int8.onnx" "$tmp/pulled/two.int8.onnx"
mkdir "$tmp/exported"
tributaryd export packed-two "$tmp/exported/m.onnx" >/dev/null
[ "$(ls "$tmp/exported")" = m.onnx ] || fail "exported: $(ls "$tmp/exported")"
tributaryd export packed-two "$tmp/exported/f.onnx" --stage fp32 >/dev/null
[ -e "$tmp/exported/two.onnx.data" ] || fail "no data beside the fp32 form"
tributary model inspect "$tmp/exported/f.onnx" >/dev/null
tributaryd gc >/dev/null
tributaryd check >"$tmp/out" || fail "check: $(cat "$tmp/out")"

# Files of a version that are gone, before and after a restart; one that was
# altered; and a version with nothing to train. Each is said with what to do.
cp -r "$TRIBUTARY_DIR/blobs" "$tmp/blobs"
refuses_start() {
    expect_code 4 tributaryd start "$tmp/job.yaml"
    expect_text "version packed-two@1 cannot be read (\`tributaryd check\` says"
    expect_code 4 tributary pull packed-two --artefact fp32 \
        --home "$tmp/client-01.home"
    expect_text "of a version, \`tributaryd check\` says what is lost"
}
small "model: {version: packed-two@1}"
find "$TRIBUTARY_DIR/blobs" -type f -size +20k -delete
refuses_start
kill_hard daemon
daemon --keep-updates
refuses_start
expect_code 1 tributaryd check
expect_text "packed-two version 1, fp32"
cp -r "$tmp/blobs" "$TRIBUTARY_DIR/"
find "$TRIBUTARY_DIR/blobs" -type f -size +20k -exec truncate -s -9 {} +
expect_code 3 tributaryd start "$tmp/job.yaml"
expect_text "version packed-two@1 cannot be read (\`tributaryd check\` says"
cp -r "$tmp/blobs" "$TRIBUTARY_DIR/"
tributaryd check >"$tmp/out" || fail "check: $(cat "$tmp/out")"
tributaryd publish "$tmp/pulled/two.int8.onnx" --name quantised >/dev/null
small "model: {version: quantised}"
expect_code 3 tributaryd start "$tmp/job.yaml"
expect_text "nothing in the model can be trained"

# For judges from outside (tests/interop/beside.py).
tributary predict "$tmp/exported/f.onnx" "$tmp/held-out" --count 50 --json \
    >"$tmp/answers.fp32"
tributary predict "$tmp/exported/m.onnx" "$tmp/held-out" --count 50 --json \
    >"$tmp/answers.int8"
[ -z "${JUDGED-}" ] ||
    cp -r "$tmp/pulled" "$tmp/exported" "$tmp/held-out" "$tmp"/answers.* "$JUDGED"
