/** Store paths, accounts and NARs for suites that only need there to be some. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { createHash } from "node:crypto"
import { AccountName } from "../../src/domain/Account.ts"
import { Sha256 } from "../../src/protocol/nix/Hash.ts"
import { PathInfo } from "../../src/protocol/nix/PathInfo.ts"
import { StorePath } from "../../src/protocol/nix/StorePath.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"

/** A path whose hash part is one digit over and over. */
export const path = (digit: string, name: string): StorePath => StorePath.make(`${digit.repeat(32)}-${name}`)

/** A hash that no contents have. */
export const narHash = (contents: number | string): Sha256 =>
  Sha256.make(createHash("sha256").update(`${contents}`).digest("hex"))

export const info = (
  path: StorePath,
  references: ReadonlyArray<StorePath> = [],
  contents: number | string = 0,
  more: Partial<typeof PathInfo.Type> = {}
): PathInfo =>
  new PathInfo({
    path,
    deriver: null,
    narHash: narHash(contents),
    narSize: 120,
    references,
    registrationTime: 0,
    ultimate: false,
    signatures: [],
    contentAddress: "",
    ...more
  })

/** Rows for NARs that nobody will read. */
export const addNars = Effect.fnUntraced(function* (infos: Iterable<PathInfo>) {
  const sql = yield* SqlClient.SqlClient
  const each = [...infos]
  yield* sql`
    insert into nar (hash, size, listing)
    select decode(hash, 'hex'), size, ''
    from unnest(${each.map(({ narHash }) => narHash)}::text[], ${each.map(({ narSize }) => narSize)}::bigint[])
      as nar(hash, size)
    on conflict do nothing`
})

/** An Ed25519 public key as SSH sends it, of no private key. */
export const publicKey = (seed: string): Uint8Array =>
  Buffer.concat([
    Buffer.from("0000000b7373682d6564323535313900000020", "hex"),
    createHash("sha256").update(seed).digest()
  ])

/** What a value holds, without its class: for comparing with what is written down. */
export const fieldsOf = (value: object): { readonly [name: string]: unknown } =>
  Object.fromEntries(Object.entries(value))

let accounts = 0
/** An account that no other test has touched. */
export const freshAccount = Effect.gen(function* () {
  const name = `account-${++accounts}`
  const repository = yield* AccountRepository
  return yield* repository.create(AccountName.make(name), { publicKey: publicKey(name), comment: name })
})
