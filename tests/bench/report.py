"""The report of a bench."""

import statistics
from pathlib import Path

from peers import output_of, version

UNITS = {
    "h1": "HTTP/1.1 keep-alive, request",
    "h2": "HTTP/2 multiplexed, request",
    "handshake": "full handshake + 1 request + close",
    "body1m": "answer of 1 MiB, HTTP/1.1",
    "idle h1": "idle TLS connection, HTTP/1.1",
    "idle h2": "idle TLS connection, HTTP/2",
}
BASE = "nginx"


def line(run, number):
    """A run on one line, for who watches."""
    head = f"{run['case']:>9} {number + 1:>2} {run['proxy']:>8}  "
    if run["invalid"]:
        return head + "INVALID: " + run["invalid"]
    if "rss_kib" in run:
        return head + f"Rss {run['rss_kib']:.1f}, Pss {run['pss_kib']:.1f} KiB a connection"
    return head + (
        f"{run['cpu_us']:8.1f} us {run['rate']:9.0f}/s  p50 {run['p50_us']:.0f} p99 {run['p99_us']:.0f} us  "
        f"cores: proxy {run['proxy_core']:.0%} load {run['load_core']:.0%} origin {run['origin_core']:.0%} "
        f"foreign {run['foreign']:.0%} stolen {run['stolen']:.0%}  new upstream {run['new_upstream_connections']}"
    )


def render(runs, options):
    valid = [run for run in runs if not run["invalid"]]
    cases = list(dict.fromkeys(run["case"] for run in valid))
    timed = [case for case in cases if not case.startswith("idle")]
    held = [case for case in cases if case.startswith("idle")]
    proxies = [name for name in options.only if any(run["proxy"] == name for run in valid)]

    def values(case, proxy, key):
        return [run[key] for run in valid if (run["case"], run["proxy"]) == (case, proxy)]

    def spread(numbers):
        return (max(numbers) - min(numbers)) / statistics.median(numbers)

    def table(title, rows, key, text, ratio=False, of=statistics.median):
        def cell(case, proxy):
            numbers, base = values(case, proxy, key), values(case, BASE, key)
            if not numbers:
                return "-"
            compare = ratio and base and proxy != BASE
            return text.format(of(numbers)) + (f" ({of(numbers) / of(base):.2f})" if compare else "")

        yield f"| {title} | {' | '.join(proxies)} |"
        yield "|---|" + "---:|" * len(proxies)
        for case in rows:
            yield f"| {UNITS[case]} | {' | '.join(cell(case, proxy) for proxy in proxies)} |"
        yield ""

    lines = ["# Bench results", "", *circumstances(runs, options), ""]
    if timed:
        lines += table(f"CPU time of the proxy, µs (ratio to {BASE})", timed, "cpu_us", "{:.1f}", ratio=True)
        lines += table("Spread of CPU time: (max - min) / median", timed, "cpu_us", "{:.0%}", of=spread)
        lines += table(f"Units per second (ratio to {BASE})", timed, "rate", "{:,.0f}", ratio=True)
        lines += table("99th percentile of latency, µs", timed, "p99_us", "{:,.0f}")
        lines += table("Share of its core that the proxy used", timed, "proxy_core", "{:.0%}")
        lines += table("Share of the other core: load generator", timed, "load_core", "{:.0%}")
        lines += table("Share of the other core: origin", timed, "origin_core", "{:.0%}")
        lines += table("Other programs on the proxy's core (noise)", timed, "foreign", "{:.0%}")
    if held:
        lines += table(f"Growth of Rss, KiB (ratio to {BASE})", held, "rss_kib", "{:.1f}", ratio=True)
        lines += table(f"Growth of Pss, KiB (ratio to {BASE})", held, "pss_kib", "{:.1f}", ratio=True)
        lines += table("Pss of the fresh process, KiB", held, "fresh_kib", "{:,.0f}")
    invalid = [run for run in runs if run["invalid"]]
    lines.append(f"Runs: {len(runs)}, of which invalid and left out: {len(invalid)}.")
    lines += [f"- {run['case']}, {run['proxy']}: {run['invalid']}" for run in invalid]
    return "\n".join(lines) + "\n"


def circumstances(runs, options):
    processor = next(
        (text.split(":", 1)[1].strip() for text in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in text),
        "unknown processor",
    )
    yield f"- Date: {output_of('date', '-u', '+%Y-%m-%d %H:%M UTC').strip()}"
    yield f"- Machine: {processor}, Linux {output_of('uname', '-r').strip()}; one core for the proxy, one for load and origin"
    yield f"- Versions: {', '.join(version(name) for name in options.only)}"
    for tls in sorted({run["tls"] for run in runs if run.get("tls")}):
        users = sorted({run["proxy"] for run in runs if run.get("tls") == tls})
        yield f"- TLS: {tls} ({', '.join(users)})"
    yield (
        f"- Medians of {options.rounds} rounds of {options.seconds:g} s after {options.warmup:g} s of the same load; "
        "in each round the proxies take turns"
    )
    yield f"- Idle: {options.held:,} connections with one proxied request each, fresh process each time"
    yield "- What each number is: tests/bench/README.md"
