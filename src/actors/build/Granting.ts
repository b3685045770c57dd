/**
 * Giving outputs to whoever asked for them: into the account's view, and under the names that its derivation gives them.
 *
 * Which path a content-addressed output turned out to be is something that each view knows for itself. Within one, an
 * output has one path, the first: whoever asks again is told that one, also if it has come out differently since.
 */
import { Effect, Option } from "effect"
import type { ViewId } from "../../domain/View.ts"
import { type BasicDerivation, nameOf as derivationNameOf } from "../../protocol/nix/Derivation.ts"
import * as OutputPaths from "../../protocol/nix/OutputPaths.ts"
import type { StorePath } from "../../protocol/nix/StorePath.ts"
import { WireError } from "../../protocol/wire/Codec.ts"
import { RealisationRepository } from "../../storage/RealisationRepository.ts"
import { ViewRepository } from "../../storage/ViewRepository.ts"
import * as Tracing from "../../telemetry/Tracing.ts"
import type { BuiltOutput } from "../builder/BuilderPool.ts"
import { recorded } from "./Recorded.ts"

/** What is granted, and to whom. */
export interface Request {
  readonly view: ViewId
  readonly derivationPath: StorePath
  readonly derivation: BasicDerivation
}

export interface NamedPath {
  readonly name: string
  readonly path: StorePath
}

export interface Granting {
  /** The outputs, if the view has them all. */
  readonly valid: (request: Request) => Effect.Effect<ReadonlyArray<NamedPath> | null>
  /** All or none of them; answers which paths they are in the view. */
  readonly grant: (request: Request, outputs: ReadonlyArray<BuiltOutput>) => Effect.Effect<ReadonlyArray<NamedPath>>
  /** The first that is another than the view holds under its path. */
  readonly differing: (request: Request, outputs: ReadonlyArray<BuiltOutput>) => Effect.Effect<StorePath | null>
}

export const make = Effect.gen(function* () {
  const views = yield* ViewRepository
  const realisations = yield* RealisationRepository

  /** The path of an output that only its contents decide, as the view knows it. */
  const realised = Effect.fnUntraced(function* ({ derivation, derivationPath, view }: Request, output: string) {
    const hash = hashOf(derivationPath, derivation)
    if (hash === null) return null
    const found = yield* recorded(realisations.find(view, { hash, output }))
    return Option.match(found, { onNone: () => null, onSome: ({ outPath }) => outPath })
  })

  const register = Effect.fnUntraced(function* (request: Request, { name, path }: NamedPath) {
    const { derivation, derivationPath, view } = request
    const hash = hashOf(derivationPath, derivation)
    if (hash === null) return
    const named = { outPath: path, signatures: [] }
    const id = { hash, output: name }
    // The view has just been given the path.
    yield* Effect.andThen(
      realisations.register(view, { ...named, id, dependentRealisations: [] }),
      realisations.registerKeyed(view, { ...named, derivation: derivationPath, output: name })
    ).pipe(Effect.catchTag("NotValid", Effect.die), recorded)
  })

  const valid = Effect.fnUntraced(function* (request: Request) {
    const { derivation, view } = request
    const known: Array<NamedPath> = []
    for (const [name, output] of derivation.outputs) {
      const path = "path" in output ? output.path : output._tag === "Floating" ? yield* realised(request, name) : null
      if (path === null) return null
      known.push({ name, path })
    }
    const paths = known.map(({ path }) => path)
    const held = new Set(yield* recorded(views.valid(view, paths)))
    return paths.every((path) => held.has(path)) ? known : null
  })

  const grant = Effect.fnUntraced(function* (request: Request, outputs: ReadonlyArray<BuiltOutput>) {
    const additions = outputs.map(({ assured, info }) => ({ info, assured }))
    yield* recorded(Effect.catchTag(views.add(request.view, additions), "DanglingReference", Effect.die))
    const floating = floatingOf(request.derivation)
    return yield* Effect.forEach(outputs, ({ info: { path }, name }) =>
      floating.has(name)
        ? Effect.andThen(
            register(request, { name, path }),
            Effect.map(realised(request, name), (first) => ({ name, path: first ?? path }))
          )
        : Effect.succeed({ name, path })
    )
  }, Tracing.step("grant"))

  const differing = Effect.fnUntraced(function* ({ view }: Request, outputs: ReadonlyArray<BuiltOutput>) {
    const paths = outputs.map(({ info }) => info.path)
    const before = yield* recorded(views.findMany(view, paths))
    const other = outputs.find(({ info }) =>
      before.some(({ narHash, path }) => path === info.path && narHash !== info.narHash)
    )
    return other?.info.path ?? null
  })

  return { valid, grant, differing } satisfies Granting
})

const floatingOf = ({ outputs }: BasicDerivation): ReadonlySet<string> =>
  new Set(outputs.flatMap(([name, output]) => (output._tag === "Floating" ? [name] : [])))

/** By which a derivation's outputs are named up to Nix 2.34. A derivation whose path is odd has none. */
const hashOf = (path: StorePath, derivation: BasicDerivation) => {
  const name = derivationNameOf(path)
  const hash = name instanceof WireError ? name : OutputPaths.basicRealisationHash(name, derivation)
  return hash instanceof WireError ? null : hash
}
