BEGIN {
  print "hello", ENVIRON["name"]
  print ENVIRON["x"] * 2 + 2 > (ENVIRON["OUT"] "/y")
}
