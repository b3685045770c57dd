/**
 * The server: every part, put together in the order in which they stand on each other.
 *
 * It is started by the starter, as a user without privileges, and told everything by its arguments. What starts first
 * ends last, by the scopes that layers are; an interrupt ends it cleanly, at whichever point it is.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Duration, Effect, Exit, Layer, Logger, Option, References, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Hosts from "./actors/builder/Hosts.ts"
import * as LocalBuilders from "./actors/builder/LocalBuilders.ts"
import { Builds } from "./actors/build/Builds.ts"
import { DisconnectGrace } from "./actors/build/Keeping.ts"
import { recorded } from "./actors/build/Recorded.ts"
import * as Recovery from "./actors/build/Recovery.ts"
import { Ending } from "./actors/Ending.ts"
import * as SchedulerGauges from "./actors/scheduler/Gauges.ts"
import * as PacedChannel from "./actors/quota/PacedChannel.ts"
import * as QuotaBuilds from "./actors/quota/QuotaBuilds.ts"
import { Quotas } from "./actors/quota/Quotas.ts"
import * as QuotaScheduler from "./actors/quota/QuotaScheduler.ts"
import { Scheduler } from "./actors/scheduler/Scheduler.ts"
import * as ServeSession from "./actors/session/ServeSession.ts"
import * as WorkerSession from "./actors/session/WorkerSession.ts"
import { Unmended } from "./actors/Supervisor.ts"
import * as Identity from "./cli/Identity.ts"
import * as OperatorSocket from "./cli/operator/OperatorSocket.ts"
import { readyLine, welcome } from "./cli/Welcome.ts"
import { type Config, read, surroundings } from "./config.ts"
import { AccountName } from "./domain/Account.ts"
import { Isolation } from "./domain/Isolation.ts"
import { Health } from "./http/Health.ts"
import { BlockServer } from "./sandbox/block/BlockServer.ts"
import { ClosureSource } from "./sandbox/ClosureSource.ts"
import * as MicroVmSandbox from "./sandbox/microvm/MicroVmSandbox.ts"
import { OutputStore } from "./sandbox/OutputStore.ts"
import * as ProcessSandbox from "./sandbox/process/ProcessSandbox.ts"
import { Sandbox } from "./sandbox/Sandbox.ts"
import { SandboxError } from "./sandbox/SandboxError.ts"
import { Authentication } from "./ssh/Authentication.ts"
import type { Handler } from "./ssh/Connection.ts"
import { SshServer } from "./ssh/SshServer.ts"
import { AccountRepository } from "./storage/AccountRepository.ts"
import * as FileBlobStore from "./storage/blob/FileBlobStore.ts"
import { BuildRecords } from "./storage/BuildRecords.ts"
import { BuildRepository } from "./storage/BuildRepository.ts"
import * as Database from "./storage/Database.ts"
import { DistrustRepository } from "./storage/DistrustRepository.ts"
import { Doctor } from "./storage/Doctor.ts"
import { EventRepository } from "./storage/EventRepository.ts"
import * as Gauges from "./storage/Gauges.ts"
import { HistoryRepository } from "./storage/HistoryRepository.ts"
import { HostRepository } from "./storage/HostRepository.ts"
import * as JournalWriter from "./storage/JournalWriter.ts"
import { LogStore } from "./storage/LogStore.ts"
import { NarStore } from "./storage/NarStore.ts"
import { Postgres } from "./storage/Postgres.ts"
import { ReadLogRepository } from "./storage/ReadLogRepository.ts"
import * as Predecessor from "./storage/Predecessor.ts"
import { QuotaRepository } from "./storage/QuotaRepository.ts"
import { RealisationRepository } from "./storage/RealisationRepository.ts"
import { ReuseRepository } from "./storage/ReuseRepository.ts"
import { StorageError } from "./storage/StorageError.ts"
import { Tenure } from "./storage/Tenure.ts"
import { TreeCache } from "./storage/TreeCache.ts"
import { ViewRepository } from "./storage/ViewRepository.ts"
import { WaitRepository } from "./storage/WaitRepository.ts"
import * as Export from "./telemetry/Export.ts"
import * as LogFormat from "./telemetry/LogFormat.ts"
import * as Process from "./telemetry/Process.ts"

/** Unpacked inputs that no build uses at the moment. Losing them costs time and nothing else. */
const treeBudgetBytes = 20 * 2 ** 30

