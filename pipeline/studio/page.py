"""The studio's page: its parts, and what happens when they are used. It is a layer of gradio over the others.

Every event is private, since the page has no interface for programs. What a browser holds is never trusted: portraits
and the chosen avatar are kept here, by session.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import gradio as gr

from pipeline.commands.generate import MOST_CHARACTERS
from pipeline.contracts.errors import RodinError
from pipeline.contracts.units import bytes_text
from pipeline.studio import show
from pipeline.studio.guard import MOST_BYTES, checked_portrait, said_of
from pipeline.studio.jobs import Job, Jobs, State
from pipeline.studio.maker import Maker, another_seed, guidance_of
from pipeline.studio.shelf import PICTURE, Item, Shelf
from pipeline.studio.wish import LARGEST_SEED, Wish, wish_of

POLL_S: Final = 0.2
MOST_EARLY: Final = 32
"""Pages of avatars in the making that are kept to be loaded."""
TITLE: Final = "rodin-pipe studio"
OWN_STEPS: Final = 0
"""Stands for the steps that the models are set to."""
Updates = dict[Any, Any]


@dataclass
class Page:
    """A studio's parts together."""

    maker: Maker
    jobs: Jobs[Item]
    early: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Pages of avatars whose planes are there, by a name that nobody can guess."""

    @property
    def shelf(self) -> Shelf:
        """Where avatars go."""
        return self.maker.shelf

    def blocks(self) -> Any:
        """The page."""
        with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
            gr.Markdown(f"## {TITLE}\nPeople from a sentence, a portrait or nothing at all, as fields that turn.")
            self._portrait, self._chosen = gr.State(None), gr.State(None)
            self._names = gr.State(())
            with gr.Row():
                with gr.Column(scale=4, min_width=340):
                    self._controls()
                with gr.Column(scale=6, min_width=420):
                    self._stage()
            self._gallery = gr.Gallery(
                label="made here, the newest first", columns=6, height=250, fit_columns=False, object_fit="contain",
                format="png", allow_preview=False, interactive=False, buttons=[], elem_id="rp-gallery",
            )  # fmt: skip
            self._connect(blocks)
        return blocks

    def _controls(self) -> None:
        sampling = self.maker.models.sampling
        steps = [("the models' own", OWN_STEPS), *((str(steps), steps) for steps in self.maker.steps())]
        self._text = gr.Textbox(
            label="Who is it?", placeholder="a woman with long red hair and glasses", lines=2,
            max_length=MOST_CHARACTERS, elem_id="rp-text",
        )  # fmt: skip
        with gr.Tab("portrait from a file"):
            self._file = gr.File(
                label=f"PNG, JPEG or WebP of a face, at most {bytes_text(MOST_BYTES)}", height=150, elem_id="rp-file"
            )
        with gr.Tab("from the webcam"):
            self._webcam = gr.Image(
                label="webcam", sources=["webcam"], type="filepath", format="png", height=220, elem_id="rp-webcam",
                buttons=[],
            )  # fmt: skip
        self._read = gr.Image(
            label="the portrait as it is read", interactive=False, visible=False, height=180, format="png", buttons=[]
        )
        with gr.Row():
            self._edit = gr.Textbox(
                label="Change in the portrait",
                placeholder="with glasses",
                max_length=MOST_CHARACTERS,
                elem_id="rp-edit",
            )
            self._strength = gr.Slider(0, 3, sampling.generate.edit_strength, step=0.1, label="Strength")
        with gr.Row():
            self._seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=LARGEST_SEED, elem_id="rp-seed")
            self._guidance = gr.Slider(0.5, 8, guidance_of(sampling), step=0.1, label="Guidance")
            self._steps = gr.Dropdown(steps, value=OWN_STEPS, label="Steps", elem_id="rp-steps")
        with gr.Row():
            self._make = gr.Button("Make", variant="primary", min_width=100, elem_id="rp-make")
            self._surprise = gr.Button("Surprise me", min_width=100, elem_id="rp-surprise")
            self._stop = gr.Button("Stop", variant="stop", min_width=100, elem_id="rp-stop")

    def _stage(self) -> None:
        self._status = gr.HTML("", elem_id="rp-status")
        self._live = gr.HTML(show.EMPTY, elem_id="rp-live")
        with gr.Row():
            self._again = gr.Button("Again with another seed", elem_id="rp-again")
            self._like = gr.Button("More like this", elem_id="rp-like")
        self._about = gr.HTML("", elem_id="rp-about")

    def _connect(self, blocks: Any) -> None:
        shown = [self._status, self._live, self._about, self._gallery, self._names, self._chosen, self._seed]
        asked = [self._text, self._portrait, self._edit, self._strength, self._seed, self._guidance, self._steps]
        # Each session's events run side by side: the queue before the device is our own and says how long it is.
        job = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
        quick = {"show_progress": "hidden", "concurrency_limit": 8, "api_visibility": "private"}
        self._make.click(self.on_make, asked, shown, **job)
        self._text.submit(self.on_make, asked, shown, **job)
        self._surprise.click(self.on_surprise, [self._guidance, self._steps], shown, **job)
        self._again.click(self.on_again, [self._chosen], shown, **job)
        self._like.click(self.on_like, [self._chosen], shown, **job)
        self._stop.click(self.on_stop, None, [self._status], **quick)
        portrait = [self._portrait, self._read, self._status, self._file, self._webcam]
        self._file.upload(self.on_file, [self._file], portrait, **job)
        self._webcam.input(self.on_webcam, [self._webcam], portrait, **job)
        gr.on([self._file.clear, self._webcam.clear], self.on_clear, None, portrait[:3], **quick)
        self._gallery.select(
            self.on_select, [self._names], [self._live, self._about, self._chosen, self._status], **quick
        )
        blocks.load(self.on_load, None, [self._status, self._gallery, self._names], **quick)

    def on_load(self) -> Updates:
        """Somebody opens the page."""
        return {self._status: show.queue_length(self.jobs.length()), **self._shelf_now()}

    def on_stop(self, request: gr.Request) -> Updates:
        """The job is not wanted any more."""
        stopped = self.jobs.cancel(str(request.session_hash))
        return {self._status: show.said("stopping" if stopped else "there is nothing to stop")}

    def on_file(self, path: str | None) -> Updates:
        """A portrait was uploaded."""
        return {self._webcam: None, **self._portrait_of(path, self._file)}

    def on_webcam(self, path: str | None) -> Updates:
        """A portrait was taken."""
        return {self._file: None, **self._portrait_of(path, self._webcam)}

    def on_clear(self) -> Updates:
        """There is no portrait any more."""
        return {self._portrait: None, self._read: gr.update(value=None, visible=False), self._status: ""}

    def on_select(self, names: tuple[str, ...], event: gr.SelectData) -> Updates:
        """One of the gallery is chosen."""
        try:
            item = self.shelf.find(names[int(event.index)])
        except RodinError as error:
            return {self._status: show.sentence(str(error))}
        return {**self._of(item), self._live: show.live_of(item), self._status: ""}

    def on_make(
        self, text: str, portrait: Path | None, edit: str, strength: float, seed: int | None, guidance: float,
        steps: int, request: gr.Request,
    ) -> Iterator[Updates]:  # fmt: skip
        """What the controls say."""
        asked = {
            "text": " ".join((text or "").split()), "portrait": portrait.name if portrait is not None else "",
            "edit": " ".join((edit or "").split()), "edit_strength": float(strength), "seed": seed,
            "guidance": float(guidance), "steps": steps,
        }  # fmt: skip
        yield from self._watch(asked, portrait, request)

    def on_surprise(self, guidance: float, steps: int, request: gr.Request) -> Iterator[Updates]:
        """Anybody, by a seed drawn by lot."""
        asked = {"seed": another_seed(0), "guidance": float(guidance), "steps": steps}
        yield from self._watch(asked, None, request)

    def on_again(self, chosen: str | None, request: gr.Request) -> Iterator[Updates]:
        """The same, with another seed."""
        yield from self._from_chosen(chosen, False, request)

    def on_like(self, chosen: str | None, request: gr.Request) -> Iterator[Updates]:
        """Somebody like this one."""
        yield from self._from_chosen(chosen, True, request)

    def _from_chosen(self, chosen: str | None, like: bool, request: gr.Request) -> Iterator[Updates]:
        if chosen is None:
            yield {self._status: show.sentence("choose an avatar in the gallery first, or make one")}
            return
        try:
            item = self.shelf.find(chosen)
        except RodinError as error:
            yield {self._status: show.sentence(str(error))}
            return
        wish = item.made.wish
        changes: dict[str, Any] = {"seed": another_seed(wish.seed)}
        if like:
            changes |= {"like": chosen, "portrait": "", "edit": ""}
        yield from self._watch(wish.model_dump() | changes, None if like else item.portrait(), request)

    def _watch(self, asked: dict[str, Any], portrait: Path | None, request: gr.Request) -> Iterator[Updates]:
        """Queue a job and show how far it is until it is over; who stops looking stops it."""
        owner = str(request.session_hash)
        try:
            wish = wish_of(**asked)
            self.maker.check(wish)
            job = self.jobs.submit(owner, lambda job: self.maker.make(wish, portrait, job))
        except RodinError as error:
            yield {self._status: show.sentence(" ".join(str(error).split()))}
            return
        yield {self._seed: wish.seed}
        try:
            yield from self._news_of(job, wish)
        finally:
            if not job.is_over:
                self.jobs.cancel(owner)

    def _news_of(self, job: Job[Item], wish: Wish) -> Iterator[Updates]:
        before, is_live = None, False
        while True:
            news = self.jobs.news(job)
            updates: Updates = {self._status: show.progress(news)} if news != before else {}
            if job.early is not None and not is_live:
                is_live = True
                updates |= {self._live: show.live(self._keep(job.early)), self._about: show.said(wish.title)}
            if job.result is not None and news.state is State.DONE:
                # The view stays as it is: whoever turned it goes on turning it.
                yield {self._status: "", **self._of(job.result), **self._shelf_now()}
                return
            if job.is_over:
                yield updates
                return
            if updates:
                yield updates
            before = news
            time.sleep(POLL_S)

    def _keep(self, page: str) -> str:
        name = secrets.token_hex(16)
        self.early[name] = page
        while len(self.early) > MOST_EARLY:
            self.early.popitem(last=False)
        return f"/making/{name}"

    def _portrait_of(self, given: str | None, part: Any) -> Updates:
        """What was given to a part of the page, which is emptied again where it is refused."""
        nothing = {self._portrait: None, self._read: gr.update(value=None, visible=False), part: None}
        if not given:
            return nothing
        path = Path(given)
        if not path.resolve().is_relative_to(self.shelf.uploads.resolve()):
            return {**nothing, self._status: show.sentence("this is no upload of this page: choose the file again")}
        try:
            portrait = checked_portrait(path, self.maker.models.sampling)
        except RodinError as error:
            return {**nothing, self._status: show.sentence(said_of(path, error))}
        read = gr.update(value=portrait.rgb, visible=True)
        return {self._portrait: path, self._read: read, self._status: show.said(portrait.done)}

    def _of(self, item: Item) -> Updates:
        return {self._about: show.described(item), self._chosen: item.name}

    def _shelf_now(self) -> Updates:
        items, complaints = self.shelf.look()
        pictures = [
            (str(item.folder / PICTURE), f"{item.made.wish.title} · seed {item.made.wish.seed}") for item in items
        ]
        label = "; ".join(["made here, the newest first", *complaints])
        return {self._gallery: gr.update(value=pictures, label=label), self._names: tuple(item.name for item in items)}
