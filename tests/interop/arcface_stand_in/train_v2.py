"""Stand-in for arcface_torch's training loop: how it builds, wraps, steps, validates and saves."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import torch
from backbones import get_model
from dataset import get_dataloader
from losses import CombinedMarginLoss
from partial_fc_v2 import PartialFC_V2
from torch import distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from utils.utils_callbacks import CallBackVerification

rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
distributed.init_process_group("nccl")


def main(args: argparse.Namespace) -> None:
    cfg: Any = importlib.import_module("configs.base").config
    cfg.update(importlib.import_module(f"configs.{Path(args.config).stem}").config)
    torch.manual_seed(cfg.seed)
    torch.cuda.set_device(local_rank)
    Path(cfg.output).mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    train_loader = get_dataloader(cfg.rec, local_rank, cfg.batch_size, cfg.dali, cfg.seed, cfg.num_workers)

    backbone: Any = get_model(cfg.network, dropout=0.0, fp16=cfg.fp16, num_features=cfg.embedding_size).cuda()

    backbone = torch.nn.parallel.DistributedDataParallel(
        module=backbone, broadcast_buffers=False, device_ids=[local_rank], find_unused_parameters=True
    )
    backbone.register_comm_hook(None, fp16_compress_hook)
    backbone.train()
    backbone._set_static_graph()

    margin_loss = CombinedMarginLoss(64, *cfg.margin_list, cfg.interclass_filtering_threshold)
    module_partial_fc: Any = PartialFC_V2(
        margin_loss, cfg.embedding_size, cfg.num_classes, cfg.sample_rate, cfg.fp16
    )
    module_partial_fc.train().cuda()
    opt = torch.optim.SGD(
        [{"params": backbone.parameters()}, {"params": module_partial_fc.parameters()}],
        lr=cfg.lr,
        momentum=0.9,
        weight_decay=cfg.weight_decay,
    )
    cfg.total_batch_size = cfg.batch_size * distributed.get_world_size()
    callback_verification = CallBackVerification(cfg.val_targets, cfg.rec)
    global_step = 0
    for epoch in range(cfg.num_epoch):
        train_loader.sampler.set_epoch(epoch)
        for img, local_labels in train_loader:
            global_step += 1
            local_embeddings = backbone(img)
            loss: torch.Tensor = module_partial_fc(local_embeddings, local_labels)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(backbone.parameters(), 5)
            opt.step()
            opt.zero_grad()
            logging.info("Loss %.4f Global Step: %d", loss.item(), global_step)
            if global_step % cfg.verbose == 0:
                callback_verification(global_step, backbone)
        checkpoint = {
            "epoch": epoch + 1,
            "global_step": global_step,
            "state_dict_backbone": backbone.module.state_dict(),
            "state_dict_softmax_fc": module_partial_fc.state_dict(),
            "state_optimizer": opt.state_dict(),
        }
        torch.save(checkpoint, Path(cfg.output, f"checkpoint_gpu_{rank}.pt"))
        if rank == 0:
            torch.save(backbone.module.state_dict(), Path(cfg.output, "model.pt"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    main(parser.parse_args())
