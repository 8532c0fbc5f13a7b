# A model in two files, published, and pulled at a limited bandwidth: the client
# is killed in the middle and goes on where it was, then the coordinator is. The
# files are the published ones to the last bit, and answer alike.
. "$(dirname "$0")/lib.sh"

tributary model new mlp:784-1200-10 -o "$tmp/big.onnx" --external-data >/dev/null
raw=$(stat -c %s "$tmp/big.onnx.data") # 3.8 MB, of which little can be packed
daemon
join a
home=$tmp/a.home

expect_code 4 tributaryd publish "$tmp/none.onnx" --name big
tributaryd publish "$tmp/big.onnx" --name big >"$tmp/out"
expect_text "published big, version 1: 2 files"

# pull NAME: in the background, slowly.
pull() {
    tributary pull big --home "$home" --bandwidth 1MB/s >"$tmp/$1.log" 2>&1 &
    pid[$1]=$!
}
part() {
    find "$home/models/big" -name '*.part' -size "+${1}k" | grep -q .
}
sent() {
    tributaryd status --json | json_field bytes_out
}

pull first
until_ok 20 part 1000
kill_hard first
before=$(sent)
part=$(find "$home/models/big" -name '*.part' -printf '%s\n')
[ ! -e "$home/models/big/fp32.onnx" ] || fail "half a model is in its place"

pull second
until_ok 20 part $((part / 1000 + 600))
again=$(($(sent) - before))
kill_hard daemon
daemon
wait "${pid[second]}" || fail "the pull ended with $?: $(cat "$tmp/second.log")"
unset "pid[second]"
again=$((again + $(sent)))
echo "$raw bytes; $part kept by the killed client; sent again: $again"
[ "$again" -lt $((raw - part + 1300000)) ] || fail "it began anew"
cmp "$tmp/big.onnx" "$home/models/big/fp32.onnx"
cmp "$tmp/big.onnx.data" "$home/models/big/big.onnx.data"
! part 0 || fail "a part is left"

# Both answer, and alike; a byte of the tensor file that changed is found.
python3 - "$tmp/x.npy" <<'PY'
import struct
import sys
head = "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 784), }"
head += " " * (117 - len(head)) + "\n"
with open(sys.argv[1], "wb") as f:
    f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
    for i in range(5 * 784):
        f.write(struct.pack("<f", (i * 37 % 101) / 101))
PY
predict() {
    tributary predict "$1" "$tmp/x.npy" --unlabelled --home "$home" --json
}
predict "$tmp/big.onnx" >"$tmp/there"
predict big >"$tmp/here"
cmp "$tmp/there" "$tmp/here"
printf 'x' | dd of="$home/models/big/big.onnx.data" bs=1 seek=100000 \
    conv=notrunc status=none
expect_code 3 predict big
expect_text "pull it again"
tributary pull big --home "$home" -o "$tmp/copy.onnx" >/dev/null
predict "$tmp/copy.onnx" >"$tmp/here"
cmp "$tmp/there" "$tmp/here"

# At the coordinator: listed, exported, sound, and not collected.
tributaryd models big | grep -q '^fp32 ' || fail "not listed"
mkdir "$tmp/export"
tributaryd export big "$tmp/export/m.onnx" >/dev/null
cmp "$tmp/big.onnx.data" "$tmp/export/big.onnx.data"
tributaryd gc >/dev/null 2>&1 || true
tributaryd check >"$tmp/out" || fail "check: $(cat "$tmp/out")"
tributaryd publish "$tmp/big.onnx" --name big >"$tmp/out"
expect_text "version 2"
