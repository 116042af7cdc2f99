use strict;
use warnings;

print "hello $ENV{name}\n";
open(my $y, '>', "$ENV{OUT}/y") or die "cannot write y: $!";
print $y $ENV{x} * 2 + 2;
close($y) or die "cannot write y: $!";
