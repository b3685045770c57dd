/**
 * Paths on their way from a client into its account's view.
 *
 * What has been received waits in a group until it is committed: the NARs made durable together, then all paths
 * registered in one transaction. So a thousand small paths cost a handful of syncs, and nobody is told that a path
 * is valid that a crash could take back. A small path that comes alone is one statement, since its client waits for
 * each. A group is bounded, and committed when it is full; what is left when the scope closes is dropped.
 *
 * Nothing a client says of a path is believed that can be checked: hash and size are of the bytes that came, a
 * content address is recomputed, and a reference is to the path itself, to what the view holds, or to what came
 * before it. The last keeps references free of cycles. A path that the view holds keeps the object it has, and is
 * read and checked all the same, since there is no other way to find its end.
 *
 * What is on its way counts against what the account may store from the moment that its size is known.
 */
import { Effect, Exit, Metric, Scope } from "effect"
import type { Account } from "../../domain/Account.ts"
import type { ReceivedNar, Watch } from "../../domain/ReceivedNar.ts"
import type { ViewId } from "../../domain/View.ts"
import type { PathInfo } from "../../protocol/nix/PathInfo.ts"
import { print, type StorePath } from "../../protocol/nix/StorePath.ts"
import type { WireError } from "../../protocol/wire/Codec.ts"
import type { Source } from "../../protocol/wire/Source.ts"
import { NarStore } from "../../storage/NarStore.ts"
import type { StorageError } from "../../storage/StorageError.ts"
import { ViewRepository } from "../../storage/ViewRepository.ts"
import * as Attributes from "../../telemetry/Attributes.ts"
import * as Metrics from "../../telemetry/Metrics.ts"
import { Quotas } from "../quota/Quotas.ts"
import * as ContentClaim from "./ContentClaim.ts"
import { Refusal, refuse } from "./Trouble.ts"

export interface Upload {
  /** Reads one NAR from the source, of which `announced` must be true. */
  readonly receive: <E, R>(
    announced: PathInfo,
    source: Source<E, R>
  ) => Effect.Effect<void, Refusal | WireError | StorageError | E, R>
  /** To be called before each path that is read and admitted, so that there is never more than a group at hand. */
  readonly commitIfFull: Effect.Effect<void, Refusal | StorageError>
  /** Reads one NAR of which nothing is known, for whoever then says what it is with `admit`. */
  readonly read: <E, R>(
    source: Source<E, R>,
    watch: Watch
  ) => Effect.Effect<ReceivedNar, Refusal | WireError | StorageError | E, R>
  /** `assured`: its content address was found to be true. */
  readonly admit: (info: PathInfo, nar: ReceivedNar, assured: boolean) => Effect.Effect<void>
  /** Makes everything received valid, or nothing of what was not committed before. */
  readonly commit: Effect.Effect<void, Refusal | StorageError>
}

/** A group of small paths: some megabytes while it waits, and one sync for all. */
const groupPathsMax = 500

/** A group of large ones: what a lost connection costs to send again. */
const groupBytesMax = 256 * 1024 * 1024

interface Received {
  readonly info: PathInfo
  readonly nar: ReceivedNar
  readonly assured: boolean
}

const received = Metrics.of(Metrics.transferred, { [Attributes.ioDirection]: "receive" })

