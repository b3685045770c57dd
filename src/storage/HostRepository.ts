/** Which hosts the operator has taken out of service: said once, it holds until it is taken back. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import type { HostId } from "../domain/Host.ts"
import { fromSql, type StorageError } from "./StorageError.ts"

export class HostRepository extends Context.Service<
  HostRepository,
  {
    readonly drained: Effect.Effect<ReadonlyArray<HostId>, StorageError>
    /** Saying it twice changes nothing. */
    readonly setDrained: (host: HostId, isDrained: boolean) => Effect.Effect<void, StorageError>
  }
>()("drover/storage/HostRepository") {
  static readonly layer = Layer.effect(
    HostRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      const drained = sql<{ readonly host: HostId }>`select host from drained_host order by host`.pipe(
        Effect.map((rows) => rows.map(({ host }) => host)),
        Effect.catchTag("SqlError", fromSql("listing drained hosts").SqlError),
        Effect.withSpan("HostRepository.drained")
      )

      const setDrained = Effect.fn("HostRepository.setDrained")(
        (host: HostId, isDrained: boolean) =>
          isDrained
            ? sql`insert into drained_host (host) values (${host}) on conflict do nothing`
            : sql`delete from drained_host where host = ${host}`,
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("draining a host").SqlError)
      )

      return { drained, setDrained }
    })
  )
}
