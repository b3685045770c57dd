/** An account: who is limited, and whose view of the store is asked. */
import { Schema } from "effect"
import { ViewId } from "./View.ts"

/** A UUIDv7. */
export const AccountId = Schema.NonEmptyString.pipe(Schema.brand("AccountId"))
export type AccountId = typeof AccountId.Type

/** What people call an account: letters, digits, `.`, `_` and `-`. */
export const AccountName = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/)).pipe(
  Schema.brand("AccountName")
)
export type AccountName = typeof AccountName.Type

export class Account extends Schema.Class<Account>("drover/Account")({
  id: AccountId,
  name: AccountName,
  view: ViewId
}) {}
