#!/usr/bin/env bash
# A room includes the headers of those libraries only that its own line of
# core/layers.txt names; the programs include none.
. "$(dirname "$0")/lib.sh"

library_of() {
    case $1 in
    sodium.h | sodium/*) echo sodium ;;
    pthread.h | threads.h) echo pthread ;;
    cblas.h | cblas-* | openblas* | lapack*) echo openblas ;;
    protobuf-c/* | generated/*) echo protobuf-c ;;
    zlib.h) echo zlib ;;
    zstd* | zdict.h) echo zstd ;;
    zmq*) echo zmq ;;
    czmq* | z[a-z]*.h) echo czmq ;;
    sqlite3*) echo sqlite3 ;;
    yaml.h) echo yaml ;;
    jansson*) echo jansson ;;
    esac
}

for file in $(c_files core $programs); do
    allowed=' '
    case $file in
    core/*)
        room=${file#core/}
        allowed=" $(row "${room%%/*}" 3) "
        ;;
    esac
    while read -r line header; do
        library=$(library_of "$header")
        [ -z "$library" ] || [[ $allowed == *" $library "* ]] ||
            bad "$file:$line" "<$header>: library \"$library\" is not for here"
    done < <(
        angled "$file"
        quoted "$file" | grep ' generated/' || true
    )
done
finish
