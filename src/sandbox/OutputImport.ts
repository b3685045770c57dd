/**
 * Outputs as they come out of a sandbox, checked as if hostile: what they are, what they refer to, and their addresses.
 *
 * Each output is read once as a NAR, verified and scanned while it goes by. One whose path follows from its contents
 * is read again from disk, and written with the path that it was built at replaced by the one that it gets; outputs
 * that others refer to come first, so that each is rewritten to final paths.
 *
 * Nothing is registered here. What is returned belongs to the scope, until whoever asked commits it.
 *
 * @see Nix `src/libstore/unix/build/derivation-builder.cc`, `registerOutputs`
 */
import { Effect, Schema, type Scope } from "effect"
import type { FailureStatus } from "../domain/Failure.ts"
import * as OutputCheck from "../domain/OutputCheck.ts"
import type { PlannedOutput } from "../domain/OutputPlan.ts"
import type { ReceivedNar, Watch } from "../domain/ReceivedNar.ts"
import * as ContentAddress from "../protocol/nix/ContentAddress.ts"
import * as Derivation from "../protocol/nix/Derivation.ts"
import type { BasicDerivation, Output } from "../protocol/nix/Derivation.ts"
import * as Hash from "../protocol/nix/Hash.ts"
import * as Store from "../protocol/nix/StorePath.ts"
import type { StorePath } from "../protocol/nix/StorePath.ts"
import { WireError } from "../protocol/wire/Codec.ts"
import type { Source } from "../protocol/wire/Source.ts"
import { OutputStore } from "./OutputStore.ts"
import { rewriting } from "./Rewriting.ts"
import type { SandboxError } from "./SandboxError.ts"

export interface ImportedOutput {
  readonly name: string
  readonly path: StorePath
  readonly nar: ReceivedNar
  /** Sorted bytewise. */
  readonly references: ReadonlyArray<StorePath>
  /** Empty unless the path follows from the contents. */
  readonly contentAddress: string
}

/** The outputs are not what they may be: an answer to the build, in Nix's own words. */
export class OutputRefused extends Schema.TaggedError<OutputRefused>()("OutputRefused", { detail: Schema.String }) {
  readonly status: FailureStatus = "OutputRejected"
  override get message() {
    return this.detail
  }
}

export interface Import<E> {
  readonly derivationPath: StorePath
  readonly derivation: BasicDerivation
  /** Where the builder was told to put them. */
  readonly planned: ReadonlyArray<PlannedOutput>
  /** Everything that the builder could see. */
  readonly closure: ReadonlyArray<OutputCheck.Judged>
  /** One output as a NAR; one at a time. */
  readonly read: (name: string) => Effect.Effect<Source<E>, E>
  /** Bytes of all outputs together, where it is not the usual; more is refused. */
  readonly sizeMax?: number
}

/**
 * Bytes of all outputs of a build, as much as its scratch disk has room for. A file with holes takes none there and is
 * written out in full here: without a bound, a builder fills the store with one call.
 */
export const outputBytesMax = 64 * 2 ** 30

type Fixed = Extract<Output, { readonly _tag: "Fixed" }>
type Addressed = Extract<Output, { readonly _tag: "Floating" | "Impure" }>

/** An output that has been read, at the path that it was built at. */
interface Read {
  readonly name: string
  readonly form: Output
  readonly builtAt: StorePath
  readonly nar: ReceivedNar
  /** Among what the builder could see, its own outputs included; at the paths that they were built at. */
  readonly references: ReadonlyArray<StorePath>
}

const refuse = (detail: string) => Effect.fail(new OutputRefused({ detail }))

