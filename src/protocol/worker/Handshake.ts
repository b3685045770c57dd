/**
 * The first bytes of a worker connection, as either side says them.
 *
 *   client  magic, version
 *   server  magic, version
 *   both    lists of features, the client's first   -- since 1.38
 *   client  two obsolete words
 *   server  Nix version                             -- since 1.33
 *   server  whether it trusts the client            -- since 1.35
 *
 * Clients before Nix 2.24 send the magic alone and wait for ours before they say their version,
 * so the server answers after eight bytes. Newer ones send both at once. What the server says
 * next, up to its first `Last`, is `Stderr.Message`s and not part of this.
 *
 * @see Nix `src/libstore/worker-protocol-connection.cc`
 */
import { Bytes, Effect } from "effect"
import * as Codec from "../wire/Codec.ts"
import * as Source from "../wire/Source.ts"
import * as Variant from "../wire/Variant.ts"
import * as Version from "./Version.ts"

const clientMagic = Codec.named("ClientMagic", Variant.exactly(Codec.u64, 0x6e697863n))
const serverMagic = Codec.named("ServerMagic", Variant.exactly(Codec.u64, 0x6478696fn))

/** Major and minor in one word. More than 16 bits is no version of anything. */
const version = Codec.upTo(0xffff)

/** A peer names a handful of features, and every connection holds them. */
const features = Codec.listUpTo(64, Codec.textUpTo(128))

export const Trust = Codec.named("Trust", Variant.enumeration({ unknown: 0, trusted: 1, untrusted: 2 }))
export type Trust = Codec.Codec.Type<typeof Trust>

/** Where what a client once asked for stood: a processor to run on, and whether to reserve space. */
const obsolete = Codec.u32

/** What the server tells of itself, in the layout of the agreed version. */
const About = Codec.struct({
  /** Free text, shown by `nix store info`. */
  nixVersion: Variant.since(0x0121, Codec.text, ""),
  trust: Variant.since(0x0123, Trust, "unknown")
})

export interface Server {
  readonly version: Codec.Version
  readonly features: ReadonlyArray<string>
  readonly nixVersion: string
  readonly trust: Trust
}

export interface Client {
  readonly version: Codec.Version
  readonly features: ReadonlyArray<string>
  /** Sends its version with the magic, as Nix does since 2.24, rather than after the server's. */
  readonly eager: boolean
}

type Write<E, R> = (bytes: Uint8Array) => Effect.Effect<void, E, R>

const magicThenVersion = (magic: Codec.Codec<null>, own: Codec.Version): Uint8Array =>
  Bytes.concat([Codec.encode(magic, null, 0), Codec.encode(version, own, 0)])

const checkVersion = (theirs: Codec.Version): Effect.Effect<void, Codec.WireError> =>
  theirs >> 8 === Version.newest >> 8 && theirs >= Version.oldest
    ? Effect.void
    : Effect.fail(
        new Codec.WireError({
          expected: `worker protocol ${Variant.printVersion(Version.oldest)} or a later one of its line`,
          found: Variant.printVersion(theirs)
        })
      )

/** Answers a client. What comes back is the version that all further codecs are given. */
export const accept = Effect.fnUntraced(function* <E, R, E2, R2>(
  input: Source.Source<E, R>,
  write: Write<E2, R2>,
  server: Server
): Effect.fn.Return<Codec.Version, E | E2 | Codec.WireError, R | R2> {
  const read = Source.reader(input)
  yield* read(clientMagic, 0)
  yield* write(magicThenVersion(serverMagic, server.version))
  const theirs = yield* read(version, 0)
  yield* checkVersion(theirs)
  const common = Math.min(theirs, server.version)

  let named: ReadonlyArray<string> = []
  if (common >= 0x0126) {
    named = yield* read(features, common)
    yield* write(Codec.encode(features, server.features, common))
  }
  const hasAffinity = yield* read(obsolete, common)
  if (hasAffinity !== 0) yield* read(obsolete, common)
  yield* read(obsolete, common)
  yield* write(Codec.encode(About, server, common))
  return Version.agree(server, { version: theirs, features: named })
})

/** Speaks first. */
export const open = Effect.fnUntraced(function* <E, R, E2, R2>(
  input: Source.Source<E, R>,
  write: Write<E2, R2>,
  client: Client
): Effect.fn.Return<{ readonly agreed: Codec.Version; readonly server: Server }, E | E2 | Codec.WireError, R | R2> {
  const read = Source.reader(input)
  const hello = magicThenVersion(clientMagic, client.version)
  yield* write(client.eager ? hello : hello.subarray(0, 8))
  yield* read(serverMagic, 0)
  const theirs = yield* read(version, 0)
  if (!client.eager) yield* write(hello.subarray(8))
  yield* checkVersion(theirs)
  const common = Math.min(theirs, client.version)

  let named: ReadonlyArray<string> = []
  if (common >= 0x0126) {
    yield* write(Codec.encode(features, client.features, common))
    named = yield* read(features, common)
  }
  yield* write(Bytes.concat([Codec.encode(obsolete, 0, common), Codec.encode(obsolete, 0, common)]))
  const about = yield* read(About, common)
  const server = { version: theirs, features: named, ...about }
  return { agreed: Version.agree(client, server), server }
})
