# Peak memory of a client that trains 6,000 images.
. "$(dirname "$0")/lib.sh"

tributary data split "$images/train-images-idx3-ubyte.gz" --clients 10 --iid \
    -o "$tmp/parts" >/dev/null
job "rounds: 2" "model: {new: mlp:784-200-200-10}" "local_epochs: 2"
sed -i '/held-out/d' "$tmp/job.yaml"
daemon
fleet 1
tributaryd start "$tmp/job.yaml" --cohort-target 1 --cohort-minimum 1 >/dev/null
tributaryd watch >/dev/null
kb=$(awk '/VmHWM/ {print $2}' "/proc/${pid[client-00]}/status")
echo "client: $kb kB"
[ "$kb" -le $((40 * 1024)) ] || fail "a client needs $kb kB, over 40 MB"
