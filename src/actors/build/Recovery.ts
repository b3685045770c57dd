/**
 * What one server leaves and the next one takes up.
 *
 * At the start, attempts that were under way are over, and each wait that is left in the record is asked for again, as by
 * a client that has fallen silent since: from there on the build is one like any other, and whoever comes back for it
 * finds it. At an end in order the same is done to the record beforehand, so that it says what is true meanwhile.
 *
 * It stands between the builds and the doors: nobody can come back before it is done.
 */
import { Effect, Layer } from "effect"
import { BuildRepository } from "../../storage/BuildRepository.ts"
import { type Owed, WaitRepository } from "../../storage/WaitRepository.ts"
import { Builds } from "./Builds.ts"
import { recorded } from "./Recorded.ts"

/** Each asks the database for a closure; more at a time would only wait for each other. */
const concurrency = 8

/** Ends what runs in the record: below the builds, whose last words come first, and above all else. */
export const record = Layer.effectDiscard(
  Effect.gen(function* () {
    const waits = yield* WaitRepository
    const { attempts, cancelled, queued } = yield* recorded(waits.interrupted("killed"))
    if (attempts + cancelled + queued > 0) {
      yield* Effect.logWarning("the last server left builds", { attempts, cancelled, queued })
    }
    yield* Effect.addFinalizer(() =>
      // What cannot be said now is found out by the next.
      waits.interrupted("ended").pipe(
        Effect.tap((handedOn) => Effect.logInfo("handed on", handedOn)),
        Effect.catchTag("StorageError", (error) => Effect.logWarning("builds are not handed on", error))
      )
    )
  })
)

/** Gives the build that is waited for from now on; null if it has its answer. */
const resume = Effect.fnUntraced(function* (owed: Owed) {
  const builds = yield* Builds
  const { account, build, derivation, derivationPath, id, keptUntil, limits, settings } = owed
  const request = { account, derivationPath, derivation, limits, settings, check: false, departure }
  return yield* builds.submit({ ...request, resumed: { wait: id, build, keptUntil } }).pipe(
    Effect.map((waiting) => waiting.build),
    Effect.scoped,
    // One that cannot be taken up keeps no other from it.
    Effect.catchCause((cause) => Effect.as(Effect.logWarning("a build is not taken up", cause), null))
  )
})

/** For those who waited there is an answer by now, or another build on its way to one. */
const close = Effect.fnUntraced(function* (build: string) {
  const records = yield* BuildRepository
  const end = { state: "cancelled", status: "MiscFailure", message: "the server ended", outputs: [] } as const
  yield* recorded(records.finish(build, end))
})

const departure = () => "silent" as const

/** Asks for the builds again. */
export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const owed = yield* recorded(Effect.flatMap(WaitRepository, (waits) => waits.owed))
    const found = yield* Effect.forEach(owed, resume, { concurrency })
    const taken = new Set(found)
    const left = new Set(owed.flatMap(({ build }) => (taken.has(build) ? [] : [build])))
    yield* Effect.forEach(left, close, { concurrency, discard: true })
    if (owed.length > 0) yield* Effect.logInfo("builds are taken up", { waits: owed.length })
  })
)
