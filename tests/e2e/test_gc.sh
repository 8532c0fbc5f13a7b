# gc is asked for again and again while runs go on and models are published from
# outside: nothing that is on its way in goes, every answer that a version is
# registered stays true, and check finds nothing. So after a kill -9 in between.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 12" "model: {new: mlp:784-16-10}" "publish: best"
keep=(--keep-updates --keep-checkpoints 1 --keep-versions 2 --keep-spool 1)
daemon "${keep[@]}"
fleet 3
tributary model new mlp:784-12-10 -o "$tmp/outside.onnx" --seed 1 >/dev/null

# collects: as fast as it goes; the daemon may be away.
collects() {
    while [ ! -e "$tmp/enough" ]; do
        tributaryd gc >>"$tmp/gc.out" 2>&1 || sleep 0.05
    done
}
publishes() {
    while [ ! -e "$tmp/enough" ]; do
        tributaryd publish "$tmp/outside.onnx" --name outside \
            >>"$tmp/publish.out" 2>&1 || sleep 0.05
    done
}
# comes_up: the daemon, which is started again when gc held its folder just then.
comes_up() {
    if ! kill -0 "${pid[daemon]-none}" 2>/dev/null; then
        tributaryd run "${keep[@]}" >>"$tmp/daemon.log" 2>&1 &
        pid[daemon]=$!
    fi
    running
}
said() {
    [ "$(grep -c "$1" "$2")" -ge "$3" ]
}

collects &
pid[collects]=$!
publishes &
pid[publishes]=$!
for ((i = 0; i < 3; i++)); do
    tributaryd start "$tmp/job.yaml" --seed "$i" >/dev/null
    if [ "$i" = 1 ]; then
        until_ok 60 eval 'tributaryd status --json | grep -q "\"round\": [3-9]"'
        kill_hard daemon
        until_ok 60 comes_up
    fi
    tributaryd watch small >/dev/null
done
until_ok 60 said "freed" "$tmp/gc.out" 5
until_ok 60 said "published outside, version" "$tmp/publish.out" 3
touch "$tmp/enough"
wait "${pid[collects]}" "${pid[publishes]}"
unset 'pid[collects]' 'pid[publishes]'

tributaryd gc >/dev/null
for name in small outside; do
    tributary pull "$name" --home "$tmp/client-00.home" >/dev/null
done
tributaryd replay >/dev/null
end_well daemon
tributaryd check >"$tmp/out" || fail "$(cat "$tmp/out")"
