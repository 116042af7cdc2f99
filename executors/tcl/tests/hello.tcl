puts "hello $env(name)"
set y [open $env(OUT)/y w]
puts $y [expr {$env(x) * 2 + 2}]
close $y
