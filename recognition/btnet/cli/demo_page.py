"""Serve a local web page that compares two faces while one of them shrinks."""

from __future__ import annotations

import argparse

from btnet.cli import options
from btnet.console import show

_LOCAL = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet demo-page`."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="listen on this address (default: %(default)s, this computer only)",
    )
    parser.add_argument("--port", type=int, default=8000, help="(default: %(default)s)")
    options.add_recognizer(parser)


def run(args: argparse.Namespace) -> None:
    """Serve until interrupted."""
    from btnet.page.server import make_server

    recognizer = options.load_recognizer(args)
    try:
        server = make_server(recognizer, host=args.host, port=args.port)
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"cannot listen on {args.host}:{args.port} ({error}); choose another --port"
        ) from error
    with server:
        show(f"http://{args.host}:{server.server_port}/ (stop with Ctrl-C)")
        if args.host not in _LOCAL:
            show("btnet: warning: everybody who reaches this address can use the page")
        server.serve_forever()
