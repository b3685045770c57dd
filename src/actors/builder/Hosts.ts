/**
 * The hosts of this service and their builders: each build runs where its lease is, and each host is watched over.
 *
 * What a sandbox comes to is told to the watch of its host, which says when the host is lent no more and when it is
 * again. The operator takes a host out of service and back by the same watch, and what is said lasts over a restart.
 */
import { Clock, Context, Duration, Effect, Latch, Layer, Schema } from "effect"
import type { Host, HostId } from "../../domain/Host.ts"
import { HostRepository } from "../../storage/HostRepository.ts"
import type { StorageError } from "../../storage/StorageError.ts"
import { recorded } from "../build/Recorded.ts"
import { Scheduler } from "../scheduler/Scheduler.ts"
import { keep } from "../Supervisor.ts"
import { type Assignment, BuilderLost, BuilderPool, type BuildFailed, type Kind } from "./BuilderPool.ts"
import { type HostBuilders, probeNeed } from "./HostBuilders.ts"
import { Message, start, type State } from "./HostLifecycle.ts"
import * as HostWatch from "./HostWatch.ts"

/** A host as the operator sees it. */
export interface Seen {
  readonly host: Host
  readonly state: State
  /** Builders at work on it. */
  readonly builders: number
}

/** The operator names a host that there is not. */
export class NoSuchHost extends Schema.TaggedError<NoSuchHost>()("NoSuchHost", {
  name: Schema.String,
  hosts: Schema.Array(Schema.String)
}) {
  override get message() {
    return `expected a host of this service (${this.hosts.join(", ")}), found ${JSON.stringify(this.name)}`
  }
}

export class Hosts extends Context.Service<
  Hosts,
  {
    readonly list: Effect.Effect<ReadonlyArray<Seen>>
    /** Lends it no more. What runs on it runs on. */
    readonly drain: (name: string) => Effect.Effect<void, NoSuchHost | StorageError>
    /** Lends it again, once it has shown that it can. */
    readonly resume: (name: string) => Effect.Effect<void, NoSuchHost | StorageError>
    /** For the end of the server: lends nothing more, and waits this long at most until no builder is at work. */
    readonly finish: (patience: Duration.Duration) => Effect.Effect<void>
  }
>()("drover/actors/Hosts") {}

/** What a client that has just been answered has to fetch what was built. */
const farewell: Duration.Input = "2 seconds"

/** A watch that dies three times within a minute has met what no new one mends. */
const watched = { restart: "permanent", intensity: 3, period: "1 minute" } as const

