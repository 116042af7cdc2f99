//! Benchmarks of the parts of the host; see `benches/`. What a user meets is measured by `bench.py`.