/** What an account may ask for by `requiredSystemFeatures`, beyond what its builds have anyway. */
const features = ["benchmark", "big-parallel", "nixos-test"]

/**
 * Another server that has taken over is at work with our data, our directories and the user ids of our sandboxes. To put
 * ours in order now would be to take its own away from it: so this is an end as by a kill, which leaves it all as it is.
 */
const held = Layer.effectDiscard(
  Effect.flatMap(Tenure, ({ over }) => over).pipe(
    Effect.catch(({ message }) =>
      Effect.andThen(
        Effect.logFatal(message),
        Effect.sync(() => process.exit(1))
      )
    ),
    Effect.forkScoped
  )
)

const storage = ({ dataDir }: Config) => {
  const tables = Layer.mergeAll(
    AccountRepository.layer,
    BuildRecords.layer,
    BuildRepository.layer,
    QuotaRepository.layer,
    DistrustRepository.layer,
    EventRepository.layer,
    HistoryRepository.layer,
    HostRepository.layer,
    ReadLogRepository.layer,
    RealisationRepository.layer,
    ReuseRepository.layer,
    ViewRepository.layer,
    WaitRepository.layer
  )
  const blobs = FileBlobStore.layer(dataDir)
  const nars = NarStore.layer.pipe(Layer.provide(blobs))
  const trees = TreeCache.layer({ dataDirectory: dataDir, budgetBytes: treeBudgetBytes })
  return Layer.merge(trees, Doctor.layer.pipe(Layer.provide(blobs))).pipe(
    Layer.provideMerge(Layer.merge(LogStore.layer(dataDir), JournalWriter.layer)),
    Layer.provideMerge(tables),
    Layer.provideMerge(nars),
    Layer.provideMerge(held),
    Layer.provideMerge(Tenure.layer),
    Layer.provideMerge(Database.layer),
    Layer.provide(Predecessor.layer(dataDir)),
    Layer.provide(Postgres.embedded({ dataDirectory: dataDir }))
  )
}

const asSandboxError = (operation: string) => (cause: StorageError) =>
  // A NAR that is damaged or gone says nothing of the machine, which a full disk does.
  new SandboxError({ operation, detail: cause.message, isOfInputs: isOfNar(cause), cause })

const isOfNar = ({ cause }: StorageError): boolean => cause._tag === "MissingNar" || cause._tag === "Damaged"

/** The store as a sandbox wants it: neither floor knows the other. */
const closures = Layer.effect(
  ClosureSource,
  Effect.gen(function* () {
    const { checkout } = yield* TreeCache
    const { locate } = yield* NarStore
    return {
      trees: (narHashes) => Effect.mapError(checkout(narHashes), asSandboxError("unpacking inputs")),
      nars: (narHashes) => Effect.mapError(locate(narHashes), asSandboxError("finding inputs"))
    }
  })
)

const outputs = Layer.effect(
  OutputStore,
  Effect.map(NarStore, ({ receive, reread }) => ({
    receive: (source, options) =>
      Effect.mapError(receive(source, options), (error) =>
        error instanceof StorageError ? asSandboxError("writing an output")(error) : error
      ),
    reread: (nar) =>
      Effect.mapBoth(reread(nar), {
        onSuccess: ({ advance, peek }) => ({
          advance,
          peek: Effect.mapError(peek, asSandboxError("reading an output"))
        }),
        onFailure: asSandboxError("reading an output")
      })
  }))
)

