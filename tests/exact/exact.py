"""The price of a call by another road: increments walked one by one, sums in fractions, the clock read at each.

Reads calls from standard input, a line each: their cells as a deck has them, then what the bridge says they cost.
Prints every difference, and at the end how many calls were read. Written from the law alone.
"""

import re
import sys
from datetime import datetime, timezone
from fractions import Fraction
from zoneinfo import ZoneInfo

FIELDS = (
    "rate fee initial next length zero short free change tiers month used bands zone least most rounding places "
    "surcharge origin discount exchange split pool at later elapsed amount billed lines"
).split()

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ZONES = {}


def seconds(text):
    """Seconds in text as whole milliseconds."""
    return int(Fraction(text or "0") * 1000)


def rounded(value, mode, places):
    scaled = value * 10**places
    whole, rest = divmod(scaled.numerator, scaled.denominator)
    rest = Fraction(rest, scaled.denominator)
    half = Fraction(1, 2)
    if mode == "up":
        whole += rest > 0
    elif mode == "half-up":
        whole += rest >= half
    elif mode == "half-even":
        whole += rest > half or (rest == half and whole % 2 == 1)
    return Fraction(whole, 10**places)


def read_length(ms, unit):
    if unit == "ceil-s":
        return -(-ms // 1000) * 1000
    if unit == "floor-s":
        return ms // 1000 * 1000
    if unit == "nearest-s":
        return (ms + 500) // 1000 * 1000
    return ms


def read_bands(text):
    bands = []
    for band in filter(None, (part.strip() for part in text.split("|"))):
        days, hours, price = band.split()
        chosen = set()
        for part in days.split(","):
            first, _, last = part.partition("-")
            if part == "daily":
                first, last = "mon", "sun"
            day = DAYS.index(first)
            while True:
                chosen.add(day)
                if DAYS[day] == (last or first):
                    break
                day = (day + 1) % 7
        begin, end = ((int(h) * 60 + int(m)) for h, m in (time.split(":") for time in hours.split("-")))
        bands.append((chosen, begin, end, Fraction(price)))
    return bands


def read_tiers(text, unit):
    return [(int(after) * unit, Fraction(price)) for after, price in (word.split(":") for word in text.split())]


class Call:
    def __init__(self, line):
        for name, cell in zip(FIELDS, line.rstrip("\n").split("\t"), strict=True):
            setattr(self, name, cell)
        self.at_us = int(self.at)
        self.rates = [(None, Fraction(self.rate))]
        if self.later:
            moment, rate = self.later.split("=")
            self.rates.append((int(moment), Fraction(rate)))
        self.band_list = read_bands(self.bands)
        if self.zone not in ZONES:
            ZONES[self.zone] = ZoneInfo(self.zone or "UTC")
        self.clock = ZONES[self.zone]
        self.tier_list = read_tiers(self.tiers, 1000)
        self.month_list = [(after - int(self.used) * 60000, price) for after, price in read_tiers(self.month, 60000)]
        self.pool_ms, self.free_ms = int(self.pool), seconds(self.free)

    def base(self, us):
        """The price of the row that is valid at a moment, or of the band that is in force."""
        rate = [rate for begin, rate in self.rates if begin is None or begin <= us][-1]
        if self.band_list:
            shown = datetime.fromtimestamp(us // 1_000_000, timezone.utc).astimezone(self.clock)
            minute = shown.hour * 60 + shown.minute
            for days, begin, end, price in self.band_list:
                if shown.weekday() in days and begin <= minute < end:
                    return price
        return rate

    def price(self, us, paid):
        price = self.base(us)
        for after, tier in self.tier_list + self.month_list:
            if after <= paid:
                price = tier
        return price

    def next_change(self, paid, end, moment):
        """The first millisecond after `paid`, before `end`, at which another row or band is valid."""
        turns = {begin for begin, _ in self.rates if begin is not None}
        if self.band_list:
            first, last = moment(paid) // 60_000_000, moment(end) // 60_000_000
            turns |= {minute * 60_000_000 for minute in range(first, last + 1)}
        for us in sorted(turns):
            position = -((moment(0) - us) // 1000)
            if paid < position < end and self.base(moment(position)) != self.base(moment(position - 1)):
                return position
        return None

    def minutes(self, paid_ms):
        """Increments walked one by one: their sum, and how long they are together."""
        initial, step = seconds(self.initial), seconds(self.next)
        begin_us = self.at_us + (self.free_ms + self.pool_ms) * 1000
        moment = lambda paid: begin_us + paid * 1000
        frozen = self.change == "answer"
        total, billed, paid, first = Fraction(0), 0, 0, True
        if self.split == "increment" and self.pool_ms > 0:
            first = False
        while paid < paid_ms:
            length = initial if first else step
            price = self.price(self.at_us if frozen else moment(paid), paid)
            total += price * length / 60000
            billed += length
            end, first = paid + length, False
            if self.change == "split":
                change = self.next_change(paid, min(end, paid_ms), moment)
                if change is not None:
                    end, first = change, True
                elif end < paid_ms and self.base(moment(end)) != self.base(moment(end - 1)):
                    first = True
            paid = end
        return total, billed

    def cost(self):
        elapsed = read_length(int(self.elapsed), self.length)
        if elapsed == 0 and self.zero == "minimum":
            elapsed = 1
        if elapsed < seconds(self.short):
            return Fraction(0), 0
        paid = elapsed - self.free_ms - self.pool_ms
        if paid <= 0:
            return Fraction(0), 0
        minutes, billed = self.minutes(paid)
        total = minutes * (1 - Fraction(self.discount[:-1]) / 100) + Fraction(self.fee)
        if self.origin == "mobile":
            for word in self.surcharge.split():
                price, per = word.split("/")
                total += Fraction(price) * (Fraction(billed, 60000) if per == "min" else 1)
        total = max(total, Fraction(self.least or "0"))
        if self.most:
            total = min(total, Fraction(self.most))
        total *= Fraction(self.exchange or "1")
        return rounded(total, self.rounding or "half-up", int(self.places or "4")), billed


def recomputed(lines):
    """The charge, worked out from an explanation and nothing else."""
    total, charge = Fraction(0), None
    for line in lines:
        if match := re.match(r"(?:\w+ surcharge: )?([\d.]+) s × ([\d.]+) \w+ a minute / 60 s = ", line):
            total += Fraction(match[1]) * Fraction(match[2]) / 60
        elif match := re.match(r"less ([\d.]+)% of ", line):
            total *= 1 - Fraction(match[1]) / 100
        elif match := re.match(r"connect fee ([\d.]+) ", line):
            total += Fraction(match[1])
        elif match := re.match(r"\w+ surcharge ([\d.]+) \w+ a call", line):
            total += Fraction(match[1])
        elif match := re.search(r": the (?:minimum|maximum) is ([\d.]+) ", line):
            total = Fraction(match[1])
        elif match := re.match(r"sum [\d.]+…?(?: \w+ × ([\d.]+) \w+ a \w+)?, rounded ([\w ]+) to (\d) places?: ([\d.]+)$", line):
            total = rounded(total * Fraction(match[1] or "1"), match[2].replace(" ", "-"), int(match[3]))
            if total != Fraction(match[4]):
                return None
        elif match := re.match(r"charge ([\d.]+) ", line):
            charge = Fraction(match[1])
    return charge if charge == total else None


def main():
    calls = different = 0
    for line in sys.stdin:
        calls += 1
        call = Call(line)
        amount, billed = call.cost()
        lines = call.lines.split("¦")
        wrong = amount != Fraction(call.amount) or billed != int(call.billed)
        unexplained = call.lines and recomputed(lines) != amount
        if wrong or unexplained:
            different += 1
            if different <= 5:
                what = "explained otherwise" if not wrong else f"expected {float(amount)} for {billed} ms"
                print(f"{what}: {dict(zip(FIELDS, line.rstrip().split(chr(9))))}")
    print(f"{calls} calls, {different} differences")


main()
