"""``msam serve``: click in 3D Slicer, napari, MITK and the browser."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path

from msam_nn.device import torch_device
from msam_nn.errors import UserError

PORT = 1527
KEY_VARIABLE = "NN_INTERACTIVE_API_KEY"
GIB = 1 << 30


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam serve``."""
    parser = subparsers.add_parser(
        "serve",
        help="click in 3D Slicer, napari, MITK and the browser",
        description="Serve a trained model to nnInteractive's plug-ins for 3D Slicer, napari and MITK, and to a page "
        "in the browser. docs/interactive.md shows how.",
    )
    parser.add_argument("-m", dest="model", type=Path, required=True, help="the model's folder in nnU-Net's results")
    parser.add_argument("-f", dest="folds", nargs="+", help="folds, averaged (default: the first that is trained)")
    parser.add_argument("-chk", "--checkpoint", default="checkpoint_final.pth", help="default: %(default)s")
    parser.add_argument("-device", "--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--label", help="name or number of the class that Slicer, napari and MITK segment (default: "
                        "the first); the page has a menu")  # fmt: skip
    parser.add_argument("--automatic", action="store_true", help="start from the automatic prediction and correct it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="default: %(default)s")
    parser.add_argument("--api-key", help=f"asked from every client; needed on other hosts than this machine "
                        f"(default: the variable {KEY_VARIABLE})")  # fmt: skip
    parser.add_argument("--max-sessions", type=int, default=3, help="users at once (default: %(default)s)")
    parser.add_argument("--max-upload", type=float, default=2.0, metavar="GIB", help="largest image (default: 2 GiB)")
    parser.add_argument("--save-to", type=Path, metavar="FOLDER", help="write masks and prompts there after every "
                        "change; without it nothing is written")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    if args.max_sessions < 1:
        raise UserError(f"--max-sessions takes a number of users from 1 on, got {args.max_sessions}.")
    if not 0 <= args.port < 1 << 16:
        raise UserError(f"--port takes a number from 0 (any free one) to 65535, got {args.port}.")
    if not args.max_upload > 0:
        raise UserError(f"--max-upload takes a size above 0 GiB, got {args.max_upload:g}.")
    try:
        import uvicorn

        from msam_nn.server.app import make_app
        from msam_nn.server.settings import Settings, insist_on_key
    except ModuleNotFoundError as error:
        raise UserError(f'It needs {error.name}: pip install "msam_nn[serve]".') from error
    api_key = args.api_key or os.environ.get(KEY_VARIABLE)
    insist_on_key(args.host, api_key)

    from msam_nn.cli.export import find_checkpoints
    from msam_nn.cli.predict import insist_on_model
    from msam_nn.server.model import ServedModel

    device = torch_device(args.device)
    insist_on_model(args.model)
    checkpoints = find_checkpoints(args.model, args.folds, args.checkpoint)
    folds = args.folds or [next(iter(checkpoints)).removeprefix("fold_")]
    with _listening_socket(args.host, args.port) as listener:
        model = ServedModel.load(args.model, folds, args.checkpoint, device)
        settings = Settings(
            model=model,
            class_index=0 if args.label is None else model.class_index(args.label),
            automatic=args.automatic,
            host=args.host,
            port=listener.getsockname()[1],
            api_key=api_key,
            max_sessions=args.max_sessions,
            max_upload_bytes=int(args.max_upload * GIB),
            save_to=args.save_to,
        )
        if args.save_to is not None:
            args.save_to.mkdir(parents=True, exist_ok=True)
        config = uvicorn.Config(make_app(settings), log_level="warning", timeout_graceful_shutdown=5)
        print(welcome(settings), flush=True)
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def welcome(settings) -> str:
    """Where to click."""
    classes = ", ".join(f"{c.name} ({c.label})" for c in settings.model.classes)
    channels = settings.model.channel_names
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{settings.port}"
    key = "" if settings.api_key is None else ", API key as given to --api-key"
    lines = [("model", settings.model_name), ("classes", classes), ("browser", f"{address}/")]
    if len(channels) == 1:
        target = settings.model.classes[settings.class_index].name
        lines += [
            ("3D Slicer", f"module nnInteractive > Configuration > Remote: server {address}{key}"),
            ("napari", f"Plugins > nnInteractive > Remote: server {address}{key}"),
            ("MITK", f"Preferences > nnInteractive: inference mode remote, server {address}{key}"),
            ("", f"they segment {target} (--label NAME chooses)"),
        ]
    else:
        lines.append(("viewers", f"send one channel, and this model takes {len(channels)} ({', '.join(channels)})"))
    if settings.save_to is not None:
        lines.append(("saved to", str(settings.save_to)))
    return "\n".join([*(f"{what and what + ':':<11}{text}" for what, text in lines), "Ctrl+C ends the server."])


def _listening_socket(host: str, port: int) -> socket.socket:
    """Taken before the model is loaded, so that a mistake costs no time.

    Raises:
        UserError: if the address cannot be had.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=100)
    except OSError as error:
        raise UserError(
            f"{host}, port {port}, is not to be had ({error.strerror}): choose another --port or --host."
        ) from error
