"""Streams used in any order: whatever is called when, samples of the declared length come out or a promised error."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import nsc
from scripts.fuzzing.sequences import Listener
from scripts.fuzzing.shipped import files_of, shipped_targets

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


MODEL = nsc.load("cq")
USUAL = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
TestListening = Listening.TestCase
TestListening.settings = settings(USUAL, max_examples=60, stateful_step_count=20)
TestSpeaking = Speaking.TestCase
TestSpeaking.settings = settings(USUAL, max_examples=15, stateful_step_count=12)
