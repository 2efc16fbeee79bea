"""Streams used in any order: whatever is called when, samples of the declared length come out or a promised error."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import nsc
from nsc.kinds.spectral.model import SpectralModel
from scripts.fuzzing.packets import Receiver
from scripts.fuzzing.sequences import Listener
from scripts.fuzzing.targets import files_of, shipped_targets

TARGETS = {target.digest: target for target in shipped_targets()}
FILES = files_of([*TARGETS.values()], np.random.default_rng(0))


class Listening(RuleBasedStateMachine):
    """`Listener` holds every step to the promises."""

    @initialize(data=st.sampled_from(FILES), joins=st.booleans())
    def begin(self, data: bytes, joins: bool) -> None:
        self.listener = Listener(data, TARGETS[nsc.info(data).header.model], joins=joins)

    @rule(count=st.one_of(st.integers(0, 60), st.integers(0, 10_000)))
    def arrive(self, count: int) -> None:
        self.listener.arrive(count)

    @rule(count=st.integers(0, 2000))
    def lose(self, count: int) -> None:
        self.listener.lose(count)

    @rule(foreign=st.binary(max_size=40))
    def receive(self, foreign: bytes) -> None:
        self.listener.receive(foreign)

    @rule()
    def conceal(self) -> None:
        self.listener.conceal()

    @rule()
    def finish(self) -> None:
        self.listener.finish()

    @invariant()
    def damage_is_told(self) -> None:
        if hasattr(self, "listener"):
            damage = self.listener.decoder.damage
            assert damage.lost == sorted(set(damage.lost))


class Speaking(RuleBasedStateMachine):
    """An encoder: bytes that decode to what was written, and one line for what comes too late."""

    @initialize(kbps=st.sampled_from([None, 6, 12.5, 32]), spans=st.sampled_from([1, 4, 16]))
    def begin(self, kbps: float | None, spans: int) -> None:
        self.encoder = nsc.Encoder(MODEL, kbps=kbps, spans=spans)
        self.data, self.written, self.ended = b"", 0, False

    @rule(count=st.integers(0, 3000), seed=st.integers(0, 9))
    def write(self, count: int, seed: int) -> None:
        samples = np.random.default_rng(seed).normal(0, 0.1, count).clip(-1, 1)
        if self.ended:
            with pytest.raises(nsc.UserError):
                self.encoder.write(samples)
            return
        self.data += self.encoder.write(samples)
        self.written += count

    @rule(wrong=st.sampled_from([np.full(9, np.nan), np.full(9, 1e9), np.ones(9, int), np.ones((3, 3)), None, "x"]))
    def mistake(self, wrong: Any) -> None:
        with pytest.raises(nsc.UserError):
            self.encoder.write(wrong)

    @rule()
    def finish(self) -> None:
        if self.ended:
            with pytest.raises(nsc.UserError):
                self.encoder.finish()
            return
        self.data += self.encoder.finish()
        self.ended = True
        signal, damage = nsc.decode(self.data, MODEL)
        assert len(signal) == self.written and not damage


class Calling(RuleBasedStateMachine):
    """An encoder of packets, a network that loses, repeats, delays and changes them, and `Receiver` behind it."""

    @initialize(
        kbps=st.sampled_from([None, 6, 32]), refresh=st.sampled_from([1, 3, 100]), spans=st.sampled_from([1, 2])
    )
    def begin(self, kbps: float | None, refresh: int, spans: int) -> None:
        self.encoder = nsc.PacketEncoder(MODEL, kbps=kbps, refresh=refresh, spans=spans)
        self.receiver = Receiver(cast("SpectralModel", MODEL), self.encoder.header)
        self.sent, self.next, self.written, self.ended = list[bytes](), 0, 0, False

    @rule(count=st.integers(0, 3000), seed=st.integers(0, 9))
    def write(self, count: int, seed: int) -> None:
        samples = np.random.default_rng(seed).normal(0, 0.1, count).clip(-1, 1)
        self.sends(lambda: self.encoder.write(samples))
        self.written += 0 if self.ended else count

    @rule()
    def finish(self) -> None:
        self.sends(self.encoder.finish)
        if not self.ended:
            assert 0 <= len(self.sent) * self.encoder.packet_samples - self.written < 3 * self.encoder.packet_samples
        self.ended = True

    def sends(self, call: Callable[[], list[bytes]]) -> None:
        if not self.ended:
            self.sent += call()
            return
        with pytest.raises(nsc.UserError):
            call()

    @rule()
    def refresh(self) -> None:
        self.encoder.refresh()

    @rule(skipped=st.integers(0, 3), changed=st.binary(max_size=40), told=st.booleans())
    def deliver(self, skipped: int, changed: bytes, told: bool) -> None:
        self.next += skipped
        if self.next < len(self.sent):
            self.receiver.take(changed or self.sent[self.next], self.next if told else None)
            self.next += 1

    @rule(back=st.integers(1, 5))
    def repeat(self, back: int) -> None:
        if 0 <= self.next - back < len(self.sent):
            self.receiver.take(self.sent[self.next - back], self.next - back)

    @rule()
    def conceal(self) -> None:
        self.receiver.conceal()


MODEL = nsc.load("cq")
USUAL = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
TestListening = Listening.TestCase
TestListening.settings = settings(USUAL, max_examples=60, stateful_step_count=20)
TestCalling = Calling.TestCase
TestCalling.settings = settings(USUAL, max_examples=15, stateful_step_count=16)
TestSpeaking = Speaking.TestCase
TestSpeaking.settings = settings(USUAL, max_examples=15, stateful_step_count=12)
