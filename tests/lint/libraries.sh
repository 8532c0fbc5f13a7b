#!/usr/bin/env bash
# A room includes the headers of those libraries only that its own line of
# core/layers.txt names; the programs include none.
. "$(dirname "$0")/lib.sh"

# Sets $library to what a header belongs to, or to nothing.
library_of() {
    case $1 in
    '<sodium.h' | '<sodium/'*) library=sodium ;;
    '<pthread.h' | '<threads.h') library=pthread ;;
    '<cblas'* | '<openblas'* | '<lapack'*) library=openblas ;;
    '<protobuf-c/'* | generated/*) library=protobuf-c ;;
    '<zlib.h') library=zlib ;;
    '<zstd'* | '<zdict.h') library=zstd ;;
    '<zmq'*) library=zmq ;;
    '<czmq'* | '<z'[a-z]*.h) library=czmq ;;
    '<sqlite3'*) library=sqlite3 ;;
    '<yaml.h') library=yaml ;;
    '<jansson'*) library=jansson ;;
    '<microhttpd'*) library=microhttpd ;;
    *) library= ;;
    esac
}

declare -A libraries
while IFS=: read -r room _ names; do
    libraries[${room// /}]=" $names "
done < <(grep '^[a-z]' core/layers.txt)

while read -r file line header; do
    library_of "$header"
    [ -n "$library" ] || continue
    room=${file#core/} room=${room%%/*}
    [[ $file == core/* && ${libraries[$room]-} == *" $library "* ]] ||
        bad "$file:$line" "$header: library \"$library\" is not for here"
done < <(includes core $programs)
finish
