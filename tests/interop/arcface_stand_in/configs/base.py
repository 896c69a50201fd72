"""Stand-in: keys of arcface_torch's configuration that its loop reads."""

from easydict import EasyDict

config = EasyDict(
    margin_list=(1.0, 0.5, 0.0),
    resume=False,
    save_all_states=False,
    embedding_size=512,
    sample_rate=1,
    interclass_filtering_threshold=0,
    fp16=False,
    optimizer="sgd",
    gradient_acc=1,
    dali=False,
    seed=2048,
    num_workers=0,
)
