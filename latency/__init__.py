"""Measures and predicts latencies: devices, timing, latency tables, predictors, kits and exported files."""
