"""The compiled tracer: lines of a mask become closed rings of pixel corners.

A *piece* is a component whose pixels share edges. The boundary of each piece is followed with the piece on
the right hand as seen on a screen (rows downwards): the top edge of a pixel runs to the right. Only where it
turns there is a vertex. Between two lines each vertical edge keeps the end of the open chain that crosses
there; a chain knows its other end, so that joining and closing cost the same for any length.

Two pixels of a piece that share a corner alone are passed apart, which makes one ring that touches itself.
Both vertices there know each other (*twins*), and the ring is cut between them when it is closed. What
comes out are simple rings: one outer ring a piece, the others holes, touching at points at most, which is
what the OGC calls a valid polygon.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.compiled import compiled
from tasks.vectors.labels import CODE, LABEL, LEFT, RIGHT, START, label_runs, meet_ends, runs_of

_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]

#: Slots of ``state``.
BEFORE, FREE, LABELS, VERTICES, RINGS = range(5)
#: Rows of ``nodes``, the vertices of open chains: column (twice, plus 1 at a junction), line, the vertex
#: after it, the other end of its chain (at ends alone), its twin or -1, its place on the stack.
X, Y, NEXT, MATE, TWIN, PLACE = range(6)


@compiled(boundscheck=False)
def _emit(
    begin: int,
    top: int,
    label: int,
    nodes: _I32,
    stack: _I32,
    vertices: _I32,
    rings: _I32,
    enclosed: _I64,
    state: _I64,
) -> None:
    """Writes the ring ``stack[begin:top]``; seen on a screen outer rings go clockwise, holes do not."""
    at = state[VERTICES]
    area = np.int64(0)
    last = stack[top - 1]
    px, py = np.int64(nodes[X, last] >> 1), np.int64(nodes[Y, last])
    for i in range(begin, top):
        node = stack[i]
        x, y = np.int64(nodes[X, node] >> 1), np.int64(nodes[Y, node])
        area += px * y - x * py
        px, py = x, y
        vertices[at, 0], vertices[at, 1] = nodes[X, node], nodes[Y, node]
        at += 1
    ring = state[RINGS]
    rings[ring, 0], rings[ring, 1] = label, top - begin if area > 0 else begin - top
    enclosed[label] += area
    state[RINGS] += 1
    state[VERTICES] = at


@compiled(boundscheck=False)
def _close(
    node: int,
    label: int,
    nodes: _I32,
    free: _I32,
    stack: _I32,
    vertices: _I32,
    rings: _I32,
    enclosed: _I64,
    state: _I64,
) -> int:
    """Walks a closed chain, writes its simple rings and gives its vertices back."""
    u, top = node, 0
    while True:
        twin = nodes[TWIN, u]
        loop = False
        if twin >= 0:
            place = nodes[PLACE, twin]
            if 0 <= place < top and stack[place] == twin:
                _emit(place, top, label, nodes, stack, vertices, rings, enclosed, state)
                top = place + 1
                loop = True
        if not loop:
            nodes[PLACE, u] = top
            stack[top] = u
            top += 1
        u = nodes[NEXT, u]
        if u == node:
            break
    _emit(0, top, label, nodes, stack, vertices, rings, enclosed, state)
    count = 0
    u = node
    while True:
        after = nodes[NEXT, u]
        twin = nodes[TWIN, u]
        if twin >= 0:
            nodes[TWIN, twin] = -1
            nodes[TWIN, u] = -1
        free[state[FREE]] = u
        state[FREE] += 1
        count += 1
        u = after
        if u == node:
            return count


@compiled(boundscheck=False)
def _follow(
    y: int,
    nx: int,
    before: _I32,
    line: _I32,
    noded: bool,
    nodes: _I32,
    free: _I32,
    stack: _I32,
    vertices: _I32,
    rings: _I32,
    enclosed: _I64,
    state: _I64,
) -> None:
    """Takes the boundaries through the vertices between two lines.

    Quadrants around a vertex are counted clockwise, 0 above left; edge ``q`` follows quadrant ``q``: up,
    right, down, left. A boundary comes in by the edge after its last quadrant and leaves by the one before
    its first.
    """
    i, j = 0, 0
    above, below = (
        -1,
        -1,
    )  # chains along the horizontal edge to the left: tail of the upper, head of the lower
    edge = np.zeros(4, np.bool_)
    made = np.empty(4, np.int32)
    while True:
        x = min(before[START, i + 1], line[START, j + 1])
        if x > nx:
            return
        tl, bl = i, j
        if before[START, i + 1] == x:
            i += 1
        if line[START, j + 1] == x:
            j += 1
        tr, br = i, j
        a, b, c, d = before[CODE, tl], before[CODE, tr], line[CODE, bl], line[CODE, br]
        edge[0], edge[1], edge[2], edge[3] = a != b, b != d, d != c, c != a
        n = int(edge[0]) + int(edge[1]) + int(edge[2]) + int(edge[3])
        corner = (x == 0 or x == nx) and n == 2 and edge[0] != edge[2]
        junction = n > 2 or corner
        old_above, old_below = above, below
        above, below = -1, -1
        made[:] = -1
        for s in range(4):
            leave = (s + 3) & 3
            if not edge[leave]:
                continue
            if s == 0:
                label = before[LABEL, tl]
            elif s == 1:
                label = before[LABEL, tr]
            elif s == 2:
                label = line[LABEL, br]
            else:
                label = line[LABEL, bl]
            if label < 0:
                continue
            enter = s
            while not edge[enter]:
                enter = (enter + 1) & 3
            if (enter ^ leave) == 2 and not (noded and junction):
                if enter == 0:
                    line[RIGHT, bl] = before[RIGHT, tl]
                elif enter == 2:
                    line[LEFT, br] = before[LEFT, tr]
                elif enter == 3:
                    below = old_below
                else:
                    above = old_above
                continue
            state[FREE] -= 1
            v = free[state[FREE]]
            nodes[X, v] = 2 * x + int(junction)
            nodes[Y, v] = y
            nodes[TWIN, v] = -1
            nodes[PLACE, v] = -1
            made[s] = v
            if n == 4 and s >= 2 and made[s - 2] >= 0 and (a == d if s == 2 else b == c):
                nodes[TWIN, v] = made[s - 2]
                nodes[TWIN, made[s - 2]] = v
            head, tail = -1, -1
            if enter == 0:
                head = before[RIGHT, tl]
            elif enter == 3:
                head = old_below
            if leave == 0:
                tail = before[LEFT, tr]
            elif leave == 3:
                tail = old_above
            if head >= 0 and tail >= 0:
                nodes[NEXT, head] = v
                nodes[NEXT, v] = tail
                if nodes[MATE, head] == tail:
                    _close(v, label, nodes, free, stack, vertices, rings, enclosed, state)
                    made[s] = -1
                else:
                    start, end = nodes[MATE, head], nodes[MATE, tail]
                    nodes[MATE, start] = end
                    nodes[MATE, end] = start
                continue
            if head >= 0:
                start = nodes[MATE, head]
                nodes[NEXT, head] = v
                nodes[MATE, start] = v
                nodes[MATE, v] = start
            elif tail >= 0:
                end = nodes[MATE, tail]
                nodes[NEXT, v] = tail
                nodes[MATE, end] = v
                nodes[MATE, v] = end
            else:
                nodes[MATE, v] = v
            if enter == 1:
                above = v
            elif enter == 2:
                line[LEFT, br] = v
            if leave == 1:
                below = v
            elif leave == 2:
                line[RIGHT, bl] = v


@compiled(boundscheck=False)
def trace_lines(
    codes: npt.NDArray[Any],
    y: int,
    last: bool,
    wanted: npt.NDArray[np.bool_],
    full: bool,
    wraps: bool,
    noded: bool,
    lines: npt.NDArray[np.int32],
    parent: _I32,
    regions: _I32,
    code_of: _I32,
    pixels: _I64,
    enclosed: _I64,
    sizes: npt.NDArray[np.float64],
    sums: npt.NDArray[np.float64],
    above: _I64,
    part: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
    code_pixels: _I64,
    nodes: _I32,
    free: _I32,
    stack: _I32,
    vertices: _I32,
    rings: _I32,
    state: _I64,
) -> int:
    """Takes lines of a mask until they end or an array has no room for what one more may need.

    Args:
        codes: ``(lines, columns)``.
        y: Number of the first line.
        last: They end the mask: what is open is closed below them.
        wanted: By code.
        full: Pieces that share a corner are one region.
        wraps: Pieces that meet across the two ends of a line are one region.
        noded: Straight boundaries have a vertex at junctions, too, where three or more codes meet.
        lines: ``(2, 5, columns + 4)``, the line before and room for another.
        parent: ``(labels,)`` union-find of pieces.
        regions: ``(labels,)`` the same of regions, beyond what ``parent`` joins.
        code_of: ``(labels,)``.
        pixels: ``(labels,)``.
        enclosed: ``(labels,)`` twice the signed area of closed rings, by the label each was closed under.
        sizes: ``(labels,)`` true sizes.
        sums: What ``tasks.vectors.sizes.LineSizes`` holds for these lines, as do ``above``, ``part`` and
            ``scale``.
        code_pixels: By code, of all codes.
        nodes: ``(6, nodes)``, ``free`` a stack of those not in use, ``stack`` room for as many.
        vertices: ``(n, 2)`` receives column (twice, plus 1 at junctions) and line of closed rings.
        rings: ``(n, 2)`` receives label and number of vertices, negative for a hole.
        state: Counters, see the constants.

    Returns:
        Lines done, counting the virtual one below the last.
    """
    rows, nx = codes.shape
    total = nodes.shape[1]
    most = 4 * (nx + 1)
    for r in range(rows + int(last)):
        used = total - state[FREE] + most
        if (
            state[FREE] < most
            or state[LABELS] + nx > parent.size
            or state[VERTICES] + used + used // 2 > vertices.shape[0]
            or state[RINGS] + used > rings.shape[0]
        ):
            return r
        before, line = lines[(y + r) & 1], lines[(y + r + 1) & 1]
        if r < rows:
            n = runs_of(codes[r], line)
            state[LABELS] = label_runs(
                nx,
                before,
                line,
                n,
                wanted,
                full,
                state[LABELS],
                parent,
                regions,
                code_of,
                pixels,
                sizes,
                sums[above[r]],
                sums[above[r] + 1],
                part[r],
                scale[r],
                code_pixels,
            )
            if wraps:
                meet_ends(before, state[BEFORE], line, n, full, regions)
        else:
            n = 1
            line[START, 0], line[CODE, 0], line[LABEL, 0], line[START, 1] = -1, -1, -1, nx + 1
        _follow(y + r, nx, before, line, noded, nodes, free, stack, vertices, rings, enclosed, state)
        state[BEFORE] = n
    return rows + int(last)
