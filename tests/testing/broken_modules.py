"""Tokenizers, encoders and predictors that break one promise each."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from jepa.core import ConfigError, Grid, Query, Tokens
from jepa.plugins.encoders.vit import ViTEncoder
from jepa.plugins.predictors.vit import ViTPredictor
from jepa.plugins.tokenizers.patch import PatchTokenizer

# --- on two processes ----------------------------------------------------------------------------


class FailsAlone(nn.Linear):
    """A good one, but on one process."""

    def __init__(self, rank):
        super().__init__(3, 2)
        self.rank = rank

    def forward(self, inputs):
        if dist.is_initialized() and dist.get_rank() == self.rank:
            raise ArithmeticError(f"nothing works on {self.rank}")
        return super().forward(inputs)


# --- tokenizers ----------------------------------------------------------------------------------


class FloatPlaces(PatchTokenizer):
    def forward(self, inputs):
        tokens = super().forward(inputs)
        return Tokens(tokens.data, tokens.coords.float())


class Backwards(PatchTokenizer):
    def forward(self, inputs):
        return Tokens(*(part.flip(1) for part in super().forward(inputs)))


class OtherGrid(PatchTokenizer):
    def __init__(self, config, *, spec, dim):
        super().__init__(config, spec=spec, dim=dim)
        self.grid = Grid(self.grid.shape, ("x", "z"))


class TakesAnything(PatchTokenizer):
    def grid_for(self, shape):
        return super().grid_for(shape[:3])


class RawOfInput(PatchTokenizer):
    def __init__(self, config, *, spec, dim):
        super().__init__(config, spec=spec, dim=dim)
        self.patches = PatchTokenizer(config, spec=spec, dim=dim)
        del self.proj

    def forward(self, inputs):
        return self.patches(inputs)

    def raw(self, inputs):
        return inputs


class Averaging(PatchTokenizer):
    def forward(self, inputs):
        return super().forward(inputs - inputs.mean(dim=0))


TOKENIZERS = {
    FloatPlaces: "shapes",
    Backwards: "places",
    OtherGrid: "grids",
    TakesAnything: "refuses_other_axes",
    RawOfInput: "raw_content",
    Averaging: "samples_apart",
}


# --- encoders ------------------------------------------------------------------------------------


class Wide(ViTEncoder):
    def forward(self, tokens):
        return torch.cat([super().forward(tokens)] * 2, dim=-1)


class InOrder(ViTEncoder):
    """Adds a feature of a token's place in the row, whatever its coordinates."""

    def __init__(self, config, *, grid, dim):
        super().__init__(config, grid=grid, dim=dim)
        self.norm = Ramp(self.norm)


class Ramp(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.inner = norm

    def forward(self, x):
        return self.inner(x) + torch.arange(x.shape[1], device=x.device)[:, None]


class Placeless(ViTEncoder):
    def __init__(self, config, *, grid, dim):
        super().__init__(config, grid=grid, dim=dim)
        self.positions = Nowhere()


class Nowhere(nn.Module):
    def forward(self, coords):
        return 0.0

    def regrid(self, grid):
        pass


class BatchNormed(ViTEncoder):
    def __init__(self, config, *, grid, dim):
        super().__init__(config, grid=grid, dim=dim)
        self.norm = OverBatch(self.norm)


class OverBatch(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.inner = norm

    def forward(self, x):
        return self.inner(x) - x.mean(dim=(0, 1))


class RawLast(ViTEncoder):
    def layers(self, tokens, indices):
        return [2 * output for output in super().layers(tokens, indices)]


class OneGrid(ViTEncoder):
    def regrid(self, grid):
        if grid.size > 30:
            raise ConfigError("only one grid")


class Uneven(ViTEncoder):
    def attention(self, tokens, index):
        return 2 * super().attention(tokens, index)


class WidthInWords(ViTEncoder):
    @classmethod
    def width(cls, config):
        return "wide"


class Idle(ViTEncoder):
    def __init__(self, config, *, grid, dim):
        super().__init__(config, grid=grid, dim=dim)
        self.unused = nn.Parameter(torch.zeros(3))


class Noisy(ViTEncoder):
    """Another output each time."""

    def __init__(self, config, *, grid, dim):
        super().__init__(config, grid=grid, dim=dim)
        self.norm = Noise(self.norm)


class Noise(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.inner, self.calls = norm, 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x) * (1 + 1e-6 * self.calls)


class Drawing(ViTEncoder):
    def forward(self, tokens):
        np.random.seed(0)
        return super().forward(tokens)


class Unpicklable(ViTEncoder):
    def __init__(self, config, *, grid, dim):
        super().__init__(config, grid=grid, dim=dim)
        self.act = lambda x: x


class Reading(ViTEncoder):
    """Asks for a value, which the meta device has not."""

    def forward(self, tokens):
        x = super().forward(tokens)
        return x + 0 * float(x.detach().mean())


class Overflowing(ViTEncoder):
    """Divides by a difference that bfloat16 rounds to 0."""

    def forward(self, tokens):
        one = torch.ones(1, 1, device=tokens.data.device)
        little = 2.0**-10
        difference = torch.mm(one + little, one).float() - 1
        return super().forward(tokens) * (little / difference.squeeze())


ENCODERS = {
    Wide: "shapes",
    InOrder: "order_of_tokens",
    Placeless: "places_of_tokens",
    BatchNormed: "samples_apart",
    RawLast: "layers",
    OneGrid: "regrids",
    Uneven: "attention",
    WidthInWords: "width",
    Idle: "gradient_reaches_every_parameter",
    Noisy: "repeats",
    Drawing: "generators",
    Unpicklable: "pickles",
    Reading: "on_meta",
    Overflowing: "bf16",
}


class Branching(ViTEncoder):
    """Looks at values to decide, which no graph holds."""

    def forward(self, tokens):
        x = super().forward(tokens)
        return x * 2 if float(x.mean()) > 1e9 else x


class BatchMean(ViTEncoder):
    """Statistics of this process's share of the batch."""

    def forward(self, tokens):
        x = super().forward(tokens)
        return x * x.square().mean()


# --- predictors ----------------------------------------------------------------------------------


class Narrow(ViTPredictor):
    def forward(self, context, query):
        return super().forward(context, query)[..., :-1]


class FirstToken(ViTPredictor):
    def forward(self, context, query):
        return super().forward(context, query) + context.data[:, :1, :1]


class Numbered(ViTPredictor):
    def forward(self, context, query):
        found = super().forward(context, query)
        return found + torch.arange(found.shape[1], device=found.device)[:, None]


class OnePlace(ViTPredictor):
    def forward(self, context, query):
        asked = query.coords[:, :1].expand_as(query.coords) * 0
        return super().forward(context, Query(asked, query.view))


class Blindfold(ViTPredictor):
    def forward(self, context, query):
        return super().forward(Tokens(context.data.detach(), context.coords), query)


class Sociable(ViTPredictor):
    def forward(self, context, query):
        found = super().forward(context, query)
        return found - found.mean(dim=(0, 1))


PREDICTORS = {
    Narrow: "shapes",
    FirstToken: "order_of_context",
    Numbered: "order_of_query",
    OnePlace: "places_asked_for",
    Blindfold: "context_counts",
    Sociable: "samples_apart",
}
