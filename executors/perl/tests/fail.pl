use strict;
die "no good";
