"""Every key of a configuration, its default, and one line of meaning. A config states only what differs.

What a run would not read is refused: `docs/training.md`.
"""

from easydict import EasyDict

config = EasyDict()
config.like = (
    ""  # name of the config in this folder that this one starts from; empty: this file; --set like=NAME works
)

# Data
config.rec = ""  # training set: a .rec, a .json index of shards, a folder of identities, or synthetic:IDS:PER_ID[:SEED]
config.corrupt = (
    "raise"  # an image that does not decode: "raise" stops the run, "skip" takes the next and counts
)
config.native_crops = False  # images of any size and shape, stretched to squares; False: aligned faces alone
config.val_targets = []  # verification sets: paths of .bin files, or names of .bin files beside `rec`
config.val_pairs = []  # resolution pairs verified, e.g. ["112-14", "14-14"]; empty: the input size, and each branch
config.num_workers = 2  # loader processes per rank; 0 decodes in the training process
config.interpolation = (
    "bilinear"  # bilinear, bicubic, area, bilinear_aa or bicubic_aa: how low-resolution views are made
)
config.flip = True  # mirror each image with probability 1/2 in each epoch
config.teacher_cache = ""  # folder that keeps the trunk's features of each image for later epochs and runs
config.size_band = (
    0.0  # branches: share of the faces seen at any size in (r/2, r] and enlarged to r, as in serving
)
config.degradation = (
    0.0  # branches: share of the faces with a surveillance camera's gamma, blur, noise and JPEG
)
config.alignment_jitter = (
    0.0  # branches: error of the landmarks their input is aligned by, as a share of the face's side
)
config.shared_jitter = (
    0.0  # errors of the landmarks that trunk and branches see alike, as a share of the face's side
)
config.multi_resolution = ""  # trunk only: "v1", "v2" or "v3" shrinks and enlarges images at random (phi_mr)

# Model
config.network = "r50"  # r18 r34 r50 r100 r200 mbf mbf_large, or iresnet / mobilefacenet with network_args
config.network_args = EasyDict()  # further arguments of the network: blocks, widths, scale, canonical_size
config.embedding_size = 512  # length of the embedding
config.dropout = 0.0  # probability before the last layer (IResNet)
config.input_size = (
    0  # px the network takes; 0: its canonical size. Below it: phi_mm, trained natively for one size
)
config.trunk = ""  # model.pt (or a run folder) of the pretrained trunk; to start from, or to add branches to
config.branches = []  # resolutions to train branches for, e.g. [14]; empty: the trunk itself is trained
config.gradient_checkpointing = False  # recompute activations in the backward pass: less memory, more time

# Objective: what a network starts from, what it shares with the trunk, what it learns from (Table 4, line by line)
config.inherit = True  # branches start from the trunk's values; False: from fresh ones
config.tail_from = ""  # unit where the shared tail starts; empty: behind the coupling layer; "none": no tail
config.inner_size = 0  # branches: px that they enlarge their faces to before the first convolution; 0: none
config.learnt = "paper"  # what of the tail learns: "paper" every BatchNorm, "authors" what their code trains
config.classifier = ""  # centres at the start: a file, "prototype" or "new"; empty: the trunk's, or new ones
config.freeze_classifier = True  # branches: the old classifier stays (BCT); a trunk's always learns
config.sample_rate = 1.0  # share of the class centres used per step (partial FC), learnt classifier only
# NormFace SphereFace CosFace ArcFace ArcFaceStraightThrough (arcface_torch's gradient) CurricularFace AdaFace
config.loss = "CurricularFace"
config.scale = 64.0  # s, of every loss
config.margin = None  # m; None: that of the loss's own paper
config.interclass_filtering_threshold = (
    0.0  # cosine beyond which the centre of another class counts as 0, for sets with label noise; 0: none
)
config.influence_weight = 1.0  # weight of eq. 1
config.distillation_weight = 0.5  # weight of eq. 2 in eq. 3
config.embedding_loss_weight = 0.0  # weight of the authors' extra loss: MSE of un-normalised embeddings
config.embedding_cosine_weight = 0.0  # weight of 1 - cosine between the branch's and the trunk's embedding
config.feature_cosine_weight = 0.0  # of 1 - cosine between the feature maps that eq. 2 compares
config.further_terms = EasyDict()  # {name: weight} of losses added with btnet.loss.register_term
# The last three also serve a trunk that goes on learning from its frozen self, which sees the 112 px faces (F-SKD)

# Optimiser
config.lr = 0.2  # peak learning rate, for the whole batch over all ranks
config.momentum = 0.9
config.weight_decay = 5e-4
config.clip = 5.0  # largest gradient norm of the network; 0: no limit
config.batch_size = 128  # images per rank and step; at least 2, for BatchNorm
config.num_epoch = 25  # passes over the training set
config.warmup_epoch = 2  # epochs of linear warm-up, num_epoch at most; then the rate falls quadratically to 0
config.schedule = (
    "quadratic"  # after the warm-up: "quadratic", or "arcface_torch" (linear, step by step as there)
)
config.precision = (
    "auto"  # fp32, bf16, fp16; auto: bf16 where a GPU has it, else fp16 on a GPU and fp32 on a CPU
)
config.channels_last = True  # memory layout of the convolutions
config.compile = False  # torch.compile what trains: pays off on long runs
config.seed = 2048  # of the order, the flips, the sizes and the initialisation

# Run
config.role = ""  # name of the model in tables: phi_hr, phi_mr, phi_bt ...; empty: NAME
config.output = ""  # folder of the results; empty: runs/NAME
config.device = ""  # cpu or cuda; empty: cuda where there is one
config.frequent = 20  # steps between log lines
config.verbose = 2000  # steps between verifications; the last step is always verified
config.save_every = 2000  # steps between checkpoints
config.keep_checkpoints = 2  # older ones are removed
config.overwrite = False  # begin anew where a model lies; it stays until the new one takes its place
config.resume = (
    False  # go on from the newest checkpoint of the same experiment; torchrun's restarts always do
)
