/** Accounts that no other test has touched. */
import { Account, AccountId, AccountName } from "../../src/domain/Account.ts"
import { ViewId } from "../../src/domain/View.ts"

let made = 0

export const newAccount = (): Account => {
  made++
  const name = `account-${process.pid}-${made}`
  return new Account({ id: AccountId.make(name), name: AccountName.make(name), view: ViewId.make(name) })
}
