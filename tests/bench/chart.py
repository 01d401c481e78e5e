"""Draws the tables that compare sides as bars: URLs per second and processor time per URL."""

from html import escape

WIDTH, LEFT, BAR, GAP = 890, 250, 16, 8
INK, OURS, THEIRS = "#24292f", "#0969da", "#8c959f"


def number(text):
    return float(text.replace(",", ""))


def bars(out, top, title, unit, rows):
    """Draws one panel and returns the position of the next one."""
    most = max(value for _, value in rows)
    out.append(f'<text x="0" y="{top + 14}" font-weight="bold">{escape(title)}</text>')
    top += 26
    for name, value in rows:
        width = max(1, (WIDTH - LEFT - 90) * value / most)
        colour = OURS if name.startswith("fetchline") else THEIRS
        text_y = top + 12
        out.append(
            f'<text x="{LEFT - 8}" y="{text_y}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" '
            f'fill="{colour}" rx="2"/>'
            f'<text x="{LEFT + width + 6:.1f}" y="{text_y}">{value:,.0f} {unit}</text>'
        )
        top += BAR + GAP
    return top + 18


def line(title, values):
    """Draws values in order, from 0 up."""
    height, most = 180, max(values) * 1.1
    step = WIDTH / max(1, len(values) - 1)
    points = " ".join(
        f"{index * step:.1f},{30 + height - height * value / most:.1f}"
        for index, value in enumerate(values)
    )
    out = [
        f'<text x="0" y="14" font-weight="bold">{escape(title)}</text>',
        f'<polyline points="{points}" fill="none" stroke="{OURS}" stroke-width="1.5"/>',
        f'<line x1="0" x2="{WIDTH}" y1="{30 + height}" y2="{30 + height}" stroke="{INK}"/>',
        f'<text x="0" y="{48 + height}">1</text>',
        f'<text x="{WIDTH}" y="{48 + height}" text-anchor="end">{len(values):,}</text>',
        f'<text x="{WIDTH}" y="24" text-anchor="end">top: {most:,.0f}</text>',
    ]
    return drawing(out, 60 + height)


def draw(tables):
    out, top = [], 10
    for title, _, header, rows in tables:
        if header[1:3] != ("URLs/s", "CPU µs/URL") or len(rows) < 2 or header[0] == "workers":
            continue
        for column, unit, what in (
            (1, "/s", "URLs per second (more is better)"),
            (2, "µs", "processor time per URL (less is better)"),
        ):
            values = [(row[0], number(row[column])) for row in rows]
            top = bars(out, top, f"{title}: {what}", unit, values)
    return drawing(out, top)


def drawing(out, height):
    width = WIDTH + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="system-ui, sans-serif" font-size="13" '
        f'fill="{INK}"><rect x="-12" width="{width}" height="{height}" fill="#fff"/>'
        + "".join(out)
        + "</svg>\n"
    )
