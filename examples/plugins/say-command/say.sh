# Say: a language of a few words, to show how an executor is made of a program that knows nothing of polyloom. One statement a line:
#
#     say TEXT           prints it
#     show PORT          prints the input PORT
#     put PORT TEXT      is the output PORT
#     copy PORT OUTPUT   gives an input on, whatever its type
#     wait SECONDS       waits
#     fail TEXT          fails
#     # TEXT             says nothing
#
# An input is $PORT, an output is a file of the folder $OUT, and FILE:LINE: MESSAGE on standard error points at a line.
code=$1
number=0

fail() {
  echo "$code:$number: $1" >&2
  exit 1
}

# The name of a port can be nothing else.
port() {
  case $1 in '' | *[!a-z0-9_]*) fail "expected the name of a port, found \`$1\`" ;; esac
}

while IFS= read -r line || [ -n "$line" ]; do
  number=$((number + 1))
  word=${line%% *}
  rest=${line#"$word"}
  rest=${rest# }
  case $word in
    '' | '#'*) ;;
    say) printf '%s\n' "$rest" ;;
    show)
      port "$rest"
      eval "printf '%s\n' \"\$$rest\""
      ;;
    put)
      name=${rest%% *}
      text=${rest#"$name"}
      printf '%s' "${text# }" > "$OUT/$name"
      ;;
    copy)
      from=${rest%% *}
      port "$from"
      # A value lies in /cell/in as MessagePack, all else as the file or folder it is.
      for file in "$IN/$from.msgpack" "$IN/$from".* "$IN/$from"; do
        [ -e "$file" ] && break
      done
      extension=${file#"$IN/$from"}
      cp -r "$file" "$OUT/${rest##* }$extension" || fail "can't copy \`$from\`"
      ;;
    wait) sleep "$rest" ;;
    fail) fail "$rest" ;;
    *) fail "expected say, show, put, copy, wait, fail or #, found \`$word\`" ;;
  esac
done < "$code"