export const layer = (members: readonly [HostBuilders, ...ReadonlyArray<HostBuilders>]) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const scheduler = yield* Scheduler
      const records = yield* HostRepository
      const drained = new Set(yield* recorded(records.drained))
      const total = { count: 0 }
      const idle = Latch.makeUnsafe(true)
      let isFinishing = false

      /** Counts a builder, for the scope. */
      const atWork = (working: { count: number }) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            working.count++
            if (total.count++ === 0) idle.closeUnsafe()
          }),
          () =>
            Effect.sync(() => {
              working.count--
              if (--total.count === 0) idle.openUnsafe()
            })
        )

      const open = Effect.fnUntraced(function* (member: HostBuilders) {
        const { host } = member
        let watch: HostWatch.HostWatch | null = null
        const life = Effect.gen(function* () {
          const isDrained = drained.has(host.id)
          yield* scheduler.lend(host.id, isDrained ? "draining" : "open")
          watch = yield* HostWatch.spawn({
            host: host.id,
            probe: member.probe,
            room: scheduler.vacant(host.id, probeNeed),
            lend: (lending) => (isFinishing ? Effect.void : scheduler.lend(host.id, lending)),
            isDrained,
            buildersMax: host.cores
          })
          return yield* watch.ended
        }).pipe(Effect.scoped)
        yield* keep(`the watch over host ${host.id}`, watched, life).pipe(
          Effect.annotateLogs({ host: host.id }),
          Effect.forkScoped({ startImmediately: true })
        )
        const post: Post = {
          member,
          // Between two lives of the watch a word is lost, and with it one loss or answer of many.
          tell: (message) => Effect.suspend(() => watch?.tell(message) ?? Effect.void),
          state: Effect.suspend(() => watch?.state ?? Effect.succeed(start[0])),
          working: { count: 0 }
        }
        return post
      })
      const posts = new Map<HostId, Post>()
      for (const member of members) posts.set(member.host.id, yield* open(member))

      const run = Effect.fnUntraced(function* (
        assignment: Assignment,
        log: (bytes: Uint8Array) => Effect.Effect<void>
      ) {
        const { lease } = assignment
        const post = posts.get(lease.host)
        if (post === undefined) {
          return yield* new BuilderLost({ fault: "host", detail: `host ${lease.host} is not there any more` })
        }
        const heed = heeding(post.tell, assignment)
        yield* atWork(post.working)
        const finished = yield* heed(post.member.run(assignment, log))
        return { ...finished, importOutputs: heed(finished.importOutputs) }
      })

      const kindOf = (system: string, host?: HostId): Kind => {
        const able = members.filter((member) => member.host.systems.includes(system))
        const [first = members[0]] = able.filter((member) => host === undefined || member.host.id === host)
        // Who is answered by what another built is settled before it is known where.
        return { ...first.kindOf(system), isIsolating: able.every((member) => member.kindOf(system).isIsolating) }
      }
      const pool = BuilderPool.of({
        hosts: members.map(({ host }) => host),
        kindOf,
        // All of them are this program's.
        epoch: members[0].epoch,
        run
      })

      const find = (name: string) => {
        const post = [...posts.values()].find(({ member }) => member.host.id === name)
        return post === undefined
          ? Effect.fail(new NoSuchHost({ name, hosts: [...posts.keys()] }))
          : Effect.succeed(post)
      }
      const setDrained = (name: string, isDrained: boolean) =>
        Effect.gen(function* () {
          const { member, tell } = yield* find(name)
          yield* records.setDrained(member.host.id, isDrained)
          if (isDrained) drained.add(member.host.id)
          else drained.delete(member.host.id)
          yield* tell(isDrained ? Message.cases.Drain.make({}) : Message.cases.Resume.make({}))
        })
      const seen = ({ member, state, working }: Post) =>
        Effect.map(state, (state): Seen => ({ host: member.host, state, builders: working.count }))
      const finish = Effect.fnUntraced(function* (patience: Duration.Duration) {
        isFinishing = true
        yield* Effect.forEach(posts.keys(), (host) => scheduler.lend(host, "draining"), { discard: true })
        if (total.count === 0 || Duration.isZero(patience)) return
        yield* Effect.logInfo("waiting for builders to end", { builders: total.count })
        yield* Effect.andThen(idle.await, Effect.sleep(farewell)).pipe(Effect.timeoutOption(patience))
      })
      const hosts = Hosts.of({
        list: Effect.suspend(() => Effect.forEach([...posts.values()], seen)),
        drain: (name) => setDrained(name, true),
        resume: (name) => setDrained(name, false),
        finish
      })
      return Context.make(BuilderPool, pool).pipe(Context.add(Hosts, hosts))
    })
  )

/** Tells the watch of a host what a builder came to. */
const heeding =
  (tell: Post["tell"], { derivationPath: build }: Assignment) =>
  <A, R>(builder: Effect.Effect<A, BuildFailed | BuilderLost, R>): Effect.Effect<A, BuildFailed | BuilderLost, R> => {
    const answered = tell(Message.cases.Answered.make({}))
    return builder.pipe(
      Effect.tap(() => answered),
      Effect.tapErrorTag("BuildFailed", () => answered),
      Effect.tapErrorTag("BuilderLost", ({ detail, fault }) =>
        // What could not be kept, or had too little memory, says nothing of the host.
        fault === "host" || fault === "sandbox"
          ? Effect.flatMap(Clock.currentTimeMillis, (at) =>
              tell(Message.cases.Lost.make({ loss: { fault, build, at, detail } }))
            )
          : Effect.void
      )
    )
  }

/** A host, and who watches over it. */
interface Post {
  readonly member: HostBuilders
  readonly tell: (message: Message) => Effect.Effect<void>
  readonly state: Effect.Effect<State>
  readonly working: { count: number }
}
