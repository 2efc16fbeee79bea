"""The cascade on the lapped spectrum: envelope, step sizes, codecs, transform, and the rate of all parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

import lpc_utilities as lpc
from cmrl import Cascade, residual_layers
from constants import LPC_ORDER, SAMPLE_RATE
from kinds.spectral.decoded.concealment import Concealment
from kinds.spectral.decoded.enhancer import Enhancer
from kinds.spectral.front_end import Envelope, SpectralEnvelope
from kinds.spectral.grid import Memory
from kinds.spectral.networks import QuantisedSpectrum, SpectralCodec, StepSizes, Synthesised
from kinds.spectral.rate import CoefficientRate, GainRate, Known, LsfRate
from kinds.spectral.transform import inverse_mdct, mdct
from nsc.entropy.coefficient_model import LARGEST_INDEX as LARGEST
from nsc.format.version_2 import GAIN_LEVELS
from nsc.kinds.samples.network import Part
from nsc.kinds.spectral.enhancer import PLACE
from options.common import CONCEALMENT
from options.config import Config


class SpectralBatch(NamedTuple):
    """What the cascade codes.

    signals: float32 [batch, (spectra + 1) hop], pre-emphasised.
    levels: float32 [batch, spectra], amplitude that counts as 1, the same for all spectra of a group.
    offsets: float32 [batch, spectra], added to the logarithm of the step, the same for all spectra of a group.
    warm: float32 [batch, spectra, 2], 1 where the spectrum before, and the one before that, is in the same group;
        None where no rate is asked for.
    noise: float32 [batch, spectra, hop], white, of unit variance; None where decoded signals without it are enough.
    lost: int32 [batch, outages], spectra that each takes, see `Concealment.conceal`; None where all of them arrive.
    """

    signals: tf.Tensor
    levels: tf.Tensor
    offsets: tf.Tensor
    warm: tf.Tensor = None
    noise: tf.Tensor | None = None
    lost: tf.Tensor | None = None


class SpectralOutput(NamedTuple):
    """One pass of a batch through the cascade.

    signals: float32 [batch, (spectra + 1) hop] decoded at every depth; the first and last hop lack their overlap.
    noiseless: the same without the decoder's noise.
    plain: as `signals` and `noiseless`, before the enhancer, if there is one.
    envelope: as the decoder knows it.
    codes: what each codec's quantiser made of its code.
    bits: float32 [batch] each, estimated cost of LSFs, of gains and of every codec, in the order of `parts`.

    A batch with losses is not coded: `signals` is concealed by the network, `plain` by rule, and costs nothing.
    """

    signals: list[tf.Tensor]
    noiseless: list[tf.Tensor]
    plain: tuple[list[tf.Tensor], list[tf.Tensor]]
    envelope: Envelope | None
    codes: list[QuantisedSpectrum]
    bits: list[tf.Tensor]


class _Layer(NamedTuple):
    """What a codec's decoder gives, and what its quantiser made of the code."""

    decoded: Synthesised
    quantised: QuantisedSpectrum


class SpectralSymbols(NamedTuple):
    """All that frames send, except level and offset of their group.

    lsf: int32 [batch, frames, 16]. gains: int32 [batch, spectra].
    codes: int32 [batch, spectra, bins] of each codec, -63 to 63.
    """

    lsf: tf.Tensor
    gains: tf.Tensor
    codes: list[tf.Tensor]


