"""Runs every test here with the interpreter that runs this: `python tests/run.py`."""

import sys
import unittest
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(here))
    found = unittest.defaultTestLoader.discover(str(here), top_level_dir=str(here))
    sys.exit(not unittest.TextTestRunner().run(found).wasSuccessful())
