#!/usr/bin/env bash
# Functions that are not called here: unsafe text functions everywhere, the
# heap outside core/base/mem.c, and labels other than "done".
. "$(dirname "$0")/lib.sh"

unsafe='strcpy|strcat|stpcpy|sprintf|vsprintf|strtok|gets|atoi|atol|atof|atoll'
unsafe="$unsafe|rand|srand|random|drand48|setlocale|tmpnam|mktemp|alloca"
heap='malloc|calloc|realloc|reallocarray|free|aligned_alloc|posix_memalign'
heap="$heap|memalign|strdup|strndup|asprintf|vasprintf|getline|getdelim"

c_files core $programs examples bench tests |
    xargs -r awk -v unsafe="$unsafe" -v heap="$heap" -f "$here/strip.awk" \
        -f "$here/calls.awk" >>"$found"
finish
