"""A chart of the tables that compare sides: bars for URLs per second and for processor time per URL."""

from html import escape

WIDTH, LEFT, BAR, GAP = 890, 250, 16, 8
INK, OURS, THEIRS = "#24292f", "#0969da", "#8c959f"


def number(text):
    return float(text.replace(",", ""))


def bars(out, top, title, unit, rows):
    """One panel; the height at which the next one begins."""
    most = max(value for _, value in rows)
    out.append(f'<text x="0" y="{top + 14}" font-weight="bold">{escape(title)}</text>')
    top += 26
    for name, value in rows:
        width = max(1, (WIDTH - LEFT - 90) * value / most)
        colour = OURS if name.startswith("fetchline") else THEIRS
        out.append(f'<text x="{LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{colour}" rx="2"/>')
        out.append(f'<text x="{LEFT + width + 6:.1f}" y="{top + 12}">{value:,.0f} {unit}</text>')
        top += BAR + GAP
    return top + 18


def draw(tables):
    out, top = [], 10
    for title, _, header, rows in tables:
        if header[1:3] != ("URLs/s", "CPU µs/URL") or len(rows) < 2 or header[0] == "workers":
            continue
        top = bars(out, top, f"{title}: URLs per second (more is better)", "/s", [(row[0], number(row[1])) for row in rows])
        top = bars(
            out, top, f"{title}: processor time per URL (less is better)", "µs", [(row[0], number(row[2])) for row in rows]
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 0 {WIDTH + 24} {top}" width="{WIDTH + 24}" height="{top}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}"><rect x="-12" width="{WIDTH + 24}" height="{top}" fill="#fff"/>'
        + "".join(out)
        + "</svg>\n"
    )
