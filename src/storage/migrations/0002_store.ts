/**
 * What exists, what each view sees of it, and the edges between.
 *
 * An object is of a NAR that is here with this hash and this size. A view holds at most one object under a path, the
 * object bears that path, and whatever it refers to is in the same view. Edges are checked at commit, so a closure can
 * arrive in any order.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // Small NARs are worth keeping as rows: a file each costs an inode, an fsync and an open. The listing is deflated
  // JSON; not jsonb, which refuses the lone surrogates that stand for bytes that are no UTF-8.
  yield* sql`
    create table nar (
      hash     sha256 primary key,
      size     bigint not null check (size > 0),
      listing  bytea not null,
      contents bytea check (octet_length(contents) = size),
      unique (hash, size)
    )`
  // Compressing them again on the way to disk only costs time.
  yield* sql`alter table nar alter column listing set storage external, alter column contents set storage external`
  yield* sql`
    create table store_object (
      id              bigint generated always as identity primary key,
      path            store_path not null,
      nar_hash        sha256 not null,
      nar_size        bigint not null,
      references_hash sha256 not null,
      ca              text not null,
      unique (path, nar_hash, references_hash, ca),
      unique (id, path),
      foreign key (nar_hash, nar_size) references nar (hash, size)
    )`
  yield* sql`create index on store_object (nar_hash)`
  yield* sql`
    create table view_path (
      view          uuid not null references view,
      path          store_path not null,
      object        bigint not null,
      assured       boolean not null,
      deriver       store_path,
      ultimate      boolean not null,
      signatures    text[] not null,
      registered_at timestamptz not null default now(),
      primary key (view, path),
      foreign key (object, path) references store_object (id, path)
    )`
  yield* sql`create index on view_path (object)`
  yield* sql`
    create table view_reference (
      view      uuid not null,
      referrer  store_path not null,
      reference store_path not null,
      primary key (view, referrer, reference),
      foreign key (view, referrer) references view_path deferrable initially deferred,
      foreign key (view, reference) references view_path deferrable initially deferred
    )`
  yield* sql`create index on view_reference (view, reference)`
  // A derivation is named by its path, or, up to Nix 2.34, by its hash without its own outputs' paths. The latter may
  // also say which realisations its build made use of.
  yield* sql`
    create table realisation (
      view       uuid not null,
      derivation text collate "C" not null,
      output     text collate "C" not null,
      path       store_path not null,
      signatures text[] not null,
      dependents jsonb not null,
      primary key (view, derivation, output),
      foreign key (view, path) references view_path
    )`
  yield* sql`create index on realisation (view, path)`
})