class SpectralCascade(Cascade):
    """An envelope, step sizes and codecs on spectra, with the rate of all parts, and an enhancer if there is one."""

    def __init__(self, config: Config) -> None:
        bands = config.hop // config.fold
        front_end = SpectralEnvelope(config)
        steps = StepSizes(bands, config.fold, power=config.step_power, start=config.step_start)
        steps.build((None, None, bands, config.fold))
        super().__init__(config, front_end, [SpectralCodec(config, module) for module in range(config.num_modules)])
        self.hop, self.window, self.fold, self.steps = config.hop, config.mdct_window, config.fold, steps
        self.spectra_per_frame = config.spectra_per_frame
        self.frames_per_second = SAMPLE_RATE / (self.spectra_per_frame * self.hop)
        self.enhancer = Enhancer(config.enhancer_width) if config.enhancer_width else None
        width = config.concealment_width
        self.concealment = Concealment(width, self.hop, self.window) if width else None
        self.lsf_rate, self.gain_rate = LsfRate(), GainRate()
        self.rates = [CoefficientRate(self.hop, LARGEST, module) for module in range(config.num_modules)]

    def call(self, batch: SpectralBatch, decisions: Sequence[str], lsf_decision: str) -> SpectralOutput:
        """Codes, decodes and enhances a batch, up to the depth that `decisions` reaches.

        Args:
            batch: what is coded.
            decisions: how each codec's quantiser decides, see `UniformQuantizer.call`.
            lsf_decision: how the LSF quantiser decides.
        """
        if batch.lost is not None:
            return self._concealed(batch, len(decisions))
        output = self._coded(batch, decisions, lsf_decision, weighs=True)
        assert output.envelope
        output = output._replace(bits=self._bits(output.envelope, output.codes, batch))
        signals, noiseless = output.plain
        enhanced = self._enhanced(signals, batch)
        return output._replace(
            signals=enhanced, noiseless=enhanced if batch.noise is None else self._enhanced(noiseless, batch)
        )

    def _concealed(self, batch: SpectralBatch, depth: int) -> SpectralOutput:
        """Speech that is not coded: its losses are those of any codec, and the time that coding takes is saved."""
        assert self.concealment and batch.noise is not None and batch.lost is not None
        by_network, by_rule = self.concealment.conceal(batch.signals, batch.levels, batch.lost, batch.noise)
        signals, plain = [by_network] * depth, [by_rule] * depth
        bits = [tf.zeros(tf.shape(batch.signals)[:1])] * len(self.parts(depth))
        return SpectralOutput(signals, signals, (plain, plain), None, [], bits)

    def _coded(
        self,
        batch: SpectralBatch,
        decisions: Sequence[str],
        lsf_decision: str,
        memory: Memory | None = None,
        *,
        weighs: bool,
    ) -> SpectralOutput:
        """As `call`, without enhancer and cost. What decoded signals depend on alone is not remembered.

        Where it `weighs`, the last codec's bins are those that bits are worth, if the configuration says so; of graphs,
        `nsc` does that.
        """
        weighs = weighs and self.config.rdo_lambda > 0
        spectra = mdct(batch.signals, self.window, self.hop) / tf.expand_dims(batch.levels, -1)
        envelope = self.front_end(batch.signals, spectra, decision=lsf_decision)
        log_step, condition, audible = self._conditions(envelope.log, envelope.gains, batch.offsets, memory)
        target = self._grid(spectra) * tf.exp(-log_step)

        last = self.codecs[len(decisions) - 1]

        def coder(
            codec: SpectralCodec, decision: str
        ) -> Callable[[tf.Tensor, _Layer | None], tuple[tf.Tensor, _Layer]]:
            def code(left: tf.Tensor, before: _Layer | None) -> tuple[tf.Tensor, _Layer]:
                below = None if before is None else before.quantised.decoded
                quantised = codec.quantise(left, condition, below, audible, decision, memory)
                if weighs and codec is last and decision != "bypass":
                    quantised = self._cheaper(quantised, len(decisions) - 1, envelope, batch, before)
                remembered = None if codec is last else memory
                layer = _Layer(codec.synthesise(quantised.decoded, condition, below, audible, remembered), quantised)
                return layer.decoded.spectrum, layer

            return code

        codes, signals, noiseless = [], [], []
        coders = [coder(*each) for each in zip(self.codecs, decisions, strict=False)]
        for total, (decoded, quantised) in residual_layers(target, coders):
            codes.append(quantised)
            noiseless.append(self._signals(total * tf.exp(log_step), batch.levels))
            made = self._noise(decoded, batch.noise)
            signals.append(noiseless[-1])
            if made is not None:
                signals[-1] += self._signals(made * tf.exp(log_step), batch.levels)
        return SpectralOutput(signals, noiseless, (signals, noiseless), envelope, codes, [])

    def bits_of(self, batch: SpectralBatch, depth: int) -> list[tf.Tensor]:
        """Estimated cost of the hard symbols of a batch, as `SpectralOutput.bits` has it; nothing is enhanced."""
        output = self._coded(batch, ["hard"] * depth, "hard", weighs=True)
        assert output.envelope
        return self._bits(output.envelope, output.codes, batch)

    def symbols_of(self, batch: SpectralBatch, depth: int) -> SpectralSymbols:
        """The hard symbols of a batch up to `depth` codecs."""
        return self._symbols(self._coded(batch, ["hard"] * depth, "hard", weighs=True), batch)

    def quantised_of(
        self, batch: SpectralBatch, depth: int, memory: Memory | None = None
    ) -> tuple[SpectralSymbols, list[tf.Tensor]]:
        """The nearest symbols of a batch up to `depth` codecs, and what each codec quantised [batch, spectra, bins].

        With a memory, of `encoder_state` numbers, the batch goes on from what came before it.
        """
        output = self._coded(batch, ["hard"] * depth, "hard", memory, weighs=False)
        return self._symbols(output, batch), [self._flat(code.code) for code in output.codes]

    def _symbols(self, output: SpectralOutput, batch: SpectralBatch) -> SpectralSymbols:
        assert output.envelope
        frames = tf.shape(batch.levels)[1] // self.spectra_per_frame
        lsf = tf.reshape(output.envelope.lsf.symbols, [-1, frames, LPC_ORDER])
        return SpectralSymbols(lsf, output.envelope.gains, [self._flat(_whole(code.indices)) for code in output.codes])

    def signals_of(
        self,
        symbols: SpectralSymbols,
        levels: tf.Tensor,
        offsets: tf.Tensor,
        noise: tf.Tensor | None = None,
        used: Sequence[tf.Tensor] | None = None,
        memory: Memory | None = None,
    ) -> list[tf.Tensor]:
        """Signals at every depth, float32 [batch, (spectra + 1) hop], of symbols and nothing else, not enhanced.

        Args:
            symbols: of the frames.
            levels: as in `SpectralBatch`.
            offsets: as in `SpectralBatch`.
            noise: as in `SpectralBatch`.
            used: 1 for each codec that takes part, 0 for those that do not; None for all.
            memory: of `decoder_state` numbers; with one, the symbols go on from those before, and so does the last of
                the signals, whose first hop then has its overlap.
        """
        log_envelope = self.front_end.decode(symbols.lsf, symbols.gains)
        log_step, condition, audible = self._conditions(log_envelope, symbols.gains, offsets, memory)
        total = added = tf.zeros_like(log_step)
        below, signals = None, []
        for number, (codec, indices) in enumerate(zip(self.codecs, symbols.codes, strict=False)):
            values = codec.quantizer.decode(self._grid(indices))
            decoded = codec.synthesise(values, condition, below, audible, memory)
            share = 1.0 if used is None else used[number]
            total += share * decoded.spectrum
            below = values
            made = self._noise(decoded, noise)
            # noise belongs to the last codec that takes part: each knows what it leaves
            added = added if made is None else share * made + (1.0 - share) * added
            signals.append(self._signals((total + added) * tf.exp(log_step), levels))
        if memory:
            signals[-1] = self._overlapped(signals[-1], memory)
        return signals

    def parts(self, depth: int | None = None) -> list[Part]:
        levels, spectra = self.config.lsf_levels, self.spectra_per_frame
        side = [Part("lpc", (1, LPC_ORDER), levels), Part("gain", (spectra, 1), GAIN_LEVELS)]
        return side + [
            Part(f"codec {number}", (spectra, self.hop), 2 * LARGEST + 1)
            for number, _ in enumerate(self.codecs[:depth], start=1)
        ]

    def symbols_per_frame(self, depth: int) -> list[float]:
        """Symbols a frame of each of the first `depth` codecs; LSFs and gains count with the first."""
        counts = [float(part.shape[0] * part.shape[1]) for part in self.parts(depth)]
        side, codes = sum(counts[:-depth]), counts[-depth:]
        return [side + codes[0], *codes[1:]]

    @property
    def past(self) -> int:
        """Spectra before the present one that a decoded spectrum depends on."""
        return self.steps.first.reach + max(codec.past for codec in self.codecs)

    def encoder_state(self, depth: int) -> int:
        """Numbers that `quantised_of` remembers of what came before; 0 where it looks ahead, and cannot."""
        if self.config.look_ahead:
            return 0
        encoders = sum(codec.encoder.state_size for codec in self.codecs[:depth])
        decoders = sum(codec.decoder.state_size for codec in self.codecs[: depth - 1])
        return int(self.steps.first.state_size + encoders + decoders)

    def decoder_state(self, depth: int) -> int:
        """Numbers that `signals_of` remembers of what came before; 0 where encoders look ahead."""
        if self.config.look_ahead:
            return 0
        networks = sum(codec.decoder.state_size for codec in self.codecs[:depth])
        return int(self.steps.first.state_size + networks + self.hop)

    def trained_layers(self, modules: Sequence[int]) -> list[keras.layers.Layer]:
        """See `Cascade`; codecs with their rates, the first with step sizes and enhancer, which each depth needs.

        So a follower leaves the depths before it as they are. A concealment is trained alone, as an enhancer may be.
        """
        if self.concealment and self.config.finetuned == CONCEALMENT:
            return [self.concealment]
        layers = [self.steps, self.lsf_rate, self.gain_rate] if 0 in modules else []
        layers += [layer for module in modules for layer in (self.codecs[module], self.rates[module])]
        return layers + self._enhancers * (0 in modules or not modules)

    def coding_layers(self, depth: int | None) -> list[keras.layers.Layer]:
        """See `Cascade`; those of the rate become the coder's tables."""
        return [self.front_end, self.steps, *self.codecs[:depth], *self._enhancers, *self._concealments]

    def multiply_adds(self, depth: int | None = None) -> int:
        """See `Cascade`; of transform and networks."""
        spectra = SAMPLE_RATE / self.hop
        layers: list[keras.layers.Layer] = [
            self.steps,
            *(net for codec in self.codecs[:depth] for net in (codec.encoder, codec.decoder)),
        ]
        kernels = [weight for layer in layers for weight in layer.weights if len(weight.shape) > 1]
        # offsets of bands and bins are added, not multiplied
        networks = sum(math.prod(kernel.shape) for kernel in kernels if "offsets" not in kernel.name)
        transforms = 2 * 2 * self.hop**2
        enhancers = SAMPLE_RATE // PLACE * sum(enhancer.count_params() for enhancer in self._enhancers)
        return round(spectra * (self.hop // self.fold * networks + transforms)) + enhancers

    def move_steps(self, changes: Sequence[float]) -> None:
        """Adds a number for each of the first codecs to the logarithm of its step size, relative to what it codes.

        What a codec leaves to the next ones is as large as its steps, by which theirs are counted.
        """
        self.steps.offsets.assign_add(tf.fill(self.steps.offsets.shape, float(changes[0])))
        for codec, change in zip(self.codecs[1:], changes[1:], strict=False):
            codec.log_scale.assign_add(float(change))

    def saved_layers(self, depth: int) -> list[keras.layers.Layer]:
        side = [self.front_end, self.steps, self.lsf_rate, self.gain_rate]
        return [*side, *self.codecs[:depth], *self.rates[:depth], *self._enhancers, *self._concealments]

    @property
    def _enhancers(self) -> list[Enhancer]:
        return [self.enhancer] if self.enhancer else []

    @property
    def _concealments(self) -> list[Concealment]:
        return [self.concealment] if self.concealment else []

    def _enhanced(self, signals: list[tf.Tensor], batch: SpectralBatch) -> list[tf.Tensor]:
        """Signals of every depth, emphasised as they were, after the enhancer, which takes them as they are heard."""
        enhancer, emphasised = self.enhancer, self.config.pre_emphasis
        if enhancer is None:
            return signals
        # a hop is as loud as the later of the two spectra that it is made of
        levels, offsets = (tf.concat([each, each[:, -1:]], 1) for each in (batch.levels, batch.offsets))
        heard = [lpc.de_emphasise(each) if emphasised else each for each in signals]
        found = [enhancer.enhance(each, levels, offsets, layers) for layers, each in enumerate(heard, start=1)]
        return [lpc.pre_emphasise(each) if emphasised else each for each in found]

    def _overlapped(self, signal: tf.Tensor, memory: Memory) -> tf.Tensor:
        """A signal [batch, (spectra + 1) hop] whose first hop is overlapped with the last of what came before it."""
        first, rest = signal[:, : self.hop] + memory.taken(self.hop), signal[:, self.hop :]
        memory.leave(tf.reshape(signal[:, -self.hop :], [-1, self.hop]))
        return tf.concat([first, rest], 1)

    def _conditions(
        self, log_envelope: tf.Tensor, gains: tf.Tensor, offsets: tf.Tensor, memory: Memory | None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Log step and log of envelope over step, grids both, and which spectra are more than silence."""
        envelope = self._grid(log_envelope)
        log_step = self.steps(envelope, memory=memory) + _per_spectrum(offsets)
        return log_step, envelope - log_step, _per_spectrum(tf.cast(gains > 0, tf.float32))

    def _cheaper(
        self,
        quantised: QuantisedSpectrum,
        number: int,
        envelope: Envelope,
        batch: SpectralBatch,
        before: _Layer | None,
    ) -> QuantisedSpectrum:
        """What a model's encoder sends in place of the nearest bins of a codec, from 0, after a layer."""
        below = None if before is None else self._flat(before.quantised.indices)
        saved = self.rates[number].saved_nearer_to_zero(self._flat(quantised.indices), _known(envelope, batch), below)
        return self.codecs[number].quantizer.nearer_to_zero(quantised, self._grid(saved), self.config.rdo_lambda)

    def _bits(self, envelope: Envelope, codes: list[QuantisedSpectrum], batch: SpectralBatch) -> list[tf.Tensor]:
        frames = tf.shape(batch.warm)[1] // self.spectra_per_frame
        warm_frames = batch.warm[:, :: self.spectra_per_frame, 1]
        lsf = self.lsf_rate(envelope.lsf, self.front_end.quantizer.codebook, warm_frames)
        bits = [tf.reduce_sum(tf.reshape(lsf, [-1, frames]), 1)]
        bits.append(tf.reduce_sum(self.gain_rate(envelope.gains, batch.warm), 1))
        known, below = _known(envelope, batch), None
        for rate, code in zip(self.rates, codes, strict=False):
            indices = self._flat(code.indices)
            bits.append(rate(indices, known, below))
            below = indices
        return bits

    def _noise(self, decoded: Synthesised, noise: tf.Tensor | None) -> tf.Tensor | None:
        """The noise of a codec's decoder, a grid; None where there is none."""
        return None if noise is None or decoded.noise is None else decoded.noise * self._grid(noise)

    def _signals(self, spectra: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
        return inverse_mdct(self._flat(spectra) * tf.expand_dims(levels, -1), self.window, self.hop)

    def _grid(self, values: tf.Tensor) -> tf.Tensor:
        """[batch, spectra, bins] -> [batch, spectra, bands, fold]."""
        return tf.reshape(values, [-1, tf.shape(values)[1], self.hop // self.fold, self.fold])

    def _flat(self, values: tf.Tensor) -> tf.Tensor:
        """[batch, spectra, bands, fold] -> [batch, spectra, bins]."""
        return tf.reshape(values, [-1, tf.shape(values)[1], self.hop])


def _known(envelope: Envelope, batch: SpectralBatch) -> Known:
    return Known(envelope.log, batch.offsets, batch.warm)


def _per_spectrum(values: tf.Tensor) -> tf.Tensor:
    """[batch, spectra] -> [batch, spectra, 1, 1], in the way that LiteRT knows."""
    return tf.reshape(values, [-1, tf.shape(values)[1], 1, 1])


def _whole(indices: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(indices), tf.int32)