/** The last user id of those for builds is that of the process that serves their disks. */
const divided = ({ started }: Config) => {
  const { subUids } = started
  return subUids === null
    ? { id: 0, subUids }
    : { id: subUids.count, subUids: { ...subUids, count: subUids.count - 1 } }
}

const blocks = (config: Config) =>
  BlockServer.jailed({
    launcher: path.resolve(import.meta.dirname, "../build/launcher"),
    userNamespaceFd: config.started.userNamespaceFd,
    id: divided(config).id,
    narsDirectory: path.resolve(config.dataDir, "nars")
  })

const sandbox = (config: Config) => {
  const { dataDir, egressAllow, sandbox, started, systems } = config
  const options = { dataDirectory: dataDir, egressAllow, systems, ...started }
  return sandbox === "process"
    ? ProcessSandbox.layer(options).pipe(Layer.provide(closures))
    : MicroVmSandbox.layer({
        ...options,
        subUids: divided(config).subUids,
        choice: sandbox,
        templates: { sharing: config.templates, keptBackBytes: surroundings().memoryBytes - config.memoryBytes }
      }).pipe(Layer.provide(blocks(config)), Layer.provide(closures), Layer.provide(SecureRandom.layerWebCrypto))
}

/** Of the file system's room: with a whole one of it, one account could leave none to the others. */
const storedPart = 1 / 4

const quotas = ({ dataDir }: Config) =>
  Layer.unwrap(
    Effect.sync(() => {
      const { blocks, bsize } = fs.statfsSync(dataDir)
      return Quotas.layer({ storedBytes: Math.floor(blocks * bsize * storedPart) })
    })
  )

/** The actors, from the host's room upward. */
const actors = ({ cores, disconnectGraceSeconds, memoryBytes }: Config) =>
  Layer.unwrap(
    Effect.map(Sandbox, (sandbox) => {
      const host = LocalBuilders.localHost(sandbox, { cores, memoryBytes, features })
      const hosts = Layer.unwrap(Effect.map(LocalBuilders.make(host), (builders) => Hosts.layer([builders])))
      return QuotaBuilds.layer.pipe(
        Layer.provide(Builds.layer),
        Layer.provide(Layer.succeed(DisconnectGrace, Duration.seconds(disconnectGraceSeconds))),
        Layer.provideMerge(hosts),
        Layer.provideMerge(QuotaScheduler.layer.pipe(Layer.provide(Scheduler.layer([host]))))
      )
    })
  )

const authentication = Layer.effect(
  Authentication,
  Effect.gen(function* () {
    const { findByKey } = yield* AccountRepository
    const { take } = yield* Quotas
    return {
      // While the database starts again, whoever comes waits for it, and no longer than for any other word of ours.
      findByKey: (key) => recorded(Effect.map(findByKey(key), Option.getOrNull)),
      admit: (account) =>
        take(account, "connections").pipe(
          Effect.as(null),
          Effect.catchTag("QuotaReached", ({ message }) => Effect.succeed(message)),
          recorded
        )
    }
  })
)

const handler: Handler<WorkerSession.Services> = Effect.fnUntraced(function* (command, unpaced) {
  const { paces } = yield* Quotas
  const channel = PacedChannel.make(unpaced, yield* recorded(paces(unpaced.account.id)))
  return yield* command.protocol === "worker"
    ? WorkerSession.run(channel)
    : ServeSession.run(channel, { writable: command.writable })
})

/** The first account, before anybody can come as it. */
const prepare = Effect.fnUntraced(function* ({ client }: Identity.Identity) {
  const accounts = yield* AccountRepository
  const name = AccountName.make("default")
  const found = yield* accounts.findByName(name)
  if (Option.isNone(found)) yield* accounts.create(name, client)
  else yield* accounts.addKey(found.value.id, client)
})

