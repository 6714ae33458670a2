"""The llama block in PyTorch, small enough to read. N tokens lie flat: x is (N, 128)."""

import torch
import torch.nn.functional as F
from torch import nn

VOCAB, WIDTH, LAYERS, HEADS, KV, HEAD, HIDDEN = 320, 128, 4, 4, 2, 32, 352
EPS, THETA, CONTEXT = 1e-5, 10_000.0, 512


def rope_table(positions):
    """(N,) positions -> cos, sin of shape (N, 1, 32); halves, as `transformers` has it."""
    frequency = THETA ** (-torch.arange(0, HEAD, 2).double() / HEAD)
    angle = positions.double()[:, None] * frequency
    angle = torch.cat((angle, angle), -1)[:, None]
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    """x (N, heads, 32)."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.Parameter(torch.ones(WIDTH))
        self.norm2 = nn.Parameter(torch.ones(WIDTH))
        self.q = nn.Linear(WIDTH, HEADS * HEAD, bias=False)
        self.k = nn.Linear(WIDTH, KV * HEAD, bias=False)
        self.v = nn.Linear(WIDTH, KV * HEAD, bias=False)
        self.o = nn.Linear(HEADS * HEAD, WIDTH, bias=False)
        self.gate = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.up = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x, cos, sin, groups):
        h = F.rms_norm(x, (WIDTH,), self.norm1, EPS)
        q = rotate(self.q(h).view(-1, HEADS, HEAD), cos, sin)
        k = rotate(self.k(h).view(-1, KV, HEAD), cos, sin)
        k = k.repeat_interleave(HEADS // KV, 1)
        v = self.v(h).view(-1, KV, HEAD).repeat_interleave(HEADS // KV, 1)
        x = x + self.o(attend(q, k, v, groups))
        h = F.rms_norm(x, (WIDTH,), self.norm2, EPS)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def attend(q, k, v, groups):
    """Causal attention inside each row of each group; q, k, v (N, 4, 32) -> (N, 128)."""
    done, at = [], 0
    for rows, length in groups:
        part = slice(at, at + rows * length)
        at = part.stop
        a, b, c = (t[part].view(rows, length, HEADS, HEAD).transpose(1, 2) for t in (q, k, v))
        out = F.scaled_dot_product_attention(a, b, c, is_causal=True)
        done.append(out.transpose(1, 2).reshape(rows * length, HEADS * HEAD))
    return torch.cat(done)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Parameter(torch.randn(VOCAB, WIDTH) * 0.02)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.Parameter(torch.ones(WIDTH))
        for block in self.blocks:
            for matrix in (block.o, block.down):
                nn.init.normal_(matrix.weight, std=0.02)

    def forward(self, tokens, groups):
        """tokens (N,) with N = sum of rows*length over groups -> logits (N, 320)."""
        positions = torch.cat([torch.arange(n).repeat(rows) for rows, n in groups])
        cos, sin = rope_table(positions)
        x = self.embed[tokens]
        for block in self.blocks:
            x = block(x, cos, sin, groups)
        return F.rms_norm(x, (WIDTH,), self.norm, EPS) @ self.embed.T
