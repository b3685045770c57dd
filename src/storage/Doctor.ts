/**
 * Whether all is as it must be: the record of events judged by its rules, and tables and files compared with each other
 * and with it.
 *
 * It only reads, beside a service that goes on meanwhile, so that two things that are read one after the other may differ
 * without harm. What is wrong is therefore looked at again a moment later, and told if it is still there.
 */
import { Context, Effect, Layer, Schema, Stream } from "effect"
import { SqlClient, type SqlError, SqlSchema } from "effect/sql"
import * as fs from "node:fs/promises"
import { AttemptId } from "../domain/Attempt.ts"
import type { Diagnosis } from "../domain/Diagnosis.ts"
import { Checker } from "../domain/Invariants.ts"
import { words } from "../domain/Violation.ts"
import { Sha256 } from "../protocol/nix/Hash.ts"
import { BlobStore } from "./blob/BlobStore.ts"
import { EventRepository } from "./EventRepository.ts"
import { Journal } from "./Journal.ts"
import { LogStore } from "./LogStore.ts"
import { fromSql, type StorageError } from "./StorageError.ts"

/** Events that are held at once. */
const pageEvents = 5000

/** Attempts whose logs are looked for, newest first: one look at a directory each. */
const attemptsMax = 10_000

/** Of one kind: more say nothing new, and an answer has a length. */
const findingsMax = 50

const again = "1 second"

