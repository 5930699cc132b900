"""A training run, read from top to bottom (the form of nanoGPT's train.py, Karpathy 2022)."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ..batches import step_seed, text_batches
from ..evaluation import bits_from_nats, total_nll
from ..files import check_folder, in_use
from ..fit import Log, n_parameters
from ..gpt import GPT, GPTConfig
from ..optim import lr_factor, make_optimizers, set_lr
from ..sampling import complete
from ..terminal import signals_noted
from . import checkpoint
from .loading import Start, load_run, load_tokenizer, settled
from .precision import autocast, choose_dtype, has_native_bfloat16, make_scaler, update
from .prepare import open_tokens, prepare, read_last
from .processes import Processes, compiled, reshard, shard, sync_gradients
from .settings import MAY_FALL, Settings


@dataclass(repr=False)
class RunLog(Log):
    """The log of the whole run, what it came to, and the signal that stopped it (0: none)."""

    best_loss: float | None = None  # of the full validation split, nats per token
    best_step: int = 0
    sample: str = ""
    signal: int = 0


def train(settings: Settings, after_step: Callable[[dict[str, Any]], None] | None = None) -> RunLog:
    """Train to the last step, or until Ctrl-C or SIGTERM; under torchrun in every process.

    A run can be killed at any time and resumed with identical results: batches and dropout depend on the seed, the step
    and the process alone. `after_step` is called after each step with its line of the log: "step", "loss", "lr", and
    where it was evaluated "val_loss".

    Raises `ValueError` or `OSError` for what does not fit, before anything is written, and `FloatingPointError` for a
    loss that is not finite.
    """
    processes = Processes(settings.device)
    with ExitStack() as at_the_end:  # the folder is this run's alone
        processes.rank_zero_first(lambda: claim_folder(settings, processes, at_the_end))
        whole, start = settled(settings)
        return _train(whole, start, processes, after_step)


def _train(
    settings: Settings,
    start: Start | None,
    processes: Processes,
    after_step: Callable[[dict[str, Any]], None] | None,
) -> RunLog:
    out = Path(settings.out)
    rank, world_size, device = processes.rank, processes.world_size, processes.device
    n_parts = world_size * settings.gradient_accumulation_steps  # a batch is cut into so many parts

    # The text: tokenizer and token ids, made once by the first process and kept in the folder
    processes.rank_zero_first(lambda: prepare(settings, start.tokenizer if start else None))
    tokenizer = load_tokenizer(out / "tokenizer.json")
    ids, header = open_tokens(out / "tokens.bin")  # (n,), memory-mapped
    n_train = int(0.9 * len(ids))
    train_ids, val_ids = ids[:n_train], ids[n_train:]
    if n_train <= settings.block_size or len(val_ids) < 2:
        raise ValueError(f"a text of {len(ids)} tokens is too short for block_size={settings.block_size}")
    n_val_bytes = sum(len(tokenizer.decode_bytes(part.tolist())) for part in chunks(val_ids[1:]))
    prompt = settings.prompt or tokenizer.decode(val_ids[:1].tolist())
    tokenizer.encode(
        prompt, allowed_special="all"
    )  # a prompt that cannot be read is refused here, not after the run

    # The model, with weights from a folder or from the seed, and its optimizers
    tensors, info = read_last(settings) if settings.resume else ({}, {})
    if start is not None:
        model = start.model
        processes.print_rank_zero(f"beginning with the weights in {start.folder}")
    else:
        config = GPTConfig(**info["model"]) if info else settings.model_config(tokenizer.vocab_size)
        model = GPT(config, torch.Generator().manual_seed(settings.seed))
    config = model.config
    dtype = dtype_of(settings, device)
    if settings.fsdp:
        shard(model, list(model.blocks), dtype, device)
    else:
        model.to(device)
    betas = (0.9, settings.beta2)
    optimizers = make_optimizers(
        model, settings.optimizer, settings.learning_rate, settings.weight_decay, betas
    )
    scaler = make_scaler(device, dtype)
    # a copy to a CUDA GPU may go on while the CPU does
    transfers_early = device.type == "cuda"

    def loss_of(forward: Any, x: Tensor, y: Tensor) -> Tensor:
        """The mean cross-entropy of x, y (B, T)."""
        x, y = (each.to(device, non_blocking=transfers_early) for each in (x, y))
        with autocast(device, dtype):
            logits = forward(x)  # (B, T, V)
        return F.cross_entropy(logits.flatten(0, 1).float(), y.flatten())

    # Where the run stands: at its beginning, or at the last checkpoint
    log, step, log_bytes = RunLog(), 0, 0
    n_skipped = 0  # updates left out because the gradient left the range of float16
    compiles = device.type == "cuda" if settings.compile is None else settings.compile
    hardware = {
        "device": device.type,
        "dtype": str(dtype).removeprefix("torch."),
        "processes": world_size,
        "compile": compiles,
        "fsdp": settings.fsdp,
    }
    if info:
        step, log_bytes = info["step"], info["log_bytes"]
        log.best_loss, log.best_step, log.seconds = info["best_loss"], info["best_step"], info["seconds"]
        n_skipped = info.get("skipped", 0)
        # an optimizer that has not taken a step has no state
        checkpoint.restore(model, tensors, optimizers if step > n_skipped else ())
        if scaler.is_enabled() and info.get("scaler"):
            scaler.load_state_dict(info["scaler"])
        processes.print_rank_zero(resume_message(step, hardware, info["hardware"]))
        for change in lowered(info["settings"], settings):
            processes.print_rank_zero(change)
    steps_on_disk = checkpoint.StepLog(out / "log.jsonl", log_bytes)
    for record in steps_on_disk.records:
        add_record(log, record)
    processes.print_rank_zero(
        f"{n_parameters(model):,} parameters, vocabulary {tokenizer.vocab_size:,}, tokens: {len(train_ids):,} to train "
        f"on, {len(val_ids):,} to validate; on {device.type} in {hardware['dtype']}"
        + (" with a gradient scale" if scaler.is_enabled() else "")
    )

    def save(name: str) -> None:
        """Write the checkpoint "last", with all that the run goes on from, or "best", the parameters alone."""
        tensors = checkpoint.gather(model, optimizers if name == "last" else (), keep=rank == 0)
        info = {
            "best_loss": log.best_loss,
            "best_step": log.best_step,
            "seconds": log.seconds,
            "step": step,
            "log_bytes": steps_on_disk.n_bytes,
            "source": header["source"],
            "settings": asdict(settings),
            "model": asdict(config),
            "n_ids": tokenizer.vocab_size,
            "hardware": hardware,
            "scaler": scaler.state_dict(),
            "skipped": n_skipped,
        }
        if rank == 0:
            check_weights(tensors, step, settings.learning_rate)
            checkpoint.write_checkpoint(out / f"{name}.safetensors", tensors, info)

    # The forward pass in training: compiled, and with the gradients of all processes averaged
    forward: Any = model
    if compiles:
        example = torch.zeros((settings.batch_size // n_parts, settings.block_size), dtype=torch.int64)
        forward = compiled(model, lambda fast: scaler.scale(loss_of(fast, example, example)).backward())
    if world_size > 1 and not settings.fsdp:
        forward = DistributedDataParallel(forward)

    # The loop. Everything random in step i depends on the seed, i and the rank alone: so a run can be resumed
    batches = text_batches(train_ids, settings.block_size, settings.batch_size, settings.seed, start=step)
    x, y = next(batches)
    steps_since_report, seconds_since_report = 0, 0.0
    bar = processes.progress_bar(settings.steps, step)
    with signals_noted((signal.SIGINT, signal.SIGTERM)) as signals, closing(steps_on_disk), bar:
        if step == 0:
            save("last")  # from here on there is something to resume
        while step < settings.steps and not log.signal:
            started = perf_counter()

            # 1. the learning rate: a straight warm-up, then half a cosine down to min_lr_ratio
            factor = lr_factor(step, settings.steps, "cosine", settings.warmup_steps, settings.min_lr_ratio)
            lr = settings.learning_rate * factor
            set_lr(optimizers, lr)

            # 2. the gradient: this process takes its share of the parts, one after another
            torch.manual_seed(step_seed(settings.seed, step) * 1024 + rank)  # for dropout
            for optimizer in optimizers:
                optimizer.zero_grad()
            parts = list(zip(x.chunk(n_parts), y.chunk(n_parts), strict=True))
            first = rank * settings.gradient_accumulation_steps
            mine = parts[first : first + settings.gradient_accumulation_steps]
            losses = []
            for i, (part_x, part_y) in enumerate(mine, start=1):
                sync_gradients(forward, now=i == len(mine))  # once a step, after the last part
                part_loss = loss_of(forward, part_x, part_y) / len(mine)
                scaler.scale(part_loss).backward()
                losses.append(part_loss.detach())

            # 3. the update, of a gradient that is clipped
            if not update(model, optimizers, scaler, settings.grad_clip):
                n_skipped += 1
            step += 1
            x, y = next(batches)  # read while the device computes

            # 4. what all processes have to know: the loss of the whole batch, and whether a signal came to one
            my_loss = torch.stack(losses).sum().item() / world_size
            loss, n_signals, n_sigterms = processes.all_reduce_sum(
                my_loss, len(signals), signal.SIGTERM in signals
            )
            check_finite("loss", loss, step, lr)
            record = {"step": step, "loss": loss, "lr": lr}
            steps_since_report += 1
            seconds_since_report += perf_counter() - started

            # 5. evaluate on the whole validation split, every so many steps
            is_last = step == settings.steps
            if is_last or step % settings.eval_every == 0:
                n_tokens = min(16_384, 2**27 // config.vocab_size)  # as many as the logits leave memory for
                with autocast(device, dtype):
                    my_nll = total_nll(
                        model, val_ids, settings.block_size, n_tokens, shard=(rank, world_size)
                    )
                reshard(model)
                record["val_loss"] = processes.all_reduce_sum(my_nll)[0] / (len(val_ids) - 1)
                check_finite("validation loss", record["val_loss"], step, lr)

            # 6. log, report, save
            add_record(log, record)
            if rank == 0:
                steps_on_disk.write(record)
            if after_step is not None:
                after_step(record)
            if "val_loss" in record:
                n_tokens = steps_since_report * settings.batch_size * settings.block_size
                speed = n_tokens / seconds_since_report  # tokens a second
                flops = speed * config.flops_per_token()
                peak = processes.peak_flops() if dtype == torch.bfloat16 else None
                bits = bits_from_nats(record["val_loss"], len(val_ids) - 1, n_val_bytes)
                line = report(log, steps_since_report, bits, speed, flops, peak)
                processes.print_rank_zero(line + (f"  {n_skipped:,} updates left out" if n_skipped else ""))
                steps_since_report, seconds_since_report = 0, 0.0
                if log.best_loss is None or record["val_loss"] < log.best_loss:
                    log.best_loss, log.best_step = record["val_loss"], step
                    save("best")
            log.seconds += perf_counter() - started
            if n_signals:
                log.signal = signal.SIGTERM if n_sigterms else signal.SIGINT
            if is_last or n_signals or step % settings.checkpoint_every == 0:
                save("last")
            bar.update()

    # A sample of the best model
    if settings.sample and not log.signal and rank == 0:
        best, _ = load_run(out)
        best.to("cpu" if settings.fsdp else device)
        log.sample = complete(best, tokenizer, prompt, settings.sample, seed=settings.seed)
    return log


def claim_folder(settings: Settings, processes: Processes, at_the_end: ExitStack) -> None:
    """Check the settings, make the folder, and lock it until the end of the run, before anything is written into it."""
    settings, _ = settled(settings)
    check_settings(settings, processes.world_size, processes.device)
    out = Path(settings.out)
    if settings.resume:
        read_last(settings)  # a folder without a run that can go on is not touched
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    at_the_end.enter_context(in_use(out / "run.lock"))


def check_settings(settings: Settings, world_size: int, device: torch.device) -> None:
    """Raise `ValueError` for settings that do not fit each other, the processes or their device."""
    n_parts = world_size * settings.gradient_accumulation_steps
    if settings.batch_size % n_parts:
        raise ValueError(
            f"batch_size={settings.batch_size} cannot be divided into {n_parts} parts (processes times "
            "gradient_accumulation_steps)"
        )
    settings.model_config(vocab_size=1)
    if settings.fsdp and world_size == 1:
        raise ValueError("fsdp spreads a model over several processes: start them with torchrun")
    if settings.compile and device.type == "mps":
        raise ValueError("compile is not for an Apple GPU (mps): leave it out, or use --device cpu")
    dtype_of(settings, device)


def dtype_of(settings: Settings, device: torch.device) -> torch.dtype:
    has_bfloat16 = has_native_bfloat16(device)
    return choose_dtype(settings.dtype, device, has_bfloat16=has_bfloat16, fsdp=settings.fsdp)


def resume_message(step: int, hardware: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    text = f"going on after step {step:,}"
    if any(hardware.get(name) != value for name, value in before.items()):
        text += f" on {hardware}, before on {before}: equal up to rounding and dropout"
    return text


def lowered(before: Mapping[str, Any], settings: Settings) -> list[str]:
    """A sentence for each setting that a resumed run may lower, and has lowered."""
    changes = []
    for name in MAY_FALL:
        value = getattr(settings, name)
        if value != before[name]:
            changes.append(f"{name} {before[name]} until now, {value} from here on")
    return changes


def add_record(log: RunLog, record: Mapping[str, Any]) -> None:
    """Put a line of the log on disk into the log in memory."""
    log.losses.append(record["loss"])
    log.lrs.append(record["lr"])
    if "val_loss" in record:
        log.val_steps.append(record["step"])
        log.val_losses.append(record["val_loss"])


def check_finite(what: str, loss: float, step: int, lr: float) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the {what} of step {step} is {loss} at learning rate {lr:.3g}: lower the learning rate or clip the "
            "gradient"
        )


def check_weights(tensors: Mapping[str, Tensor], step: int, lr: float) -> None:
    """A run must not go on from weights that are not finite, so they are never saved."""
    for name, tensor in tensors.items():
        if name.startswith("model.") and not bool(torch.isfinite(tensor).all()):
            raise FloatingPointError(
                f"{name.removeprefix('model.')} is not finite after step {step} at learning rate {lr:.3g}; the "
                "checkpoint before it is kept: go on from it with --resume and a lower --learning-rate"
            )


def chunks(ids: np.ndarray, size: int = 2**20) -> Iterator[np.ndarray]:
    """The ids (n,) in pieces, so that those of a large text are never in memory as Python's numbers."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def report(log: RunLog, n_steps: int, bits: float, speed: float, flops: float, peak: float | None) -> str:
    """A line on the last `n_steps` steps: their mean loss, the validation loss, tokens a second, use of the device.

    The validation loss stands in nats per token and as `bits` per byte, which compare between tokenizers.
    """
    mean = sum(log.losses[-n_steps:]) / n_steps
    text = f"step {len(log.losses):6,}  train {mean:.4f}  val {log.val_losses[-1]:.4f} ({bits:.3f} bits per byte)"
    text += f"  {speed:,.0f} tokens/s"
    if peak:
        text += f"  {flops / peak:.0%} of the peak"
    return text
