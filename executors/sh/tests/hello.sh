set -eu
echo "hello $name"
echo $((x * 2 + 2)) > "$OUT/y"
