/**
 * What a machine is booted with, per architecture: a kernel and an initramfs with the executor in it, made when the
 * server is set up.
 */
import { Effect, Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { SandboxError } from "../SandboxError.ts"

const Description = Schema.Struct({
  arch: Schema.Literals(["x86_64", "aarch64"]),
  kernelVersion: Schema.NonEmptyString,
  kernelHash: Schema.NonEmptyString,
  initramfsHash: Schema.NonEmptyString,
  /** Of all of it: two machines with the same are the same. */
  hash: Schema.NonEmptyString,
  commandLine: Schema.String
})

export interface Guest extends Schema.Schema.Type<typeof Description> {
  /** Has `kernel` and `initramfs.cpio`. */
  readonly directory: string
}

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Description))

/** Null where none has been made. */
export const find = (directory: string): Effect.Effect<Guest | null, SandboxError> =>
  Effect.try({
    try: () => {
      const file = path.join(directory, "guest.json")
      return fs.existsSync(file) ? { ...decode(fs.readFileSync(file, "utf8")), directory } : null
    },
    catch: (cause) =>
      new SandboxError({ operation: "looking for the guest's kernel", detail: `${directory}: ${String(cause)}`, cause })
  })
