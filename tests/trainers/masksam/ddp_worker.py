"""One rank of the DDP test: ``python ddp_worker.py RANK FOLDER``; writes the gradients it ends up with."""

import faulthandler
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from msam_nn.trainers.masksam.trainer import MaskSAMTrainer


def main(rank: int, folder: Path) -> None:
    plans, dataset_json = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
    os.environ["nnUNet_results"] = str(folder)
    torch.manual_seed(0)
    trainer = MaskSAMTrainer(plans, "3d_fullres", 0, dataset_json, device=torch.device("cpu"))
    trainer.initialize()
    dist.init_process_group("gloo", rank=rank, world_size=2, init_method=(folder / "rendezvous").as_uri())
    network = DistributedDataParallel(trainer.network)
    regions = torch.full((1, 2, 4, 32, 32), rank)  # rank 0 has no target at all
    for _ in range(2):
        prediction = network(torch.randn(1, 1, 4, 32, 32))
        trainer.set_loss(prediction, trainer.set_targets(regions)).backward()
    gradients = {name: p.grad for name, p in trainer.network.named_parameters() if p.grad is not None}
    torch.save(gradients, folder / f"gradient_{rank}.pth")
    dist.barrier()  # no rank leaves while the other still reads from it


if __name__ == "__main__":
    faulthandler.dump_traceback_later(200, exit=True)
    main(int(sys.argv[1]), Path(sys.argv[2]))
    os._exit(0)  # gloo's threads can hold up an orderly interpreter shutdown
