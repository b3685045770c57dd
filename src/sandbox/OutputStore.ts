/** Where a sandbox puts the outputs it reads: verified and written, registered by others. */
import { Context, type Effect, type Scope } from "effect"
import type { ReceivedNar, Watch } from "../domain/ReceivedNar.ts"
import type { WireError } from "../protocol/wire/Codec.ts"
import type { Source } from "../protocol/wire/Source.ts"
import type { SandboxError } from "./SandboxError.ts"

export class OutputStore extends Context.Service<
  OutputStore,
  {
    readonly receive: <E, R>(
      source: Source<E, R>,
      options?: Watch & { readonly sizeMax?: number }
    ) => Effect.Effect<ReceivedNar, E | WireError | SandboxError, R | Scope.Scope>
    readonly reread: (nar: ReceivedNar) => Effect.Effect<Source<SandboxError>, SandboxError, Scope.Scope>
  }
>()("drover/sandbox/OutputStore") {}
