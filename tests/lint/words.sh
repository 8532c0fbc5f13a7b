#!/usr/bin/env bash
# The tree speaks of the project alone: no path, tool or ticket number that
# means something only where it was written, and no registry's host.
# (Each pattern holds a [.] so that this file does not find itself.)
. "$(dirname "$0")/lib.sh"

words='(^|[^A-Za-z0-9._-])/wor[k]/|far[m]-(bench|studio)|/\.librar[y]/'
words="$words|[Ii]ssue[ ]#?[0-9]|share[d]/(design|notes|house-style)"
words="$words|[Cc]laud[e]|[Aa]nthropi[c]|this[ ]session|LL[M]s?([^A-Za-z]|\$)"
words="$words|pypi[.]org|crates[.]io|registry[.]npmjs|proxy[.]golang"
words="$words|deb[.]debian\.org"

if [ -e .git ]; then
    git ls-files -z --cached --others --exclude-standard
else
    find . -type f -not -path './build/*' -print0 | sed -z 's,^\./,,'
fi | xargs -0 -r grep -nIHE -- "$words" >>"$found" || true
finish
