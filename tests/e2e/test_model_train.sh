# Training at a shell: killed and resumed to the same bits, layers frozen, other
# optimisers and losses, and what is said when flags do not fit.
. "$(dirname "$0")/lib.sh"

cd "$tmp"
awk 'BEGIN {
    srand(3); print "a,b,c,d,label"
    for (i = 0; i < 3000; i++) {
        a = rand(); b = rand(); c = rand(); d = rand()
        printf "%f,%f,%f,%f,%d\n", a, b, c, d, (a > b) + (c > d)
    }
}' >rows.csv
tributary model new mlp:4-24-3 -o start.onnx >/dev/null
hash() { sha256sum "$1" | cut -c1-64; }
flags=(--data rows.csv --batch 16 --micro-batch 5 --optimiser adam --lr 0.01
    --schedule cosine --warmup-steps 40 --clip-norm 1 --label-smoothing 0.1
    --epochs 120 --seed 7)

# Once without a break, twice by way of kill -9 at a step that nobody chose.
tributary model train start.onnx "${flags[@]}" -o whole.onnx >whole.log
grep -q '^epoch 120: loss 0\.[0-9]*, accuracy 0\.[89]' whole.log ||
    fail "not learnt: $(cat whole.log)"
grep -q 'samples/s' whole.log || fail "no speed: $(cat whole.log)"
[ ! -e whole.onnx.checkpoint.npz ] || fail "the checkpoint stayed"
for round in 1 2; do
    resume=()
    [ "$round" = 1 ] || resume=(--resume)
    rm -f mark
    tributary model train start.onnx "${flags[@]}" "${resume[@]}" -o part.onnx \
        --checkpoint part.npz --checkpoint-every 37 >part.log 2>&1 &
    pid[train]=$!
    changed() { [ part.npz -nt mark ]; }
    touch -d '1 hour ago' mark
    [ "$round" = 1 ] || touch mark
    until_ok 20 changed
    kill -9 "${pid[train]}" 2>/dev/null || true
    wait "${pid[train]}" 2>/dev/null || true
    [ ! -e part.onnx ] || fail "it had ended before it was killed"
done
tributary model train start.onnx "${flags[@]}" -o part.onnx \
    --checkpoint part.npz --resume >part.log
[ "$(hash part.onnx)" = "$(hash whole.onnx)" ] ||
    fail "resumed to other bits: $(cat part.log)"
grep -q '^epoch 120' part.log || fail "no last epoch: $(cat part.log)"
last() { grep '^epoch 120' "$1" | sed 's/, [0-9]* samples.*//'; }
[ "$(last part.log)" = "$(last whole.log)" ] || fail "another loss was told"

# Ctrl-C leaves a checkpoint, and says how to go on.
tributary model train start.onnx "${flags[@]}" --epochs 100000 \
    --schedule constant -o long.onnx >long.log 2>&1 &
pid[train]=$!
begun() { grep -q '^epoch 2' long.log; }
until_ok 20 begun
kill -INT "${pid[train]}"
code=0
wait "${pid[train]}" || code=$?
[ "$code" != 0 ] || fail "a stopped training said it was well"
grep -qF -- '--resume goes on from long.onnx.checkpoint.npz' long.log ||
    fail "no word of --resume: $(tail -n 2 long.log)"
[ -s long.onnx.checkpoint.npz ] || fail "no checkpoint after Ctrl-C"
[ ! -e long.onnx ] || fail "half a training was written as its output"

# What does not fit is said.
expect_code 4 tributary model train start.onnx "${flags[@]}" -o none.onnx \
    --resume
expect_text 'no checkpoint is there to resume from'
expect_code 3 tributary model train start.onnx "${flags[@]}" --lr 0.02 \
    -o part.onnx --checkpoint part.npz --resume
expect_text '"lr: 0.01" then, "lr: 0.02" now'
expect_code 2 tributary model train start.onnx --data rows.csv \
    --optimiser adamm -o none.onnx
expect_text 'sgd, adam, adamw, rmsprop or adagrad'
expect_code 2 tributary model train start.onnx --data rows.csv \
    --momentum 0.9 --optimizer adam -o none.onnx
expect_text 'adam: has no momentum'
expect_code 2 tributary model train start.onnx --data rows.csv \
    --class-weights 1,2 -o none.onnx
expect_text '2 class weights for 3 classes'
expect_code 2 tributary model train start.onnx --data rows.csv --loss l3
expect_text 'bce_with_logits'
[ ! -e none.onnx ] || fail "a refused training wrote"
expect_code 2 tributary model train start.onnx --data none.csv \
    --optimiser adamm -o none.onnx # the flags are looked at before the data
expect_code 4 tributary model train none.onnx --data rows.csv
expect_text 'none.onnx'
expect_code 4 tributary model train start.onnx --data none.csv \
    -o nowhere/none.onnx # before an hour of training
