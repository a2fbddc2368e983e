"""The recipe's JEPA step, written out for one sample at a time, for `test_model` to compare with.

It knows no batch: a loop over views, samples, target blocks and heads; softmax spelled out; the
context repeated for each block; every token carried through the predictor's last block. Weights go
by their names in `Backbone` and in the predictor.
"""

import math

import torch

CHANNELS, ROWS, COLUMNS, PATCH = 3, 4, 5, 2
DIM, HEADS, WIDTH, PREDICTOR_HEADS, DEPTH = 12, 3, 10, 2, 2
ORDER = ("x", "y")
AT = [(y, x) for y in range(ROWS) for x in range(COLUMNS)]


def plain_position(place, width):
    """[sin | cos] of x, then of y, each 2 * ceil(D / 4) wide, cut to D."""
    half = math.ceil(width / 4)
    y, x = place
    angles = [[at / 10000 ** (i / half) for i in range(half)] for at in (x, y)]
    row = [f(a) for part in angles for f in (math.sin, math.cos) for a in part]
    return torch.tensor(row[:width], dtype=torch.float32).double()


def plain_norm(x, weight=1.0, bias=0.0, eps=1e-6):
    mean = x.sum() / len(x)
    variance = ((x - mean) ** 2).sum() / len(x)
    return (x - mean) / (variance + eps).sqrt() * weight + bias


def linear(x, weights, name):
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def plain_attention(tokens, weights, name, heads):
    dim = len(tokens[0])
    d = dim // heads
    qkv = [linear(x, weights, f"{name}.qkv") for x in tokens]
    out = []
    for asking in qkv:
        parts = []
        for head in range(heads):
            q, k, v = (
                slice(part * dim + head * d, part * dim + (head + 1) * d) for part in range(3)
            )
            scores = [(asking[q] * other[k]).sum() / math.sqrt(d) for other in qkv]
            exponents = [score.exp() for score in scores]
            total = sum(exponents)
            parts.append(sum(e / total * other[v] for e, other in zip(exponents, qkv, strict=True)))
        out.append(linear(torch.cat(parts), weights, f"{name}.proj"))
    return out


def plain_mlp(x, weights, name):
    hidden = linear(x, weights, f"{name}.fc1")
    return linear(0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2))), weights, f"{name}.fc2")


def plain_blocks(tokens, weights, name, heads):
    for depth in range(DEPTH):
        block = f"{name}.{depth}"
        first = [f"{block}.norm1.weight", f"{block}.norm1.bias"]
        second = [f"{block}.norm2.weight", f"{block}.norm2.bias"]
        normed = [plain_norm(x, *(weights[n] for n in first)) for x in tokens]
        attended = plain_attention(normed, weights, f"{block}.attn", heads)
        tokens = [x + a for x, a in zip(tokens, attended, strict=True)]
        normed = [plain_norm(x, *(weights[n] for n in second)) for x in tokens]
        tokens = [
            x + plain_mlp(n, weights, f"{block}.mlp") for x, n in zip(tokens, normed, strict=True)
        ]
    return tokens


def plain_encode(image, places, weights):
    """The encoder on the patches of one image at some places: a list of [D]."""
    tokens = []
    for y, x in (AT[place] for place in places):
        patch = image[:, y * PATCH : (y + 1) * PATCH, x * PATCH : (x + 1) * PATCH]
        kernel = weights["tokenizer.proj.weight"]
        token = torch.stack([(kernel[d] * patch).sum() for d in range(DIM)])
        tokens.append(token + weights["tokenizer.proj.bias"] + plain_position((y, x), DIM))
    tokens = plain_blocks(tokens, weights, "encoder.blocks", HEADS)
    return [
        plain_norm(x, weights["encoder.norm.weight"], weights["encoder.norm.bias"]) for x in tokens
    ]


def plain_predict(encoded, seen, asked, token, weights):
    """The predictor on one context and one target block: a list of [D]."""
    tokens = [
        linear(x, weights, "predictor_embed") + plain_position(AT[place], WIDTH)
        for x, place in zip(encoded, seen, strict=True)
    ]
    tokens += [token + plain_position(AT[place], WIDTH) for place in asked]
    tokens = plain_blocks(tokens, weights, "predictor_blocks", PREDICTOR_HEADS)
    names = ("predictor_norm.weight", "predictor_norm.bias")
    normed = [plain_norm(x, *(weights[n] for n in names)) for x in tokens]
    return [linear(x, weights, "predictor_proj") for x in normed[len(encoded) :]]


def plain_loss(inputs, views, online, target, predictor, distance, token_a_view=False):
    """The mean over views of the mean distance over everything in a view."""
    losses = []
    for number, view in enumerate(views):
        distances = []
        token = predictor["mask_token"][number if token_a_view else 0, 0]
        for image, seen, blocks in zip(
            inputs, view.context.tolist(), view.targets.tolist(), strict=True
        ):
            with torch.no_grad():
                whole = plain_encode(image, range(len(AT)), target)
            encoded = plain_encode(image, seen, online)
            for asked in blocks:
                predicted = plain_predict(encoded, seen, asked, token, predictor)
                for z, place in zip(predicted, asked, strict=True):
                    distances.append(distance(z - plain_norm(whole[place], eps=1e-5)))
        losses.append(torch.cat(distances).sum() / sum(len(d) for d in distances))
    return sum(losses) / len(losses)
