BEGIN { print "a" }

BEGIN { print ) }
