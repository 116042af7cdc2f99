set -euo pipefail
words=(hello "$name")
echo "${words[@]}"
echo $((x * 2 + 2)) > "$OUT/y"
