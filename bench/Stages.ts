/** Where the time of a build goes, by the spans of its trace and by what its client waited. */
import * as Attributes from "../src/telemetry/Attributes.ts"
import type { Span } from "../test/support/OtlpReceiver.ts"

/** In the order of a build. What is in none of Drover's spans is the client's own, SSH, questions and uploads. */
export const outside = "outside the build: client, ssh, questions, outputs fetched"
const stages = ["queue", "prepare", "run", "import"]
/** Of a virtual machine, and counted in `prepare` already. */
export const boot = "of prepare, the machine boots"
const rest = "rest of the build: identity, records, log"

const secondsOf = ({ endNanos, startNanos }: Span) => Number(endNanos - startNanos) / 1e9

/** The traces of builds that have ended well, in the order of their beginning. */
export const tracesOf = (spans: ReadonlyArray<Span>) =>
  spans
    .filter(({ attributes, name }) => name === "build" && attributes[Attributes.outcome] === "succeeded")
    .sort((a, b) => Number(a.startNanos - b.startNanos))

/** Seconds by stage, of as many builds as there are; the client waited `waits` for them, in order. */
export const breakDown = (spans: ReadonlyArray<Span>, waits: ReadonlyArray<number>): Map<string, Array<number>> => {
  const rows = new Map([outside, ...stages, rest].map((name) => [name, new Array<number>()]))
  for (const [index, build] of tracesOf(spans).entries()) {
    const wait = waits[index]
    if (wait === undefined) break
    const children = spans.filter(({ parentSpanId }) => parentSpanId === build.spanId)
    let inStages = 0
    for (const name of stages) {
      const seconds = children.filter((span) => span.name === name).reduce((sum, span) => sum + secondsOf(span), 0)
      rows.get(name)?.push(seconds)
      inStages += seconds
    }
    rows.get(rest)?.push(secondsOf(build) - inStages)
    const boots = spans.filter(({ name, traceId }) => name === "boot" && traceId === build.traceId)
    if (boots.length > 0)
      rows.set(boot, [...(rows.get(boot) ?? []), boots.reduce((sum, span) => sum + secondsOf(span), 0)])
    rows.get(outside)?.push(wait - secondsOf(build))
  }
  return rows
}
