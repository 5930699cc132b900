"""Train a GPT on a text from the command line: on a CPU, a GPU, or many (after nanoGPT's train.py, Karpathy 2022).

    python -m nnhelpers.train --out runs/plays
    python -m nnhelpers.train --out runs/plays --resume
    torchrun --nproc-per-node 4 -m nnhelpers.train --preset gpt2 --corpus FILE --out runs/gpt2

then, in Python, `model, tokenizer = train.load("runs/plays")`. The folder holds best.safetensors (the parameters of the
lowest validation loss), last.safetensors (all that the run goes on from), log.jsonl, the tokenizer and the tokens. Even
after kill -9 it goes on as if never stopped: batches and dropout depend on the seed, the step and the process alone.
"""

from __future__ import annotations

import hashlib
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from . import checkpoint, parallel, tokens
from .batches import text_batches
from .bpe import BUILT_IN, BPETokenizer
from .data import CharTokenizer, load_shakespeare
from .gpt import GPT, GPTConfig
from .parallel import Processes
from .sampling import generate
from .settings import Settings, read_flags
from .training import Log, make_optimizers, n_parameters, rate_share, set_rate

INFO = ("settings", "model", "source", "place", "step", "log_bytes", "best_loss", "best_step", "seconds")
# What a resumed run may change: nothing that alters its numbers by more than (from `device` on) rounding.
FREE = ("out", "corpus", "resume", "checkpoint_every", "sample", "prompt", "device", "compile", "fsdp")


@dataclass
class Result(Log):
    """The log of the whole run, what it came to, and the signal that stopped it (0: none)."""

    best_loss: float | None = None  # of the full validation split, nats per token
    best_step: int = 0
    sample: str = ""
    signal: int = 0


def model_config(settings: Settings, vocab_size: int) -> GPTConfig:
    """The shape of the model for a vocabulary; `ValueError` for settings that do not fit each other."""
    make = GPTConfig.modern if settings.form == "modern" else GPTConfig
    names = ("n_layer", "n_head", "n_embd", "dropout", "qk_norm")
    return make(vocab_size, settings.block_size, **{name: getattr(settings, name) for name in names})


def _encoder(tokenizer: CharTokenizer | BPETokenizer) -> Callable[[str], list[int]]:
    """Corpus and prompt are the user's own, so the special tokens in them are meant."""
    is_bpe = isinstance(tokenizer, BPETokenizer)
    return partial(tokenizer.encode, allowed_special="all") if is_bpe else tokenizer.encode


def _prepare(settings: Settings, out: Path) -> None:
    """Put tokenizer and tokens into the folder; what is there already is neither lost nor mixed up."""
    saved = _read_last(settings)[1] if settings.resume else None
    if not saved and (found := sorted(out.glob("*.safetensors"))):
        raise ValueError(f"{out} holds a run ({found[0].name}): add --resume, or take another folder")
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob(".*.tmp"):  # what a killed run was writing
        stale.unlink()
    plays = [load_shakespeare()] if settings.corpus == "shakespeare" else None
    text = (lambda: plays) if plays else (lambda: tokens.read_blocks(settings.corpus))
    sha256, characters = tokens.survey(text())
    path, name = out / "tokenizer.json", settings.tokenizer
    if not saved:
        make = BPETokenizer.from_tiktoken if name in BUILT_IN else BPETokenizer.load
        tokens.save_tokenizer(CharTokenizer(characters) if name == "char" else make(name), path)
    tokenizer = tokens.load_tokenizer(path, BPETokenizer.load)
    source = {"corpus": sha256, "tokenizer": hashlib.sha256(path.read_bytes()).hexdigest()}
    checkpoint.check_same(saved["source"] if saved else source, source)
    try:
        tokens.open_tokens(out / "tokens.bin", source)
    except (ValueError, OSError):  # there are none yet, or they are cut short, or of another text
        tokens.write_tokens(out / "tokens.bin", text(), _encoder(tokenizer), tokenizer.vocab_size, source)


