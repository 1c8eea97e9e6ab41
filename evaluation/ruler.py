"""How wide text is when matplotlib draws it, and how to break it into lines."""

from __future__ import annotations

from functools import cache

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

DPI = 200


class Ruler:
    """Measures text in inches, and breaks it into lines."""

    def __init__(self) -> None:
        self._canvas = FigureCanvasAgg(Figure(dpi=DPI))
        self.width = cache(self._width)

    def _width(self, text: str, size: float, weight: str = "normal") -> float:
        font = FontProperties(size=size, weight=weight)
        pixels, _, _ = self._canvas.get_renderer().get_text_width_height_descent(text, font, ismath=False)
        return float(pixels) / DPI

    def wrap(self, text: str, size: float, room: float, weight: str = "normal") -> list[str]:
        """Lines no wider than `room`; a word that is wider is broken anywhere."""
        lines = [""]
        for word in text.split():
            for piece in self._pieces(word, size, room, weight):
                joined = f"{lines[-1]} {piece}".strip()
                if self.width(joined, size, weight) <= room:
                    lines[-1] = joined
                else:
                    lines.append(piece)
        return lines

    def _pieces(self, word: str, size: float, room: float, weight: str) -> list[str]:
        pieces = [""]
        for char in word:
            if pieces[-1] and self.width(pieces[-1] + char, size, weight) > room:
                pieces.append("")
            pieces[-1] += char
        return pieces

    def cut(self, text: str, size: float, room: float) -> str:
        """The text, or its beginning and an ellipsis."""
        if self.width(text, size) <= room:
            return text
        while text and self.width(f"{text}…", size) > room:
            text = text[:-1]
        return f"{text}…"
