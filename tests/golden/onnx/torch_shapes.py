"""Networks whose exported files reckon with shapes: Shape, Gather, Concat, Slice,
ConstantOfShape, Expand, Where and integer arithmetic that follow the batch. Cases
as make.py takes them: name, opset, module, shape of a row, how.
"""
import torch
import torch.nn.functional as F
from torch import nn


class Lambda(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return self.fn(x)


class Encoder(nn.Module):
    """Words, places, an encoder layer with a causal mask or none, a mean."""

    def __init__(self, mask, batch_first=True):
        super().__init__()
        self.words = nn.Embedding(12, 8)
        self.places = nn.Parameter(torch.zeros(5, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0,
                                                batch_first=batch_first)
        self.out = nn.Linear(8, 3)
        self.mask = mask
        self.batch_first = batch_first
        self.register_buffer("causal", torch.triu(
            torch.full((5, 5), float("-inf")), 1))

    def forward(self, x):
        h = self.words(x) + self.places
        padding = x.eq(0) if self.mask == "padding" else None
        causal = self.causal if self.mask == "causal" else None
        if not self.batch_first:
            h = h.transpose(0, 1)
        h = self.layer(h, src_mask=causal, src_key_padding_mask=padding)
        if not self.batch_first:
            h = h.transpose(0, 1)
        return self.out(h.mean(1))


class Vision(nn.Module):
    """Patches, a class token that is stretched over the batch, attention."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(2, 8, 3, 3)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        b = x.shape[0]
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(b, -1, -1), x], 1)
        n, c = x.shape[1:]
        qkv = self.qkv(x).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        a = (q @ k.transpose(-2, -1) * (c // 2) ** -0.5).softmax(-1)
        return self.out((a @ v).transpose(1, 2).reshape(b, n, c)[:, 0])


class Unet(nn.Module):
    """Down, up by a transposed convolution, padded to the size it came from."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 3, 3, padding=1)
        self.b = nn.Conv2d(3, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 3, 2, 2)
        self.c = nn.Conv2d(6, 2, 3, padding=1)

    def forward(self, x):
        a = F.relu(self.a(x))
        u = self.up(F.relu(self.b(F.max_pool2d(a, 2))))
        dy = a.size(2) - u.size(2)
        dx = a.size(3) - u.size(3)
        u = F.pad(u, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.c(torch.cat([a, u], 1))


class Recurrent(nn.Module):
    """States of zeros that are made for the batch."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        zeros = torch.zeros(1, x.size(0), 4)
        _, (h, _) = self.lstm(x, (zeros, x.new_zeros(1, x.size(0), 4)))
        return self.out(h[-1])


class Places(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(12, 4)
        self.places = nn.Embedding(9, 4)

    def forward(self, x):
        at = torch.arange(x.size(1)).unsqueeze(0).expand_as(x)
        return (self.words(x) + self.places(at)).flatten(1)


def squares(x):
    b, c, h, w = x.shape
    x = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(b, -1, c * 4)


def pieces(x):
    a, b, c = torch.chunk(x, 3, 1)
    x = torch.cat([a * 2, torch.stack([b, c], 1).flatten(1, 2)], 1)
    x = x[:, 1:, ::2] - x[:, :-1, 1::2].flip(2)
    return x.repeat(1, 2, 1)


def statistics(x):
    x = x - x.mean((1, 2), keepdim=True)
    y = x.amax(2) + x.min(2)[0] + x.norm(dim=2) + torch.logsumexp(x, 2)
    return y / x.pow(2).sum((1, 2)).unsqueeze(1)


def shape_cases():
    words = {"ids": 12}
    encoder = {"ids": 12, "train": True}
    yield "encoder", 13, Encoder(None), (5,), encoder
    yield "encoder_causal", 17, Encoder("causal", batch_first=False), (5,), encoder
    yield "encoder_padding", 14, Encoder("padding"), (5,), encoder
    yield "vision", 13, Vision(), (2, 6, 9), {}
    yield "unet", 15, Unet(), (1, 7, 9), {}
    yield "lstm_states", 13, Recurrent(), (5, 3), {}
    yield "places", 17, Places(), (6,), words
    yield "squares", 17, Lambda(squares), (3, 4, 6), {}
    yield "pieces", 17, Lambda(pieces), (6, 8), {}
    yield "statistics", 13, Lambda(statistics), (4, 5), {}
    yield "pad_reflect", 16, Lambda(
        lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect")), (2, 4, 5), {}
    yield "pad_edge", 13, Lambda(
        lambda x: F.pad(x, (-1, 2, 2, 1), mode="replicate")), (2, 4, 5), {}
