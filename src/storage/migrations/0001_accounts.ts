/**
 * Who may come in, and whose view of the store each of them is asked for.
 *
 * Domains say once what a store path and a SHA-256 are. Paths compare bytewise, as Nix sorts them, whatever the
 * database's own collation. A key opens one account; its fingerprint is computed here, so it cannot be another's.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // The length apart from the pattern: PostgreSQL takes six times as long for one that counts to 211.
  yield* sql`
    create domain store_path as text collate "C" check (
      octet_length(value) <= 244
      and value ~ '^[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9a-zA-Z+_?=][0-9a-zA-Z+._?=-]*$'
    )`
  yield* sql`create domain sha256 as bytea check (octet_length(value) = 32)`
  yield* sql`create table view (id uuid primary key)`
  yield* sql`
    create table account (
      id         uuid primary key,
      name       text collate "C" not null unique check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
      view       uuid not null unique references view,
      created_at timestamptz not null default now()
    )`
  // A public key as SSH sends it: the length and name of its type, then the length and bytes of the key.
  yield* sql`
    create table account_key (
      public_key  bytea primary key check (
        octet_length(public_key) = 51
        and substr(public_key, 1, 19) = '\\x0000000b7373682d6564323535313900000020'::bytea
      ),
      account     uuid not null references account,
      comment     text not null,
      fingerprint text not null unique
        generated always as ('SHA256:' || rtrim(encode(sha256(public_key), 'base64'), '=')) stored,
      added_at    timestamptz not null default now()
    )`
  yield* sql`create index on account_key (account)`
})
