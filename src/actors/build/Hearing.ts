/**
 * What one waiter hears of a build, over all the attempts that it takes.
 *
 * A builder that is lost, or had too little memory, is no business of the client's. The next attempt's log is held back
 * as long as it repeats what was heard of the last; once it goes further, the rest follows as if nothing had happened.
 * Only where it differs is the waiter told that the build was started again, and hears the new log from its first line.
 *
 * Nothing of a log is kept in memory: what was heard is remembered by its length and hash, and read again if need be.
 */
import { Effect, Stream } from "effect"
import { createHash, type Hash } from "node:crypto"
import type { AttemptId } from "../../domain/Attempt.ts"
import type { Heard } from "./Builds.ts"

const startedAgain: Heard = { _tag: "Service", line: "drover: the build was started again" }

const log = (bytes: Uint8Array): Heard => ({ _tag: "Log", bytes })

export const over = <E>(
  attempts: Stream.Stream<AttemptId, E>,
  follow: (attempt: AttemptId) => Stream.Stream<Uint8Array, E>
): Stream.Stream<Heard, E> =>
  Stream.suspend(() => {
    let heard = { bytes: 0, hash: createHash("sha256") }

    const remember = (bytes: Uint8Array) => {
      heard.bytes += bytes.length
      heard.hash.update(bytes)
    }
    const whole = (attempt: AttemptId) =>
      Stream.suspend(() => {
        heard = { bytes: 0, hash: createHash("sha256") }
        return follow(attempt).pipe(
          Stream.tap((bytes) => Effect.sync(() => remember(bytes))),
          Stream.map(log)
        )
      })

    const onwards = (attempt: AttemptId): Stream.Stream<Heard, E> => {
      if (heard.bytes === 0) return whole(attempt)
      const last = { bytes: heard.bytes, digest: digestOf(heard.hash) }
      let repeated: Repeated = { left: last.bytes, hash: createHash("sha256"), differs: false }
      const rest = follow(attempt).pipe(
        Stream.map((bytes) => {
          const held = bytes.subarray(0, repeated.left)
          repeated.hash.update(held)
          const left = repeated.left - held.length
          const differs =
            repeated.differs || (repeated.left > 0 && left === 0 && digestOf(repeated.hash) !== last.digest)
          repeated = { ...repeated, left, differs }
          return bytes.subarray(held.length)
        }),
        Stream.takeWhile(() => !repeated.differs),
        Stream.filter((bytes) => bytes.length > 0),
        Stream.tap((bytes) => Effect.sync(() => remember(bytes))),
        Stream.map(log)
      )
      return Stream.concat(
        rest,
        Stream.suspend(() =>
          repeated.differs || repeated.left > 0
            ? Stream.concat(Stream.succeed(startedAgain), whole(attempt))
            : Stream.empty
        )
      )
    }

    return Stream.flatMap(attempts, onwards)
  })

interface Repeated {
  readonly left: number
  readonly hash: Hash
  readonly differs: boolean
}

const digestOf = (hash: Hash): string => hash.copy().digest("hex")
