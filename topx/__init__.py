"""The core: ratings in, records, matrices, lists and evidence out. No cloud, clock or environment."""
