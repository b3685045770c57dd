/**
 * The attributes that spans and metrics carry, every name once.
 *
 * OpenTelemetry has no conventions for Nix, so ours stand in a namespace of their own, in lower case, with dots
 * between its parts; where it has a name, that is used. Values are those that Nix prints: a derivation is its store
 * path, a system `x86_64-linux`. Nothing secret and nothing that a build made is ever an attribute.
 */
export const account = "drover.account"
export const derivation = "drover.derivation"
export const system = "drover.system"
/** How a client reached us, as the scheme of a store: `ssh` or `ssh-ng`. */
export const scheme = "drover.scheme"
/** Which try at a build: its UUIDv7. Absent from what belongs to the build and to no attempt. */
export const attempt = "drover.attempt"
/** How many attempts there were. */
export const attempts = "drover.attempts"
/** As in `builds list`: `succeeded`, `failed`, `cancelled` … */
export const outcome = "drover.outcome"
/** What the client was answered, in Nix's own statuses: `Built`, `PermanentFailure` … */
export const status = "drover.status"
/** `queue`, `prepare`, `boot`, `run` or `import`. */
export const stage = "drover.stage"
/** How a machine came to be: `booted`, or `restored`, the copy of one that had. */
export const machineOrigin = "drover.machine.origin"
/** What answered a request, if not a build of its own. */
export const reuse = "drover.reuse"
/** How many operations an upload took. */
export const operations = "drover.operations"
/** What a build that waits waits for. */
export const waitReason = "drover.wait.reason"
export const host = "drover.host"
/** Why a connection ended. */
export const connectionEnd = "drover.connection.end"
/** What a session of PostgreSQL is doing, or is held up by. */
export const databaseState = "drover.database.state"
/** OpenTelemetry's: `receive` or `transmit`, as seen from here. */
export const ioDirection = "network.io.direction"
/** OpenTelemetry's, for `process.cpu.time`: `user` or `system`. */
export const cpuMode = "cpu.mode"
/** What a client's own vendor wants to find again, as OpenTelemetry names it where there is no field for it. */
export const traceState = "w3c.tracestate"
/** In log records, so that a line can be found from its trace where logs are not sent with OTLP. */
export const traceId = "trace_id"
