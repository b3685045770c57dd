/**
 * The first bytes of a serve connection: each side's magic and version, the client's first.
 *
 * Clients send both words at once. The server may answer as soon as it has the magic, and does, in
 * case one does not.
 *
 * @see Nix `src/libstore/serve-protocol-connection.cc`
 */
import { Bytes, Effect } from "effect"
import * as Codec from "../wire/Codec.ts"
import * as Source from "../wire/Source.ts"
import * as Variant from "../wire/Variant.ts"

const clientMagic = Variant.exactly(Codec.u64, 0x390c9debn)
const serverMagic = Variant.exactly(Codec.u64, 0x5452eecbn)
const version = Codec.upTo(0xffff)

/** What Nix 2.0 to 2.3 speak. */
export const oldest: Codec.Version = 0x0205

/** What Nix 2.35 and later speak. */
export const newest: Codec.Version = 0x0208

type Write<E, R> = (bytes: Uint8Array) => Effect.Effect<void, E, R>

const hello = (magic: Codec.Codec<null>, own: Codec.Version): Uint8Array =>
  Bytes.concat([Codec.encode(magic, null, 0), Codec.encode(version, own, 0)])

const agree = (ours: Codec.Version, theirs: Codec.Version): Effect.Effect<Codec.Version, Codec.WireError> =>
  theirs >> 8 === newest >> 8 && theirs >= oldest
    ? Effect.succeed(Math.min(ours, theirs))
    : Effect.fail(
        new Codec.WireError({
          expected: `serve protocol ${Variant.printVersion(oldest)} or a later one of its line`,
          found: Variant.printVersion(theirs)
        })
      )

/** Answers a client. What comes back is the version that all further codecs are given. */
export const accept = Effect.fnUntraced(function* <E, R, E2, R2>(
  input: Source.Source<E, R>,
  write: Write<E2, R2>,
  own: Codec.Version = newest
): Effect.fn.Return<Codec.Version, E | E2 | Codec.WireError, R | R2> {
  const read = Source.reader(input)
  yield* read(clientMagic, 0)
  yield* write(hello(serverMagic, own))
  return yield* agree(own, yield* read(version, 0))
})

/** Speaks first. */
export const open = Effect.fnUntraced(function* <E, R, E2, R2>(
  input: Source.Source<E, R>,
  write: Write<E2, R2>,
  own: Codec.Version = newest
): Effect.fn.Return<Codec.Version, E | E2 | Codec.WireError, R | R2> {
  const read = Source.reader(input)
  yield* write(hello(clientMagic, own))
  yield* read(serverMagic, 0)
  return yield* agree(own, yield* read(version, 0))
})
