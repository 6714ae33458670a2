"""Train the demonstrator: step-based, resumable, deterministic data.

    python train.py --work DIR [--steps 2700]

Muon for the matrices, Adam for the embedding and the norms; learning rates warm up
over 100 steps, stay, and fall linearly to zero over the last 40 %.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import corpus
from model import VOCAB, Model

STEPS, WARM, DECAY = 2700, 100, 0.4
MUON_RATE, ADAM_RATE, MOMENTUM = 0.02, 3e-3, 0.95
INPUT_WEIGHT = 0.1


class Muon:
    """Momentum whose step is made orthogonal; matrices of one shape go as one stack."""

    def __init__(self, matrices):
        shapes = {}
        for p in matrices:
            shapes.setdefault(tuple(p.shape), []).append(p)
        self.groups = list(shapes.values())
        self.momenta = [torch.zeros(len(g), *g[0].shape) for g in self.groups]

    @torch.no_grad()
    def step(self, rate):
        for group, m in zip(self.groups, self.momenta):
            g = torch.stack([p.grad for p in group])
            m.lerp_(g, 1 - MOMENTUM)
            u = orthogonal(g.lerp(m, MOMENTUM))
            scale = rate * max(1.0, u.shape[1] / u.shape[2]) ** 0.5
            for p, d in zip(group, u):
                p.sub_(d, alpha=scale)


def orthogonal(g, rounds=5):
    """(B, m, n) -> about U V^T of each, by the quintic Newton-Schulz iteration."""
    tall = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(rounds):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.transpose(1, 2) if tall else x


def batch(step):
    """tokens, targets, weights of one step, each (8192,); the last of a row counts for 0."""
    tokens, targets, weights = [], [], []
    for text, answer in corpus.step_documents(step):
        tokens += text
        targets += text[1:] + [0]
        weights += [1.0 if a else INPUT_WEIGHT for a in answer[1:]] + [0.0]
    return torch.tensor(tokens), torch.tensor(targets), torch.tensor(weights)


def schedule(step, steps):
    return min(1.0, (step + 1) / WARM, (steps - step) / (DECAY * steps))


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", type=Path, required=True)
    args.add_argument("--steps", type=int, default=STEPS)
    args.add_argument("--threads", type=int, default=2)
    args = args.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    saved = args.work / "checkpoint.pt"
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(corpus.SEED)

    model = Model()
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    others = [model.embed, model.norm] + [p for p in model.blocks.parameters() if p.ndim == 1]
    muon = Muon(matrices)
    adam = torch.optim.Adam(others, lr=ADAM_RATE, betas=(0.9, 0.99))
    start = 0
    if saved.exists():
        state = torch.load(saved)
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        muon.momenta, start = state["muon"], state["step"]

    log = (args.work / "training.log").open("a")
    tokens_per_step = sum(rows * n for rows, n in corpus.GROUPS)
    parameters = sum(p.numel() for p in model.parameters())

    def say(line):
        print(line, flush=True)
        print(line, file=log, flush=True)

    say(f"# torch {torch.__version__} threads {args.threads} parameters {parameters} "
        f"steps {start}..{args.steps} of {tokens_per_step} tokens seed {corpus.SEED}")
    began, shown, total = time.time(), time.time(), 0.0
    for step in range(start, args.steps):
        tokens, targets, weights = batch(step)
        logits = model(tokens, corpus.GROUPS)
        each = F.cross_entropy(logits.view(-1, VOCAB), targets, reduction="none")
        loss = (each * weights).sum() / weights.sum()
        loss.backward()
        rate = schedule(step, args.steps)
        adam.param_groups[0]["lr"] = ADAM_RATE * rate
        adam.step()
        muon.step(MUON_RATE * rate)
        model.zero_grad(set_to_none=True)
        answers = weights == 1.0
        total += each.detach()[answers].mean().item()
        done = step + 1
        if done % 50 == 0 or done == args.steps:
            count = 50 if done % 50 == 0 else done % 50
            speed = count * tokens_per_step / (time.time() - shown)
            say(f"step {done} tokens {done * tokens_per_step} answer_loss {total / count:.4f} "
                f"rate {rate:.3f} tok/s {speed:.0f} seconds {time.time() - began:.0f}")
            shown, total = time.time(), 0.0
        if done % 200 == 0 or done == args.steps:
            state = {"model": model.state_dict(), "adam": adam.state_dict(),
                     "muon": muon.momenta, "step": done}
            torch.save(state, saved.with_suffix(".new"))
            saved.with_suffix(".new").replace(saved)


if __name__ == "__main__":
    main()