export const make = Effect.fnUntraced(function* (
  account: Account
): Effect.fn.Return<Upload, never, NarStore | Quotas | ViewRepository | Scope.Scope> {
  const { view } = account
  const nars = yield* NarStore
  const views = yield* ViewRepository
  const quotas = yield* Quotas
  let group: Array<Received> = []
  let groupBytes = 0
  let groupScope = yield* Scope.make()
  yield* Effect.addFinalizer((exit) => Scope.close(groupScope, exit))

  /** A small path that comes by itself, in one round trip; false where that cannot be. */
  const commitAlone = Effect.fnUntraced(function* ({ assured, info, nar }: Received) {
    const row = yield* nars.row(nar)
    if (row === null) return false
    return yield* views
      .addWithNar(view, { info, assured }, row)
      .pipe(
        Effect.catchTag("DanglingReference", ({ detail }) =>
          refuse(`cannot add '${print(info.path)}' because ${detail}`)
        )
      )
  })

  const commitTogether = Effect.gen(function* () {
    const fresh = yield* checkReferences(view, group)
    yield* nars.commit(fresh.map(({ nar }) => nar))
    yield* views
      .add(
        view,
        fresh.map(({ assured, info }) => ({ info, assured }))
      )
      .pipe(Effect.catchTag("DanglingReference", ({ detail }) => refuse(`cannot add paths: ${detail}`)))
  }).pipe(Effect.provideService(ViewRepository, views))

  const commit = Effect.gen(function* () {
    const [first] = group
    if (first === undefined) return
    const isDone = group.length === 1 && (yield* commitAlone(first))
    if (!isDone) yield* commitTogether
    group = []
    groupBytes = 0
    const done = groupScope
    groupScope = yield* Scope.make()
    yield* Scope.close(done, Exit.void)
  }).pipe(Effect.uninterruptible)

  const commitIfFull = Effect.suspend(() =>
    group.length >= groupPathsMax || groupBytes >= groupBytesMax ? commit : Effect.void
  )

  /** Until the group is committed, and the view has it, or it is dropped. */
  const reserve = (bytes: number) =>
    quotas.reserve(account, bytes).pipe(
      (taken) => Scope.provide(taken, groupScope),
      Effect.catchTag("QuotaReached", ({ message }) => refuse(message))
    )

  const take = <E, R>(source: Source<E, R>, watch: Watch & { readonly sizeMax?: number }) =>
    Effect.tap(Scope.provide(nars.receive(source, watch), groupScope), ({ narSize }) =>
      Metric.update(received, narSize)
    )

  const read = Effect.fnUntraced(function* <E, R>(source: Source<E, R>, watch: Watch) {
    // How large it is, is known when it is here: it may fill what room there is, and no more.
    const sizeMax = yield* quotas.room(account)
    const nar = yield* take(source, sizeMax === null ? watch : { ...watch, sizeMax })
    yield* reserve(nar.narSize)
    return nar
  })

  const admit: Upload["admit"] = (info, nar, assured) =>
    Effect.sync(() => {
      group.push({ info, nar, assured })
      groupBytes += nar.narSize
    })

  const receive = Effect.fnUntraced(function* <E, R>(announced: PathInfo, source: Source<E, R>) {
    yield* commitIfFull
    const claim = yield* ContentClaim.parse(announced)
    yield* reserve(announced.narSize)
    const nar = yield* take(source, { ...ContentClaim.watch(claim), sizeMax: announced.narSize })
    yield* checkAnnounced(announced, nar)
    const assured = claim !== null && (yield* Effect.scoped(ContentClaim.verify(claim, nar, nars)))
    yield* admit(announced, nar, assured)
  })

  return { receive, commitIfFull, read, admit, commit }
})

/** A NAR is what was announced when its hash is; sizes are compared first, for the clearer message. */
const checkAnnounced = ({ narHash, narSize, path }: PathInfo, nar: ReceivedNar): Effect.Effect<void, Refusal> => {
  if (nar.narSize !== narSize) {
    return refuse(`size mismatch importing path '${print(path)}': expected ${narSize} bytes, found ${nar.narSize}`)
  }
  if (nar.narHash !== narHash) {
    return refuse(
      `hash mismatch importing path '${print(path)}': expected sha256:${narHash}, found sha256:${nar.narHash}`
    )
  }
  return Effect.void
}

/** Answers what the view does not hold yet, each path once. */
const checkReferences = Effect.fnUntraced(function* (
  view: ViewId,
  group: ReadonlyArray<Received>
): Effect.fn.Return<ReadonlyArray<Received>, Refusal | StorageError, ViewRepository> {
  const views = yield* ViewRepository
  const named = new Set(group.flatMap(({ info }) => [info.path, ...info.references]))
  const known = new Set<StorePath>(yield* views.valid(view, [...named]))
  const fresh: Array<Received> = []
  for (const received of group) {
    const { path, references } = received.info
    const missing = references.find((reference) => reference !== path && !known.has(reference))
    if (missing !== undefined) {
      return yield* new Refusal({
        detail: `cannot add '${print(path)}' because the reference '${print(missing)}' is not valid`
      })
    }
    if (!known.has(path)) fresh.push(received)
    known.add(path)
  }
  return fresh
})
