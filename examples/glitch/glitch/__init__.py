"""Typed functions that make pictures and break them.

Each public one is a cell type: `uses = "python:./glitch/sort.py:pixel_sort"`. A picture is an array
of bytes, `(height, width, 3)`; a mask an array of numbers from 0 to 1, `(height, width)`. No
function changes what it is given, and the same arguments give the same bytes with every numpy.
"""
