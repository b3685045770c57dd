/**
 * Which paths outputs turned out to be, as each view knows it.
 *
 * An output is named by its derivation's path, or, up to Nix 2.34, by its derivation's hash. The database guarantees
 * that an output has one realisation in a view, the first, and that the view holds its path.
 */
import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient, SqlSchema } from "effect/sql"
import { ViewId } from "../domain/View.ts"
import { type KeyedRealisation, type OutputId, parseId, printId, Realisation } from "../protocol/nix/Realisation.ts"
import { storeDir, StorePath } from "../protocol/nix/StorePath.ts"
import { WireError } from "../protocol/wire/Codec.ts"
import { fromSql, StorageError } from "./StorageError.ts"

/** The path is not in the view, so nothing in it can be said to be realised by it. */
export class NotValid extends Schema.TaggedError<NotValid>()("NotValid", { path: StorePath }) {
  override get message() {
    return `the path '${storeDir}/${this.path}' is not valid`
  }
}

export class RealisationRepository extends Context.Service<
  RealisationRepository,
  {
    /** Registering an output that the view has a realisation of changes nothing. */
    readonly register: (view: ViewId, realisation: Realisation) => Effect.Effect<void, NotValid | StorageError>
    readonly registerKeyed: (
      view: ViewId,
      realisation: KeyedRealisation
    ) => Effect.Effect<void, NotValid | StorageError>
    readonly find: (view: ViewId, id: OutputId) => Effect.Effect<Option.Option<Realisation>, StorageError>
    readonly findKeyed: (
      view: ViewId,
      derivation: StorePath,
      output: string
    ) => Effect.Effect<Option.Option<KeyedRealisation>, StorageError>
  }
>()("drover/storage/RealisationRepository") {
  static readonly layer = Layer.effect(
    RealisationRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      const insert = Effect.fn("RealisationRepository.register")(
        (view: ViewId, row: typeof Row.Type) => sql`
          insert into realisation (view, derivation, output, path, signatures, dependents)
          values (${view}, ${row.derivation}, ${row.output}, ${row.path}, ${row.signatures}::text[],
            ${JSON.stringify(row.dependents)}::text::jsonb)
          on conflict do nothing`,
        Effect.asVoid,
        (registered, _, { path }) =>
          Effect.catchReason(registered, "SqlError", "ConstraintError", () => Effect.fail(new NotValid({ path }))),
        Effect.catchTag("SqlError", (cause) =>
          Effect.fail(new StorageError({ operation: "registering a realisation", cause }))
        )
      )

      const select = SqlSchema.findOneOption({
        Request: Schema.Struct({ view: ViewId, derivation: Schema.String, output: Schema.String }),
        Result: Row,
        execute: ({ derivation, output, view }) => sql`
          select derivation, output, path, signatures, dependents from realisation
          where view = ${view} and derivation = ${derivation} and output = ${output}`
      })
      const row = Effect.fn("RealisationRepository.find")(
        (view: ViewId, derivation: string, output: string) => select({ view, derivation, output }),
        Effect.catchTags(fromSql("finding a realisation"))
      )

      return {
        register: (view, { dependentRealisations, id, outPath, signatures }) =>
          insert(view, {
            derivation: `sha256:${id.hash}`,
            output: id.output,
            path: outPath,
            signatures,
            dependents: dependentRealisations.map(([id, path]) => [printId(id), path] as const)
          }),
        registerKeyed: (view, { derivation, outPath, output, signatures }) =>
          insert(view, { derivation, output, path: outPath, signatures, dependents: [] }),
        find: (view, id) =>
          Effect.map(
            row(view, `sha256:${id.hash}`, id.output),
            Option.map(({ dependents, path, signatures }) => ({
              id,
              outPath: path,
              signatures,
              dependentRealisations: dependents.map(([id, path]) => [readId(id), path] as const)
            }))
          ),
        findKeyed: (view, derivation, output) =>
          Effect.map(
            row(view, derivation, output),
            Option.map(({ path, signatures }) => ({ derivation, output, outPath: path, signatures }))
          )
      }
    })
  )
}

const Row = Schema.Struct({
  derivation: Schema.String,
  output: Schema.String,
  path: StorePath,
  signatures: Realisation.fields.signatures,
  dependents: Schema.Array(Schema.Tuple([Schema.String, StorePath]))
})

/** What this file printed, this file can parse. */
const readId = (text: string): OutputId => {
  const id = parseId(text)
  if (id instanceof WireError) throw id
  return id
}
