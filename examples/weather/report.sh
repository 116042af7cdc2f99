# Scalars arrive as variables; maps arrive as JSON.
{
  printf 'Daily highs in Seattle: mean %.1f °C\n' "$mean"
  printf '%s\n' "$quantiles" | tr -d '{}"' | tr ',' '\n' | while IFS=: read -r name value; do
    printf '  %-4s %6.1f °C\n' "$name" "$value"
  done
  printf 'Rain a year:\n'
  printf '%s\n' "$rain" | tr -d '{}"' | tr ',' '\n' | while IFS=: read -r year value; do
    printf '  %-4s %6.1f mm\n' "$year" "$value"
  done
} > "$OUT/text"
cat "$OUT/text"
