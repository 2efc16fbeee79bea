"""A call as the command line asks for it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from nsc.audio import open_speech, write_speech
from nsc.call.devices import Loudspeaker, Microphone, PacedFile, Source, opened
from nsc.call.link import LOOPBACK, Link, calling, listening
from nsc.call.protection import protection_of
from nsc.call.session import Session
from nsc.call.streams import Sender
from nsc.coding.packets import PacketEncoder
from nsc.console import log
from nsc.loading.find import find_model
from nsc.loading.folder import load
from nsc.stops import Stops, stops
from nsc.streams import is_pipe, output, read_bytes


def call(options: argparse.Namespace) -> tuple[Session, int]:
    """Makes a call, from the flags of `nsc call`; what is heard is played or written.

    Returns:
        The call, and the samples that came out of it.

    Raises:
        UserError: it does not come about, or the output cannot be written.
    """
    encoder = PacketEncoder(
        load(find_model(options.model)),
        options.layers,
        kbps=options.kbps,
        quality=options.quality,
        bounded=options.cbr,
        spans=options.frames_per_packet,
        refresh=options.refresh,
        redundancy=options.redundancy,
        dtx=options.dtx,
    )
    with _source(options.input) as source, closing(_link(options)) as link, stops() as met:
        met.waits = True  # for what has been received by then
        timing = {"delay": options.delay / 1000, "patience": options.wait}
        session = Session(link, Sender(encoder), source, hangs_up=lambda: bool(met.asked), **timing)
        count = _written(session, options.output, met) if options.output else _played(session, met)
    return session, count


def _written(session: Session, name: str, met: Stops) -> int:
    with output(name, seeks=True) as file:
        count = write_speech(file, session.blocks(), Path(name).suffix.lower())
        _check_established(session, met)
    return count


def _played(session: Session, met: Stops) -> int:
    count = 0
    with opened(Loudspeaker) as loudspeaker:
        for block in session.blocks(lambda: loudspeaker.wants):
            loudspeaker.play(block)
            count += len(block)
        loudspeaker.finish()
    _check_established(session, met)
    return count


def _check_established(session: Session, met: Stops) -> None:
    """Ends as a signal does where it came before the other side."""
    if not session.established:
        met.raise_asked()


@contextmanager
def _source(name: str | None) -> Iterator[Source]:
    if name is None:
        with opened(Microphone) as microphone:
            yield microphone
    else:
        yield PacedFile(open_speech(read_bytes(name) if is_pipe(name) else Path(name), name).blocks)


def _link(options: argparse.Namespace) -> Link:
    protection = protection_of(options.key)
    if options.address is not None:
        host, port = options.address
        return calling(host, port, options.bind, protection)
    link = listening(options.bind or LOOPBACK, options.listen, protection)
    log.info("waiting for a call at port %d of %s", link.port, options.bind or LOOPBACK)
    return link
