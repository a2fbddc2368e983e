"""Full fine-tuning: the encoder is trained on with a linear classifier on top."""

from __future__ import annotations

import math
from typing import final

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.core.errors import ConfigError, DataError, Fault, TrainingError
from jepa.core.probing import Batch, Network, Predictions, Protocol, Samples
from jepa.core.settings import FieldError, check, non_negative, positive
from jepa.core.training.schedules import cosine
from jepa.evaluation.classifier import Classifier
from jepa.evaluation.layer_decay import groups
from jepa.evaluation.logistic import Logistic
from jepa.evaluation.mixing import Mix, drawing, mixing

_BETAS = (0.9, 0.999)

_below_one = check("0 or more, below 1", lambda v: 0 <= v < 1)


@attrs.frozen(kw_only=True)
class FinetuneConfig:
    """I-JEPA's low-shot settings; what the paper leaves open is as in MAE (arXiv 2111.06377)."""

    epochs: float = attrs.field(default=50, validator=positive)
    """Passes over the training samples."""
    min_steps: int = attrs.field(default=200, validator=positive)
    """Steps at least, by more passes: few samples would make but a step each epoch."""
    batch: int = attrs.field(default=512, validator=positive)
    """Samples of a step; all of them where there are fewer."""
    lr: float = attrs.field(default=1e-3, validator=positive)
    """Highest learning rate, at `reference_batch` samples a step; it grows with `batch`."""
    reference_batch: int = attrs.field(default=256, validator=positive)
    warmup_epochs: float = attrs.field(default=5, validator=non_negative)
    """Epochs of the linear warm-up, which a cosine to 0 follows; where `min_steps` makes the
    training longer, the warm-up keeps its share of it."""
    weight_decay: float = attrs.field(default=0.05, validator=non_negative)
    """Acts on matrices alone."""
    layer_decay: float = attrs.field(
        default=0.75, validator=check("above 0, at most 1", lambda v: 0 < v <= 1)
    )
    """What a layer's learning rate is of that of the layer above; 1: all learn alike."""
    label_smoothing: float = attrs.field(default=0.1, validator=_below_one)
    drop_path: float | None = attrs.field(default=None, validator=_below_one)
    """Drop rate of the encoder's last block; null: that of the run."""
    mixup: float = attrs.field(default=0.0, validator=non_negative)
    """Weighted means of samples, the weight from Beta(mixup, mixup); 0: none."""
    cutmix: float = attrs.field(default=0.0, validator=non_negative)
    """Rectangles of other samples, their area from Beta(cutmix, cutmix); 0: none. For inputs of
    two axes."""

    def __attrs_post_init__(self) -> None:
        if self.warmup_epochs >= self.epochs:
            raise FieldError(
                "warmup_epochs",
                f"found {self.warmup_epochs:g}, allowed: less than the {self.epochs:g} of epochs",
            )


@attrs.frozen(kw_only=True)
class Course:
    """How long to train, on how many samples a step, at which highest learning rate."""

    steps: int
    batch: int
    warmup: int
    lr: float

    @classmethod
    def of(cls, config: FinetuneConfig, samples: int) -> Course:
        """The course over so many training samples."""
        batch = min(config.batch, samples)
        # A step of all samples has no noise of sampling, so it needs no lower rate for it.
        lr = config.lr * config.batch / config.reference_batch
        steps = max(config.min_steps, math.ceil(config.epochs * samples / batch))
        return cls(
            steps=steps,
            batch=batch,
            warmup=int(steps * config.warmup_epochs / config.epochs),
            lr=lr,
        )

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        return cosine(self.lr, 0.0, (step - self.warmup) / (self.steps - self.warmup))


@final
class Finetune(Protocol):
    """A copy of the encoder is trained with a linear classifier on its average-pooled tokens.

    AdamW with a learning rate that falls from layer to layer downwards, label smoothing, a warm-up
    and a cosine, in bf16 on a GPU and in fp32 on a CPU (I-JEPA, arXiv 2301.08243, low-shot).
    On a CPU the predictions are a function of the seed. The candidate's own encoder stays as it
    is. Raw samples have no encoder to train: they get logistic regression, and say so in details.
    """

    Config = FinetuneConfig

    def __init__(self, config: FinetuneConfig) -> None:
        self.config = config

    def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
        """Classes [1, m] (see `Protocol.predict`).

        Raises:
            ConfigError: a setting does not fit the encoder or the inputs.
            TrainingError: the loss or the predictions are not finite.
        """
        network = self._network(train)
        if network is None:
            said = Logistic(Logistic.Config()).predict(train, test, seed)
            fitted = {"fitted": "logistic regression on the raw content"}
            return attrs.evolve(said, details={**fitted, **said.details})
        model = Classifier(network, len(train.classes))
        course = Course.of(self.config, len(train))
        loss = self._train(model, course, train, seed)
        logits = model.logits(test, course.batch)
        if not torch.isfinite(logits).all():
            raise _not_finite("predictions", course)
        details = {"steps": course.steps, "lr": course.lr, "loss": loss}
        return Predictions(values=test.decide(logits.softmax(1))[None], details=details)

    def _network(self, train: Samples) -> Network | None:
        rate = self.config.drop_path
        if rate is None:
            return train.network()
        try:
            return train.network([f"model.encoder.drop_path={rate}"])
        except ConfigError as error:
            faults = [
                Fault("drop_path", f"found {rate:g}, but {fault}; null leaves the encoder as it is")
                for fault in error.faults
            ]
            raise ConfigError(faults) from error

    def _train(self, model: Classifier, course: Course, train: Samples, seed: int) -> float:
        """Train the whole model; gives the loss of the last step."""
        config = self.config
        mix = mixing(config.mixup, config.cutmix, len(train.classes))
        layers = groups(model, model.backbone, config.layer_decay)
        optimizer = torch.optim.AdamW(
            [part.settings(config.weight_decay) for part in layers], betas=_BETAS
        )
        model.train()
        last = math.nan
        batches = train.training_batches(course.batch, course.steps, seed)
        for step, batch in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = course.rate(step) * group["scale"]
            with drawing(seed, step, model.device):
                loss = self._loss(model, batch, mix)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            last = loss.item()
            if not math.isfinite(last):
                raise _not_finite(f"the loss of step {step + 1} of {course.steps}", course)
        return last

    def _loss(self, model: Classifier, batch: Batch, mix: Mix | None) -> Tensor:
        """Cross-entropy [] of a batch, mixed as `mix` draws."""
        if batch.labels is None:
            raise DataError("these samples have no labels")
        inputs, labels = model.prepared(batch.inputs), batch.labels.to(model.device)
        if mix is not None:
            inputs, labels = mix(inputs, labels)
        return F.cross_entropy(model(inputs), labels, label_smoothing=self.config.label_smoothing)


def _not_finite(what: str, course: Course) -> TrainingError:
    return TrainingError(
        f"finetune: not finite: {what}, at a highest learning rate of {course.lr:g} for batches of "
        f"{course.batch}. Try a lower lr or a longer warmup_epochs, and look at the data for "
        "constant or extreme samples"
    )