export const importOutputs = Effect.fn("OutputImport.importOutputs")(function* <E>(
  job: Import<E>
): Effect.fn.Return<ReadonlyArray<ImportedOutput>, OutputRefused | SandboxError | E, OutputStore | Scope.Scope> {
  const { closure, derivation, derivationPath, planned } = job
  const checks = OutputCheck.of(derivation)
  if (checks === null)
    return yield* refuse(`derivation '${Store.print(derivationPath)}' has output checks that cannot be read`)

  const byHashPart = new Map<string, StorePath>()
  for (const path of [...closure, ...planned].map(({ path }) => path)) byHashPart.set(Store.hashPart(path), path)

  const read: Array<Read> = []
  let sizeLeft = job.sizeMax ?? outputBytesMax
  for (const [index, [name, form]] of derivation.outputs.entries()) {
    const builtAt = planned[index]?.path
    if (builtAt === undefined) return yield* Effect.die(new Error(`output ${name} was not planned for`))
    const source = yield* job.read(name)
    const nar = yield* receive(source, {
      candidates: byHashPart.keys(),
      ...digestFor(form, builtAt),
      sizeMax: sizeLeft
    })
    sizeLeft -= nar.narSize
    const beyond = yield* source.peek
    if (beyond.length > 0)
      return yield* refuse(`output '${name}' cannot be taken: expected the end of a NAR, found more`)
    const found = checks.discardsReferences(name) ? [] : [...nar.found].flatMap((part) => byHashPart.get(part) ?? [])
    read.push({ name, form, builtAt, nar, references: Store.sorted(found) })
  }

  const imported: Array<ImportedOutput> = []
  const finalPaths = new Map<StorePath, StorePath>()
  for (const output of yield* inOrder(derivationPath, read)) {
    const done = yield* settle(derivationPath, output, finalPaths)
    finalPaths.set(output.builtAt, done.path)
    imported.push(done)
  }

  const judged = imported.map(({ nar, path, references }) => ({ path, references, narSize: nar.narSize }))
  const known = new Map([...closure, ...judged].map((each) => [each.path, each]))
  const outputs = new Map(imported.map(({ name, path }) => [name, path]))
  for (const [index, { name }] of imported.entries()) {
    const problem = OutputCheck.check(checks.rules(name), judged[index]!, outputs, known)
    if (problem !== null) return yield* refuse(problem)
  }
  return imported
})

/** Reads a NAR; one that is none, or too large, is the output's fault. */
const receive = <E>(source: Source<E>, options: Watch & { readonly sizeMax?: number }) =>
  Effect.flatMap(OutputStore, (store) => store.receive(source, options)).pipe(
    Effect.catchIf(
      (error): error is WireError => error instanceof WireError,
      (error) => refuse(`an output cannot be taken: ${error.message}`)
    )
  )

const digestFor = (form: Output, builtAt: StorePath): Pick<Watch, "digest"> => {
  if (form._tag === "InputAddressed" || form._tag === "Deferred") return {}
  const of = form.method === "nar" ? "nar" : "flat"
  const modulo = form._tag !== "Fixed" && of === "nar" ? { modulo: Store.hashPart(builtAt) } : {}
  return { digest: { of, algorithm: form.algorithm, ...modulo } }
}

/** What others refer to, before those. */
const inOrder = Effect.fnUntraced(function* (derivationPath: StorePath, outputs: ReadonlyArray<Read>) {
  const byPath = new Map(outputs.map((output) => [output.builtAt, output]))
  const ordered = new Set<Read>()
  const begun = new Set<Read>()
  for (const root of outputs) {
    // Not recursive, and each reference looked at once or twice: how many outputs in a row there are is the builder's choice.
    const pending = [root]
    for (let output = pending.at(-1); output !== undefined; output = pending.at(-1)) {
      const { name, references } = output
      const others = references.flatMap((path) => byPath.get(path) ?? []).filter((other) => other !== output)
      const missing = others.filter((other) => !ordered.has(other))
      if (missing.length === 0) {
        pending.pop()
        ordered.add(output)
        continue
      }
      const ancestor = missing.find((other) => begun.has(other))
      if (ancestor !== undefined) {
        return yield* refuse(
          `cycle detected in build of '${Store.print(derivationPath)}' in the references of output '${name}' from output '${ancestor.name}'`
        )
      }
      begun.add(output)
      pending.push(...missing)
    }
  }
  return [...ordered]
})

