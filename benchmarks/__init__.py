"""Speed, memory and accuracy of the operations beside the roofs of the machine and beside peers.

Not installed: run it from a checkout, with the extra `train` (tqdm, matplotlib): `python -m benchmarks ops --help`.
"""
