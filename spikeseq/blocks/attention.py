"""Attention between spikes without a softmax, in linear time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .padding import Padding, reverse_starts, reverse_time

CHUNK = 64  # steps handled by one masked product; between chunks only the memory is carried


class SpikeAttention(nn.Module):
    """Each step reads a memory of earlier keys and values. q, k, v: spikes [batch, time, width].

        M_t = decay_h M_{t-1} + k_t^T v_t;   a_t = scale * q_t M_t          in each head h, M [d, d], d = width / heads
            = scale * sum_{j <= t} decay_h^(t - j) (q_t . k_j) v_j          the same as attention, by definition

    All products have spikes as an input. decay in (0, 1] per step, one for all heads or one a head; None gives head h
    1 - 2^-(3 + h), memories of 8, 16, 32, ... steps, whose product is a shift and a subtraction. decay = 1 is the sum
    over all steps of arXiv 2209.15425, which grows without bound as a stream does. bidirectional: j runs over all
    steps, with decay^|t - j|. State: M, [batch, heads, d, d].
    Sources: spiking self-attention, arXiv 2209.15425, eq. 4-7; decays as in arXiv 2307.08621.
    """

    leak: Tensor

    def __init__(
        self,
        width: int,
        heads: int = 4,
        decay: float | Sequence[float] | None = None,
        scale: float = 0.125,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"heads: expected a divisor of width = {width}, got {heads}")
        values = torch.as_tensor([1 - 2.0 ** -(3 + h) for h in range(heads)] if decay is None else decay)
        if values.shape not in ((), (heads,)) or not bool(((values > 0) & (values <= 1)).all()):
            raise ValueError(f"decay: expected one number or {heads} (one a head), each in (0, 1], got {decay}")
        self.width, self.heads, self.scale, self.bidirectional = width, heads, scale, bidirectional
        # 1 - decay, which keeps its digits in narrow dtypes, where a decay near 1 would become 1
        self.register_buffer("leak", (1 - values.double()).float().expand(heads).clone(), persistent=False)

    @property
    def decay(self) -> Tensor:
        """[heads], in float32 or wider."""
        return 1 - self.leak.to(torch.promote_types(self.leak.dtype, torch.float32))

    def initial_state(self, batch: int) -> Tensor:
        """An empty memory, in float32."""
        size = self.width // self.heads
        return torch.zeros(batch, self.heads, size, size, device=self.leak.device)

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        state: Tensor | None = None,
        starts: Tensor | None = None,
        padding: Padding | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """a [batch, time, width] and the state after the last step (None where bidirectional)."""
        with torch.autocast(q.device.type, enabled=False):  # sums over many steps
            wide = torch.promote_types(q.dtype, torch.float32)
            memory = self.initial_state(q.shape[0]) if state is None else state
            expected = (q.shape[0], self.heads, self.width // self.heads, self.width // self.heads)
            if not isinstance(memory, Tensor) or memory.shape != expected:
                came = list(memory.shape) if isinstance(memory, Tensor) else type(memory).__name__
                raise ValueError(f"state: expected a memory {list(expected)}, got {came}")
            q_heads, k_heads, v_heads = (self._split(x.to(wide)) for x in (q, k, v))
            attended, memory = attend(q_heads, k_heads, v_heads, self.decay.to(wide), memory.to(wide), starts)
            if self.bidirectional:
                attended = attended + self._later(q.to(wide), k.to(wide), v.to(wide), starts, padding)
            attended = (self.scale * attended.transpose(1, 2).flatten(2)).to(q.dtype)
            return attended, None if self.bidirectional else memory

    def _later(self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor | None, padding: Padding | None) -> Tensor:
        """What the steps after each one add: the causal sum over reversed time, less the step itself."""
        q, k, v = (self._split(reverse_time(x, padding)) for x in (q, k, v))
        backward = None if starts is None else reverse_starts(starts, padding)
        later, _ = attend(q, k, v, self.decay.to(q.dtype), self.initial_state(q.shape[0]).to(q.dtype), backward)
        later = later - (q * k).sum(-1, keepdim=True) * v
        return reverse_time(later.transpose(1, 2), padding).transpose(1, 2)

    def _split(self, x: Tensor) -> Tensor:
        """[batch, time, width] -> [batch, heads, time, d]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def extra_repr(self) -> str:
        decay = ", ".join(f"{value:.4g}" for value in self.decay.tolist())
        return f"{self.width}, heads={self.heads}, decay=[{decay}], bidirectional={self.bidirectional}"


def attend(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, memory: Tensor, starts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`M_t = decay M_{t-1} + k_t^T v_t;  a_t = q_t M_t`, a chunk of steps at a time: time * (CHUNK + d) * d products.

    q, k, v: [batch, heads, time, d]; decay: [heads]; memory: [batch, heads, d, d]; starts: bool [batch, time], where
    M_{t-1} counts as zero. Gives a like v and the last M.
    """
    attended = []
    fresh = torch.zeros(q.shape[0], q.shape[2], dtype=torch.bool, device=q.device) if starts is None else starts
    for begin in range(0, q.shape[2], CHUNK):
        part = slice(begin, begin + CHUNK)
        a, memory = _attend_chunk(q[:, :, part], k[:, :, part], v[:, :, part], decay, memory, fresh[:, part])
        attended.append(a)
    return torch.cat(attended, dim=2), memory


def _attend_chunk(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, memory: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    step = torch.arange(q.shape[2], device=q.device)
    powers = decay[:, None] ** torch.arange(q.shape[2] + 1, device=q.device)  # [heads, steps + 1]
    episode = starts.cumsum(1)  # 0: the memory's own
    inside = (episode[:, :, None] == episode[:, None, :]) & (step[:, None] >= step)
    reach = powers[:, (step[:, None] - step).clamp(min=0)] * inside[:, None]
    from_memory = powers[:, 1:] * (episode == 0)[:, None]
    attended = (q @ k.mT * reach) @ v + from_memory[..., None] * (q @ memory)
    # the last row of `reach` is what of each step remains at the end
    return attended, from_memory[:, :, -1, None, None] * memory + (k * reach[:, :, -1, :, None]).mT @ v