/** How far the server is with its end. */
interface Course {
  /** Told to end, and nothing is begun any more. */
  isDraining: boolean
  /** What is under way is handed on. */
  isEnding: boolean
}

/** What runs may go on for as long as it is let; what is then still under way is the next server's. */
const end = Effect.fnUntraced(function* ({ drainSeconds }: Config, course: Course) {
  const hosts = yield* Hosts.Hosts
  course.isDraining = true
  yield* hosts.finish(Duration.seconds(drainSeconds))
  course.isEnding = true
})

const serve = Effect.fnUntraced(function* (config: Config, identity: Identity.Identity, course: Course) {
  const { kinds } = yield* Sandbox
  const ssh = yield* SshServer
  const http = yield* Health
  const reach = {
    dataDir: config.dataDir,
    ssh: { host: ssh.host, port: ssh.port },
    http: { host: http.host, port: http.port },
    hostPublicKey: identity.hostPublicKey,
    systems: kinds.flatMap(({ systems }) => systems)
  }
  yield* Identity.announce(reach)
  yield* Effect.logInfo("serving", {
    sandbox: [...new Set(kinds.map(({ backend }) => backend))].join(","),
    cores: config.cores,
    memoryBytes: config.memoryBytes
  })
  process.stdout.write(`${readyLine(reach)}${welcome(reach)}`)
  return yield* Effect.onInterrupt(Effect.never, () => end(config, course))
})

/** Whoever needs the part would wait for it for ever. The next server finds everything as after a kill. */
const abandon = (what: string, cause: Cause.Cause<unknown>) =>
  Effect.andThen(
    Effect.logFatal(`${what} has ended, and with it the server`, cause),
    Effect.sync(() => process.exit(1))
  )

const server = (config: Config) =>
  Effect.gen(function* () {
    const identity = yield* Identity.prepare(config.dataDir)
    const course: Course = { isDraining: false, isEnding: false }
    const doors = Layer.mergeAll(
      SshServer.layer({ ...config.sshListen, hostKey: identity.hostKey, handler }).pipe(Layer.provide(authentication)),
      Health.layer({
        ...config.httpListen,
        metricsAllow: config.metricsAllow,
        ready: Effect.sync(() => !course.isDraining)
      }),
      Process.layer,
      Gauges.layer(config.dataDir),
      SchedulerGauges.layer,
      OperatorSocket.layer(config.dataDir)
    )
    const house = doors.pipe(
      Layer.provideMerge(Recovery.layer),
      Layer.provideMerge(actors(config)),
      Layer.provideMerge(quotas(config)),
      Layer.provideMerge(Recovery.record),
      Layer.provideMerge(Layer.effectDiscard(prepare(identity))),
      Layer.provideMerge(Layer.merge(sandbox(config), outputs)),
      Layer.provideMerge(storage(config)),
      Layer.provideMerge(SecureRandom.layerWebCrypto),
      Layer.provideMerge(Layer.succeed(Ending, () => course.isEnding)),
      Layer.provideMerge(Layer.succeed(Unmended, abandon)),
      Layer.provideMerge(Layer.succeed(Isolation, config.isolating))
    )
    return yield* Effect.provide(serve(config, identity, course), house)
  })

const main = Effect.gen(function* () {
  return yield* server(yield* Effect.fromResult(read(process.argv.slice(2), surroundings())))
}).pipe(
  // A word to whoever started us, and for what is our own fault, all that is known of it.
  Effect.tapCause((cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.void
      : Result.match(Cause.findError(cause), {
          onSuccess: (error) => Effect.logFatal(error.message),
          onFailure: () => Effect.logFatal("internal error", cause)
        })
  ),
  Effect.provide(Export.layer),
  Effect.provide(Logger.layer([LogFormat.console])),
  Effect.provideService(References.MinimumLogLevel, "Info")
)

NodeRuntime.runMain(main, {
  disableErrorReporting: true,
  // Told to end, it has ended well.
  teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1)
})
