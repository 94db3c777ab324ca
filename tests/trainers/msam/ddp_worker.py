"""One rank of the DDP test: ``python ddp_worker.py RANK FOLDER``; writes the gradient it ends up with."""

import faulthandler
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from msam_nn.prompts import SimulatedClicks
from msam_nn.trainers.msam.trainer import MSAMTrainer


def main(rank: int, folder: Path) -> None:
    plans, dataset_json = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
    os.environ["nnUNet_results"] = str(folder)
    torch.manual_seed(0)
    trainer = MSAMTrainer(plans, "3d_fullres", 0, dataset_json, device=torch.device("cpu"))
    trainer.initialize()
    dist.init_process_group("gloo", rank=rank, world_size=2, init_method=(folder / "rendezvous").as_uri())
    network = DistributedDataParallel(trainer.network)
    generator = torch.Generator().manual_seed(rank)
    target = torch.randint(0, 3, (1, 1, 16, 32, 32), generator=generator)
    masks = torch.cat([target == 1, target == 2], dim=1)
    for _ in range(2):
        clicks = SimulatedClicks(masks, first_click=2, generator=generator)
        outputs, stages = network(torch.randn(1, 1, 16, 32, 32, generator=generator), clicks, 3)
        loss = sum(trainer.stage_loss(logits, target) for logits in stages)
        (loss + sum(output.square().mean() for output in outputs)).backward()
    torch.save(
        trainer.network.mask_decoder.output_hypernetworks_mlps[0].layers[-1].weight.grad,
        folder / f"gradient_{rank}.pth",
    )
    dist.barrier()  # no rank leaves while the other still reads from it


if __name__ == "__main__":
    faulthandler.dump_traceback_later(200, exit=True)
    main(int(sys.argv[1]), Path(sys.argv[2]))
    os._exit(0)  # gloo's threads can hold up an orderly interpreter shutdown
