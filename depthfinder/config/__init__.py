"""What can be asked for: one record for each group of settings, each setting declared once.

The command line, `args.yaml`, recipes and Python all read these records: the flags with their help come from them
(`depthfinder/cli/flags.py`), and whatever a value came from, the same check is made of it.
"""
