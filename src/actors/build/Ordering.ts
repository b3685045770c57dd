/** What is to be built, out of what a client asks: with all that the build can see, and how much it is to get. */
import { Effect } from "effect"
import { SecureRandom } from "effect/crypto"
import * as BuildId from "../../domain/BuildId.ts"
import type * as Requirements from "../../domain/Requirements.ts"
import type { PathInfo } from "../../protocol/nix/PathInfo.ts"
import { derivationName } from "../../protocol/nix/StorePath.ts"
import { ViewRepository } from "../../storage/ViewRepository.ts"
import * as Tracing from "../../telemetry/Tracing.ts"
import type { Order } from "./Build.ts"
import { attemptsMaxDefault } from "./BuildLifecycle.ts"
import type { Request } from "./Builds.ts"
import * as Provision from "./Provision.ts"
import { recorded } from "./Recorded.ts"
import { Refused } from "./Refused.ts"

export interface Ordering {
  readonly orderOf: (request: Request, needs: Requirements.Requirements) => Effect.Effect<Order, Refused>
}

export const make = Effect.gen(function* () {
  const provide = yield* Provision.make
  const views = yield* ViewRepository
  const random = yield* SecureRandom.SecureRandom

  /** The whole input closure, if the account sees all of it. */
  const closureOf = Effect.fnUntraced(function* ({ account, derivation, derivationPath }: Request) {
    const closure = yield* recorded(views.closure(account.view, derivation.inputSources))
    const seen = new Set(closure.map(({ path }) => path))
    const missing = derivation.inputSources.find((path) => !seen.has(path))
    if (missing !== undefined) {
      const detail = `cannot build '/nix/store/${derivationPath}': its input '/nix/store/${missing}' is not valid here`
      return yield* new Refused({ status: "MiscFailure", detail })
    }
    return closure
  }, Tracing.step("closure"))

  const describe = Effect.fnUntraced(function* (
    request: Request,
    closure: ReadonlyArray<PathInfo>,
    needs: Requirements.Requirements
  ) {
    const { account, derivation, derivationPath, settings } = request
    const { system } = derivation
    const name = derivationName(derivationPath)
    const identity = BuildId.of(name, derivation, closure)
    const asked = { account: account.id, identity, name, system, requirements: needs, settings }
    const { ceiling, cores, memoryBytes, memoryBytesMax, memoryBytesNext, seconds } = yield* provide(asked)
    const order: Order = {
      id: request.resumed?.build ?? (yield* random.uuidV7()),
      identity,
      derivationPath,
      derivation,
      closure,
      accountName: account.name,
      need: {
        account: account.id,
        system,
        features: needs.features,
        cores,
        // A remote builder's client keeps its graph to itself, so no more is known of it than this one build.
        rank: seconds
      },
      terms: {
        memoryBytes,
        memoryBytesNext,
        memoryBytesMax,
        ceiling,
        attemptsMax: settings.buildRestartsMax === null ? attemptsMaxDefault : settings.buildRestartsMax + 1
      }
    }
    return order
  }, Tracing.step("identity"))

  return {
    orderOf: (request, needs) => Effect.flatMap(closureOf(request), (closure) => describe(request, closure, needs))
  } satisfies Ordering
})