expect_text 'nowhere/none.onnx: its folder: No such file'
expect_code 4 tributary model new mlp:4-2 -o nowhere/none.onnx
expect_text 'nowhere/none.onnx: No such file'

# A model keeps the names of its classes: later commands read by them, or by
# numbers.
awk -F, -v OFS=, 'NR > 1 { $5 = substr("nonesomeboth", 4 * $5 + 1, 4) } 1' \
    rows.csv >names.csv
expect_code 3 tributary model train start.onnx --data names.csv -o none.onnx
expect_text 'list the classes by name (--classes)'
tributary model train start.onnx --data names.csv --classes none \
    --classes some --classes both --epochs 3 -o named.onnx >/dev/null
for data in names.csv rows.csv; do
    tributary model train named.onnx --data "$data" -o named.onnx >/dev/null
    tributary model eval named.onnx --data "$data" --metrics f1 >told
    grep -q '^both  *0\.' told || fail "no name of a class: $(cat told)"
    tributary predict named.onnx "$data" --count 9 >told
    [ "$(grep -cE ' (none|some|both) .* (none|some|both)$' told)" = 9 ] ||
        fail "answers without names: $(cat told)"
    tributary model quantize named.onnx --data "$data" -o none.onnx >/dev/null
    rm none.onnx
done

# What diverges ends at once, and leaves no file.
tributary model new mlp:4-24-1 -o value.onnx >/dev/null
expect_code 7 timeout 60 tributary model train value.onnx --data rows.csv \
    --values --lr 100 --epochs 1000000 -o none.onnx
expect_text 'training diverged'
[ ! -e none.onnx ] || fail "a training that diverged wrote"

# An exporter's default is one row; each command opens it.
LC_ALL=C sed 's/\x12\x01N/\x08\x81\x00/g' start.onnx >one_row.onnx
tributary model inspect one_row.onnx >told
grep -q '^input .* \[N, 4\]' told || fail "not opened: $(cat told)"
tributary predict one_row.onnx rows.csv --count 40 >told
tail -n 1 told | grep -q '^ *39 ' || fail "not 40 answers: $(cat told)"
tributary model quantize one_row.onnx --data rows.csv -o bytes.onnx >/dev/null
tributary model train one_row.onnx --data rows.csv -o opened.onnx >/dev/null
tributary model train start.onnx --data rows.csv -o trained.onnx >/dev/null
[ "$(hash opened.onnx)" = "$(hash trained.onnx)" ] ||
    fail "one row is trained otherwise than many"

# Frozen layers do not move, all others do.
tributary model train start.onnx --data rows.csv --freeze 'fc1.*' \
    --optimiser rmsprop -o frozen.onnx >/dev/null
tributary model inspect frozen.onnx >/dev/null
expect_code 4 tributary model train start.onnx --data rows.csv \
    --freeze 'conv*' -o none.onnx
expect_text 'no initialiser "conv*"'

# Metrics, for people and for programs.
expect_code 0 tributary model eval whole.onnx --data rows.csv --metrics all \
    --top-k 2
for word in accuracy top_2 precision recall f1 auc perplexity 'truth down'; do
    expect_text "$word"
done
tributary model eval whole.onnx --data rows.csv --json \
    --metrics f1,confusion >told.json
[ "$(grep -c '"f1"' told.json)" = 4 ] || fail "not f1 of all and of 3 classes"
grep -q '"confusion"' told.json || fail "no confusion matrix"
expect_code 2 tributary model eval whole.onnx --data rows.csv --metrics acuracy
expect_text 'did you mean "accuracy"'
expect_code 2 tributary model eval whole.onnx --data rows.csv --metrics r2
expect_text 'no meaning for classes'

# Values, and zeros and ones, have losses of their own.
tributary model new mlp:4-8-1 -o one.onnx >/dev/null
for loss in mse l1 huber; do
    tributary model train one.onnx --data rows.csv --values --loss "$loss" \
        --optimiser adam --lr 0.01 --epochs 5 -o "$loss.onnx" >/dev/null
    tributary model eval "$loss.onnx" --data rows.csv --values >told
    grep -q '^r2  *0\.[5-9]' told || fail "$loss: $(cat told)"
done
awk -F, 'NR == 1 { print; next } { print $1","$2","$3","$4","($1 > $2) }' \
    OFS=, rows.csv >bits.csv
tributary model train one.onnx --data bits.csv --loss bce_with_logits \
    --pos-weight 1.5 --optimiser adam --lr 0.02 --epochs 5 -o bits.onnx >told
tributary model eval bits.onnx --data bits.csv --loss bce_with_logits \
    --metrics accuracy,auc >told
grep -q '^accuracy  *0\.9' told || fail "bce: $(cat told)"
