"""Parts of `benchmarks/predictor.py` and of `benchmarks/whole_networks.py`."""
