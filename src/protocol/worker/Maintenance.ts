/**
 * Operations for whoever looks after a store: its settings, its roots, its garbage.
 *
 * Most of them are no client's business in a store that many share, and are answered so. They are
 * declared in full all the same: only then does the connection stay in step.
 */
import { Schema } from "effect"
import * as StorePath from "../nix/StorePath.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"
import * as Operation from "./Operation.ts"
import { OfPath } from "./Query.ts"
import { withFeature } from "./Version.ts"

const done = Variant.ignored(Codec.u64, 1n)

/** Keeps a path until this connection ends. */
export const AddTempRoot = Operation.make(11, { request: OfPath, response: done })

/** A symbolic link on the server that keeps what it points to. */
export const AddIndirectRoot = Operation.make(12, { request: Codec.struct({ link: Codec.text }), response: done })

export const SyncWithGC = Operation.make(13, { until: 0x011f, request: Codec.nothing, response: done })

/** A link on the server, and what it keeps. */
export const Root = Codec.named("Root", Codec.struct({ link: Codec.text, path: StorePath.wire }))

export const FindRoots = Operation.make(14, {
  request: Codec.nothing,
  response: Codec.list(Root)
})

/** No client sends it over SSH, so settings reach a server by other ways. */
export const SetOptions = Operation.make(19, {
  request: Codec.struct({
    keepFailed: Codec.bool,
    keepGoing: Codec.bool,
    tryFallback: Codec.bool,
    verbosity: Codec.u64,
    buildJobsMax: Codec.u64,
    silenceSecondsMax: Codec.u64,
    useBuildHook: Codec.u64,
    /** Zero shows the log. */
    buildVerbosity: Codec.u64,
    logType: Codec.u64,
    printBuildTrace: Codec.u64,
    buildCores: Codec.u64,
    useSubstitutes: Codec.bool,
    overrides: Codec.map(Codec.text, Codec.text)
  }),
  response: Codec.nothing
})

export const GarbageAction = Codec.named(
  "GarbageAction",
  Variant.enumeration({ returnLive: 0, returnDead: 1, deleteDead: 2, deleteSpecific: 3 })
)

const common = {
  /** Never granted: it deletes what is in use. */
  ignoreLiveness: Codec.bool,
  /** Bytes. */
  freedMax: Codec.u64,
  obsolete1: Variant.ignored(Codec.u64, 0n),
  obsolete2: Variant.ignored(Codec.u64, 0n),
  obsolete3: Variant.ignored(Codec.u64, 0n)
}
const obsolete = { obsolete1: null, obsolete2: null, obsolete3: null }

const paths = Codec.set(StorePath.wire)
const classic = Codec.struct({ action: GarbageAction, paths, ...common })

/** What exactly to look at; without them, the whole store. */
const specific = Codec.struct({ paths, deleteReferrers: Codec.bool })
const scoped = Codec.struct({ action: GarbageAction, scope: inverted(specific), ...common })

/** The whole store is one, certain paths are zero and what they are: the other way round than `option`. */
function inverted<A>(item: Codec.Codec<A>): Codec.Codec<A | null> {
  const isWhole = Codec.upTo(1)
  return {
    schema: Schema.NullOr(item.schema),
    grammar: `(1 | 0 ${item.grammar.replaceAll("\n", "; ")})`,
    *encode(value, version) {
      yield* isWhole.encode(value === null ? 1 : 0, version)
      if (value !== null) yield* item.encode(value, version)
    },
    *decode(version) {
      return (yield* isWhole.decode(version)) === 1 ? null : yield* item.decode(version)
    }
  }
}

const Collection = Schema.Struct({
  action: GarbageAction.schema,
  scope: Schema.NullOr(specific.schema),
  ignoreLiveness: Schema.Boolean,
  freedMax: Codec.u64.schema
})
type Collection = typeof Collection.Type

export const CollectGarbage = Operation.make(20, {
  request: Variant.layouts<Collection>(
    withFeature("delete-dead-specific-referrers"),
    Codec.refine(scoped, {
      grammar: scoped.grammar,
      schema: Collection,
      to: (value) => ({ ...value, ...obsolete }),
      from: ({ action, freedMax, ignoreLiveness, scope }) => ({ action, freedMax, ignoreLiveness, scope })
    }),
    Codec.refine(classic, {
      grammar: classic.grammar,
      schema: Collection,
      to: ({ scope, ...value }) => ({ ...value, ...obsolete, paths: scope?.paths ?? [] }),
      from: ({ action, freedMax, ignoreLiveness, paths }) => ({
        action,
        freedMax,
        ignoreLiveness,
        // An empty list means no path at all where certain paths are meant, and is not looked at elsewhere.
        scope: action === "deleteSpecific" ? { paths, deleteReferrers: false } : null
      })
    })
  ),
  response: Codec.struct({
    paths: Codec.list(Codec.text),
    /** Bytes. */
    freed: Codec.u64,
    obsolete: Variant.ignored(Codec.u64, 0n)
  })
})

export const OptimiseStore = Operation.make(34, { request: Codec.nothing, response: done })

/** Answers whether errors remain. */
export const VerifyStore = Operation.make(35, {
  request: Codec.struct({ checkContents: Codec.bool, repair: Codec.bool }),
  response: Codec.bool
})

/** Answers where the root was made. */
export const AddPermRoot = Operation.make(47, {
  since: 0x0124,
  request: Codec.struct({ path: StorePath.wire, root: Codec.text }),
  response: Codec.text
})
