# A whole job: train, compress, register, pull and predict; and the same model
# again from a second run, the simulator and a replay.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 3" "model: {new: mlp:784-16-10}" \
    "after: {quantise: {kind: int8}, guard: {max_drop: 0.2}, serve: true," \
    "        softmax: true}"
daemon --keep-updates
fleet 3
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >"$tmp/rounds"
[ "$(grep -c '^round' "$tmp/rounds")" = 3 ] || fail "not a line a round"
first=$(network_hash)

same "simulator, 1 worker" "$first" "$(sim_hash 1)"
same "simulator, 2 workers" "$first" "$(sim_hash 2)"
same "replay" "$first" "$(tributaryd replay --json | json_field hash)"

tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >/dev/null
same "second run" "$first" "$(network_hash)"
same "version" 2 "$(tributary pull small --home "$tmp/client-00.home" --json |
    json_field version)"

# Local and remote answers, by a client that runs and by one that does not.
end_well client-01
for name in client-00 client-01; do
    home=$tmp/$name.home
    tributary pull small --home "$home" >/dev/null
    for where in "" --remote; do
        # shellcheck disable=SC2086
        tributary predict small "$tmp/held-out" --count 100 --json \
            --home "$home" $where >"$tmp/answers$where"
    done
    cmp "$tmp/answers" "$tmp/answers--remote" ||
        fail "$name: local and remote answers differ"
    [ "$(grep -c '"row"' "$tmp/answers")" = 100 ] || fail "not 100 answers"
done

# What the registry gives out is what the manifest names.
tributaryd export small "$tmp/int8.onnx" >/dev/null
same "export" "$(tributary model inspect "$tmp/int8.onnx" --json |
    json_field hash)" "$(tributary pull small --home "$tmp/client-00.home" \
    --json | json_field hash)"

# The reading verbs do without the daemon.
end_well daemon
for verb in status clients models replay; do
    tributaryd "$verb" --json >/dev/null || fail "$verb needs the daemon"
done
tributaryd models small | grep -q int8 || fail "no int8 stage is listed"
tributary status --home "$tmp/client-00.home" --json >"$tmp/status"
grep -q '"updates_accepted": 6' "$tmp/status" ||
    fail "status: $(cat "$tmp/status")"
