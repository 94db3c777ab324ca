"""One rank of the DDP tests: ``python ddp_worker.py RANK FOLDER``; writes the weights after two steps and practice."""

import faulthandler
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunet
from torch.nn.parallel import DistributedDataParallel

from msam_nn.trainers.msam_unet.trainer import MSAMUNetTrainer


def main(rank: int, folder: Path) -> None:
    plans, dataset_json, is_frozen = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
    os.environ["nnUNet_results"] = str(folder)
    nnunet.DDP = lambda network, device_ids: DistributedDataParallel(network)  # nnU-Net's is for CUDA devices
    torch.manual_seed(0)
    trainer = MSAMUNetTrainer(plans, "3d_fullres", 0, dataset_json, device=torch.device("cpu"))
    dist.init_process_group("gloo", rank=rank, world_size=2, init_method=(folder / "rendezvous").as_uri())
    trainer.is_ddp, trainer.local_rank = True, rank
    trainer.initialize()
    if is_frozen:
        trainer.freeze_unet()
    trainer.on_train_epoch_start()
    generator = torch.Generator().manual_seed(rank)
    for step in range(3):
        if step == 2:
            trainer.practises, trainer.current_epoch = True, trainer.num_epochs - 1
            trainer.promptable.neighbourhood.set_practised(True)
        target = torch.randint(0, 3, (1, 1, 16, 32, 32), generator=generator).short()
        scales = [target, target[..., ::2, ::2]]
        image = torch.randn(1, 1, 16, 32, 32, generator=generator)
        trainer.train_step({"data": image, "target": target if is_frozen else scales})
    torch.save(trainer.promptable.state_dict(), folder / f"weights_{rank}.pth")
    dist.barrier()  # no rank leaves while the other still reads from it


if __name__ == "__main__":
    faulthandler.dump_traceback_later(400, exit=True)
    main(int(sys.argv[1]), Path(sys.argv[2]))
    os._exit(0)  # gloo's threads can hold up an orderly interpreter shutdown
