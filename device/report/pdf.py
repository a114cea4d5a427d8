"""The report of an examination: one A4 page with both eyes, their evidence, and how the answer was made.

The right eye stands on the left of the page, as one looks at a patient. Outcomes differ in word, colour and shape.
The page is always one: where there is much to say, all letters become smaller, and what somebody typed is cut with
a mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from device import __version__
from device.cli import NOTICE
from device.eyes import EyeResult, Interval, doubtful, eye_result, hidden
from device.language import Translator
from device.overlay import COLOURS, WORDS, sentence
from device.record import EYES, Capture, Eye, Reading, Settings, Visit
from device.report.evidence import Evidence, Panel, PictureOf, evidence_of
from device.report.sheet import FAINT, HAIRLINE, HEIGHT, INK, PAPER, WIDTH, Sheet
from device.verdict import Outcome

MARGIN, GAP, BOTTOM = 12.0, 7.0, 9.0
COLUMN = (WIDTH - 2 * MARGIN - GAP) / 2
TITLE, HEAD, BODY, SMALL, TINY, FOOT = 16.0, 12.0, 9.0, 7.6, 6.6, 6.0  # points
SCALES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
ROOMS = (1.0, 0.5, 0.25)  # shares of what is shown of typed text, tried in turn at the smallest scale
MOST_REASONS, MOST_READINGS = 8, 3  # of an eye; the others are counted
FACT_WIDTHS = (38.0, 54.0, 48.0, 46.0)  # mm
PHOTOGRAPH_HIGH, CLOSE_UP = 60.0, 50.0  # mm

EYE_NAMES: dict[Eye, str] = {"OD": "Right eye (OD)", "OS": "Left eye (OS)"}
PHOTOGRAPHS: dict[Eye, str] = {"OD": "Photograph of the right eye", "OS": "Photograph of the left eye"}
OUTLINED: dict[Eye, str] = {
    "OD": "Photograph of the right eye with the outlines of optic disc and cup",
    "OS": "Photograph of the left eye with the outlines of optic disc and cup",
}
LOOKS_LIKE: dict[str, str] = {
    "OD": "The picture looks like a right eye: check that the eyes were not mixed up.",
    "OS": "The picture looks like a left eye: check that the eyes were not mixed up.",
}
ANOTHER_LOOKS_LIKE = "a photograph of this eye looks like the other eye: check that the eyes were not mixed up"
WHY_HIDDEN = (
    "Masked study: what the instrument found is shown once a reader has graded each eye that was photographed."
)
ONE = "one photograph: spread not known"
LEGEND = {"disc": "optic disc", "cup": "cup"}
POINT = "{}: refer at a {} of {} or more. Measured there: sensitivity {}, specificity {} ({})."


def render(
    visit: Visit, store_picture: PictureOf, settings: Settings, language: str, audit_head: str = ""
) -> bytes:
    """The report of ``visit`` as a PDF of one page, in ``language`` (en, ja).

    ``store_picture`` gives the file of a picture's SHA-256; one that is gone or was changed is said to be so on
    the page. ``audit_head`` (``Store.head()``) is printed where given, to hold the log against later. In a masked
    visit nothing that the instrument found is shown before each photographed eye was graded
    (``device.eyes.hidden``).
    The same visit gives the same bytes; times are in the machine's time zone.
    """
    # Of both eyes, while one waits for its reader: the answer for one tells what to expect of the other.
    masked = any(hidden(visit, eye) and visit.of(eye) for eye in EYES)
    eyes = []
    for eye in EYES:
        result = eye_result(visit, eye)
        shown = result.evidence or (visit.of(eye)[-1] if visit.of(eye) else None)
        evidence = evidence_of(shown, store_picture, outlined=not masked) if shown else Evidence()
        eyes.append(_Eye(eye, result, shown, evidence, tuple(r for r in visit.readings if r.laterality == eye)))
    page = _Page(Sheet(language), Translator(language), visit, settings, tuple(eyes), masked, audit_head)
    page.fit()
    page.draw()
    title = page.say("Eye screening report")
    return page.sheet.output(
        title=f"{title} {_clipped(visit.participant, 60)}, {visit.number}",
        subject=page.say(NOTICE),
        author=_clipped(visit.device or settings.device, 60),
        created=_last_change(visit),
    )


@dataclass(frozen=True)
class _Eye:
    """What the page shows of one eye."""

    eye: Eye
    result: EyeResult
    shown: Capture | None
    evidence: Evidence
    readings: tuple[Reading, ...]


@dataclass
class _Page:
    """The page's content from top to bottom; methods draw a part at a height and return where it ends, in mm."""

    sheet: Sheet
    say: Translator
    visit: Visit
    settings: Settings
    eyes: tuple[_Eye, ...]
    masked: bool
    audit_head: str
    room: float = 1.0  # share of its usual length that typed text may take

    def fit(self) -> None:
        """Choose the largest scale at which everything has its place."""
        for scale, room in [(s, 1.0) for s in SCALES] + [(SCALES[-1], r) for r in ROOMS[1:]]:
            self.room = room
            with self.sheet.trial(scale):
                end = self._body() + self._records(0)
            if end <= HEIGHT - BOTTOM:
                break
        self.sheet.scale = scale

    def draw(self) -> None:
        """Draw everything; the records stand at the foot of the page."""
        with self.sheet.trial(self.sheet.scale):
            high = self._records(0)
        self.sheet.dry = False
        self._body()
        self._records(HEIGHT - BOTTOM - high)

    def _body(self) -> float:
        y = self._facts(self._title(MARGIN - 2))
        y = self._notice(y)
        ends = [self._column(MARGIN + k * (COLUMN + GAP), y, eye) for k, eye in enumerate(self.eyes)]
        return max(ends) + self.sheet.mm(2)

    # --- above the eyes

    def _title(self, y: float) -> float:
        sheet, right = self.sheet, WIDTH - MARGIN
        sheet.text(MARGIN, y, self.say("Eye screening report"), TITLE, bold=True)
        code, size = self.typed(self.visit.participant, 60) or "–", TITLE
        while size > SMALL and sheet.width_of(code, size) > COLUMN:
            size -= 0.5
        lines = sheet.wrapped(code, COLUMN, size)
        for k, line in enumerate(lines):
            sheet.text(right, y + k * sheet.line_height(size), line, size, align="R")
        label = right - max(sheet.width_of(line, size) for line in lines) - 2
        sheet.text(label, y + sheet.mm(2.2), self.say("Participant"), TINY, ink=FAINT, align="R")
        y += max(sheet.line_height(TITLE), len(lines) * sheet.line_height(size)) + sheet.mm(0.5)
        sheet.rule(MARGIN, right, y, ink=INK, thickness=0.4)
        return y + sheet.mm(1.5)

    def _facts(self, y: float) -> float:
        visit, say = self.visit, self.say
        state = "" if visit.finished else say("not finished: preliminary")
        consent = say("given") if visit.consent else say("not recorded") if visit.study else ""
        facts = [
            ("Examination", f"{visit.number}" + (f" ({state})" if state else "")),
            ("Date and time", _local(visit.started)),
            ("Operator", self.typed(visit.operator, 80)),
            ("Site", self.typed(visit.site or self.settings.site, 80)),
            ("Study", self.typed(visit.study, 80)),
            ("Consent to the study", consent),
            ("Device", self.typed(visit.device or self.settings.device, 80)),
            ("Software", f"tenohira {visit.software or __version__}"),
        ]
        for row in range(0, len(facts), len(FACT_WIDTHS)):
            ends, x = [], MARGIN
            for width, (label, value) in zip(FACT_WIDTHS, facts[row:]):
                end = self.sheet.paragraph(x, y, width - 3, say(label), TINY, ink=FAINT)
                ends.append(self.sheet.paragraph(x, end, width - 3, value or "–", BODY, lines=3))
                x += width
            y = max(ends) + self.sheet.mm(1)
        return y

    def _notice(self, y: float) -> float:
        sheet, top = self.sheet, y + self.sheet.mm(0.5)
        end = sheet.paragraph(MARGIN + 3.5, top, WIDTH - 2 * MARGIN - 4, self.say(NOTICE), 7.2, bold=True)
        caution = self.say(
            "“No referral” does not rule out disease. Judge the numbers together with the outlines."
        )
        end = sheet.paragraph(MARGIN + 3.5, end, WIDTH - 2 * MARGIN - 4, caution, SMALL)
        sheet.box(MARGIN, top, 1.2, end - top, fill=COLOURS[Outcome.REFER])
        y = end + sheet.mm(2)
        convention = self.say("As one looks at the patient: the right eye is on the left of this page.")
        return sheet.paragraph(MARGIN, y, WIDTH - 2 * MARGIN, convention, TINY, ink=FAINT) + sheet.mm(1)

    # --- an eye

    def _column(self, x: float, y: float, eye: _Eye) -> float:
        sheet, result = self.sheet, eye.result
        sheet.text(x, y, self.say(EYE_NAMES[eye.eye]), HEAD, bold=True)
        if eye.shown:
            taken = sheet.mm(0.9) + y
            sheet.text(x + COLUMN, taken, _local(eye.shown.taken), SMALL, ink=FAINT, align="R")
        y = self._band(x, y + sheet.line_height(HEAD) + sheet.mm(0.8), eye)
        y = self._photograph(x, y + sheet.mm(1.5), eye)
        y = self._warning(x, y + sheet.mm(1.5), eye)
        y = self._findings(x, y, eye)
        if not self._hidden(eye):
            y = self._scale(x, y, result)
            y = self._sectors(x, y, eye)
            y = self._reasons(x, y, result)
        y = self._quality(x, y, eye)
        return self._readings(x, y, eye)

    def _hidden(self, eye: _Eye) -> bool:
        """An eye that could not be imaged has no answer of the instrument to be hidden."""
        return self.masked and eye.shown is not None

    def _band(self, x: float, y: float, eye: _Eye) -> float:
        """The outcome in words, colour and shape."""
        sheet, outcome = self.sheet, eye.result.outcome
        high, size = sheet.mm(10), 13.5
        text_y = y + (high - sheet.line_height(size)) / 2
        if outcome is None or self._hidden(eye):
            words = "NOT EXAMINED" if outcome is None else "HIDDEN UNTIL THE READER HAS GRADED"
            small = 9.5
            sheet.box(x, y, COLUMN, high, edge=FAINT)
            sheet.text(
                x + sheet.mm(4), y + (high - sheet.line_height(small)) / 2, self.say(words), small, bold=True
            )
            return y + high
        sheet.box(x, y, COLUMN, high, fill=COLOURS[outcome])
        self._shape(outcome, x + sheet.mm(7), y + high / 2, sheet.mm(2.7))
        sheet.text(x + sheet.mm(13.5), text_y, self.say(WORDS[outcome]), size, bold=True, ink=PAPER)
        return y + high

    def _shape(self, outcome: Outcome, x: float, y: float, r: float) -> None:
        """Refer: triangle; no referral: circle; ungradable: open square, as on the screen."""
        if outcome is Outcome.REFER:
            self.sheet.polygon([(x - r, y + r * 0.8), (x + r, y + r * 0.8), (x, y - r)], PAPER)
        elif outcome is Outcome.NO_REFERRAL:
            self.sheet.circle(x, y, r, PAPER)
        else:
            self.sheet.frame(x - r * 0.8, y - r * 0.8, 1.6 * r, PAPER)

    def _photograph(self, x: float, y: float, eye: _Eye) -> float:
        """The whole photograph, on black as clinicians are used to."""
        sheet, evidence = self.sheet, eye.evidence
        high = sheet.mm(PHOTOGRAPH_HIGH)
        if not evidence.panels:
            sheet.box(x, y, COLUMN, high, edge=HAIRLINE)
            words = sentence(self.say(evidence.missing or "no photograph"))
            middle = y + high / 2 - sheet.line_height(BODY)
            sheet.paragraph(x + 6, middle, COLUMN - 12, words, BODY, ink=FAINT)
            return y + high
        sheet.box(x, y - 0.25, COLUMN, high + 0.5, fill="#000000")
        self._panel(x, y, COLUMN, high, eye, evidence.panels[0])
        return y + high

    def _panel(self, x: float, y: float, width: float, height: float, eye: _Eye, panel: Panel) -> None:
        """A panel in the middle of a frame."""
        size = min(width / panel.width, height / panel.height)
        across, down = panel.width * size, panel.height * size
        alt = self.say((OUTLINED if panel.outlines else PHOTOGRAPHS)[eye.eye])
        if panel.close_up:
            alt = self.say("{}: close-up of the optic disc", alt)
        layer = f"{eye.eye}: {self.say('outlines')}"
        self.sheet.picture(panel, x + (width - across) / 2, y + (height - down) / 2, across, down, alt, layer)

    def _findings(self, x: float, y: float, eye: _Eye) -> float:
        """Close-up, legend and numbers: beside each other where there is a close-up."""
        sheet = self.sheet
        close_up = next((panel for panel in eye.evidence.panels if panel.close_up), None)
        if close_up is None:
            y = self._legend(x, y, COLUMN, eye)
            if self._hidden(eye):
                return y
            half = COLUMN / 2
            left = self._figure(x, y, half - 2, "Vertical cup-to-disc ratio", eye.result.vcdr)
            right = self._figure(x + half, y, half - 2, "Glaucoma probability", eye.result.glaucoma_probability)
            return max(left, right)
        side = sheet.mm(CLOSE_UP)
        self._panel(x, y, side, side, eye, close_up)
        at, width = x + side + 3.5, COLUMN - side - 3.5
        end = self._figure(at, y, width, "Vertical cup-to-disc ratio", eye.result.vcdr)
        end = self._figure(at, end + sheet.mm(1), width, "Glaucoma probability", eye.result.glaucoma_probability)
        end = self._legend(at, end + sheet.mm(1), width, eye)
        return max(y + side, end) + sheet.mm(1)

    def _legend(self, x: float, y: float, width: float, eye: _Eye) -> float:
        """What the lines in the pictures mean; beneath each other where there is little room."""
        sheet = self.sheet
        drawn = [s for s in LEGEND if any(s in panel.outlines for panel in eye.evidence.panels)]
        step = width / 2 if width == COLUMN else 0.0
        for k, structure in enumerate(drawn):
            at = x + k * step
            sheet.sample(at, y + sheet.line_height(SMALL) / 2, 8, structure)
            sheet.text(at + 9.2, y, self.say(LEGEND[structure]), SMALL, ink=FAINT)
            y += 0 if step else sheet.line_height(SMALL)
        y += sheet.line_height(SMALL) if drawn and step else 0
        if drawn and eye.result.outcome is Outcome.UNGRADABLE:
            y = sheet.paragraph(x, y, width, self.say("outlines not trusted"), SMALL, bold=True)
        return y

    def _warning(self, x: float, y: float, eye: _Eye) -> float:
        doubted = doubtful(self.visit, eye.eye)
        if eye.shown and eye.shown in doubted:
            text = "▲ " + self.say(LOOKS_LIKE[eye.shown.seen_laterality])
        elif doubted:
            text = "▲ " + sentence(self.say(ANOTHER_LOOKS_LIKE))
        else:
            return y
        return self.sheet.paragraph(
            x, y, COLUMN, text, BODY, bold=True, ink=COLOURS[Outcome.REFER]
        ) + self.sheet.mm(1)

    def _figure(self, x: float, y: float, width: float, name: str, value: Interval | None) -> float:
        """A number large, and how far it can be relied upon."""
        if value is None:
            return y
        sheet, big = self.sheet, 19.0
        y = sheet.paragraph(x, y, width, self.say(name), SMALL, ink=FAINT)
        number = f"{value.value:.2f}"
        sheet.text(x, y - sheet.mm(0.8), number, big, bold=True)
        if value.n > 1:
            side = x + sheet.width_of(number, big, bold=True) + 2
            sheet.text(side, y + sheet.mm(1.9), f"[{value.low:.2f}, {value.high:.2f}]", BODY)
        y += sheet.line_height(big) - sheet.mm(1.4)
        of = self.say("median of {} photographs", value.n) if value.n > 1 else self.say(ONE)
        return sheet.paragraph(x, y, width, of, TINY, ink=FAINT) + sheet.mm(0.5)

    def _scale(self, x: float, y: float, result: EyeResult) -> float:
        """The probability from 0 to 1, its spread and the threshold that it was held against."""
        chance, point = result.glaucoma_probability, _point(result.evidence)
        if chance is None or point is None:
            return y
        sheet, limit = self.sheet, float(point["threshold"])
        high = sheet.mm(1.8)
        left, width, top = x + 3, COLUMN - 6, y + sheet.mm(1.6)
        sheet.box(left, top, width * limit, high, fill="#cfe1ee")
        sheet.box(left + width * limit, top, width * (1 - limit), high, fill="#f0d3c2")
        sheet.box(left + width * limit - 0.2, top - sheet.mm(0.9), 0.4, high + sheet.mm(1.8), fill=INK)
        sheet.rule(left + width * chance.low, left + width * chance.high, top + high / 2, ink=INK, thickness=0.5)
        r, at, middle = sheet.mm(1.25), left + width * chance.value, top + high / 2
        sheet.polygon([(at - r, middle), (at, middle - r), (at + r, middle), (at, middle + r)], INK)
        under = top + high + sheet.mm(0.7)
        sheet.text(left, under, "0", TINY, ink=FAINT, align="C")
        sheet.text(left + width, under, "1", TINY, ink=FAINT, align="C")
        label = self.say("referral threshold {}", f"{limit:.2f}")
        reach = sheet.width_of(label, TINY) / 2 + 3
        centre = min(max(left + width * limit, left + reach), left + width - reach)
        sheet.text(centre, under, label, TINY, ink=FAINT, align="C")
        return under + sheet.line_height(TINY) + sheet.mm(1)

    def _sectors(self, x: float, y: float, eye: _Eye) -> float:
        """Rim-to-disc ratio by sector of the photograph shown, a small table."""
        sheet = self.sheet
        measured = eye.shown.result.measurements if eye.shown and eye.result.vcdr else {}
        rims: dict[str, float] = measured.get("rim_disc_ratio", {})
        if not rims:
            return y
        order = [s for s in ("superior", "inferior", "nasal", "temporal", "left", "right") if s in rims]
        head = x + COLUMN * 0.34
        width = (x + COLUMN - head) / len(order)
        title = self.say("Rim-to-disc ratio of the photograph shown")
        end = sheet.paragraph(x, y, head - x - 2, title, TINY, ink=FAINT)
        for k, sector in enumerate(order):
            centre = head + (k + 0.5) * width
            sheet.text(centre, y, self.say(sector), TINY, ink=FAINT, align="C")
            sheet.text(centre, y + sheet.line_height(TINY), f"{rims[sector]:.2f}", BODY, align="C")
        y = max(end, y + sheet.line_height(TINY) + sheet.line_height(BODY)) + sheet.mm(0.6)
        others = self.say(
            "Cup-to-disc ratio there: horizontal {}, of areas {}",
            f"{measured['hcdr']:.2f}", f"{measured['area_cdr']:.2f}",
        )  # fmt: skip
        return sheet.paragraph(x, y, COLUMN, others, TINY, ink=FAINT) + sheet.mm(0.8)

    def _reasons(self, x: float, y: float, result: EyeResult) -> float:
        reasons = [self.typed(self.say(r), 320) for r in result.reasons[:MOST_REASONS]]
        if len(result.reasons) > MOST_REASONS:
            reasons.append(self.say("{} more in the record", len(result.reasons) - MOST_REASONS))
        for reason in reasons:
            self.sheet.text(x, y, "•", BODY)
            y = self.sheet.paragraph(x + 3, y, COLUMN - 3, sentence(reason), BODY)
        if result.tip:
            tip = self.say("What to do:") + " " + sentence(self.typed(self.say(result.tip), 320))
            y = self.sheet.paragraph(x, y + self.sheet.mm(0.6), COLUMN, tip, BODY, bold=True)
        return y + self.sheet.mm(1)

    def _quality(self, x: float, y: float, eye: _Eye) -> float:
        """How many photographs, and how good the one is that is shown."""
        result, parts = eye.result, []
        if result.shots and self._hidden(eye):
            parts = [self.say("Photographs taken: {}", result.shots), self.say(WHY_HIDDEN)]
        elif result.shots and eye.shown:
            parts = [self.say("Photographs taken: {}, of which could be graded: {}", result.shots, result.graded)]
            quality = eye.shown.result.quality
            grade, cause = self.say(str(quality["grade"])), str(quality.get("cause", ""))
            parts.append(
                self.say("Quality of the one shown: {}", grade + (f" ({self.say(cause)})" if cause else ""))
            )
        for part in parts:
            y = self.sheet.paragraph(x, y, COLUMN, part, SMALL, ink=FAINT)
        return y

    def _readings(self, x: float, y: float, eye: _Eye) -> float:
        """What human readers said of the eye; the latest last."""
        sheet = self.sheet
        for reading in eye.readings[-MOST_READINGS:]:
            parts = [self.say(WORDS[reading.grade])]
            if reading.vcdr is not None:
                parts.append(self.say("vertical cup-to-disc ratio {}", f"{reading.vcdr:.2f}"))
            if reading.remark:
                parts.append(self.typed(reading.remark, 160))
            if reading.masked:
                parts.append(self.say("graded before the instrument's answer was shown"))
            said = self.say("Reader {}: {}", self.typed(reading.reader, 40), "; ".join(parts))
            y = sheet.paragraph(x, y + sheet.mm(0.8), COLUMN, said, BODY)
        if (more := len(eye.readings) - MOST_READINGS) > 0:
            y = sheet.paragraph(x, y, COLUMN, self.say("{} more in the record", more), TINY, ink=FAINT)
        return y

    # --- below the eyes

    def _records(self, y: float) -> float:
        """How the answer was made, and what it can be traced by; returns where it ends (dry: how high it is)."""
        sheet = self.sheet
        sheet.rule(MARGIN, WIDTH - MARGIN, y)
        y += sheet.mm(1.2)
        ends = []
        for k, (title, lines) in enumerate(
            (("How this was made", self._method()), ("In the record", self._traces()))
        ):
            x = MARGIN + k * (COLUMN + GAP)
            at = sheet.paragraph(x, y, COLUMN, self.say(title), FOOT, bold=True)
            for line in lines:
                at = sheet.paragraph(x, at, COLUMN, line, FOOT, ink=FAINT)
            ends.append(at)
        return max(ends)

    def _method(self) -> list[str]:
        shown = [eye.shown for eye in self.eyes if eye.shown]
        lines = []
        if bundles := sorted({name for capture in shown for name in capture.result.bundles.values()}):
            lines.append(self.say("Networks: {}", ", ".join(bundles)))
        lines += [text for text in dict.fromkeys(self._point(c) for c in shown) if text]
        lines.append(self.say("Numbers: median [lowest, highest] of the photographs that could be graded."))
        return lines

    def _point(self, capture: Capture) -> str:
        point = _point(capture)
        if point is None:
            return ""
        return self.say(
            POINT,
            self.say("Operating point {}", point["name"]),
            self.say("glaucoma probability"),
            f"{point['threshold']:.2f}",
            *(f"{point[key]:.2f}" if key in point else "?" for key in ("sensitivity", "specificity")),
            self.typed(self.say(str(point.get("measured_on", "?"))), 240),
        )

    def _traces(self) -> list[str]:
        lines = [self.say("Examination {}", self.visit.uid)]
        for eye in self.eyes:
            if eye.shown is None:
                continue
            lines.append(f"{eye.eye}: {self.say('capture {}', eye.shown.uid)}")
            lines.append(f"SHA-256 {eye.shown.image}")
            if (more := len(self.visit.of(eye.eye)) - 1) > 0:
                lines.append(f"{eye.eye}: {self.say('{} more captures in the record', more)}")
        if self.audit_head:
            lines.append(self.say("Audit log {}", self.audit_head))
        return lines

    def typed(self, text: str, most: int) -> str:
        """What somebody typed, or what else may be of any length, on one line and cut with a mark."""
        return _clipped(text, max(8, round(most * self.room)))


def _clipped(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _point(capture: Capture | None) -> dict[str, Any] | None:
    """The operating point that decided."""
    return capture.result.operating_points.get("glaucoma_probability") if capture else None


def _local(time: str) -> str:
    """A record's time as the clock on the wall had it, with its offset from UTC."""
    try:
        local = datetime.fromisoformat(time).astimezone().isoformat(sep=" ", timespec="minutes")
        return f"{local[:16]} (UTC{local[16:]})"
    except ValueError:
        return time


def _last_change(visit: Visit) -> datetime:
    """When the visit last changed, which is when its report could first have been made."""
    times = [visit.started, visit.finished or "", *(r.time for r in visit.readings)]
    times += [*(c.taken for c in visit.captures), *(n.time for n in visit.not_imaged)]
    known = []
    for time in times:
        try:
            known.append(datetime.fromisoformat(time).astimezone(UTC))
        except ValueError:
            continue  # a record from elsewhere may lack one
    return max(known, default=datetime(1970, 1, 1, tzinfo=UTC))
