# Sums the second column (precipitation in mm) by the year of the first.
BEGIN { FS = "," }
FNR > 1 { rain[substr($1, 1, 4)] += $2 }
END {
  out = ENVIRON["OUT"] "/by_year.json"
  printf "{" > out
  comma = ""
  for (year = 2012; year <= 2015; year++) {
    printf "%s\"%d\": %.1f", comma, year, rain[year] > out
    comma = ", "
  }
  print "}" > out
}
