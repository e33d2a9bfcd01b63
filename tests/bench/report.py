"""The report of a bench."""

import re
import statistics
from pathlib import Path

from peers import BEFORE, output_of, version

UNITS = {
    "h1": "HTTP/1.1 keep-alive, request",
    "h2": "HTTP/2 multiplexed, request",
    "handshake": "full handshake + 1 request + close",
    "body1m": "answer of 1 MiB, HTTP/1.1",
    "idle h1": "idle TLS connection, HTTP/1.1",
    "idle h2": "idle TLS connection, HTTP/2",
}
BASE = "nginx"


def line(run):
    """A run on one line, for who watches."""
    head = f"{run['case']:>9} {run['round'] + 1:>2} {run['proxy']:>8}  "
    if run["invalid"]:
        return head + "INVALID: " + run["invalid"]
    if "rss_kib" in run:
        return head + f"Rss {run['rss_kib']:.1f}, Pss {run['pss_kib']:.1f} KiB a connection"
    return head + (
        f"{run['cpu_us']:8.1f} us {run['rate']:8.0f}/s  p50 {run['p50_us']:.0f} p99 {run['p99_us']:.0f} us  "
        f"proxy {run['proxy_share']:.0%} (idle {run['proxy_core_idle']:.0%} "
        f"foreign {run['proxy_core_foreign']:.0%} stolen {run['proxy_core_stolen']:.0%})  "
        f"load {run['load_share']:.0%} origin {run['origin_share']:.0%} (idle {run['load_core_idle']:.0%})  "
        f"new upstream {run['new_upstream_connections']}"
    )


def render(runs, options):
    table = Table([run for run in runs if not run["invalid"]], options.only)
    timed = [case for case in table.cases if not case.startswith("idle")]
    held = [case for case in table.cases if case.startswith("idle")]
    lines = ["# Bench results", "", *circumstances(runs, options), ""]
    if timed:
        lines += table.rows("CPU time of the proxy, µs", timed, "cpu_us", "{:.1f}", ratio=True)
        if BEFORE in options.only:
            lines += table.against(BEFORE, timed)
        lines += table.rows("Units per second", timed, "rate", "{:,.0f}", ratio=True)
        lines += table.rows("99th percentile of latency, µs", timed, "p99_us", "{:,.0f}")
        lines += table.rows("Spread of CPU time: (max - min) / median", timed, "cpu_us", "{:.0%}", of=spread)
        lines += table.rows("The proxy's core: used by the proxy", timed, "proxy_share", "{:.0%}")
        lines += table.rows("The proxy's core: used by other programs", timed, "proxy_core_foreign", "{:.0%}")
        lines += table.rows("The load's core: used by the load generator", timed, "load_share", "{:.0%}")
        lines += table.rows("The load's core: used by the origin", timed, "origin_share", "{:.0%}")
        lines += table.rows("The load's core: idle", timed, "load_core_idle", "{:.0%}")
    if held:
        lines += table.rows("Growth of Rss, KiB", held, "rss_kib", "{:.1f}", ratio=True)
        lines += table.rows("Growth of Pss, KiB", held, "pss_kib", "{:.1f}", ratio=True)
        lines += table.rows("Pss of the fresh process, KiB", held, "fresh_kib", "{:,.0f}")
    invalid = [run for run in runs if run["invalid"]]
    lines.append(f"Runs: {len(runs)}, of which invalid and left out: {len(invalid)}.")
    lines += [f"- {run['case']}, {run['proxy']}: {run['invalid']}" for run in invalid]
    return "\n".join(lines) + "\n"


def spread(numbers):
    return (max(numbers) - min(numbers)) / statistics.median(numbers)


class Table:
    """Tables of cases by proxies."""

    def __init__(self, runs, proxies):
        self.cases = list(dict.fromkeys(run["case"] for run in runs))
        self.proxies = proxies
        self.runs = {(run["case"], run["proxy"], run["round"]): run for run in runs}

    def by_round(self, case, proxy, key):
        """The valid values of a proxy, by the number of their round."""
        return {number: run[key] for (*of, number), run in self.runs.items() if of == [case, proxy]}

    def rows(self, title, cases, key, text, ratio=False, of=statistics.median):
        title += f" (ratio to {BASE})" if ratio else ""
        yield f"| {title} | {' | '.join(self.proxies)} |"
        yield "|---|" + "---:|" * len(self.proxies)
        for case in cases:
            cells = []
            for proxy in self.proxies:
                values, base = self.by_round(case, proxy, key), self.by_round(case, BASE, key)
                cell = text.format(of(values.values())) if values else "-"
                if ratio and proxy != BASE and (both := values.keys() & base.keys()):
                    cell += f" ({statistics.median(values[number] / base[number] for number in both):.2f})"
                cells.append(cell)
            yield f"| {UNITS[case]} | {' | '.join(cells)} |"
        yield ""


    def against(self, older, cases):
        """Portico's CPU time as a ratio to an older binary's in the same round."""
        yield "| CPU time of Portico against the older binary's, in the same round | lower quartile | median | upper quartile |"
        yield "|---|---:|---:|---:|"
        for case in cases:
            new, old = self.by_round(case, "portico", "cpu_us"), self.by_round(case, older, "cpu_us")
            ratios = [new[number] / old[number] for number in new.keys() & old.keys()]
            if len(ratios) > 1:
                low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
                yield f"| {UNITS[case]} | {low:.3f} | {middle:.3f} | {high:.3f} |"
        yield ""


def circumstances(runs, options):
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = processor[1] if processor else "unknown processor"
    yield f"- Date: {output_of('date', '-u', '+%Y-%m-%d %H:%M UTC').strip()}"
    kernel = output_of("uname", "-r").strip()
    yield f"- Machine: {processor}, Linux {kernel}; one core for the proxy, one for load generator and origin"
    yield f"- Versions: {', '.join(version(name) for name in options.only)}"
    for tls in sorted({run["tls"] for run in runs if run.get("tls")}):
        users = sorted({run["proxy"] for run in runs if run.get("tls") == tls})
        yield f"- TLS: {tls} ({', '.join(users)})"
    yield (
        f"- Medians of {options.rounds} rounds of {options.seconds:g} s after {options.warmup:g} s of the same load; "
        "in each round the proxies are started anew, from fresh copies of their programs, and take turns"
    )
    yield f"- A ratio is the median of the ratios to {BASE} in the same round"
    yield f"- Idle: {options.held:,} connections with one proxied request each, fresh process each time"
    yield "- What each number is: tests/bench/README.md"
