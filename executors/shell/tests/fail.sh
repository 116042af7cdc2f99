true
nope_command || exit 1
