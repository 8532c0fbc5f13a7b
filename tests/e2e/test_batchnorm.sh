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

job "${rules[@]}" "bn: local"
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >/dev/null
own=$(network_hash)
[ "$own" != "$average" ] || fail "bn: local is bn: average"
same "local, simulator" "$own" "$(sim_hash 2)"
same "local, replay" "$own" "$(tributaryd replay --json | json_field hash)"

# At a shell too: the checkpoint of a step in the middle has the statistics.
cd "$tmp"
flags=(--data "$images/t10k-images-idx3-ubyte.gz" --scale 1/255 --batch 64
    --epochs 2 --optimiser rmsprop --lr 0.001 --micro-batch 24)
tributary model train "$model" "${flags[@]}" -o whole.onnx --checkpoint c.npz \
    --checkpoint-every 200 >/dev/null
tributary model train "$model" "${flags[@]}" -o part.onnx --checkpoint c.npz \
    --resume >/dev/null
cmp whole.onnx part.onnx || fail "resumed to other bits"
