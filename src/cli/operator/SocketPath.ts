/**
 * The path of the operator's socket, in a form that always fits.
 *
 * A socket's address holds 107 bytes of path, and a data directory may be deeper than that. So the directory is
 * opened, and the socket named through the descriptor, in `/proc`.
 */
import { Effect, Schema, type Scope } from "effect"
import * as fs from "node:fs"

const socketName = "drover.sock"

/** The socket cannot be had. `code` is the system's own: ENOENT, EACCES, … */
export class SocketError extends Schema.TaggedError<SocketError>()("SocketError", {
  code: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return this.cause instanceof Error ? this.cause.message : String(this.cause)
  }
  static readonly from = (cause: unknown) =>
    new SocketError({
      code: cause instanceof Error && "code" in cause ? String(cause.code) : "",
      cause
    })
}

/** Good until the scope closes. Fails where the directory cannot be opened. */
export const socketPath = (dataDir: string): Effect.Effect<string, SocketError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => fs.openSync(dataDir, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY),
      catch: SocketError.from
    }),
    (descriptor) => Effect.sync(() => fs.closeSync(descriptor))
  ).pipe(Effect.map((descriptor) => `/proc/self/fd/${descriptor}/${socketName}`))
