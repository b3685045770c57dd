/**
 * The attributes that spans and metrics carry, every name once.
 *
 * OpenTelemetry has no conventions for Nix, so ours stand in a namespace of their own, in lower case, with dots
 * between its parts. Values are those that Nix prints: a derivation is its store path, a system `x86_64-linux`.
 * Nothing secret and nothing that a build made is ever an attribute.
 */
export const account = "drover.account"
export const derivation = "drover.derivation"
export const system = "drover.system"
/** Which try at a build: its UUIDv7. Absent from what belongs to the build and to no attempt. */
export const attempt = "drover.attempt"
/** How many attempts there were. */
export const attempts = "drover.attempts"
/** As in `builds list`: `succeeded`, `failed`, `cancelled` … */
export const outcome = "drover.outcome"
/** `queue`, `prepare`, `run` or `import`. */
export const stage = "drover.stage"
/** In log records, so that a line can be found from its trace where logs are not sent with OTLP. */
export const traceId = "trace_id"