def _read_last(settings: Settings) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The last checkpoint in the folder, if it is of a run with these settings."""
    tensors, info = checkpoint.read_checkpoint(Path(settings.out) / "last.safetensors", *INFO)
    checkpoint.check_same(info["settings"], asdict(settings), FREE)
    return tensors, info


def load(folder: str | os.PathLike[str], which: str = "best") -> tuple[GPT, CharTokenizer | BPETokenizer]:
    """The model of a run, in eval mode on the CPU, from its "best" or its "last" checkpoint; and the tokenizer.

    Raises `FileNotFoundError`, and `ValueError` for files that are damaged or do not belong together.
    """
    tensors, info = checkpoint.read_checkpoint(Path(folder) / f"{which}.safetensors", "model")
    try:
        model = GPT(GPTConfig(**info["model"]))
    except TypeError as error:
        raise ValueError(f"{which}.safetensors in {folder} does not describe a GPT: {error}") from None
    checkpoint.restore(model, tensors)
    tokenizer = tokens.load_tokenizer(Path(folder) / "tokenizer.json", BPETokenizer.load)
    if tokenizer.vocab_size != model.config.vocab_size:
        sizes = f"{tokenizer.vocab_size} ids, the model {model.config.vocab_size}"
        raise ValueError(f"tokenizer.json in {folder} has {sizes}: they do not belong together")
    return model.eval(), tokenizer


class _Run:
    """A run, or one process's part of it."""

    def __init__(self, settings: Settings, processes: Processes):
        self.settings, self.processes, self.out = settings, processes, Path(settings.out)
        self.device, self.n_parts = processes.device, processes.world * settings.accumulate
        if settings.batch_size % self.n_parts:
            parts = f"{self.n_parts} parts (processes times accumulate)"
            raise ValueError(f"batch_size={settings.batch_size} cannot be divided into {parts}")
        model_config(settings, vocab_size=1)  # before anything is written
        if settings.fsdp and processes.world == 1:
            raise ValueError("fsdp shares a model out over several processes: start them with torchrun")
        processes.first(lambda: _prepare(settings, self.out))
        self.tokenizer = tokens.load_tokenizer(self.out / "tokenizer.json", BPETokenizer.load)
        ids, header = tokens.open_tokens(self.out / "tokens.bin")
        self.source, n_train = header["source"], int(0.9 * len(ids))
        self.train_ids, self.val_ids = ids[:n_train], ids[n_train:]
        if n_train <= settings.block_size or len(self.val_ids) < 2:
            raise ValueError(f"a text of {len(ids)} tokens is too short for block_size={settings.block_size}")
        self.prompt = _encoder(self.tokenizer)(settings.prompt) or [int(self.val_ids[0])]
        self.result, self.step, self.spent = Result(), 0, [0, 0.0]
        self._build(settings)

    def _build(self, settings: Settings) -> None:
        """The model, its optimizers and its journal, as new or as the last checkpoint has them."""
        on_gpu, several = self.device.type == "cuda", self.processes.world > 1
        auto = "bfloat16" if on_gpu else "float32"
        self.dtype = getattr(torch, auto if settings.dtype == "auto" else settings.dtype)
        config = model_config(settings, self.tokenizer.vocab_size)
        self.model = GPT(config, torch.Generator().manual_seed(settings.seed))
        if settings.fsdp:
            parallel.share_out(self.model, self.model.blocks, self.dtype, self.device)
        else:
            self.model.to(self.device)
        options = (settings.rate, settings.weight_decay, (0.9, settings.beta2))
        self.optimizers = make_optimizers(self.model, settings.optimizer, *options)
        compiles = on_gpu if settings.compile is None else settings.compile
        self.place = {"device": self.device.type, "processes": self.processes.world}
        self.place |= {"compile": compiles, "fsdp": settings.fsdp}
        n_bytes = self._restore() if settings.resume else 0
        self.journal = checkpoint.Journal(self.out / "log.jsonl", n_bytes)
        for record in self.journal.records:
            self._note(record)
        self.forward = parallel.compiled(self.model, self._try_out) if compiles else self.model
        if several and not settings.fsdp:
            self.forward = DistributedDataParallel(self.forward)

    def _restore(self) -> int:
        """Go back to the last checkpoint; how many bytes of the log belong to it."""
        tensors, info = _read_last(self.settings)
        self.step, result = info["step"], self.result
        checkpoint.restore(self.model, tensors, self.optimizers if self.step else ())
        for name in ("best_loss", "best_step", "seconds"):
            setattr(result, name, info[name])
        place = f" on {self.place}, before on {info['place']}: equal up to rounding and dropout"
        self.processes.say(
            f"going on after step {self.step:,}" + (place if self.place != info["place"] else "")
        )
        return info["log_bytes"]

    def _try_out(self, model: Any) -> None:
        ids = torch.zeros((self.settings.batch_size // self.n_parts, self.settings.block_size)).long()
        self._loss(model, ids, ids).backward()

    def _note(self, record: dict[str, Any]) -> None:
        """Put a line of the log into the result."""
        self.result.losses.append(record["loss"])
        self.result.rates.append(record["rate"])
        if "val_loss" in record:
            self.result.dev_steps.append(record["step"])
            self.result.dev_losses.append(record["val_loss"])

    def train(self) -> Result:
        """To the last step, or to the end of the one in which a signal comes."""
        settings, shape = self.settings, (self.settings.block_size, self.settings.batch_size)
        batches = text_batches(self.train_ids, *shape, settings.seed, start=self.step)
        batch = next(batches)
        bar = self.processes.bar(settings.steps, self.step)
        with parallel.signals_noted() as noted, closing(self.journal), bar:
            if not self.step:
                self._save("last")
            while self.step < settings.steps and not self.result.signal:
                start = perf_counter()
                loss, rate = self._update(*batch)
                batch = next(batches)  # read while the device computes
                self._finish_step(loss.item(), rate, noted, start)
                bar.update()
        return self.result

    def _update(self, x: Tensor, y: Tensor) -> tuple[Tensor, float]:
        """One step on this process's rows of a batch; its loss (a scalar tensor) and the rate."""
        settings, rank = self.settings, self.processes.rank
        share = rate_share(self.step, settings.steps, "cosine", settings.warmup, settings.final_rate)
        set_rate(self.optimizers, settings.rate * share)
        torch.manual_seed((settings.seed * 1_000_003 + self.step) * 1024 + rank)  # for dropout
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        parts = list(zip(x.chunk(self.n_parts), y.chunk(self.n_parts), strict=True))
        parts = parts[rank * settings.accumulate :][: settings.accumulate]
        losses = []
        for i, part in enumerate(parts, start=1):
            parallel.exchange_gradients(self.forward, now=i == len(parts))
            loss = self._loss(self.forward, *part) / len(parts)
            loss.backward()
            losses.append(loss.detach())
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        return torch.stack(losses).sum(), settings.rate * share

    def _loss(self, model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        """The mean cross-entropy of a batch (B, T)."""
        x, y = x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
        with self._precision():
            logits = model(x)
        return F.cross_entropy(logits.flatten(0, 1).float(), y.flatten())

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _finish_step(self, loss: float, rate: float, noted: list[int], start: float) -> None:
        """Bring the processes' losses and signals together; evaluate, log and save what is due."""
        settings, result = self.settings, self.result
        mine = (loss / self.processes.world, len(noted), signal.SIGTERM in noted)
        loss, stop, term = self.processes.sums(*mine)
        self._check_finite("loss", loss, rate)
        self.step += 1
        self.spent = [self.spent[0] + 1, self.spent[1] + perf_counter() - start]
        ends, record = self.step == settings.steps, {"step": self.step, "loss": loss, "rate": rate}
        if ends or self.step % settings.eval_every == 0:
            record["val_loss"] = self._validate()
            self._check_finite("validation loss", record["val_loss"], rate)
        self._note(record)
        if self.processes.rank == 0:
            self.journal.write(record)
        if "val_loss" in record:
            self._report(record["val_loss"])
        result.seconds += perf_counter() - start
        result.signal = (signal.SIGTERM if term else signal.SIGINT) if stop else 0
        if ends or stop or self.step % settings.checkpoint_every == 0:
            self._save("last")

    def _check_finite(self, what: str, loss: float, rate: float) -> None:
        if not math.isfinite(loss):
            text = f"the {what} of step {self.step} is {loss} at rate {rate:.3g}"
            raise FloatingPointError(f"{text}: lower the rate or clip the gradient")

    def _validate(self) -> float:
        """The loss of the full validation split, every token once; the processes share the work."""
        n_tokens = min(16384, 2**27 // self.tokenizer.vocab_size)  # as many as the logits leave memory for
        options = {"part": (self.processes.rank, self.processes.world), "device": self.device}
        with self._precision():
            total = tokens.text_nll(self.model, self.val_ids, self.settings.block_size, n_tokens, **options)
        parallel.reshard(self.model)
        return self.processes.sums(total)[0] / (len(self.val_ids) - 1)

    def _report(self, val_loss: float) -> None:
        """Print how it goes, and keep the best."""
        n_steps, seconds = self.spent
        speed = n_steps * self.settings.batch_size * self.settings.block_size / seconds
        mean, peak = sum(self.result.losses[-n_steps:]) / n_steps, self.processes.peak()
        text = f"step {self.step:6,}  train {mean:.4f}  val {val_loss:.4f}  {speed:,.0f} tokens/s"
        if peak and self.dtype == torch.bfloat16:
            text += f"  {speed * self.model.config.flops_per_token() / peak:.0%} of the peak"
        self.processes.say(text)
        self.spent = [0, 0.0]
        if self.result.best_loss is None or val_loss < self.result.best_loss:
            self.result.best_loss, self.result.best_step = val_loss, self.step
            self._save("best")

    def _save(self, name: str) -> None:
        optimizers, is_first = self.optimizers if name == "last" else (), self.processes.rank == 0
        tensors = checkpoint.gather(self.model, optimizers, keep=is_first)
        info = {name: getattr(self.result, name) for name in ("best_loss", "best_step", "seconds")}
        info |= {"step": self.step, "log_bytes": self.journal.n_bytes, "source": self.source}
        info |= {"settings": asdict(self.settings), "model": asdict(self.model.config), "place": self.place}
        if is_first:
            checkpoint.write_checkpoint(self.out / f"{name}.safetensors", tensors, info)

    def sample(self) -> str:
        """What the best model writes."""
        model, tokenizer = load(self.out)
        device = "cpu" if self.settings.fsdp else self.device
        generator = torch.Generator().manual_seed(self.settings.seed)
        prompt, n_tokens = torch.tensor([self.prompt], device=device), self.settings.sample
        (ids,) = generate(model.to(device), prompt, n_tokens, generator=generator, cache=True)
        return tokenizer.decode(self.prompt + ids)


def run(settings: Settings) -> Result:
    """Train to the end, or until Ctrl-C or SIGTERM; under torchrun in every process. Returns the log and the outcome.

    Raises `ValueError` or `OSError` for what does not fit, and `FloatingPointError` for a loss that is not finite.
    """
    this = _Run(settings, Processes(settings.device))
    counts = f"{len(this.train_ids):,} to train on, {len(this.val_ids):,} to validate"
    this.processes.say(
        f"{n_parameters(this.model):,} parameters, vocabulary {this.tokenizer.vocab_size:,}, tokens: {counts}"
    )
    result = this.train()
    if settings.sample and not result.signal and this.processes.rank == 0:
        result.sample = this.sample()
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. 0; 130 or 143 after Ctrl-C or SIGTERM; 2 for bad input, 1 if the training failed."""
    say = print if os.environ.get("RANK", "0") == "0" else lambda *args, **options: None
    try:
        settings = read_flags(arguments)
        result = run(settings)
    except (ValueError, OSError, FloatingPointError, torch.OutOfMemoryError) as error:
        say(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, (ValueError, OSError)) else 1
    except KeyboardInterrupt:
        say("stopped at once; --resume goes on from the last checkpoint", file=sys.stderr)
        return 130
    if result.signal:
        command = f"python -m nnhelpers.train --resume --out {settings.out}"
        say(f"stopped after step {len(result.losses):,}; {command} goes on")
        return 128 + result.signal
    say(result.sample, end="\n\n")
    say(
        f"best: {result.best_loss:.4f} nats a token, at step {result.best_step:,}; {result.seconds:.1f} seconds"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
