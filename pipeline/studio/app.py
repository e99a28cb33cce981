"""The studio as a server: the page behind its gate, the avatars' files, and the folder that all of it stays in."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import next_command
from pipeline.machine import require_address
from pipeline.run.model_folder import ModelFolder, released_folder
from pipeline.studio import show
from pipeline.studio.guard import LOOPBACK, MOST_BYTES, Gate
from pipeline.studio.jobs import Jobs
from pipeline.studio.maker import Maker
from pipeline.studio.presence import Presence
from pipeline.studio.shelf import Item, Shelf

if TYPE_CHECKING:
    from pipeline.studio.page import Page

LIVE_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "sandbox allow-scripts; frame-ancestors 'self'"
)
"""Of an avatar's page: it has all it needs, and is no part of the studio's page."""


def serve(models: ModelFolder, shelf: Shelf, *, host: str, port: int, echo: Callable[[str], None]) -> None:
    """Serve a studio until Ctrl-C. Raises ``RodinError`` with one line before anything is served."""
    require_address(host, port)
    with shelf.opened(), kept_within(shelf):
        import uvicorn

        from pipeline.studio.page import Page

        echo("loading the models")
        jobs: Jobs[Item] = Jobs()
        try:
            page = Page(Maker.load(models, shelf), jobs)
            config = uvicorn.Config(
                Gate(Presence(application(page, host), jobs.cancel), LOOPBACK if host in LOOPBACK else None),
                host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=1,
            )  # fmt: skip
            server = uvicorn.Server(config)
            socket = config.bind_socket()
            address = f"http://{host}:{socket.getsockname()[1]}"
            echo(f"{address} is the studio; what is made goes to {shelf.root}; Ctrl-C ends it")
            with suppress(KeyboardInterrupt):
                server.run(sockets=[socket])
            echo(following(models, shelf))
        finally:
            jobs.close()


def following(models: ModelFolder, shelf: Shelf) -> str:
    """What to try next: a textured mesh of the newest avatar, or without any a first one."""
    items, _ = shelf.look()
    whose = () if models.layout.root == released_folder() else ("--model", models.layout.root)
    if not items:
        return next_command("generate", *whose)
    return next_command("export", "glb", "--texture", "1024", "--generated", items[0].folder, *whose)


@contextmanager
def kept_within(shelf: Shelf) -> Iterator[None]:
    """Temporary files and uploads go below the studio's folder, and gradio tells nobody of anything."""
    before, folder = dict(os.environ), str(shelf.uploads)
    os.environ |= {
        "GRADIO_TEMP_DIR": folder,
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_RUN_HISTORY": "False",
        "GRADIO_SHARE": "False",
        "HF_HUB_OFFLINE": "1",
        "TMPDIR": str(shelf.work),
    }
    temporary, tempfile.tempdir = tempfile.tempdir, str(shelf.work)
    try:
        yield
    finally:
        tempfile.tempdir = temporary
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ |= before


def application(page: "Page", host: str) -> Any:
    """The page and the files of avatars; nothing that describes or tests it."""
    import gradio as gr
    from fastapi import FastAPI
    from fastapi.responses import FileResponse, Response

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    live = {"Content-Security-Policy": LIVE_POLICY}

    def making(name: str) -> Response:
        found = page.early.get(name)
        if found is None:
            return Response("this avatar is not in the making any more", 404)
        return Response(found, media_type="text/html; charset=utf-8", headers=live)

    def made(name: str, file: str, download: str | None = None) -> Response:
        try:
            item = page.shelf.find(name)
        except DataError as error:
            return Response(str(error), 404)
        if file not in dict(item.downloads()).values():
            return Response(f"{name} has no {file}", 404)
        given = None if download is None else f"{name}.{file.rpartition('.')[2]}"
        headers = live if file.endswith(".html") else {}
        return FileResponse(item.folder / file, media_type=show.media_type(file), filename=given, headers=headers)

    app.add_api_route("/making/{name}", making, response_model=None)
    app.add_api_route("/made/{name}/{file}", made, response_model=None)
    blocks = page.blocks()
    blocks.queue(default_concurrency_limit=None, api_open=False)
    fonts = ("system-ui", "sans-serif")
    gr.mount_gradio_app(
        app, blocks, path="/", server_name=host, footer_links=[], run_history=False, show_error=False,
        max_file_size=MOST_BYTES, enable_monitoring=False, ssr_mode=False, pwa=False, mcp_server=False,
        css=show.STYLE, theme=gr.themes.Base(font=fonts, font_mono=("ui-monospace", "monospace")),
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )  # fmt: skip
    return app
