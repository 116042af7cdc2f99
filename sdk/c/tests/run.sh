#!/bin/sh
# Compiles and runs the tests of the C and C++ header under sanitizers. Needs a compiler and Python without packages.
#   run.sh            with gcc/g++, and clang/clang++ where they are installed
#   run.sh accept     takes what the tests print as what is expected
#   ROUNDS=5000 run.sh    damages each input more often
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ASAN_OPTIONS=allocator_may_return_null=1:exitcode=99 UBSAN_OPTIONS=halt_on_error=1:exitcode=99
warn="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror"
plain="-g -O1 -I$here/.."
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all"

compare() { # expected actual
  if [ "${accept:-}" ]; then cp "$2" "$1"; else diff -u "$1" "$2"; fi
}

one() { # cc cxx c-standard c++-standard
  echo "== $1 $3, $2 $4"
  # A compiler may be there without its sanitizers' libraries.
  echo 'int main(void) { return 0; }' > "$work/empty.c"
  # shellcheck disable=SC2086
  if $1 $sanitize "$work/empty.c" -o "$work/empty" 2> /dev/null; then
    check="$plain $sanitize"
  else
    check=$plain
    echo "$1 has no sanitizers here"
  fi
  rm -rf "$work/in" "$work/out" "$work/damaged"
  mkdir "$work/in" "$work/out" "$work/damaged"
  python3 "$here/inputs.py" "$work/in"
  cp "$here"/fixtures/*.arrow "$work/in"
  for program in read write errors fuzz vectors seeds; do
    # shellcheck disable=SC2086
    $1 -std="$3" $warn $check "$here/$program.c" -o "$work/$program"
    # The same file as C++: the header must be clean in both.
    # shellcheck disable=SC2086
    $2 -std="$4" -x c++ $warn -fsyntax-only -I"$here/.." "$here/$program.c"
  done
  # shellcheck disable=SC2086
  $2 -std="$4" $warn $check "$here/cpp.cpp" -o "$work/cpp"

  export IN="$work/in" OUT="$work/out"
  "$work/read" int negative float single null yes name text raw list three map matrix vector scalar flags none page tree \
    everything numbers empty > "$work/read.txt"
  compare "$here/read.expected" "$work/read.txt"

  mkdir "$work/golden"
  # The names are words.
  # shellcheck disable=SC2046
  IN="$work/golden" OUT="$work/out" "$work/vectors" $(python3 "$here/vectors.py" write "$work/golden") > /dev/null
  python3 "$here/vectors.py" compare "$work/out"
  rm -r "$work/out" "$work/golden" && mkdir "$work/out"
  python3 "$here/seeds.py" "$work/seeds"

  "$work/write"
  python3 "$here/outputs.py" "$work/out" c
  cp "$work/out/days.arrow" "$work/out/bare.arrow" "$work/in"
  "$work/read" days bare > "$work/written.txt"
  compare "$here/written.expected" "$work/written.txt"
  rm -r "$work/out" && mkdir "$work/out"
  "$work/cpp"
  python3 "$here/outputs.py" "$work/out" cpp

  sed -n 's/^# //p' "$here/errors.expected" | while read -r case; do
    status=0
    "$work/errors" "$case" > /dev/null 2> "$work/stderr" || status=$?
    printf '# %s\n%s %s\n' "$case" "$status" "$(sed "s|$work|WORK|g" "$work/stderr" | sed 's/has [0-9]* free/has N free/' | head -c 600)"
  done > "$work/errors.txt"
  compare "$here/errors.expected" "$work/errors.txt"

  # The header for executors: the example, and a host that is one program. The library is the same language as the host, then the other.
  say="$here/../../../examples/plugins/say-c/say.c"
  # shellcheck disable=SC2086
  $1 -std="$3" $warn $check "$here/plugin.c" -o "$work/plugin" -ldl
  # shellcheck disable=SC2086
  $2 -std="$4" -x c++ $warn $check "$here/plugin.c" -o "$work/plugin++" -ldl
  # shellcheck disable=SC2086
  $1 -std="$3" $warn $check -shared -fPIC "$say" -o "$work/say.so"
  # shellcheck disable=SC2086
  $2 -std="$4" -x c++ $warn $check -shared -fPIC "$say" -o "$work/say++.so"
  # What the golden conversations are replayed with: executors/native/tests/golden.rs.
  # shellcheck disable=SC2086
  $1 -std="$3" $warn $check -shared -fPIC "$here/golden.c" -o "$work/golden.so"
  # shellcheck disable=SC2086
  $2 -std="$4" -x c++ $warn -fsyntax-only -I"$here/.." "$here/golden.c"
  for pair in plugin:say plugin++:say++ plugin:say++; do
    "$work/${pair%:*}" "$work/${pair#*:}.so" "$work" > "$work/plugin.txt"
    compare "$here/plugin.expected" "$work/plugin.txt"
    "$work/${pair%:*}" "$work/${pair#*:}.so" "$work" "${ROUNDS:-150}" > /dev/null
  done

  for file in "$here"/fixtures/*.arrow "$work/in/matrix.npy" "$work/in/flags.npy" "$work/in/map.msgpack" "$work/in/days.arrow"; do
    IN="$work/damaged" "$work/fuzz" "$file" "${ROUNDS:-150}"
  done
}

accept=${1:-}
one gcc g++ c99 c++11
accept=
one gcc g++ gnu17 c++20
if command -v clang > /dev/null && command -v clang++ > /dev/null; then one clang clang++ c99 c++11; fi
echo "all good"
