"""A device that computes on the host and is none: operations that mix the two raise, as they would with a GPU.

PyTorch's place for backends of others, implemented in Python: tensors there wrap one of the host each.
"""

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("elsewhere")
torch.elsewhere.get_amp_supported_dtype = lambda: [torch.bfloat16]
DEVICE = torch.device("elsewhere", 0)
TO, COPY = torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default


class Elsewhere(torch.Tensor):
    """A tensor of :data:`DEVICE`."""

    @staticmethod
    def __new__(cls, host):
        layout = dict(strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype)
        return torch.Tensor._make_wrapper_subclass(cls, host.shape, **layout, device=DEVICE)

    def __init__(self, host):
        self.host = host

    def __repr__(self):
        return f"Elsewhere({self.host})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class StrictDevices(TorchDispatchMode):
    """While it is entered, :data:`DEVICE` can be used, but not with tensors of the host beside it.

    Numbers as tensors without axes are no exception here where PyTorch makes one: ``torch.where`` and sums take them.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class HostGenerator(torch.Generator):
    """In place of ``torch.Generator``, which knows no such device."""

    def __new__(cls, device=None):
        return super().__new__(cls)


def _run(func, args, kwargs):
    if torch.is_inference_mode_enabled():  # whose tensors cannot be wrapped
        with torch.inference_mode(False), torch.no_grad():
            return _run(func, args, kwargs)
    tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    here = any(isinstance(x, Elsewhere) for x in tensors)
    if here and func not in (TO, COPY):
        strange = [tuple(x.shape) for x in tensors if x.dim() and not isinstance(x, Elsewhere)]
        if strange:
            raise RuntimeError(f"{func} mixes devices: tensors of {strange} are on the host")
    wanted = kwargs.get("device")
    there = here if wanted is None else torch.device(wanted).type == DEVICE.type
    host_args, host_kwargs = pytree.tree_map_only(Elsewhere, lambda x: x.host, (args, kwargs))
    if there and wanted is not None:
        host_kwargs["device"] = torch.device("cpu")
    out = func(*host_args, **host_kwargs)
    if func is COPY:
        return args[0]
    if not there:
        return out
    out = pytree.tree_map_only(torch.Tensor, Elsewhere, out)
    return return_and_correct_aliasing(func, args, kwargs, out) if here else out
