/**
 * Where the time of a build goes, from connecting to the last output fetched: by the spans of its request and of the build
 * itself, and by what its client waited. The rows are apart and add up to that, but for the one that says what it is of.
 */
import * as Attributes from "../src/telemetry/Attributes.ts"
import type { Span } from "../test/support/OtlpReceiver.ts"

/** What is in none of Drover's spans: the client's own work, and what it does beside asking for a build. */
export const outside = "outside the request: client, ssh, questions, outputs fetched"
const steps = ["upload", "closure", "identity", "reuse"]
const stages = ["queue", "prepare", "run", "import"]
/** Of a virtual machine, and counted in `prepare` already. */
export const boot = "of prepare, the machine boots"
const restOfBuild = "rest of the build: records, log"
const grant = "grant"
const restOfRequest = "rest of the request: records, the answer"

const secondsOf = ({ endNanos, startNanos }: Span) => Number(endNanos - startNanos) / 1e9

const sum = (spans: ReadonlyArray<Span>) => spans.reduce((sum, span) => sum + secondsOf(span), 0)

/** The builds that have ended well, in the order of their beginning. */
export const buildsOf = (spans: ReadonlyArray<Span>) =>
  spans
    .filter(({ attributes, name }) => name === "build" && attributes[Attributes.outcome] === "succeeded")
    .sort((a, b) => Number(a.startNanos - b.startNanos))

/** The request that a build was begun for, once it is there. */
export const requestOf = (spans: ReadonlyArray<Span>, { links }: Span): Span | undefined =>
  spans.find(({ name, spanId }) => name === "request" && spanId === links[0]?.spanId)

/** Of those, the ones of which everything has come: a request's span ends last. */
export const answeredOf = (spans: ReadonlyArray<Span>) =>
  buildsOf(spans).filter((build) => requestOf(spans, build) !== undefined)

/** Seconds by stage, of these builds, for which the client waited `waits`, in order. */
export const breakDown = (
  spans: ReadonlyArray<Span>,
  builds: ReadonlyArray<Span>,
  waits: ReadonlyArray<number>
): Map<string, Array<number>> => {
  const order = [outside, ...steps, ...stages, restOfBuild, grant, restOfRequest]
  const rows = new Map(order.map((name) => [name, new Array<number>()]))
  for (const [index, build] of builds.entries()) {
    const wait = waits[index]
    if (wait === undefined) break
    // One whose request is not known begins where it is known to.
    const request = requestOf(spans, build) ?? build
    const below = (parent: Span, name: string) =>
      sum(spans.filter((span) => span.parentSpanId === parent.spanId && span.name === name))
    let inBuild = 0
    for (const name of stages) {
      const seconds = below(build, name)
      rows.get(name)?.push(seconds)
      inBuild += seconds
    }
    let inRequest = 0
    for (const name of [...steps, grant]) {
      const seconds = request === build ? 0 : below(request, name)
      rows.get(name)?.push(seconds)
      inRequest += seconds
    }
    rows.get(restOfBuild)?.push(secondsOf(build) - inBuild)
    rows.get(restOfRequest)?.push(secondsOf(request) - inRequest - secondsOf(build))
    rows.get(outside)?.push(wait - secondsOf(request))
    const boots = spans.filter(({ name, traceId }) => name === "boot" && traceId === build.traceId)
    if (boots.length > 0) rows.set(boot, [...(rows.get(boot) ?? []), sum(boots)])
  }
  return rows
}
