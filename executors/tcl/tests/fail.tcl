set x 1

proc f {} { nope }
f
