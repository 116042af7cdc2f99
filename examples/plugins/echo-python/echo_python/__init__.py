"""The language `echo`."""
