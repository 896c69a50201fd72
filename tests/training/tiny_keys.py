"""Settings of a run of seconds, on any device; and of the network, where it is a new one."""

NETWORK = [
    "network=iresnet",
    "network_args={'blocks': [1, 1, 1, 2], 'widths': [16, 16, 16, 16]}",
    "embedding_size=8",
]
TINY = [
    "rec=synthetic:4:4",
    "batch_size=8",
    "num_epoch=2",
    "frequent=1",
    "num_workers=0",
    "val_targets=[]",
]
