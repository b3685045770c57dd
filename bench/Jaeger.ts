/**
 * Spans in the form that Jaeger's UI reads: traces with their spans, times in microseconds, links as references.
 *
 * A parent that is not among the spans, a client's own, is left out, since the UI would say that the trace is broken.
 */
import type { Span } from "../test/support/OtlpReceiver.ts"

const microseconds = (nanos: bigint): number => Number(nanos / 1000n)

const referencesOf = ({ links, parentSpanId, traceId }: Span, known: ReadonlySet<string>) => [
  ...(known.has(parentSpanId) ? [{ refType: "CHILD_OF", traceID: traceId, spanID: parentSpanId }] : []),
  ...links.map((link) => ({ refType: "FOLLOWS_FROM", traceID: link.traceId, spanID: link.spanId }))
]

const traceOf = (traceID: string, spans: ReadonlyArray<Span>, known: ReadonlySet<string>) => ({
  traceID,
  spans: spans.map((span) => ({
    traceID,
    spanID: span.spanId,
    operationName: span.name,
    references: referencesOf(span, known),
    startTime: microseconds(span.startNanos),
    duration: microseconds(span.endNanos - span.startNanos),
    tags: Object.entries(span.attributes).map(([key, value]) => ({ key, type: "string", value })),
    logs: [],
    processID: "p1",
    warnings: null
  })),
  processes: { p1: { serviceName: spans[0]?.service ?? "", tags: [] } },
  warnings: null
})

/** Those with these names, each below the nearest that is left of what it hung from. */
export const only = (spans: ReadonlyArray<Span>, names: ReadonlySet<string>): ReadonlyArray<Span> => {
  const byId = new Map(spans.map((span) => [span.spanId, span]))
  const kept = (spanId: string): string => {
    const parent = byId.get(spanId)
    return parent === undefined || names.has(parent.name) ? spanId : kept(parent.parentSpanId)
  }
  return spans.filter(({ name }) => names.has(name)).map((span) => ({ ...span, parentSpanId: kept(span.parentSpanId) }))
}

/** All traces that the spans belong to. */
export const document = (spans: ReadonlyArray<Span>) => {
  const known = new Set(spans.map(({ spanId }) => spanId))
  const traces = Map.groupBy(spans, ({ traceId }) => traceId)
  return { data: [...traces].map(([traceID, spans]) => traceOf(traceID, spans, known)) }
}
