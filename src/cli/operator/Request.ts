/**
 * What an operator's command asks of the running server, and what it is told: one JSON line each way, then the end.
 *
 *     → {"_tag":"ListBuilds","limit":1000}
 *     ← {"ok":[…]}   or   {"refused":"expected a new name, found one that an account has"}
 *
 * Whoever reaches the socket is the operator: the file system decides that.
 */
import { Schema } from "effect"
import { AccountName } from "../../domain/Account.ts"
import { QuotaName } from "../../domain/Quota.ts"
import { Diagnosis } from "../../domain/Diagnosis.ts"
import { BuildDetails, BuildRecord } from "../../storage/BuildRecords.ts"
import { Distrusted, TakenBack } from "../../storage/DistrustRepository.ts"
import { ReadLog } from "../../storage/ReadLogRepository.ts"

/** An account as it is listed. */
export const ListedAccount = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  keys: Schema.Array(Schema.Struct({ fingerprint: Schema.String, comment: Schema.String }))
})
export type ListedAccount = typeof ListedAccount.Type

/** For what it waits in the queue, and how many come before it; null for one that does not wait there. */
const waits = Schema.NullOr(Schema.String)

/** A build as it is listed. */
export const ListedBuild = Schema.Struct({ ...BuildRecord.fields, waits })
export type ListedBuild = typeof ListedBuild.Type

/** All that is known of a build. `inputsRead`: of each attempt that could tell. */
export const ShownBuild = Schema.Struct({ ...BuildDetails.fields, waits, inputsRead: Schema.Array(ReadLog) })
export type ShownBuild = typeof ShownBuild.Type

/** A host as it is listed. */
export const ListedHost = Schema.Struct({
  id: Schema.String,
  /** Only `serving` is lent. `doubted`: for the moment in which a probe decides. */
  state: Schema.Literals(["serving", "doubted", "probing", "quarantined", "drained"]),
  /** Why it is not simply lent; null where it is, or where the operator has said so. */
  reason: Schema.NullOr(Schema.String),
  /** Builders at work on it. */
  builders: Schema.Int,
  cores: Schema.Int,
  memoryBytes: Schema.Int,
  systems: Schema.Array(Schema.String)
})
export type ListedHost = typeof ListedHost.Type

/** What an account may have and has, where that is counted. No amount: no quota. */
export const ShownQuotas = Schema.Struct({
  account: Schema.String,
  quotas: Schema.Array(
    Schema.Struct({
      name: QuotaName,
      max: Schema.NullOr(Schema.Finite),
      used: Schema.NullOr(Schema.Finite)
    })
  )
})
export type ShownQuotas = typeof ShownQuotas.Type

/** A bound on one answer, and on the memory that making it takes. */
export const buildsMax = 10_000

const AddAccount = Schema.TaggedStruct("AddAccount", {
  name: AccountName,
  /** The line of a public key's file, which only the operator may be able to read. */
  publicKey: Schema.String.check(Schema.isMaxLength(2048))
})
const SetQuotas = Schema.TaggedStruct("SetQuotas", {
  account: AccountName,
  /** `standard`: what accounts have of which nothing is said. */
  amounts: Schema.Array(
    Schema.Struct({
      name: QuotaName,
      amount: Schema.Union([Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)), Schema.Literals(["none", "standard"])])
    })
  )
})
const Examine = Schema.TaggedStruct("Examine", {})
const ListAccounts = Schema.TaggedStruct("ListAccounts", {})
const ListBuilds = Schema.TaggedStruct("ListBuilds", {
  limit: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: buildsMax }))
})

const ShowBuild = Schema.TaggedStruct("ShowBuild", { id: Schema.String.check(Schema.isUUID()) })
const TakeBack = Schema.TaggedStruct("TakeBack", { distrusted: Distrusted })

const ListHosts = Schema.TaggedStruct("ListHosts", {})
const DrainHost = Schema.TaggedStruct("DrainHost", { host: Schema.String })
const ResumeHost = Schema.TaggedStruct("ResumeHost", { host: Schema.String })

export const Request = Schema.Union([
  DrainHost,
  ListHosts,
  ResumeHost,
  AddAccount,
  Examine,
  ListAccounts,
  ListBuilds,
  SetQuotas,
  ShowBuild,
  TakeBack
])
export type Request = typeof Request.Type

/** What each request is answered with, in the form in which it travels. */
export const answers = {
  AddAccount: ListedAccount,
  DrainHost: Schema.Null,
  Examine: Diagnosis,
  ListAccounts: Schema.Array(ListedAccount),
  ListHosts: Schema.Array(ListedHost),
  ResumeHost: Schema.Null,
  ListBuilds: Schema.Array(ListedBuild),
  SetQuotas: ShownQuotas,
  ShowBuild: ShownBuild,
  TakeBack: TakenBack
} as const

/** An answer, before it is known to be the one to the question. */
export const Reply = Schema.Union([Schema.Struct({ ok: Schema.Unknown }), Schema.Struct({ refused: Schema.String })])

/** Bytes of the longest request. */
export const requestBytesMax = 8 * 1024
