# A folder that an older version wrote and kill -9 left in the middle of a round
# (tests/golden/folder): this version opens it, its clients come back, and the
# run ends in the bits that were promised when the folder was made.
. "$(dirname "$0")/lib.sh"

# take_up ARCHIVE: the folder is whole, its daemon has the update that it had
# accepted, and its clients come back. It was made on another machine: its port
# may be taken here.
take_up() {
    local name endpoint
    tar -C "$tmp" -xzf "$top/tests/golden/folder/$1.tar.gz"
    tributaryd check "$TRIBUTARY_DIR"
    rm "$TRIBUTARY_DIR/endpoints"
    daemon --keep-updates
    [ "$(tributaryd status --json | json_field accepted)" = 1 ] ||
        fail "the accepted update is gone: $(tributaryd status)"
    endpoint=$(tributaryd status --json | json_field endpoint)
    for name in client-00 client-01; do
        sed -i "s|^endpoint: .*|endpoint: $endpoint|" \
            "$tmp/$name.home/federation"
        client "$name"
    done
}

make_parts 2
take_up folder
[ "$(tributaryd models --json | json_field sequence)" = 1 ] ||
    fail "the version is gone"
tributaryd watch >/dev/null

# The same kind of CPU and the same arithmetic give the same bits.
if [ "$(sim_hash 1)" = "$(cat "$tmp/model.hash")" ]; then
    same "an old folder" "$(cat "$tmp/model.hash")" "$(network_hash)"
fi
same "replayed" "$(network_hash)" "$(tributaryd replay --json | json_field hash)"
tributaryd replay "$(tributaryd models --json | json_field run)" >/dev/null
tributaryd check "$TRIBUTARY_DIR" >/dev/null
tributary pull small --home "$tmp/client-00.home" >/dev/null

# The same of an asynchronous run (async.tar.gz), whose buffer was half full; who
# comes first is chance there, and replay says what the bits must be.
for name in "${!pid[@]}"; do
    kill_hard "$name"
done
rm -r "$TRIBUTARY_DIR" "$tmp"/*.home
take_up async
tributaryd watch >/dev/null
same "an old asynchronous folder, replayed" "$(network_hash)" \
    "$(tributaryd replay --json | json_field hash)"
[ "$(tributaryd replay --json | json_field updates)" = 12 ] ||
    fail "not 6 buffers of 2: $(tributaryd replay --json)"
tributaryd check "$TRIBUTARY_DIR" >/dev/null
