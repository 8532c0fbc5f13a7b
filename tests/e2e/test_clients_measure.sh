# Evaluation and calibration by the clients; a client that cannot take part
# says why, and one that starts again counts on and leaves nothing lying.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 3" "model: {new: mlp:784-32-10}" "publish: best" \
    "after: {quantise: {kind: int8}}"
sed -i 's/held-out/clients/' "$tmp/job.yaml"
daemon --keep-updates
fleet 3

tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >"$tmp/rounds"
same "rounds with accuracy" 3 "$(grep -c '^round.*accuracy 0\.' "$tmp/rounds")"
grep -q 'is registered' "$tmp/rounds" || fail "$(cat "$tmp/rounds")"
tributaryd models small | grep -q int8 || fail "no int8 stage is listed"
same "replay" "$(network_hash)" \
    "$(tributaryd replay --json | json_field hash)"
same "simulation" "$(network_hash)" "$(sim_hash 2)"

# status KEY: of client-00.
status() {
    tributary status --home "$tmp/client-00.home" --json | json_field "$1"
}

# 3 rounds trained, 3 measured, 1 calibrated.
same "updates" 7 "$(status updates_accepted)"
same "jobs" 1 "$(status jobs)"
sent=$(status bytes_sent)

# Started again it counts on; what a crash left behind is gone.
end_well client-00
touch "$tmp/client-00.home/sealed/left-over" \
    "$tmp/client-00.home/sealed/left-over.tmp"
client client-00
until_ok 10 sh -c "[ -z \"\$(ls '$tmp/client-00.home/sealed')\" ]"
until_ok 10 sh -c \
    "tributary status --home '$tmp/client-00.home' | grep -q waiting"
same "updates" 7 "$(status updates_accepted)"
[ "$(status bytes_sent)" -ge "$sent" ] || fail "bytes sent fell"

# A client that cannot keep the model declines, says so, and lives on.
rm -r "$tmp/client-00.home/blobs"
touch "$tmp/client-00.home/blobs"
tributaryd start "$tmp/job.yaml" --cohort-minimum 2 --rounds 1 \
    --evaluate none --calibrate none --publish last \
    --after-quantise-kind none >/dev/null
tributaryd watch >"$tmp/rounds"
grep -q 'in 2/3' "$tmp/rounds" || fail "$(cat "$tmp/rounds")"
tributary status --home "$tmp/client-00.home" >"$tmp/status"
grep -q 'last refusal.*declined' "$tmp/status" || fail "$(cat "$tmp/status")"
same "alive" true "$(status running)"

# Training here that diverges leaves the file as it was.
printf 'a,b,y\n1,2,0.5\n2,3,0.7\n3,4,0.9\n' >"$tmp/values.csv"
tributary model new mlp:2-4-1 -o "$tmp/values.onnx" >/dev/null
cp "$tmp/values.onnx" "$tmp/before.onnx"
expect_code 7 tributary model train "$tmp/values.onnx" --data "$tmp/values.csv" \
    --values --loss mse --lr 1000 --epochs 200
expect_text "diverged"
cmp "$tmp/values.onnx" "$tmp/before.onnx"
