"""The grid that ``msam arena init`` writes."""

TEMPLATE = """\
# A grid of methods, data sets, folds and seeds for msam arena.
#   msam arena grid.yaml --dry-run      every command that would run
#   msam arena grid.yaml                run them (--on slurm, --on ray); after a stop: --resume
#   msam arena status grid.yaml         what is finished, what runs, what failed
#   msam arena report grid.yaml -o report

datasets: [4, 501]            # IDs or names, as in nnUNet_raw
configuration: 3d_fullres
folds: [0]                    # [0, 1, 2, 3, 4] for the cross-validation
# seeds: [0, 1, 2]            # repeats; each has its own results in nnUNet_results/seed_<n>
budget: 60cpuminutes          # of every training: <n>epochs, <n>minutes, <n>cpuminutes; leave it out for full length
device: cuda                  # or cpu

methods:                      # rows of the tables; any trainer that nnUNetv2_train -tr finds
  nnU-Net:
    trainer: nnUNetTrainer
    plans: nnUNetPlans
  M-SAM:
    trainer: MSAMTrainer
    plans: MSAMPlans
  M-SAM without adapter:
    trainer: MSAMWithoutMEATrainer
    plans: MSAMPlans
    variant_of: M-SAM         # a row of the ablation table as well
  SAM-Med3D:
    trainer: SAMMed3DTrainer
    plans: MSAMPlans
    clicks: --start empty     # instead of the grid's own options below
    note: learns clicks only, its automatic Dice says nothing

plans:                        # needed where options are, or where msam does not know who writes the plans
  MSAMPlans:
    planner: MSAMPlanner
    options: -gpu_memory_target 8

clicks: -n 5                  # msam clicks for every method that learns them: yes, no, or its options
transfer: no                  # msam transfer between all data sets with the same channels and classes
measure_prediction: yes       # the report times a prediction with each model
tolerance: 1                  # of the NSD, in mm

# jobs: 1                     # at once, with device cpu
# jobs_per_gpu: 1
# cores_per_job: 8            # default: an equal share of this machine's (SLURM: 8)
# environment: {nnUNet_n_proc_DA: 0}
# slurm: {time: 1440, partition: gpu, mem: 32GB}   # options of submitit's SLURM executor
"""
