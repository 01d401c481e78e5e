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
    width = WIDTH + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 0 {width} {top}" '
        f'width="{width}" height="{top}" font-family="system-ui, sans-serif" font-size="13" '
        f'fill="{INK}"><rect x="-12" width="{width}" height="{top}" fill="#fff"/>'
        + "".join(out)
        + "</svg>\n"
    )