export class Doctor extends Context.Service<Doctor, { readonly examine: Effect.Effect<Diagnosis, StorageError> }>()(
  "drover/storage/Doctor"
) {
  static readonly layer = Layer.effect(
    Doctor,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const events = yield* EventRepository
      const journal = yield* Journal
      const blobs = yield* BlobStore
      const logs = yield* LogStore

      /** The record, from where it begins to where it is now. */
      const record = Effect.gen(function* () {
        yield* journal.written
        const { marker, violations } = yield* events.beginning
        const checker = new Checker(marker)
        const found = [...violations]
        let count = 0
        while (true) {
          const page = yield* events.after(checker.marker, pageEvents)
          for (const event of page) found.push(...checker.read(event))
          count += page.length
          if (page.length < pageEvents) return { checker, count, found: found.map(words) }
        }
      })

      const rows = <A>(Result: Schema.Codec<A, unknown>, execute: Query) =>
        SqlSchema.findAll({ Request: Schema.Void, Result, execute })(undefined).pipe(
          Effect.catchTags(fromSql("examining the tables"))
        )
      const Named = Schema.Struct({ id: Schema.String })
      const Counted = Schema.Struct({ builds: Schema.Int, attempts: Schema.Int, nars: Schema.Int })

      /** What tables say that cannot be, one rule each. */
      const contradictions: ReadonlyArray<readonly [rule: string, query: Query]> = [
        [
          "an attempt runs whose build has ended",
          () => sql`
            select attempt.id::text as id from attempt join build on build.id = attempt.build
            where attempt.ended_at is null and build.ended_at is not null limit ${findingsMax}`
        ],
        [
          "a build has succeeded without outputs",
          () => sql`
            select id::text as id from build
            where state = 'succeeded' and reused_from is null
              and not exists (select from build_output where build_output.build = build.id) limit ${findingsMax}`
        ],
        [
          "a build has succeeded without an attempt that has",
          () => sql`
            select id::text as id from build
            where state = 'succeeded' and reused_from is null and not exists (
              select from attempt where attempt.id = build.current_attempt and outcome = 'succeeded'
            ) limit ${findingsMax}`
        ],
        [
          "somebody waits on record for a build that has ended",
          () => sql`
            select build_wait.id::text as id from build_wait join build on build.id = build_wait.build
            where build.ended_at is not null limit ${findingsMax}`
        ]
      ]

      /** Attempts and builds under way: by the record, and by the tables. */
      const underWay = Effect.fnUntraced(function* (checker: Checker) {
        const attempts = yield* rows(Named, () => sql`select id::text as id from attempt where ended_at is null`)
        const builds = yield* rows(Named, () => sql`select id::text as id from build where ended_at is null`)
        return [...compare("attempt", checker.running, attempts), ...compare("build", checker.open.builds, builds)]
      })

      const kept = Effect.fnUntraced(function* () {
        const Row = Schema.Struct({ hash: Sha256, size: Schema.Int })
        const stored = yield* rows(
          Row,
          () => sql`select encode(hash, 'hex') as hash, size::float8 as size from nar where contents is null`
        )
        const files = new Set(yield* Stream.runCollect(blobs.keys))
        const sizes = yield* Effect.forEach(
          stored,
          ({ hash }) => Effect.flatMap(blobs.file(hash), (name) => Effect.promise(() => sizeOf(name))),
          { concurrency: 16 }
        )
        const wrong = stored.flatMap(({ hash, size }, index) => {
          const found = sizes[index]
          if (found === size) return []
          return [`NAR ${hash}: expected a file of ${size} bytes, found ${found === null ? "none" : found}`]
        })
        const registered = new Set(stored.map(({ hash }) => hash))
        const unregistered = [...files].filter((hash) => !registered.has(hash))
        return {
          findings: wrong.slice(0, findingsMax),
          notes: unregistered
            .slice(0, findingsMax)
            .map((hash) => `NAR ${hash}: a file that no row tells of; the next start removes it`)
        }
      })

      const missingLogs = Effect.gen(function* () {
        const Row = Schema.Struct({ id: AttemptId, bytes: Schema.Int })
        const attempts = yield* rows(
          Row,
          () => sql`
            select id::text as id, log_bytes::float8 as bytes from attempt
            where log_bytes > 0 order by started_at desc limit ${attemptsMax}`
        )
        const sizes = yield* Effect.forEach(attempts, ({ id }) => logs.size(id), { concurrency: 16 })
        return attempts
          .flatMap(({ bytes, id }, index) => {
            const found = sizes[index] ?? null
            if (found !== null && found >= bytes) return []
            return [`attempt ${id}: expected a log of ${bytes} bytes, found ${found === null ? "none" : found}`]
          })
          .slice(0, findingsMax)
      })

      const look = Effect.gen(function* () {
        const { checker, count, found } = yield* record
        const stated = yield* Effect.forEach(contradictions, ([rule, query]) =>
          Effect.map(rows(Named, query), (named) => named.map(({ id }) => `${rule}: ${id}`))
        )
        const files = yield* kept()
        const findings = [
          ...found.slice(0, findingsMax),
          ...stated.flat(),
          ...(yield* underWay(checker)),
          ...files.findings,
          ...(yield* missingLogs)
        ]
        const [counted] = yield* rows(
          Counted,
          () => sql`
            select (select count(*) from build)::integer as builds, (select count(*) from attempt)::integer as attempts,
              (select count(*) from nar)::integer as nars`
        )
        const examined = { events: count, ...(counted ?? { builds: 0, attempts: 0, nars: 0 }) }
        return { examined, findings, notes: files.notes } satisfies Diagnosis
      })

      const examine = Effect.gen(function* () {
        const first = yield* look
        if (first.findings.length + first.notes.length === 0) return first
        yield* Effect.sleep(again)
        const second = yield* look
        const [before, noted] = [new Set<string>(first.findings), new Set<string>(first.notes)]
        return {
          ...second,
          findings: second.findings.filter((finding) => before.has(finding)),
          notes: second.notes.filter((note) => noted.has(note))
        }
      }).pipe(Effect.withSpan("Doctor.examine"))

      return { examine }
    })
  )
}

type Query = () => Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError>

const compare = (
  what: string,
  recorded: ReadonlyArray<string>,
  stored: ReadonlyArray<{ readonly id: string }>
): ReadonlyArray<string> => {
  const [told, kept] = [new Set(recorded), new Set(stored.map(({ id }) => id))]
  return [
    ...[...told].flatMap((id) => (kept.has(id) ? [] : [`${what} ${id}: under way by the record, not by the tables`])),
    ...[...kept].flatMap((id) => (told.has(id) ? [] : [`${what} ${id}: under way by the tables, not by the record`]))
  ].slice(0, findingsMax)
}

/** Null where there is no such file. */
const sizeOf = (name: string): Promise<number | null> =>
  fs.stat(name).then(
    ({ size }) => size,
    () => null
  )
