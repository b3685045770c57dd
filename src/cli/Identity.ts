/**
 * What makes this server known: its host key, the key of its first client, the key it signs with.
 *
 *     DATA/ssh_host_ed25519_key     who we are to SSH clients
 *     DATA/signing-key              who we are to whoever trusts what was built here; its public half in .pub
 *     DATA/client/id_ed25519        opens the account `default`
 *     DATA/client/known_hosts       what that client compares our host key with
 *     DATA/client/ssh_config        all it needs to find us as the host `drover`
 *
 * Each key is made when it is not there, and never again. The client's two other files are written at every start,
 * since they name the port, which may be another each time.
 */
import { Effect, Schema } from "effect"
import * as fs from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import * as OpenSshKey from "./OpenSshKey.ts"
import { clientFiles, knownHosts, type Reach, sshConfig } from "./ClientFiles.ts"

export class IdentityError extends Schema.TaggedError<IdentityError>()("IdentityError", {
  file: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `cannot keep ${this.file}: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

export interface Identity {
  /** The private host key, as ssh-keygen writes it. */
  readonly hostKey: string
  /** As SSH sends it. */
  readonly hostPublicKey: Uint8Array
  /** What the account `default` is opened by. */
  readonly client: { readonly publicKey: Uint8Array; readonly comment: string }
  /** `NAME:BASE64`, as Nix keeps a secret key. */
  readonly signingKey: string
}

const clientComment = "drover-default"

const attempt = <A>(file: string, run: () => Promise<A>) =>
  Effect.tryPromise({ try: run, catch: (cause) => new IdentityError({ file, cause }) })

/** Null where there is no such file. */
const readIfThere = (file: string) =>
  attempt(file, () =>
    fs.readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null
      throw error
    })
  )

/** Whole or not at all, and on disk: a key that others already know must not be lost to a power failure. */
const write = (file: string, text: string, mode: number) =>
  attempt(file, async () => {
    const temporary = `${file}.new`
    await fs.rm(temporary, { force: true })
    const handle = await fs.open(temporary, "wx", mode)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await fs.rename(temporary, file)
    const directory = await fs.open(path.dirname(file), "r")
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  })

/** The key pair in `file` and `file.pub`. The private half goes last: what is there has the other beside it. */
const keyPair = Effect.fnUntraced(function* (file: string, comment: string) {
  const [privateKey, line] = yield* Effect.all([readIfThere(file), readIfThere(`${file}.pub`)])
  if (privateKey !== null && line !== null) {
    const { publicKey } = yield* Effect.mapError(
      OpenSshKey.parsePublic(line),
      (cause) => new IdentityError({ file: `${file}.pub`, cause })
    )
    return { privateKey, publicKey }
  }
  if (privateKey !== null) {
    const cause = new Error(`its public half is gone; ssh-keygen -y -f ${file} prints it`)
    return yield* new IdentityError({ file: `${file}.pub`, cause })
  }
  const key = yield* OpenSshKey.generate(comment)
  yield* write(`${file}.pub`, `${OpenSshKey.printPublic(key.publicKey, comment)}\n`, 0o644)
  yield* write(file, key.privateKey, 0o600)
  return key
})

/** A secret key is the seed and the public half together, as libsodium has it. */
const signingKey = Effect.fnUntraced(function* (file: string) {
  const there = yield* readIfThere(file)
  if (there !== null) return there.trim()
  const { publicKey, seed } = yield* OpenSshKey.generateRaw
  // A number for the day when it is replaced: clients tell keys apart by name.
  const name = `${os.hostname().replace(/[^A-Za-z0-9.-]/g, "-")}-drover-1`
  const secret = `${name}:${Buffer.concat([seed, publicKey]).toString("base64")}`
  yield* write(`${file}.pub`, `${name}:${publicKey.toString("base64")}\n`, 0o644)
  yield* write(file, `${secret}\n`, 0o600)
  return secret
})

/** Reads the keys, and makes those that are not there yet. */
export const prepare = Effect.fn("Identity.prepare")(function* (
  dataDir: string
): Effect.fn.Return<Identity, IdentityError> {
  const files = clientFiles(dataDir)
  const directory = path.dirname(files.key)
  yield* attempt(directory, () => fs.mkdir(directory, { recursive: true, mode: 0o700 }))
  const host = yield* keyPair(path.join(dataDir, "ssh_host_ed25519_key"), `drover@${os.hostname()}`)
  const client = yield* keyPair(files.key, clientComment)
  return {
    hostKey: host.privateKey,
    hostPublicKey: host.publicKey,
    client: { publicKey: client.publicKey, comment: clientComment },
    signingKey: yield* signingKey(path.join(dataDir, "signing-key"))
  }
})

/** Writes what a client needs to find us where we listen now. */
export const announce = Effect.fn("Identity.announce")(function* (reach: Reach): Effect.fn.Return<void, IdentityError> {
  const files = clientFiles(reach.dataDir)
  yield* write(files.knownHosts, knownHosts(reach), 0o644)
  yield* write(files.sshConfig, sshConfig(reach), 0o644)
})
