/**
 * The PostgreSQL that everything is kept in: one of our own, or one that the operator names.
 *
 * Our own runs on a private socket beside the data. It is started, or taken over from a Drover that was killed; it is
 * started again should it die, and meanwhile queries fail as retryable; it ends with the scope. Whichever it is, one
 * Drover at a time holds it (see `Claim`).
 */
import type * as PgConnection from "@effect/sql-pg/PgConnection"
import { Context, Deferred, Effect, Layer, type Redacted, Schedule, type Scope } from "effect"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import * as Claim from "./postgres/Claim.ts"
import * as Cluster from "./postgres/Cluster.ts"
import * as Keeper from "./postgres/Keeper.ts"
import * as Postmaster from "./postgres/Postmaster.ts"
import * as Programs from "./postgres/Programs.ts"
import { StorageError, file } from "./StorageError.ts"

export interface EmbeddedOptions {
  /** The cluster, its log and its socket are made here. */
  readonly dataDirectory: string
  /** Words before the command line of PostgreSQL's programs, for one that must not run as who we are: root. */
  readonly launch?: ReadonlyArray<string>
  /** Settings of the server beyond, or other than, the usual ones. */
  readonly settings?: { readonly [name: string]: string }
}

/** Recovery after a crash replays at most `max_wal_size` of log. */
const readySecondsMax = 120

export class Postgres extends Context.Service<
  Postgres,
  {
    /** How to connect to it. */
    readonly connection: PgConnection.Config
  }
>()("drover/storage/Postgres") {
  static readonly embedded = (options: EmbeddedOptions): Layer.Layer<Postgres, StorageError> =>
    Layer.effect(Postgres, embedded(options))

  static readonly named = (url: Redacted.Redacted): Layer.Layer<Postgres, StorageError> =>
    Layer.effect(Postgres, named(url))
}

const connect = (postmaster: Postmaster.Postmaster): PgConnection.Config => ({
  path: Postmaster.socket(postmaster),
  username: Cluster.role,
  database: "postgres"
})

const embedded = Effect.fnUntraced(function* ({
  dataDirectory,
  launch = [],
  settings = {}
}: EmbeddedOptions): Effect.fn.Return<Postgres["Service"], StorageError, Scope.Scope> {
  const directory = path.join(dataDirectory, "postgres")
  const programs = yield* Programs.find
  yield* file("preparing the data directory", dataDirectory, () => fs.mkdir(dataDirectory, { recursive: true }))
  yield* Cluster.prepare({ directory, programs, launch, isSynced: settings["fsync"] !== "off" })

  // Ours to end: true from its start or its claim on, unless another Drover turns out to hold it.
  let isOurs = false
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      const postmaster = yield* Postmaster.running(directory)
      if (isOurs && postmaster !== null) yield* Postmaster.stop(postmaster)
    }).pipe(Effect.catch((error) => Effect.logWarning("the database may still run", error)))
  )

  // Clients keep the path that they were first given, so a server that is started again takes the same socket.
  let socketDirectory: string | null = null
  const runningOrStarted = Effect.gen(function* () {
    const running = yield* Postmaster.running(directory)
    if (running !== null) return running
    socketDirectory ??= yield* Postmaster.makeSocketDirectory(directory)
    const started = yield* Postmaster.start({ directory, socketDirectory, programs, launch, settings })
    isOurs = true
    return started
  }).pipe(Effect.uninterruptible)

  const claim = (postmaster: Postmaster.Postmaster) =>
    Claim.take(connect(postmaster)).pipe(
      // Somebody else's, even if we started it.
      Effect.tapErrorTag("StorageError", () =>
        Effect.sync(() => {
          isOurs = false
        })
      ),
      // Not ready yet, or gone; which of them, the process itself says.
      Effect.catchTag(
        "SqlError",
        Effect.fnUntraced(function* (error) {
          if (yield* postmaster.isAlive) return yield* error
          return yield* Postmaster.didNotStart(yield* Postmaster.lastWords(directory))
        })
      ),
      Effect.retry({ while: (error) => error._tag === "SqlError", schedule: Schedule.spaced("20 millis") }),
      Effect.catchTag("SqlError", (cause) =>
        Effect.fail(new StorageError({ operation: "claiming the database", cause }))
      ),
      Effect.timeoutOrElse({
        duration: `${readySecondsMax} seconds`,
        orElse: () => Effect.fail(Postmaster.didNotStart(`expected it to be ready in ${readySecondsMax} s`))
      })
    )

  return yield* hold((ready) =>
    Effect.gen(function* () {
      const postmaster = yield* runningOrStarted
      const { lost } = yield* claim(postmaster)
      isOurs = true
      socketDirectory = postmaster.socketDirectory
      yield* Keeper.watch(directory, postmaster)
      yield* ready(connect(postmaster))
      yield* lost
    })
  )
})

const named = (url: Redacted.Redacted): Effect.Effect<Postgres["Service"], StorageError, Scope.Scope> =>
  hold((ready) =>
    Effect.gen(function* () {
      const { lost } = yield* Claim.take({ url })
      yield* ready({ url })
      yield* lost
    }).pipe(
      Effect.catchTag("SqlError", (cause) =>
        Effect.fail(new StorageError({ operation: "claiming the database", cause }))
      )
    )
  )

/** Lives a database's lives one after another until the scope closes. The first must begin well. */
const hold = Effect.fnUntraced(function* (
  live: (
    ready: (connection: PgConnection.Config) => Effect.Effect<void>
  ) => Effect.Effect<void, StorageError, Scope.Scope>
): Effect.fn.Return<Postgres["Service"], StorageError, Scope.Scope> {
  const first = yield* Deferred.make<PgConnection.Config, StorageError>()
  const life = Effect.scoped(live((connection) => Effect.asVoid(Deferred.succeed(first, connection)))).pipe(
    Effect.onError((cause) => Deferred.failCause(first, cause)),
    Effect.tapError((error) => Effect.logWarning("the database cannot be had", error)),
    Effect.andThen(Effect.logWarning("the connection to the database is lost"))
  )
  // The one owner of this retry: nothing is lost by trying for ever, and nothing works without.
  const again = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("10 seconds")])
  yield* life.pipe(Effect.forever, Effect.retry(again), Effect.forkScoped)
  return { connection: yield* Deferred.await(first) }
})
