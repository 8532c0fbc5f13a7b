# Running statistics in a federation: the network, the simulator with any number
# of workers and a replay come to the same model; kept by each client, they
# never leave it.
. "$(dirname "$0")/lib.sh"

make_parts 3
model=$top/tests/golden/train/batchnorm.onnx
rules=("rounds: 3" "model: {file: $model, init: fresh}"
    "optimiser: {kind: adam}" "schedule: {kind: cosine, warmup: 1}"
    "clip: {norm: 5}" "micro_batch: 20" "label_smoothing: 0.05")
job "${rules[@]}"
daemon --keep-updates
fleet 3
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >"$tmp/rounds"
[ "$(grep -c '^round' "$tmp/rounds")" = 3 ] || fail "not a line a round"
average=$(network_hash)
same "simulator, 1 worker" "$average" "$(sim_hash 1)"
same "simulator, 2 workers" "$average" "$(sim_hash 2)"
same "replay" "$average" "$(tributaryd replay --json | json_field hash)"

# What clients tell of a model depends on the statistics that they keep.
rules=("rounds: 4" "model: {file: $model}" "local_epochs: 2"
    "optimiser: {kind: adam, lr: 0.02}")
for how in average local; do
    job "${rules[@]}" "bn: $how"
    sed -i 's/^evaluate: .*/evaluate: clients/' "$tmp/job.yaml"
    tributaryd start "$tmp/job.yaml" >/dev/null
    tributaryd watch >/dev/null
    printf '%.4f\n' "$(tributaryd watch --json |
        sed -n 's/.*"accuracy": *\(0[.0-9]*\).*/\1/p' | tail -n 1)" \
        >"$tmp/told-$how"
    grep -q '^0\.[3-9]' "$tmp/told-$how" || fail "$how: $(cat "$tmp/told-$how")"
    for workers in 1 2; do
        tributary-sim run "$tmp/job.yaml" --clients-data "$tmp/parts" \
            --workers "$workers" >"$tmp/simulated"
        same "$how, simulator, $workers workers" "$(network_hash)" \
            "$(sed -n 's/^model //p' "$tmp/simulated")"
        grep -q "^fp32.*accuracy $(cat "$tmp/told-$how")" "$tmp/simulated" ||
            fail "$how: $(cat "$tmp/told-$how") $(tail -n 2 "$tmp/simulated")"
    done
    same "$how, replay" "$(network_hash)" \
        "$(tributaryd replay --json | json_field hash)"
done
! cmp -s "$tmp/told-average" "$tmp/told-local" || fail "bn: local is average"

# At a shell too: the checkpoint of a step in the middle has the statistics.
cd "$tmp"
flags=(--data "$images/t10k-images-idx3-ubyte.gz" --scale 1/255 --batch 64
    --epochs 2 --optimiser adam --lr 0.02 --micro-batch 24)
tributary model train "$model" "${flags[@]}" -o whole.onnx --checkpoint c.npz \
    --checkpoint-every 200 >/dev/null
tributary model train "$model" "${flags[@]}" -o part.onnx --checkpoint c.npz \
    --resume >/dev/null
cmp whole.onnx part.onnx || fail "resumed to other bits"
tributary model eval whole.onnx --data "$images/t10k-images-idx3-ubyte.gz" >told
grep -q '^loss  *0\.' told || fail "statistics stayed: $(cat told)"
