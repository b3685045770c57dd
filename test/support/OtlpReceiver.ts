/**
 * Stands where an OpenTelemetry collector would: takes OTLP over HTTP, as protobuf or JSON, and keeps what came.
 *
 * Field numbers are those of opentelemetry-proto 1.x, and only those read here are named.
 */
import * as http from "node:http"
import type { AddressInfo } from "node:net"

export interface Span {
  readonly service: string
  readonly traceId: string
  readonly spanId: string
  /** Empty for the root of a trace. */
  readonly parentSpanId: string
  readonly name: string
  readonly startNanos: bigint
  readonly endNanos: bigint
  readonly attributes: Readonly<Record<string, string>>
  /** Ids of the spans that it points to. */
  readonly links: ReadonlyArray<{ readonly traceId: string; readonly spanId: string }>
}

export interface LogRecord {
  readonly traceId: string
  readonly attributes: Readonly<Record<string, string>>
  readonly body: string
}

export interface OtlpReceiver {
  /** What to set `OTEL_EXPORTER_OTLP_ENDPOINT` to. */
  readonly endpoint: string
  readonly spans: ReadonlyArray<Span>
  readonly logs: ReadonlyArray<LogRecord>
  /** Names of the metrics that came. */
  readonly metrics: ReadonlySet<string>
  /** Content types by path, of every request. */
  readonly requests: ReadonlyArray<{ readonly path: string; readonly contentType: string }>
  /** Resolves once what has come satisfies the question. */
  readonly until: (holds: () => boolean) => Promise<void>
  readonly close: () => Promise<void>
}

export const open = async (): Promise<OtlpReceiver> => {
  const spans: Array<Span> = []
  const logs: Array<LogRecord> = []
  const metrics = new Set<string>()
  const requests: Array<{ path: string; contentType: string }> = []
  const watchers = new Set<() => void>()

  const server = http.createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const path = request.url ?? ""
      const contentType = request.headers["content-type"] ?? ""
      const body = Buffer.concat(chunks)
      const root = contentType.startsWith("application/json")
        ? fromJson(JSON.parse(body.toString()))
        : fromProtobuf(body)
      if (path === "/v1/traces") spans.push(...spansOf(root))
      if (path === "/v1/logs") logs.push(...logsOf(root))
      if (path === "/v1/metrics") for (const name of metricsOf(root)) metrics.add(name)
      requests.push({ path, contentType })
      response.writeHead(200, { "content-type": contentType }).end()
      for (const watcher of watchers) watcher()
    })
  })
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  // A server that listens on a port has an address of this form.
  const { port } = server.address() as AddressInfo

  const until = (holds: () => boolean) =>
    new Promise<void>((done) => {
      const look = () => {
        if (!holds()) return
        watchers.delete(look)
        done()
      }
      watchers.add(look)
      look()
    })
  const close = () =>
    new Promise<void>((done) => {
      server.close(() => done())
      server.closeAllConnections()
    })
  return { endpoint: `http://127.0.0.1:${port}`, spans, logs, metrics, requests, until, close }
}

/** What both encodings are read into: a message, whose fields are asked for by number or by name. */
interface Message {
  readonly messages: (field: number, name: string) => ReadonlyArray<Message>
  readonly text: (field: number, name: string) => string
  readonly hex: (field: number, name: string) => string
  readonly number: (field: number, name: string) => bigint
}

const fromJson = (value: unknown): Message => {
  // Whatever is not an object has no fields.
  const fields = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>
  const text = (name: string) => {
    const field = fields[name]
    return typeof field === "string" || typeof field === "number" ? `${field}` : ""
  }
  return {
    messages: (_, name) => [fields[name] ?? []].flat().map(fromJson),
    text: (_, name) => text(name),
    hex: (_, name) => text(name),
    number: (_, name) => BigInt(text(name) || 0)
  }
}

/** Protobuf: a field's number and wire type, then a varint, eight bytes, four, or a length and so many bytes. */
const fromProtobuf = (bytes: Buffer): Message => {
  const fields = new Map<number, Array<Buffer | bigint>>()
  let at = 0
  const varint = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]
      if (byte === undefined) throw new Error("expected a varint, found the end of the message")
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  const take = (count: number) => bytes.subarray(at, (at += count))
  while (at < bytes.length) {
    const key = Number(varint())
    const value = (() => {
      switch (key & 7) {
        case 0:
          return varint()
        case 1:
          return take(8).readBigUInt64LE()
        case 2:
          return take(Number(varint()))
        case 5:
          return BigInt(take(4).readUInt32LE())
        default:
          throw new Error(`expected a wire type, found ${key & 7}`)
      }
    })()
    fields.set(key >> 3, [...(fields.get(key >> 3) ?? []), value])
  }
  const bytesOf = (field: number) => (fields.get(field) ?? []).filter((value) => typeof value !== "bigint")
  return {
    messages: (field) => bytesOf(field).map(fromProtobuf),
    text: (field) => bytesOf(field)[0]?.toString() ?? "",
    hex: (field) => bytesOf(field)[0]?.toString("hex") ?? "",
    number: (field) => (fields.get(field) ?? []).find((value) => typeof value === "bigint") ?? 0n
  }
}

const attributesOf = (message: Message, field: number): Record<string, string> =>
  Object.fromEntries(
    message.messages(field, "attributes").map((pair) => {
      const value = pair.messages(2, "value")[0]
      const text = value?.text(1, "stringValue") || String(value?.number(3, "intValue") ?? "")
      return [pair.text(1, "key"), text]
    })
  )

const spansOf = (root: Message): Array<Span> =>
  root.messages(1, "resourceSpans").flatMap((resource) => {
    const service = attributesOf(resource.messages(1, "resource")[0] ?? fromJson(null), 1)["service.name"] ?? ""
    return resource
      .messages(2, "scopeSpans")
      .flatMap((scope) => scope.messages(2, "spans"))
      .map((span) => ({
        service,
        traceId: span.hex(1, "traceId"),
        spanId: span.hex(2, "spanId"),
        parentSpanId: span.hex(4, "parentSpanId"),
        name: span.text(5, "name"),
        startNanos: span.number(7, "startTimeUnixNano"),
        endNanos: span.number(8, "endTimeUnixNano"),
        attributes: attributesOf(span, 9),
        links: span
          .messages(13, "links")
          .map((link) => ({ traceId: link.hex(1, "traceId"), spanId: link.hex(2, "spanId") }))
      }))
  })

const logsOf = (root: Message): Array<LogRecord> =>
  root
    .messages(1, "resourceLogs")
    .flatMap((resource) => resource.messages(2, "scopeLogs"))
    .flatMap((scope) => scope.messages(2, "logRecords"))
    .map((record) => ({
      traceId: record.hex(9, "traceId"),
      attributes: attributesOf(record, 6),
      body: record.messages(5, "body")[0]?.text(1, "stringValue") ?? ""
    }))

const metricsOf = (root: Message): Array<string> =>
  root
    .messages(1, "resourceMetrics")
    .flatMap((resource) => resource.messages(2, "scopeMetrics"))
    .flatMap((scope) => scope.messages(2, "metrics"))
    .map((metric) => metric.text(1, "name"))
