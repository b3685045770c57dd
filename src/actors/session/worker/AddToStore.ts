/**
 * Operations that put something into the client's view.
 *
 * With a path comes what the client knows of it, or only a name and how its contents are to become an address; then
 * the path follows from the contents. Signatures are kept and not asked for: a client sees what it uploaded, and
 * nobody else does.
 */
import { Effect } from "effect"
import type { ReceivedNar } from "../../../domain/ReceivedNar.ts"
import * as NarWriter from "../../../protocol/nar/Writer.ts"
import * as ContentAddress from "../../../protocol/nix/ContentAddress.ts"
import { PathInfo } from "../../../protocol/nix/PathInfo.ts"
import * as StorePath from "../../../protocol/nix/StorePath.ts"
import { WireError } from "../../../protocol/wire/Codec.ts"
import * as Source from "../../../protocol/wire/Source.ts"
import { Item, ItemCount } from "../../../protocol/worker/AddToStore.ts"
import { operations, type Request } from "../../../protocol/worker/Operations.ts"
import { RealisationRepository } from "../../../storage/RealisationRepository.ts"
import { ViewRepository } from "../../../storage/ViewRepository.ts"
import type { ChannelClosed } from "../Channel.ts"
import { notValid, refuse } from "../Trouble.ts"
import * as ContentClaim from "../ContentClaim.ts"
import * as Upload from "../Upload.ts"
import * as Transfer from "./Transfer.ts"
import type { Handlers, Worker } from "./Worker.ts"

/** A file that comes without its length is held until its end: before it, its NAR cannot begin. */
const plainBytesMax = 64 * 1024 * 1024

/** From here on `AddToStore` brings plain bytes for a plain file, and is answered with all that is known of the path. */
const plainSince = 0x0119

type Addressed = Pick<Request<"AddToStore">, "address" | "name" | "references">

export const additions: Handlers<
  | "AddToStore"
  | "AddTextToStore"
  | "AddToStoreNar"
  | "AddMultipleToStore"
  | "AddSignatures"
  | "AddBuildLog"
  | "RegisterDrvOutput"
> = {
  AddToStoreNar: Effect.fnUntraced(function* (worker, { info }) {
    const upload = yield* Upload.make(worker.account)
    yield* Transfer.receive(worker, operations.AddToStoreNar, (source) => upload.receive(info, source))
    yield* upload.commit
    return null
  }),

  AddMultipleToStore: Effect.fnUntraced(function* (worker) {
    const upload = yield* Upload.make(worker.account)
    yield* Transfer.receive(
      worker,
      operations.AddMultipleToStore,
      Effect.fnUntraced(function* (source) {
        const read = Source.reader(source)
        const count = yield* read(ItemCount, worker.version)
        for (let index = 0; index < count; index++) {
          const info = yield* read(Item, worker.version)
          yield* upload.receive(info, source)
        }
      })
    )
    yield* upload.commit
    return null
  }),

  AddToStore: Effect.fnUntraced(function* (worker, request) {
    const upload = yield* Upload.make(worker.account)
    const isPlain =
      worker.version >= plainSince && (request.address.method === "flat" || request.address.method === "text")
    const info = yield* Transfer.receive(
      worker,
      operations.AddToStore,
      Effect.fnUntraced(function* (source) {
        return yield* receiveAddressed(upload, request, isPlain ? yield* plainFile(source) : source)
      })
    )
    yield* upload.commit
    return worker.version >= plainSince ? info : info.path
  }),

  AddTextToStore: Effect.fnUntraced(function* ({ account }, { contents, name, references }) {
    const upload = yield* Upload.make(account)
    const address = { method: "text", algorithm: "sha256" } as const
    const source = Source.fromChunks([NarWriter.file(contents)])
    const { path } = yield* receiveAddressed(upload, { address, name, references }, source)
    yield* upload.commit
    return path
  }),

  AddSignatures: Effect.fnUntraced(function* (worker, { path, signatures }) {
    const views = yield* ViewRepository
    yield* requireValid(worker, path)
    yield* views.addSignatures(worker.account.view, path, signatures)
    return null
  }),

  RegisterDrvOutput: Effect.fnUntraced(function* ({ account }, { realisation }) {
    const realisations = yield* RealisationRepository
    yield* (
      "derivation" in realisation
        ? realisations.registerKeyed(account.view, realisation)
        : realisations.register(account.view, realisation)
    ).pipe(Effect.catchTag("NotValid", ({ path }) => notValid(path)))
    return null
  }),

  /** A log belongs to the build that wrote it, and this one was not ours. */
  AddBuildLog: (worker, { derivation }) =>
    Transfer.receive(worker, operations.AddBuildLog, () =>
      refuse(`the log of '${StorePath.print(derivation)}' was not written here, and is not kept`)
    )
}

const requireValid = Effect.fnUntraced(function* ({ account }: Worker, path: StorePath.StorePath) {
  const views = yield* ViewRepository
  const [found] = yield* views.valid(account.view, [path])
  if (found === undefined) return yield* notValid(path)
})

/** Reads a NAR and admits it under the path that it gives itself. */
const receiveAddressed = Effect.fnUntraced(function* (
  upload: Upload.Upload,
  { address: { algorithm, method }, name, references }: Addressed,
  source: Source.Source<ChannelClosed | WireError>
) {
  if (method === "git") return yield* refuse("Git content addresses are not supported")
  const nar: ReceivedNar = yield* upload.read(source, { digest: { of: method === "nar" ? "nar" : "flat", algorithm } })
  const { digest, listing, narHash, narSize } = nar
  if (digest === null || (method !== "nar" && listing.type !== "regular")) {
    return yield* refuse(`'${name}' is to be added as a file and is none`)
  }
  const address = { method, hash: { algorithm, hex: digest } }
  const path = ContentAddress.storePath(name, address, { others: references, self: false })
  if (path instanceof WireError) return yield* refuse(`cannot add '${name}': ${path.message}`)
  const info = new PathInfo({
    path,
    deriver: null,
    narHash,
    narSize,
    references,
    registrationTime: 0,
    ultimate: false,
    signatures: [],
    contentAddress: ContentAddress.print(address)
  })
  yield* upload.admit(info, nar, method === "nar" || ContentClaim.isPlain(nar))
  return info
})

/** The NAR of a file that comes as its bytes alone. */
const plainFile = Effect.fnUntraced(function* (source: Source.Source<ChannelClosed | WireError>) {
  const chunks: Array<Uint8Array> = []
  let size = 0
  for (let chunk = yield* source.peek; chunk.length > 0; chunk = yield* source.peek) {
    size += chunk.length
    if (size > plainBytesMax) {
      return yield* refuse(
        `a file that is added by its contents may have ${plainBytesMax} bytes; add it as a NAR instead`
      )
    }
    chunks.push(chunk.slice())
    source.advance(chunk.length)
  }
  return Source.fromChunks([NarWriter.fileHead(size), ...chunks, NarWriter.fileTail(size)])
})