/** Gives an output its final path, and writes it anew if it has to know it. */
const settle = Effect.fnUntraced(function* (
  derivationPath: StorePath,
  output: Read,
  finalPaths: ReadonlyMap<StorePath, StorePath>
) {
  const { builtAt, form, name, nar, references } = output
  switch (form._tag) {
    case "InputAddressed":
      return { name, path: form.path, nar, references, contentAddress: "" }
    case "Fixed":
      return yield* settleFixed(derivationPath, output, form)
    case "Floating":
    case "Impure":
      return yield* settleAddressed(derivationPath, output, form, finalPaths)
    case "Deferred":
      return yield* refuse(`the path of output '${name}', built at '${Store.print(builtAt)}', follows from nothing`)
  }
})

const requireFlat = ({ nar }: Read, path: StorePath) =>
  nar.listing.type === "regular" && !nar.listing.executable
    ? Effect.void
    : refuse(
        `output path '${Store.print(path)}' should be a non-executable regular file since recursive hashing is not enabled (one of outputHashMode={flat,text} is true)`
      )

const settleFixed = Effect.fnUntraced(function* (derivationPath: StorePath, output: Read, form: Fixed) {
  const { algorithm, hash, method, path } = form
  const { name, nar, references } = output
  if (method === "git") return yield* refuse(`output '${name}' is to be hashed as Git does, which is not supported`)
  if (method !== "nar") yield* requireFlat(output, path)
  if (nar.digest !== hash) {
    const got = nar.digest ?? ""
    return yield* refuse(
      `hash mismatch in fixed-output derivation '${Store.print(derivationPath)}':\n` +
        `  specified: ${Hash.printSri({ algorithm, hex: hash })}\n` +
        `     got:    ${Hash.printSri({ algorithm, hex: got })}`
    )
  }
  if (references.length > 0 && method !== "text") {
    return yield* refuse(
      `fixed-output derivations must not reference store paths: '${Store.print(derivationPath)}' references ` +
        `${references.length} distinct paths, e.g. '${Store.print(references[0]!)}'`
    )
  }
  const contentAddress = ContentAddress.print({ method, hash: { algorithm, hex: hash } })
  return { name, path, nar, references, contentAddress }
})

const settleAddressed = Effect.fnUntraced(function* (
  derivationPath: StorePath,
  output: Read,
  form: Addressed,
  finalPaths: ReadonlyMap<StorePath, StorePath>
) {
  const { builtAt, name, references } = output
  const { algorithm, method } = form
  if (method === "git") return yield* refuse(`output '${name}' is to be hashed as Git does, which is not supported`)
  if (method !== "nar") yield* requireFlat(output, builtAt)

  // Siblings that it refers to have their final paths; its own follows from contents that know those.
  const siblings = references.filter((path) => path !== builtAt && finalPaths.has(path))
  const watch = digestFor(form, builtAt)
  const moved =
    siblings.length === 0
      ? output.nar
      : yield* rewrite(
          output.nar,
          siblings.map((path) => [path, finalPaths.get(path)!]),
          watch
        )

  const others = Store.sorted(references.filter((path) => path !== builtAt).map((path) => finalPaths.get(path) ?? path))
  const self = references.includes(builtAt)
  const address = { method, hash: { algorithm, hex: moved.digest ?? "" } }
  const named = Derivation.outputPathName(Store.derivationName(derivationPath), name)
  const path = ContentAddress.storePath(named, address, { others, self })
  if (path instanceof WireError) return yield* refuse(`output '${name}' cannot have an address: ${path.message}`)
  const nar = self ? yield* rewrite(moved, [[builtAt, path]], {}) : moved
  return {
    name,
    path,
    nar,
    references: Store.sorted(self ? [...others, path] : others),
    contentAddress: ContentAddress.print(address)
  }
})

/** The same NAR with hash parts replaced. It stays a NAR, of the same size, since they are as long as one another. */
const rewrite = Effect.fnUntraced(function* (
  nar: ReceivedNar,
  paths: ReadonlyArray<readonly [from: StorePath, to: StorePath]>,
  watch: Watch
) {
  const store = yield* OutputStore
  const contents: Source<WireError | SandboxError> = yield* store.reread(nar)
  const rewritten = paths.reduce(
    (source, [from, to]) => rewriting(source, Store.hashPart(from), Store.hashPart(to)),
    contents
  )
  return yield* receive(rewritten, watch)
})
