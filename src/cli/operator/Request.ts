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
import { BuildRecord } from "../../storage/BuildRecords.ts"

/** An account as it is listed. */
export const ListedAccount = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  keys: Schema.Array(Schema.Struct({ fingerprint: Schema.String, comment: Schema.String }))
})
export type ListedAccount = typeof ListedAccount.Type

/** A bound on one answer, and on the memory that making it takes. */
export const buildsMax = 10_000

const AddAccount = Schema.TaggedStruct("AddAccount", {
  name: AccountName,
  /** The line of a public key's file, which only the operator may be able to read. */
  publicKey: Schema.String.check(Schema.isMaxLength(2048))
})
const ListAccounts = Schema.TaggedStruct("ListAccounts", {})
const ListBuilds = Schema.TaggedStruct("ListBuilds", {
  limit: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: buildsMax }))
})

export const Request = Schema.Union([AddAccount, ListAccounts, ListBuilds])
export type Request = typeof Request.Type

/** What each request is answered with, in the form in which it travels. */
export const answers = {
  AddAccount: ListedAccount,
  ListAccounts: Schema.Array(ListedAccount),
  ListBuilds: Schema.Array(BuildRecord)
} as const

/** An answer, before it is known to be the one to the question. */
export const Reply = Schema.Union([Schema.Struct({ ok: Schema.Unknown }), Schema.Struct({ refused: Schema.String })])

/** Bytes of the longest request. */
export const requestBytesMax = 8 * 1024
