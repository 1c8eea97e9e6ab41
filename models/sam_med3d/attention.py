"""Attention with SAM-Med3D's relative positions, and window attention in its exact reduced form.

A window block pads the 8^3 grid of tokens with zeros, at the high end of each axis, to a window of 14^3 and attends
over all 2744 tokens, the padding included. Padded tokens all have the key, value and query of the layer's bias, so
that for the 512 real queries the 2232 padded keys act as one: its logit is the log of the sum of what theirs would
have been. That sum factorises over the axes, see `padding_logit`.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

HEADS, WIDTH = 12, 64  # heads of 64 channels
GRID, WINDOW = 8, 14  # tokens along an axis, and with padding

Terms = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Attention(torch.nn.Module):
    """Self-attention over a grid of tokens [B, n, n, n, 768].

    Args:
        size: tokens along an axis of the tables of relative positions: 8, or 14 in a window block.
        reduced: a window block's exact short form; otherwise the window is padded as the official code does.
    """

    def __init__(self, size: int, reduced: bool):
        super().__init__()
        self.size, self.reduced = size, reduced and size > GRID
        dim = HEADS * WIDTH
        self.qkv = torch.nn.Linear(dim, 3 * dim)
        self.proj = torch.nn.Linear(dim, dim)
        self.rel_pos_d = torch.nn.Parameter(torch.zeros(2 * size - 1, WIDTH))
        self.rel_pos_h = torch.nn.Parameter(torch.zeros(2 * size - 1, WIDTH))
        self.rel_pos_w = torch.nn.Parameter(torch.zeros(2 * size - 1, WIDTH))

    def extra_repr(self) -> str:
        return f"size={self.size}, reduced={self.reduced}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padding = self.size - x.shape[1]
        if padding and not self.reduced:
            x = F.pad(x, (0, 0, 0, padding, 0, padding, 0, padding))
        grid = x.shape[1:4]
        q, k, v = self._heads(x.flatten(1, 3))
        terms = self._terms(q.unflatten(2, grid))
        logits = (q * WIDTH**-0.5) @ k.transpose(-2, -1) + _spread(terms, grid[2]).flatten(2, 4).flatten(3, 5)
        if self.reduced:
            found = self._with_padding(logits, q, v, terms)
        else:
            found = logits.softmax(-1) @ v
        found = self.proj(found.transpose(1, 2).flatten(2)).unflatten(1, grid)
        return found[:, :GRID, :GRID, :GRID] if padding and not self.reduced else found

    def _heads(self, x: torch.Tensor) -> Terms:
        """q, k and v [B, heads, tokens, 64] of tokens [B, tokens, 768]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, WIDTH)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def _terms(self, q: torch.Tensor) -> Terms:
        """q(d,h,w).Rd[d-k], q(d,h,x).Rh[h-k] and q(d,h,x).Rw[x-k] for k = 0..size-1: [B, heads, d, h, w|x, k].

        The published weights were trained with these, where the third index of the query's position stands for the
        key's first axis in the second term and for its second axis in the third one.
        """
        d, h, w = (_rows(table, q.shape[2], self.size) for table in (self.rel_pos_d, self.rel_pos_h, self.rel_pos_w))
        along_d = torch.einsum("bndhwc,dkc->bndhwk", q, d)
        along_h = torch.einsum("bndhwc,hkc->bndhwk", q, h)
        along_w = torch.einsum("bndhwc,wkc->bndhwk", q, w)
        return along_d, along_h, along_w

    def _with_padding(self, logits: torch.Tensor, q: torch.Tensor, v: torch.Tensor, terms: Terms) -> torch.Tensor:
        """Attention over the real keys and one that stands for the padding."""
        bias_q, bias_k, bias_v = self.qkv.bias.unflatten(0, (3, HEADS, WIDTH)).unbind(0)  # [heads, 64] each
        rows_h, rows_w = (_rows(table, self.size, self.size) for table in (self.rel_pos_h, self.rel_pos_w))
        padded_h = torch.einsum("nc,hkc->nhk", bias_q, rows_h)[:, :GRID]
        padded_w = torch.einsum("nc,wkc->nwk", bias_q, rows_w)[:, GRID:]
        one = padding_logit(terms, padded_h, padded_w).flatten(2)  # [B, heads, tokens]
        one = one + torch.einsum("bnqc,nc->bnq", q * WIDTH**-0.5, bias_k)
        shares = torch.cat([logits, one[..., None]], dim=-1).softmax(-1)
        return shares[..., :-1] @ v + shares[..., -1:] * bias_v[:, None]


def padding_logit(terms: Terms, padded_h: torch.Tensor, padded_w: torch.Tensor) -> torch.Tensor:
    """The log of the padded keys' sum of exponentials, without q.k: [B, heads, d, h, w].

    A key (kd, kh, kw) is padded where one of its indices is 8 or more. Over kd and kh the sum is a product: with
    B = sum over kd of exp(q(d,h,kd).Rh[h-kw]) and C = sum over kh of exp(q(d,h,kh).Rw[kh-kw]), each split into real
    and padded, the padded pairs give B_pad C_all + B_real C_pad where kw is real and B_all C_all where it is not.

    Args:
        terms: of the real queries, k = 0..13.
        padded_h: q.Rh of a padded query, [heads, h, k].
        padded_w: q.Rw of a padded query for x = 8..13, [heads, x, k].
    """
    along_d, along_h, along_w = terms
    b_real, c_real = along_h.logsumexp(4), along_w.logsumexp(4)  # [B, heads, d, h, k]
    b_pad = (padded_h + math.log(WINDOW - GRID))[:, None].expand_as(b_real)
    c_pad = padded_w.logsumexp(1)[:, None, None].expand_as(c_real)
    b_all, c_all = _log_add(b_real, b_pad), _log_add(c_real, c_pad)
    inside = _log_add(b_pad + c_all, b_real + c_pad)[..., :GRID]
    pairs = torch.cat([inside, (b_all + c_all)[..., GRID:]], dim=-1)
    return (along_d + pairs[..., None, :]).logsumexp(-1)


def _log_add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """log(exp x + exp y); torch.logaddexp has no ONNX operator."""
    return torch.maximum(x, y) + torch.log1p(torch.exp(-(x - y).abs()))


def _rows(table: torch.Tensor, queries: int, size: int) -> torch.Tensor:
    """Row i - k + size - 1 of `table` for every position i and key k: [queries, size, 64]."""
    position = torch.arange(queries, device=table.device)[:, None]
    key = torch.arange(size, device=table.device)
    return table[position - key + size - 1]


def _spread(terms: Terms, keys: int) -> torch.Tensor:
    """The bias of every query and real key: [B, heads, d, h, w, kd, kh, kw]."""
    along_d, along_h, along_w = (term[..., :keys] for term in terms)
    pairs = along_h[..., :, None, :] + along_w[..., None, :, :]  # [B, heads, d, h, kd, kh, kw]
    return pairs[:, :, :, :, None] + along_d[..., None, None, :]
