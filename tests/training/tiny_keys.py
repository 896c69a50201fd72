"""Settings of a run of seconds, on any device."""

TINY = [
    "rec=synthetic:4:4",
    "network=iresnet",
    "network_args={'blocks': [1, 1, 1, 2], 'widths': [16, 16, 16, 16]}",
    "embedding_size=8",
    "dropout=0.0",
    "batch_size=8",
    "num_epoch=2",
    "frequent=1",
    "num_workers=0",
    "val_targets=[]",
]
